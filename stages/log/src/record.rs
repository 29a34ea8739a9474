//! What goes into the log and what comes out of it.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

/// The place of a record in its partition; the first is 0.
pub type Offset = u64;

/// Named values beside the body, in the order in which they were given. Names may repeat.
pub type Headers = Vec<(String, Bytes)>;

/// Header of an empty record that stands in for one that cannot be unpacked: the reason, for people.
pub const UNREADABLE: &str = "fedstill_unreadable";

/// One partition of one topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition's number, from 0.
    pub partition: u32,
}

impl TopicPartition {
    /// Names a partition of a topic.
    pub fn new(topic: impl Into<Arc<str>>, partition: u32) -> Self {
        Self {
            topic: topic.into(),
            partition,
        }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.partition)
    }
}

/// What is appended. The partition is explicit: the log never chooses one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The topic, which must exist.
    pub topic: String,
    /// The partition, which must exist.
    pub partition: u32,
    /// The key; may be empty.
    pub key: Bytes,
    /// Named values beside the body.
    pub headers: Headers,
    /// The body; may be empty.
    pub value: Bytes,
}

/// A message that is in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: u32,
    /// The place in the partition.
    pub offset: Offset,
    /// When the log took it, in milliseconds since the Unix epoch, by the log's clock. Never
    /// decreases inside a partition.
    pub timestamp_ms: i64,
    /// The key.
    pub key: Bytes,
    /// Named values beside the body.
    pub headers: Headers,
    /// The body.
    pub value: Bytes,
}

impl Record {
    /// The last header of that name, as Kafka's own clients choose among repeated names.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        let found = self.headers.iter().rev().find(|(other, _)| other == name);
        found.map(|(_, value)| value.as_ref())
    }

    /// Where the record lies.
    pub fn topic_partition(&self) -> TopicPartition {
        TopicPartition::new(Arc::clone(&self.topic), self.partition)
    }
}
