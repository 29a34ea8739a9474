//! The queue before the compute threads: the largest task first, so that a phase does not end with one thread at work on
//! its largest task and the others idle (longest processing time first, Graham 1969). Order changes no bit.

use crate::pool::Job;
use parking_lot::{Condvar, Mutex};
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// Jobs that wait for a thread.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    /// By effort, largest first, then in the order of arrival.
    jobs: BTreeMap<(Reverse<u64>, u64), Job>,
    arrived: u64,
    closed: bool,
}

impl Queue {
    /// Adds a job that takes about so much effort.
    pub(crate) fn push(&self, job: Job, effort: u64) {
        let mut waiting = self.waiting.lock();
        let place = (Reverse(effort), waiting.arrived);
        waiting.arrived += 1;
        waiting.jobs.insert(place, job);
        self.changed.notify_one();
    }

    /// The next job, waiting for one; `None` once the queue is closed, whatever is left in it.
    pub(crate) fn pop(&self) -> Option<Job> {
        let mut waiting = self.waiting.lock();
        loop {
            if waiting.closed {
                return None;
            }
            if let Some((_, job)) = waiting.jobs.pop_first() {
                return Some(job);
            }
            self.changed.wait(&mut waiting);
        }
    }

    /// Hands out nothing from here on.
    pub(crate) fn close(&self) {
        self.waiting.lock().closed = true;
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fedstill_schemas::digest::Digest;
    use fedstill_schemas::pipeline::Stage;
    use fedstill_schemas::resolved::VERSION;
    use fedstill_schemas::task::{Attempt, Subject, Task};
    use std::sync::Arc;

    fn job(id: u64) -> Job {
        let at = Attempt {
            run: "r".into(),
            round: 0,
            attempt: 0,
        };
        let task = Task {
            version: VERSION,
            at,
            resolved: Digest::of(b""),
            phase: 0,
            step: "s".into(),
            stage: Stage::Train,
            subject: Subject::Server,
            reads: BTreeMap::new(),
            members: None,
        };
        Job {
            id,
            task: Arc::new(task),
            queued_ms: 0,
        }
    }

    #[test]
    fn the_largest_job_is_next_and_equal_ones_keep_their_order() {
        let queue = Queue::default();
        for (id, effort) in [(0, 5), (1, 9), (2, 5), (3, 1)] {
            queue.push(job(id), effort);
        }
        let order: Vec<u64> = (0..4).filter_map(|_| queue.pop()).map(|job| job.id).collect();
        assert_eq!(order, [1, 0, 2, 3]);
    }

    #[test]
    fn a_closed_queue_hands_out_nothing_and_wakes_who_waits() {
        let queue = Arc::new(Queue::default());
        let waiting = std::thread::spawn({
            let queue = Arc::clone(&queue);
            move || queue.pop().is_none()
        });
        queue.close();
        assert!(waiting.join().unwrap());
        queue.push(job(0), 1);
        assert!(queue.pop().is_none());
    }
}
