//! Faults on purpose: a log around a log.
//!
//! Comes in: calls, and a script of faults, counted or drawn from a seed. Goes out: what the inner
//! log says, or an error of kind `Retry`, late, or twice. The inner log stays whole: every fault is
//! one that "at least once" allows, so whoever is right must still be right.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::clock::ManualClock;
use crate::error::{ErrorKind, LogError};
use crate::log::{Cleanup, Consumer, Log, Polled, Reader};
use crate::record::{Message, Offset, TopicPartition};

/// How often a fault happens by itself, in 1024 calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// An append fails before anything is written.
    pub fail: u16,
    /// An append is written, but fails.
    pub lose_ack: u16,
    /// An append is written twice.
    pub repeat: u16,
    /// A commit fails.
    pub fail_commit: u16,
}

/// A log that fails on purpose. Without a script it changes nothing.
#[derive(Clone, Debug)]
pub struct Faulty {
    inner: Arc<dyn Log>,
    script: Arc<Mutex<Script>>,
}

#[derive(Debug)]
struct Script {
    random: SplitMix,
    rates: Rates,
    fail_appends: u32,
    lose_acks: u32,
    repeat_appends: u32,
    fail_commits: u32,
    delay: Option<(Arc<ManualClock>, Duration)>,
    reorder: bool,
}

impl Faulty {
    /// Wraps a log. The same seed and the same calls give the same faults.
    pub fn new(inner: Arc<dyn Log>, seed: u64) -> Self {
        let script = Script {
            random: SplitMix(seed),
            rates: Rates::default(),
            fail_appends: 0,
            lose_acks: 0,
            repeat_appends: 0,
            fail_commits: 0,
            delay: None,
            reorder: false,
        };
        Self {
            inner,
            script: Arc::new(Mutex::new(script)),
        }
    }

    /// The next `n` appends fail, and nothing is written.
    pub fn fail_appends(&self, n: u32) {
        self.script.lock().fail_appends = n;
    }

    /// The next `n` appends are written, and fail.
    pub fn lose_acks(&self, n: u32) {
        self.script.lock().lose_acks = n;
    }

    /// The next `n` appends are written twice, one behind the other.
    pub fn repeat_appends(&self, n: u32) {
        self.script.lock().repeat_appends = n;
    }

    /// The next `n` commits fail, and nothing is stored.
    pub fn fail_commits(&self, n: u32) {
        self.script.lock().fail_commits = n;
    }

    /// Every append and every poll moves the clock by up to `most`, drawn from the seed.
    pub fn delay(&self, clock: Arc<ManualClock>, most: Duration) {
        self.script.lock().delay = Some((clock, most));
    }

    /// The seed decides which partitions a poll serves first; the order inside one stays.
    pub fn reorder(&self, on: bool) {
        self.script.lock().reorder = on;
    }

    /// Faults that happen by themselves from now on, drawn from the seed.
    pub fn rates(&self, rates: Rates) {
        self.script.lock().rates = rates;
    }
}

/// What happens to one append.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Append {
    Whole,
    Fail,
    LoseAck,
    Repeat,
}

impl Script {
    fn append(&mut self) -> Append {
        self.pass_time();
        let rates = self.rates;
        // Every fault is drawn each time, so that one rate does not shift the others' draws.
        let fail = counted(&mut self.fail_appends) | self.random.happens(rates.fail);
        let lose = counted(&mut self.lose_acks) | self.random.happens(rates.lose_ack);
        let repeat = counted(&mut self.repeat_appends) | self.random.happens(rates.repeat);
        match (fail, lose, repeat) {
            (true, _, _) => Append::Fail,
            (_, true, _) => Append::LoseAck,
            (_, _, true) => Append::Repeat,
            _ => Append::Whole,
        }
    }

    fn commit_fails(&mut self) -> bool {
        counted(&mut self.fail_commits) | self.random.happens(self.rates.fail_commit)
    }

    fn pass_time(&mut self) {
        if let Some((clock, most)) = &self.delay {
            let nanos = self.random.below(most.as_nanos() as u64 + 1);
            clock.advance(Duration::from_nanos(nanos));
        }
    }

    /// Some of the partitions, not all; none where nothing is reordered.
    fn held_back(&mut self, partitions: Vec<TopicPartition>) -> Vec<TopicPartition> {
        if !self.reorder || partitions.len() < 2 {
            return Vec::new();
        }
        let served = self.random.below(partitions.len() as u64);
        let mut held = Vec::new();
        for (i, partition) in partitions.into_iter().enumerate() {
            if i as u64 != served && self.random.happens(512) {
                held.push(partition);
            }
        }
        held
    }
}

fn counted(left: &mut u32) -> bool {
    let happens = *left > 0;
    *left = left.saturating_sub(1);
    happens
}

fn injected(what: &str) -> LogError {
    LogError::new(ErrorKind::Retry, format!("injected fault: {what}"))
}

impl Log for Faulty {
    fn ensure_topic(&self, topic: &str, partitions: u32, cleanup: Cleanup) -> Result<(), LogError> {
        self.inner.ensure_topic(topic, partitions, cleanup)
    }

    fn partitions(&self, topic: &str) -> Result<u32, LogError> {
        self.inner.partitions(topic)
    }

    fn append(&self, messages: &[Message]) -> Result<Vec<Offset>, LogError> {
        let fault = self.script.lock().append();
        if fault == Append::Fail {
            return Err(injected("the append failed"));
        }
        let offsets = self.inner.append(messages)?;
        match fault {
            Append::LoseAck => Err(injected("the append's acknowledgement was lost")),
            Append::Repeat => self.inner.append(messages),
            _ => Ok(offsets),
        }
    }

    fn offsets(&self, topic: &str, partition: u32) -> Result<Range<Offset>, LogError> {
        self.inner.offsets(topic, partition)
    }

    fn subscribe(&self, group: &str, topics: &[&str]) -> Result<Box<dyn Consumer>, LogError> {
        Ok(Box::new(FaultyConsumer {
            inner: self.inner.subscribe(group, topics)?,
            script: Arc::clone(&self.script),
            paused: Vec::new(),
        }))
    }

    fn assign(&self, group: &str, partitions: &[TopicPartition]) -> Result<Box<dyn Consumer>, LogError> {
        Ok(Box::new(FaultyConsumer {
            inner: self.inner.assign(group, partitions)?,
            script: Arc::clone(&self.script),
            paused: Vec::new(),
        }))
    }

    fn read(&self, topic: &str, partition: u32, from: Offset) -> Result<Box<dyn Reader>, LogError> {
        self.inner.read(topic, partition, from)
    }

    fn now_ms(&self) -> i64 {
        self.inner.now_ms()
    }
}

struct FaultyConsumer {
    inner: Box<dyn Consumer>,
    script: Arc<Mutex<Script>>,
    /// What the owner paused: not to be resumed with what a poll held back.
    paused: Vec<TopicPartition>,
}

impl Consumer for FaultyConsumer {
    fn poll(&mut self, timeout: Duration) -> Result<Polled, LogError> {
        let mut active = self.inner.assignment();
        active.retain(|partition| !self.paused.contains(partition));
        let held = {
            let mut script = self.script.lock();
            script.pass_time();
            script.held_back(active)
        };
        if !held.is_empty() {
            self.inner.pause(&held);
            let polled = self.inner.poll(Duration::ZERO);
            self.inner.resume(&held);
            if !matches!(polled, Ok(Polled::Idle)) {
                return self.forget_revoked(polled);
            }
        }
        let polled = self.inner.poll(timeout);
        self.forget_revoked(polled)
    }

    fn pause(&mut self, partitions: &[TopicPartition]) {
        self.paused.extend_from_slice(partitions);
        self.inner.pause(partitions);
    }

    fn resume(&mut self, partitions: &[TopicPartition]) {
        self.paused.retain(|paused| !partitions.contains(paused));
        self.inner.resume(partitions);
    }

    fn commit(&mut self, offsets: &[(TopicPartition, Offset)]) -> Result<(), LogError> {
        if self.script.lock().commit_fails() {
            return Err(injected("the commit failed"));
        }
        self.inner.commit(offsets)
    }

    fn position(&self, partition: &TopicPartition) -> Option<Offset> {
        self.inner.position(partition)
    }

    fn assignment(&self) -> Vec<TopicPartition> {
        self.inner.assignment()
    }

    fn seek(&mut self, partition: &TopicPartition, offset: Offset) -> Result<(), LogError> {
        self.inner.seek(partition, offset)
    }
}

impl FaultyConsumer {
    /// A pause ends with the assignment.
    fn forget_revoked(&mut self, polled: Result<Polled, LogError>) -> Result<Polled, LogError> {
        if let Ok(Polled::Revoked(partitions)) = &polled {
            self.paused.retain(|paused| !partitions.contains(paused));
        }
        polled
    }
}

/// Steele, Lea and Flood's `SplitMix64`: enough for schedules, and the same everywhere.
#[derive(Debug)]
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    fn happens(&mut self, in_1024: u16) -> bool {
        self.below(1024) < u64::from(in_1024)
    }
}
