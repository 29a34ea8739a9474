//! Any sequence of calls does what a list per partition would do.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use super::{Embedded, GROUP, TOPIC, clock, committed, message, open, read_all};
use crate::log::{Cleanup, Log, Polled};
use crate::record::{Offset, TopicPartition};

#[derive(Clone, Debug)]
enum Call {
    Ensure(u32),
    Append(Vec<(u32, usize)>),
    Read(u32, u64, usize),
    Consume(usize),
    Reopen,
}

fn call() -> impl Strategy<Value = Call> {
    let sizes = prop_oneof![4 => 0_usize..200, 1 => 60_000_usize..150_000];
    prop_oneof![
        1 => (1_u32..5).prop_map(Call::Ensure),
        6 => prop::collection::vec((0_u32..5, sizes), 1..20).prop_map(Call::Append),
        4 => (0_u32..5, any::<u64>(), 0_usize..300_000).prop_map(|(p, o, b)| Call::Read(p, o, b)),
        3 => (1_usize..8).prop_map(Call::Consume),
        1 => Just(Call::Reopen),
    ]
}

#[derive(Default)]
struct Model {
    partitions: Vec<Vec<Bytes>>,
    commits: BTreeMap<u32, Offset>,
    count: usize,
}

impl Model {
    fn value(&mut self, size: usize) -> Bytes {
        self.count += 1;
        let mut value = self.count.to_le_bytes().to_vec();
        value.resize(8 + size, self.count as u8);
        value.into()
    }

    fn run(&mut self, log: &Embedded, call: &Call) {
        match call {
            Call::Ensure(partitions) => {
                log.ensure_topic(TOPIC, *partitions, Cleanup::Delete).expect("a topic");
                let now = self.partitions.len().max(*partitions as usize);
                self.partitions.resize_with(now, Vec::new);
            }
            Call::Append(items) => self.append(log, items),
            Call::Read(partition, from, bytes) => self.read(log, *partition, *from, *bytes),
            Call::Consume(polls) => self.consume(log, *polls),
            Call::Reopen => {}
        }
        for (partition, values) in self.partitions.iter().enumerate() {
            let offsets = log.offsets(TOPIC, partition as u32).expect("offsets");
            assert_eq!(offsets, 0..values.len() as u64);
        }
    }

    fn append(&mut self, log: &Embedded, items: &[(u32, usize)]) {
        let fits = |(partition, _): &(u32, usize)| (*partition as usize) < self.partitions.len();
        if !items.iter().all(fits) {
            let messages: Vec<_> = items.iter().map(|(p, _)| message(*p, "x")).collect();
            log.append(&messages).expect_err("no such partition");
            return;
        }
        let mut messages = Vec::new();
        let mut expected = Vec::new();
        for (partition, size) in items {
            let value = self.value(*size);
            messages.push(message(*partition, value.clone()));
            let values = &mut self.partitions[*partition as usize];
            expected.push(values.len() as u64);
            values.push(value);
        }
        assert_eq!(log.append(&messages).expect("an append"), expected);
    }

    fn read(&self, log: &Embedded, partition: u32, from: u64, bytes: usize) {
        let Some(values) = self.partitions.get(partition as usize) else {
            assert!(log.read(TOPIC, partition, 0).is_err(), "no such partition");
            return;
        };
        let from = from % (values.len() as u64 + 1);
        let mut reader = log.read(TOPIC, partition, from).expect("a reader");
        let mut next = from as usize;
        for _ in 0..3 {
            let records = reader.next(bytes).expect("a read");
            assert_eq!(records.is_empty(), next == values.len());
            let size: usize = records.iter().map(|r| r.key.len() + r.value.len() + 11).sum();
            assert!(records.len() <= 1 || size <= bytes, "within the limit");
            for record in records {
                assert_eq!(record.offset, next as u64);
                assert!(record.value == values[next]);
                next += 1;
            }
        }
    }

    /// A member that polls some times, commits all it saw and leaves.
    fn consume(&mut self, log: &Embedded, polls: usize) {
        let Ok(mut member) = log.subscribe(GROUP, &[TOPIC]) else {
            assert!(self.partitions.is_empty(), "only an unknown topic is refused");
            return;
        };
        let mut positions = self.commits.clone();
        for _ in 0..polls {
            let Polled::Records(records) = member.poll(Duration::ZERO).expect("a poll") else {
                continue;
            };
            for record in records {
                let next = positions.entry(record.partition).or_default();
                assert_eq!(record.offset, *next, "on from the commit, in order");
                let values = &self.partitions[record.partition as usize];
                assert!(record.value == values[record.offset as usize]);
                *next += 1;
            }
        }
        let name = |(partition, offset): (&u32, &Offset)| (TopicPartition::new(TOPIC, *partition), *offset);
        let offsets: Vec<_> = positions.iter().map(name).collect();
        member.commit(&offsets).expect("a commit");
        self.commits = positions;
    }

    fn check(&self, log: &Embedded) {
        for (partition, values) in self.partitions.iter().enumerate() {
            let records = read_all(log, partition as u32);
            assert!(records.iter().map(|record| &record.value).eq(values));
            let offset = self.commits.get(&(partition as u32)).copied().unwrap_or(0);
            assert_eq!(committed(log, partition as u32), offset);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..Default::default() })]

    #[test]
    fn on_disk(calls in prop::collection::vec(call(), 1..40), segment_bytes in 100_u64..500_000) {
        let folder = tempfile::tempdir().expect("a folder");
        let mut log = open(folder.path(), segment_bytes);
        let mut model = Model::default();
        for call in &calls {
            if matches!(call, Call::Reopen) {
                drop(log);
                log = open(folder.path(), segment_bytes);
            }
            model.run(&log, call);
        }
        model.check(&log);
        drop(log);
        model.check(&open(folder.path(), segment_bytes));
    }

    #[test]
    fn in_memory(calls in prop::collection::vec(call(), 1..40)) {
        let log = Embedded::in_memory(clock());
        let mut model = Model::default();
        for call in &calls {
            model.run(&log, call);
        }
        model.check(&log);
    }
}
