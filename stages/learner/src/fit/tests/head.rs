//! The penalty on the head's weights.

use super::{rows, sgd};
use crate::mode::Mode;
use crate::networks;
use crate::registry::{Network, Parameter};
use crate::safetensors_file::{Stored, read};
use crate::testing::{SHAPE, adam, architecture, job, labels, patterns, run};
use crate::{Fitted, LearnError, Registry, Tensors, fit};
use burn::tensor::Tensor;
use fedstill_schemas::fit::Fit;

/// One step on all rows at once, with that rate and that penalty.
fn fitted(name: &str, lr: f64, head_l2: f64) -> Fitted {
    let data = patterns(SHAPE, 64, 4);
    let rows = rows(64);
    let architecture = architecture(name);
    let settings = Fit {
        optimizer: sgd(lr),
        head_l2,
        ..adam(1, 64)
    };
    run(&job(&architecture, vec![labels(&data, &rows)], &settings)).unwrap()
}

#[test]
fn the_head_s_weights_are_held_near_zero_and_no_others() {
    const LR: f64 = 0.5;
    const L2: f64 = 0.1;
    for (name, head) in [
        ("mlp[8]", "fc2.weight"),
        ("lenet", "fc3.weight"),
        ("fedmd[4,4;0.2]", "fc.weight"),
    ] {
        // A step too small to change a float32 leaves what it started from.
        let zero = read(&fitted(name, 1e-30, 0.0).weights).unwrap();
        let plain = read(&fitted(name, LR, 0.0).weights).unwrap();
        let held = read(&fitted(name, LR, L2).weights).unwrap();
        for (tensor, value) in &held {
            if tensor != head {
                assert_eq!(*value, plain[tensor], "{name} {tensor}");
                continue;
            }
            let (Stored::Floats(_, zero), Stored::Floats(_, plain), Stored::Floats(_, held)) =
                (&zero[tensor], &plain[tensor], value)
            else {
                panic!("{tensor} is a counter");
            };
            assert_ne!(held, plain, "{name}");
            for ((zero, plain), held) in zero.iter().zip(plain).zip(held) {
                let expected = f64::from(*plain) - LR * 2.0 * L2 * f64::from(*zero);
                assert!((f64::from(*held) - expected).abs() < 1e-6, "{name}: {held} {expected}");
            }
        }
        assert!(held.contains_key(head), "{name} has no {head}");
    }
}

#[test]
fn the_loss_that_is_reported_is_that_of_the_terms_alone() {
    let (plain, held) = (fitted("mlp[8]", 0.5, 0.0), fitted("mlp[8]", 0.5, 10.0));
    assert_eq!(held.loss, plain.loss);
    assert_ne!(held.weights, plain.weights);
}

/// A network that calls a tensor its head which it does not have.
struct Headless(Box<dyn Network>);

impl Network for Headless {
    fn parameters(&self) -> Vec<Parameter> {
        self.0.parameters()
    }

    fn forward(&self, tensors: &Tensors, images: Tensor<4>, mode: &mut Mode) -> Tensor<2> {
        self.0.forward(tensors, images, mode)
    }

    fn head(&self) -> String {
        "none.weight".to_owned()
    }

    fn multiply_adds(&self) -> f64 {
        self.0.multiply_adds()
    }
}

#[test]
fn a_penalty_that_would_change_nothing_is_refused() {
    let registry = Registry::default().with("headless", |_, shape, classes| {
        let network = networks::mlp(&architecture("mlp[4]"), shape, classes)?;
        Ok(Box::new(Headless(network)))
    });
    let data = patterns(SHAPE, 16, 4);
    let rows = rows(16);
    let architecture = architecture("headless");
    let with = |head_l2| {
        let settings = Fit { head_l2, ..adam(1, 8) };
        fit(&registry, &job(&architecture, vec![labels(&data, &rows)], &settings))
    };
    assert!(with(0.0).is_ok());
    let refused: Option<LearnError> = with(0.001).err();
    let text = refused.map_or_else(String::new, |error| error.to_string());
    assert!(text.contains("head_l2 must be 0 with this family"), "{text}");
}
