//! `fedstill run`: every pipeline and seed of a run file, one after the other, each in its folder.

use crate::estimate::{self, Rates, counted};
use crate::progress::Display;
use crate::resolve::{Job, Resolved};
use crate::{check, folder, tell};
use fedstill_learner::Registry;
use fedstill_log::{Clock, SystemClock};
use fedstill_stages::context::{Context, Observer};
use fedstill_stages::faults::Faults;
use fedstill_stages::federation::{PARTITIONS, make_topics};
use fedstill_stages::plan::remedy;
use fedstill_stages::tensors::Tensors;
use fedstill_stages::{Federation, Progress, StageError};
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;

/// How the runs of a file ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// All rounds of all runs are done.
    Finished,
    /// The person stopped it.
    Interrupted,
    /// These runs, by their ids, cannot go on; all others are done. Why was said when each ended.
    Failed(Vec<String>),
}

/// What the runs of a process share, one after the other or side by side.
pub(crate) struct Runner<'a> {
    /// Folder of runs and results.
    pub(crate) out: &'a Path,
    /// What trains and predicts, with the data sets of all of them.
    pub(crate) learner: Arc<Tensors>,
    /// Compute threads of each run.
    pub(crate) threads: usize,
    pub(crate) clock: Arc<dyn Clock>,
    /// Whether a person wants them to stop.
    pub(crate) interrupted: &'a (dyn Fn() -> bool + Sync),
}

impl Runner<'_> {
    /// Does what is missing of a run, in its folder.
    ///
    /// # Errors
    /// A folder that cannot be used, and whatever stops a worker.
    pub(crate) fn run(
        &self,
        resolved: &Resolved,
        job: &Job,
        observer: Arc<dyn Observer>,
    ) -> Result<Progress, StageError> {
        let (log, store) = folder::open(self.out, job, Arc::clone(&self.clock))?;
        let mut context = Context::new(log, store, Arc::clone(&self.learner) as _);
        context.observer = observer;
        context.prices = Arc::clone(&resolved.prices);
        context.faults = faults();
        let first = resolved.first_trigger(job);
        make_topics(&*context.log, PARTITIONS)?;
        Federation::start(Arc::new(context), self.threads)?.run(&first, &*self.clock, self.interrupted)
    }
}

/// Runs what is missing of a run file. A run that fails is named with its reason, and stops no other; what is wrong with the
/// machine stops all of them.
///
/// # Errors
/// A folder that cannot be used, and whatever stops a worker.
pub(crate) fn run(
    resolved: &Resolved,
    registry: Registry,
    out: &Path,
    threads: usize,
    interrupted: &(dyn Fn() -> bool + Sync),
) -> Result<Ended, StageError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let rounds = resolved.file.rounds;
    // All folders are looked at before the first run starts: what cannot be used is said at once.
    let mut missing = Vec::new();
    for job in &resolved.jobs {
        let from = folder::finished(out, job, rounds)?;
        if from <= rounds {
            missing.push((job, from..=rounds));
        }
    }
    if missing.is_empty() {
        return Ok(Ended::Finished);
    }
    for warning in check::of_data(resolved) {
        tell::line(&warning);
    }
    announce(resolved, &missing, &registry, threads, &*clock);
    let runner = Runner {
        out,
        learner: Arc::new(Tensors::new(registry, resolved.data.iter().cloned())),
        threads,
        clock,
        interrupted,
    };
    let mut failed = Vec::new();
    for (job, _) in missing {
        let display = Arc::new(Display::new(job, rounds));
        let progress = runner.run(resolved, job, Arc::clone(&display) as Arc<dyn Observer>);
        display.end(progress == Ok(Progress::Finished));
        let reason = match progress {
            Ok(Progress::Finished) => continue,
            Ok(Progress::Interrupted) => return Ok(Ended::Interrupted),
            Ok(ended @ Progress::Ended { .. }) => ended.to_string(),
            // It is about this run: a round that was tried too often, an object that is damaged.
            Err(StageError::Reject(reason)) => reason,
            Err(error) => return Err(error),
        };
        // At once: the others may take long, or never end.
        tell::line(&format!("error: {}: {reason}", job.id));
        failed.push(job.id.clone());
    }
    Ok(if failed.is_empty() {
        Ended::Finished
    } else {
        Ended::Failed(failed)
    })
}

/// What is said when runs have failed: how many of `all`, which, and what to do.
pub(crate) fn failures(failed: &[String], all: usize, simulates: bool) -> String {
    const NAMED: usize = 10;
    let mut names: Vec<String> = failed.iter().take(NAMED).cloned().collect();
    if failed.len() > NAMED {
        names.push(format!("and {} more", failed.len() - NAMED));
    }
    format!(
        "{} of {} failed ({}); the same command tries a round that failed again, three times at most in all; after that {}",
        failed.len(),
        counted(all, "run"),
        names.join(", "),
        remedy(simulates)
    )
}

fn announce(
    resolved: &Resolved,
    missing: &[(&Job, RangeInclusive<u32>)],
    registry: &Registry,
    threads: usize,
    clock: &dyn Clock,
) {
    let mut rates = Rates::new();
    estimate::measure(&mut rates, resolved, registry, clock);
    let seconds = |(job, rounds): &(&Job, RangeInclusive<u32>)| estimate::seconds(job, rounds, &rates);
    let disk = |(job, rounds): &(&Job, RangeInclusive<u32>)| estimate::disk(job, rounds, registry);
    let waits = |(job, rounds): &(&Job, RangeInclusive<u32>)| estimate::waits(job, rounds, resolved.close);
    // No more run at once than there are processors and parties.
    let processors = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let at_once = threads.min(processors).min(resolved.file.parties.count as usize);
    let begun = missing.iter().any(|(_, rounds)| *rounds.start() > 0);
    tell::line(&format!(
        "{}: {} of {} with {}; {}about {} on {}, {} on disk",
        resolved.file.name,
        counted(missing.len(), "run"),
        counted(resolved.file.rounds, "round"),
        counted(resolved.file.parties.count, "party"),
        if begun { "what is left takes " } else { "" },
        estimate::duration(
            missing.iter().map(seconds).sum::<f64>() / at_once as f64 + missing.iter().map(waits).sum::<f64>()
        ),
        counted(threads, "thread"),
        estimate::bytes(missing.iter().map(disk).sum()),
    ));
}

/// With `FEDSTILL_CRASH=<point>:<n>` the process dies at the n-th time that it comes to that point, as by kill -9: for
/// tests of what holds after a crash.
pub(crate) fn faults() -> Faults {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolve::resolve;
    use std::collections::BTreeMap;
    use std::path::PathBuf;

    fn resolved(folder: &Path, seed: u64) -> Resolved {
        let data = format!("{}/examples/data", env!("CARGO_MANIFEST_DIR"));
        let text = format!(
            "name = \"twin\"\npipeline = \"fedmd\"\nrounds = 1\nseeds = [{seed}]\n[data]\nlabels = \"union\"\n\
             private = {{ url = \"{data}/letters.parquet\", rows = 90 }}\npublic = {{ url = \"{data}/mnist.parquet\", rows = 90 }}\n\
             test = {{ url = \"{data}/letters-test.parquet\" }}\n[parties]\ncount = 3\narchitectures = [\"cnn[4]\", \"mlp[16]\"]\n\
             [steps.pretrain]\nepochs = 2\nstop = false\n[steps.transfer]\nepochs = 2\nstop = false\n"
        );
        let file = folder.join(format!("twin-{seed}.toml"));
        std::fs::write(&file, text).unwrap();
        resolve(&file, &Registry::default()).unwrap_or_else(|_| panic!("a good run file"))
    }

    /// Every result and part of a run.
    fn made(out: &Path, seed: u64) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut made = BTreeMap::new();
        let mut folders = vec![out.join(format!("twin-fedmd-{seed}"))];
        while let Some(next) = folders.pop() {
            for entry in std::fs::read_dir(&next).unwrap() {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                if path.is_dir() && name != "log" {
                    folders.push(path);
                } else if path.is_file() && !name.starts_with("closed-") && !name.starts_with("plan-") {
                    made.insert(
                        path.strip_prefix(out).unwrap().to_owned(),
                        std::fs::read(&path).unwrap(),
                    );
                }
            }
        }
        assert!(made.len() > 20);
        made
    }

    fn finish(resolved: &Resolved, out: &Path) {
        let ended = run(resolved, Registry::default(), out, 1, &|| false).unwrap();
        assert_eq!(ended, Ended::Finished);
    }

    #[test]
    fn two_runs_interleaved_in_one_process_do_not_change_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let files = [resolved(folder.path(), 0), resolved(folder.path(), 1)];
        let (alone, together) = (folder.path().join("alone"), folder.path().join("together"));
        for file in &files {
            finish(file, &alone);
        }
        std::thread::scope(|scope| {
            for file in &files {
                let together = &together;
                scope.spawn(move || finish(file, together));
            }
        });
        for seed in [0, 1] {
            assert_eq!(made(&alone, seed), made(&together, seed), "seed {seed}");
        }
        assert_ne!(
            made(&alone, 0).into_values().collect::<Vec<_>>(),
            made(&alone, 1).into_values().collect::<Vec<_>>()
        );
    }

    #[test]
    fn failures_are_named_and_what_goes_wrong_on_purpose_is_not_mended_by_another_name() {
        let failed: Vec<String> = (0..12).map(|seed| format!("a-b-{seed}")).collect();
        let calm = failures(&failed[..1], 1, false);
        assert!(calm.starts_with("1 of 1 run failed (a-b-0); "), "{calm}");
        assert!(
            calm.ends_with("after that mend what failed and use another name"),
            "{calm}"
        );
        let simulated = failures(&failed, 20, true);
        assert!(
            simulated.starts_with("12 of 20 runs failed (a-b-0, ") && simulated.contains("a-b-9, and 2 more); "),
            "{simulated}"
        );
        assert!(
            simulated.contains("after that change the seed, or the quorum"),
            "{simulated}"
        );
    }

    #[test]
    fn a_finished_run_is_not_started_again_and_a_longer_one_is() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = resolved(folder.path(), 0);
        let out = folder.path().join("runs");
        finish(&file, &out);
        let before = made(&out, 0);
        finish(&file, &out);
        assert_eq!(made(&out, 0), before);
        file.file.rounds = 2;
        assert_eq!(folder::finished(&out, &file.jobs[0], 2).unwrap(), 2);
        finish(&file, &out);
        assert!(made(&out, 0).len() > before.len());
    }
}
