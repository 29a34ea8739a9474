//! The log as one process sees it: it may die or stall around every append, its members may be thrown out of their
//! groups without knowing, as when a broker has not heard of them for too long, and old decisions are compacted.

use super::lies;
use super::world::World;
use fedstill_log::{Cleanup, Consumer, Log, LogError, Message, Offset, Polled, Reader, Record, TopicPartition};
use fedstill_schemas::names;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// A process's view of the log.
#[derive(Clone)]
pub(super) struct ProcessLog {
    pub(super) inner: Arc<dyn Log>,
    pub(super) world: Weak<World>,
    pub(super) process: usize,
    pub(super) life: u64,
}

impl fmt::Debug for ProcessLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessLog")
            .field("process", &self.process)
            .finish_non_exhaustive()
    }
}

impl ProcessLog {
    /// What a new reader sees of the log, after compaction.
    pub(super) fn of_a_newcomer(world: &Arc<World>) -> Self {
        world.compact();
        Self {
            inner: Arc::new(world.log.clone()),
            world: Arc::downgrade(world),
            process: 0,
            life: 0,
        }
    }

    fn point(&self, name: &'static str) {
        if let Some(world) = self.world.upgrade() {
            world.point(self.process, self.life, name);
        }
    }
}

impl Log for ProcessLog {
    fn ensure_topic(&self, topic: &str, partitions: u32, cleanup: Cleanup) -> Result<(), LogError> {
        self.inner.ensure_topic(topic, partitions, cleanup)
    }

    fn partitions(&self, topic: &str) -> Result<u32, LogError> {
        self.inner.partitions(topic)
    }

    fn append(&self, messages: &[Message]) -> Result<Vec<Offset>, LogError> {
        self.point("log:before-append");
        let lying = self.world.upgrade().and_then(|world| world.scenario.lying);
        let appended = match lying {
            Some((liar, lie)) => self.inner.append(&lies::told(messages, liar, lie)),
            None => self.inner.append(messages),
        };
        self.point("log:after-append");
        appended
    }

    fn offsets(&self, topic: &str, partition: u32) -> Result<Range<Offset>, LogError> {
        self.inner.offsets(topic, partition)
    }

    fn subscribe(&self, group: &str, topics: &[&str]) -> Result<Box<dyn Consumer>, LogError> {
        let member = Arc::new(Mutex::new(Member {
            log: Arc::clone(&self.inner),
            group: group.to_owned(),
            topics: topics.iter().map(|topic| (*topic).to_owned()).collect(),
            consumer: Some(self.inner.subscribe(group, topics)?),
            lost: BTreeMap::new(),
        }));
        if let Some(world) = self.world.upgrade() {
            world.joined(self.process, &member);
        }
        Ok(Box::new(Shared(member)))
    }

    fn assign(&self, group: &str, partitions: &[TopicPartition]) -> Result<Box<dyn Consumer>, LogError> {
        self.inner.assign(group, partitions)
    }

    fn read(&self, topic: &str, partition: u32, from: Offset) -> Result<Box<dyn Reader>, LogError> {
        let inner = self.inner.read(topic, partition, from)?;
        match self.world.upgrade() {
            Some(world) if topic == names::DECISIONS => Ok(Box::new(Compacted {
                inner,
                repeated: world.repeated(partition),
            })),
            _ => Ok(inner),
        }
    }

    fn now_ms(&self) -> i64 {
        self.inner.now_ms()
    }
}

/// Reads a compacted partition.
struct Compacted {
    inner: Box<dyn Reader>,
    /// Records that are gone: behind them is another with their key.
    repeated: BTreeSet<Offset>,
}

impl Reader for Compacted {
    fn next(&mut self, max_bytes: usize) -> Result<Vec<Record>, LogError> {
        loop {
            let mut records = self.inner.next(max_bytes)?;
            let end = records.is_empty();
            records.retain(|record| !self.repeated.contains(&record.offset));
            if end || !records.is_empty() {
                return Ok(records);
            }
        }
    }
}

/// A member of a group that can be thrown out of it.
pub(super) struct Member {
    log: Arc<dyn Log>,
    group: String,
    topics: Vec<String>,
    consumer: Option<Box<dyn Consumer>>,
    /// What it believes to own since it was thrown out, with its positions.
    lost: BTreeMap<TopicPartition, Offset>,
}

impl Member {
    /// Its partitions go to others; it learns of it when it polls.
    pub(super) fn eject(&mut self) {
        if let Some(consumer) = self.consumer.take() {
            let positions = consumer
                .assignment()
                .into_iter()
                .filter_map(|partition| Some((partition.clone(), consumer.position(&partition)?)));
            self.lost = positions.collect();
        }
    }
}

/// What the process holds of its member.
struct Shared(Arc<Mutex<Member>>);

impl Consumer for Shared {
    fn poll(&mut self, timeout: Duration) -> Result<Polled, LogError> {
        let mut member = self.0.lock();
        if let Some(consumer) = &mut member.consumer {
            return consumer.poll(timeout);
        }
        let topics: Vec<&str> = member.topics.iter().map(String::as_str).collect();
        let mut again = member.log.subscribe(&member.group, &topics)?;
        let lost: Vec<_> = std::mem::take(&mut member.lost).into_keys().collect();
        let polled = if lost.is_empty() {
            again.poll(timeout)
        } else {
            Ok(Polled::Revoked(lost))
        };
        member.consumer = Some(again);
        polled
    }

    fn pause(&mut self, partitions: &[TopicPartition]) {
        if let Some(consumer) = &mut self.0.lock().consumer {
            consumer.pause(partitions);
        }
    }

    fn resume(&mut self, partitions: &[TopicPartition]) {
        if let Some(consumer) = &mut self.0.lock().consumer {
            consumer.resume(partitions);
        }
    }

    fn commit(&mut self, offsets: &[(TopicPartition, Offset)]) -> Result<(), LogError> {
        match &mut self.0.lock().consumer {
            Some(consumer) => consumer.commit(offsets),
            None => Ok(()),
        }
    }

    fn position(&self, partition: &TopicPartition) -> Option<Offset> {
        let member = self.0.lock();
        match &member.consumer {
            Some(consumer) => consumer.position(partition),
            None => member.lost.get(partition).copied(),
        }
    }

    fn assignment(&self) -> Vec<TopicPartition> {
        let member = self.0.lock();
        match &member.consumer {
            Some(consumer) => consumer.assignment(),
            None => member.lost.keys().cloned().collect(),
        }
    }

    fn seek(&mut self, partition: &TopicPartition, offset: Offset) -> Result<(), LogError> {
        let mut member = self.0.lock();
        if let Some(consumer) = &mut member.consumer {
            return consumer.seek(partition, offset);
        }
        member.lost.insert(partition.clone(), offset);
        Ok(())
    }
}
