//! How fast `aggregate` takes predictions from the log, against reading the same records and doing nothing.
//!
//! ```text
//! cargo run --release -p fedstill-stages --example bench_aggregate [--quick] [folder]
//! ```
//!
//! 1,000 parties have predicted 5,000 rows of 10 classes in float16; their records are in an embedded log on disk, their
//! results in a store. `aggregate` is the time of the tasks of all partitions until their consensus is known: reading what
//! a task names, reading and checking its records, summing, dividing. `whole task` is what a worker waits for: also
//! putting the consensus, with fsync, and reading it back to publish it. All use one thread and read from the page cache,
//! in turns.

use fedstill_learner::Registry;
use fedstill_log::{Clock, Embedded, Log, Message, SystemClock};
use fedstill_schemas::data::{DataSet, Labels, Partition, Shape};
use fedstill_schemas::digest::Digest;
use fedstill_schemas::envelope::{self, Kind};
use fedstill_schemas::events::{Close, Closed, Done, Usage};
use fedstill_schemas::names;
use fedstill_schemas::pipeline::{Disclosure, Pipeline, Rule, Stage, Start, Step, Who};
use fedstill_schemas::plan::{Draws, Plan, chunk_rows, chunks};
use fedstill_schemas::predictions::{Identity, encode};
use fedstill_schemas::resolved::{Precision, ResolvedRun, VERSION};
use fedstill_schemas::task::{Attempt, Place, Reference, Report, Subject, Task, TaskResult};
use fedstill_stages::context::json;
use fedstill_stages::execute::execute;
use fedstill_stages::faults::Faults;
use fedstill_stages::federation::{PARTITIONS, make_topics};
use fedstill_stages::rounds::{Planned, Round};
use fedstill_stages::tensors::Tensors;
use fedstill_stages::{Context, Store};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::error::Error;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const RUN: &str = "bench-fedmd-0";
const ROWS: u32 = 5000;
const CLASSES: u32 = 10;
/// What is read at once without summing; `aggregate` reads as much.
const READ: usize = 1 << 20;
/// Parties whose records are appended together.
const TOGETHER: u32 = 40;
const REPEATS: usize = 5;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let folder = arguments.iter().find(|argument| *argument != "--quick");
    let folder = tempfile::tempdir_in(folder.map_or_else(std::env::temp_dir, PathBuf::from))?;
    let parties = if quick { 100 } else { 1000 };

    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let bench = Bench::prepare(folder.path(), parties, clock)?;
    println!(
        "{parties} parties x {ROWS} rows x {CLASSES} classes in float16, {:.0} MB of records",
        bench.bytes as f64 / 1e6
    );
    println!(
        "{:>8} {:>12} {:>12} {:>12} {:>7} {:>7}",
        "", "read", "aggregate", "whole task", "ratio", "whole"
    );
    let mut rows = Vec::new();
    for repeat in 1..=REPEATS {
        let read = bench.read()?;
        let (computed, whole) = bench.aggregate()?;
        let row = [read, computed, whole, computed / read, whole / read];
        show(&repeat.to_string(), &row);
        rows.push(row);
    }
    let median = std::array::from_fn(|column| {
        let mut values: Vec<f64> = rows.iter().map(|row| row[column]).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    });
    show("median", &median);
    println!("the ratio of aggregate to read should be at least 0.33");
    Ok(())
}

fn show(name: &str, [read, computed, whole, ratio, whole_ratio]: &[f64; 5]) {
    println!("{name:>8} {read:>7.0} MB/s {computed:>7.0} MB/s {whole:>7.0} MB/s {ratio:>7.2} {whole_ratio:>7.2}");
}

/// A round whose parties have all predicted.
struct Bench {
    store_folder: PathBuf,
    clock: Arc<dyn Clock>,
    log: Arc<dyn Log>,
    store: Store,
    /// One a partition.
    tasks: Vec<Task>,
    /// Of all values.
    bytes: u64,
}

impl Bench {
    fn prepare(folder: &Path, parties: u32, clock: Arc<dyn Clock>) -> Outcome<Self> {
        let log: Arc<dyn Log> = Arc::new(Embedded::open(folder.join("log"), Arc::clone(&clock))?);
        make_topics(&*log, PARTITIONS)?;
        // No task of this round touches a party's own store.
        let store = Store::local(folder, &folder.join("results"), 0)?;
        let at = Attempt {
            run: RUN.to_owned(),
            round: 0,
            attempt: 0,
        };
        let draws = Draws {
            private: Vec::new(),
            public: (0..ROWS).collect(),
            alignment: (0..ROWS).rev().collect(),
        };
        let run = resolved(parties);
        let (run, _) = store.create_json(&names::run_object(RUN), run)?;
        let plan = Plan {
            version: VERSION,
            at: at.clone(),
            through: 0,
            resolved: run.sha256(),
            close: Close {
                quorum: 1.0,
                deadline_ms: None,
            },
            manifest: None,
            draws: store.put_part(RUN, Place::Shared, json(&draws))?,
            chunks: chunks(ROWS, chunk_rows(&run), PARTITIONS),
            partitions: names::topics()
                .into_iter()
                .map(|topic| (topic.to_owned(), PARTITIONS))
                .collect(),
            logits_start: vec![0; PARTITIONS as usize],
        };
        let (plan, _) = store.create_json(&names::plan_object(&at), plan)?;
        let planned = Arc::new(Planned::new(run, plan, None));
        let bytes = predict(&*log, &planned, &draws)?;
        let closed = close(&*log, &store, &planned)?;
        let round = Round {
            planned,
            closed: vec![Arc::new(closed)],
        };
        Ok(Self {
            store_folder: folder.join("store"),
            tasks: round.cohort().into_values().collect(),
            clock,
            log,
            store,
            bytes,
        })
    }

    /// Reads every record of every partition; MB/s.
    fn read(&self) -> Outcome<f64> {
        let start = self.clock.monotonic();
        for partition in 0..PARTITIONS {
            let end = self.log.offsets(names::LOGITS, partition)?.end;
            let mut reader = self.log.read(names::LOGITS, partition, 0)?;
            let mut position = 0;
            while position < end {
                let records = reader.next(READ)?;
                position = records.last().map_or(end, |record| record.offset + 1);
                black_box(&records);
            }
        }
        Ok(self.rate(self.clock.monotonic().saturating_sub(start)))
    }

    /// Does the tasks of all partitions, as a worker that has done nothing before; MB/s until the consensus is known,
    /// and in all.
    fn aggregate(&self) -> Outcome<(f64, f64)> {
        let learner = Arc::new(Tensors::new(Registry::default(), []));
        let mut context = Context::new(Arc::clone(&self.log), self.store.clone(), learner);
        let (computed, taken) = (Arc::new(Mutex::new(Duration::ZERO)), Mutex::new(Duration::ZERO));
        let (clock, total) = (Arc::clone(&self.clock), Arc::clone(&computed));
        context.faults = Faults::new(move |point| match point {
            "task:taken" => *taken.lock() = clock.monotonic(),
            "task:computed" => *total.lock() += clock.monotonic().saturating_sub(*taken.lock()),
            _ => {}
        });
        let start = self.clock.monotonic();
        for task in &self.tasks {
            black_box(execute(&context, task, 0)?);
        }
        let whole = self.rate(self.clock.monotonic().saturating_sub(start));
        for task in &self.tasks {
            self.forget(task)?;
        }
        let computed = self.rate(*computed.lock());
        Ok((computed, whole))
    }

    /// Deletes what a task made, so that it is computed again.
    fn forget(&self, task: &Task) -> Outcome<()> {
        let path = names::result_of(task);
        let (result, _) = self.store.need_json::<TaskResult>(&path)?;
        for part in result.parts.values() {
            std::fs::remove_file(self.store_folder.join(names::part_object(RUN, part)))?;
        }
        Ok(std::fs::remove_file(self.store_folder.join(path))?)
    }

    fn rate(&self, took: Duration) -> f64 {
        self.bytes as f64 / 1e6 / took.as_secs_f64()
    }
}

/// Appends every party's predictions, as a worker does; bytes of their messages.
fn predict(log: &dyn Log, planned: &Planned, draws: &Draws) -> Outcome<u64> {
    let (at, run) = (planned.at(), &planned.run);
    let step = planned.phases[0].steps[0].as_str();
    let mut bytes = 0;
    let mut messages = Vec::new();
    let parties = run.parties.len() as u32;
    for slot in 0..parties {
        for (chunk, slice) in (0..).zip(&planned.plan.chunks) {
            let values: Vec<f32> = (0..slice.rows * CLASSES)
                .map(|index| logit(slot, slice.start * CLASSES + index))
                .collect();
            let identity = Identity {
                at: at.clone(),
                step: step.to_owned(),
                chunk,
                slot: Some(slot),
            };
            let value = encode(
                &identity,
                &draws.alignment[slice.range()],
                CLASSES,
                &values,
                run.precision,
            )?;
            bytes += value.len() as u64;
            let key = names::chunk_key(at, step, chunk);
            let subject = Subject::Party(slot).to_string();
            messages.push(Message {
                topic: names::LOGITS.to_owned(),
                partition: slice.partition,
                headers: envelope::headers(Kind::Predictions, at, &format!("{key}/{subject}"), &subject),
                key: key.into(),
                value,
            });
        }
        if (slot + 1) % TOGETHER == 0 || slot + 1 == parties {
            log.append(&messages)?;
            messages.clear();
        }
    }
    Ok(bytes)
}

/// A logit between -8 and 8 that a mean does not make trivial.
fn logit(slot: u32, index: u32) -> f32 {
    let mixed = (slot.wrapping_mul(0x9e37_79b9) ^ index).wrapping_mul(0x85eb_ca6b);
    ((mixed ^ (mixed >> 15)).wrapping_mul(0xc2b2_ae35) >> 16) as f32 / 4096.0 - 8.0
}

/// Puts the results of everyone's predictions, and what closed their phase.
fn close(log: &dyn Log, store: &Store, planned: &Planned) -> Outcome<Closed> {
    let at = planned.at();
    let round = Round {
        planned: Arc::new(Planned::new(planned.run.clone(), planned.plan.clone(), None)),
        closed: Vec::new(),
    };
    let mut members = BTreeMap::new();
    for (subject, task) in round.cohort() {
        let result = TaskResult {
            version: VERSION,
            task: task.digest(),
            parts: BTreeMap::new(),
            report: Report::Predictions { rows: ROWS, bytes: 0 },
        };
        let (result, sha256) = store.create_json(&names::result_of(&task), result)?;
        let done = Done {
            result: Reference {
                round: at.round,
                step: task.step,
                subject,
                task: result.task,
                sha256,
            },
            usage: Usage::default(),
        };
        members.insert(subject, vec![done]);
    }
    let closed = Closed {
        version: VERSION,
        at: at.clone(),
        phase: 0,
        enough: true,
        members,
        missing: BTreeMap::new(),
        logits_end: (0..PARTITIONS)
            .map(|partition| Ok(log.offsets(names::LOGITS, partition)?.end))
            .collect::<Outcome<_>>()?,
        wire_bytes: BTreeMap::new(),
    };
    Ok(store.create_json(&names::closed_object(at, 0), closed)?.0)
}

/// A run whose first round predicts and aggregates, from models that nobody trained.
fn resolved(parties: u32) -> ResolvedRun {
    let step = |stage: Stage, who, start, rule| Step {
        name: stage.name().to_owned(),
        stage,
        who,
        start,
        terms: Vec::new(),
        fit: None,
        rule,
        keep: None,
    };
    let set = |name: &str| DataSet {
        sha256: Digest::of(name.as_bytes()),
        rows: ROWS,
        take: ROWS,
        classes: CLASSES,
        shape: Shape {
            channels: 1,
            height: 1,
            width: 1,
        },
    };
    ResolvedRun {
        version: VERSION,
        pipeline: Pipeline {
            name: "fedmd".to_owned(),
            discloses: vec![Disclosure::Predictions, Disclosure::Consensus],
            warmup: vec![
                step(Stage::Predict, Who::Parties, Start::Fresh, None),
                step(Stage::Aggregate, Who::Partitions, Start::Own, Some(Rule::Mean)),
                step(Stage::Join, Who::Server, Start::Own, None),
            ],
            round: Vec::new(),
        },
        seed: 0,
        parties: vec!["mlp[32]".parse().expect("an architecture"); parties as usize],
        identities: Vec::new(),
        private: set("private"),
        public: Some(set("public")),
        test: set("test"),
        labels: Labels::Shared,
        partition: Partition::Iid,
        alignment: ROWS,
        precision: Precision::Float16,
    }
}
