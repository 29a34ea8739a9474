//! What is shown of each method: the mean of its last evaluations, differences paired by seed, its worst slot, and what a
//! target took. Pure.

use super::Comparison;
use crate::estimate::counted;
use crate::reached::{Method, Owner, Run, Spread, Track, paired};

/// What a scoring step of a method reached.
#[derive(Debug)]
pub(super) struct Scored<'a> {
    pub(super) method: &'a Method,
    pub(super) track: &'a Track,
    /// The method, and the step where it is not the main one.
    pub(super) label: String,
    /// The mean accuracy of the last evaluations.
    pub(super) accuracy: Option<Spread>,
    /// By how much it is above the baseline's main scores, over the seeds that both have; none where their methods are not
    /// equally far, which is a difference of rounds too.
    pub(super) difference: Option<Spread>,
    /// Its seeds that the baseline lacks.
    pub(super) unpaired: usize,
    /// The lowest slot's mean of the last evaluations; none of an ensemble, of which there is one, nor where results do not say
    /// yet whose models these are.
    pub(super) worst: Option<Spread>,
}

impl Scored<'_> {
    /// Of how many models of whom the worst is, as `10 parties`: a party's own, or an architecture's; on `local`, which has a
    /// test set of each party, always a party's, whoever has the model.
    pub(super) fn worst_of(&self) -> String {
        if self.worst.is_none() {
            return String::new();
        }
        let slots = self.track.last().map_or(0, |last| self.track.slots(last).len());
        match self.track.owner() {
            Some(Owner::Parties) => counted(slots, "party"),
            Some(Owner::Architectures) => counted(slots, "architecture"),
            Some(Owner::Ensemble) => String::new(),
            None => counted(slots, "model"),
        }
    }

    /// What the worst is called in the table, over the last evaluations and of a round.
    pub(super) fn worst_measures(&self) -> [&'static str; 2] {
        match self.track.owner() {
            Some(Owner::Parties) => ["worst_party", "round_worst_party"],
            Some(Owner::Architectures) => ["worst_architecture", "round_worst_architecture"],
            Some(Owner::Ensemble) | None => ["worst_model", "round_worst_model"],
        }
    }
}

/// What a method took to reach the target, over the seeds that do.
#[derive(Debug)]
pub(super) struct ToTarget<'a> {
    pub(super) method: &'a Method,
    /// Seeds that reach it.
    pub(super) reached: usize,
    /// Seeds.
    pub(super) of: usize,
    pub(super) rounds: Option<Spread>,
    /// That crossed between parties and server; none where the results of a seed do not say.
    pub(super) bytes: Option<Spread>,
    pub(super) gb_seconds: Option<Spread>,
    pub(super) price: Option<Spread>,
}

impl Comparison {
    /// A row a method and scoring step.
    pub(super) fn scored(&self) -> Vec<Scored<'_>> {
        let mut rows = Vec::new();
        for (at, method) in self.methods.iter().enumerate() {
            let baseline = self.baseline(at).map(|other| &other.main);
            let baseline = baseline.filter(|other| other.last() == method.main.last());
            for track in method.tracks() {
                let accuracy = track.late(self.evaluations);
                let other = baseline.filter(|other| !std::ptr::eq(*other, track));
                let pairs = other.map(|other| paired(&accuracy, &other.late(self.evaluations)));
                rows.push(Scored {
                    method,
                    track,
                    label: if std::ptr::eq(track, &raw const method.main) {
                        method.label.clone()
                    } else {
                        format!("{} ({})", method.label, track.step)
                    },
                    accuracy: Spread::over(&accuracy),
                    difference: pairs.as_ref().and_then(Spread::over),
                    unpaired: pairs.map_or(0, |pairs| accuracy.len() - pairs.len()),
                    worst: if track.has_worst() {
                        Spread::over(&track.late_worst(self.evaluations))
                    } else {
                        None
                    },
                });
            }
        }
        rows
    }

    /// What the method with that index is compared with: it can be itself.
    pub(super) fn baseline(&self, at: usize) -> Option<&Method> {
        self.baselines.of[at].map(|other| &self.methods[other])
    }

    /// A row a method; none where no target is asked for.
    pub(super) fn to_target(&self) -> Vec<ToTarget<'_>> {
        let Some(target) = self.target else {
            return Vec::new();
        };
        self.methods.iter().map(|method| to_target(method, target)).collect()
    }
}

fn to_target(method: &Method, target: f64) -> ToTarget<'_> {
    let first = |run: &Run| method.main.seed(run.seed)?.reaches(target);
    let reaching: Vec<(u32, &Run)> = method.counted().filter_map(|run| Some((first(run)?, run))).collect();
    let over = |value: fn(u32, &Run) -> Option<f64>| {
        let values: Option<Vec<f64>> = reaching.iter().map(|(round, run)| value(*round, run)).collect();
        Spread::of(&values?)
    };
    ToTarget {
        method,
        reached: reaching.len(),
        of: method.counted().count(),
        rounds: over(|round, _| Some(f64::from(round))),
        bytes: over(|round, run| run.bytes(round).map(|bytes| bytes as f64)),
        gb_seconds: over(|round, run| Some(run.cost(round).gb_seconds)),
        price: over(|round, run| Some(run.cost(round).price)),
    }
}
