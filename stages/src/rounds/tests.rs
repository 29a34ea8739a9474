use super::*;
use crate::phase::OpenPhase;
use fedstill_schemas::events::{Answer, Close, Outcome, Usage};

const CLOSE: Close = Close {
    quorum: 0.3,
    deadline_ms: None,
};

/// Round 1 of a run of three parties, with so many phases closed, in which only some take part.
fn round_one(phases: usize, present: impl Fn(Subject) -> bool) -> Round {
    let mut round = Round {
        planned: Arc::new(crate::simulation::planned(1, CLOSE)),
        closed: Vec::new(),
    };
    for _ in 0..phases {
        let mut phase = OpenPhase::new(round.clone(), 0);
        let mut tasks: Vec<Task> = round.cohort().into_values().collect();
        while !tasks.is_empty() {
            for task in tasks.iter().filter(|task| present(task.subject)) {
                phase.fold(&done(task));
            }
            tasks = phase.due();
            phase.handed_out();
        }
        round.closed.push(Arc::new(phase.close(vec![7, 7])));
    }
    round
}

fn done(task: &Task) -> Answer {
    let result = Reference {
        round: task.at.round,
        step: task.step.clone(),
        subject: task.subject,
        task: task.digest(),
        sha256: task.digest(),
    };
    Answer {
        version: VERSION,
        at: task.at.clone(),
        phase: task.phase,
        step: task.step.clone(),
        subject: task.subject,
        outcome: Outcome::Done {
            result,
            usage: Usage::default(),
        },
    }
}

fn read_steps(task: &Task) -> Vec<(&str, u32, &str)> {
    let reads = task.reads.iter();
    reads
        .map(|(name, read)| (&name[..], read.round, &read.step[..]))
        .collect()
}

#[test]
fn every_stage_reads_what_was_made_for_it() {
    let all = |_| true;
    let of = |phase: usize, subject: Subject| round_one(phase, all).cohort().remove(&subject).unwrap();
    let party = Subject::Party(1);
    assert_eq!(read_steps(&of(0, party)), [("model", 0, "transfer")]);
    // What everybody predicted is found through the closed phase: a record does not grow with the parties.
    let aggregate = of(1, Subject::Partition(0));
    assert!(aggregate.reads.is_empty());
    let without_one = round_one(1, |subject| subject != party)
        .cohort()
        .remove(&Subject::Partition(0));
    assert_ne!(
        aggregate.digest(),
        without_one.unwrap().digest(),
        "and yet it is another task"
    );
    assert_eq!(
        read_steps(&of(2, Subject::Server)),
        [("partition-0", 1, "aggregate"), ("partition-1", 1, "aggregate")]
    );
    let digest = of(3, party);
    assert_eq!(
        read_steps(&digest),
        [("consensus", 1, "join"), ("model", 0, "transfer")]
    );
    let archive = of(4, Subject::Server);
    assert!(archive.reads.is_empty() && archive.members.is_some());
}

#[test]
fn a_member_goes_on_from_what_it_made_in_the_phase() {
    let round = round_one(3, |_| true);
    let party = Subject::Party(0);
    let mut done_so_far = Vec::new();
    let mut steps = Vec::new();
    while let Some(task) = round.task(party, &done_so_far) {
        steps.push((task.step.clone(), task.reads[MODEL].step.clone()));
        let Outcome::Done { result, usage } = done(&task).outcome else {
            unreachable!("done says so");
        };
        done_so_far.push(Done { result, usage });
    }
    let expected = [("digest", "transfer"), ("revisit", "digest"), ("evaluate", "revisit")];
    assert_eq!(steps, expected.map(|(step, model)| (step.to_owned(), model.to_owned())));
}

#[test]
fn who_lacks_an_input_is_not_in_the_cohort() {
    let without_predictions = round_one(3, |subject| subject != Subject::Party(2));
    assert_eq!(
        without_predictions.cohort().len(),
        3,
        "a party that has not predicted learns all the same"
    );
    let nobody = round_one(1, |subject| !matches!(subject, Subject::Party(_)));
    assert!(nobody.cohort().is_empty(), "there is nothing to aggregate");
    let mut planned = crate::simulation::planned(1, CLOSE);
    let before = planned.manifest.as_mut().unwrap();
    before.slots.remove(&Subject::Party(2));
    let round = Round {
        planned: Arc::new(planned),
        closed: Vec::new(),
    };
    let cohort: Vec<Subject> = round.cohort().into_keys().collect();
    assert_eq!(cohort, [Subject::Party(0), Subject::Party(1)], "party 2 has no model");
}

#[test]
fn a_manifest_keeps_the_model_of_who_was_not_there() {
    let round = round_one(4, |subject| subject != Subject::Party(2));
    let manifest = round.manifest();
    let made_by = |slot| {
        let model = &manifest.slots[&Subject::Party(slot)];
        (model.round, model.step.as_str())
    };
    assert_eq!(made_by(1), (1, "revisit"));
    assert_eq!(made_by(2), (0, "transfer"));
    let scored: Vec<Subject> = manifest.scores.into_keys().collect();
    assert_eq!(scored, [Subject::Party(0), Subject::Party(1)]);
}
