//! A log on Apache Kafka: rights, outages, settings of topics.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fedstill_log::kafka::Settings;
use fedstill_log::{Cleanup, ErrorKind, Kafka, Log, Message, Polled, Record, SystemClock, TopicPartition, UNREADABLE};
use fedstill_test_servers::kafka::{Cluster, Options};
use fedstill_test_servers::{free_port, skip};
use futures::executor::block_on;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

fn open(settings: Settings) -> Kafka {
    Kafka::new(settings, Arc::new(SystemClock::new())).expect("a client")
}

fn message(topic: &str, value: &'static str) -> Message {
    Message {
        topic: topic.to_owned(),
        partition: 0,
        key: Bytes::new(),
        headers: Vec::new(),
        value: Bytes::from_static(value.as_bytes()),
    }
}

/// A cluster of that kind; where none can run here, the test is named as skipped.
fn started(options: Options, what: &str) -> Option<Cluster> {
    let cluster = Cluster::start(options);
    cluster.map_err(|missing| skip(what, &missing)).ok()
}

/// Settings of a user of a secured cluster.
fn user(brokers: &str, mechanism: &str, (user, password): (&str, &str)) -> Settings {
    let mut settings = Settings::new(brokers);
    for (name, value) in [
        ("security.protocol", "SASL_PLAINTEXT"),
        ("sasl.mechanism", mechanism),
        ("sasl.username", user),
        ("sasl.password", password),
    ] {
        settings.properties.insert(name.to_owned(), value.to_owned());
    }
    settings
}

/// Appends zeros that are small on the wire and large unpacked, as a librdkafka of anybody can.
fn append_bomb(brokers: &str, topic: &str, bytes: usize) {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("compression.type", "zstd");
    config.set("message.max.bytes", "1000000000");
    let producer: BaseProducer = config.create().expect("a producer");
    let zeros = vec![0; bytes];
    let record = BaseRecord::<(), Vec<u8>>::to(topic).partition(0).payload(&zeros);
    producer.send(record).map_err(|(error, _)| error).expect("it is queued");
    producer.flush(Duration::from_mins(1)).expect("it is taken");
}

#[test]
fn a_record_that_cannot_be_unpacked_is_stood_in_for_and_what_follows_is_read() {
    let options = Options {
        brokers: 1,
        ..Options::default()
    };
    let Some(cluster) = started(options, "compression bombs") else {
        return;
    };
    let log = open(Settings::new(&cluster.bootstrap()));
    log.ensure_topic("t", 1, Cleanup::Delete).unwrap();
    log.append(&[message("t", "before")]).unwrap();
    append_bomb(&cluster.bootstrap(), "t", 150 << 20);
    append_bomb(&cluster.bootstrap(), "t", 150 << 20);
    log.append(&[message("t", "after")]).unwrap();
    assert_eq!(log.offsets("t", 0).unwrap(), 0..4);
    let assert_all = |records: &[Record]| {
        let offsets: Vec<_> = records.iter().map(|record| record.offset).collect();
        assert_eq!(offsets, [0, 1, 2, 3]);
        assert_eq!(
            (&*records[0].value, &*records[3].value),
            (&b"before"[..], &b"after"[..])
        );
        for bomb in &records[1..3] {
            assert!(bomb.value.is_empty());
            let reason = String::from_utf8_lossy(bomb.header(UNREADABLE).unwrap()).into_owned();
            assert!(reason.contains("cannot be unpacked"), "{reason}");
        }
    };
    let mut reader = log.read("t", 0, 0).unwrap();
    let mut records = Vec::new();
    while records.len() < 4 {
        records.extend(reader.next(1 << 20).unwrap());
    }
    assert_all(&records);
    let mut consumer = log.subscribe("g", &["t"]).unwrap();
    let mut records = Vec::new();
    for _ in 0..300 {
        if let Polled::Records(more) = consumer.poll(Duration::from_millis(200)).unwrap() {
            records.extend(more);
        }
        if records.len() >= 4 {
            break;
        }
    }
    assert_all(&records);
    assert_eq!(consumer.position(&TopicPartition::new("t", 0)), Some(4));
}

#[test]
fn what_nothing_bounds_when_it_is_unpacked_is_not_built_in() {
    let native = ClientConfig::new().create_native_config().unwrap();
    let features = native.get("builtin.features").unwrap();
    assert!(!features.contains("gzip") && features.contains("zstd"), "{features}");
}

#[test]
fn with_tls_records_pass_and_a_certificate_that_nobody_trusts_stops() {
    if !cfg!(feature = "tls") {
        return;
    }
    let options = Options {
        brokers: 1,
        tls: true,
        ..Options::default()
    };
    let Some(cluster) = started(options, "TLS to Apache Kafka") else {
        return;
    };
    let settings = |trusted: Option<&Path>| {
        let mut settings = Settings::new(&cluster.bootstrap());
        let mut set = |name: &str, value: String| settings.properties.insert(name.to_owned(), value);
        set("security.protocol", "SSL".to_owned());
        if let Some(file) = trusted {
            set("ssl.ca.location", file.display().to_string());
        }
        settings
    };
    let certificate = cluster.certificate();
    let log = open(settings(Some(&certificate)));
    log.ensure_topic("t", 1, Cleanup::Delete).expect("a topic");
    assert_eq!(log.append(&[message("t", "x")]).expect("an append"), [0]);
    let read = log
        .read("t", 0, 0)
        .and_then(|mut reader| reader.next(1))
        .expect("readable");
    assert_eq!(read[0].value, "x");
    let error = open(settings(None))
        .partitions("t")
        .expect_err("nobody vouches for the broker");
    assert!(error.to_string().contains("certificate"), "{error}");
}

/// Settings of a user who shows a token of the identity provider.
fn bearer(cluster: &Cluster, (user, secret): (&str, &str)) -> Settings {
    let mut settings = Settings::new(&cluster.bootstrap());
    for (name, value) in [
        ("security.protocol", "SASL_PLAINTEXT"),
        ("sasl.mechanism", "OAUTHBEARER"),
        ("sasl.oauthbearer.method", "oidc"),
        (
            "sasl.oauthbearer.token.endpoint.url",
            cluster.token_endpoint().expect("a provider"),
        ),
        ("sasl.oauthbearer.client.id", user),
        ("sasl.oauthbearer.client.secret", secret),
    ] {
        settings.properties.insert(name.to_owned(), value.to_owned());
    }
    settings
}

#[test]
fn a_token_of_an_identity_provider_opens_and_a_wrong_secret_does_not() {
    if !cfg!(feature = "tls") {
        return;
    }
    let secured = Options {
        brokers: 1,
        secured: true,
        ..Options::default()
    };
    let Some(cluster) = started(secured, "tokens for Apache Kafka") else {
        return;
    };
    let admin = open(bearer(&cluster, Cluster::USERS[0]));
    admin.ensure_topic("t", 1, Cleanup::Delete).expect("a topic");
    assert_eq!(admin.append(&[message("t", "x")]).expect("an append"), [0]);
    let read = admin
        .read("t", 0, 0)
        .and_then(|mut reader| reader.next(1))
        .expect("readable");
    assert_eq!(read[0].value, "x");
    let mut member = admin.subscribe("workers", &["t"]).expect("a client");
    let polled = (0..100).find_map(|_| match member.poll(Duration::from_millis(100)) {
        Ok(Polled::Records(records)) => Some(records),
        other => other.map(|_| None).expect("no error"),
    });
    assert_eq!(polled.expect("the record").len(), 1);

    let party = open(bearer(&cluster, Cluster::USERS[2]));
    let error = party.partitions("t").expect_err("a token is no right");
    assert_eq!(error.kind(), ErrorKind::Fatal, "{error}");
    let error = open(bearer(&cluster, ("admin", "hunter2")))
        .partitions("t")
        .expect_err("no token");
    let text = error.to_string();
    assert!(text.contains("OAUTHBEARER") && !text.contains("hunter2"), "{text}");
}

#[test]
fn rights_and_passwords_that_are_missing_are_said_and_stop() {
    let secured = Options {
        brokers: 1,
        secured: true,
        ..Options::default()
    };
    let Some(cluster) = started(secured, "rights on Apache Kafka") else {
        return;
    };
    let brokers = cluster.bootstrap();
    let admin = open(user(&brokers, "PLAIN", Cluster::USERS[0]));
    admin.ensure_topic("t", 1, Cleanup::Delete).expect("a topic");
    assert_eq!(admin.append(&[message("t", "x")]).expect("an append"), [0]);

    let mut wrong = user(&brokers, "PLAIN", ("admin", "hunter2"));
    wrong
        .properties
        .insert("message.timeout.ms".to_owned(), "3000".to_owned());
    let error = open(wrong).partitions("t").expect_err("no entry");
    let text = error.to_string();
    assert_eq!(error.kind(), ErrorKind::Fatal, "{text}");
    assert!(text.contains("password") && !text.contains("hunter2"), "{text}");

    let party = open(user(&brokers, "PLAIN", Cluster::USERS[2]));
    let error = party.partitions("t").expect_err("no rights");
    assert_eq!(error.kind(), ErrorKind::Fatal, "{error}");
    cluster.tool(
        "org.apache.kafka.tools.AclCommand",
        &[
            "--add",
            "--allow-principal",
            "User:party-0",
            "--operation",
            "Read",
            "--topic",
            "t",
        ],
    );
    let readable = party
        .read("t", 0, 0)
        .and_then(|mut reader| reader.next(1))
        .expect("readable");
    assert_eq!(readable[0].value, "x");
    let error = party.append(&[message("t", "forged")]).expect_err("no right to write");
    assert_eq!(error.kind(), ErrorKind::Fatal, "{error}");
    assert!(error.to_string().contains("rights"), "{error}");
    assert_eq!(admin.offsets("t", 0).expect("offsets"), 0..1, "nothing was written");
    let mut member = party.subscribe("workers", &["t"]).expect("a client");
    let refused = (0..100).find_map(|_| member.poll(Duration::from_millis(100)).err());
    let error = refused.expect("no right to join the group");
    assert_eq!(error.kind(), ErrorKind::Fatal, "{error}");
}

#[test]
fn an_outage_is_waited_for_and_nothing_acknowledged_is_lost() {
    // The long tests are those that `tests/run` runs with FEDSTILL_LONG.
    if std::env::var_os("FEDSTILL_LONG").is_none() {
        return;
    }
    let three = Options {
        brokers: 3,
        ..Options::default()
    };
    let Some(mut cluster) = started(three, "outages of Apache Kafka") else {
        return;
    };
    let mut settings = Settings::new(&cluster.bootstrap());
    settings.replication = Some(3);
    settings
        .properties
        .insert("message.timeout.ms".to_owned(), "5000".to_owned());
    let log = open(settings);
    log.ensure_topic("t", 1, Cleanup::Delete).expect("a topic");
    let mut acknowledged = Vec::new();
    let append = |values: std::ops::Range<u32>, acknowledged: &mut Vec<String>| {
        let mut failures = 0;
        for value in values {
            let value = value.to_string();
            let message = Message {
                value: Bytes::from(value.clone()),
                ..message("t", "")
            };
            // As every caller does: again until it is acknowledged.
            while let Err(error) = log.append(std::slice::from_ref(&message)) {
                assert_eq!(error.kind(), ErrorKind::Retry, "{error}");
                failures += 1;
                assert!(failures < 100, "{error}");
            }
            acknowledged.push(value);
        }
        failures
    };
    append(0..20, &mut acknowledged);
    for index in 0..3 {
        cluster.kill(index);
        append(20 + index as u32 * 20..40 + index as u32 * 20, &mut acknowledged);
        cluster.start_broker(index);
        std::thread::sleep(Duration::from_secs(15));
    }
    // Leaders have moved: again, as every caller does.
    let again = |error: fedstill_log::LogError| assert_eq!(error.kind(), ErrorKind::Retry, "{error}");
    let reader = (0..100).find_map(|_| log.read("t", 0, 0).map_err(again).ok());
    let mut reader = reader.expect("a reader");
    let mut seen = Vec::new();
    while seen.len() < acknowledged.len() {
        let records = (0..100).find_map(|_| reader.next(1 << 20).map_err(again).ok());
        let records = records.expect("records");
        assert!(!records.is_empty(), "what was acknowledged is there: {seen:?}");
        seen.extend(
            records
                .iter()
                .map(|record| String::from_utf8_lossy(&record.value).into_owned()),
        );
        seen.dedup();
    }
    assert_eq!(seen, acknowledged, "all, in order; repeats follow each other");
}

#[test]
fn brokers_that_do_not_answer_are_named_and_may_come_back() {
    let address = format!("127.0.0.1:{}", free_port());
    let error = open(Settings::new(&address)).partitions("t").expect_err("nobody there");
    assert_eq!(error.kind(), ErrorKind::Retry);
    assert!(error.to_string().contains(&address), "{error}");
}

#[test]
fn a_property_that_does_not_exist_is_refused_without_its_value() {
    let mut settings = Settings::new("127.0.0.1:1");
    settings
        .properties
        .insert("sasl.passwort".to_owned(), "hunter2".to_owned());
    let error = Kafka::new(settings, Arc::new(SystemClock::new())).expect_err("unknown");
    assert_eq!(error.kind(), ErrorKind::Fatal);
    let text = error.to_string();
    assert!(text.contains("sasl.passwort") && !text.contains("hunter2"), "{text}");
}

fn admin(brokers: &str) -> AdminClient<DefaultClientContext> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).create().expect("a client")
}

/// The configuration of a topic, as the brokers have it.
fn configured(brokers: &str, topic: &str) -> BTreeMap<String, String> {
    let topic = ResourceSpecifier::Topic(topic);
    let described = block_on(admin(brokers).describe_configs(&[topic], &AdminOptions::new()));
    let described = described.expect("an answer").remove(0).expect("a topic");
    let entries = described.entries.into_iter();
    entries.filter_map(|entry| Some((entry.name, entry.value?))).collect()
}

/// What an operator does with Kafka's own tools.
fn configure(brokers: &str, topic: &str, entries: &[(&str, &str)]) {
    let start = AlterConfig::new(ResourceSpecifier::Topic(topic));
    let alter = entries
        .iter()
        .fold(start, |alter, (name, value)| alter.set(name, value));
    let altered = block_on(admin(brokers).alter_configs(&[alter], &AdminOptions::new()));
    assert!(altered.expect("an answer")[0].is_ok());
}

#[test]
fn ensuring_a_topic_mends_its_settings_and_keeps_what_else_was_set() {
    let brokers = match Cluster::shared() {
        Ok(brokers) => brokers,
        Err(missing) => return skip("settings of topics on Apache Kafka", &missing),
    };
    let topic = format!("mended-{}", std::process::id());
    let mut settings = Settings::new(&brokers);
    settings.retention = Duration::from_hours(24);
    open(settings)
        .ensure_topic(&topic, 1, Cleanup::Delete)
        .expect("a topic");
    let log = open(Settings::new(&brokers));
    log.ensure_topic(&topic, 3, Cleanup::Delete).expect("mended");
    assert_eq!(log.partitions(&topic).expect("partitions"), 3);
    let fortnight = Duration::from_hours(14 * 24).as_millis().to_string();
    assert_eq!(configured(&brokers, &topic)["retention.ms"], fortnight);
    configure(&brokers, &topic, &[("retention.ms", "1000"), ("segment.ms", "7777")]);
    log.ensure_topic(&topic, 1, Cleanup::Compact).expect("mended");
    let now = configured(&brokers, &topic);
    assert_eq!(now["cleanup.policy"], "compact");
    assert_eq!(now["message.timestamp.type"], "LogAppendTime");
    assert_eq!(now["segment.ms"], "7777", "the operator's own settings stay");
}
