//! Notes below the tables.

use crate::estimate::counted;
use crate::reached::{Curve, Method, Run};
use std::collections::BTreeSet;
use std::fmt::Write;

/// The most rounds in a note.
const MOST_ROUNDS: usize = 8;

/// Which runs have fewer rounds than they are to have, or than others of their method, and which lack tables of rounds up to
/// their last.
pub(crate) fn unfinished(methods: &[Method]) -> String {
    let seeds = methods.iter().flat_map(|method| &method.runs).map(|run| run.seed);
    let several = seeds.collect::<BTreeSet<_>>().len() > 1;
    let mut notes = String::new();
    for method in methods {
        let last = method.main.last();
        for run in &method.runs {
            let curve = method.main.curves.iter().find(|curve| curve.seed == run.seed);
            let so_far = match (curve.and_then(Curve::last), run.wanted) {
                (None, _) => Some("not started".to_owned()),
                (Some(own), Some(wanted)) if own < wanted => {
                    Some(format!("{own} of {} so far", counted(wanted, "round")))
                }
                (Some(own), _) if Some(own) < last => Some(counted(own, "round")),
                _ => None,
            };
            let behind = curve.is_some_and(|curve| curve.last() < last);
            let left_out = if behind { "; left out of the means" } else { "" };
            let so_far = so_far.map(|so_far| so_far + left_out);
            let seed = if several {
                format!(", seed {}", run.seed)
            } else {
                String::new()
            };
            let gaps = curve.map_or_else(Vec::new, |curve| gaps(method, run, curve));
            for note in so_far.into_iter().chain(gaps) {
                let _ = writeln!(notes, "{}{seed}: {note}", method.label);
            }
        }
    }
    notes
}

/// Which tables a run lacks of rounds up to its last one, and what that does to the numbers.
fn gaps(method: &Method, run: &Run, curve: &Curve) -> Vec<String> {
    // Round 0 may be without scores, and is then in all runs of the method.
    let firsts = method.main.curves.iter().filter_map(|curve| curve.rounds.keys().next());
    let (Some(first), Some(last)) = (firsts.min(), curve.last()) else {
        return Vec::new();
    };
    let lost = |has: &dyn Fn(&u32) -> bool| -> Vec<u32> { (*first..=last).filter(|round| !has(round)).collect() };
    let scores = lost(&|round| curve.rounds.contains_key(round));
    // While a run goes on, `steps` of its newest round may be about to be written: it comes after `metrics`.
    let goes_on = run.wanted.is_some_and(|wanted| wanted > last);
    let costs = lost(&|round| run.costs.contains_key(round) || (goes_on && *round == last));
    let mut notes = Vec::new();
    if !scores.is_empty() {
        let rounds = listed(&scores);
        notes.push(format!("no table `metrics` of {rounds}; means are of the other rounds"));
    }
    if !costs.is_empty() {
        let rounds = listed(&costs);
        notes.push(format!(
            "no table `steps` of {rounds}; times and costs are of the other rounds"
        ));
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
