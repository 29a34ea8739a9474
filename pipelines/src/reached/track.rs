//! Runs side by side: the methods, what each of their scoring steps reached by seed and round, and the means of it.

use super::run::{Cost, Owner, Run, Score, Slots};
use super::statistics::{BySeed, Spread, mean};
use std::collections::BTreeMap;

/// A pipeline of a run name, with its runs.
#[derive(Debug)]
pub(crate) struct Method {
    /// What it is called beside the others: its pipeline, or with several run names `name/pipeline`.
    pub(crate) label: String,
    /// The run name.
    pub(crate) name: String,
    pub(crate) pipeline: String,
    /// Its scores: those of the step `evaluate`, or else of the step that scored first. Without curves if none did yet.
    pub(crate) main: Track,
    /// Further steps that score other models of the same round, as an ensemble of teachers.
    pub(crate) others: Vec<Track>,
    /// One a seed.
    pub(crate) runs: Vec<Run>,
}

/// What a step of a method scores.
#[derive(Debug, Default)]
pub(crate) struct Track {
    pub(crate) step: String,
    /// One a seed.
    pub(crate) curves: Vec<Curve>,
}

/// What a step of a run scored.
#[derive(Debug)]
pub(crate) struct Curve {
    pub(crate) seed: u64,
    /// Whose models, or on whose test sets, where its results say so.
    pub(crate) owner: Option<Owner>,
    /// The scores of each round by slot.
    pub(crate) rounds: BTreeMap<u32, Slots>,
}

impl Method {
    /// The runs that count: those whose main scores do.
    pub(crate) fn counted(&self) -> impl Iterator<Item = &Run> {
        self.runs.iter().filter(move |run| self.main.seed(run.seed).is_some())
    }

    /// The rounds that the runs that count are to have, where they have fewer so far.
    pub(crate) fn short_of(&self) -> Option<u32> {
        let wanted = self.counted().filter_map(|run| run.wanted).max()?;
        (self.main.last() < Some(wanted)).then_some(wanted)
    }

    /// Whether a run of it has done rounds by its folder, and there are no scores of any: its tables `metrics` are gone.
    pub(crate) fn lost_scores(&self) -> bool {
        self.main.last().is_none() && self.runs.iter().any(|run| run.done.is_some())
    }

    /// The mean over slots of a seed's last main scores, of a run that counts.
    pub(crate) fn end(&self, seed: u64) -> Option<f64> {
        let curve = self.main.seed(seed)?;
        curve.mean(curve.last()?)
    }

    /// The scoring steps: the main one first.
    pub(crate) fn tracks(&self) -> impl Iterator<Item = &Track> {
        std::iter::once(&self.main).chain(&self.others)
    }

    /// What the tasks of each step took, in the order in which the steps end: one cost a counted run.
    pub(crate) fn costs(&self) -> Vec<(&str, Vec<Cost>)> {
        let mut steps: Vec<&str> = Vec::new();
        for (step, _) in self.counted().flat_map(|run| run.costs.values()).flatten() {
            if !steps.contains(&step.as_str()) {
                steps.push(step);
            }
        }
        let costs = |step: &str| -> Vec<Cost> { self.counted().map(|run| run.step(step)).collect() };
        steps.into_iter().map(|step| (step, costs(step))).collect()
    }

    /// What the tasks of all steps and rounds took: one cost a counted run.
    pub(crate) fn sums(&self) -> Vec<Cost> {
        self.counted().map(|run| run.cost(u32::MAX)).collect()
    }

    /// What the counted runs come to by each round that the main step scores; nothing where one of them does not say.
    pub(crate) fn by_round(&self, value: impl Fn(&Run, u32) -> Option<f64>) -> Vec<(u32, Spread)> {
        let spreads = self.main.means().into_iter().filter_map(|(round, _)| {
            let values: Option<Vec<f64>> = self.counted().map(|run| value(run, round)).collect();
            Spread::of(&values?).map(|spread| (round, spread))
        });
        spreads.collect()
    }
}

impl Track {
    /// The last round that any of its curves has.
    pub(crate) fn last(&self) -> Option<u32> {
        self.curves.iter().filter_map(Curve::last).max()
    }

    /// The curves that count: those that have the last round. A run that is behind would mix its early rounds into the
    /// others' late ones.
    pub(crate) fn counted(&self) -> impl Iterator<Item = &Curve> {
        let last = self.last();
        self.curves
            .iter()
            .filter(move |curve| last.is_some() && curve.last() == last)
    }

    /// Whose models it scores, by the curves that count and say so; `None` where these differ, as those of two releases may.
    pub(crate) fn owner(&self) -> Option<Owner> {
        let mut owners = self.counted().filter_map(|curve| curve.owner);
        let first = owners.next()?;
        owners.all(|owner| owner == first).then_some(first)
    }

    /// Whether one of its models can be the worst: not of an ensemble, of which there is one, nor where no results say whose
    /// models these are, as before the first table `steps` is there.
    pub(crate) fn has_worst(&self) -> bool {
        let mut owners = self.counted().filter_map(|curve| curve.owner);
        owners.any(|owner| owner != Owner::Ensemble)
    }

    /// The counted curve of a seed.
    pub(crate) fn seed(&self, seed: u64) -> Option<&Curve> {
        self.counted().find(|curve| curve.seed == seed)
    }

    /// The slots of a round, each with its mean over seeds.
    pub(crate) fn slots(&self, round: u32) -> Slots {
        let mut seen: BTreeMap<u32, (String, Vec<f64>)> = BTreeMap::new();
        for (slot, score) in self.counted().filter_map(|curve| curve.rounds.get(&round)).flatten() {
            let (_, values) = seen
                .entry(*slot)
                .or_insert_with(|| (score.architecture.clone(), Vec::new()));
            values.push(score.accuracy);
        }
        let means = seen.into_iter().filter_map(|(slot, (architecture, values))| {
            let accuracy = mean(&values)?;
            Some((slot, Score { architecture, accuracy }))
        });
        means.collect()
    }

    /// The mean accuracy by round, over slots and then over seeds.
    pub(crate) fn means(&self) -> Vec<(u32, Spread)> {
        self.by_round(Curve::mean)
    }

    /// The lowest accuracy of a slot by round, over seeds.
    pub(crate) fn worsts(&self) -> Vec<(u32, Spread)> {
        self.by_round(Curve::worst)
    }

    /// The mean of the last evaluations, `evaluations` at most, of each counted seed.
    pub(crate) fn late(&self, evaluations: usize) -> BySeed {
        self.by_seed(|curve| curve.late(evaluations))
    }

    /// The lowest slot's mean of the last evaluations, `evaluations` at most, of each counted seed.
    pub(crate) fn late_worst(&self, evaluations: usize) -> BySeed {
        self.by_seed(|curve| curve.late_worst(evaluations))
    }

    fn by_seed(&self, value: impl Fn(&Curve) -> Option<f64>) -> BySeed {
        let values = self.counted().filter_map(|curve| Some((curve.seed, value(curve)?)));
        values.collect()
    }

    fn by_round(&self, value: impl Fn(&Curve, u32) -> Option<f64>) -> Vec<(u32, Spread)> {
        let rounds = 0..=self.last().unwrap_or(0);
        let spreads = rounds.filter_map(|round| {
            let values: Vec<f64> = self.counted().filter_map(|curve| value(curve, round)).collect();
            Spread::of(&values).map(|spread| (round, spread))
        });
        spreads.collect()
    }
}

impl Curve {
    pub(crate) fn last(&self) -> Option<u32> {
        self.rounds.keys().next_back().copied()
    }

    /// The mean over the slots.
    pub(crate) fn mean(&self, round: u32) -> Option<f64> {
        mean(&self.accuracies(round))
    }

    /// The lowest of the slots.
    pub(crate) fn worst(&self, round: u32) -> Option<f64> {
        self.accuracies(round).into_iter().reduce(f64::min)
    }

    /// The first round whose mean is at least `target`.
    pub(crate) fn reaches(&self, target: f64) -> Option<u32> {
        let mut rounds = self.rounds.keys().copied();
        rounds.find(|round| self.mean(*round).is_some_and(|mean| mean >= target))
    }

    /// The last evaluations, `most` at most. Round 0, in which nobody collaborates, is one only where there is no other.
    pub(crate) fn last_evaluations(&self, most: usize) -> Vec<u32> {
        let later = self.rounds.keys().rev().copied().filter(|round| *round > 0);
        let mut rounds: Vec<u32> = later.take(most).collect();
        if rounds.is_empty() {
            rounds.extend(self.rounds.keys());
        }
        rounds
    }

    fn late(&self, evaluations: usize) -> Option<f64> {
        let rounds = self.last_evaluations(evaluations);
        mean(&rounds.iter().filter_map(|round| self.mean(*round)).collect::<Vec<_>>())
    }

    fn late_worst(&self, evaluations: usize) -> Option<f64> {
        let mut slots: BTreeMap<u32, Vec<f64>> = BTreeMap::new();
        for (slot, score) in self
            .last_evaluations(evaluations)
            .iter()
            .filter_map(|round| self.rounds.get(round))
            .flatten()
        {
            slots.entry(*slot).or_default().push(score.accuracy);
        }
        slots.values().filter_map(|values| mean(values)).reduce(f64::min)
    }

    fn accuracies(&self, round: u32) -> Vec<f64> {
        let scores = self.rounds.get(&round).into_iter().flat_map(Slots::values);
        scores.map(|score| score.accuracy).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A curve of two slots, the second one a tenth above the first.
    fn curve(seed: u64, accuracies: &[f64]) -> Curve {
        let score = |accuracy| Score {
            architecture: "lenet".to_owned(),
            accuracy,
        };
        let slots = |low: f64| Slots::from([(0, score(low)), (1, score(low + 0.1))]);
        Curve {
            seed,
            owner: None,
            rounds: (0..).zip(accuracies.iter().map(|low| slots(*low))).collect(),
        }
    }

    fn track(curves: Vec<Curve>) -> Track {
        Track {
            curves,
            ..Track::default()
        }
    }

    fn rounded(values: &BySeed) -> Vec<(u64, i64)> {
        let thousandths = |value: &f64| (value * 1000.0).round() as i64;
        values.iter().map(|(seed, value)| (*seed, thousandths(value))).collect()
    }

    #[test]
    fn the_last_five_evaluations_are_not_the_ones_before() {
        let track = track(vec![curve(3, &[0.1, 0.9, 0.2, 0.3, 0.4, 0.5, 0.6])]);
        assert_eq!(rounded(&track.late(5)), [(3, 450)]);
        assert_eq!(rounded(&track.late_worst(5)), [(3, 400)]);
        assert_eq!(rounded(&track.late(1)), [(3, 650)]);
    }

    #[test]
    fn fewer_evaluations_than_five_are_all_there_are_but_for_round_0() {
        let two = track(vec![curve(0, &[0.1, 0.3, 0.5])]);
        assert_eq!(rounded(&two.late(5)), [(0, 450)]);
        assert_eq!(two.curves[0].last_evaluations(5), [2, 1]);
        let warmup = track(vec![curve(0, &[0.1])]);
        assert_eq!(rounded(&warmup.late(5)), [(0, 150)]);
        assert!(track(Vec::new()).late(5).is_empty());
    }

    #[test]
    fn a_run_that_is_behind_does_not_mix_in() {
        let track = track(vec![
            curve(0, &[0.1, 0.2, 0.3]),
            curve(1, &[0.1, 0.9]),
            curve(2, &[0.1, 0.2, 0.5]),
        ]);
        assert_eq!(rounded(&track.late(1)), [(0, 350), (2, 550)]);
        assert_eq!(rounded(&track.late_worst(1)), [(0, 300), (2, 500)]);
    }

    #[test]
    fn the_worst_slot_is_the_one_that_is_lowest_over_all_of_the_last_evaluations() {
        let mut crossing = curve(0, &[0.1, 0.2, 0.2]);
        // Slot 1 has .3 and 0, slot 0 has .2 and .2.
        let last = crossing.rounds.get_mut(&2).expect("round 2");
        last.get_mut(&1).expect("slot 1").accuracy = 0.0;
        assert_eq!(rounded(&track(vec![crossing]).late_worst(2)), [(0, 150)]);
    }

    #[test]
    fn a_target_is_reached_in_the_first_round_that_has_it_or_never() {
        let curve = curve(0, &[0.1, 0.5, 0.4, 0.6]);
        assert_eq!(curve.reaches(0.54), Some(1));
        assert_eq!(curve.reaches(0.6), Some(3));
        assert_eq!(curve.reaches(0.66), None);
    }
}
