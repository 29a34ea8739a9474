use super::*;
use fedstill_schemas::events::Close;
use fedstill_schemas::pipeline::Selection;
use fedstill_schemas::resolved::{Offline, Simulate};

fn trigger(round: u32, attempt: u32, after: Option<u32>) -> Trigger {
    Trigger {
        version: VERSION,
        at: Attempt {
            run: "r".to_owned(),
            round,
            attempt,
        },
        through: 5,
        resolved: crate::simulation::resolved(),
        close: Close {
            quorum: 1.0,
            deadline_ms: None,
        },
        after,
    }
}

#[test]
fn a_trigger_says_how_phases_end() {
    let admitted = |quorum, deadline_ms, deployed| {
        let trigger = Trigger {
            close: Close { quorum, deadline_ms },
            ..trigger(0, 0, None)
        };
        let known = Known {
            deployed,
            ..Known::default()
        };
        admit(&trigger, known) == Admission::Start
    };
    assert!(admitted(1.0, None, false), "one process waits for itself");
    assert!(admitted(0.5, Some(1000), true));
    assert!(!admitted(1.0, None, true), "nobody waits for ever for others");
    for quorum in [0.0, -0.5, 1.5, f64::NAN] {
        assert!(!admitted(quorum, Some(1000), true), "{quorum}");
    }
}

#[test]
fn a_round_that_was_tried_too_often_says_what_would_change_its_outcome() {
    let reason = |simulate| {
        let mut trigger = trigger(0, ATTEMPTS, None);
        trigger.resolved.simulate = simulate;
        match admit(&trigger, Known::default()) {
            Admission::Refuse(reason) => reason,
            other => format!("{other:?}"),
        }
    };
    let calm = reason(Simulate::default());
    assert_eq!(
        calm,
        "a round is tried 3 times at most: mend what failed and use another name"
    );
    let simulated = reason(Simulate {
        offline: Some(Offline { parties: 1 }),
        ..Simulate::default()
    });
    assert!(
        simulated.starts_with("a round is tried 3 times at most: change the seed, or the quorum or [simulate]"),
        "{simulated}"
    );
}

#[test]
fn a_trigger_starts_its_round_once_and_in_order() {
    let failed = |round, attempt| {
        let missing = BTreeMap::new();
        let step = "predict".to_owned();
        ((round, attempt), Ending::Failed { step, missing })
    };
    let stopped = |round, attempt| ((round, attempt), Ending::Stopped);
    let finished = |round, attempt| ((round, attempt), Ending::Finished);
    let going = Known {
        before_done: true,
        ..Known::default()
    };
    let (starts, ignored, refused) = (Some(true), Some(false), None);
    let archive = Some(0);
    for (what, round, attempt, after, ended, known, expected) in [
        ("the first round", 0, 0, None, None, Known::default(), starts),
        (
            "a round whose predecessor is not done",
            2,
            0,
            None,
            None,
            Known::default(),
            refused,
        ),
        ("the next round", 2, 0, archive, None, going, starts),
        (
            "a round that is done",
            2,
            0,
            None,
            None,
            Known { done: true, ..going },
            ignored,
        ),
        (
            "an attempt that has failed",
            2,
            0,
            None,
            Some(failed(2, 0)),
            going,
            ignored,
        ),
        ("the attempt after it", 2, 1, None, Some(failed(2, 0)), going, starts),
        ("the attempt after that", 2, 2, None, Some(failed(2, 0)), going, refused),
        (
            "another attempt where none has failed",
            2,
            1,
            None,
            None,
            going,
            refused,
        ),
        ("a fourth attempt", 2, 3, None, Some(failed(2, 2)), going, refused),
        (
            "the attempt after a stop",
            2,
            1,
            None,
            Some(stopped(2, 0)),
            going,
            starts,
        ),
        (
            "the archive's trigger after a stop",
            3,
            0,
            archive,
            Some(stopped(2, 0)),
            going,
            ignored,
        ),
        (
            "a person's trigger after a stop",
            3,
            0,
            None,
            Some(stopped(2, 0)),
            going,
            starts,
        ),
        (
            "the archive's trigger of an attempt after the stop",
            3,
            0,
            Some(1),
            Some(stopped(2, 0)),
            going,
            starts,
        ),
        (
            "the archive's trigger two rounds after a stop",
            4,
            0,
            archive,
            Some(stopped(2, 0)),
            going,
            starts,
        ),
        (
            "the archive's trigger, a stop, and a plan before it",
            3,
            0,
            archive,
            Some(stopped(2, 0)),
            Known { planned: true, ..going },
            starts,
        ),
        (
            "the archive's trigger of a round that failed late",
            3,
            0,
            archive,
            Some(failed(2, 0)),
            going,
            starts,
        ),
        ("a longer run", 3, 0, None, Some(finished(2, 0)), going, starts),
        (
            "a trigger from before the end",
            2,
            0,
            None,
            Some(finished(3, 1)),
            going,
            ignored,
        ),
    ] {
        let known = Known {
            ended: ended.as_ref(),
            ..known
        };
        let found = match admit(&trigger(round, attempt, after), known) {
            Admission::Start => Some(true),
            Admission::Ignore => Some(false),
            Admission::Refuse(_) => None,
        };
        assert_eq!(found, expected, "{what}");
    }
}

#[test]
fn a_run_whose_pipeline_breaks_a_rule_is_refused_with_its_key_and_its_fix() {
    let refused = |change: fn(&mut Trigger)| {
        let mut trigger = trigger(0, 0, None);
        change(&mut trigger);
        match admit(&trigger, Known::default()) {
            Admission::Refuse(reason) => reason,
            other => format!("{other:?}"),
        }
    };
    assert_eq!(refused(|_| ()), "Start");
    let reason = refused(|trigger| trigger.resolved.pipeline.discloses.clear());
    assert!(
        reason.starts_with("the run's pipeline cannot be run: resolved.pipeline.discloses: step "),
        "{reason}"
    );
    let reason = refused(|trigger| trigger.resolved.pipeline.round.retain(|step| step.name != "join"));
    assert!(
        reason
            .contains("resolved.pipeline.round[2].terms[0].target: step 'digest' learns from a consensus that no step")
            && reason.contains("put steps of the stages predict, aggregate and join before it"),
        "{reason}"
    );
    // What has been served is not asked again: its run may be of another release.
    let mut served = trigger(0, 0, None);
    served.resolved.pipeline.discloses.clear();
    let known = Known {
        done: true,
        ..Known::default()
    };
    assert_eq!(admit(&served, known), Admission::Ignore);
}

#[test]
fn a_run_that_could_not_select_or_never_end_is_refused() {
    let answered = |change: fn(&mut Trigger), repeated| {
        let mut trigger = trigger(0, 0, None);
        change(&mut trigger);
        let known = Known {
            repeated,
            ..Known::default()
        };
        match admit(&trigger, known) {
            Admission::Refuse(reason) => reason,
            other => format!("{other:?}"),
        }
    };
    let too_few = |trigger: &mut Trigger| trigger.resolved.selection = Selection::Random { active: 2 };
    let reason = answered(too_few, false);
    assert!(reason.contains("close.quorum 1 asks for 3 of 3 parties"), "{reason}");
    let offline = |trigger: &mut Trigger| trigger.resolved.simulate.offline = Some(Offline { parties: 1 });
    let reason = answered(offline, false);
    assert!(reason.contains("simulate.offline needs close.deadline_ms"), "{reason}");
    assert_eq!(answered(offline, true), "Start", "who is in is known");
    let in_time = |trigger: &mut Trigger| {
        trigger.resolved.simulate.offline = Some(Offline { parties: 1 });
        trigger.close.deadline_ms = Some(1000);
    };
    assert_eq!(answered(in_time, false), "Start");
}
