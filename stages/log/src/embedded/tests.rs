//! What the embedded log promises beyond the suite that all logs pass.

mod crash;
mod damage;
mod folder;
mod model;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::Embedded;
use super::files::Files;
use crate::clock::ManualClock;
use crate::error::LogError;
use crate::log::{Cleanup, Log, Polled};
use crate::record::{Message, Offset, Record, TopicPartition};

const TOPIC: &str = "topic";
const GROUP: &str = "group";

/// Opens a log with small segments, so that a test crosses many.
fn try_open(folder: &Path, segment_bytes: u64) -> Result<Embedded, LogError> {
    let (files, catalog) = Files::open(folder, segment_bytes)?;
    Ok(Embedded::new(Box::new(files), catalog, clock()))
}

fn open(folder: &Path, segment_bytes: u64) -> Embedded {
    try_open(folder, segment_bytes).expect("it opens")
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(1_000))
}

fn message(partition: u32, value: impl Into<Bytes>) -> Message {
    Message {
        topic: TOPIC.to_owned(),
        partition,
        key: Bytes::from_static(b"key"),
        headers: vec![("header".to_owned(), Bytes::from_static(b"value"))],
        value: value.into(),
    }
}

fn append(log: &Embedded, partition: u32, value: impl Into<Bytes>) -> Offset {
    log.append(&[message(partition, value)]).expect("an append")[0]
}

fn read_all(log: &Embedded, partition: u32) -> Vec<Record> {
    let mut reader = log.read(TOPIC, partition, 0).expect("a reader");
    let mut out = Vec::new();
    loop {
        let records = reader.next(10_000).expect("a read");
        if records.is_empty() {
            return out;
        }
        out.extend(records);
    }
}

fn ensure(log: &Embedded, partitions: u32) {
    log.ensure_topic(TOPIC, partitions, Cleanup::Delete).expect("a topic");
}

/// Where the group would go on in the partition.
fn committed(log: &Embedded, partition: u32) -> Offset {
    let mut member = log.subscribe(GROUP, &[TOPIC]).expect("a member");
    let polled = member.poll(Duration::ZERO).expect("a poll");
    assert!(matches!(polled, Polled::Assigned(_)));
    member
        .position(&TopicPartition::new(TOPIC, partition))
        .expect("it is assigned")
}

fn commit(log: &Embedded, partition: u32, offset: Offset) {
    let mut member = log.subscribe(GROUP, &[TOPIC]).expect("a member");
    member.poll(Duration::ZERO).expect("a poll");
    let at = TopicPartition::new(TOPIC, partition);
    member.commit(&[(at, offset)]).expect("a commit");
}
