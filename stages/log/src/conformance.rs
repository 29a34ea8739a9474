//! What every log must do: one suite that each implementation passes unchanged.
//!
//! Comes in: a [`Fixture`] that opens a log, and opens the same one again. Goes out: nothing, or a
//! panic that names the broken promise. Names of topics and groups are unique to a test, waits are
//! generous, and nothing is used but the traits, so that it runs against a broker as well.

mod groups;
mod records;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;

use crate::log::{Cleanup, Consumer, Log, Polled};
use crate::record::{Message, Offset, Record, TopicPartition};

/// Opens logs for the suite.
pub trait Fixture {
    /// The log under test. Called several times while earlier ones are open: all are one log.
    fn log(&self) -> Arc<dyn Log>;

    /// Closes the log and opens it again with all that it holds; called when every other handle
    /// has been dropped. A log that lives no longer than its handles returns it unchanged.
    fn reopen(&self) -> Arc<dyn Log>;

    /// Makes names unique where a broker outlives the run, such as by a time or a counter.
    fn prefix(&self) -> String;
}

/// Runs every test of the suite, each with a fixture of its own.
pub fn conformance(make: impl Fn() -> Box<dyn Fixture>) {
    let tests: &[fn(&Case)] = &[
        records::append_and_read_back,
        records::empty_and_large,
        records::many_topics_in_one_call,
        records::ten_partitions,
        records::timestamps_never_decrease,
        records::limits_of_a_read,
        records::unknown_names,
        records::topics_grow_and_never_shrink,
        records::replay_after_reopen,
        records::writers_and_readers_at_once,
        groups::a_group_goes_on_from_its_commit,
        groups::groups_are_independent,
        groups::dropping_does_not_commit,
        groups::members_share_and_take_over,
        groups::a_late_commit_is_passed_over,
        groups::members_with_different_topics,
        groups::a_reader_of_its_own_goes_on_from_its_commits,
        groups::pause_and_resume,
        groups::seek_and_position,
        groups::a_poll_waits_for_an_append,
        groups::every_partition_gets_its_turn,
        groups::commits_survive_a_reopen,
    ];
    for test in tests {
        test(&Case::new(make()));
    }
}

/// How long anything may take that must happen: a broker may be slow to form a group.
const PATIENCE: Duration = Duration::from_mins(1);
/// How long one poll waits.
const POLL: Duration = Duration::from_millis(100);

/// One test's log and names.
struct Case {
    fixture: Box<dyn Fixture>,
    prefix: String,
}

impl Case {
    fn new(fixture: Box<dyn Fixture>) -> Self {
        static CASES: AtomicU32 = AtomicU32::new(0);
        let number = CASES.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("{}-{number}", fixture.prefix());
        Self { fixture, prefix }
    }

    /// A name that no other test uses.
    fn name(&self, name: &str) -> String {
        format!("{}-{name}", self.prefix)
    }

    /// The log with one topic, and the topic's name.
    fn topic(&self, partitions: u32) -> (Arc<dyn Log>, String) {
        let log = self.fixture.log();
        let topic = self.name("topic");
        ensure(log.as_ref(), &topic, partitions);
        (log, topic)
    }
}

fn ensure(log: &dyn Log, topic: &str, partitions: u32) {
    let made = log.ensure_topic(topic, partitions, Cleanup::Delete);
    made.expect("a topic is made");
}

fn message(topic: &str, partition: u32, value: impl Into<Bytes>) -> Message {
    Message {
        topic: topic.to_owned(),
        partition,
        key: Bytes::from_static(b"key"),
        headers: Vec::new(),
        value: value.into(),
    }
}

fn append(log: &dyn Log, messages: &[Message]) -> Vec<Offset> {
    let offsets = log.append(messages).expect("an append succeeds");
    assert_eq!(offsets.len(), messages.len(), "one offset a message");
    offsets
}

/// Appends numbered messages to each partition.
fn append_numbers(log: &dyn Log, topic: &str, partitions: u32, numbers: std::ops::Range<u32>) {
    let each = |number: u32| {
        let at = move |partition| message(topic, partition, format!("{partition}:{number}"));
        (0..partitions).map(at)
    };
    append(log, &numbers.flat_map(each).collect::<Vec<_>>());
}

/// Everything in a partition from an offset on.
fn read_all(log: &dyn Log, topic: &str, partition: u32, from: Offset) -> Vec<Record> {
    let mut reader = log.read(topic, partition, from).expect("a partition is readable");
    let mut out = Vec::new();
    loop {
        let records = reader.next(1 << 20).expect("records are readable");
        if records.is_empty() {
            return out;
        }
        out.extend(records);
    }
}

fn values(records: &[Record]) -> Vec<String> {
    let value = |record: &Record| String::from_utf8_lossy(&record.value).into_owned();
    records.iter().map(value).collect()
}

/// Counts polls towards the end of patience.
struct Patience(u32);

impl Patience {
    fn new() -> Self {
        Self((PATIENCE.as_millis() / POLL.as_millis()) as u32)
    }

    fn poll(&mut self, consumer: &mut dyn Consumer, what: &str) -> Polled {
        let polled = consumer.poll(POLL).expect("a poll succeeds");
        // Only a poll that waited costs patience.
        if polled == Polled::Idle {
            assert!(self.0 > 0, "waited in vain for {what}");
            self.0 -= 1;
        }
        polled
    }
}

/// Polls until that many records have come; checks that each follows the one before it.
fn take(consumer: &mut dyn Consumer, count: usize) -> Vec<Record> {
    let mut patience = Patience::new();
    let mut out: Vec<Record> = Vec::new();
    while out.len() < count {
        if let Polled::Records(records) = patience.poll(consumer, "records") {
            out.extend(records);
        }
    }
    assert_eq!(out.len(), count, "no more records than expected");
    assert_in_order(&out);
    out
}

fn assert_in_order(records: &[Record]) {
    let mut next = std::collections::BTreeMap::new();
    for record in records {
        let expected = next.insert(record.topic_partition(), record.offset + 1);
        assert!(
            expected.is_none_or(|expected| expected == record.offset),
            "{} follows in {}",
            record.offset,
            record.topic_partition(),
        );
    }
}

/// Polls all members until each has as many partitions as told, and returns their assignments.
fn settle(members: &mut [(&mut Box<dyn Consumer>, usize)]) -> Vec<Vec<TopicPartition>> {
    let mut patience = Patience::new();
    while members
        .iter()
        .any(|(member, count)| member.assignment().len() != *count)
    {
        for (member, _) in &mut *members {
            patience.poll(member.as_mut(), "an assignment");
        }
    }
    members.iter().map(|(member, _)| member.assignment()).collect()
}

/// Polls for a while; nothing may come.
fn assert_idle(consumer: &mut dyn Consumer, what: &str) {
    for _ in 0..3 {
        let polled = consumer.poll(POLL).expect("a poll succeeds");
        assert_eq!(polled, Polled::Idle, "{what}");
    }
}
