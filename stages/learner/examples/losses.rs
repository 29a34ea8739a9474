//! Trains tables of logits as cases say, so that another framework can compare losses, gradients, optimizers and schedules.
//!
//! `cargo run --release -p fedstill-learner --example losses -- <folder>` does each case in `<folder>/<case>/`. It reads
//! - `start.safetensors`: `logits` (rows x classes, float32), which are all parameters of the model;
//! - `target.safetensors`: `logits` (the same shape) and `labels` (rows, int64), what they are compared with;
//! - `case.json`: `fit`, the settings of a step as a resolved run has them, with a batch of all rows, and `terms`, of each
//!   its `target` ("labels" or "logits"), `loss` and `weight`;
//!
//! and writes
//! - `weights.safetensors` and `optimizer.safetensors`, the logits and the optimizer's state after the steps of the settings;
//! - `loss.json`: the loss before the last of them.

use burn::tensor::Tensor;
use fedstill_learner::registry::{Init, Network, Parameter};
use fedstill_learner::{
    Dataset, FitJob, LearnError, Mode, Model, Registry, TargetData, Tensors, TermData, Values, fit,
};
use fedstill_schemas::Architecture;
use fedstill_schemas::data::Shape;
use fedstill_schemas::fit::{Fit, Loss};
use safetensors::SafeTensors;
use serde_json::Value;
use std::error::Error;
use std::path::Path;

/// The only parameter.
const LOGITS: &str = "logits";

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args_os().nth(1).ok_or("give the folder of the cases")?;
    for case in std::fs::read_dir(folder)? {
        train(&case?.path())?;
    }
    Ok(())
}

/// A network whose parameters are its logits: of a row it reads the number.
struct Table {
    rows: u32,
    classes: u32,
}

fn table(architecture: &Architecture, _: Shape, classes: u32) -> Result<Box<dyn Network>, LearnError> {
    let [rows] = architecture.sizes() else {
        return Err(LearnError::WrongSizes {
            architecture: architecture.to_string(),
            wants: "write its rows, as in table[24]".to_owned(),
        });
    };
    Ok(Box::new(Table { rows: *rows, classes }))
}

impl Network for Table {
    fn parameters(&self) -> Vec<Parameter> {
        vec![Parameter {
            name: LOGITS.to_owned(),
            shape: vec![self.rows as usize, self.classes as usize],
            init: Init::Constant(0.0),
            trainable: true,
        }]
    }

    fn reads(&self) -> Values {
        Values::Tokens { vocabulary: self.rows }
    }

    fn forward(&self, tensors: &Tensors, rows: Tensor<4>, _: &mut Mode) -> Tensor<2> {
        let [count, _, _, _] = rows.dims();
        let numbers: Tensor<1> = rows.reshape([count]);
        let table: Tensor<2> = tensors.get(LOGITS);
        table.select(0, numbers.int())
    }

    fn head(&self) -> String {
        LOGITS.to_owned()
    }

    fn multiply_adds(&self) -> f64 {
        0.0
    }
}

/// Does the case of a folder.
fn train(folder: &Path) -> Result<(), Box<dyn Error>> {
    let start = std::fs::read(folder.join("start.safetensors"))?;
    let target = std::fs::read(folder.join("target.safetensors"))?;
    let target = SafeTensors::deserialize(&target)?;
    let logits = target.tensor(LOGITS)?;
    let [rows, classes] = logits.shape() else {
        return Err("logits have rows and classes".into());
    };
    let (rows, classes) = (u32::try_from(*rows)?, u32::try_from(*classes)?);
    let logits = logits.data().as_chunks::<4>().0.to_vec();
    let logits: Vec<f32> = logits.into_iter().map(f32::from_le_bytes).collect();
    let labels = target.tensor("labels")?.data().as_chunks::<8>().0.to_vec();
    let labels: Result<Vec<u32>, _> = labels
        .into_iter()
        .map(|label| u32::try_from(i64::from_le_bytes(label)))
        .collect();
    let numbers: Result<Vec<u8>, _> = (0..rows).map(u8::try_from).collect();
    let data = Dataset::from_windows(1, rows, classes, numbers?, labels?);

    let case: Value = serde_json::from_slice(&std::fs::read(folder.join("case.json"))?)?;
    let settings: Fit = serde_json::from_value(case["fit"].clone())?;
    let every: Vec<u32> = (0..rows).collect();
    let mut terms = Vec::new();
    for term in case["terms"].as_array().ok_or("'terms' is a list")? {
        let loss: Loss = serde_json::from_value(term["loss"].clone())?;
        terms.push(TermData {
            data: &data,
            rows: &every,
            target: match term["target"].as_str() {
                Some("labels") => TargetData::Labels { offset: 0 },
                Some("logits") => TargetData::Logits(&logits),
                _ => return Err("a target is \"labels\" or \"logits\"".into()),
            },
            loss,
            weight: term["weight"].as_f64().ok_or("'weight' is a number")?,
            augment: &[],
        });
    }
    let architecture: Architecture = format!("table[{rows}]").parse()?;
    let job = FitJob {
        model: Model {
            architecture: &architecture,
            shape: data.shape(),
            classes,
            labels_per: data.labels_per(),
        },
        start: Some(&start),
        optimizer: None,
        terms,
        validation: None,
        settings: &settings,
        seed: 0,
        round: 0,
        step: "losses",
        subject: "0",
        cancel: &|| false,
    };
    let fitted = fit(&Registry::default().with("table", table), &job)?;
    std::fs::write(folder.join("weights.safetensors"), fitted.weights)?;
    std::fs::write(folder.join("optimizer.safetensors"), fitted.optimizer)?;
    std::fs::write(folder.join("loss.json"), serde_json::to_vec(&fitted.loss)?)?;
    Ok(())
}
