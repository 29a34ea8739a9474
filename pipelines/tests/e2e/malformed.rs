//! Ten thousand records that are nothing, on every topic, while a run goes on.

use crate::chaos::Random;
use crate::deployment::{DEADLINE, Deployment, good};
use crate::federation::{assert_same, bits, finish, write};
use crate::parties::{RUN, everything};
use bytes::Bytes;
use fedstill_log::kafka::Settings;
use fedstill_log::{Kafka, Log, Message, Record, SystemClock};
use fedstill_schemas::names;
use std::sync::Arc;
use std::time::Duration;

const RECORDS: usize = 10_000;
/// Peak memory that a worker may take in spite of them: the run itself takes about half of it.
const MOST_MEMORY: u64 = 500 << 20;

fn noise(random: &mut Random, longest: u64) -> Vec<u8> {
    (0..random.below(longest)).map(|_| random.below(256) as u8).collect()
}

/// A record that nobody can use, often made from a true one.
fn malformed(random: &mut Random, topic: &str, partitions: u32, truth: &[Record]) -> Message {
    let mut key = Bytes::from(noise(random, 20));
    let mut headers = vec![("ce_subject".to_owned(), Bytes::from(noise(random, 30)))];
    // As large as a broker takes: what is said about them must be smaller.
    if random.below(200) == 0 {
        match random.below(3) {
            0 => key = vec![b'k'; 900_000].into(),
            1 => headers.push(("x".to_owned(), vec![b'h'; 900_000].into())),
            _ => {
                let value = format!("{{\"version\":1,\"{}\":0}}", "f".repeat(900_000));
                return Message {
                    topic: topic.to_owned(),
                    partition: random.below(partitions.into()) as u32,
                    key,
                    headers,
                    value: value.into(),
                };
            }
        }
    }
    // One byte of a true decision or trigger can make another true one: only the operator may write those.
    let kinds = if [names::DECISIONS, names::ROUNDS].contains(&topic) {
        6
    } else {
        7
    };
    let value = match random.below(kinds) {
        0 => noise(random, 2_000),
        1 => b"{\"version\":1,\"at\":{\"run\":7}}".to_vec(),
        2 => [vec![b'['; 5_000], vec![b']'; 5_000]].concat(),
        // Lengths as Arrow and flatbuffers write them, far beyond what follows.
        3 => [
            &b"\xff\xff\xff\xff\xf0\xff\xff\x7f\x10\0\0\0\xff\xff\xff\x7f"[..],
            &noise(random, 200),
        ]
        .concat(),
        // Compresses to nothing.
        4 if random.below(20) == 0 => vec![0; 900_000],
        _ if truth.is_empty() => Vec::new(),
        kind => {
            let record = &truth[random.below(truth.len() as u64) as usize];
            key = record.key.clone();
            headers.clone_from(&record.headers);
            let mut value = record.value.to_vec();
            let at = random.below(value.len().max(1) as u64) as usize;
            if kind == 5 {
                value.truncate(at);
            } else if let Some(byte) = value.get_mut(at) {
                // A letter that JSON and flatbuffers take for what they like.
                *byte = byte.wrapping_add(1 + random.below(255) as u8);
            }
            value
        }
    };
    Message {
        topic: topic.to_owned(),
        partition: random.below(partitions.into()) as u32,
        key,
        headers,
        value: value.into(),
    }
}

#[test]
fn ten_thousand_malformed_records_stop_nobody_and_change_no_bit() {
    if std::env::var_os("FEDSTILL_LONG").is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), &[DEADLINE, ("rounds = 2", "rounds = 6")]);
    let out = folder.path().join("runs");
    finish(&file, &out, &[]);
    let Some(mut deployment) = Deployment::start("malformed records on Apache Kafka", folder.path(), 1) else {
        return;
    };
    good(&deployment.does(&["topics", "create"]));
    deployment.work(&["--jobs", "2"]);
    good(&deployment.does(&["submit", file.to_str().unwrap()]));
    let mut settings = Settings::new(&deployment.cluster.bootstrap());
    settings
        .properties
        .insert("compression.codec".to_owned(), "zstd".to_owned());
    let log = Kafka::new(settings, Arc::new(SystemClock::new())).unwrap();
    let mut random = Random(1);
    let topics: Vec<&str> = names::topics()
        .into_iter()
        .filter(|topic| *topic != names::DEAD)
        .collect();
    let mut sent = 0;
    while sent < RECORDS {
        let mut batch = Vec::new();
        for topic in &topics {
            let partitions = log.partitions(topic).unwrap();
            let truth = everything(&log, topic);
            let truth = &truth[..truth.len().min(50)];
            batch.extend((0..40).map(|_| malformed(&mut random, topic, partitions, truth)));
        }
        sent += batch.len();
        log.append(&batch).unwrap();
        assert!(deployment.workers[0].try_wait().unwrap().is_none(), "the worker lives");
    }
    let watched = good(&deployment.does(&["watch", RUN]));
    assert!(watched.contains("finished with round 6"), "{watched}");
    assert_same(&bits(&out, RUN), &deployment.bits(RUN), "after malformed records");
    let lag = (0..60).find(|_| {
        std::thread::sleep(Duration::from_secs(1));
        deployment.lag().is_empty()
    });
    assert!(lag.is_some(), "lag is left: {:?}", deployment.lag());
    let dead = everything(&log, names::DEAD);
    assert!(dead.len() > RECORDS / 3, "{} dead letters", dead.len());
    assert!(dead.iter().all(|record| {
        record
            .header("fedstill_reason")
            .is_some_and(|reason| !reason.is_empty())
    }));
    let worker = &mut deployment.workers[0];
    assert!(worker.try_wait().unwrap().is_none(), "the worker lives");
    let status = std::fs::read_to_string(format!("/proc/{}/status", worker.id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak << 10 < MOST_MEMORY, "peak memory of {peak} kB");
}
