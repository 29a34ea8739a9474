//! Each fault happens as scripted, and the same seed gives the same faults.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fedstill_log::faults::Rates;
use fedstill_log::{
    Cleanup, Clock, Consumer, Embedded, ErrorKind, Faulty, Log, ManualClock, Message, Polled, TopicPartition,
};

fn log(seed: u64) -> (Faulty, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(1_000));
    let inner = Embedded::in_memory(clock.clone());
    inner.ensure_topic("topic", 4, Cleanup::Delete).expect("a topic");
    (Faulty::new(Arc::new(inner), seed), clock)
}

fn message(partition: u32) -> Message {
    Message {
        topic: "topic".to_owned(),
        partition,
        key: Bytes::new(),
        headers: Vec::new(),
        value: Bytes::from_static(b"value"),
    }
}

fn end(log: &Faulty) -> u64 {
    log.offsets("topic", 0).expect("offsets").end
}

#[test]
fn appends_fail_before_and_after_and_repeat() {
    let (log, _) = log(1);
    log.fail_appends(1);
    let error = log.append(&[message(0)]).expect_err("as scripted");
    assert_eq!((error.kind(), end(&log)), (ErrorKind::Retry, 0));
    log.lose_acks(1);
    log.append(&[message(0)]).expect_err("as scripted");
    assert_eq!(end(&log), 1, "it is there all the same");
    log.repeat_appends(1);
    log.append(&[message(0)]).expect("an append");
    assert_eq!(end(&log), 3);
    log.append(&[message(0)]).expect("an append");
    assert_eq!(end(&log), 4, "the script has ended");
}

fn member(log: &Faulty) -> Box<dyn Consumer> {
    let mut member = log.subscribe("group", &["topic"]).expect("a member");
    member.poll(Duration::ZERO).expect("a poll");
    assert_eq!(member.assignment().len(), 4);
    member
}

#[test]
fn commits_fail() {
    let (log, _) = log(1);
    log.append(&[message(0)]).expect("an append");
    log.fail_commits(1);
    let at = [(TopicPartition::new("topic", 0), 1)];
    member(&log).commit(&at).expect_err("as scripted");
    let mut again = member(&log);
    assert_eq!(again.position(&at[0].0), Some(0), "nothing was stored");
    again.commit(&at).expect("a commit");
    drop(again);
    assert_eq!(member(&log).position(&at[0].0), Some(1));
}

#[test]
fn time_passes() {
    let (log, clock) = log(1);
    log.delay(clock.clone(), Duration::from_secs(10));
    for _ in 0..20 {
        log.append(&[message(0)]).expect("an append");
    }
    assert!((2_000..201_000).contains(&clock.now_ms()));
}

/// Which partitions come in which order.
fn order(seed: u64) -> Vec<u32> {
    let (log, _) = log(seed);
    log.reorder(true);
    for _ in 0..5 {
        log.append(&[0, 1, 2, 3].map(message)).expect("an append");
    }
    let mut member = member(&log);
    let paused = [TopicPartition::new("topic", 3)];
    member.pause(&paused);
    let mut out = Vec::new();
    let mut next = [0; 4];
    while out.len() < 15 {
        let Polled::Records(records) = member.poll(Duration::ZERO).expect("a poll") else {
            continue;
        };
        for record in records {
            let next = &mut next[record.partition as usize];
            assert_eq!(record.offset, *next, "never inside a partition");
            *next += 1;
            out.push(record.partition);
        }
    }
    assert!(!out.contains(&3), "what is paused stays so");
    out
}

#[test]
fn the_seed_decides_the_order_of_partitions() {
    let orders: Vec<_> = (0..8).map(order).collect();
    assert!(orders.iter().any(|other| *other != orders[0]));
    assert_eq!(orders, (0..8).map(order).collect::<Vec<_>>());
}

#[test]
fn the_seed_decides_what_fails() {
    let outcomes = |seed| {
        let (log, _) = log(seed);
        log.rates(Rates {
            fail: 200,
            lose_ack: 100,
            repeat: 100,
            fail_commit: 0,
        });
        let append = |_| log.append(&[message(0)]).map_err(|error| error.to_string());
        (0..100).map(append).collect::<Vec<_>>()
    };
    assert_eq!(outcomes(1), outcomes(1));
    assert_ne!(outcomes(1), outcomes(2));
    let failed = outcomes(1).iter().filter(|outcome| outcome.is_err()).count();
    assert!((10..60).contains(&failed), "{failed}");
}
