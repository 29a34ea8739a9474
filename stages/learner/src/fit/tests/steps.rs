//! How many steps a job takes, and how far each goes.

use super::{distance, rows, sgd};
use crate::batches::Batches;
use crate::testing::{SHAPE, adam, architecture, job, labels, patterns, run};
use crate::{FitJob, LearnError, Registry, Stream, evaluate, steps_of};
use fedstill_schemas::fit::{EarlyStop, Fit, Schedule};
use std::cell::Cell;

#[test]
fn short_batches_count_and_single_rows_do_not() {
    let data = patterns(SHAPE, 20, 2);
    let architecture = architecture("cnn[2]");
    let settings = adam(1, 4);
    let steps = |len| {
        let rows = rows(len);
        run(&job(&architecture, vec![labels(&data, &rows)], &settings)).map(|fitted| fitted.steps)
    };
    assert_eq!(steps(8).unwrap(), 2);
    assert_eq!(steps(10).unwrap(), 3);
    assert_eq!(steps(9).unwrap(), 2);
    assert_eq!(steps(2).unwrap(), 1);
    assert!(matches!(steps(1), Err(LearnError::TooFewRows { rows: 1, least: 2 })));
    assert!(matches!(steps(0), Err(LearnError::TooFewRows { rows: 0, .. })));
}

#[test]
fn the_steps_of_a_job_are_known_before_it() {
    let data = patterns(SHAPE, 41, 2);
    let architecture = architecture("mlp[4]");
    let stopping = Fit {
        stop: Some(EarlyStop::after(100, 0.0)),
        ..adam(3, 4)
    };
    let in_steps = Fit {
        steps: Some(7),
        ..adam(3, 4)
    };
    for (name, settings) in [("epochs", adam(3, 4)), ("held out", stopping), ("steps", in_steps)] {
        for len in [3, 4, 5, 9, 10, 11, 40, 41] {
            let rows = rows(len);
            let fitted = run(&job(&architecture, vec![labels(&data, &rows)], &settings)).unwrap();
            assert_eq!(steps_of(&settings, rows.len()), fitted.steps, "{name}, {len} rows");
        }
    }
}

#[test]
fn a_job_ends_when_told_to() {
    let data = patterns(SHAPE, 64, 4);
    let rows = rows(64);
    let (architecture, settings) = (architecture("mlp[4]"), adam(1000, 8));
    let asked = Cell::new(0);
    let cancel = || {
        asked.set(asked.get() + 1);
        asked.get() > 20
    };
    let base = job(&architecture, vec![labels(&data, &rows)], &settings);
    assert!(matches!(
        run(&FitJob {
            cancel: &cancel,
            ..base
        }),
        Err(LearnError::Cancelled)
    ));
    assert_eq!(asked.get(), 21);
}

#[test]
fn steps_are_taken_over_as_many_epochs_as_that_needs() {
    let data = patterns(SHAPE, 20, 2);
    let rows = rows(20);
    let architecture = architecture("cnn[2]");
    let fitted = |epochs, steps| {
        let settings = Fit {
            steps,
            ..adam(epochs, 4)
        };
        run(&job(&architecture, vec![labels(&data, &rows)], &settings)).unwrap()
    };
    // Five batches an epoch: what the epochs are set to changes nothing.
    assert_eq!(fitted(0, Some(10)), fitted(2, None));
    assert_eq!(fitted(1, Some(10)), fitted(2, None));
    let twelve = fitted(0, Some(12));
    assert_eq!((twelve.steps, twelve.epochs, twelve.rows), (12, 3, 20));
    let one = fitted(9, Some(1));
    assert_eq!((one.steps, one.epochs), (1, 1));
}

#[test]
fn the_loss_is_that_of_the_steps_of_the_last_epoch() {
    let data = patterns(SHAPE, 8, 4);
    let rows = rows(8);
    let architecture = architecture("mlp[4]");
    // Steps too small to change a float32: the loss of a batch is that of the model as it is returned.
    let settings = Fit {
        optimizer: sgd(1e-30),
        steps: Some(3),
        ..adam(1, 4)
    };
    let job = job(&architecture, vec![labels(&data, &rows)], &settings);
    let fitted = run(&job).unwrap();
    assert_eq!(fitted.epochs, 2);
    let order = Stream::new(job.seed, job.round, job.step, job.subject).fork("order 0");
    let mut batches = Batches::new(rows.clone(), 4, order);
    batches.cycle();
    batches.cycle();
    let third = batches.cycle().unwrap();
    let alone = evaluate(&Registry::default(), &job.model, &fitted.weights, &data, third, 0).unwrap();
    assert!(
        (fitted.loss - alone.loss).abs() < 1e-5,
        "{} {}",
        fitted.loss,
        alone.loss
    );
}

#[test]
fn a_cosine_gives_each_step_its_share_of_the_rate() {
    let data = patterns(SHAPE, 64, 4);
    let rows = rows(64);
    let architecture = architecture("mlp[8]");
    // A batch of all rows, so that the order changes nothing but the last bits.
    let fitted = |settings: &Fit, start| {
        let job = FitJob {
            start,
            ..job(&architecture, vec![labels(&data, &rows)], settings)
        };
        run(&job).unwrap().weights
    };
    let plain = |epochs, lr| Fit {
        optimizer: sgd(lr),
        ..adam(epochs, 64)
    };
    let annealed = Fit {
        schedule: Schedule::Cosine,
        ..plain(2, 0.5)
    };
    // The rates of two steps: the whole, and half of it.
    let first = fitted(&plain(1, 0.5), None);
    let by_hand = fitted(&plain(1, 0.25), Some(&first));
    let found = fitted(&annealed, None);
    assert!(distance(&found, &by_hand) < 1e-6);
    assert!(distance(&found, &fitted(&plain(2, 0.5), None)) > 1e-4);
    // Two steps are two steps, whether they are two epochs or not.
    let in_steps = Fit {
        steps: Some(2),
        epochs: 0,
        ..annealed
    };
    assert_eq!(fitted(&in_steps, None), found);
}
