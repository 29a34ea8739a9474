//! What a round of the quickstart puts on the wire, by precision and compression, and what FedAvg would move for the
//! same models.
//!
//! ```text
//! cargo run --release -p fedstill --example bench_wire [fedstill]
//! ```
//!
//! Runs the built command (by default `target/release/fedstill`) on the quickstart without its baselines, for one round.
//! The predictions of its models then go to Apache Kafka with each compression, and what its topic takes on the broker's
//! disk is what crossed: a broker keeps batches as producers sent them. Down comes the consensus in float32, from the
//! store, once a party. FedAvg (McMahan et al. 2017) moves each party's weights in float32 up and down; it could not mix
//! these architectures.

use fedstill_log::kafka::Settings;
use fedstill_log::{Cleanup, Clock, Embedded, Kafka, Log, Message, Record, SystemClock};
use fedstill_schemas::names;
use fedstill_schemas::plan::Manifest;
use fedstill_schemas::task::{Subject, TaskResult};
use fedstill_test_servers::kafka::{Cluster, Options};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

const QUICKSTART: &str = include_str!("quickstart.toml");
const RUN: &str = "quickstart-fedmd-0";
const COMPRESSIONS: [&str; 3] = ["none", "lz4", "zstd"];

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let command = std::env::args_os().nth(1);
    let command = command.map_or_else(|| PathBuf::from("target/release/fedstill"), PathBuf::from);
    let cluster = Cluster::start(Options {
        brokers: 1,
        ..Options::default()
    })
    .map_err(|missing| missing.0)?;
    println!("the quickstart, one round, all parties together; beside it the share of FedAvg's bytes");
    println!(
        "{:<10} {:<12} {:>10} {:>10} {:>10} {:>8}",
        "precision", "compression", "up", "down", "both", "share"
    );
    for precision in ["float16", "float32"] {
        let folder = tempfile::tempdir()?;
        let run = run(&command, precision, folder.path())?;
        for compression in COMPRESSIONS {
            let up = on_the_wire(&cluster, precision, compression, &run.predictions)?;
            let both = up + run.down;
            println!(
                "{precision:<10} {compression:<12} {:>7.0} kB {:>7.0} kB {:>7.0} kB {:>6.1} %",
                up as f64 / 1e3,
                run.down as f64 / 1e3,
                both as f64 / 1e3,
                100.0 * both as f64 / run.fedavg as f64
            );
        }
        if precision == "float32" {
            println!(
                "{:<10} {:<12} {:>7.0} kB {:>7.0} kB {:>7.0} kB {:>6.1} %",
                "FedAvg",
                "none",
                run.fedavg as f64 / 2e3,
                run.fedavg as f64 / 2e3,
                run.fedavg as f64 / 1e3,
                100.0
            );
        }
    }
    Ok(())
}

/// What a round moved.
struct Moved {
    /// Records that the parties published.
    predictions: Vec<Record>,
    /// Bytes of the consensus, once a party.
    down: u64,
    /// Bytes that FedAvg would have moved, up and down.
    fedavg: u64,
}

fn run(command: &Path, precision: &str, folder: &Path) -> Outcome<Moved> {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data/");
    let text = QUICKSTART
        .replace("\"data/", &format!("\"{}", data.display()))
        .replace("rounds    = 5", &format!("rounds = 1\npredictions = \"{precision}\""))
        .replace("baselines", "# baselines");
    let file = folder.join("run.toml");
    std::fs::write(&file, text)?;
    let out = folder.join("runs");
    let mut command = Command::new(command);
    command.arg("run").arg(&file).arg("--out").arg(&out);
    let ended = command.stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    if !ended.success() {
        return Err("the quickstart does not run".into());
    }
    let run = out.join(RUN);
    let log = Embedded::open(run.join("log"), Arc::new(SystemClock::new()))?;
    let predictions = records(&log, names::LOGITS)?;
    let consensus = records(&log, names::CONSENSUS)?;
    let store = run.join("store");
    let manifest: Manifest = serde_json::from_slice(&std::fs::read(store.join(names::manifest_object(RUN, 1)))?)?;
    let mut weights = 0;
    let mut parties = 0;
    for (subject, model) in &manifest.slots {
        if !matches!(subject, Subject::Party(_)) {
            continue;
        }
        let object = names::result_object(RUN, model.round, &model.step, model.subject, model.task);
        let result: TaskResult = serde_json::from_slice(&std::fs::read(store.join(object))?)?;
        weights += result.parts.get("weights").ok_or("a model has weights")?.bytes;
        parties += 1;
    }
    Ok(Moved {
        down: parties * consensus.iter().map(|record| record.value.len() as u64).sum::<u64>(),
        predictions,
        fedavg: 2 * weights,
    })
}

fn records(log: &dyn Log, topic: &str) -> Outcome<Vec<Record>> {
    let mut records = Vec::new();
    for partition in 0..log.partitions(topic)? {
        let mut reader = log.read(topic, partition, 0)?;
        loop {
            let more = reader.next(1 << 20)?;
            if more.is_empty() {
                break;
            }
            records.extend(more);
        }
    }
    Ok(records)
}

/// Bytes of records on a broker's disk, framing included.
fn on_the_wire(cluster: &Cluster, precision: &str, compression: &str, records: &[Record]) -> Outcome<u64> {
    let mut settings = Settings::new(&cluster.bootstrap());
    let property = ("compression.type".to_owned(), compression.to_owned());
    settings.properties.extend([property]);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let log = Kafka::new(settings, clock)?;
    let topic = format!("wire-{precision}-{compression}");
    log.ensure_topic(&topic, 1, Cleanup::Delete)?;
    for record in records {
        log.append(&[Message {
            topic: topic.clone(),
            partition: 0,
            key: record.key.clone(),
            headers: record.headers.clone(),
            value: record.value.clone(),
        }])?;
    }
    Ok(cluster.bytes_of(&topic))
}
