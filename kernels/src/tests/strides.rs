//! Operands that are parts of larger tensors: they begin at an offset and go on by a step.

use super::cases::values;
use super::{both, devices, half_matrix, labels, matrix, vector};
use crate::{
    Averaged, Kl, Reduction, Sharpening, Weights, cross_entropy_kl, ensemble, entropy, log_softmax, mae, mse, softmax,
    softmax_kl,
};
use burn::tensor::{Device, Int, Tensor, s};

const ROWS: usize = 9;
const CLASSES: usize = 31;
/// Of these, every second row from the second on, and every third class from the third on.
const PART: [usize; 2] = [4, 10];

fn part(seed: u64, half: bool, device: &Device) -> Tensor<2> {
    let make = if half { half_matrix } else { matrix };
    let whole = make(&values(seed, ROWS * CLASSES, 3.0, false), [ROWS, CLASSES], device);
    whole.slice(s![1..9;2, 2..31;3])
}

/// The same values, as they lie when they are all that there is.
fn alone(seed: u64, half: bool, device: &Device) -> Tensor<2> {
    let whole = values(seed, ROWS * CLASSES, 3.0, false);
    let [rows, classes] = PART;
    let place = |i: usize| (1 + 2 * (i / classes)) * CLASSES + 2 + 3 * (i % classes);
    let part: Vec<f32> = (0..rows * classes).map(|i| whole[place(i)]).collect();
    let make = if half { half_matrix } else { matrix };
    make(&part, PART, device)
}

fn every_second_label(device: &Device) -> Tensor<1, Int> {
    labels(&[0, 3, 9, 9, 9, 0, 9, 7, 9], device).slice(s![1..9;2])
}

#[test]
fn losses_of_parts_of_tensors_are_those_of_their_values() {
    for (name, device) in devices() {
        for half in [false, true] {
            let kl = Kl {
                temperature: 2.0,
                reduction: Reduction::None,
                ..Kl::default()
            };
            let chosen = || labels(&[3, 9, 0, 7], &device);
            let same =
                |what: &str, of_parts: &dyn Fn(Tensor<2>) -> Tensor<1>, of_values: &dyn Fn(Tensor<2>) -> Tensor<1>| {
                    let found = both(part(1, false, &device), of_parts);
                    assert_eq!(found, both(alone(1, false, &device), of_values), "{what} on the {name}");
                };
            let teacher = || part(2, half, &device);
            let values = || alone(2, half, &device);
            same(
                "cross entropy and KL",
                &|student| {
                    cross_entropy_kl(student, every_second_label(&device), teacher(), kl, [0.5, 2.0], true).unwrap()
                },
                &|student| cross_entropy_kl(student, chosen(), values(), kl, [0.5, 2.0], true).unwrap(),
            );
            let weights = || Tensor::<1>::from_data([9.0, 1.0, 2.0, 0.0, 9.0, 3.0], &device).slice(s![1..6]);
            let of_rows = |weights: Tensor<1>| weights.slice(s![0..4]);
            same(
                "KL of weighted rows",
                &|student| softmax_kl(student, teacher(), kl, Some(of_rows(weights())), None).unwrap(),
                &|student| {
                    let weights = Tensor::from_data([1.0, 2.0, 0.0, 9.0], &device);
                    softmax_kl(student, values(), kl, Some(weights), None).unwrap()
                },
            );
            same("MAE", &|student| mae(student, teacher()).unwrap(), &|student| {
                mae(student, values()).unwrap()
            });
            same("MSE", &|student| mse(student, teacher()).unwrap(), &|student| {
                mse(student, values()).unwrap()
            });
        }
    }
}

#[test]
fn probabilities_and_averages_of_parts_of_tensors_are_those_of_their_values() {
    for (name, device) in devices() {
        for half in [false, true] {
            let all = |logits: Tensor<2>| {
                [
                    vector(softmax(logits.clone(), 2.0).unwrap()),
                    vector(log_softmax(logits.clone(), 2.0).unwrap()),
                    vector(entropy(logits, 2.0).unwrap()),
                ]
            };
            assert_eq!(
                all(part(3, half, &device)),
                all(alone(3, half, &device)),
                "on the {name}"
            );
            for averaged in [Averaged::Values, Averaged::Probabilities] {
                let make = if half { half_matrix } else { matrix };
                // Two of four parties, two rows of three, and six classes of ten.
                let numbers = values(4, 4 * 3 * 10, 3.0, false);
                let whole: Tensor<3> = make(&numbers, [12, 10], &device).reshape([4, 3, 10]);
                let parts = whole.slice(s![1..4;2, 1..3, 4..10]);
                let place = |i: usize| ((1 + 2 * (i / 12)) * 3 + 1 + i / 6 % 2) * 10 + 4 + i % 6;
                let own: Vec<f32> = (0..24).map(|i| numbers[place(i)]).collect();
                let own: Tensor<3> = make(&own, [4, 6], &device).reshape([2, 2, 6]);
                let weights = Tensor::<1>::from_data([9.0, 1.0, 9.0, 3.0], &device).slice(s![1..4;2]);
                let found = ensemble(parts, &Weights::Party(weights), averaged, Sharpening::None);
                let weights = Weights::Party(Tensor::from_data([1.0, 3.0], &device));
                let expected = ensemble(own, &weights, averaged, Sharpening::None);
                assert_eq!(
                    vector(found.unwrap()),
                    vector(expected.unwrap()),
                    "{averaged:?} on the {name}"
                );
            }
        }
    }
}
