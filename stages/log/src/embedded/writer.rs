//! Group commit: whoever comes first writes for all who wait.
//!
//! ```text
//!  append ─┐
//!  append ─┼─> queue ──> leader: offsets, time ──> storage (one fsync) ──> catalog ──> answers
//!  commit ─┘
//! ```
//!
//! Comes in: requests of several threads. Goes out: one write of the storage at a time, with the
//! requests in the order of their arrival. The catalog shows an entry only once it is durable.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex, RwLock};

use super::catalog::{Catalog, Entry, Pid, Stored};
use super::storage::Storage;
use crate::clock::Clock;
use crate::error::LogError;
use crate::record::{Message, Offset};

/// What to write.
#[derive(Debug)]
pub(super) enum Request {
    /// A topic and the number of partitions that it should have.
    Topic(String, u32),
    /// Messages with their partitions, which exist.
    Append(Vec<(Pid, Message)>),
    /// A group's offsets.
    Commit(String, Vec<(Pid, Offset)>),
}

type Answer = Result<Vec<Offset>, LogError>;

#[derive(Debug, Default)]
struct Queue {
    waiting: Vec<(u64, Request)>,
    answers: BTreeMap<u64, Answer>,
    next_ticket: u64,
    led: bool,
}

/// Writes requests to a storage and shows the result.
#[derive(Debug)]
pub(super) struct Writer {
    storage: Box<dyn Storage>,
    catalog: RwLock<Catalog>,
    clock: Arc<dyn Clock>,
    queue: Mutex<Queue>,
    answered: Condvar,
}

impl Writer {
    pub(super) fn new(storage: Box<dyn Storage>, catalog: Catalog, clock: Arc<dyn Clock>) -> Self {
        Self {
            storage,
            catalog: RwLock::new(catalog),
            clock,
            queue: Mutex::default(),
            answered: Condvar::new(),
        }
    }

    pub(super) fn storage(&self) -> &dyn Storage {
        self.storage.as_ref()
    }

    pub(super) fn clock(&self) -> &dyn Clock {
        self.clock.as_ref()
    }

    /// A look at what is durable. Writers wait for it: keep it short.
    pub(super) fn look<T>(&self, look: impl FnOnce(&Catalog) -> T) -> T {
        look(&self.catalog.read())
    }

    /// Returns once the request is durable, with the offsets of its messages.
    pub(super) fn submit(&self, request: Request) -> Answer {
        let mut queue = self.queue.lock();
        let ticket = queue.next_ticket;
        queue.next_ticket += 1;
        queue.waiting.push((ticket, request));
        loop {
            if let Some(answer) = queue.answers.remove(&ticket) {
                return answer;
            }
            if queue.led {
                self.answered.wait(&mut queue);
                continue;
            }
            queue.led = true;
            let batch = std::mem::take(&mut queue.waiting);
            drop(queue);
            let answers = self.lead(batch);
            queue = self.queue.lock();
            queue.answers.extend(answers);
            queue.led = false;
            self.answered.notify_all();
        }
    }

    fn lead(&self, batch: Vec<(u64, Request)>) -> Vec<(u64, Answer)> {
        // Only a leader changes the catalog and there is one at a time, so what it reads here
        // stays true while it writes without a lock.
        let catalog = self.catalog.upgradable_read();
        let mut stamp = Stamp {
            catalog: &catalog,
            ends: BTreeMap::new(),
            created: BTreeMap::new(),
            now_ms: self.clock.now_ms().max(catalog.last_ms()),
            entries: Vec::new(),
        };
        let mut answers = Vec::with_capacity(batch.len());
        for (ticket, request) in batch {
            answers.push((ticket, Ok(stamp.enter(request))));
        }
        let entries = stamp.entries;
        if entries.is_empty() {
            return answers;
        }
        if let Err(error) = self.storage.write(&entries, &catalog) {
            for (_, answer) in &mut answers {
                *answer = Err(error.clone());
            }
            return answers;
        }
        let mut catalog = parking_lot::RwLockUpgradableReadGuard::upgrade(catalog);
        for entry in &entries {
            let applied = catalog.apply(entry);
            debug_assert!(applied.is_some(), "entries are made from the catalog");
        }
        answers
    }
}

/// Gives offsets and time to the requests of one batch.
struct Stamp<'a> {
    catalog: &'a Catalog,
    ends: BTreeMap<Pid, Offset>,
    created: BTreeMap<String, u32>,
    now_ms: i64,
    entries: Vec<Entry>,
}

impl Stamp<'_> {
    fn enter(&mut self, request: Request) -> Vec<Offset> {
        match request {
            Request::Topic(name, partitions) => {
                let existing = self.catalog.topic(&name).map_or(0, |pids| pids.len() as u32);
                let existing = existing + self.created.get(&name).unwrap_or(&0);
                let more = partitions.saturating_sub(existing);
                if more > 0 {
                    *self.created.entry(name.clone()).or_default() += more;
                    self.entries.push(Entry::Topic { name, more });
                }
                Vec::new()
            }
            Request::Append(messages) => {
                self.entries.reserve(messages.len());
                let messages = messages.into_iter();
                messages.map(|(pid, message)| self.record(pid, message)).collect()
            }
            Request::Commit(group, offsets) => {
                for (pid, offset) in offsets {
                    let group = group.clone();
                    self.entries.push(Entry::Commit { group, pid, offset });
                }
                Vec::new()
            }
        }
    }

    fn record(&mut self, pid: Pid, message: Message) -> Offset {
        let end = self.ends.entry(pid);
        let end = end.or_insert_with(|| self.catalog.partition(pid).end);
        let offset = *end;
        *end += 1;
        let record = Stored {
            offset,
            timestamp_ms: self.now_ms,
            key: message.key,
            headers: message.headers,
            value: message.value,
        };
        self.entries.push(Entry::Record { pid, record });
        offset
    }
}
