//! A round whose parties have all predicted, by arithmetic instead of models, and its aggregation.

use fedstill_learner::Registry;
use fedstill_log::{Clock, Log, Message};
use fedstill_schemas::data::{DataSet, Labels, Partition, Shape};
use fedstill_schemas::digest::Digest;
use fedstill_schemas::envelope::{self, Kind};
use fedstill_schemas::events::{Close, Closed, Done, Usage};
use fedstill_schemas::names;
use fedstill_schemas::pipeline::{Disclosure, Pipeline, Rule, Selection, Stage, Start, Step, Who};
use fedstill_schemas::plan::{Draws, Plan, chunk_rows, chunks};
use fedstill_schemas::predictions::{Identity, encode};
use fedstill_schemas::resolved::{Precision, ResolvedRun, Simulate, VERSION};
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
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const RUN: &str = "bench-fedmd-0";
pub(crate) const ROWS: u32 = 5000;
pub(crate) const CLASSES: u32 = 10;
/// Parties whose records are appended together.
pub(crate) const TOGETHER: u32 = 40;

pub(crate) type Outcome<T> = Result<T, Box<dyn Error>>;

/// A round whose parties have all predicted.
pub(crate) struct Bench {
    store_folder: PathBuf,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) store: Store,
    pub(crate) round: Round,
    /// Of all values.
    pub(crate) bytes: u64,
}

impl Bench {
    /// Has so many parties predict into a log; their results go to stores in a folder.
    pub(crate) fn prepare(folder: &Path, log: Arc<dyn Log>, parties: u32, clock: Arc<dyn Clock>) -> Outcome<Self> {
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
            validation: Vec::new(),
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
            selected: None,
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
            round,
            clock,
            log,
            store,
            bytes,
        })
    }

    /// The tasks that aggregate: one a partition.
    pub(crate) fn tasks(&self) -> Vec<Task> {
        self.round.cohort().into_values().collect()
    }

    /// Does the tasks of all partitions, as a worker that has done nothing before; MB/s until the consensus is known,
    /// and in all.
    pub(crate) fn aggregate(&self) -> Outcome<(f64, f64)> {
        let learner = Arc::new(Tensors::new(Registry::default(), []));
        let mut context = Context::new(Arc::clone(&self.log), self.store.clone(), learner);
        let (computed, taken) = (Arc::new(Mutex::new(Duration::ZERO)), Mutex::new(Duration::ZERO));
        let (clock, total) = (Arc::clone(&self.clock), Arc::clone(&computed));
        context.faults = Faults::new(move |point| match point {
            "task:taken" => *taken.lock() = clock.monotonic(),
            "task:computed" => *total.lock() += clock.monotonic().saturating_sub(*taken.lock()),
            _ => {}
        });
        let tasks = self.tasks();
        let start = self.clock.monotonic();
        for task in &tasks {
            black_box(execute(&context, task, 0)?);
        }
        let whole = self.rate(self.clock.monotonic().saturating_sub(start));
        for task in &tasks {
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

    pub(crate) fn rate(&self, took: Duration) -> f64 {
        self.bytes as f64 / 1e6 / took.as_secs_f64()
    }
}

/// Appends every party's predictions, as a worker does; bytes of their messages.
fn predict(log: &dyn Log, planned: &Planned, draws: &Draws) -> Outcome<u64> {
    let mut bytes = 0;
    let parties = planned.run.parties.len() as u32;
    for first in (0..parties).step_by(TOGETHER as usize) {
        let messages = messages(planned, draws, first..parties.min(first + TOGETHER))?;
        bytes += messages.iter().map(|message| message.value.len() as u64).sum::<u64>();
        log.append(&messages)?;
    }
    Ok(bytes)
}

/// Predictions of some parties.
pub(crate) fn messages(planned: &Planned, draws: &Draws, slots: Range<u32>) -> Outcome<Vec<Message>> {
    let (at, run) = (planned.at(), &planned.run);
    let step = planned.phases[0].steps[0].as_str();
    let mut messages = Vec::new();
    for slot in slots {
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
            let rows = &draws.alignment[slice.range()];
            let key = names::chunk_key(at, step, chunk);
            let subject = Subject::Party(slot).to_string();
            messages.push(Message {
                topic: names::LOGITS.to_owned(),
                partition: slice.partition,
                headers: envelope::headers(Kind::Predictions, at, &format!("{key}/{subject}"), &subject),
                key: key.into(),
                value: encode(&identity, rows, CLASSES, &values, run.precision)?,
            });
        }
    }
    Ok(messages)
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
        drop_worst: false,
    };
    let shape = Shape {
        channels: 1,
        height: 1,
        width: 1,
    };
    let set = |name: &str| DataSet::whole(Digest::of(name.as_bytes()), ROWS, CLASSES, shape);
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
        selection: Selection::All,
        validation: None,
        simulate: Simulate::default(),
    }
}
