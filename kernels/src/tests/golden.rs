//! Values and gradients against PyTorch's, computed in float64 (`tests/golden`).

use super::{devices, half_matrix, labels, vector};
use crate::{
    Averaged, Kl, Reduction, Sharpening, Weights, add_gram, coefficient_gradient, coefficient_step, cross_entropy,
    ensemble, entropy, mae, median, mse, softmax, softmax_kl, trimmed_mean,
};
use burn::tensor::{Device, Int, Tensor, TensorData};
use safetensors::SafeTensors;
use std::path::PathBuf;

fn folder() -> PathBuf {
    std::env::var_os("FEDSTILL_GOLDEN").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden")),
        PathBuf::from,
    )
}

/// A file of reference values: its tensors and the constants that the index gives for it.
struct Case {
    name: String,
    bytes: Vec<u8>,
    index: serde_json::Value,
}

impl Case {
    fn all(prefix: &str) -> Vec<Self> {
        let index = std::fs::read(folder().join("index.json")).unwrap();
        let index: Vec<serde_json::Value> = serde_json::from_slice(&index).unwrap();
        let cases: Vec<Self> = index
            .into_iter()
            .filter(|entry| entry["file"].as_str().unwrap().starts_with(prefix))
            .map(|index| Self {
                name: index["file"].as_str().unwrap().to_owned(),
                bytes: std::fs::read(folder().join(index["file"].as_str().unwrap())).unwrap(),
                index,
            })
            .collect();
        assert!(cases.len() >= 3, "{} has no files {prefix}*", folder().display());
        cases
    }

    fn constant(&self, name: &str) -> f64 {
        self.index[name].as_f64().unwrap_or(1.0)
    }

    fn count(&self, name: &str) -> usize {
        self.index[name].as_u64().unwrap() as usize
    }

    fn floats(&self, name: &str) -> Vec<f32> {
        let file = SafeTensors::deserialize(&self.bytes).unwrap();
        let bytes = file.tensor(name).unwrap().data();
        bytes
            .as_chunks::<4>()
            .0
            .iter()
            .map(|four| f32::from_le_bytes(*four))
            .collect()
    }

    fn integers(&self, name: &str) -> Vec<i64> {
        let file = SafeTensors::deserialize(&self.bytes).unwrap();
        let bytes = file.tensor(name).unwrap().data();
        let eights = bytes.as_chunks::<8>().0.iter();
        eights.map(|eight| i64::from_le_bytes(*eight)).collect()
    }

    fn labels(&self, device: &Device) -> Tensor<1, Int> {
        let values: Vec<usize> = self.integers("label").iter().map(|label| *label as usize).collect();
        labels(&values, device)
    }

    fn matrix(&self, name: &str, device: &Device) -> Tensor<2> {
        super::matrix(&self.floats(name), [self.count("n"), self.count("c")], device)
    }

    /// The inputs are exact in float16.
    fn half(&self, name: &str, device: &Device) -> Tensor<2> {
        half_matrix(&self.floats(name), [self.count("n"), self.count("c")], device)
    }

    fn agrees(&self, name: &str, values: &[f32]) {
        let reference = self.floats(name);
        assert_eq!(reference.len(), values.len(), "{} {name}", self.name);
        let largest = reference.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
        for (i, (value, reference)) in values.iter().zip(&reference).enumerate() {
            let allowed = 1e-5 * (reference.abs() + largest);
            let error = (value - reference).abs();
            assert!(
                error <= allowed,
                "{} {name}[{i}]: {value} instead of {reference}, {error:e} > {allowed:e}",
                self.name
            );
        }
    }

    /// The loss of the student's logits and its gradient with respect to them.
    fn loss(&self, device: &Device, value: &str, gradient: &str, loss: impl Fn(Tensor<2>) -> Tensor<1>) {
        let (result, slope) = super::both(self.matrix("student", device), loss);
        self.agrees(value, &result);
        self.agrees(gradient, &slope);
    }
}

#[test]
fn kl_agrees_with_the_reference() {
    for (_, device) in devices() {
        for case in Case::all("kl_") {
            let temperature = case.constant("temperature");
            let rows = Kl {
                temperature,
                reduction: Reduction::None,
                ..Kl::default()
            };
            let mean = Kl {
                times_t2: true,
                reduction: Reduction::BatchMean,
                ..rows
            };
            let student = || case.matrix("student", &device);
            for teacher in [case.matrix("teacher", &device), case.half("teacher", &device)] {
                let kl = softmax_kl(student(), teacher.clone(), rows, None, None);
                case.agrees("kl", &vector(kl.unwrap()));
                case.loss(&device, "loss", "grad", |student| {
                    softmax_kl(student, teacher.clone(), mean, None, None).unwrap()
                });
            }
            let probabilities = softmax(case.matrix("teacher", &device), temperature);
            case.agrees("softmax", &vector(probabilities.unwrap()));
        }
    }
}

#[test]
fn kl_divides_by_what_is_asked_for() {
    for case in Case::all("kl_") {
        let device = Device::flex();
        let run = |times_t2, reduction| {
            let kl = Kl {
                temperature: case.constant("temperature"),
                times_t2,
                reduction,
                ..Kl::default()
            };
            let result = softmax_kl(
                case.matrix("student", &device),
                case.matrix("teacher", &device),
                kl,
                None,
                None,
            );
            f64::from(vector(result.unwrap())[0])
        };
        let whole = run(true, Reduction::BatchMean);
        let close = |value: f64| (value - whole).abs() <= 1e-5 * whole;
        assert!(close(
            run(false, Reduction::BatchMean) * case.constant("temperature").powi(2)
        ));
        assert!(close(run(true, Reduction::ElementMean) * case.count("c") as f64));
    }
}

#[test]
fn distances_agree_with_the_reference() {
    for (_, device) in devices() {
        for case in Case::all("regress_") {
            for teacher in [case.matrix("teacher", &device), case.half("teacher", &device)] {
                case.loss(&device, "mae", "mae_grad", |student| {
                    mae(student, teacher.clone()).unwrap()
                });
                case.loss(&device, "mse", "mse_grad", |student| {
                    mse(student, teacher.clone()).unwrap()
                });
            }
        }
    }
}

#[test]
fn cross_entropy_and_not_true_kl_agree_with_the_reference() {
    for (_, device) in devices() {
        for case in Case::all("labels_") {
            case.loss(&device, "ce", "ce_grad", |student| {
                cross_entropy(student, case.labels(&device)).unwrap()
            });
            let kl = Kl {
                temperature: case.constant("temperature"),
                times_t2: true,
                ..Kl::default()
            };
            for teacher in [case.matrix("teacher", &device), case.half("teacher", &device)] {
                case.loss(&device, "ntd", "ntd_grad", |student| {
                    softmax_kl(student, teacher.clone(), kl, None, Some(case.labels(&device))).unwrap()
                });
            }
        }
    }
}

#[test]
fn ensembles_agree_with_the_reference() {
    for (_, device) in devices() {
        for case in Case::all("ensemble_") {
            let (parties, rows, classes) = (case.count("k"), case.count("n"), case.count("c"));
            let values = case.floats("logits");
            let dims = [parties * rows, classes];
            let weights: Vec<f32> = case.integers("weight").iter().map(|weight| *weight as f32).collect();
            let weights = Weights::Party(Tensor::from_data(TensorData::new(weights, [parties]), &device));
            for logits in [
                super::matrix(&values, dims, &device),
                half_matrix(&values, dims, &device),
            ] {
                let run = |weights: &Weights, averaged, sharpening| {
                    let logits: Tensor<3> = logits.clone().reshape([parties, rows, classes]);
                    vector(ensemble(logits, weights, averaged, sharpening).unwrap())
                };
                let equal = &Weights::Equal;
                case.agrees("mean", &run(equal, Averaged::Values, Sharpening::None));
                case.agrees("weighted_mean", &run(&weights, Averaged::Values, Sharpening::None));
                let probabilities = run(equal, Averaged::Probabilities, Sharpening::None);
                case.agrees("mean_probability", &probabilities);
                case.agrees("era", &run(equal, Averaged::Probabilities, Sharpening::Era(0.1)));
                case.agrees("power", &run(equal, Averaged::Probabilities, Sharpening::Power(1.5)));
                let logarithms = super::matrix(&probabilities, [rows, classes], &device).log();
                case.agrees("entropy", &vector(entropy(logarithms, 1.0).unwrap()));
            }
            let each: Vec<&[f32]> = values.chunks_exact(rows * classes).collect();
            case.agrees("median", &median(&each).unwrap());
            case.agrees("trimmed_mean", &trimmed_mean(&each, 0.2).unwrap());
        }
    }
}

#[test]
fn knowledge_coefficients_agree_with_the_reference() {
    for case in Case::all("ktpfl_") {
        let (parties, rows, classes) = (case.count("k"), case.count("n"), case.count("c"));
        let values = case.floats("logits");
        // Two chunks: the products add up.
        let cut = rows / 2 * classes;
        let each: Vec<&[f32]> = values.chunks_exact(rows * classes).collect();
        let mut gram = vec![0.0; parties * parties];
        let first: Vec<&[f32]> = each.iter().map(|values| &values[..cut]).collect();
        add_gram(&mut gram, &first, classes, 10.0).unwrap();
        let second: Vec<&[f32]> = each.iter().map(|values| &values[cut..]).collect();
        add_gram(&mut gram, &second, classes, 10.0).unwrap();
        let coefficients: Vec<f64> = case.floats("coefficients").iter().map(|c| f64::from(*c)).collect();
        let (mut gradients, mut updated) = (Vec::new(), Vec::new());
        for (party, row) in coefficients.chunks_exact(parties).enumerate() {
            let gradient = coefficient_gradient(&gram, row, party, case.constant("rho"), rows * classes).unwrap();
            let moved = coefficient_step(row, &gradient, 0.5, 5.0).unwrap();
            updated.extend(moved.iter().map(|c| *c as f32));
            gradients.extend(gradient.iter().map(|slope| *slope as f32));
        }
        case.agrees("grad", &gradients);
        case.agrees("updated", &updated);
    }
}
