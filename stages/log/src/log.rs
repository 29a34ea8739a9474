//! The trait that stages see, and the two ways to read.

use std::fmt::Debug;
use std::ops::Range;
use std::time::Duration;

use crate::error::LogError;
use crate::record::{Message, Offset, Record, TopicPartition};

/// What a broker does with old records. The embedded log keeps everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cleanup {
    /// Old records go after the broker's retention time.
    Delete,
    /// The last record of each key stays.
    Compact,
}

/// A log of topics, each with ordered partitions.
pub trait Log: Send + Sync + Debug {
    /// Makes sure that the topic exists with at least that many partitions. Extends an existing
    /// one, never shrinks it, and may be repeated.
    fn ensure_topic(&self, topic: &str, partitions: u32, cleanup: Cleanup) -> Result<(), LogError>;

    /// How many partitions the topic has.
    fn partitions(&self, topic: &str) -> Result<u32, LogError>;

    /// Appends messages to any number of topics and partitions, in the order given inside each
    /// partition, and returns their offsets in the order of `messages`. What it returned `Ok` for
    /// is durable. After an error some, all or none may be there: append again.
    fn append(&self, messages: &[Message]) -> Result<Vec<Offset>, LogError>;

    /// The offsets that the partition holds; the end is the offset of the next record.
    fn offsets(&self, topic: &str, partition: u32) -> Result<Range<Offset>, LogError>;

    /// Joins a group. Its members share the partitions of the topics they subscribed to. A group
    /// that has not committed a partition reads it from its earliest record.
    fn subscribe(&self, group: &str, topics: &[&str]) -> Result<Box<dyn Consumer>, LogError>;

    /// Reads these partitions on from a group's commits, as its only reader: nothing is shared, nothing is taken away.
    /// The group must have no members.
    fn assign(&self, group: &str, partitions: &[TopicPartition]) -> Result<Box<dyn Consumer>, LogError>;

    /// Reads one partition from an offset on, without a group. `from` may be the end, not beyond.
    fn read(&self, topic: &str, partition: u32, from: Offset) -> Result<Box<dyn Reader>, LogError>;

    /// The time by the log's clock, in milliseconds since the Unix epoch.
    fn now_ms(&self) -> i64;
}

/// A member of a group. Dropping it leaves the group without a commit.
pub trait Consumer: Send {
    /// What is new: partitions given or taken, or records, at most about 4 MiB or 512 of them.
    /// Waits up to `timeout` for something to happen. A slow member of the group holds back the
    /// partitions that should move away from it until it polls.
    fn poll(&mut self, timeout: Duration) -> Result<Polled, LogError>;

    /// Delivers no records of these partitions until they are resumed. Lasts until a partition
    /// is revoked; partitions that are not assigned are passed over.
    fn pause(&mut self, partitions: &[TopicPartition]);

    /// Delivers records of these partitions again.
    fn resume(&mut self, partitions: &[TopicPartition]);

    /// Stores, durably, the offset to read next for each partition. Partitions that are no longer
    /// assigned are passed over: their new owner decides.
    fn commit(&mut self, offsets: &[(TopicPartition, Offset)]) -> Result<(), LogError>;

    /// The offset of the record that `poll` delivers next, if the partition is assigned.
    fn position(&self, partition: &TopicPartition) -> Option<Offset>;

    /// The partitions that are assigned, in order: given by `poll` and not yet taken by it.
    fn assignment(&self) -> Vec<TopicPartition>;

    /// Moves the position of an assigned partition.
    fn seek(&mut self, partition: &TopicPartition, offset: Offset) -> Result<(), LogError>;
}

/// What a poll brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Polled {
    /// These partitions are now this member's, besides those that it has.
    Assigned(Vec<TopicPartition>),
    /// These partitions are another member's from now on.
    Revoked(Vec<TopicPartition>),
    /// Records, in order inside each partition.
    Records(Vec<Record>),
    /// Nothing happened within the timeout.
    Idle,
}

/// A reader of one partition.
pub trait Reader: Send {
    /// The next records, about `max_bytes` of keys, headers and values; at least one if there is
    /// one. Empty at the present end of the partition.
    fn next(&mut self, max_bytes: usize) -> Result<Vec<Record>, LogError>;
}
