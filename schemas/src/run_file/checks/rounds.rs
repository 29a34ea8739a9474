//! Who takes part in a round, and who answers, against what its phases need.

use super::{Catalog, Problem, RunFile, parties};
use crate::architecture::Architecture;
use crate::events;
use crate::pipeline::{Pipeline, Selection};
use std::collections::BTreeSet;

/// A way to select is written, and all parties are selected.
pub(super) fn all_are_selected(file: &RunFile) -> Option<Problem> {
    let written = file.places.has("parties.selection");
    (written && file.parties.selection.is_all()).then(|| {
        file.complain(
            "parties.selection",
            match file.parties.count {
                1 => "'parties.selection' would change nothing: the only party is active".to_owned(),
                count => format!("'parties.selection' would change nothing: all {count} parties are active"),
            },
            "remove it, or write active = 0.5 for half of them in each round",
        )
    })
}

/// Parties are selected, and no step is done by selected ones.
pub(super) fn selection_changes_nothing(
    file: &RunFile,
    pipelines: &[Pipeline],
    catalog: &Catalog<'_>,
) -> Option<Problem> {
    let selection = file.parties.selection;
    if selection.is_all() || pipelines.iter().any(Pipeline::selects) {
        return None;
    }
    let selecting = catalog.pipelines.iter().filter(|pipeline| pipeline.selects());
    let selecting: Vec<&str> = selecting.map(|pipeline| pipeline.name.as_str()).collect();
    let key = match selection {
        Selection::Fedlesscan { .. } => "parties.selection",
        _ => "parties.active",
    };
    let asked: Vec<&str> = file.pipelines().collect();
    Some(file.complain(
        key,
        format!(
            "'{key}' would change nothing: all parties do the steps of {}",
            asked.join(", ")
        ),
        match selecting.as_slice() {
            [] => "remove it".to_owned(),
            some => format!(
                "remove it, or choose a pipeline that selects parties: {}",
                some.join(", ")
            ),
        },
    ))
}

/// A phase of selected parties needs as many answers as the quorum says of all parties.
pub(super) fn quorum_exceeds_active(file: &RunFile, pipelines: &[Pipeline]) -> Option<Problem> {
    let count = file.parties.count;
    let active = file.parties.selection.active(count);
    let needed = needed(file);
    let selects = pipelines.iter().any(Pipeline::selects);
    (selects && needed > active as usize).then(|| {
        // Where nobody wrote the quorum, it is the default.
        let written = file.places.has("close.quorum");
        let key = if written { "close.quorum" } else { "parties.active" };
        file.complain(
            key,
            format!(
                "a quorum of {} needs {needed} of {}, and {active} {} active in a round",
                file.close.quorum,
                parties(count),
                if active == 1 { "is" } else { "are" }
            ),
            format!(
                "write quorum = {} or less in [close], or raise parties.active",
                f64::from(active) / f64::from(count)
            ),
        )
    })
}

/// Each architecture needs a party in every round where its weights are averaged, or architectures are taken in turn.
pub(super) fn architectures_exceed_active(file: &RunFile, pipelines: &[Pipeline]) -> Option<Problem> {
    let count = file.parties.count;
    let active = file.parties.selection.active(count);
    let distinct: BTreeSet<&Architecture> = (0..count).map(|slot| file.parties.architecture(slot)).collect();
    let architectures = distinct.len() as u32;
    let in_turn = matches!(
        file.parties.selection,
        Selection::RoundRobin { .. } | Selection::Fedlesscan { .. }
    );
    let each_needs_one = pipelines
        .iter()
        .any(|pipeline| pipeline.selects() && (in_turn || pipeline.averages()));
    (each_needs_one && active < architectures).then(|| {
        file.complain(
            "parties.active",
            format!(
                "{active} active {} too few for {architectures} architectures: each needs one in every round",
                if active == 1 { "party is" } else { "parties are" }
            ),
            format!(
                "write active = {} or more, or list {}",
                f64::from(architectures) / f64::from(count),
                match active {
                    1 => "1 architecture".to_owned(),
                    _ => format!("{active} architectures or fewer"),
                }
            ),
        )
    })
}

/// Parties that are simulated: as many as there are, and not for ever.
pub(super) fn simulated_parties_do_not_fit(file: &RunFile) -> Option<Problem> {
    let simulate = file.simulate;
    if simulate.is_nothing() {
        return None;
    }
    if !file.parties.identities.is_empty() {
        return Some(file.complain(
            "simulate",
            "parties with keys run their own workers: nothing about them can be simulated",
            "remove [simulate], or simulate all parties, in a table [parties]",
        ));
    }
    let asked = [
        simulate.slow.map(|slow| slow.parties),
        simulate.fail.map(|fail| fail.parties),
        simulate.offline.map(|offline| offline.parties),
    ];
    let asked: u64 = asked.into_iter().flatten().map(u64::from).sum();
    let count = file.parties.count;
    if asked > count.into() {
        return Some(file.complain(
            "simulate",
            format!("{asked} parties are to be slow, fail or be offline, and there are {count}"),
            format!("name {count} together at most, or raise parties.count"),
        ));
    }
    (simulate.offline.is_some() && file.close.deadline.is_none()).then(|| {
        file.complain(
            "simulate.offline",
            "parties that are offline never answer, and a round without a deadline waits for them for ever",
            "add a table [close] with deadline = \"10m\"",
        )
    })
}

/// So many parties never answer that every round would fail.
pub(super) fn answers_cannot_reach_the_quorum(file: &RunFile) -> Option<Problem> {
    let offline = file.simulate.offline.map_or(0, |offline| offline.parties);
    let failing = file.simulate.fail.filter(|fail| fail.probability >= 1.0);
    let silent = offline.saturating_add(failing.map_or(0, |fail| fail.parties));
    let count = file.parties.count;
    let needed = needed(file);
    // More than there are is another mistake.
    let left = count.checked_sub(silent)?;
    (silent > 0 && needed > left as usize).then(|| {
        file.complain(
            "simulate",
            format!(
                "{} that never {} {left} of {count}, and a quorum of {} needs {needed}",
                parties(silent),
                if silent == 1 { "answers leaves" } else { "answer leave" },
                file.close.quorum
            ),
            "lower close.quorum, or let fewer parties fail or be offline",
        )
    })
}

/// How many answers a phase of parties needs.
fn needed(file: &RunFile) -> usize {
    let close = events::Close {
        quorum: file.close.quorum,
        deadline_ms: None,
    };
    close.needed(file.parties.count as usize)
}
