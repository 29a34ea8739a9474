//! The commands of a deployment: the same run file and the same stages, on Kafka and a shared store.
//!
//! ```text
//! topics create ──> topics        submit ──> data (store), triggers (log)
//! worker ──> stages, for ever     watch <── decisions        stop ──> a decision
//! ```

mod config;
mod health;
mod party;
mod prune;
mod replay;
mod submit;
#[cfg_attr(not(feature = "cloud"), path = "no_telemetry.rs")]
mod telemetry;
mod topics;
mod watch;
mod worker;

use fedstill_stages::StageError;
use std::time::Duration;

pub(crate) use config::Config;
pub(crate) use party::{init as init_party, serve as serve_party};
pub(crate) use prune::prune;
pub(crate) use replay::{replay, text as replayed_text};
pub(crate) use submit::{check_retention, submit, triggers};
pub(crate) use telemetry::Exporters;
pub(crate) use topics::create;
pub(crate) use watch::{Watched, stop, watch};
pub(crate) use worker::{Options, serve};

/// Pause between tries.
const PAUSE: Duration = Duration::from_millis(300);

/// Tries until it works or `asked` says to stop, which gives `None`: brokers and the store may be away, or start later.
fn patiently<T>(
    asked: &dyn Fn() -> bool,
    mut attempt: impl FnMut() -> Result<T, StageError>,
) -> Result<Option<T>, StageError> {
    while !asked() {
        match attempt() {
            Err(StageError::Retry(reason)) => {
                tracing::warn!(reason, "will be tried again");
                std::thread::sleep(PAUSE);
            }
            ended => return ended.map(Some),
        }
    }
    Ok(None)
}
