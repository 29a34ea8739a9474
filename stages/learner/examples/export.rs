//! Writes a trained model of each family with inputs, logits and gradients, so that another framework can load and compare
//! them.
//!
//! `cargo run --release -p fedstill-learner --example export -- <folder>` writes for each architecture, as `lenet`, into
//! `<folder>/<architecture>/`, and into `<folder>/<architecture> per position/` where it predicts at every position of a window
//! of text:
//! - `weights.safetensors`, in PyTorch's names and layouts;
//! - `io.safetensors`: `rows` (rows x channels x height x width, as the network sees them), `labels` (rows), and `logits`
//!   (rows x classes, in evaluation mode); per position these are of the first row's positions, then the second's;
//! - `step/weights.safetensors` and `step/optimizer.safetensors`: the model after one step of SGD with momentum on all of
//!   these rows and the mean cross entropy, in training mode, and its state, in which `<parameter>.momentum_buffer` (flat)
//!   is the gradient;
//! - of families with dropout `step/dropout.safetensors`: `rows`, those of that step in the order of its batch, and for each
//!   probability that a value is dropped, as `0.2`, the values that are kept (bytes of 0 and 1): the step's masks, one after
//!   the other, and more than it has.

use fedstill_learner::{
    Dataset, FEDMD_PARTIES, FitJob, Fitted, LearnError, Model, Registry, Stream, TargetData, TermData, Values, fit,
    predict,
};
use fedstill_schemas::Architecture;
use fedstill_schemas::data::{LabelsPer, Shape};
use fedstill_schemas::fit::{Fit, Loss, Optimizer};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use std::error::Error;
use std::path::{Path, PathBuf};

const DIGIT: Shape = Shape {
    channels: 1,
    height: 28,
    width: 28,
};
/// As small as convolutions in colour may be and still show every mistake.
const COLOUR: Shape = Shape {
    channels: 3,
    height: 16,
    width: 16,
};
/// Characters of a window of text, and different ones.
const WINDOW: (u32, u32) = (20, 82);
const CLASSES: u32 = 10;
/// Families with dropout, the probabilities that they have, and at least as many values of a row as all masks of a network.
const WITH_DROPOUT: [&str; 2] = ["cnn", "fedmd"];
const PROBABILITIES: [f64; 3] = [0.2, 0.3, 0.4];
const DROPPED_FROM: usize = 1 << 17;
/// Step and subject of the training, which its random numbers depend on.
const STEP: &str = "export";
const SUBJECT: &str = "0";

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args_os()
        .nth(1)
        .map(PathBuf::from)
        .ok_or("give the folder to write to")?;
    let mut stream = Stream::new(0, 0, "export", "");
    let mut bytes = |count: usize, below: u32| -> Vec<u8> { (0..count).map(|_| stream.below(below) as u8).collect() };
    let labels = |rows: u32| -> Vec<u32> { (0..rows).map(|row| row * 7 % CLASSES).collect() };
    let digits = Dataset::from_rows(DIGIT, CLASSES, bytes(32 * DIGIT.len(), 256), labels(32));
    let colours = Dataset::from_rows(COLOUR, CLASSES, bytes(8 * COLOUR.len(), 256), labels(8));
    let (length, vocabulary) = WINDOW;
    let tokens = bytes(8 * length as usize, vocabulary);
    let windows = Dataset::from_windows(length, vocabulary, CLASSES, tokens, labels(8));
    let tokens = bytes(8 * length as usize, vocabulary);
    let positions = Dataset::from_positions(length, vocabulary, CLASSES, tokens, labels(8 * length));
    // Steps and learning rate: FedMD's wide networks know eight rows by heart at once, and then have no gradients.
    let exports: [(&Dataset, u32, f64, &[&str]); 5] = [
        (
            &digits,
            20,
            1e-3,
            &["lenet", "cnn[16,32]", "cnn[16,32,64]", "mlp[32]", "2nn", "mcmahan"],
        ),
        (&colours, 4, 1e-4, &FEDMD_PARTIES),
        (
            &colours,
            10,
            1e-3,
            &[
                "resnet[8]",
                "resnet[18]",
                "resnet[20]",
                "resnetgn[8]",
                "resnetgn[18]",
                "resnetgn[20]",
            ],
        ),
        (&windows, 10, 1e-3, &["charlstm[1]", "charlstm[2]"]),
        (&positions, 10, 1e-3, &["charlstm[1]", "charlstm[2]"]),
    ];
    for (data, steps, lr, architectures) in exports {
        for name in architectures {
            let name_of_folder = match data.labels_per() {
                LabelsPer::Window => (*name).to_owned(),
                LabelsPer::Position => format!("{name} per position"),
            };
            export(&name.parse()?, data, (steps, lr), &folder.join(name_of_folder))?;
        }
    }
    Ok(())
}

/// Trains so many steps with that learning rate, and writes the model, what it says of the rows, and a further step.
fn export(
    architecture: &Architecture,
    data: &Dataset,
    (steps, lr): (u32, f64),
    folder: &Path,
) -> Result<(), Box<dyn Error>> {
    let trained = train(architecture, data, steps, Optimizer::adam(lr), None)?;
    let descent = Optimizer::Sgd {
        lr: 0.1,
        momentum: 0.9,
        weight_decay: 0.0,
    };
    let stepped = train(architecture, data, 1, descent, Some(&trained.weights))?;
    let every: Vec<u32> = (0..data.rows()).collect();
    let logits = predict(
        &Registry::default(),
        &model(architecture, data),
        &trained.weights,
        data,
        &every,
    )?;
    let seen = |byte: &u8| match data.values() {
        Values::Pixels => (f32::from(*byte) / 255.0 - 0.5) / 0.5,
        Values::Tokens { .. } => f32::from(*byte),
    };
    let rows: Vec<f32> = every.iter().flat_map(|row| data.image(*row)).map(seen).collect();
    let bytes = |values: Vec<f32>| values.into_iter().flat_map(f32::to_le_bytes).collect::<Vec<u8>>();
    let (rows, logits) = (bytes(rows), bytes(logits));
    let labels: Vec<u8> = data
        .labels()
        .iter()
        .flat_map(|label| i64::from(*label).to_le_bytes())
        .collect();
    let predictions = data.labels().len();
    let shape = data.shape();
    let sides = [data.rows(), shape.channels, shape.height, shape.width].map(|side| side as usize);
    let io = [
        ("rows", TensorView::new(Dtype::F32, sides.to_vec(), &rows)?),
        ("labels", TensorView::new(Dtype::I64, vec![predictions], &labels)?),
        (
            "logits",
            TensorView::new(Dtype::F32, vec![predictions, CLASSES as usize], &logits)?,
        ),
    ];
    std::fs::create_dir_all(folder.join("step"))?;
    std::fs::write(folder.join("weights.safetensors"), trained.weights)?;
    std::fs::write(folder.join("io.safetensors"), safetensors::serialize(io, None)?)?;
    std::fs::write(folder.join("step/weights.safetensors"), stepped.weights)?;
    std::fs::write(folder.join("step/optimizer.safetensors"), stepped.optimizer)?;
    if WITH_DROPOUT.contains(&architecture.family()) {
        std::fs::write(folder.join("step/dropout.safetensors"), dropout(data.rows())?)?;
    }
    Ok(())
}

/// What `fit` draws for a step on all of so many rows: their order, and which values dropout keeps.
fn dropout(rows: u32) -> Result<Vec<u8>, Box<dyn Error>> {
    let stream = Stream::new(0, 0, STEP, SUBJECT);
    let order = stream.fork("order 0").permutation(rows);
    let order: Vec<u8> = order.into_iter().flat_map(|row| i64::from(row).to_le_bytes()).collect();
    let values = rows as usize * DROPPED_FROM;
    let kept = PROBABILITIES.map(|probability| {
        let mask = stream.fork("dropout").dropout_mask(values, probability);
        let kept: Vec<u8> = mask.into_iter().map(|value| u8::from(value != 0.0)).collect();
        (probability.to_string(), kept)
    });
    let mut tensors = vec![(
        "rows".to_owned(),
        TensorView::new(Dtype::I64, vec![rows as usize], &order)?,
    )];
    for (probability, kept) in &kept {
        tensors.push((probability.clone(), TensorView::new(Dtype::U8, vec![values], kept)?));
    }
    Ok(safetensors::serialize(tensors, None)?)
}

fn model<'a>(architecture: &'a Architecture, data: &Dataset) -> Model<'a> {
    Model {
        architecture,
        shape: data.shape(),
        classes: CLASSES,
        labels_per: data.labels_per(),
    }
}

/// So many steps, each on all rows.
fn train(
    architecture: &Architecture,
    data: &Dataset,
    steps: u32,
    optimizer: Optimizer,
    start: Option<&[u8]>,
) -> Result<Fitted, LearnError> {
    let rows: Vec<u32> = (0..data.rows()).collect();
    let settings = Fit::new(steps, data.rows(), optimizer, None);
    let term = TermData {
        data,
        rows: &rows,
        target: TargetData::Labels { offset: 0 },
        loss: Loss::CrossEntropy,
        weight: 1.0,
        augment: &[],
    };
    let job = FitJob {
        model: model(architecture, data),
        start,
        optimizer: None,
        terms: vec![term],
        validation: None,
        settings: &settings,
        seed: 0,
        round: 0,
        step: STEP,
        subject: SUBJECT,
        cancel: &|| false,
    };
    fit(&Registry::default(), &job)
}
