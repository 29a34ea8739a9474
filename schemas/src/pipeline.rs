//! Algorithms as data: the steps of a pipeline, and for each who does it, from which start, on which terms, by which rule.

mod baseline;
mod by;
mod check;

pub use baseline::{CENTRALISED, STANDALONE};
pub use check::Fault;

use crate::fit::{Fit, Loss, Watch};
use serde::{Deserialize, Serialize};
use std::fmt;

/// An algorithm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pipeline {
    /// Its name in a run file.
    pub name: String,
    /// What crosses between parties and server; a party refuses what its own allow-list does not name.
    pub discloses: Vec<Disclosure>,
    /// Steps of round 0: the point without collaboration.
    #[serde(default)]
    pub warmup: Vec<Step>,
    /// Steps of every later round.
    pub round: Vec<Step>,
}

impl Pipeline {
    /// The steps of a round, in order.
    pub fn steps(&self, round: u32) -> &[Step] {
        if round == 0 { &self.warmup } else { &self.round }
    }

    /// The step of that name in that round.
    pub fn step(&self, round: u32, name: &str) -> Option<&Step> {
        self.steps(round).iter().find(|step| step.name == name)
    }

    /// Every step once, warm-up first.
    pub fn all_steps(&self) -> impl Iterator<Item = &Step> {
        self.warmup.iter().chain(&self.round)
    }

    /// Whether some of its steps are done by the parties that a round's plan selects.
    pub fn selects(&self) -> bool {
        self.all_steps().any(|step| step.who == Who::Selected)
    }

    /// Whether it averages the weights of parties.
    pub fn averages(&self) -> bool {
        self.all_steps().any(|step| step.stage == Stage::Average)
    }

    /// Whether a step of it looks at validation rows.
    pub fn reads_validation(&self) -> bool {
        self.all_steps()
            .any(|step| step.stops_by_validation() || step.drop_worst)
    }
}

/// Something of a party that others get to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Disclosure {
    /// A party's predictions on public rows, to the aggregator.
    Predictions,
    /// The aggregate of predictions, to every party.
    Consensus,
    /// A party's weights and number of rows, to the server, and to whoever else reads the shared store.
    Weights,
    /// The server's models, to every party.
    Prototypes,
    /// A party's private rows, to the server: only a simulation can do this.
    PrivateRows,
    /// Labelled rows like the private ones, held by the server to stop its training by, or to judge parties' models by.
    ValidationRows,
    /// What a party's tasks report: loss and number of private rows, test scores, time and memory; to whoever runs the
    /// federation.
    Reports,
}

impl Disclosure {
    /// All that there are.
    pub const ALL: [Self; 7] = [
        Self::Predictions,
        Self::Consensus,
        Self::Weights,
        Self::Prototypes,
        Self::PrivateRows,
        Self::ValidationRows,
        Self::Reports,
    ];

    /// Its name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Predictions => "predictions",
            Self::Consensus => "consensus",
            Self::Weights => "weights",
            Self::Prototypes => "prototypes",
            Self::PrivateRows => "private_rows",
            Self::ValidationRows => "validation_rows",
            Self::Reports => "reports",
        }
    }
}

impl fmt::Display for Disclosure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Predictions => "predictions on public rows, from each party to the aggregator",
            Self::Consensus => "the consensus, from the aggregator to every party",
            Self::Weights => {
                "weights and the number of rows, from each party to the server and whoever else reads the shared store"
            }
            Self::Prototypes => "the server's models, from the server to every party",
            Self::ValidationRows => "labelled rows like the private ones, held by the server",
            Self::Reports => {
                "training loss, number of rows, test scores and costs, from each party to whoever reads the results"
            }
            Self::PrivateRows => "private rows, from each party to the server (simulation only)",
        })
    }
}

/// A kind of work, deployed and scaled on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(
    missing_docs,
    reason = "the design's words: each stage has a file that says what it does"
)]
pub enum Stage {
    Pretrain,
    Train,
    Predict,
    Aggregate,
    Join,
    Distill,
    Average,
    Evaluate,
    Archive,
}

impl Stage {
    /// All stages that take tasks.
    pub const ALL: [Self; 9] = [
        Self::Pretrain,
        Self::Train,
        Self::Predict,
        Self::Aggregate,
        Self::Join,
        Self::Distill,
        Self::Average,
        Self::Evaluate,
        Self::Archive,
    ];

    /// Its name, as in topics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pretrain => "pretrain",
            Self::Train => "train",
            Self::Predict => "predict",
            Self::Aggregate => "aggregate",
            Self::Join => "join",
            Self::Distill => "distill",
            Self::Average => "average",
            Self::Evaluate => "evaluate",
            Self::Archive => "archive",
        }
    }

    /// Whether a task of this stage makes a model.
    pub fn makes_model(self) -> bool {
        matches!(self, Self::Pretrain | Self::Train | Self::Distill | Self::Average)
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A named use of a stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Its name: in `[steps.<name>]`, in results, in random streams.
    pub name: String,
    /// The kind of work.
    pub stage: Stage,
    /// Who does it.
    pub who: Who,
    /// Which weights it starts from.
    #[serde(default)]
    pub start: Start,
    /// What it learns from; empty where nothing is learned.
    #[serde(default)]
    pub terms: Vec<Term>,
    /// How it trains; `None` where nothing is learned.
    #[serde(default)]
    pub fit: Option<Fit>,
    /// How an `aggregate` step combines predictions, or an `average` step weights.
    #[serde(default)]
    pub rule: Option<Rule>,
    /// The optimizer state that it continues and leaves behind, by name; dropped where `None`.
    #[serde(default)]
    pub keep: Option<String>,
    /// Whether the worst of the models that parties trained are left out, by the validation rows that the server holds
    /// (`drop_worst` of FedDF's released code). Of an `aggregate` step: from the consensus, and from the ensemble that the
    /// round evaluates, those that have less than 1.2 times as many rows right as guessing would; where there are none, those
    /// that are more than 1.5 standard deviations below the mean of all but the best. Of an `average` step: those that guess.
    /// Where nobody would be left, nobody is left out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub drop_worst: bool,
}

impl Step {
    /// Whether its training stops by validation rows.
    pub fn stops_by_validation(&self) -> bool {
        let stop = self.fit.as_ref().and_then(|fit| fit.stop.as_ref());
        stop.is_some_and(|stop| stop.watch == Watch::Validation)
    }

    /// Whether a term of it compares predictions at a temperature.
    pub fn has_temperature(&self) -> bool {
        self.terms.iter().any(|term| matches!(term.loss, Loss::Kl { .. }))
    }

    /// Whether its epochs are of the party's private rows, so that the rows that it reports are those: its first term is on
    /// them.
    pub fn counts_private_rows(&self) -> bool {
        let first = self.terms.first();
        self.who.is_parties() && self.fit.is_some() && first.is_some_and(|term| term.on == On::Private)
    }
}

impl Step {
    /// A step that learns nothing and is told nothing.
    pub fn new(name: &str, stage: Stage, who: Who) -> Self {
        Self {
            name: name.to_owned(),
            stage,
            who,
            start: Start::Own,
            terms: Vec::new(),
            fit: None,
            rule: None,
            keep: None,
            drop_worst: false,
        }
    }
}

/// Who does a step: the subjects of its tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Who {
    /// Every party, for its own model.
    Parties,
    /// The parties that the plan selected for the round, each for its own model.
    Selected,
    /// The server, once an architecture.
    Architectures,
    /// The server, once a partition of the predictions.
    Partitions,
    /// The server, once.
    Server,
}

impl Who {
    /// Its name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Parties => "parties",
            Self::Selected => "selected",
            Self::Architectures => "architectures",
            Self::Partitions => "partitions",
            Self::Server => "server",
        }
    }

    /// Whether parties do it, each for its own model.
    pub fn is_parties(self) -> bool {
        matches!(self, Self::Parties | Self::Selected)
    }
}

/// Which weights a step starts from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// The slot's newest model.
    #[default]
    Own,
    /// The newest model of the subject's architecture, which the server holds.
    Prototype,
    /// What that step of this round made for the subject's architecture.
    Step(String),
    /// A new initialisation, the same for all subjects of an architecture.
    Fresh,
}

/// A summand of a step's loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Term {
    /// The rows.
    pub on: On,
    /// What the model's output is compared with.
    pub target: Target,
    /// The comparison.
    pub loss: Loss,
    /// Its weight in the sum.
    #[serde(default = "full")]
    pub weight: f64,
}

fn full() -> f64 {
    1.0
}

/// Rows that a term is computed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum On {
    /// The party's private rows; for an architecture the private rows of all parties.
    Private,
    /// All public rows in use.
    Public,
    /// The round's alignment set.
    Alignment,
}

/// What a model's output is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// The rows' labels.
    Labels,
    /// The round's consensus.
    Consensus,
    /// The logits of the step's own start, predicted before the first update.
    Own,
}

/// How predictions become a consensus, and weights a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// The mean of raw logits, every party alike (FedMD, Li and Wang 2019, arXiv:1910.03581, section 3.2; FedDF, Lin et al.
    /// 2020, arXiv:2006.07242, algorithm 1).
    Mean,
    /// The logarithm of the mean of the parties' softmax, every party alike (FedDF's released code: the gradient of the
    /// mean of the divergences to each teacher).
    MeanProbability,
    /// The mean, each party by its weight: of weights, in an `average` step; of raw logits, in an `aggregate` step whose
    /// parties have weights of their own.
    Weights(By),
}

impl Rule {
    /// Whether predictions are combined by it, and not weights.
    pub fn is_of_predictions(&self) -> bool {
        matches!(self, Self::Mean | Self::MeanProbability) || self.slots().is_some()
    }

    /// What each party's predictions count by, where parties do not count alike.
    pub fn slots(&self) -> Option<&[f64]> {
        match self {
            Self::Weights(By::Slots(weights)) => Some(weights),
            _ => None,
        }
    }
}

/// What a party counts by in a mean.
#[derive(Clone, Debug, PartialEq)]
pub enum By {
    /// The private rows that its model was trained on in the round, by the newest such step in the chain that it comes from
    /// (FedAvg, McMahan et al. 2017, arXiv:1602.05629, algorithm 1).
    Samples,
    /// One, every party alike (FedDF's released code).
    Parties,
    /// Its own number, by slot, over the sum of those who are there (`c_k` of FedMD, Li and Wang 2019, arXiv:1910.03581,
    /// section 3.2).
    Slots(Vec<f64>),
}

/// Which parties a round's plan selects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Selection {
    /// All of them.
    #[default]
    All,
    /// So many, by a seeded draw without replacement (McMahan et al. 2017, arXiv:1602.05629, algorithm 1).
    Random {
        /// How many, at least one.
        active: u32,
    },
    /// So many, the architectures in turn and within each by a seeded draw, so that every architecture has parties in
    /// every round.
    RoundRobin {
        /// How many, at least one an architecture.
        active: u32,
    },
    /// So many, by clusters of training times and missed rounds, the architectures in turn (FedLesScan, Elzohairy et al.
    /// 2022, arXiv:2211.05739); from faster to slower ones, again and again, each time over the rounds in which every party
    /// could have a place once.
    Fedlesscan {
        /// How many, at least one an architecture.
        active: u32,
    },
}

impl Selection {
    /// Whether it leaves nobody out.
    pub fn is_all(&self) -> bool {
        *self == Self::All
    }

    /// How many of `parties` it selects.
    pub fn active(self, parties: u32) -> u32 {
        match self {
            Self::All => parties,
            Self::Random { active } | Self::RoundRobin { active } | Self::Fedlesscan { active } => active.min(parties),
        }
    }
}
