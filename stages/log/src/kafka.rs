//! The log on an Apache Kafka cluster, by librdkafka.
//!
//! ```text
//!  append ──> one idempotent producer, acks = all ──> brokers
//!  subscribe ──> a consumer of its own, cooperative assignment, auto commit off
//!  read ──────> a consumer of its own, one partition assigned by hand
//! ```
//!
//! Comes in: calls of [`Log`], and the [`Settings`] of a cluster. Goes out: the same as from every log. After a crash
//! of this process every acknowledged append and commit is on the brokers; after a crash of a broker, what `acks = all`
//! and the topic's `min.insync.replicas` promise. There are no transactions: whoever reads expects repeats.
//!
//! A producer that librdkafka declares dead is replaced by the next append. Calls that a broker does not answer end in
//! [`ErrorKind::Retry`](crate::ErrorKind) after the times in [`Settings`]; what a person must change ends in `Fatal`.

mod client;
mod consumer;
mod failure;
mod producer;
mod reader;
mod settings;
mod topics;
mod unreadable;

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::topic_partition_list::{Offset as KafkaOffset, TopicPartitionList};

use self::client::{Client, told};
use self::consumer::Member;
use self::failure::failure;
use self::producer::Producer;
use self::reader::RangeReader;
pub use self::settings::Settings;
use crate::clock::Clock;
use crate::error::{Cause, LogError};
use crate::log::{Cleanup, Consumer, Log, Reader};
use crate::record::{Message, Offset, TopicPartition};

/// How long a request to the brokers may take.
const REQUEST: Duration = Duration::from_secs(10);
/// How long a topic may be unknown to a broker that has not yet heard of it.
const UNKNOWN: Duration = Duration::from_secs(2);
/// Pause between looks.
const PAUSE: Duration = Duration::from_millis(50);

/// Until when something is waited for.
struct Deadline {
    clock: Arc<dyn Clock>,
    until: Duration,
}

impl Deadline {
    fn after(clock: &Arc<dyn Clock>, time: Duration) -> Self {
        Self {
            until: clock.monotonic().saturating_add(time),
            clock: Arc::clone(clock),
        }
    }

    fn left(&self) -> Duration {
        self.until.saturating_sub(self.clock.monotonic())
    }

    fn is_over(&self) -> bool {
        self.left().is_zero()
    }
}

/// A log on a Kafka cluster. Clones share one producer.
#[derive(Clone)]
pub struct Kafka {
    inner: Arc<Inner>,
}

struct Inner {
    settings: Settings,
    clock: Arc<dyn Clock>,
    producer: Producer,
    /// For questions about topics and offsets.
    questions: BaseConsumer<Client>,
    /// Partitions of topics as they were last heard of: they only grow.
    partitions: Mutex<HashMap<String, u32>>,
}

impl fmt::Debug for Kafka {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kafka")
            .field("settings", &self.inner.settings)
            .finish_non_exhaustive()
    }
}

impl Kafka {
    /// A log on the cluster that the settings name. Connects when it is first used.
    ///
    /// # Errors
    /// A property that librdkafka does not know, or a value that it does not take.
    pub fn new(settings: Settings, clock: Arc<dyn Clock>) -> Result<Self, LogError> {
        let questions = settings
            .reader()
            .create_with_context(Client::default())
            .map_err(|error| failure("reaching the cluster", &error, None))?;
        Ok(Self {
            inner: Arc::new(Inner {
                producer: Producer::new(settings.producer(), Arc::clone(&clock))?,
                settings,
                clock,
                questions,
                partitions: Mutex::new(HashMap::new()),
            }),
        })
    }

    fn asking(&self, what: &str) -> String {
        format!("asking {} for {what}", self.inner.settings.brokers())
    }

    /// The partitions that the brokers know of a topic now; `None` where there is no such topic.
    fn ask_partitions(&self, topic: &str) -> Result<Option<u32>, LogError> {
        let questions = &self.inner.questions;
        let metadata = questions
            .fetch_metadata(Some(topic), REQUEST)
            .map_err(|error| failure(&self.asking("topics"), &error, told(questions)))?;
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        let count = found.map_or(0, |found| found.partitions().len() as u32);
        if count > 0 {
            self.inner.partitions.lock().insert(topic.to_owned(), count);
        }
        Ok((count > 0).then_some(count))
    }

    /// As [`Kafka::ask_partitions`], but for at least so many, with some patience: a topic, or its new partitions, is
    /// known to one broker before the others.
    fn await_partitions(&self, topic: &str, at_least: u32) -> Result<Option<u32>, LogError> {
        let deadline = Deadline::after(&self.inner.clock, UNKNOWN);
        loop {
            let found = self.ask_partitions(topic)?;
            if found.is_some_and(|count| count >= at_least) || deadline.is_over() {
                return Ok(found);
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Checks that a partition exists.
    fn need(&self, topic: &str, partition: u32) -> Result<(), LogError> {
        if self
            .inner
            .partitions
            .lock()
            .get(topic)
            .is_some_and(|count| partition < *count)
        {
            return Ok(());
        }
        match self.await_partitions(topic, partition.saturating_add(1))? {
            None => Err(Cause::UnknownTopic(topic.to_owned()).into()),
            Some(count) if partition < count => Ok(()),
            Some(partitions) => Err(Cause::UnknownPartition {
                topic: topic.to_owned(),
                partition,
                partitions,
            }
            .into()),
        }
    }

    /// An offset of one partition, asked of its leader.
    fn ask_offset(&self, topic: &str, partition: u32, which: KafkaOffset) -> Result<Offset, LogError> {
        let questions = &self.inner.questions;
        let mut wanted = TopicPartitionList::new();
        let added = wanted.add_partition_offset(topic, partition as i32, which);
        let answered = added
            .and_then(|()| questions.offsets_for_times(wanted, REQUEST))
            .and_then(|answered| {
                let elements = answered.elements();
                let Some(found) = elements.first() else { return Ok(None) };
                found.error()?;
                Ok(found.offset().to_raw().and_then(|raw| Offset::try_from(raw).ok()))
            });
        let found = answered.map_err(|error| failure(&self.asking("offsets"), &error, told(questions)))?;
        Ok(found.unwrap_or(0))
    }
}

impl Log for Kafka {
    fn ensure_topic(&self, topic: &str, partitions: u32, cleanup: Cleanup) -> Result<(), LogError> {
        if topic.is_empty() || partitions == 0 {
            return Err(Cause::BadTopic(topic.to_owned()).into());
        }
        let there = self.ask_partitions(topic)?;
        topics::ensure(&self.inner.settings, topic, there, partitions, cleanup)?;
        self.await_partitions(topic, partitions)?;
        Ok(())
    }

    fn partitions(&self, topic: &str) -> Result<u32, LogError> {
        let found = self.await_partitions(topic, 1)?;
        found.ok_or_else(|| Cause::UnknownTopic(topic.to_owned()).into())
    }

    fn append(&self, messages: &[Message]) -> Result<Vec<Offset>, LogError> {
        for message in messages {
            self.need(&message.topic, message.partition)?;
        }
        self.inner.producer.append(messages)
    }

    fn offsets(&self, topic: &str, partition: u32) -> Result<Range<Offset>, LogError> {
        self.need(topic, partition)?;
        let start = self.ask_offset(topic, partition, KafkaOffset::Beginning)?;
        let end = self.ask_offset(topic, partition, KafkaOffset::End)?;
        Ok(start..end.max(start))
    }

    fn subscribe(&self, group: &str, topics: &[&str]) -> Result<Box<dyn Consumer>, LogError> {
        for topic in topics {
            self.need(topic, 0)?;
        }
        let config = self.inner.settings.member(group);
        Ok(Box::new(Member::join(&config, topics, Arc::clone(&self.inner.clock))?))
    }

    fn assign(&self, group: &str, partitions: &[TopicPartition]) -> Result<Box<dyn Consumer>, LogError> {
        for partition in partitions {
            self.need(&partition.topic, partition.partition)?;
        }
        let config = self.inner.settings.member(group);
        Ok(Box::new(Member::alone(
            &config,
            partitions,
            Arc::clone(&self.inner.clock),
        )?))
    }

    fn read(&self, topic: &str, partition: u32, from: Offset) -> Result<Box<dyn Reader>, LogError> {
        let there = self.offsets(topic, partition)?;
        if from > there.end {
            return Err(Cause::OutOfRange {
                partition: format!("{topic}/{partition}"),
                offset: from,
                start: there.start,
                end: there.end,
            }
            .into());
        }
        let reader = RangeReader::new(self.clone(), topic, partition, from.max(there.start), there.end)?;
        Ok(Box::new(reader))
    }

    fn now_ms(&self) -> i64 {
        self.inner.clock.now_ms()
    }
}
