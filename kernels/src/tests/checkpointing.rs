//! Burn's gradient checkpointing, which computes again in the backward pass what it did not keep.

use super::cases::values;
use super::{devices, labels, matrix, vector};
use crate::{Kl, cross_entropy_kl};
use burn::tensor::Device;

#[test]
fn checkpointing_changes_no_loss_and_no_gradient() {
    let (logits, said) = (values(31, 60, 3.0, false), values(32, 60, 3.0, false));
    for (name, device) in devices() {
        let kl = Kl {
            temperature: 2.0,
            ..Kl::default()
        };
        let run = |on: &Device| {
            let leaf = matrix(&logits, [6, 10], on).require_grad();
            // What is before the loss is computed again, which the loss must not be confused by.
            let student = leaf.clone().mul_scalar(0.5).exp();
            let chosen = labels(&[1, 2, 3, 4, 5, 9], &device);
            let teacher = matrix(&said, [6, 10], &device);
            let loss = cross_entropy_kl(student, chosen, teacher, kl, [0.5, 2.0], false).unwrap();
            let gradients = loss.clone().backward();
            (vector(loss.inner()), vector(leaf.grad(&gradients).unwrap()))
        };
        let (loss, gradient) = run(&device.clone().autodiff());
        assert!(gradient.iter().any(|slope| slope.abs() > 1e-3), "{name}");
        let checkpointed = run(&device.clone().autodiff().gradient_checkpointing());
        assert_eq!(checkpointed, (loss, gradient), "on the {name}");
    }
}
