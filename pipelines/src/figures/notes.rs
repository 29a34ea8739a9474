//! Notes below the tables.

use crate::estimate::counted;
use crate::reached::{Curve, Method, Run};
use std::collections::BTreeSet;
use std::fmt::Write;

/// The most rounds in a note.
const MOST_ROUNDS: usize = 8;

/// What brings tables back that the store of a run's folder still has all of.
const WRITES_AGAIN: &str = "the command that made the run (`fedstill run`, or `sweep`, with its file) writes what is missing \
                            again, where the run's folder still has its log";

/// Which runs have fewer rounds than they are to have, or than others of their method, and which lack tables of rounds up to
/// their last: the last that is done by their folders, or else the last that has scores.
pub(crate) fn unfinished(methods: &[Method]) -> String {
    let seeds = methods.iter().flat_map(|method| &method.runs).map(|run| run.seed);
    let several = seeds.collect::<BTreeSet<_>>().len() > 1;
    let mut notes = String::new();
    for method in methods {
        let last = method.main.last();
        for run in &method.runs {
            let curve = method.main.curves.iter().find(|curve| curve.seed == run.seed);
            let scored = curve.and_then(Curve::last);
            let so_far = match (scored.max(run.done), run.wanted) {
                (None, _) if run.scored.is_empty() => Some("not started".to_owned()),
                _ if scored.is_none() && !run.scored.is_empty() => Some("no scores on this test set".to_owned()),
                (Some(own), Some(wanted)) if own < wanted => {
                    Some(format!("{own} of {} so far", counted(wanted, "round")))
                }
                (Some(own), _) if Some(own) < last => Some(counted(own, "round")),
                _ => None,
            };
            let behind = scored.is_some() && scored < last;
            let left_out = if behind { "; left out of the means" } else { "" };
            let so_far = so_far.map(|so_far| so_far + left_out);
            let seed = if several {
                format!(", seed {}", run.seed)
            } else {
                String::new()
            };
            for note in so_far.into_iter().chain(gaps(method, run, scored)) {
                let _ = writeln!(notes, "{}{seed}: {note}", method.label);
            }
        }
    }
    notes
}

/// Which tables a run lacks of rounds up to its last one, what that does to the numbers, and how to get them back where its
/// folder has what they are made of; `scored` is its last round with scores.
fn gaps(method: &Method, run: &Run, scored: Option<u32>) -> Vec<String> {
    let Some(last) = scored.max(run.done) else {
        return Vec::new();
    };
    // Round 0 may be without scores, and is then in all runs of the method.
    let firsts = method.main.curves.iter().filter_map(|curve| curve.rounds.keys().next());
    let first = firsts.min().copied().unwrap_or(0);
    // While a run goes on, tables of its newest round may be about to be written: after its manifest, `steps` last.
    let goes_on = run.wanted.is_some_and(|wanted| wanted > last);
    let lost = |has: &dyn Fn(&u32) -> bool| -> Vec<u32> {
        let to_come = |round: &u32| goes_on && *round == last;
        (first..=last).filter(|round| !has(round) && !to_come(round)).collect()
    };
    let mut notes = Vec::new();
    let scores = lost(&|round| run.scored.contains(round));
    if !scores.is_empty() {
        let rounds = listed(&scores);
        let means = match scored {
            None => "it is in no mean",
            some if some < method.main.last() => "left out of the means",
            _ => "means are of the other rounds",
        };
        notes.push(format!("no table `metrics` of {rounds}; {means}"));
    }
    let costs = lost(&|round| run.costs.contains_key(round));
    if !costs.is_empty() {
        let rounds = listed(&costs);
        let times = match scored {
            None => "",
            Some(_) => "; times and costs are of the other rounds",
        };
        notes.push(format!("no table `steps` of {rounds}{times}"));
    }
    if !notes.is_empty() && run.done.is_some() {
        notes.push(WRITES_AGAIN.to_owned());
    }
    notes
}

/// Rounds by their numbers.
fn listed(rounds: &[u32]) -> String {
    let mut numbers: Vec<String> = rounds.iter().take(MOST_ROUNDS).map(ToString::to_string).collect();
    let more = rounds.len() - numbers.len();
    if more > 0 {
        numbers.push(format!("and {more} more"));
    }
    let noun = if rounds.len() == 1 { "round" } else { "rounds" };
    format!("{noun} {}", numbers.join(", "))
}
