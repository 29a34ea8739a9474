//! Which parties a round's plan selects.
//!
//! ```text
//! resolved run, round, histories of the manifest before ──> select ──> plan
//! closed phases of the selected parties ──> after ──> histories of the round's manifest
//! ```
//!
//! In: what a plan starts from. Out: slots. Pure functions; the plan is create-once, and so is the selection that it holds.

mod cluster;
mod fedlesscan;
mod history;

pub use self::history::{after, histories};

use self::fedlesscan::{Pace, tiers};
use fedstill_learner::random::{Stream, draw};
use fedstill_schemas::architecture::Architecture;
use fedstill_schemas::events::Close;
use fedstill_schemas::pipeline::{Selection, Who};
use fedstill_schemas::plan::History;
use fedstill_schemas::resolved::ResolvedRun;
use std::collections::BTreeMap;

/// Name of the random streams of a selection.
const STREAM: &str = "selection";

/// The slots that take part in a round, in order. `None` where nobody is left out: in round 0, and in a run that selects
/// all parties or has no step of selected ones.
///
/// - `Random`: a draw of all parties without replacement.
/// - `RoundRobin`: the places go to the architectures in turn, and each round's turn begins where the one before ended:
///   every architecture has the same number of places, and what is left over goes round. An architecture with too few
///   parties passes its places on. Its parties come in a seeded order, drawn for each round.
/// - `Fedlesscan`: FedLesScan (Elzohairy et al. 2022, arXiv:2211.05739, section IV) within each architecture, and the
///   architectures in turn: first who was never selected, then by clusters of training times and missed rounds, and who
///   sits out a missed round only where places are left. Ties go to the lower slot. The clusters begin with the fastest,
///   and with slower ones towards the end of every `ceil(parties / active)` rounds (its code: of the whole run).
///
/// How many rounds the run is asked for changes nothing: one that is made longer selects as one that was asked for whole.
pub fn select(run: &ResolvedRun, round: u32, histories: &BTreeMap<u32, History>) -> Option<Vec<u32>> {
    if round == 0 || !is_used(run) {
        return None;
    }
    let parties = run.parties.len() as u32;
    let mut selected = match run.selection {
        Selection::All => return None,
        Selection::Random { active } => draw(run.seed, STREAM, round, parties, active),
        Selection::RoundRobin { active } => {
            let mut architectures = by_architecture(run);
            for (architecture, slots) in run.architectures().into_iter().zip(&mut architectures) {
                Stream::new(run.seed, round, STREAM, &architecture.to_string()).shuffle(slots);
            }
            let mut places = in_turn(&architectures, first(round, active, architectures.len()));
            places.truncate(active as usize);
            places
        }
        Selection::Fedlesscan { active } => {
            let pace = Pace::new(round, parties, active);
            let architectures = by_architecture(run);
            let first = first(round, active, architectures.len());
            let mut all: [Vec<Vec<u32>>; 3] = Default::default();
            for slots in &architectures {
                for (tier, own) in all.iter_mut().zip(tiers(slots, histories, pace)) {
                    tier.push(own);
                }
            }
            let mut places: Vec<u32> = all.iter().flat_map(|tier| in_turn(tier, first)).collect();
            places.truncate(active as usize);
            places
        }
    };
    selected.sort_unstable();
    Some(selected)
}

/// Why a run's selection cannot work with phases that close so, in words for people.
pub fn refusal(run: &ResolvedRun, close: Close) -> Option<String> {
    if !is_used(run) {
        return None;
    }
    let parties = run.parties.len();
    let (Selection::Random { active } | Selection::RoundRobin { active } | Selection::Fedlesscan { active }) =
        run.selection
    else {
        return None;
    };
    if active == 0 {
        return Some("selection.active is 0: a round needs one party at least".to_owned());
    }
    if active as usize > parties {
        return Some(format!(
            "selection.active is {active}, and the run has {parties} parties"
        ));
    }
    let architectures = run.architectures().len();
    if !matches!(run.selection, Selection::Random { .. }) && (active as usize) < architectures {
        return Some(format!(
            "selection.active is {active}, and the run has {architectures} architectures: select one party of each at \
             least, or draw them by kind \"random\""
        ));
    }
    let needed = close.needed(parties);
    (needed > active as usize).then(|| {
        format!(
            "close.quorum {} asks for {needed} of {parties} parties, and selection.active is {active}: ask for fewer, or \
             select more",
            close.quorum
        )
    })
}

/// Whether a run leaves parties out of rounds.
fn is_used(run: &ResolvedRun) -> bool {
    !run.selection.is_all() && run.pipeline.round.iter().any(|step| step.who == Who::Selected)
}

/// The slots of each architecture, in order.
fn by_architecture(run: &ResolvedRun) -> Vec<Vec<u32>> {
    let slots_of = |architecture: &Architecture| -> Vec<u32> {
        let own = (0..).zip(&run.parties).filter(|(_, other)| **other == *architecture);
        own.map(|(slot, _)| slot).collect()
    };
    run.architectures().into_iter().map(slots_of).collect()
}

/// The architecture that a round's turn begins with: the one after the last of the round before.
fn first(round: u32, active: u32, architectures: usize) -> usize {
    let places = u64::from(round.saturating_sub(1)) * u64::from(active);
    places.checked_rem(architectures as u64).unwrap_or(0) as usize
}

/// One of each list in turn, beginning with list `first`, until all are at their end.
fn in_turn(lists: &[Vec<u32>], first: usize) -> Vec<u32> {
    let longest = lists.iter().map(Vec::len).max().unwrap_or(0);
    let order = || (first..lists.len()).chain(0..first.min(lists.len()));
    (0..longest)
        .flat_map(|place| order().filter_map(move |list| lists[list].get(place).copied()))
        .collect()
}

#[cfg(test)]
mod tests;
