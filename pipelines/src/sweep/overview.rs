//! A sweep as it goes: a line for each run that ends, and one bar over all of them where a person watches.

use super::runs::Missing;
use crate::progress::{MissingOnes, bar, counts, tasks, tasks_before};
use crate::resolve::Job;
use crate::tell;
use fedstill_schemas::events::Closed;
use fedstill_schemas::task::Task;
use fedstill_stages::StageError;
use fedstill_stages::context::Observer;
use fedstill_stages::rounds::Round;
use indicatif::ProgressBar;
use parking_lot::Mutex;
use std::io::IsTerminal;
use std::sync::Arc;

/// Shows a sweep's progress.
#[derive(Debug)]
pub(crate) struct Overview {
    bar: ProgressBar,
    plain: bool,
    /// Runs of all points.
    all: usize,
    /// Runs that have ended, those of earlier times included.
    ended: Mutex<usize>,
}

impl Overview {
    /// The overview of so many runs, of which these are not finished.
    pub(crate) fn new(all: usize, runs: &[Missing<'_>]) -> Self {
        let plain = !std::io::stderr().is_terminal();
        let tasks = runs.iter().map(|run| tasks(run.job, run.resolved.file.rounds)).sum();
        let bar = bar(plain, tasks);
        let ended = all - runs.len();
        bar.set_prefix(format!("{ended}/{all} runs"));
        Self {
            bar,
            plain,
            all,
            ended: Mutex::new(ended),
        }
    }

    /// What is told of one of the runs.
    pub(crate) fn part(self: &Arc<Self>, job: &Job, rounds: u32) -> Part {
        Part {
            overview: Arc::clone(self),
            job: job.clone(),
            tasks: tasks(job, rounds),
            done: Mutex::new(0),
            missing: MissingOnes::default(),
        }
    }

    /// A run has ended: says how.
    pub(crate) fn ended(&self, how: &str) {
        let mut ended = self.ended.lock();
        *ended += 1;
        let count = format!("{}/{}", *ended, self.all);
        self.bar.set_prefix(format!("{count} runs"));
        self.say(&format!("[{count}] {how}"));
    }

    /// Leaves the bar as it is.
    pub(crate) fn end(&self) {
        self.bar.abandon();
    }

    fn say(&self, line: &str) {
        if self.plain {
            tell::line(line);
        } else {
            self.bar.println(line);
        }
    }
}

/// Tells the overview of one run.
#[derive(Debug)]
pub(crate) struct Part {
    overview: Arc<Overview>,
    job: Job,
    /// Tasks of the run.
    tasks: u64,
    /// Those that the bar has.
    done: Mutex<u64>,
    missing: MissingOnes,
}

impl Part {
    /// All of its tasks are done.
    pub(crate) fn end(&self) {
        self.go(|_| self.tasks);
    }

    /// Moves the bar to where the run is.
    fn go(&self, to: impl FnOnce(u64) -> u64) {
        let mut done = self.done.lock();
        let now = to(*done).min(self.tasks);
        if now >= *done {
            self.overview.bar.inc(now - *done);
        } else {
            self.overview.bar.dec(*done - now);
        }
        *done = now;
    }
}

impl Observer for Part {
    fn opened(&self, round: &Round, _members: usize) {
        self.go(|_| tasks_before(&self.job, round));
    }

    fn finished(&self, _task: &Task, error: Option<&StageError>) {
        if counts(error) {
            self.go(|done| done + 1);
        }
    }

    fn closed(&self, closed: &Closed) {
        for line in self.missing.lines(closed) {
            self.overview.say(&line);
        }
    }
}
