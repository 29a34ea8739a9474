use super::*;
use crate::rounds::Round;
use fedstill_schemas::digest::Digest;
use fedstill_schemas::events::{Close, Missing, Usage};
use fedstill_schemas::task::Reference;
use std::sync::Arc;

const OPENED: i64 = 1_000;

/// The second phase of round 0 (transfer, evaluate) of three parties, two needed, a deadline of a second.
fn phase() -> OpenPhase {
    let close = Close {
        quorum: 0.5,
        deadline_ms: Some(1_000),
    };
    let round = Round {
        planned: Arc::new(crate::simulation::planned(0, close)),
        closed: Vec::new(),
    };
    let mut first = OpenPhase::new(round.clone(), OPENED);
    for task in round.cohort().values() {
        assert_eq!(first.fold(&done(task)), Folded::Counted);
    }
    assert!(first.complete());
    let closed = vec![Arc::new(first.close(Vec::new()))];
    OpenPhase::new(Round { closed, ..round }, OPENED)
}

fn party(slot: u32) -> Subject {
    Subject::Party(slot)
}

fn answer(task: &Task, outcome: Outcome) -> Answer {
    Answer {
        version: VERSION,
        at: task.at.clone(),
        phase: task.phase,
        step: task.step.clone(),
        subject: task.subject,
        outcome,
    }
}

fn done_with(task: &Task, bytes: &[u8]) -> Answer {
    let result = Reference {
        round: task.at.round,
        step: task.step.clone(),
        subject: task.subject,
        task: task.digest(),
        sha256: Digest::of(bytes),
    };
    let usage = Usage::default();
    answer(task, Outcome::Done { result, usage })
}

fn done(task: &Task) -> Answer {
    done_with(task, b"result")
}

fn failed(task: &Task) -> Answer {
    let reason = "no luck".to_owned();
    answer(task, Outcome::Failed { reason })
}

fn next(phase: &OpenPhase, slot: u32) -> Task {
    phase.members[&party(slot)].next.clone().unwrap()
}

#[test]
fn the_first_answer_of_a_step_counts() {
    let mut phase = phase();
    let transfer = next(&phase, 0);
    assert_eq!(phase.fold(&done_with(&transfer, b"one")), Folded::Counted);
    assert_eq!(phase.fold(&done_with(&transfer, b"two")), Folded::Repeat);
    assert_eq!(phase.fold(&failed(&transfer)), Folded::Repeat);
    let evaluate = next(&phase, 0);
    assert_eq!(evaluate.reads["model"].sha256, Digest::of(b"one"));
    assert_eq!(phase.fold(&failed(&evaluate)), Folded::Counted);
    assert_eq!(phase.fold(&done(&evaluate)), Folded::Repeat);
    assert_eq!(phase.progress(), (1, 3));
}

#[test]
fn what_answers_no_task_of_the_phase_changes_nothing() {
    let mut phase = phase();
    let transfer = next(&phase, 0);
    let unknown = |phase: &mut OpenPhase, change: fn(&mut Answer)| {
        let mut answer = done(&transfer);
        change(&mut answer);
        matches!(phase.fold(&answer), Folded::Unknown(_))
    };
    assert!(unknown(&mut phase, |answer| answer.subject = party(9)));
    assert!(unknown(&mut phase, |answer| answer.step = "digest".to_owned()));
    assert!(
        unknown(&mut phase, |answer| answer.step = "evaluate".to_owned()),
        "not yet"
    );
    assert!(
        unknown(&mut phase, |answer| answer.subject = party(1)),
        "party 0's result"
    );
    assert!(unknown(&mut phase, |answer| {
        if let Outcome::Done { result, .. } = &mut answer.outcome {
            result.task = Digest::of(b"another task");
        }
    }));
    assert_eq!(phase.progress(), (0, 3));
}

#[test]
fn a_task_is_due_until_it_was_handed_out_and_again_in_the_next_assignment() {
    let mut phase = phase();
    assert!(
        phase.due().is_empty(),
        "whoever opens a phase publishes its first tasks"
    );
    let transfer = next(&phase, 0);
    phase.fold(&done(&transfer));
    let due = phase.due();
    assert_eq!(due.iter().map(|task| &task.step[..]).collect::<Vec<_>>(), ["evaluate"]);
    assert_eq!(phase.due(), due, "publishing it may have failed");
    phase.handed_out();
    assert!(phase.due().is_empty());
    phase.fold(&done(&transfer));
    assert!(phase.due().is_empty(), "a repeat hands nothing out");
    let mut again = OpenPhase::new(phase.round().clone(), OPENED);
    again.fold(&done(&transfer));
    assert_eq!(again.due(), due);
}

#[test]
fn a_phase_closes_with_who_has_done_all_steps_and_names_the_others() {
    let mut phase = phase();
    for slot in [0, 1] {
        phase.fold(&done(&next(&phase, slot)));
    }
    phase.fold(&done(&next(&phase, 0)));
    phase.fold(&failed(&next(&phase, 2)));
    assert!(!phase.complete());
    assert!(!phase.overdue(OPENED + 999) && phase.overdue(OPENED + 1_000));
    let late = phase.close(Vec::new());
    assert!(!late.enough, "one of three, and two are needed");
    assert_eq!(late.members.keys().collect::<Vec<_>>(), [&party(0)]);
    assert_eq!(late.missing[&party(1)], Missing::Late);
    assert_eq!(late.missing[&party(2)].to_string(), "transfer: no luck");
    phase.fold(&done(&next(&phase, 1)));
    assert!(phase.complete());
    let closed = phase.close(vec![4, 2]);
    assert!(closed.enough);
    assert_eq!(closed.members[&party(1)].len(), 2);
    assert_eq!(closed.logits_end, [4, 2]);
}
