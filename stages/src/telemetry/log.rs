//! A log that counts what goes through it, and measures how far its groups are behind. It changes nothing.

use super::Telemetry;
use fedstill_log::{Cleanup, Consumer, Log, LogError, Message, Offset, Polled, Reader, Record, TopicPartition};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// Pause between two looks at how far a group is behind: each asks the brokers for ends.
const LOOK: Duration = Duration::from_secs(10);

/// A log whose users are counted.
#[derive(Debug)]
pub(crate) struct Observed {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) telemetry: Telemetry,
}

impl Log for Observed {
    fn ensure_topic(&self, topic: &str, partitions: u32, cleanup: Cleanup) -> Result<(), LogError> {
        self.log.ensure_topic(topic, partitions, cleanup)
    }

    fn partitions(&self, topic: &str) -> Result<u32, LogError> {
        self.log.partitions(topic)
    }

    fn append(&self, messages: &[Message]) -> Result<Vec<Offset>, LogError> {
        let began = self.telemetry.now();
        let appended = self.log.append(messages);
        if let Some(instruments) = self.telemetry.instruments() {
            let mut topics = BTreeMap::<&str, (u64, u64)>::new();
            for message in messages {
                let sum = topics.entry(&message.topic).or_default();
                sum.0 += 1;
                sum.1 += size(&message.key, &message.headers, &message.value);
            }
            let took = self.telemetry.now().saturating_sub(began);
            instruments.sent(&topics, took, appended.as_ref().err());
        }
        appended
    }

    fn offsets(&self, topic: &str, partition: u32) -> Result<Range<Offset>, LogError> {
        self.log.offsets(topic, partition)
    }

    fn subscribe(&self, group: &str, topics: &[&str]) -> Result<Box<dyn Consumer>, LogError> {
        let consumer = self.log.subscribe(group, topics)?;
        Ok(self.observe(group, consumer))
    }

    fn assign(&self, group: &str, partitions: &[TopicPartition]) -> Result<Box<dyn Consumer>, LogError> {
        let consumer = self.log.assign(group, partitions)?;
        Ok(self.observe(group, consumer))
    }

    fn read(&self, topic: &str, partition: u32, from: Offset) -> Result<Box<dyn Reader>, LogError> {
        Ok(Box::new(ObservedReader {
            reader: self.log.read(topic, partition, from)?,
            telemetry: self.telemetry.clone(),
        }))
    }

    fn now_ms(&self) -> i64 {
        self.log.now_ms()
    }
}

impl Observed {
    fn observe(&self, group: &str, consumer: Box<dyn Consumer>) -> Box<dyn Consumer> {
        Box::new(ObservedConsumer {
            consumer,
            log: Arc::clone(&self.log),
            telemetry: self.telemetry.clone(),
            group: group.to_owned(),
            committed: BTreeMap::new(),
            looked: Duration::ZERO,
        })
    }
}

fn size(key: &[u8], headers: &[(String, bytes::Bytes)], value: &[u8]) -> u64 {
    let headers: usize = headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    (key.len() + headers + value.len()) as u64
}

fn count(telemetry: &Telemetry, group: Option<&str>, records: &[Record]) {
    let Some(instruments) = telemetry.instruments() else {
        return;
    };
    let mut topics = BTreeMap::<&str, (u64, u64)>::new();
    for record in records {
        let sum = topics.entry(&record.topic).or_default();
        sum.0 += 1;
        sum.1 += size(&record.key, &record.headers, &record.value);
    }
    for (topic, (messages, bytes)) in topics {
        instruments.consumed(topic, group, messages, bytes);
    }
}

struct ObservedReader {
    reader: Box<dyn Reader>,
    telemetry: Telemetry,
}

impl Reader for ObservedReader {
    fn next(&mut self, max_bytes: usize) -> Result<Vec<Record>, LogError> {
        let records = self.reader.next(max_bytes)?;
        count(&self.telemetry, None, &records);
        Ok(records)
    }
}

struct ObservedConsumer {
    consumer: Box<dyn Consumer>,
    log: Arc<dyn Log>,
    telemetry: Telemetry,
    group: String,
    committed: BTreeMap<TopicPartition, Offset>,
    /// When it looked last how far it is behind.
    looked: Duration,
}

impl ObservedConsumer {
    /// Tells how far the group is behind in the partitions of this member. One that the log says nothing about now is
    /// left out.
    fn look(&mut self) {
        let now = self.telemetry.now();
        if now.saturating_sub(self.looked) < LOOK {
            return;
        }
        self.looked = now;
        let mut lags = Vec::new();
        for place in self.consumer.assignment() {
            let Ok(held) = self.log.offsets(&place.topic, place.partition) else {
                break;
            };
            let committed = self.committed.get(&place).copied();
            let Some(at) = committed.or_else(|| self.consumer.position(&place)) else {
                continue;
            };
            let lag = held.end.saturating_sub(at.max(held.start));
            lags.push(((self.group.clone(), place.topic.to_string(), place.partition), lag));
        }
        if let Some(instruments) = self.telemetry.instruments() {
            let mut levels = instruments.levels.lock();
            levels.lag.retain(|(group, ..), _| *group != self.group);
            levels.lag.extend(lags);
        }
    }
}

impl Consumer for ObservedConsumer {
    fn poll(&mut self, timeout: Duration) -> Result<Polled, LogError> {
        let polled = self.consumer.poll(timeout)?;
        match &polled {
            Polled::Records(records) => count(&self.telemetry, Some(&self.group), records),
            Polled::Revoked(partitions) => partitions.iter().for_each(|partition| {
                self.committed.remove(partition);
            }),
            Polled::Assigned(_) | Polled::Idle => {}
        }
        self.look();
        Ok(polled)
    }

    fn pause(&mut self, partitions: &[TopicPartition]) {
        self.consumer.pause(partitions);
    }

    fn resume(&mut self, partitions: &[TopicPartition]) {
        self.consumer.resume(partitions);
    }

    fn commit(&mut self, offsets: &[(TopicPartition, Offset)]) -> Result<(), LogError> {
        let began = self.telemetry.now();
        let committed = self.consumer.commit(offsets);
        if let Some(instruments) = self.telemetry.instruments() {
            let took = self.telemetry.now().saturating_sub(began);
            instruments.operation("commit", took, committed.as_ref().err());
        }
        committed?;
        self.committed.extend(offsets.iter().cloned());
        Ok(())
    }

    fn position(&self, partition: &TopicPartition) -> Option<Offset> {
        self.consumer.position(partition)
    }

    fn assignment(&self) -> Vec<TopicPartition> {
        self.consumer.assignment()
    }

    fn seek(&mut self, partition: &TopicPartition, offset: Offset) -> Result<(), LogError> {
        self.consumer.seek(partition, offset)
    }
}
