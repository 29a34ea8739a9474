//! Writes a trained model of each family with inputs and logits, so that another framework can load and compare them.
//!
//! `cargo run --release -p fedstill-learner --example export -- <folder>` writes, for `lenet`, `cnn[16,32]` and
//! `mlp[32]`, `<folder>/<architecture>/weights.safetensors` in PyTorch's names and layouts, and `io.safetensors` with
//! `images` (rows x channels x height x width, normalised) and `logits` (rows x classes, in evaluation mode).

use fedstill_learner::{Dataset, FitJob, Model, Registry, Stream, TargetData, TermData, fit, predict};
use fedstill_schemas::Architecture;
use fedstill_schemas::data::Shape;
use fedstill_schemas::fit::{Fit, Loss, Optimizer};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use std::error::Error;
use std::path::{Path, PathBuf};

const SHAPE: Shape = Shape {
    channels: 1,
    height: 28,
    width: 28,
};
const CLASSES: u32 = 10;
/// Rows of a training step, and rows that are written.
const ROWS: u32 = 32;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args_os()
        .nth(1)
        .map(PathBuf::from)
        .ok_or("give the folder to write to")?;
    let mut stream = Stream::new(0, 0, "export", "");
    let images = (0..ROWS as usize * SHAPE.len())
        .map(|_| stream.below(256) as u8)
        .collect();
    let labels = (0..ROWS).map(|_| stream.below(CLASSES)).collect();
    let data = Dataset::from_rows(SHAPE, CLASSES, images, labels);
    for name in ["lenet", "cnn[16,32]", "mlp[32]"] {
        export(&name.parse()?, &data, &folder.join(name))?;
    }
    Ok(())
}

/// Trains 20 steps, and writes the model and what it says of the rows.
fn export(architecture: &Architecture, data: &Dataset, folder: &Path) -> Result<(), Box<dyn Error>> {
    let registry = Registry::default();
    let model = Model {
        architecture,
        shape: SHAPE,
        classes: CLASSES,
    };
    let rows: Vec<u32> = (0..ROWS).collect();
    let labels = TargetData::Labels { offset: 0 };
    let settings = Fit {
        epochs: 20,
        batch: ROWS,
        optimizer: Optimizer::adam(1e-3),
        stop: None,
    };
    let fitted = fit(
        &registry,
        &FitJob {
            model,
            start: None,
            optimizer: None,
            terms: vec![TermData {
                data,
                rows: &rows,
                target: labels,
                loss: Loss::CrossEntropy,
                weight: 1.0,
                augment: &[],
            }],
            settings: &settings,
            seed: 0,
            round: 0,
            step: "export",
            subject: "0",
            cancel: &|| false,
        },
    )?;
    let logits = predict(&registry, &model, &fitted.weights, data, &rows)?;
    let images = rows
        .iter()
        .flat_map(|row| data.image(*row))
        .map(|byte| (f32::from(*byte) / 255.0 - 0.5) / 0.5);
    let bytes = |values: Vec<f32>| values.into_iter().flat_map(f32::to_le_bytes).collect::<Vec<u8>>();
    let (images, logits) = (bytes(images.collect()), bytes(logits));
    let sides = [ROWS, SHAPE.channels, SHAPE.height, SHAPE.width].map(|side| side as usize);
    let io = [
        ("images", TensorView::new(Dtype::F32, sides.to_vec(), &images)?),
        (
            "logits",
            TensorView::new(Dtype::F32, vec![ROWS as usize, CLASSES as usize], &logits)?,
        ),
    ];
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join("weights.safetensors"), fitted.weights)?;
    std::fs::write(folder.join("io.safetensors"), safetensors::serialize(io, None)?)?;
    Ok(())
}
