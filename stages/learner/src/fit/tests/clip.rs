//! The bound on the length of a step's gradient.

use super::{floats, rows, sgd};
use crate::Fitted;
use crate::testing::{SHAPE, adam, architecture, job, labels, patterns, run};
use fedstill_schemas::fit::Fit;

/// A step of the whole gradient on all rows at once.
fn fitted(clip: Option<f64>, lr: f64, proximal: f64, steps: u32) -> Fitted {
    let data = patterns(SHAPE, 64, 4);
    let rows = rows(64);
    let architecture = architecture("mlp[8]");
    let settings = Fit {
        optimizer: sgd(lr),
        steps: Some(steps),
        clip,
        proximal,
        ..adam(1, 64)
    };
    run(&job(&architecture, vec![labels(&data, &rows)], &settings)).unwrap()
}

/// How far one step goes.
fn length(clip: Option<f64>) -> f64 {
    // A step too small to change a float32 leaves what it started from.
    let start = floats(&fitted(None, 1e-30, 0.0, 1).weights);
    let end = floats(&fitted(clip, 1.0, 0.0, 1).weights);
    let squares = start
        .iter()
        .zip(&end)
        .map(|(start, end)| f64::from(end - start).powi(2));
    squares.sum::<f64>().sqrt()
}

#[test]
fn a_step_is_no_longer_than_the_clip() {
    let free = length(None);
    assert!(free > 0.1, "{free}");
    for share in [0.5, 0.01] {
        let clipped = length(Some(share * free));
        assert!((clipped / (share * free) - 1.0).abs() < 1e-3, "{clipped} of {free}");
    }
}

#[test]
fn a_clip_that_no_gradient_reaches_changes_no_bit() {
    let free = fitted(None, 0.5, 0.1, 4);
    assert_eq!(fitted(Some(1e6), 0.5, 0.1, 4), free);
    assert_ne!(fitted(Some(1e-2), 0.5, 0.1, 4).weights, free.weights);
}
