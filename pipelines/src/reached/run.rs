//! What one run recorded: scores, who was selected, who was late, what its tasks took, what crossed.

use fedstill_schemas::task::Subject;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::AddAssign;

/// A run so far.
#[derive(Debug, Default)]
pub(crate) struct Run {
    pub(crate) id: String,
    pub(crate) seed: u64,
    /// The rounds that it is to have, without round 0, where a run file or its folder says so.
    pub(crate) wanted: Option<u32>,
    /// The last round that its folder says is done, where its folder is there and has one.
    pub(crate) done: Option<u32>,
    /// The rounds whose table `metrics` is there.
    pub(crate) scored: BTreeSet<u32>,
    /// Who was late or refused, in the order of the rounds.
    pub(crate) troubles: Vec<Trouble>,
    /// Who was selected in each round; none of a round whose results do not say it.
    pub(crate) selected: BTreeMap<u32, Option<Selected>>,
    /// What the tasks of each round took, by step, in the order in which the steps ended.
    pub(crate) costs: BTreeMap<u32, Vec<(String, Cost)>>,
    /// Bytes that crossed between parties and server in each round; none of a round whose results do not say it.
    pub(crate) crossed: BTreeMap<u32, u64>,
}

/// The scores of a round by model slot.
pub(crate) type Slots = BTreeMap<u32, Score>;

#[derive(Debug, Clone)]
pub(crate) struct Score {
    pub(crate) architecture: String,
    pub(crate) accuracy: f64,
}

/// Whose models are scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// Each party's own, or on each party's own test set: a slot is a party.
    Parties,
    /// The server's: a slot is an architecture.
    Architectures,
    /// All parties' together, of which there is one.
    Ensemble,
}

/// What the lowest score is that of, in a figure of models that belong to these; `None` where results do not say to whom.
pub(crate) fn worst_of(owners: impl IntoIterator<Item = Option<Owner>>) -> &'static str {
    let (mut parties, mut architectures, mut others) = (false, false, false);
    for owner in owners {
        match owner {
            Some(Owner::Parties) => parties = true,
            Some(Owner::Architectures) => architectures = true,
            Some(Owner::Ensemble) | None => others = true,
        }
    }
    match (parties, architectures, others) {
        (true, false, false) => "worst party",
        (false, true, false) => "worst architecture",
        (true, true, false) => "worst party or architecture",
        _ => "worst model",
    }
}

/// Who was late or refused in a round, each with the reason.
#[derive(Debug)]
pub(crate) struct Trouble {
    pub(crate) round: u32,
    pub(crate) who: String,
}

/// Who was selected in a round.
#[derive(Debug)]
pub(crate) struct Selected {
    /// How many parties the run has.
    pub(crate) parties: u32,
    /// The slots of those that were selected; empty where nobody was left out.
    pub(crate) slots: BTreeSet<u32>,
}

/// What tasks took, together.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Cost {
    pub(crate) tasks: u64,
    /// Seconds from a task's start to its end.
    pub(crate) busy_seconds: f64,
    /// Seconds of processor time.
    pub(crate) cpu_seconds: f64,
    pub(crate) gb_seconds: f64,
    pub(crate) price: f64,
    /// Payload that the tasks read.
    pub(crate) bytes_in: u64,
    /// Payload that they made.
    pub(crate) bytes_out: u64,
}

impl AddAssign for Cost {
    fn add_assign(&mut self, other: Self) {
        self.tasks += other.tasks;
        self.busy_seconds += other.busy_seconds;
        self.cpu_seconds += other.cpu_seconds;
        self.gb_seconds += other.gb_seconds;
        self.price += other.price;
        self.bytes_in = self.bytes_in.saturating_add(other.bytes_in);
        self.bytes_out = self.bytes_out.saturating_add(other.bytes_out);
    }
}

impl Cost {
    pub(crate) fn sum(costs: impl IntoIterator<Item = Self>) -> Self {
        let mut sum = Self::default();
        for cost in costs {
            sum += cost;
        }
        sum
    }
}

impl Run {
    /// What its tasks took up to a round, that one and round 0 among them.
    pub(crate) fn cost(&self, through: u32) -> Cost {
        Cost::sum(
            self.costs
                .range(..=through)
                .flat_map(|(_, steps)| steps)
                .map(|(_, cost)| *cost),
        )
    }

    /// Bytes that crossed between parties and server up to a round, that one and round 0 among them; `None` where the
    /// results of a round do not say it.
    pub(crate) fn bytes(&self, through: u32) -> Option<u64> {
        if self.costs.is_empty() {
            return None;
        }
        let mut rounds = self.costs.range(..=through).map(|(round, _)| self.crossed.get(round));
        rounds.try_fold(0_u64, |sum, bytes| Some(sum.saturating_add(*bytes?)))
    }

    /// Whether results of some of its rounds do not say what crossed: those of a release that did not count it.
    pub(crate) fn lacks_bytes(&self) -> bool {
        self.costs.keys().any(|round| !self.crossed.contains_key(round))
    }

    /// The parties that no round so far selected, by slot. Nobody where no round leaves anybody out, or where the results of
    /// a round do not say whom it selected: that may have been anyone.
    pub(crate) fn never_selected(&self) -> Vec<Subject> {
        let rounds: Option<Vec<&Selected>> = self.selected.values().map(Option::as_ref).collect();
        let mut rounds = rounds.unwrap_or_default();
        rounds.retain(|selected| !selected.slots.is_empty());
        let parties = rounds.iter().map(|selected| selected.parties).max().unwrap_or(0);
        let ever: BTreeSet<u32> = rounds.iter().flat_map(|selected| &selected.slots).copied().collect();
        let never = (0..parties).filter(|slot| !ever.contains(slot));
        never.map(Subject::Party).collect()
    }

    /// What the tasks of a step took, in all rounds.
    pub(crate) fn step(&self, step: &str) -> Cost {
        let costs = self.costs.values().flatten();
        Cost::sum(costs.filter(|(name, _)| name == step).map(|(_, cost)| *cost))
    }
}
