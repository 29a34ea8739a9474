//! `fedstill worker`: stages of a deployment, until it is asked to stop.

use super::{Config, health};
use crate::run::faults;
use fedstill_learner::Registry;
use fedstill_log::{Clock, SystemClock};
use fedstill_stages::StageError;
use fedstill_stages::context::Context;
use fedstill_stages::service::{Health, Role, Service};
use fedstill_stages::tensors::Tensors;
use std::sync::Arc;
use std::time::Duration;

/// What a worker is asked to be.
#[derive(Debug)]
pub(crate) struct Options {
    /// What it does.
    pub(crate) roles: Vec<Role>,
    /// Compute threads.
    pub(crate) threads: usize,
    /// Where it answers for its health; nowhere if `None`.
    pub(crate) health: Option<String>,
    /// How long tasks may go on after it was asked to stop.
    pub(crate) grace: Duration,
}

/// Works until `asked` says to stop.
pub(crate) fn serve(config: &Config, options: Options, asked: &(dyn Fn() -> bool + Sync)) -> Result<(), StageError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let health = Arc::new(Health::default());
    if let Some(address) = &options.health {
        health::answer(address, Arc::clone(&health), Arc::clone(&clock)).map_err(StageError::Stop)?;
    }
    let log = config.log(Arc::clone(&clock))?;
    let Some(store) = patiently(asked, || config.store())? else {
        return Ok(());
    };
    let learner = Tensors::new(Registry::default(), []).with_store(store.clone());
    let mut context = Context::new(log, store, Arc::new(learner));
    context.faults = faults();
    let names: Vec<&str> = options.roles.iter().map(|role| role.name()).collect();
    tracing::info!(stages = names.join(","), threads = options.threads, "working");
    let service = Service {
        context: Arc::new(context),
        roles: options.roles,
        threads: options.threads,
        grace: options.grace,
        health,
    };
    service.run(&*clock, asked)?;
    tracing::info!("stopped");
    Ok(())
}

/// Tries until it works or `asked` says to stop: a store may start after its workers.
pub(super) fn patiently<T>(
    asked: &(dyn Fn() -> bool + Sync),
    make: impl Fn() -> Result<T, StageError>,
) -> Result<Option<T>, StageError> {
    while !asked() {
        match make() {
            Err(StageError::Retry(reason)) => {
                tracing::warn!(reason, "will be tried again");
                std::thread::sleep(Duration::from_secs(1));
            }
            made => return made.map(Some),
        }
    }
    Ok(None)
}
