//! Algorithms as data: the steps of a pipeline, and for each who does it, from which start, on which terms, by which rule.

use crate::fit::{Fit, Loss};
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
}

/// Something of a party that others get to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Disclosure {
    /// A party's predictions on public rows, to the aggregator.
    Predictions,
    /// The aggregate of predictions, to every party.
    Consensus,
    /// A party's private rows, to the server: only a simulation can do this.
    PrivateRows,
    /// What a party's tasks report: loss and number of private rows, test scores, time and memory; to whoever runs the
    /// federation.
    Reports,
}

impl Disclosure {
    /// All that there are.
    pub const ALL: [Self; 4] = [Self::Predictions, Self::Consensus, Self::PrivateRows, Self::Reports];

    /// Its name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Predictions => "predictions",
            Self::Consensus => "consensus",
            Self::PrivateRows => "private_rows",
            Self::Reports => "reports",
        }
    }
}

impl fmt::Display for Disclosure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Predictions => "predictions on public rows, from each party to the aggregator",
            Self::Consensus => "the consensus, from the aggregator to every party",
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
    Evaluate,
    Archive,
}

impl Stage {
    /// All stages that take tasks.
    pub const ALL: [Self; 8] = [
        Self::Pretrain,
        Self::Train,
        Self::Predict,
        Self::Aggregate,
        Self::Join,
        Self::Distill,
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
            Self::Evaluate => "evaluate",
            Self::Archive => "archive",
        }
    }

    /// Whether a task of this stage makes a model.
    pub fn makes_model(self) -> bool {
        matches!(self, Self::Pretrain | Self::Train | Self::Distill)
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
    /// How an `aggregate` step combines predictions.
    #[serde(default)]
    pub rule: Option<Rule>,
    /// The optimizer state that it continues and leaves behind, by name; dropped where `None`.
    #[serde(default)]
    pub keep: Option<String>,
}

/// Who does a step: the subjects of its tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Who {
    /// Every party, for its own model.
    Parties,
    /// The server, once an architecture.
    Architectures,
    /// The server, once a partition of the predictions.
    Partitions,
    /// The server, once.
    Server,
}

/// Which weights a step starts from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// The slot's newest model.
    #[default]
    Own,
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

/// How predictions become a consensus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// The mean of raw logits, every party alike (FedMD, Li and Wang 2019, arXiv:1910.03581, section 3.2).
    Mean,
}
