//! FedLesScan's order of an architecture's parties (Elzohairy et al. 2022, arXiv:2211.05739, section IV, and its released
//! code): who is new, then clusters of equally fast and reliable parties, then who sits out a missed round.
//!
//! The released code takes the clusters' parties as its database has them, and weighs misses by the longest single round;
//! here those come first that were selected least, and what weighs is the longest average. There the first cluster moves
//! from the fastest to the slowest once, from the first round to the last that the run is asked for, so that a run that is
//! made longer would have to be done again; here it moves so in every turn, the rounds that it takes to give every party a
//! place, and begins anew with the fastest: which parties a round has does not depend on how many follow.

use super::cluster::{Point, clusters};
use fedstill_schemas::plan::History;
use std::collections::BTreeMap;

/// What a miss in the last round weighs beside the longest training time.
const PENALTY: f64 = 1.5;

/// How far a run is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// The round.
    round: u32,
    /// The first round in which not every place goes to somebody new.
    since: u32,
    /// Rounds in which every party could have a place once.
    turn: u32,
}

impl Pace {
    /// That of a round, from 1 on, of a run in which so many of its parties are active.
    pub(super) fn new(round: u32, parties: u32, active: u32) -> Self {
        let active = active.max(1);
        Self {
            round,
            since: parties / active + 1,
            turn: parties.div_ceil(active).max(1),
        }
    }

    /// Which of so many clusters, fastest first, comes first: the percentile of their indices that the turn has come to,
    /// rounded down. So slower ones come first towards the end of each turn.
    fn start(self, clusters: usize) -> usize {
        let last = clusters.saturating_sub(1) as u64;
        let all = u64::from(self.turn - 1).max(1);
        let gone = u64::from(self.round.saturating_sub(self.since) % self.turn);
        (gone * last / all) as usize
    }
}

/// An architecture's slots, in the order in which they are to be selected: those that never were, those that are ready,
/// those that sit out the round.
pub(super) fn tiers(slots: &[u32], histories: &BTreeMap<u32, History>, pace: Pace) -> [Vec<u32>; 3] {
    let (mut new, mut ready, mut resting) = (Vec::new(), Vec::new(), Vec::new());
    for slot in slots {
        match histories.get(slot).filter(|history| history.selected > 0) {
            None => new.push(*slot),
            Some(history) if history.resumes > pace.round => resting.push((history.resumes, *slot)),
            Some(history) => ready.push((*slot, *history)),
        }
    }
    // Who has almost sat out its rounds comes first.
    resting.sort_unstable();
    let resting = resting.into_iter().map(|(_, slot)| slot).collect();
    [new, by_clusters(&ready, pace), resting]
}

/// Slots by cluster, the fastest first, from the cluster on that the turn has come to; within a cluster who was selected
/// least comes first.
fn by_clusters(ready: &[(u32, History)], pace: Pace) -> Vec<u32> {
    let longest = ready.iter().map(|(_, history)| history.time).fold(0.0, f64::max);
    let done = f64::from(pace.round.saturating_sub(1).max(1));
    // A miss weighs by how late in the run it was.
    let point = |(_, history): &(u32, History)| [history.time, history.missed / done * PENALTY * longest];
    let points: Vec<Point> = ready.iter().map(point).collect();
    let mut members: BTreeMap<Option<usize>, Vec<usize>> = BTreeMap::new();
    for (place, cluster) in clusters(&points).into_iter().enumerate() {
        members.entry(cluster).or_default().push(place);
    }
    let cost = |places: &[usize]| {
        let costs = places.iter().map(|place| points[*place][0] + points[*place][1]);
        costs.sum::<f64>() / places.len() as f64
    };
    let mut ranked: Vec<(f64, Vec<usize>)> = members.into_values().map(|places| (cost(&places), places)).collect();
    ranked.sort_by(|(cost, places), (other, theirs)| cost.total_cmp(other).then_with(|| places.cmp(theirs)));
    let start = pace.start(ranked.len());
    ranked.rotate_left(start);
    let mut order = Vec::new();
    for (_, mut places) in ranked {
        places.sort_by_key(|place| (ready[*place].1.selected, ready[*place].0));
        order.extend(places.into_iter().map(|place| ready[place].0));
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(time: f64) -> History {
        History {
            selected: 1,
            time,
            ..History::default()
        }
    }

    /// Three fast parties, two slower ones, one that is slow.
    fn of_three_speeds() -> BTreeMap<u32, History> {
        let times = [1.0, 5.0, 1.1, 9.0, 5.1, 1.05];
        (0..).zip(times.map(history)).collect()
    }

    fn ready(histories: &BTreeMap<u32, History>, round: u32) -> Vec<u32> {
        let slots: Vec<u32> = histories.keys().copied().collect();
        // Turns of five rounds, of which the first begins with round 6.
        let pace = Pace::new(round, 10, 2);
        let [new, ready, resting] = tiers(&slots, histories, pace);
        assert!(new.is_empty() && resting.is_empty());
        ready
    }

    #[test]
    fn every_turn_begins_with_the_fastest_cluster_and_ends_with_the_slowest() {
        let histories = of_three_speeds();
        assert_eq!(ready(&histories, 1), [0, 2, 5, 1, 4, 3], "before the first turn");
        for first in [6, 11, 501] {
            assert_eq!(ready(&histories, first), [0, 2, 5, 1, 4, 3], "round {first}");
            assert_eq!(
                ready(&histories, first + 1),
                [0, 2, 5, 1, 4, 3],
                "a quarter of the way to cluster 2"
            );
            assert_eq!(ready(&histories, first + 2), [1, 4, 3, 0, 2, 5], "round {first} + 2");
            assert_eq!(ready(&histories, first + 4), [3, 0, 2, 5, 1, 4], "round {first} + 4");
        }
    }

    #[test]
    fn a_turn_is_as_many_rounds_as_it_takes_to_give_every_party_a_place() {
        let starts = |parties: u32, active: u32| -> Vec<usize> {
            let since = parties / active + 1;
            let start = |round: u32| Pace::new(round, parties, active).start(3);
            (since..since + 6).map(start).collect()
        };
        assert_eq!(starts(4, 4), [0; 6], "everybody at once");
        assert_eq!(starts(10, 5), [0, 2, 0, 2, 0, 2]);
        assert_eq!(
            starts(11, 5),
            [0, 1, 2, 0, 1, 2],
            "the last round of a turn has places left"
        );
        assert_eq!(starts(100, 20), [0, 0, 1, 1, 2, 0]);
    }

    #[test]
    fn of_a_cluster_comes_first_who_was_selected_least() {
        let mut histories = of_three_speeds();
        for (slot, selected) in [(0, 3), (2, 2), (5, 3)] {
            histories.get_mut(&slot).unwrap().selected = selected;
        }
        assert_eq!(ready(&histories, 6)[..3], [2, 0, 5]);
    }

    #[test]
    fn who_missed_a_late_round_counts_as_slow() {
        let mut histories: BTreeMap<u32, History> = (0..4).map(|slot| (slot, history(1.0))).collect();
        histories.get_mut(&1).unwrap().missed = 3.0;
        histories.get_mut(&2).unwrap().missed = 3.0;
        // Equally fast, so that only what was missed tells them apart.
        assert_eq!(ready(&histories, 6), [0, 3, 1, 2]);
    }

    #[test]
    fn who_is_new_comes_first_and_who_sits_out_last() {
        let mut histories = of_three_speeds();
        histories.get_mut(&0).unwrap().resumes = 6;
        histories.get_mut(&1).unwrap().resumes = 5;
        histories.get_mut(&2).unwrap().resumes = 4;
        let pace = Pace::new(4, 9, 3);
        let [new, ready, resting] = tiers(&[0, 1, 2, 7, 9], &histories, pace);
        assert_eq!(
            (&new[..], &ready[..], &resting[..]),
            (&[7, 9][..], &[2][..], &[1, 0][..])
        );
    }
}
