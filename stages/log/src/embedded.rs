//! The log inside the process: the default of a run on one machine.
//!
//! ```text
//!  append, commit ──> writer (group commit) ──> storage: files, or memory
//!                        │                         │
//!                     catalog                      │ records
//!                        │ ends, commits           v
//!  groups ───────────────┴────────────────> Consumer, Reader
//! ```
//!
//! Comes in: calls of [`Log`]. Goes out: the same, with everything kept for ever. After a crash
//! every acknowledged append and commit is there; groups have no members; what a cut-short write
//! left behind is gone. Damage inside what had been acknowledged is an error, never cut off; a last
//! segment that ends early looks like a write that was cut short, and is taken for one.
//!
//! # Why segments and a key-value store
//!
//! The log should append at least a quarter, and read at least half, as fast as a plain file that
//! is written and synced in batches of 4 MiB. Ratios to such a file, with the cold build seconds
//! and crates that each store adds:
//!
//! | | append 1 MB | read 1 MB | append 1 KB | read 1 KB | build | crates |
//! |---|---|---|---|---|---|---|
//! | fjall 3 | 0.6 | 0.7 | 0.3 | 0.1 | 52 s | 48 |
//! | fjall 3, key-value separation | 0.4 | 0.5 | 0.2 | 0.1 | 52 s | 48 |
//! | redb 4 | 0.3 | 0.3 | 0.2 | 0.2 | 27 s | 2 |
//! | redb 4, all in its own cache | 0.3 | 1.8 | 0.2 | 0.5 | 27 s | 2 |
//! | segments, redb for their index | 1.0 | 0.9 | 0.6 | 0.5 to 0.6 | 27 s | 2 |
//!
//! No store meets the target for small records by itself (LMDB by heed needs `unsafe` to open and
//! a C compiler, and was left out), so the records lie in append-only segments and a store keeps
//! their index. redb was taken for it: safe Rust, one dependency, one file. Since the index only
//! repeats what the segments say, it is written once a segment, and a write costs one fsync.
//! `examples/bench_log.rs` measures the last row.

mod catalog;
mod consumer;
mod files;
mod folder;
mod frame;
mod groups;
mod index;
mod segment;
mod storage;
#[cfg(test)]
mod tests;
mod writer;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use self::catalog::{Catalog, Pid};
use self::consumer::{Member, RangeReader};
use self::files::Files;
use self::groups::{Change, Group, MemberId};
use self::storage::{Memory, Storage};
use self::writer::{Request, Writer};
use crate::clock::Clock;
use crate::error::{Cause, LogError};
use crate::log::{Cleanup, Consumer, Log, Reader};
use crate::record::{Message, Offset, TopicPartition};

/// The largest message: far above what one partition of a broker takes, far below what a length
/// in the files can say.
const MOST_BYTES: usize = 256 << 20;

/// A log in this process, durable in a folder or in memory. Clones are the same log.
#[derive(Clone, Debug)]
pub struct Embedded {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    writer: Writer,
    groups: Mutex<Groups>,
    signal: Signal,
}

#[derive(Debug, Default)]
struct Groups {
    by_name: BTreeMap<String, Group>,
    /// What each member subscribed to, to hand it partitions that are created later.
    members: BTreeMap<MemberId, (String, Vec<String>)>,
    next: MemberId,
}

impl Embedded {
    /// Opens the log in a folder, and makes it if it is not there. One process at a time.
    pub fn open(folder: impl AsRef<Path>, clock: Arc<dyn Clock>) -> Result<Self, LogError> {
        let (files, catalog) = Files::open(folder.as_ref(), files::SEGMENT_BYTES)?;
        Ok(Self::new(Box::new(files), catalog, clock))
    }

    /// A log in memory: the same log without a disk, gone with its last clone. With a manual
    /// clock and polls that do not wait it does the same each time.
    pub fn in_memory(clock: Arc<dyn Clock>) -> Self {
        Self::new(Box::new(Memory::default()), Catalog::default(), clock)
    }

    fn new(storage: Box<dyn Storage>, catalog: Catalog, clock: Arc<dyn Clock>) -> Self {
        let inner = Inner {
            writer: Writer::new(storage, catalog, clock),
            groups: Mutex::default(),
            signal: Signal::default(),
        };
        Self { inner: Arc::new(inner) }
    }
}

impl Log for Embedded {
    fn ensure_topic(&self, topic: &str, partitions: u32, _: Cleanup) -> Result<(), LogError> {
        if topic.is_empty() || topic.len() > 249 || partitions == 0 {
            return Err(Cause::BadTopic(topic.to_owned()).into());
        }
        let writer = &self.inner.writer;
        let enough = |pids: &[Pid]| pids.len() >= partitions as usize;
        if writer.look(|catalog| catalog.topic(topic).is_ok_and(enough)) {
            return Ok(());
        }
        writer.submit(Request::Topic(topic.to_owned(), partitions))?;
        self.inner.extend_groups(topic);
        Ok(())
    }

    fn partitions(&self, topic: &str) -> Result<u32, LogError> {
        let writer = &self.inner.writer;
        writer.look(|catalog| Ok(catalog.topic(topic)?.len() as u32))
    }

    fn append(&self, messages: &[Message]) -> Result<Vec<Offset>, LogError> {
        if messages.is_empty() {
            return Ok(Vec::new());
        }
        let placed = self.inner.writer.look(|catalog| {
            let place = |message: &Message| {
                check_size(message)?;
                Ok((catalog.pid(&message.topic, message.partition)?, message.clone()))
            };
            messages.iter().map(place).collect::<Result<Vec<_>, LogError>>()
        })?;
        let offsets = self.inner.writer.submit(Request::Append(placed))?;
        self.inner.signal.notify();
        Ok(offsets)
    }

    fn offsets(&self, topic: &str, partition: u32) -> Result<Range<Offset>, LogError> {
        self.inner.writer.look(|catalog| {
            let pid = catalog.pid(topic, partition)?;
            Ok(0..catalog.partition(pid).end)
        })
    }

    fn subscribe(&self, group: &str, topics: &[&str]) -> Result<Box<dyn Consumer>, LogError> {
        let topics: Vec<String> = topics.iter().map(|topic| (*topic).to_owned()).collect();
        let id = self.inner.join(group, topics)?;
        let inner = Arc::clone(&self.inner);
        Ok(Box::new(Member::new(inner, group.to_owned(), id)))
    }

    fn assign(&self, group: &str, partitions: &[TopicPartition]) -> Result<Box<dyn Consumer>, LogError> {
        let pids = self.inner.writer.look(|catalog| {
            let pid = |partition: &TopicPartition| catalog.pid(&partition.topic, partition.partition);
            partitions.iter().map(pid).collect::<Result<Vec<_>, LogError>>()
        })?;
        let inner = Arc::clone(&self.inner);
        Ok(Box::new(Member::alone(inner, group.to_owned(), pids)))
    }

    fn read(&self, topic: &str, partition: u32, from: Offset) -> Result<Box<dyn Reader>, LogError> {
        let pid = self.inner.writer.look(|catalog| {
            let pid = catalog.pid(topic, partition)?;
            catalog.check_offset(pid, from)?;
            Ok::<_, LogError>(pid)
        })?;
        Ok(Box::new(RangeReader {
            inner: Arc::clone(&self.inner),
            name: TopicPartition::new(topic, partition),
            pid,
            position: from,
        }))
    }

    fn now_ms(&self) -> i64 {
        self.inner.writer.clock().now_ms()
    }
}

fn check_size(message: &Message) -> Result<(), LogError> {
    let headers = message.headers.iter();
    let headers: usize = headers.map(|(name, value)| name.len() + value.len() + 8).sum();
    let bytes = message.key.len() + headers + message.value.len();
    if bytes <= MOST_BYTES {
        return Ok(());
    }
    Err(Cause::TooLarge {
        topic: message.topic.clone(),
        bytes,
        most: MOST_BYTES,
    }
    .into())
}

impl Inner {
    fn join(&self, group: &str, topics: Vec<String>) -> Result<MemberId, LogError> {
        let mut groups = self.groups.lock();
        let eligible = self.eligible(&topics)?;
        let id = groups.next;
        groups.next += 1;
        groups.members.insert(id, (group.to_owned(), topics));
        groups.by_name.entry(group.to_owned()).or_default().join(id, eligible);
        drop(groups);
        self.signal.notify();
        Ok(id)
    }

    fn leave(&self, group: &str, id: MemberId) {
        let mut groups = self.groups.lock();
        groups.members.remove(&id);
        if groups.by_name.get_mut(group).is_some_and(|group| group.leave(id)) {
            groups.by_name.remove(group);
        }
        drop(groups);
        self.signal.notify();
    }

    /// Hands out the partitions that a topic has got since its readers joined.
    fn extend_groups(&self, topic: &str) {
        let mut guard = self.groups.lock();
        let Groups { by_name, members, .. } = &mut *guard;
        for (id, (group, topics)) in members {
            if !topics.iter().any(|other| other == topic) {
                continue;
            }
            if let (Some(group), Ok(eligible)) = (by_name.get_mut(group), self.eligible(topics)) {
                group.join(*id, eligible);
            }
        }
        drop(guard);
        self.signal.notify();
    }

    fn eligible(&self, topics: &[String]) -> Result<BTreeSet<Pid>, LogError> {
        self.writer.look(|catalog| {
            let mut pids = BTreeSet::new();
            for topic in topics {
                pids.extend(catalog.topic(topic)?);
            }
            Ok(pids)
        })
    }

    /// What the member must be told, and wakes those who wait for what it has lost.
    fn change(&self, group: &str, id: MemberId) -> Option<Change> {
        let change = self.groups.lock().by_name.get_mut(group)?.change(id)?;
        if matches!(change, Change::Revoked(_)) {
            self.signal.notify();
        }
        Some(change)
    }
}

/// Wakes those who wait for something to happen.
#[derive(Debug, Default)]
struct Signal {
    count: Mutex<u64>,
    happened: Condvar,
}

impl Signal {
    fn seen(&self) -> u64 {
        *self.count.lock()
    }

    fn notify(&self) {
        *self.count.lock() += 1;
        self.happened.notify_all();
    }

    /// False if nothing has happened since `seen` and within `timeout`.
    fn wait(&self, seen: u64, timeout: Duration) -> bool {
        let mut count = self.count.lock();
        while *count == seen {
            if self.happened.wait_for(&mut count, timeout).timed_out() {
                return *count != seen;
            }
        }
        true
    }
}
