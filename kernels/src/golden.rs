//! Values and gradients against PyTorch's, computed in float64 (`tests/golden`).

use crate::{cross_entropy, kl, kl_rows, mae, mse};
use burn::tensor::{Device, Int, Tensor, TensorData};
use fedstill_schemas::fit::Per;
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
    temperature: f64,
    rows: usize,
    classes: usize,
}

impl Case {
    fn all(prefix: &str) -> Vec<Self> {
        let index = std::fs::read(folder().join("index.json")).unwrap();
        let index: Vec<serde_json::Value> = serde_json::from_slice(&index).unwrap();
        let cases: Vec<Self> = index
            .iter()
            .filter(|entry| entry["file"].as_str().unwrap().starts_with(prefix))
            .map(|entry| Self {
                name: entry["file"].as_str().unwrap().to_owned(),
                bytes: std::fs::read(folder().join(entry["file"].as_str().unwrap())).unwrap(),
                temperature: entry["temperature"].as_f64().unwrap_or(1.0),
                rows: entry["n"].as_u64().unwrap() as usize,
                classes: entry["c"].as_u64().unwrap() as usize,
            })
            .collect();
        assert!(cases.len() >= 7, "{} has no files {prefix}*", folder().display());
        cases
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

    fn labels(&self) -> Tensor<1, Int> {
        let file = SafeTensors::deserialize(&self.bytes).unwrap();
        let bytes = file.tensor("label").unwrap().data();
        let labels: Vec<i64> = bytes
            .as_chunks::<8>()
            .0
            .iter()
            .map(|eight| i64::from_le_bytes(*eight))
            .collect();
        Tensor::from_data(TensorData::new(labels, [self.rows]), &Device::flex())
    }

    fn matrix(&self, name: &str) -> Tensor<2> {
        let data = TensorData::new(self.floats(name), [self.rows, self.classes]);
        Tensor::from_data(data, &Device::flex())
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
    fn loss(&self, value: &str, gradient: &str, loss: impl Fn(Tensor<2>) -> Tensor<1>) {
        let student = self.matrix("student").autodiff().require_grad();
        let result = loss(student.clone());
        let gradients = result.backward();
        self.agrees(value, &vector(result.inner()));
        self.agrees(gradient, &vector(student.grad(&gradients).unwrap()));
    }
}

fn vector<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.try_into_vec_as::<f32>().unwrap()
}

#[test]
fn kl_agrees_with_the_reference() {
    for case in Case::all("kl_") {
        let t = case.temperature;
        case.agrees(
            "kl",
            &vector(kl_rows(case.matrix("student"), case.matrix("teacher"), t).unwrap()),
        );
        case.loss("loss", "grad", |student| {
            kl(student, case.matrix("teacher"), t, true, Per::Batch).unwrap()
        });
    }
}

#[test]
fn kl_divides_by_what_is_asked_for() {
    for case in Case::all("kl_") {
        let run = |times_t2, per| {
            let result = kl(
                case.matrix("student"),
                case.matrix("teacher"),
                case.temperature,
                times_t2,
                per,
            );
            f64::from(vector(result.unwrap())[0])
        };
        let whole = run(true, Per::Batch);
        let close = |value: f64| (value - whole).abs() <= 1e-5 * whole;
        assert!(close(run(false, Per::Batch) * case.temperature.powi(2)));
        assert!(close(run(true, Per::Element) * case.classes as f64));
    }
}

#[test]
fn kl_stays_finite_at_extreme_temperatures() {
    for t in [0.05, 50.0] {
        let logits = TensorData::new(vec![-60000.0_f32, 0.0, 60000.0, 30.0, 20.0, 10.0], [2, 3]);
        let student = Tensor::<2>::from_data(logits, &Device::flex())
            .autodiff()
            .require_grad();
        let target = TensorData::new(vec![60000.0_f32, 0.0, -60000.0, 10.0, 20.0, 30.0], [2, 3]);
        let loss = kl(
            student.clone(),
            Tensor::from_data(target, &Device::flex()),
            t,
            true,
            Per::Batch,
        )
        .unwrap();
        let gradients = loss.backward();
        assert!(vector(loss.inner())[0].is_finite());
        assert!(
            vector(student.grad(&gradients).unwrap())
                .iter()
                .all(|value| value.is_finite())
        );
    }
}

#[test]
fn distances_agree_with_the_reference() {
    for case in Case::all("regress_") {
        case.loss("mae", "mae_grad", |student| {
            mae(student, case.matrix("teacher")).unwrap()
        });
        case.loss("mse", "mse_grad", |student| {
            mse(student, case.matrix("teacher")).unwrap()
        });
    }
}

#[test]
fn cross_entropy_agrees_with_the_reference() {
    for case in Case::all("labels_") {
        case.loss("ce", "ce_grad", |student| {
            cross_entropy(student, case.labels()).unwrap()
        });
    }
}

#[test]
fn operands_that_do_not_fit_are_refused() {
    let device = Device::flex();
    let zeros = |rows, classes| Tensor::<2>::zeros([rows, classes], &device);
    assert!(kl(zeros(2, 3), zeros(3, 2), 1.0, false, Per::Batch).is_err());
    assert!(kl(zeros(2, 3), zeros(2, 3), 0.0, false, Per::Batch).is_err());
    assert!(kl(zeros(2, 3), zeros(2, 3), f64::NAN, false, Per::Batch).is_err());
    assert!(mae(zeros(2, 3), zeros(2, 4)).is_err());
    assert!(mse(zeros(0, 3), zeros(0, 3)).is_err());
    assert!(cross_entropy(zeros(2, 3), Tensor::zeros([3], &device)).is_err());
}
