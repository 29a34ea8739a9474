//! Time that passes in a run whatever it computes: deadlines that are waited for, because parties never answer on purpose.

use super::split;
use crate::resolve::Job;
use fedstill_schemas::events::Close;
use fedstill_schemas::pipeline::{Pipeline, Start, Who};
use fedstill_schemas::plan::phases;
use fedstill_schemas::resolved::Simulate;
use fedstill_stages::Outlook;
use std::ops::RangeInclusive;

/// Seconds of the deadlines that rounds of a run are certain to wait for: one for each phase with a party that is offline. 0
/// without a deadline, and where nobody knows yet whom a round selects. A phase in which others work meanwhile takes less than
/// both together.
pub(crate) fn waits(job: &Job, rounds: &RangeInclusive<u32>, close: Close) -> f64 {
    let run = &job.resolved;
    let (Some(deadline), Some(offline)) = (close.deadline_ms, run.simulate.offline) else {
        return 0.0;
    };
    if offline.parties == 0 || run.is_placed() {
        return 0.0;
    }
    let (of_everyone, of_selected) = (
        waiting(&run.pipeline, Who::Parties),
        waiting(&run.pipeline, Who::Selected),
    );
    // Who fails now and then answers, and nobody waits for that.
    let mut alone = run.clone();
    alone.simulate = Simulate {
        offline: Some(offline),
        ..Simulate::default()
    };
    let outlook = Outlook::new(&alone, close);
    let lacks = |round: &u32| match (outlook.selected(*round), outlook.answering(*round, 0)) {
        (Some(selected), Some(answering)) => answering.len() < selected.len(),
        _ => false,
    };
    let (_, later) = split(rounds);
    let lacking = if of_selected == 0 {
        0
    } else {
        let from = (*rounds.start()).max(1);
        (from..=*rounds.end()).filter(lacks).count() as u64
    };
    let phases = u64::from(later) * of_everyone + lacking * of_selected;
    phases as f64 * deadline as f64 / 1000.0
}

/// Phases of a round after the warm-up that a party of that kind is counted in though it has done nothing in the round.
fn waiting(pipeline: &Pipeline, who: Who) -> u64 {
    let has_model = pipeline
        .warmup
        .iter()
        .any(|step| step.who.is_parties() && step.stage.makes_model());
    let phases = phases(pipeline, 1);
    let counted = phases.iter().filter(|phase| {
        let first = phase.steps.first().and_then(|name| pipeline.step(1, name));
        // Where it has no model of its own it cannot begin, and is not asked.
        phase.who == who && first.is_some_and(|step| has_model || step.start != Start::Own)
    });
    counted.count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algorithms;
    use crate::estimate::tests::job;
    use fedstill_schemas::pipeline::Selection;
    use fedstill_schemas::resolved::{Fail, Offline};

    const CLOSE: Close = Close {
        quorum: 0.3,
        deadline_ms: Some(10_000),
    };

    /// Ten parties of that pipeline, so many of which are offline.
    fn offline(pipeline: &str, parties: u32) -> Job {
        let mut job = job();
        let mut all = algorithms::all().into_iter();
        job.resolved.pipeline = all.find(|other| other.name == pipeline).unwrap();
        job.resolved.selection = Selection::All;
        job.resolved.simulate.offline = Some(Offline { parties });
        job
    }

    #[test]
    fn every_phase_with_a_party_that_is_offline_waits_for_its_deadline() {
        // Local training with what follows of it; predictions, and digest with what follows.
        for (pipeline, phases) in [("fedavg", 1.0), ("feddf", 1.0), ("fedmd", 2.0)] {
            let job = offline(pipeline, 1);
            assert_eq!(waits(&job, &(0..=3), CLOSE), 3.0 * phases * 10.0, "{pipeline}");
            assert_eq!(waits(&job, &(2..=3), CLOSE), 2.0 * phases * 10.0, "{pipeline}");
            assert_eq!(
                waits(&job, &(0..=0), CLOSE),
                0.0,
                "{pipeline}: everyone is there in round 0"
            );
        }
    }

    #[test]
    fn nothing_is_waited_for_without_a_deadline_or_where_everyone_answers() {
        let job = offline("fedavg", 1);
        let open = Close {
            deadline_ms: None,
            ..CLOSE
        };
        assert_eq!(waits(&job, &(0..=3), open), 0.0);
        let mut failing = offline("fedavg", 0);
        failing.resolved.simulate.offline = None;
        failing.resolved.simulate.fail = Some(Fail {
            parties: 3,
            probability: 1.0,
        });
        assert_eq!(waits(&failing, &(0..=3), CLOSE), 0.0);
    }

    #[test]
    fn rounds_that_select_nobody_who_is_offline_wait_for_nobody() {
        let mut job = offline("fedavg", 5);
        job.resolved.selection = Selection::Random { active: 1 };
        let some = waits(&job, &(0..=40), CLOSE);
        assert!(some > 0.0 && some < 400.0, "{some}");
        job.resolved.selection = Selection::Fedlesscan { active: 1 };
        assert_eq!(waits(&job, &(0..=40), CLOSE), 0.0, "nobody knows whom it selects");
    }
}
