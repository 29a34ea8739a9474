//! Compute threads: each takes one task at a time and runs it alone, in a rayon pool of one thread, so that tasks
//! neither share nor disturb each other and more threads change no bit.

use crate::context::Context;
use crate::error::StageError;
use crate::execute::{Executed, execute};
use crate::queue::Queue;
use fedstill_schemas::task::{Attempt, Task};
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// A task on its way to a compute thread.
#[derive(Clone, Debug)]
pub struct Job {
    /// The worker's number for it.
    pub id: u64,
    /// The task.
    pub task: Arc<Task>,
    /// When its record was written, in Unix milliseconds of the log.
    pub queued_ms: i64,
}

/// A job that came back.
#[derive(Debug)]
pub struct Finished {
    /// The worker's number for it.
    pub id: u64,
    /// When it was begun, by the telemetry's clock.
    pub began: Duration,
    /// What came of it.
    pub outcome: Result<Executed, StageError>,
}

/// Where a worker's jobs run.
pub trait Pool: Send + Debug {
    /// Queues a job.
    fn submit(&mut self, job: Job);

    /// A finished job, waiting for one as long as `timeout`.
    fn finished(&mut self, timeout: Duration) -> Option<Finished>;
}

/// Runs a job, telling the observer.
pub fn run(context: &Context, job: &Job) -> Finished {
    let began = context.telemetry.now();
    let outcome = execute(context, &job.task, job.queued_ms);
    context.observer.finished(&job.task, outcome.as_ref().err());
    Finished {
        id: job.id,
        began,
        outcome,
    }
}

/// Runs a job whose panic, if any, is its failure: the thread, and everyone else's tasks, go on.
fn run_caught(context: &Context, job: &Job) -> Finished {
    let began = context.telemetry.now();
    catch_unwind(AssertUnwindSafe(|| run(context, job))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        let error = StageError::Reject(format!(
            "it panicked: {}",
            text.unwrap_or("for a reason that is no text")
        ));
        context.observer.finished(&job.task, Some(&error));
        Finished {
            id: job.id,
            began,
            outcome: Err(error),
        }
    })
}

/// A fixed number of threads over one queue.
#[derive(Debug)]
pub struct Threads {
    context: Arc<Context>,
    queue: Arc<Queue>,
    finished: Receiver<Finished>,
    /// An attempt whose plan could not be read: the thread that talks to the log does not wait for it again.
    unread: Option<Attempt>,
    handles: Vec<JoinHandle<()>>,
}

impl Threads {
    /// Starts `threads` threads.
    ///
    /// # Errors
    /// A thread that the system does not give.
    pub fn new(context: &Arc<Context>, threads: usize) -> Result<Self, StageError> {
        let queue = Arc::new(Queue::default());
        let (done, finished) = channel();
        let threads = (0..threads.max(1))
            .map(|index| {
                let (context, queue, done) = (Arc::clone(context), Arc::clone(&queue), done.clone());
                let work = move || {
                    while let Some(job) = queue.pop() {
                        let finished = fedstill_learner::job(|| run_caught(&context, &job));
                        if done.send(finished).is_err() {
                            return;
                        }
                    }
                };
                let thread = std::thread::Builder::new().name(format!("compute-{index}")).spawn(work);
                thread.map_err(|error| StageError::Stop(format!("cannot start a compute thread: {error}")))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            context: Arc::clone(context),
            queue,
            finished,
            unread: None,
            handles: threads,
        })
    }
}

impl Pool for Threads {
    fn submit(&mut self, job: Job) {
        let at = &job.task.at;
        let known = self.context.known(at);
        let planned = known.or_else(|| {
            // A plan that cannot be read now is the task's to report.
            let planned = (self.unread.as_ref() != Some(at))
                .then(|| self.context.planned(at))?
                .ok();
            if planned.is_none() {
                self.unread = Some(at.clone());
            }
            planned
        });
        let effort = planned.map_or(0, |planned| self.context.learner.effort(&planned.run, job.task.subject));
        self.queue.push(job, effort);
    }

    fn finished(&mut self, timeout: Duration) -> Option<Finished> {
        if timeout.is_zero() {
            return self.finished.try_recv().ok();
        }
        self.finished.recv_timeout(timeout).ok()
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.queue.close();
        for thread in self.handles.drain(..) {
            // Tasks' panics are their failures: nothing is left to say.
            let _ = thread.join();
        }
    }
}
