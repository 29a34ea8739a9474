//! Ten thousand records that are nothing, on every topic, while a run goes on.

use crate::chaos::Random;
use crate::deployment::{DEADLINE, Deployment, good};
use crate::federation::{assert_same, finish, write};
use crate::parties::{ALL, Party, RUN, assert_same_weights, divide, everything, metrics, run_file};
use bytes::Bytes;
use fedstill_log::kafka::Settings;
use fedstill_log::{Kafka, Log, Message, Record, SystemClock};
use fedstill_schemas::names;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

const RECORDS: usize = 10_000;
/// Peak memory that a worker may take in spite of them: the run itself takes about half of it.
const MOST_MEMORY: u64 = 500 << 20;

fn noise(random: &mut Random, longest: u64) -> Vec<u8> {
    (0..random.below(longest)).map(|_| random.below(256) as u8).collect()
}

/// A record that nobody can use, often made from a true one; and whether no byte of it is a true one's, so that it can
/// be nothing but a dead letter.
fn malformed(random: &mut Random, topic: &str, partitions: u32, truth: &[Record]) -> (Message, bool) {
    let mut key = Bytes::from(noise(random, 20));
    let mut headers = vec![("ce_subject".to_owned(), Bytes::from(noise(random, 30)))];
    // As large as a broker takes: what is said about them must be smaller.
    if random.below(200) == 0 {
        match random.below(3) {
            0 => key = vec![b'k'; 900_000].into(),
            1 => headers.push(("x".to_owned(), vec![b'h'; 900_000].into())),
            _ => {
                let value = format!("{{\"version\":1,\"{}\":0}}", "f".repeat(900_000));
                let message = Message {
                    topic: topic.to_owned(),
                    partition: random.below(partitions.into()) as u32,
                    key,
                    headers,
                    value: value.into(),
                };
                return (message, true);
            }
        }
    }
    // One byte of a true decision or trigger can make another true one: only the operator may write those.
    let kinds = if [names::DECISIONS, names::ROUNDS].contains(&topic) {
        6
    } else {
        7
    };
    let mut nonsense = true;
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
            nonsense = false;
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
    let message = Message {
        topic: topic.to_owned(),
        partition: random.below(partitions.into()) as u32,
        key,
        headers,
        value: value.into(),
    };
    (message, nonsense)
}

/// Topics whose every record somebody reads: of predictions and consensus only those of a run's chunks are looked at, and
/// a party passes over what is not for it.
fn all_read(topic: &str) -> bool {
    let unread = [names::LOGITS, names::CONSENSUS, names::DECISIONS];
    !unread.contains(&topic) && names::party_topics().all(|other| other != topic)
}

/// The most memory that a process ever had, in bytes.
fn peak(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    kib << 10
}

#[test]
fn ten_thousand_malformed_records_stop_nobody_and_change_no_bit() {
    if std::env::var_os("FEDSTILL_LONG").is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let six = ("rounds = 2", "rounds = 6");
    let file = write(folder.path(), &[DEADLINE, six]);
    let out = folder.path().join("runs");
    finish(&file, &out, &[]);
    let rows = divide(&out, folder.path());
    let Some(mut deployment) = Deployment::start("malformed records on Apache Kafka", folder.path(), 1) else {
        return;
    };
    good(&deployment.does(&["topics", "create"]));
    deployment.work(&["--jobs", "2"]);
    let mut parties: Vec<Party> = (0..3)
        .map(|slot| Party::new(&deployment, folder.path(), slot, &rows[slot], ALL))
        .collect();
    for party in &mut parties {
        party.start(&deployment);
    }
    let file = run_file(folder.path(), &parties, "[close]\nquorum = 1.0\ndeadline = \"5m\"\n");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace(six.0, six.1)).unwrap();
    good(&deployment.does(&["submit", file.to_str().unwrap()]));
    let mut settings = Settings::new(&deployment.cluster.bootstrap());
    for (name, value) in [
        ("compression.codec", "zstd"),
        ("message.max.bytes", "1000000000"),
        ("fetch.max.bytes", "1000000000"),
        ("receive.message.max.bytes", "1000001000"),
    ] {
        settings.properties.insert(name.to_owned(), value.to_owned());
    }
    let log = Kafka::new(settings, Arc::new(SystemClock::new())).unwrap();
    let mut random = Random(1);
    let topics: Vec<&str> = names::topics()
        .into_iter()
        .filter(|topic| *topic != names::DEAD)
        .collect();
    let (mut sent, mut hopeless) = (0, BTreeSet::new());
    while sent < RECORDS {
        let (mut batch, mut nonsense) = (Vec::new(), Vec::new());
        for topic in &topics {
            let partitions = log.partitions(topic).unwrap();
            let truth = everything(&log, topic);
            let truth = &truth[..truth.len().min(50)];
            for _ in 0..40 {
                let (message, is_nonsense) = malformed(&mut random, topic, partitions, truth);
                batch.push(message);
                nonsense.push(is_nonsense && all_read(topic));
            }
        }
        sent += batch.len();
        let offsets = log.append(&batch).unwrap();
        for ((message, offset), _) in batch
            .iter()
            .zip(offsets)
            .zip(nonsense)
            .filter(|(_, nonsense)| *nonsense)
        {
            hopeless.insert(format!("{}/{}/{offset}", message.topic, message.partition));
        }
        assert!(deployment.workers[0].try_wait().unwrap().is_none(), "the worker lives");
    }
    // Small on the wire, and larger than a worker's memory may be for all of them.
    for topic in [
        names::PARTY_ANSWERS,
        names::ROUNDS,
        "fedstill.train",
        "fedstill.aggregate",
        names::LOGITS,
    ] {
        let bomb = Message {
            topic: topic.to_owned(),
            partition: 0,
            key: Bytes::new(),
            headers: Vec::new(),
            value: vec![0; 300 << 20].into(),
        };
        let offset = log.append(&[bomb]).unwrap()[0];
        if all_read(topic) {
            hopeless.insert(format!("{topic}/0/{offset}"));
        }
    }
    let watched = good(&deployment.does(&["watch", RUN]));
    assert!(watched.contains("finished with round 6"), "{watched}");
    let results = deployment.path().join("results");
    assert_same(&metrics(&out.join("results")), &metrics(&results), "the scores");
    assert_same_weights(&out, &parties, "after malformed records");
    let lag = (0..60).find(|_| {
        std::thread::sleep(Duration::from_secs(1));
        deployment.lag().is_empty()
    });
    assert!(lag.is_some(), "lag is left: {:?}", deployment.lag());
    // Every single one that somebody reads, once: nothing is tried for ever.
    let dead = everything(&log, names::DEAD);
    let mut letters = BTreeMap::<String, usize>::new();
    for letter in &dead {
        let text = |name| String::from_utf8_lossy(letter.header(name).unwrap()).into_owned();
        assert!(!text("fedstill_reason").is_empty());
        *letters.entry(text("fedstill_origin")).or_default() += 1;
    }
    assert!(hopeless.len() > RECORDS / 3, "{} of {sent}", hopeless.len());
    let lost: Vec<&String> = hopeless
        .iter()
        .filter(|origin| !letters.contains_key(*origin))
        .collect();
    assert!(
        lost.is_empty(),
        "{} of {} are no dead letters, as {:?}",
        lost.len(),
        hopeless.len(),
        &lost[..1]
    );
    let again: Vec<_> = letters.iter().filter(|(_, count)| **count > 1).collect();
    assert!(
        again.is_empty(),
        "{} are dead letters more than once, as {:?}",
        again.len(),
        &again[..1]
    );
    assert!(deployment.workers[0].try_wait().unwrap().is_none(), "the worker lives");
    let of_parties = parties.iter_mut().map(|party| party.process().id());
    for process in of_parties.chain([deployment.workers[0].id()]) {
        let peak = peak(process);
        assert!(peak < MOST_MEMORY, "peak memory of {peak} bytes");
    }
}
