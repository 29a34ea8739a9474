//! What grows with the number of parties: time, and the memory of each stage.
//!
//! ```text
//! cargo run --release -p fedstill-stages --example bench_parties [--quick] [folder]
//! ```
//!
//! Two federations of FedMD's steps, one with ten times as many parties, run round 0 and round 1 through Apache Kafka and
//! a store in a folder, with arithmetic instead of models: what is left is the log, `plan`, `advance`, the workers,
//! aggregation and the store. Each stage is a process of its own. The folder is in memory where `/dev/shm` is there: an
//! fsync on a disk would hide the rest. Peak memory is the system's own figure.

use bytes::Bytes;
use fedstill_log::kafka::Settings;
use fedstill_log::{Clock, Kafka, SystemClock};
use fedstill_schemas::data::{DataSet, Labels, Partition, Shape};
use fedstill_schemas::digest::Digest;
use fedstill_schemas::events::{Close, Ending, Trigger};
use fedstill_schemas::fit::{Fit, Loss, Optimizer};
use fedstill_schemas::names;
use fedstill_schemas::pipeline::{Disclosure, On, Pipeline, Rule, Selection, Stage, Start, Step, Target, Term, Who};
use fedstill_schemas::plan::Draws;
use fedstill_schemas::resolved::{Precision, ResolvedRun, Simulate, VERSION};
use fedstill_schemas::task::{Attempt, Scores, Subject};
use fedstill_stages::decisions::Decisions;
use fedstill_stages::federation::make_topics;
use fedstill_stages::learn::{EvaluateInputs, FitInputs, Fitted, Learner, ModelOf};
use fedstill_stages::service::{Health, Role, Service};
use fedstill_stages::{Context, StageError, Store, peak_memory, trigger_message};
use fedstill_test_servers::kafka::{Cluster, Options};
use std::collections::BTreeMap;
use std::error::Error;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const RUN: &str = "bench-fedmd-0";
const ALIGNMENT: u32 = 100;
const CLASSES: u32 = 10;
const PARTITIONS: u32 = 4;
/// A process each.
const PROCESSES: [&str; 5] = [
    "plan",
    "advance",
    "train,distill,evaluate",
    "predict",
    "aggregate,join,archive",
];

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, roles, brokers, folder] = &arguments[..]
        && flag == "--process"
    {
        return process(roles, brokers, Path::new(folder));
    }
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let folder = arguments.iter().find(|argument| *argument != "--quick");
    let memory = || Some(PathBuf::from("/dev/shm")).filter(|folder| folder.is_dir());
    let place = folder.map(PathBuf::from).or_else(memory);
    let place = place.unwrap_or_else(std::env::temp_dir);
    let sizes = if quick { [20, 200] } else { [1000, 10_000] };
    let mut measured = Vec::new();
    for parties in sizes {
        let folder = tempfile::tempdir_in(&place)?;
        let one = federation(parties, folder.path())?;
        println!(
            "{parties} parties: {:.1} s, {} records, {:.0} records/s",
            one.seconds,
            one.records,
            one.records as f64 / one.seconds
        );
        measured.push(one);
    }
    let [few, many] = &measured[..] else { return Ok(()) };
    println!(
        "ten times the parties take {:.1} times as long (linear: 10)",
        many.seconds / few.seconds
    );
    for (process, peak) in &many.memory {
        let before = few.memory[process];
        println!(
            "  {process:<24} {:>4.0} MiB, {:>4.0} MiB with a tenth: {:.1} KiB a party more",
            mebibytes(*peak),
            mebibytes(before),
            peak.saturating_sub(before) as f64 / 1024.0 / f64::from(sizes[1] - sizes[0])
        );
    }
    Ok(())
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// What a federation took.
struct Measured {
    seconds: f64,
    records: u64,
    /// Peak memory of each process.
    memory: BTreeMap<String, u64>,
}

fn connect(brokers: &str, folder: &Path, clock: &Arc<dyn Clock>) -> Outcome<Context> {
    let log = Kafka::new(Settings::new(brokers), Arc::clone(clock))?;
    let store = Store::deployed(&format!("file://{}", folder.display()), &[])?;
    Ok(Context::new(Arc::new(log), store, Arc::new(Arithmetic)))
}

fn federation(parties: u32, folder: &Path) -> Outcome<Measured> {
    let cluster = Cluster::start(Options {
        brokers: 1,
        ..Options::default()
    })
    .map_err(|missing| missing.0)?;
    let brokers = cluster.bootstrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let context = connect(&brokers, folder, &clock)?;
    make_topics(&*context.log, PARTITIONS)?;
    let mut processes: Vec<(&str, Child)> = Vec::new();
    for roles in PROCESSES {
        let child = Command::new(std::env::current_exe()?)
            .args(["--process", roles, &brokers])
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        processes.push((roles, child));
    }
    let began = clock.monotonic();
    let trigger = Trigger {
        version: VERSION,
        at: Attempt {
            run: RUN.to_owned(),
            round: 0,
            attempt: 0,
        },
        through: 1,
        resolved: resolved(parties),
        close: Close {
            quorum: 1.0,
            deadline_ms: None,
        },
        after: None,
    };
    context.log.append(&[trigger_message(&context, &trigger)?])?;
    let mut decisions = Decisions::read(Arc::clone(&context.log))?;
    let why = loop {
        std::thread::sleep(Duration::from_millis(50));
        for (roles, process) in &mut processes {
            if process.try_wait()?.is_some() {
                return Err(format!("{roles} has ended").into());
            }
        }
        decisions.refresh()?;
        if let Some((_, why)) = decisions.ended(RUN) {
            break why.clone();
        }
    };
    let seconds = clock.monotonic().saturating_sub(began).as_secs_f64();
    if why != Ending::Finished {
        return Err(format!("it did not finish: {why:?}").into());
    }
    let mut memory = BTreeMap::new();
    for (roles, mut child) in processes {
        // Its input ends: it stops, and says what it took.
        drop(child.stdin.take());
        let said = child.wait_with_output()?;
        memory.insert(roles.to_owned(), String::from_utf8(said.stdout)?.trim().parse()?);
    }
    let mut records = 0;
    for topic in names::topics() {
        for partition in 0..context.log.partitions(topic)? {
            records += context.log.offsets(topic, partition)?.end;
        }
    }
    Ok(Measured {
        seconds,
        records,
        memory,
    })
}

/// A process of the federation, until its input ends.
fn process(roles: &str, brokers: &str, folder: &Path) -> Outcome<()> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let context = Arc::new(connect(brokers, folder, &clock)?);
    let asked = Arc::new(AtomicBool::new(false));
    let ends = Arc::clone(&asked);
    std::thread::spawn(move || {
        let _ = std::io::stdin().read(&mut [0]);
        ends.store(true, Ordering::Relaxed);
    });
    let service = Service {
        context,
        roles: roles.split(',').map(str::parse).collect::<Result<Vec<Role>, _>>()?,
        threads: 2,
        grace: Duration::from_secs(1),
        health: Arc::new(Health::default()),
    };
    service.run(&*clock, &|| asked.load(Ordering::Relaxed))?;
    writeln!(std::io::stdout(), "{}", peak_memory())?;
    Ok(())
}

/// A learner that computes next to nothing.
#[derive(Debug)]
struct Arithmetic;

impl Learner for Arithmetic {
    fn draws(&self, run: &ResolvedRun, round: u32) -> Result<Draws, StageError> {
        Ok(Draws {
            private: (0..run.parties.len() as u32).map(|slot| vec![slot]).collect(),
            public: Vec::new(),
            alignment: (0..run.alignment).map(|row| round * ALIGNMENT + row).collect(),
            validation: Vec::new(),
        })
    }

    fn fit(&self, inputs: &FitInputs<'_>) -> Result<Fitted, StageError> {
        let text = format!("{}/{}/{}", inputs.round, inputs.step.name, inputs.subject);
        Ok(Fitted {
            weights: Digest::of(text.as_bytes()).as_bytes().to_vec(),
            optimizer: vec![0; 32],
            loss: 0.5,
            epochs: 1,
            steps: 1,
            rows: 1,
        })
    }

    fn predict(&self, _: &ResolvedRun, _: Subject, weights: &[u8], rows: &[u32]) -> Result<Vec<f32>, StageError> {
        let value = |index: u32| f32::from(weights[index as usize % weights.len()]) / 16.0 - 8.0;
        Ok((0..rows.len() as u32 * CLASSES).map(value).collect())
    }

    fn initial(&self, _: &ResolvedRun, subject: Subject) -> Result<Vec<u8>, StageError> {
        Ok(Digest::of(subject.to_string().as_bytes()).as_bytes().to_vec())
    }

    fn average(
        &self,
        models: &mut dyn Iterator<Item = Result<(f64, Bytes), StageError>>,
    ) -> Result<Vec<u8>, StageError> {
        let models = models.collect::<Result<Vec<_>, _>>()?;
        Ok(models.into_iter().flat_map(|(_, weights)| weights).take(32).collect())
    }

    fn evaluate(
        &self,
        _: &EvaluateInputs<'_>,
        _: &mut dyn Iterator<Item = Result<ModelOf, StageError>>,
    ) -> Result<Scores, StageError> {
        Ok(Scores {
            test_set: "none".to_owned(),
            party: None,
            accuracy: 0.5,
            balanced_accuracy: 0.5,
            loss: 0.5,
            samples: 1,
            others: Vec::new(),
        })
    }
}

/// FedMD's steps after the pretraining.
fn resolved(parties: u32) -> ResolvedRun {
    let step = |name: &str, stage: Stage, who, start| Step {
        name: name.to_owned(),
        stage,
        who,
        start,
        terms: Vec::new(),
        fit: None,
        rule: None,
        keep: None,
        drop_worst: false,
    };
    let fit = |name: &str, stage, start, on, target, loss| {
        let mut step = step(name, stage, Who::Parties, start);
        step.terms = vec![Term {
            on,
            target,
            loss,
            weight: 1.0,
        }];
        step.fit = Some(Fit::new(1, 2, Optimizer::adam(1e-3), None));
        step
    };
    let labels = |name: &str, start| {
        fit(
            name,
            Stage::Train,
            start,
            On::Private,
            Target::Labels,
            Loss::CrossEntropy,
        )
    };
    let evaluate = || step("evaluate", Stage::Evaluate, Who::Parties, Start::Own);
    let mut aggregate = step("aggregate", Stage::Aggregate, Who::Partitions, Start::Own);
    aggregate.rule = Some(Rule::Mean);
    let shape = Shape {
        channels: 1,
        height: 1,
        width: 1,
    };
    let set = |name: &str| DataSet::whole(Digest::of(name.as_bytes()), parties.max(ALIGNMENT), CLASSES, shape);
    ResolvedRun {
        version: VERSION,
        pipeline: Pipeline {
            name: "fedmd".to_owned(),
            discloses: vec![Disclosure::Predictions, Disclosure::Consensus, Disclosure::Reports],
            warmup: vec![labels("transfer", Start::Fresh), evaluate()],
            round: vec![
                step("predict", Stage::Predict, Who::Parties, Start::Own),
                aggregate,
                step("join", Stage::Join, Who::Server, Start::Own),
                fit(
                    "digest",
                    Stage::Distill,
                    Start::Own,
                    On::Alignment,
                    Target::Consensus,
                    Loss::Mae,
                ),
                labels("revisit", Start::Own),
                evaluate(),
            ],
        },
        seed: 0,
        parties: vec!["mlp[32]".parse().expect("an architecture"); parties as usize],
        identities: Vec::new(),
        private: set("private"),
        public: Some(set("public")),
        test: set("test"),
        labels: Labels::Shared,
        partition: Partition::Iid,
        alignment: ALIGNMENT,
        precision: Precision::Float16,
        selection: Selection::All,
        validation: None,
        simulate: Simulate::default(),
    }
}
