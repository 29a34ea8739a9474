//! What steps of selected parties, averages, ensembles and validation rows come to.

use super::*;
use crate::samples::{resolved, set};
use fedstill_schemas::Digest;
use fedstill_schemas::data::{DataSet, LabelsPer, Shape};
use fedstill_schemas::fit::EarlyStop;
use fedstill_schemas::pipeline::{By, Pipeline, Rule, Selection, Term};
use fedstill_schemas::resolved::{Simulate, Slow};

fn step(stage: Stage, who: Who) -> Step {
    Step::new(&format!("{stage} by {who:?}"), stage, who)
}

fn training(who: Who, on: On, fit: Fit) -> Step {
    let term = Term {
        on,
        target: Target::Labels,
        loss: Loss::CrossEntropy,
        weight: 1.0,
    };
    Step {
        terms: vec![term],
        fit: Some(fit),
        ..step(Stage::Train, who)
    }
}

/// Ten parties of two architectures in turn, four of them in each round: they train, the server averages and evaluates.
pub(super) fn job() -> Job {
    let fit = Fit::new(1, 32, Optimizer::adam(1e-3), None);
    let average = Step {
        rule: Some(Rule::Weights(By::Samples)),
        ..step(Stage::Average, Who::Architectures)
    };
    let round = vec![
        training(Who::Selected, On::Private, fit),
        average,
        step(Stage::Evaluate, Who::Architectures),
        step(Stage::Evaluate, Who::Server),
    ];
    let architecture = |slot: u32| format!("mlp[{}]", 8 + slot % 2).parse().unwrap();
    Job {
        id: "a-b-0".to_owned(),
        resolved: ResolvedRun {
            pipeline: Pipeline {
                name: "b".to_owned(),
                discloses: vec![Disclosure::Weights, Disclosure::Prototypes],
                warmup: vec![step(Stage::Pretrain, Who::Architectures)],
                round,
            },
            parties: (0..10).map(architecture).collect(),
            private: set(1000),
            test: set(30),
            selection: Selection::Random { active: 4 },
            ..resolved()
        },
    }
}

/// A second a row, forward and backward, and a hundredth forward only.
fn rates(run: &ResolvedRun) -> Rates {
    let architectures = run.architectures().into_iter();
    architectures.map(|own| (network(run, own), (1.0, 0.01))).collect()
}

#[test]
fn steps_of_the_optimizer_are_batches_of_what_there_is() {
    let mut fit = Fit::new(7, 32, Optimizer::adam(1e-3), None);
    let trained = |fit: &Fit, rows| work(&job(), &training(Who::Parties, On::Private, fit.clone()), rows).trained;
    assert_eq!(trained(&fit, 100), 700);
    fit.steps = Some(50);
    assert_eq!(trained(&fit, 100), 50 * 32);
    assert_eq!(trained(&fit, 20), 50 * 20);
}

#[test]
fn predictions_at_every_position_take_as_many_bytes_and_rows_are_windows() {
    let mut job = job();
    let shape = Shape {
        channels: 1,
        height: 1,
        width: 80,
    };
    let text = DataSet::whole(Digest::of(b"text"), 1000, 82, shape);
    job.resolved.private = text.clone();
    job.resolved.public = Some(text);
    job.resolved.alignment = 100;
    let architecture = "charlstm[1]".parse().unwrap();
    let once = network(&job.resolved, &architecture);
    // Values, indices, and the frames of a chunk.
    assert_eq!(wire(&job), (16_400 + 400 + 1100, 32_800 + 400 + 1100));
    assert_eq!(logits(&job.resolved), 100 * 82 * 8);
    job.resolved.private.columns.labels_per = LabelsPer::Position;
    // In chunks of twelve windows.
    let (indices, frames) = (80 * 400, 9 * 1100);
    assert_eq!(
        wire(&job),
        (80 * 16_400 + indices + frames, 80 * 32_800 + indices + frames)
    );
    assert_eq!(logits(&job.resolved), 100 * 80 * 82 * 8);
    job.resolved.test.take = 200;
    assert_eq!(logits(&job.resolved), 200 * 80 * 82 * 16);
    assert_eq!(work(&job, &step(Stage::Predict, Who::Parties), 0).predicted, 100);
    // More heads take longer: what was measured of one network does not stand for the other.
    assert_ne!(network(&job.resolved, &architecture), once);
}

#[test]
fn looks_at_validation_rows_are_predictions() {
    let mut job = job();
    job.resolved.validation = Some(Validation::Private { rows: 60 });
    let mut stop = EarlyStop {
        watch: Watch::Validation,
        every: Some(100),
        ..EarlyStop::after(3, 0.0)
    };
    let predicted = |stop: &EarlyStop, steps| {
        let mut fit = Fit::new(4, 32, Optimizer::adam(1e-3), Some(stop.clone()));
        fit.steps = steps;
        work(&job, &training(Who::Architectures, On::Private, fit), 320).predicted
    };
    // Before the first step, and ten times.
    assert_eq!(predicted(&stop, Some(1000)), 11 * 60);
    stop.every = None;
    assert_eq!(predicted(&stop, None), 5 * 60);
    stop.watch = Watch::HeldOut;
    assert_eq!(predicted(&stop, None), 0);
}

#[test]
fn a_task_is_counted_for_each_subject_that_takes_part() {
    let mut job = job();
    let (archive, architectures) = (1, 2);
    assert_eq!(tasks(&job, 0), architectures + archive);
    assert_eq!(tasks(&job, 1), 4 + 2 * architectures + 1 + archive);
    job.resolved.selection = Selection::All;
    assert_eq!(tasks(&job, 1), 10 + 2 * architectures + 1 + archive);
}

#[test]
fn weights_of_the_parties_of_a_round_cross_and_stay_with_the_average_on_disk() {
    let registry = Registry::default();
    let mut job = job();
    let run = &job.resolved;
    let all: u64 = run.parties.iter().map(|own| model_bytes(run, own, &registry)).sum();
    let prototypes = models(run, Who::Architectures, &registry);
    assert!(all > 0 && prototypes * 5 == all);
    assert_eq!(weights(&job, &registry), all * 2 / 5);
    let draws = 12 * 1000;
    assert_eq!(disk(&job, &(0..=0), &registry), prototypes);
    assert_eq!(disk(&job, &(1..=1), &registry), all * 2 / 5 + prototypes + draws);
    job.resolved.pipeline.discloses.clear();
    assert_eq!(weights(&job, &registry), 0);
}

#[test]
fn time_is_that_of_the_parties_that_take_part_and_of_what_makes_them_slow() {
    let mut job = job();
    // Four parties train on a hundred rows each; the server evaluates two models, and those of four parties.
    let training = 4.0 * 100.0;
    let evaluating = (2.0 + 4.0) * 30.0 * 0.01;
    let about = |job: &Job, seconds: f64| {
        let estimated = super::seconds(job, &(1..=1), &rates(&job.resolved));
        assert!((estimated - seconds).abs() < 1e-6, "{estimated} and not {seconds}");
    };
    about(&job, training + evaluating);
    // Every second party takes three times as long.
    job.resolved.simulate.slow = Some(Slow {
        parties: 5,
        factor: 3.0,
    });
    about(&job, 2.0 * training + evaluating);
    job.resolved.simulate = Simulate::default();
    job.resolved.validation = Some(Validation::Private { rows: 500 });
    about(&job, training / 2.0 + evaluating);
}
