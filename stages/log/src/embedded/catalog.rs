//! What the log knows beside the records: topics, ends, commits. A fold over the entries.
//!
//! Comes in: entries in the order in which they were made durable. Goes out: the catalog, always
//! the same for the same entries; so it is rebuilt from them after a crash.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::error::{Cause, LogError};
use crate::record::{Headers, Offset, Record, TopicPartition};

/// A partition's number in the whole log, given in the order of creation.
pub(super) type Pid = u32;

/// One change of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// The topic has this many partitions more.
    Topic { name: String, more: u32 },
    /// A record of a partition.
    Record { pid: Pid, record: Stored },
    /// A group will read the partition from this offset.
    Commit { group: String, pid: Pid, offset: Offset },
}

/// A record without the name of its partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) offset: Offset,
    pub(super) timestamp_ms: i64,
    pub(super) key: Bytes,
    pub(super) headers: Headers,
    pub(super) value: Bytes,
}

impl Stored {
    /// The payload's size as readers count it.
    pub(super) fn bytes(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(n, v)| n.len() + v.len()).sum();
        self.key.len() + headers + self.value.len()
    }

    pub(super) fn named(self, at: &TopicPartition) -> Record {
        Record {
            topic: Arc::clone(&at.topic),
            partition: at.partition,
            offset: self.offset,
            timestamp_ms: self.timestamp_ms,
            key: self.key,
            headers: self.headers,
            value: self.value,
        }
    }
}

/// One partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Partition {
    pub(super) name: TopicPartition,
    pub(super) end: Offset,
}

/// The sum of all entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Catalog {
    topics: BTreeMap<Arc<str>, Vec<Pid>>,
    partitions: Vec<Partition>,
    commits: BTreeMap<String, BTreeMap<Pid, Offset>>,
    last_ms: i64,
}

impl Catalog {
    /// Folds one entry in. `None` if the entry cannot follow the ones before it.
    pub(super) fn apply(&mut self, entry: &Entry) -> Option<()> {
        match entry {
            Entry::Topic { name, more } => {
                for _ in 0..*more {
                    self.add_partition(name, 0);
                }
            }
            Entry::Record { pid, record } => {
                let partition = self.partitions.get_mut(*pid as usize)?;
                if partition.end != record.offset {
                    return None;
                }
                partition.end += 1;
                self.last_ms = self.last_ms.max(record.timestamp_ms);
            }
            Entry::Commit { group, pid, offset } => {
                self.partitions.get(*pid as usize)?;
                self.set_commit(group, *pid, *offset);
            }
        }
        Some(())
    }

    /// Adds the next partition of a topic, which ends at `end`.
    pub(super) fn add_partition(&mut self, topic: &str, end: Offset) {
        let topic = match self.topics.get_key_value(topic) {
            Some((name, _)) => Arc::clone(name),
            None => Arc::from(topic),
        };
        let pids = self.topics.entry(Arc::clone(&topic)).or_default();
        let name = TopicPartition::new(topic, pids.len() as u32);
        pids.push(self.partitions.len() as Pid);
        self.partitions.push(Partition { name, end });
    }

    pub(super) fn set_commit(&mut self, group: &str, pid: Pid, offset: Offset) {
        match self.commits.get_mut(group) {
            Some(commits) => commits.insert(pid, offset),
            None => self.commits.entry(group.to_owned()).or_default().insert(pid, offset),
        };
    }

    pub(super) fn set_last_ms(&mut self, last_ms: i64) {
        self.last_ms = last_ms;
    }

    /// The greatest timestamp of any record: the next one is not smaller.
    pub(super) fn last_ms(&self) -> i64 {
        self.last_ms
    }

    /// All partitions in the order of their pids.
    pub(super) fn all(&self) -> &[Partition] {
        &self.partitions
    }

    pub(super) fn commits(&self) -> &BTreeMap<String, BTreeMap<Pid, Offset>> {
        &self.commits
    }

    pub(super) fn commit(&self, group: &str, pid: Pid) -> Option<Offset> {
        self.commits.get(group)?.get(&pid).copied()
    }

    pub(super) fn partition(&self, pid: Pid) -> &Partition {
        &self.partitions[pid as usize]
    }

    pub(super) fn topic(&self, topic: &str) -> Result<&[Pid], LogError> {
        let pids = self.topics.get(topic).map(Vec::as_slice);
        pids.ok_or_else(|| Cause::UnknownTopic(topic.to_owned()).into())
    }

    pub(super) fn pid(&self, topic: &str, partition: u32) -> Result<Pid, LogError> {
        let pids = self.topic(topic)?;
        pids.get(partition as usize).copied().ok_or_else(|| {
            Cause::UnknownPartition {
                topic: topic.to_owned(),
                partition,
                partitions: pids.len() as u32,
            }
            .into()
        })
    }

    /// Checks that `offset` is a place to read from.
    pub(super) fn check_offset(&self, pid: Pid, offset: Offset) -> Result<(), LogError> {
        let partition = self.partition(pid);
        if offset <= partition.end {
            return Ok(());
        }
        Err(Cause::OutOfRange {
            partition: partition.name.to_string(),
            offset,
            start: 0,
            end: partition.end,
        }
        .into())
    }
}
