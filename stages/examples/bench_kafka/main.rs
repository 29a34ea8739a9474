//! What the stages cost on Apache Kafka, against librdkafka alone with the same settings, on the same broker.
//!
//! ```text
//! cargo run --release -p fedstill-stages --example bench_kafka [--quick]
//! ```
//!
//! - predictions: parties' records through the log's `append`, forty parties at a time as a busy worker publishes, and
//!   one at a time, against a producer that is given the same records and flushed;
//! - aggregation: the `aggregate` tasks of all partitions until their consensus is known, on one thread, against a
//!   consumer that reads the same partitions and drops every record;
//! - latency: a task whose result exists, from its append to its answer, through a worker, against a record from its
//!   append to a consumer.
//!
//! A broker of its own is started on loopback (`tests/run --setup` fetches it), on the same processors. Everything is read
//! from the page cache. Medians of turns.

#[path = "../bench_aggregate/round.rs"]
mod round;

use fedstill_learner::Registry;
use fedstill_log::kafka::Settings;
use fedstill_log::{Cleanup, Clock, Kafka, Log, Message, SystemClock};
use fedstill_schemas::events::{Closed, Done};
use fedstill_schemas::names;
use fedstill_schemas::pipeline::Stage;
use fedstill_schemas::task::Task;
use fedstill_stages::execute::execute;
use fedstill_stages::federation::{PARTITIONS, make_topics};
use fedstill_stages::pool::Threads;
use fedstill_stages::tensors::Tensors;
use fedstill_stages::worker::Worker;
use fedstill_stages::{Context, StageError};
use fedstill_test_servers::kafka::{Cluster, Options};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Header, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};
use round::{Bench, Outcome, TOGETHER, messages};
use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const REPEATS: usize = 5;
const BARE: &str = "bare";
const OURS: &str = "ours";
const PATIENCE: Duration = Duration::from_mins(1);

fn main() -> Outcome<()> {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let folder = tempfile::tempdir()?;
    let cluster = Cluster::start(Options {
        brokers: 1,
        ..Options::default()
    })
    .map_err(|missing| missing.0)?;
    let brokers = cluster.bootstrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let log: Arc<dyn Log> = Arc::new(Kafka::new(Settings::new(&brokers), Arc::clone(&clock))?);
    make_topics(&*log, PARTITIONS)?;
    for topic in [BARE, OURS] {
        log.ensure_topic(topic, PARTITIONS, Cleanup::Delete)?;
    }
    let parties = if quick { 80 } else { 1000 };
    let bench = Bench::prepare(folder.path(), Arc::clone(&log), parties, clock)?;
    println!("{parties} parties, {:.0} MB of predictions", bench.bytes as f64 / 1e6);
    predictions(&bench, &brokers)?;
    aggregation(&bench, &brokers)?;
    latency(&bench, &brokers, if quick { 100 } else { 1000 })
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Runs each of several measurements in turns, and prints the median rates and what they are of the first.
fn compare(title: &str, unit: &str, measured: &mut [(&str, &mut dyn FnMut() -> Outcome<f64>)]) -> Outcome<()> {
    let mut rates = vec![Vec::new(); measured.len()];
    for _ in 0..REPEATS {
        for ((_, measure), rates) in measured.iter_mut().zip(&mut rates) {
            rates.push(measure()?);
        }
    }
    println!("{title}");
    let rates: Vec<f64> = rates.into_iter().map(median).collect();
    for ((name, _), rate) in measured.iter().zip(&rates) {
        println!("  {name:<44} {rate:>9.1} {unit}  {:>5.2}", rate / rates[0]);
    }
    Ok(())
}

fn predictions(bench: &Bench, brokers: &str) -> Outcome<()> {
    // What a tenth of a second moves at least.
    let messages: Vec<Message> = predicted(bench)?;
    let bytes: usize = messages.iter().map(|message| message.value.len()).sum();
    let rate = |began: Duration| bytes as f64 / 1e6 / bench.clock.monotonic().saturating_sub(began).as_secs_f64();
    let a_party = messages.len() / (TOGETHER * 5) as usize;
    let producer: ThreadedProducer<_> = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("linger.ms", "0")
        .set("message.max.bytes", "1048588")
        .create()?;
    let ours = |parties: usize| {
        let began = bench.clock.monotonic();
        for batch in messages.chunks(a_party * parties) {
            let batch: Vec<Message> = batch.iter().cloned().map(|message| to(OURS, message)).collect();
            bench.log.append(&batch)?;
        }
        Ok(rate(began))
    };
    compare(
        "predictions to Kafka",
        "MB/s",
        &mut [
            ("a bare producer", &mut || {
                let began = bench.clock.monotonic();
                for message in &messages {
                    send(&producer, message)?;
                }
                producer.flush(PATIENCE)?;
                Ok(rate(began))
            }),
            ("append, forty parties at a time", &mut || ours(TOGETHER as usize)),
            ("append, one party at a time", &mut || ours(1)),
        ],
    )
}

fn context(bench: &Bench) -> Context {
    let learner = Arc::new(Tensors::new(Registry::default(), []));
    Context::new(Arc::clone(&bench.log), bench.store.clone(), learner)
}

/// Predictions of some parties, as they were appended.
fn predicted(bench: &Bench) -> Outcome<Vec<Message>> {
    let planned = &bench.round.planned;
    messages(planned, &*context(bench).draws(planned)?, 0..TOGETHER * 5)
}

/// The task that joins what was aggregated, which is done.
fn join(bench: &Bench) -> Outcome<Task> {
    let context = context(bench);
    let mut members = BTreeMap::new();
    for task in &bench.tasks() {
        let executed = execute(&context, task, 0)?;
        let done = Done {
            result: executed.result,
            usage: executed.usage,
        };
        members.insert(task.subject, vec![done]);
    }
    let closed = Closed {
        phase: 1,
        members,
        ..(*bench.round.closed[0]).clone()
    };
    let path = names::closed_object(&closed.at, 1);
    let (closed, _) = bench.store.create_json(&path, closed)?;
    let mut round = bench.round.clone();
    round.closed.push(Arc::new(closed));
    let task = round
        .cohort()
        .into_values()
        .next()
        .ok_or("there is something to join")?;
    execute(&context, &task, 0)?;
    Ok(task)
}

fn to(topic: &str, message: Message) -> Message {
    Message {
        topic: topic.to_owned(),
        ..message
    }
}

fn send(producer: &ThreadedProducer<rdkafka::producer::DefaultProducerContext>, message: &Message) -> Outcome<()> {
    let headers = message
        .headers
        .iter()
        .fold(OwnedHeaders::new(), |headers, (key, value)| {
            headers.insert(Header {
                key,
                value: Some(&value[..]),
            })
        });
    let record = BaseRecord::to(BARE)
        .partition(message.partition as i32)
        .key(&message.key[..])
        .payload(&message.value[..])
        .headers(headers);
    producer.send(record).map_err(|(error, _)| error.into())
}

fn consumer(brokers: &str, topic: &str, at: Offset) -> Outcome<BaseConsumer> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "bench")
        .set("enable.auto.commit", "false")
        .set("isolation.level", "read_uncommitted")
        .set("queued.max.messages.kbytes", "16384")
        .create()?;
    let mut partitions = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        partitions.add_partition_offset(topic, partition as i32, at)?;
    }
    consumer.assign(&partitions)?;
    Ok(consumer)
}

fn aggregation(bench: &Bench, brokers: &str) -> Outcome<()> {
    let records: u64 = (0..PARTITIONS)
        .map(|partition| Ok(bench.log.offsets(names::LOGITS, partition)?.end))
        .sum::<Outcome<u64>>()?;
    compare(
        "aggregation from Kafka",
        "MB/s",
        &mut [
            ("a bare consumer", &mut || {
                let began = bench.clock.monotonic();
                let consumer = consumer(brokers, names::LOGITS, Offset::Beginning)?;
                for _ in 0..records {
                    let record = consumer.poll(PATIENCE).ok_or("a record is missing")??;
                    black_box(record.payload());
                }
                Ok(bench.rate(bench.clock.monotonic().saturating_sub(began)))
            }),
            ("aggregate, until the consensus is known", &mut || {
                Ok(bench.aggregate()?.0)
            }),
            ("aggregate, until it is in the store too", &mut || {
                Ok(bench.aggregate()?.1)
            }),
        ],
    )
}

fn latency(bench: &Bench, brokers: &str, times: usize) -> Outcome<()> {
    // A join that is done: there is nothing to compute, and everything else to do.
    let task = join(bench)?;
    let context = Arc::new(context(bench));
    let [message] = &context.tasks(&bench.round.planned, &[task])?[..] else {
        return Err("one task is one message".into());
    };
    let ends = AtomicBool::new(false);
    let mut through = Vec::new();
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| -> Result<(), StageError> {
            let pool = Box::new(Threads::new(&context, 1)?);
            let mut worker = Worker::new(Arc::clone(&context), &[Stage::Join], pool)?;
            while !ends.load(Ordering::Relaxed) {
                worker.tick(bench.clock.monotonic(), Duration::from_millis(100))?;
            }
            Ok(())
        });
        through = round_trips(bench, brokers, names::ANSWERS, times, || {
            bench.log.append(std::slice::from_ref(message))?;
            Ok(())
        })?;
        ends.store(true, Ordering::Relaxed);
        worker.join().map_err(|_| "the worker panicked")??;
        Outcome::Ok(())
    })?;
    let record = to(BARE, message.clone());
    let bare = round_trips(bench, brokers, BARE, times, || {
        bench.log.append(std::slice::from_ref(&record))?;
        Ok(())
    })?;
    println!("latency of a task whose result exists");
    for (name, at) in [("p50", 0.5), ("p99", 0.99)] {
        let quantile = |of: &[f64]| of[(of.len() as f64 * at) as usize];
        let (through, bare) = (quantile(&through), quantile(&bare));
        println!(
            "  {name}: {through:.2} ms through a worker, {bare:.2} ms from append to consumer: {:.1} times",
            through / bare
        );
    }
    Ok(())
}

/// Milliseconds from something that is sent to a record on a topic, in order, after some that do not count.
fn round_trips(
    bench: &Bench,
    brokers: &str,
    topic: &str,
    times: usize,
    send: impl Fn() -> Outcome<()>,
) -> Outcome<Vec<f64>> {
    const WARM: usize = 20;
    let consumer = consumer(brokers, topic, Offset::End)?;
    // The end is looked up when it is asked for the first time.
    while consumer.poll(Duration::from_secs(1)).is_some() {}
    let mut took = Vec::new();
    for _ in 0..times + WARM {
        let began = bench.clock.monotonic();
        send()?;
        consumer.poll(PATIENCE).ok_or("no record")??;
        took.push(bench.clock.monotonic().saturating_sub(began).as_secs_f64() * 1e3);
    }
    let mut took = took.split_off(WARM);
    took.sort_by(f64::total_cmp);
    Ok(took)
}
