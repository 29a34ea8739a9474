//! The log: ordered partitions of records, consumer groups, commits.
//!
//! ```text
//!  append ──> [ topic / partition: 0 1 2 3 .. ] ──> Consumer (a group shares the partitions)
//!                                              └──> Reader   (a range, without a group)
//! ```
//!
//! Comes in: messages with an explicit partition. Goes out: the same messages with an offset and
//! the log's time, in order inside a partition, at least once. After a crash every append that
//! returned `Ok` is there whole, and every group goes on from its last commit.
//!
//! [`Log`] is the one trait that stages see. [`Embedded`] implements it inside the process, in a
//! folder or in memory; [`Faulty`] wraps any log and fails on purpose; [`conformance`] is what
//! every implementation must pass. Time comes from a [`Clock`].

pub mod clock;
pub mod conformance;
pub mod embedded;
mod error;
pub mod faults;
pub mod kafka;
mod log;
mod record;

pub use clock::{Clock, ManualClock, SystemClock};
pub use embedded::Embedded;
pub use error::{ErrorKind, LogError};
pub use faults::Faulty;
pub use kafka::Kafka;
pub use log::{Cleanup, Consumer, Log, Polled, Reader};
pub use record::{Headers, Message, Offset, Record, TopicPartition, UNREADABLE};
