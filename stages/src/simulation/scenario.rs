//! What a schedule runs, and how badly it is treated: all from one seed.

use super::learner::{Bad, BadOnes};
use super::lies::Lie;
use super::random::Random;
use fedstill_log::faults::Rates;
use fedstill_schemas::data::{DataSet, Labels, LabelsPer, Partition, Shape};
use fedstill_schemas::digest::Digest;
use fedstill_schemas::events::{Close, Trigger};
use fedstill_schemas::fit::{Fit, Loss, Optimizer};
use fedstill_schemas::pipeline::{
    By, Disclosure, On, Pipeline, Rule, Selection, Stage, Start, Step, Target, Term, Who,
};
use fedstill_schemas::resolved::{Precision, ResolvedRun, Simulate, VERSION};
use fedstill_schemas::task::{Attempt, Subject};
use std::collections::BTreeMap;

/// The run's id.
pub(super) const RUN: &str = "sim-run-0";

/// What an actor does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Planner,
    Advance,
    Worker(Vec<Stage>),
}

/// Whose steps a run has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Algorithm {
    /// Parties' models learn from a consensus.
    FedMd,
    /// Nothing is exchanged.
    Standalone,
    /// The server's models are averaged, and learn from a consensus.
    FedDf,
}

impl Algorithm {
    pub(super) const ALL: [Self; 3] = [Self::FedMd, Self::Standalone, Self::FedDf];
}

/// How often what happens, in 1024.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Dangers {
    /// Failures of the log.
    pub(super) log: Rates,
    /// A process dies at a named instant, or around an append or a put.
    pub(super) crash: u16,
    /// A process stalls there, and others go on.
    pub(super) stall: u16,
    /// A call to the store fails.
    pub(super) store: u16,
    /// The store is away for five seconds.
    pub(super) outage: u16,
    /// A member is thrown out of its group without knowing.
    pub(super) eject: u16,
    /// A record is added again.
    pub(super) repeat: u16,
    /// The decisions are compacted.
    pub(super) compact: u16,
    /// The run is stopped.
    pub(super) stop: u16,
    /// The run is made longer.
    pub(super) extend: u16,
}

/// A federation and its fate.
#[derive(Clone, Debug)]
pub(super) struct Scenario {
    pub(super) algorithm: Algorithm,
    pub(super) parties: u32,
    pub(super) alignment: u32,
    /// Places of a row at which models predict; `None`: once a row.
    pub(super) places: Option<u32>,
    pub(super) through: u32,
    pub(super) partitions: u32,
    pub(super) close: Close,
    pub(super) bad: BadOnes,
    /// A party whose predictions are wrong on the wire, and how.
    pub(super) lying: Option<(u32, Lie)>,
    pub(super) roles: Vec<Role>,
    pub(super) dangers: Dangers,
    /// Bytes of tasks that a worker computes at a time.
    pub(super) in_flight: usize,
    /// Steps of chaos, before everyone goes on undisturbed.
    pub(super) steps: usize,
    pub(super) selection: Selection,
    /// What goes wrong with parties, by the run itself.
    pub(super) simulate: Simulate,
}

impl Scenario {
    /// One of each, and nothing goes wrong.
    pub(super) fn calm(algorithm: Algorithm) -> Self {
        Self {
            algorithm,
            parties: 3,
            alignment: 1030,
            places: None,
            through: 2,
            partitions: 2,
            close: Close {
                quorum: 1.0,
                deadline_ms: None,
            },
            bad: BTreeMap::new(),
            lying: None,
            roles: vec![Role::Planner, Role::Advance, Role::Worker(Stage::ALL.to_vec())],
            dangers: Dangers::default(),
            in_flight: 64 << 20,
            steps: 0,
            selection: Selection::All,
            simulate: Simulate::default(),
        }
    }

    /// A federation and its fate by seed.
    pub(super) fn seeded(random: &mut Random) -> Self {
        let mut scenario = Self::calm(random.pick(&[
            Algorithm::FedMd,
            Algorithm::FedMd,
            Algorithm::FedDf,
            Algorithm::Standalone,
        ]));
        scenario.parties = random.within(3, 4) as u32;
        // More than a chunk has takes long: not every time.
        scenario.alignment = random.pick(&[10, 10, 10, 1030]);
        scenario.through = random.within(1, 2) as u32;
        scenario.partitions = random.within(1, 3) as u32;
        scenario.close.quorum = random.pick(&[1.0, 0.5, 0.5, 0.3]);
        if random.below(3) == 0 {
            scenario.close.deadline_ms = Some(random.pick(&[2_000, 15_000, 60_000, 200_000]));
        }
        if random.below(4) == 0 {
            scenario.bad = bad_ones(random, scenario.parties, scenario.algorithm);
        }
        if random.below(8) == 0 {
            let liar = random.below(scenario.parties as usize) as u32;
            scenario.lying = Some((liar, random.pick(&Lie::ALL)));
        }
        scenario.roles = roles(random);
        scenario.in_flight = random.pick(&[64 << 20, 64 << 20, 4000, 1000]);
        scenario.steps = random.within(100, 1600) as usize;
        let mut rate = |most: u64| {
            let on = random.below(3) > 0;
            random.within(0, if on { most } else { 0 }) as u16
        };
        scenario.dangers = Dangers {
            log: Rates {
                fail: rate(60),
                lose_ack: rate(60),
                repeat: rate(120),
                fail_commit: rate(120),
            },
            crash: rate(8),
            stall: rate(12),
            store: rate(16),
            outage: rate(1),
            eject: rate(16),
            repeat: rate(60),
            compact: rate(20),
            stop: rate(8),
            extend: rate(8),
        };
        scenario
    }

    /// The resolved run.
    pub(super) fn resolved(&self) -> ResolvedRun {
        let shape = Shape {
            channels: 1,
            height: 1,
            width: self.places.unwrap_or(1),
        };
        let set = |name: &str| {
            let mut set = DataSet::whole(Digest::of(name.as_bytes()), 4000, 1, shape);
            if self.places.is_some() {
                set.columns.labels_per = LabelsPer::Position;
            }
            set
        };
        let architecture = |slot: u32| format!("mlp[{}]", 1 + slot % 2).parse().unwrap();
        ResolvedRun {
            version: VERSION,
            pipeline: pipeline(self.algorithm),
            seed: 7,
            parties: (0..self.parties).map(architecture).collect(),
            identities: Vec::new(),
            private: set("private"),
            public: Some(set("public")),
            test: set("test"),
            labels: Labels::Union,
            partition: Partition::Iid,
            alignment: self.alignment,
            precision: Precision::Float16,
            selection: self.selection,
            validation: None,
            simulate: self.simulate,
        }
    }

    /// The trigger of an attempt, as a person writes it.
    pub(super) fn trigger(&self, round: u32, attempt: u32, through: u32) -> Trigger {
        Trigger {
            version: VERSION,
            at: Attempt {
                run: RUN.to_owned(),
                round,
                attempt,
            },
            through,
            resolved: self.resolved(),
            close: self.close,
            after: None,
        }
    }
}

/// A step that learns labels: parties those of their own rows, the server public ones.
fn learning(name: &str, stage: Stage, who: Who, start: Start) -> Step {
    let term = Term {
        on: if who.is_parties() { On::Private } else { On::Public },
        target: Target::Labels,
        loss: Loss::CrossEntropy,
        weight: 1.0,
    };
    Step {
        start,
        terms: vec![term],
        fit: Some(Fit::new(1, 2, Optimizer::adam(1e-3), None)),
        ..Step::new(name, stage, who)
    }
}

fn towards_consensus(step: Step) -> Step {
    let term = Term {
        on: On::Alignment,
        target: Target::Consensus,
        loss: Loss::Mae,
        weight: 1.0,
    };
    Step {
        terms: vec![term],
        ..step
    }
}

fn aggregate() -> Step {
    Step {
        rule: Some(Rule::Mean),
        ..Step::new("aggregate", Stage::Aggregate, Who::Partitions)
    }
}

fn pipeline(algorithm: Algorithm) -> Pipeline {
    let parties = Who::Selected;
    let keeping = |step: Step, keep: &str| Step {
        keep: Some(keep.to_owned()),
        ..step
    };
    let evaluate = |who| Step::new("evaluate", Stage::Evaluate, who);
    let revisit = || keeping(learning("revisit", Stage::Train, parties, Start::Own), "private");
    let transfer = Start::Step("pretrain".to_owned());
    let warmup = vec![
        learning("pretrain", Stage::Pretrain, Who::Architectures, Start::Fresh),
        keeping(learning("transfer", Stage::Train, Who::Parties, transfer), "private"),
        evaluate(Who::Parties),
    ];
    let predict = || Step::new("predict", Stage::Predict, parties);
    let join = || Step::new("join", Stage::Join, Who::Server);
    let (warmup, round) = match algorithm {
        Algorithm::Standalone => (warmup, vec![revisit(), evaluate(parties)]),
        Algorithm::FedMd => {
            let digest = keeping(learning("digest", Stage::Distill, parties, Start::Own), "digest");
            let digest = towards_consensus(digest);
            (
                warmup,
                vec![predict(), aggregate(), join(), digest, revisit(), evaluate(parties)],
            )
        }
        Algorithm::FedDf => {
            let initial = Step {
                start: Start::Fresh,
                ..Step::new("initial", Stage::Pretrain, Who::Architectures)
            };
            let average = Step {
                rule: Some(Rule::Weights(By::Samples)),
                ..Step::new("average", Stage::Average, Who::Architectures)
            };
            let round = vec![
                learning("train", Stage::Train, parties, Start::Prototype),
                predict(),
                Step::new("evaluate_personal", Stage::Evaluate, parties),
                aggregate(),
                join(),
                Step::new("evaluate_ensemble", Stage::Evaluate, Who::Server),
                average,
                towards_consensus(learning("distill", Stage::Distill, Who::Architectures, Start::Own)),
                evaluate(Who::Architectures),
            ];
            (vec![initial, evaluate(Who::Architectures)], round)
        }
    };
    Pipeline {
        name: "simulated".to_owned(),
        discloses: match algorithm {
            Algorithm::FedDf => vec![
                Disclosure::Weights,
                Disclosure::Predictions,
                Disclosure::Prototypes,
                Disclosure::Reports,
            ],
            _ => vec![Disclosure::Predictions, Disclosure::Consensus, Disclosure::Reports],
        },
        warmup,
        round,
    }
}

/// One or two parties that are bad in one round and step.
fn bad_ones(random: &mut Random, parties: u32, algorithm: Algorithm) -> BadOnes {
    (0..random.within(1, 2))
        .map(|_| {
            let party = Subject::Party(random.below(parties as usize) as u32);
            let in_round: &[&str] = match algorithm {
                Algorithm::FedMd => &["predict", "digest", "revisit"],
                Algorithm::Standalone => &["revisit"],
                Algorithm::FedDf => &["train", "predict"],
            };
            let round = random.within(0, 2) as u32;
            let step = if round == 0 { "transfer" } else { random.pick(in_round) };
            let how = random.pick(&[Bad::Fails, Bad::Nan, Bad::ShortRow]);
            ((round, step.to_owned(), party), how)
        })
        .collect()
}

/// One or two planners and advances, one to four workers; each stage has a worker at least.
fn roles(random: &mut Random) -> Vec<Role> {
    let mut roles = vec![Role::Planner; random.within(1, 2) as usize];
    roles.extend(vec![Role::Advance; random.within(1, 2) as usize]);
    let workers = random.within(1, 4) as usize;
    let mut stages = vec![Vec::new(); workers];
    for stage in Stage::ALL {
        let surely = random.below(workers);
        for (worker, stages) in stages.iter_mut().enumerate() {
            if worker == surely || random.below(3) == 0 {
                stages.push(stage);
            }
        }
    }
    roles.extend(stages.into_iter().filter(|stages| !stages.is_empty()).map(Role::Worker));
    roles
}
