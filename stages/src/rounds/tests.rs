use super::*;
use crate::phase::OpenPhase;
use fedstill_schemas::events::{Answer, Close, Outcome, Usage};

const CLOSE: Close = Close {
    quorum: 0.3,
    deadline_ms: None,
};

/// Round 1 of a run of three parties, with so many phases closed, in which only some take part.
fn round_one(phases: usize, present: impl Fn(Subject) -> bool) -> Round {
    closed(crate::simulation::planned(1, CLOSE), phases, |_, subject| {
        present(subject)
    })
}

/// An attempt with so many phases closed, in each of which only some take part.
fn closed(planned: Planned, phases: usize, present: impl Fn(usize, Subject) -> bool) -> Round {
    let mut round = Round {
        planned: Arc::new(planned),
        closed: Vec::new(),
    };
    for index in 0..phases {
        let mut phase = OpenPhase::new(round.clone(), 0);
        let mut tasks: Vec<Task> = round.cohort().into_values().collect();
        while !tasks.is_empty() {
            for task in tasks.iter().filter(|task| present(index, task.subject)) {
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

/// Round 1 of three parties, of which the first and the last share an architecture: they train on their own rows and
/// predict, and after the join learn from the consensus; then the server averages what they learned, in phase 4.
fn averaging(by: By) -> Planned {
    let mut planned = crate::simulation::planned(1, CLOSE);
    let step = |name: &str| planned.run.pipeline.step(1, name).unwrap().clone();
    let average = Step {
        rule: Some(Rule::Weights(by)),
        ..Step::new("average", Stage::Average, Who::Architectures)
    };
    let mut steps = ["revisit", "predict", "aggregate", "join", "digest", "evaluate"]
        .map(step)
        .to_vec();
    steps.push(average);
    planned.run.pipeline.round = steps;
    planned.phases = phases(&planned.run.pipeline, 1);
    planned
}

/// The parties whose models an architecture's mean combines; none where there is no mean.
fn averaged(round: &Round, architecture: u32) -> Vec<Subject> {
    let models = round.averaged("average", Subject::Architecture(architecture));
    let models = models.unwrap_or_default();
    assert!(models.values().all(|model| model.step == "digest"), "{models:?}");
    models.into_keys().collect()
}

#[test]
fn a_mean_by_samples_counts_the_rows_of_the_step_that_trained_on_private_ones() {
    let everyone = closed(averaging(By::Samples), 4, |_, _| true);
    for slot in 0..3 {
        let trained = everyone.on_private_rows(Subject::Party(slot)).unwrap();
        assert_eq!((&trained.step[..], trained.subject), ("revisit", Subject::Party(slot)));
    }
    assert_eq!(averaged(&everyone, 0), [Subject::Party(0), Subject::Party(2)]);
    assert_eq!(averaged(&everyone, 1), [Subject::Party(1)]);

    // Party 2 has not trained in the round, and learned from the others' consensus all the same.
    let late = |phase: usize, subject: Subject| (phase, subject) != (0, Subject::Party(2));
    let by_samples = closed(averaging(By::Samples), 4, late);
    assert_eq!(by_samples.on_private_rows(Subject::Party(2)), None);
    assert_eq!(averaged(&by_samples, 0), [Subject::Party(0)]);
    let by_parties = closed(averaging(By::Parties), 4, late);
    assert_eq!(averaged(&by_parties, 0), [Subject::Party(0), Subject::Party(2)]);

    // What starts from the server's model forgets what was trained before.
    let mut anew = averaging(By::Samples);
    let digests = anew.run.pipeline.round.iter_mut().filter(|step| step.name == "digest");
    digests.for_each(|step| step.start = Start::Prototype);
    let anew = closed(anew, 4, |_, _| true);
    assert_eq!(anew.on_private_rows(Subject::Party(0)), None);
    assert!(averaged(&anew, 0).is_empty());
}

#[test]
fn an_architecture_that_nobody_trained_keeps_its_prototype_and_the_others_go_on() {
    for by in [By::Samples, By::Parties] {
        let round = closed(averaging(by.clone()), 4, |_, subject| subject != Subject::Party(1));
        assert!(averaged(&round, 1).is_empty(), "{by:?}");
        let cohort: Vec<Subject> = round.cohort().into_keys().collect();
        assert_eq!(cohort, [Subject::Architecture(0)], "{by:?}");

        let round = closed(averaging(by.clone()), 5, |_, subject| subject != Subject::Party(1));
        assert!(round.closed[4].enough, "{by:?}");
        let before = round.planned.manifest.as_ref().unwrap();
        let manifest = round.manifest();
        let slot = Subject::Architecture(1);
        assert_eq!(manifest.slots[&slot], before.slots[&slot], "{by:?}");
        assert_eq!(manifest.slots[&Subject::Architecture(0)].step, "average", "{by:?}");
    }
}
