//! Consumer groups: who gets what, and where it goes on.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::{Case, PATIENCE, Patience, append, append_numbers, assert_idle, ensure, message, settle, take, values};
use crate::log::{Consumer, Log, Polled};
use crate::record::{Record, TopicPartition};

fn join(log: &dyn Log, group: &str, topics: &[&str]) -> Box<dyn Consumer> {
    log.subscribe(group, topics).expect("a member joins")
}

pub(super) fn a_group_goes_on_from_its_commit(case: &Case) {
    let (log, topic) = case.topic(2);
    let group = case.name("group");
    append_numbers(log.as_ref(), &topic, 2, 0..10);
    let mut member = join(log.as_ref(), &group, &[&topic]);
    take(member.as_mut(), 20);
    assert_idle(member.as_mut(), "everything once");
    let at = [4, 10].map(|offset| (TopicPartition::new(&*topic, u32::from(offset == 10)), offset));
    member.commit(&at).expect("a commit");
    drop(member);
    let mut member = join(log.as_ref(), &group, &[&topic]);
    let expected: Vec<String> = (4..10).map(|i| format!("0:{i}")).collect();
    assert_eq!(values(&take(member.as_mut(), 6)), expected, "on from the commit");
    assert_idle(member.as_mut(), "nothing that was committed");
}

pub(super) fn groups_are_independent(case: &Case) {
    let (log, topic) = case.topic(1);
    append_numbers(log.as_ref(), &topic, 1, 0..5);
    let mut one = join(log.as_ref(), &case.name("one"), &[&topic]);
    take(one.as_mut(), 5);
    one.commit(&[(TopicPartition::new(&*topic, 0), 5)]).expect("a commit");
    let mut two = join(log.as_ref(), &case.name("two"), &[&topic]);
    take(two.as_mut(), 5);
    append_numbers(log.as_ref(), &topic, 1, 5..6);
    take(one.as_mut(), 1);
    take(two.as_mut(), 1);
}

pub(super) fn dropping_does_not_commit(case: &Case) {
    let (log, topic) = case.topic(1);
    let group = case.name("group");
    append_numbers(log.as_ref(), &topic, 1, 0..5);
    for _ in 0..2 {
        let mut member = join(log.as_ref(), &group, &[&topic]);
        take(member.as_mut(), 5);
    }
}

pub(super) fn members_share_and_take_over(case: &Case) {
    let (log, topic) = case.topic(6);
    let group = case.name("group");
    let mut one = join(log.as_ref(), &group, &[&topic]);
    let all = settle(&mut [(&mut one, 6)]).remove(0);
    let mut two = join(log.as_ref(), &group, &[&topic]);
    let shares = settle(&mut [(&mut one, 3), (&mut two, 3)]);
    let shared: BTreeSet<_> = shares.iter().flatten().cloned().collect();
    assert_eq!(
        shared.into_iter().collect::<Vec<_>>(),
        all,
        "each partition has one owner"
    );

    append_numbers(log.as_ref(), &topic, 6, 0..3);
    for (member, share) in [(&mut one, &shares[0]), (&mut two, &shares[1])] {
        let records = take(member.as_mut(), 9);
        let own = |record: &Record| share.contains(&record.topic_partition());
        assert!(records.iter().all(own), "only from its own partitions");
        assert_idle(member.as_mut(), "nothing from the other's partitions");
    }
    let done: Vec<_> = shares[1].iter().map(|partition| (partition.clone(), 2)).collect();
    two.commit(&done).expect("a commit");
    drop(two);
    settle(&mut [(&mut one, 6)]);
    let records = take(one.as_mut(), 3);
    assert!(
        records.iter().all(|record| record.offset == 2),
        "on from the other's commit"
    );
    append_numbers(log.as_ref(), &topic, 6, 3..4);
    assert!(
        take(one.as_mut(), 6).iter().all(|record| record.offset == 3),
        "and its own position"
    );
}

pub(super) fn a_late_commit_is_passed_over(case: &Case) {
    let (log, topic) = case.topic(2);
    let group = case.name("group");
    append_numbers(log.as_ref(), &topic, 2, 0..4);
    let mut one = join(log.as_ref(), &group, &[&topic]);
    take(one.as_mut(), 8);
    let mut two = join(log.as_ref(), &group, &[&topic]);
    let shares = settle(&mut [(&mut one, 1), (&mut two, 1)]);
    one.commit(&[(shares[1][0].clone(), 4)]).expect("passed over");
    drop(two);
    let mut patience = Patience::new();
    let mut again = Vec::new();
    while again.len() < 4 {
        if let Polled::Records(records) = patience.poll(one.as_mut(), "records") {
            again.extend(records);
        }
    }
    let moved = |record: &Record| record.topic_partition() == shares[1][0];
    assert!(
        again.iter().all(moved),
        "from the start: the commit came after the partition left"
    );
}

pub(super) fn members_with_different_topics(case: &Case) {
    let (log, topic) = case.topic(2);
    let other = case.name("other");
    ensure(log.as_ref(), &other, 2);
    let group = case.name("group");
    let mut one = join(log.as_ref(), &group, &[&topic]);
    let mut two = join(log.as_ref(), &group, &[&other]);
    let shares = settle(&mut [(&mut one, 2), (&mut two, 2)]);
    assert!(shares[0].iter().all(|partition| *partition.topic == *topic));
    assert!(shares[1].iter().all(|partition| *partition.topic == *other));
}

pub(super) fn a_reader_of_its_own_goes_on_from_its_commits(case: &Case) {
    let (log, topic) = case.topic(3);
    let other = case.name("other");
    ensure(log.as_ref(), &other, 3);
    let group = case.name("group");
    append_numbers(log.as_ref(), &topic, 3, 0..4);
    append_numbers(log.as_ref(), &other, 3, 0..4);
    let own = [TopicPartition::new(&*topic, 1), TopicPartition::new(&*other, 1)];
    let mut one = log.assign(&group, &own).expect("a reader");
    let records = take(one.as_mut(), 8);
    assert!(
        records.iter().all(|record| record.partition == 1),
        "its partitions only"
    );
    let mut assigned = one.assignment();
    assigned.sort();
    let mut expected = own.to_vec();
    expected.sort();
    assert_eq!(assigned, expected);
    one.commit(&[(own[0].clone(), 3)]).expect("a commit");
    drop(one);
    let mut two = log.assign(&group, &own).expect("a reader");
    let records = take(two.as_mut(), 5);
    let first: Vec<u64> = records
        .iter()
        .filter(|r| *r.topic == *topic)
        .map(|r| r.offset)
        .collect();
    assert_eq!(first, [3], "on from the commit; the other from its start");
    append_numbers(log.as_ref(), &topic, 3, 4..5);
    assert_eq!(values(&take(two.as_mut(), 1)), ["1:4"]);
    log.assign(&group, &[TopicPartition::new(&*topic, 3)])
        .map(drop)
        .expect_err("no such partition");
}

pub(super) fn pause_and_resume(case: &Case) {
    let (log, topic) = case.topic(2);
    let mut member = join(log.as_ref(), &case.name("group"), &[&topic]);
    settle(&mut [(&mut member, 2)]);
    let paused = [TopicPartition::new(&*topic, 0)];
    member.pause(&paused);
    append_numbers(log.as_ref(), &topic, 2, 0..3);
    assert_eq!(values(&take(member.as_mut(), 3)), ["1:0", "1:1", "1:2"]);
    assert_idle(member.as_mut(), "a paused partition is silent");
    assert_eq!(member.position(&paused[0]), Some(0));
    member.resume(&paused);
    assert_eq!(values(&take(member.as_mut(), 3)), ["0:0", "0:1", "0:2"]);
}

pub(super) fn seek_and_position(case: &Case) {
    let (log, topic) = case.topic(1);
    let partition = TopicPartition::new(&*topic, 0);
    append_numbers(log.as_ref(), &topic, 1, 0..5);
    let mut member = join(log.as_ref(), &case.name("group"), &[&topic]);
    assert_eq!(member.position(&partition), None, "not assigned yet");
    member.seek(&partition, 0).expect_err("not assigned yet");
    take(member.as_mut(), 5);
    assert_eq!(member.position(&partition), Some(5));
    member.seek(&partition, 3).expect("a seek");
    assert_eq!(member.position(&partition), Some(3));
    assert_eq!(values(&take(member.as_mut(), 2)), ["0:3", "0:4"]);
}

pub(super) fn a_poll_waits_for_an_append(case: &Case) {
    let (log, topic) = case.topic(1);
    let mut member = join(log.as_ref(), &case.name("group"), &[&topic]);
    settle(&mut [(&mut member, 1)]);
    assert_idle(member.as_mut(), "nothing is there");
    let writer = {
        let (log, topic) = (Arc::clone(&log), topic.clone());
        thread::spawn(move || {
            thread::sleep(Duration::from_millis(200));
            append(log.as_ref(), &[message(&topic, 0, "late")]);
        })
    };
    let polled = member.poll(PATIENCE).expect("a poll");
    assert!(matches!(polled, Polled::Records(records) if values(&records) == ["late"]));
    writer.join().expect("the writer ends");
}

pub(super) fn every_partition_gets_its_turn(case: &Case) {
    let (log, topic) = case.topic(3);
    let full: Vec<_> = (0..2000).map(|_| message(&topic, 0, vec![1; 4096])).collect();
    append(log.as_ref(), &full);
    append_numbers(log.as_ref(), &topic, 3, 0..1);
    let mut member = join(log.as_ref(), &case.name("group"), &[&topic]);
    let mut patience = Patience::new();
    let mut served = BTreeSet::new();
    let mut seen = 0;
    while served.len() < 3 {
        if let Polled::Records(records) = patience.poll(member.as_mut(), "records") {
            seen += records.len();
            served.extend(records.iter().map(|record| record.partition));
        }
    }
    assert!(seen < 2003, "a full partition does not hold up the others");
}

pub(super) fn commits_survive_a_reopen(case: &Case) {
    let (log, topic) = case.topic(1);
    let group = case.name("group");
    append_numbers(log.as_ref(), &topic, 1, 0..5);
    let mut member = join(log.as_ref(), &group, &[&topic]);
    take(member.as_mut(), 5);
    member
        .commit(&[(TopicPartition::new(&*topic, 0), 3)])
        .expect("a commit");
    drop(member);
    drop(log);
    let log = case.fixture.reopen();
    let mut member = join(log.as_ref(), &group, &[&topic]);
    assert_eq!(values(&take(member.as_mut(), 2)), ["0:3", "0:4"]);
}
