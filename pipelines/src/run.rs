//! `fedstill run`: every pipeline and seed of a run file, one after the other, each in its folder.

use crate::estimate;
use crate::folder;
use crate::progress::Display;
use crate::resolve::{Job, Resolved};
use fedstill_learner::Registry;
use fedstill_log::{Clock, SystemClock};
use fedstill_schemas::events::Trigger;
use fedstill_schemas::names;
use fedstill_schemas::plan::Manifest;
use fedstill_schemas::resolved::VERSION;
use fedstill_schemas::task::Attempt;
use fedstill_stages::context::{Context, Observer};
use fedstill_stages::faults::Faults;
use fedstill_stages::tensors::Tensors;
use fedstill_stages::{Federation, Progress, StageError, Store};
use std::path::Path;
use std::sync::Arc;

/// How the runs of a file ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// All rounds of all runs are done.
    Finished,
    /// The person stopped it.
    Interrupted,
    /// A run cannot go on, for this reason.
    Failed(String),
}

/// Runs what is missing of a run file.
///
/// # Errors
/// A folder that cannot be used, and whatever stops a worker.
pub(crate) fn run(
    resolved: &Resolved,
    registry: Registry,
    out: &Path,
    threads: usize,
    interrupted: &dyn Fn() -> bool,
) -> Result<Ended, StageError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let rounds = resolved.file.rounds;
    let missing: Vec<&Job> = resolved
        .jobs
        .iter()
        .filter(|job| !is_finished(out, job, rounds))
        .collect();
    if missing.is_empty() {
        return Ok(Ended::Finished);
    }
    announce(resolved, &missing, &registry, threads, &*clock);
    let learner = Arc::new(Tensors::new(registry, resolved.data.iter().cloned()));
    for job in missing {
        let (log, store) = folder::open(out, job, Arc::clone(&clock))?;
        let display = Arc::new(Display::new(job, rounds));
        let mut context = Context::new(log, store, Arc::clone(&learner) as _);
        context.observer = Arc::clone(&display) as Arc<dyn Observer>;
        context.faults = faults();
        let first = Trigger {
            version: VERSION,
            at: Attempt {
                run: job.id.clone(),
                round: 0,
                attempt: 0,
            },
            through: rounds,
            resolved: job.resolved.clone(),
            close: resolved.close,
            after: None,
        };
        let progress = Federation::start(Arc::new(context), threads)?.run(&first, &*clock, interrupted)?;
        display.end(progress == Progress::Finished);
        match progress {
            Progress::Finished => {}
            Progress::Interrupted => return Ok(Ended::Interrupted),
            failed @ Progress::Ended { .. } => return Ok(Ended::Failed(format!("{}: {failed}", job.id))),
        }
    }
    Ok(Ended::Finished)
}

/// Whether a run's last round has a manifest; looks only, makes no folder.
fn is_finished(out: &Path, job: &Job, rounds: u32) -> bool {
    let folder = out.join(&job.id);
    if !folder.join("store").is_dir() {
        return false;
    }
    let same_run = || {
        let store = Store::local(&folder, &folder::results(out), 0).ok()?;
        let (there, _) = store.get_json(&names::run_object(&job.id)).ok()??;
        let manifest = store
            .get_json::<Manifest>(&names::manifest_object(&job.id, rounds))
            .ok()?;
        Some(job.resolved == there && manifest.is_some())
    };
    same_run().unwrap_or(false)
}

fn announce(resolved: &Resolved, missing: &[&Job], registry: &Registry, threads: usize, clock: &dyn Clock) {
    let rounds = resolved.file.rounds;
    let rates = estimate::rates(resolved, registry, clock);
    let seconds: f64 = missing.iter().map(|job| estimate::seconds(job, rounds, &rates)).sum();
    let disk: u64 = missing.iter().map(|job| estimate::disk(job, rounds, registry)).sum();
    eprintln!(
        "{}: {} run{} of {rounds} rounds with {} parties; about {} on {threads} thread{}, {} on disk",
        resolved.file.name,
        missing.len(),
        if missing.len() == 1 { "" } else { "s" },
        resolved.file.parties.count,
        estimate::duration(seconds / threads as f64),
        if threads == 1 { "" } else { "s" },
        estimate::bytes(disk),
    );
}

/// With `FEDSTILL_CRASH=<point>:<n>` the process dies at the n-th time that it comes to that point, as by kill -9: for
/// tests of what holds after a crash.
fn faults() -> Faults {
    let Ok(wanted) = std::env::var("FEDSTILL_CRASH") else {
        return Faults::default();
    };
    let (point, count) = wanted.rsplit_once(':').map_or((wanted.clone(), 1), |(point, count)| {
        (point.to_owned(), count.parse().unwrap_or(1))
    });
    let left = std::sync::atomic::AtomicU64::new(count);
    Faults::new(move |at| {
        if at == point && left.fetch_sub(1, std::sync::atomic::Ordering::Relaxed) == 1 {
            std::process::abort();
        }
    })
}
