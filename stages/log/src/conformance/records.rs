//! Appending and reading.

use std::sync::Arc;
use std::thread;

use bytes::Bytes;

use super::{Case, append, append_numbers, ensure, message, read_all, values};
use crate::error::ErrorKind;
use crate::log::Cleanup;
use crate::record::Message;

pub(super) fn append_and_read_back(case: &Case) {
    let (log, topic) = case.topic(2);
    let sent = Message {
        topic: topic.clone(),
        partition: 1,
        key: Bytes::from_static(b"\0key\xff"),
        headers: vec![
            ("ce_id".to_owned(), Bytes::from_static(b"first")),
            ("empty".to_owned(), Bytes::new()),
            ("ce_id".to_owned(), Bytes::from_static(b"last")),
        ],
        value: Bytes::from_static(b"value\0\xfe"),
    };
    let before = log.now_ms();
    assert_eq!(
        append(log.as_ref(), std::slice::from_ref(&sent)),
        [0],
        "the first offset is 0"
    );
    append_numbers(log.as_ref(), &topic, 2, 0..3);
    let after = log.now_ms();
    assert_eq!(log.offsets(&topic, 0).expect("offsets"), 0..3);
    assert_eq!(log.offsets(&topic, 1).expect("offsets"), 0..4);

    let records = read_all(log.as_ref(), &topic, 1, 0);
    let first = &records[0];
    assert_eq!((&*first.topic, first.partition, first.offset), (topic.as_str(), 1, 0));
    assert_eq!((&first.key, &first.headers), (&sent.key, &sent.headers));
    assert_eq!(first.value, sent.value);
    assert_eq!(
        first.header("ce_id"),
        Some(&b"last"[..]),
        "the last of repeated headers"
    );
    assert_eq!(first.header("none"), None);
    assert!(
        (before..=after).contains(&first.timestamp_ms),
        "the log's time at the append"
    );
    assert_eq!(values(&records[1..]), ["1:0", "1:1", "1:2"]);
    assert_eq!(values(&read_all(log.as_ref(), &topic, 0, 1)), ["0:1", "0:2"]);

    let mut reader = log.read(&topic, 0, 3).expect("the end is readable");
    assert!(reader.next(100).expect("an empty read").is_empty());
    append_numbers(log.as_ref(), &topic, 1, 3..4);
    let more = reader.next(100).expect("a read");
    assert_eq!(values(&more), ["0:3"], "a reader at the end sees what is appended");
}

pub(super) fn empty_and_large(case: &Case) {
    let (log, topic) = case.topic(1);
    assert!(append(log.as_ref(), &[]).is_empty());
    let mut empty = message(&topic, 0, "");
    empty.key = Bytes::new();
    // A broker's default limit of 1 MiB includes its own framing.
    let large: Vec<u8> = (0..1_000_000_u32).map(|i| (i.wrapping_mul(i) >> 7) as u8).collect();
    let large = message(&topic, 0, large);
    let sent = [empty.clone(), large.clone(), empty, large];
    for message in &sent {
        append(log.as_ref(), std::slice::from_ref(message));
    }
    let records = read_all(log.as_ref(), &topic, 0, 0);
    assert_eq!(records.len(), sent.len());
    for (record, message) in records.iter().zip(&sent) {
        assert!(record.key == message.key && record.value == message.value, "kept whole");
    }
}

pub(super) fn many_topics_in_one_call(case: &Case) {
    let log = case.fixture.log();
    let topics: Vec<String> = (0..4).map(|i| case.name(&format!("topic{i}"))).collect();
    for topic in &topics {
        ensure(log.as_ref(), topic, 2);
    }
    let at = |i: usize| message(&topics[i % 4], (i / 4 % 2) as u32, i.to_string());
    let sent: Vec<Message> = (0..24).map(at).collect();
    let offsets = append(log.as_ref(), &sent);
    for (i, message) in sent.iter().enumerate() {
        assert_eq!(offsets[i], (i / 8) as u64, "offsets in the order of the messages");
        let records = read_all(log.as_ref(), &message.topic, message.partition, offsets[i]);
        assert_eq!(records[0].value, message.value, "each in its own topic and partition");
    }
}

pub(super) fn ten_partitions(case: &Case) {
    let (log, topic) = case.topic(10);
    assert_eq!(log.partitions(&topic).expect("partitions"), 10);
    append_numbers(log.as_ref(), &topic, 10, 0..20);
    for partition in 0..10 {
        let expected: Vec<String> = (0..20).map(|i| format!("{partition}:{i}")).collect();
        assert_eq!(values(&read_all(log.as_ref(), &topic, partition, 0)), expected);
    }
}

pub(super) fn timestamps_never_decrease(case: &Case) {
    let (log, topic) = case.topic(1);
    for i in 0..20 {
        append_numbers(log.as_ref(), &topic, 1, i..i + 1);
    }
    let records = read_all(log.as_ref(), &topic, 0, 0);
    assert!(records.is_sorted_by_key(|record| record.timestamp_ms));
}

pub(super) fn limits_of_a_read(case: &Case) {
    let (log, topic) = case.topic(1);
    let sent: Vec<Message> = (0..50).map(|_| message(&topic, 0, vec![7; 1000])).collect();
    append(log.as_ref(), &sent);
    let mut reader = log.read(&topic, 0, 0).expect("a reader");
    assert_eq!(reader.next(1).expect("a read").len(), 1, "one record at least");
    let some = reader.next(10_500).expect("a read").len();
    assert!(
        (1..=11).contains(&some),
        "about as many bytes as asked for, not {some} records"
    );
    let mut seen = 1 + some;
    loop {
        let records = reader.next(10_500).expect("a read");
        if records.is_empty() {
            break;
        }
        assert_eq!(records[0].offset, seen as u64, "goes on where it was");
        seen += records.len();
    }
    assert_eq!(seen, 50);
}

pub(super) fn unknown_names(case: &Case) {
    let (log, topic) = case.topic(2);
    let unknown = case.name("unknown");
    let fatal = |error: crate::LogError| assert_eq!(error.kind(), ErrorKind::Fatal, "{error}");
    fatal(log.partitions(&unknown).expect_err("no such topic"));
    fatal(log.offsets(&unknown, 0).expect_err("no such topic"));
    fatal(log.offsets(&topic, 2).expect_err("no such partition"));
    fatal(log.append(&[message(&unknown, 0, "x")]).expect_err("no such topic"));
    fatal(log.append(&[message(&topic, 2, "x")]).expect_err("no such partition"));
    fatal(log.read(&unknown, 0, 0).map(drop).expect_err("no such topic"));
    fatal(log.read(&topic, 2, 0).map(drop).expect_err("no such partition"));
    fatal(log.read(&topic, 0, 1).map(drop).expect_err("beyond the end"));
    fatal(
        log.subscribe(&case.name("group"), &[&unknown])
            .map(drop)
            .expect_err("no such topic"),
    );
    fatal(
        log.ensure_topic(&unknown, 0, Cleanup::Delete)
            .expect_err("no partitions"),
    );
    assert_eq!(log.offsets(&topic, 0).expect("offsets"), 0..0);
}

pub(super) fn topics_grow_and_never_shrink(case: &Case) {
    let (log, topic) = case.topic(2);
    append_numbers(log.as_ref(), &topic, 2, 0..1);
    ensure(log.as_ref(), &topic, 2);
    assert_eq!(log.partitions(&topic).expect("partitions"), 2);
    ensure(log.as_ref(), &topic, 4);
    assert_eq!(log.partitions(&topic).expect("partitions"), 4);
    ensure(log.as_ref(), &topic, 1);
    assert_eq!(log.partitions(&topic).expect("partitions"), 4);
    append_numbers(log.as_ref(), &topic, 4, 1..2);
    assert_eq!(values(&read_all(log.as_ref(), &topic, 1, 0)), ["1:0", "1:1"]);
    assert_eq!(values(&read_all(log.as_ref(), &topic, 3, 0)), ["3:1"]);
}

pub(super) fn replay_after_reopen(case: &Case) {
    let (log, topic) = case.topic(3);
    append_numbers(log.as_ref(), &topic, 3, 0..50);
    let before: Vec<_> = (0..3).map(|p| read_all(log.as_ref(), &topic, p, 0)).collect();
    drop(log);
    let log = case.fixture.reopen();
    let after: Vec<_> = (0..3).map(|p| read_all(log.as_ref(), &topic, p, 0)).collect();
    assert_eq!(before, after, "the same records with the same offsets and times");
    append_numbers(log.as_ref(), &topic, 3, 50..51);
    assert_eq!(log.offsets(&topic, 2).expect("offsets"), 0..51, "goes on where it was");
}

pub(super) fn writers_and_readers_at_once(case: &Case) {
    const WRITERS: u32 = 4;
    const EACH: u32 = 100;
    let (log, topic) = case.topic(2);
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (log, topic) = (Arc::clone(&log), topic.clone());
            thread::spawn(move || {
                for i in 0..EACH {
                    let both = [0, 1].map(|p| message(&topic, p, format!("{writer} {i}")));
                    append(log.as_ref(), &both);
                }
            })
        })
        .collect();
    let readers: Vec<_> = (0..2)
        .map(|partition| {
            let (log, topic) = (Arc::clone(&log), topic.clone());
            thread::spawn(move || {
                let mut reader = log.read(&topic, partition, 0).expect("a reader");
                let mut out = Vec::new();
                while out.len() < (WRITERS * EACH) as usize {
                    out.extend(reader.next(1 << 16).expect("a read"));
                    thread::yield_now();
                }
                out
            })
        })
        .collect();
    for writer in writers {
        writer.join().expect("a writer ends");
    }
    for reader in readers {
        let records = reader.join().expect("a reader ends");
        assert!(records.iter().enumerate().all(|(i, record)| record.offset == i as u64));
        for writer in 0..WRITERS {
            let own: Vec<String> = values(&records)
                .into_iter()
                .filter(|value| value.starts_with(&format!("{writer} ")))
                .collect();
            let expected: Vec<String> = (0..EACH).map(|i| format!("{writer} {i}")).collect();
            assert_eq!(own, expected, "each writer's messages once and in its order");
        }
    }
}
