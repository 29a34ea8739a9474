//! What a model says of rows, and how right it is.

use crate::Model;
use crate::dataset::Dataset;
use crate::error::LearnError;
use crate::mode::Mode;
use crate::registry::{Network, Registry};
use crate::tensors::{Tensors, values};
use burn::tensor::Device;

/// Rows of one forward pass. Fixed: sums may depend on it.
const BATCH: usize = 128;

/// How well a model's logits fit the labels of a data set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scores {
    /// The share of rows whose label has the largest logit of the whole head; the first of equal ones counts.
    pub accuracy: f64,
    /// The mean over the classes that occur of the share of their rows that are right.
    pub balanced_accuracy: f64,
    /// Mean cross entropy, in nats.
    pub loss: f64,
    /// Rows.
    pub samples: u32,
}

/// Raw logits of those rows, row-major `rows x classes`, in evaluation mode.
///
/// # Errors
/// [`LearnError`] where the model cannot be built, the weights are not its, the rows have another shape or are not
/// what it reads, or a row is not in the data set.
pub fn predict(
    registry: &Registry,
    model: &Model<'_>,
    weights: &[u8],
    data: &Dataset,
    rows: &[u32],
) -> Result<Vec<f32>, LearnError> {
    let network = registry.build(model.architecture, model.shape, model.classes)?;
    let device = registry.processor().device();
    let tensors = Tensors::read(network.parameters(), weights, device)?;
    logits(network.as_ref(), &tensors, device, model, data, rows, BATCH)
}

/// Scores on those rows of a data set, whose label `l` is class `l + offset` of the head.
///
/// # Errors
/// As [`predict`], and where a label has no place in the head, or a logit is not finite.
pub fn evaluate(
    registry: &Registry,
    model: &Model<'_>,
    weights: &[u8],
    data: &Dataset,
    rows: &[u32],
    offset: u32,
) -> Result<Scores, LearnError> {
    labels_fit(data, rows, offset, model.classes)?;
    let logits = predict(registry, model, weights, data, rows)?;
    if !logits.iter().all(|logit| logit.is_finite()) {
        return Err(LearnError::Diverged {
            what: "a logit",
            steps: 0,
        });
    }
    let labels = rows.iter().map(|row| (data.labels()[*row as usize] + offset) as usize);
    Ok(scores(&logits, labels, model.classes as usize))
}

/// Checks rows and labels of a term.
pub(crate) fn labels_fit(data: &Dataset, rows: &[u32], offset: u32, classes: u32) -> Result<(), LearnError> {
    rows_exist(data, rows)?;
    let labels = rows.iter().map(|row| data.labels()[*row as usize]);
    match labels.max() {
        Some(label) if u64::from(label) + u64::from(offset) >= u64::from(classes) => {
            Err(LearnError::LabelOutside { label, offset, classes })
        }
        _ => Ok(()),
    }
}

/// Checks that a data set's rows are what the model reads.
pub(crate) fn data_fits(network: &dyn Network, model: &Model<'_>, data: &Dataset) -> Result<(), LearnError> {
    if data.shape() != model.shape {
        return Err(LearnError::OtherShape {
            model: model.shape,
            data: data.shape(),
        });
    }
    let (reads, holds) = (network.reads(), data.values());
    if !reads.include(holds) {
        return Err(LearnError::OtherValues { reads, holds });
    }
    Ok(())
}

pub(crate) fn rows_exist(data: &Dataset, rows: &[u32]) -> Result<(), LearnError> {
    match rows.iter().find(|row| **row >= data.rows()) {
        Some(row) => Err(LearnError::NoSuchRow {
            row: *row,
            rows: data.rows(),
        }),
        None => Ok(()),
    }
}

/// Raw logits of those rows by tensors that are at hand, `batch` rows a forward pass.
pub(crate) fn logits(
    network: &dyn Network,
    tensors: &Tensors,
    device: &Device,
    model: &Model<'_>,
    data: &Dataset,
    rows: &[u32],
    batch: usize,
) -> Result<Vec<f32>, LearnError> {
    data_fits(network, model, data)?;
    rows_exist(data, rows)?;
    let mut logits = Vec::with_capacity(rows.len() * model.classes as usize);
    for batch in rows.chunks(batch) {
        let images = data.images(batch.iter().copied(), device);
        logits.extend(values(network.forward(tensors, images, &mut Mode::evaluation())));
    }
    Ok(logits)
}

fn scores(logits: &[f32], labels: impl Iterator<Item = usize>, classes: usize) -> Scores {
    let mut right = vec![0_u32; classes];
    let mut count = vec![0_u32; classes];
    let mut loss = 0.0;
    for (row, label) in logits.chunks_exact(classes).zip(labels) {
        let best = (1..classes).fold(0, |best, class| if row[class] > row[best] { class } else { best });
        count[label] += 1;
        right[label] += u32::from(best == label);
        loss += cross_entropy(row, label);
    }
    let samples: u32 = count.iter().sum();
    let shares: Vec<f64> = (0..classes)
        .filter(|class| count[*class] > 0)
        .map(|class| f64::from(right[class]) / f64::from(count[class]))
        .collect();
    Scores {
        accuracy: f64::from(right.iter().sum::<u32>()) / f64::from(samples),
        balanced_accuracy: shares.iter().sum::<f64>() / shares.len() as f64,
        loss: loss / f64::from(samples),
        samples,
    }
}

/// `-log softmax(row)[label]`, in float64.
fn cross_entropy(row: &[f32], label: usize) -> f64 {
    let largest = f64::from(row.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let sum: f64 = row.iter().map(|logit| libm::exp(f64::from(*logit) - largest)).sum();
    largest + libm::log(sum) - f64::from(row[label])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_those_of_a_small_example() {
        let logits = [3.0, 1.0, 0.0, 0.0, 2.0, 0.0, 5.0, 1.0, 1.0, 0.0, 0.0, -1.0];
        // Predicted 0, 1, 0, and 0 (the first of two equal ones).
        let scores = scores(&logits, [0, 1, 2, 0].into_iter(), 3);
        assert_eq!(scores.samples, 4);
        assert_eq!(scores.accuracy, 0.75);
        assert!((scores.balanced_accuracy - 2.0 / 3.0).abs() < 1e-12);
        let by_hand = [
            -(3.0_f64.exp() / (3.0_f64.exp() + 1.0_f64.exp() + 1.0)).ln(),
            -(2.0_f64.exp() / (2.0_f64.exp() + 2.0)).ln(),
            -(1.0_f64.exp() / (5.0_f64.exp() + 2.0 * 1.0_f64.exp())).ln(),
            -(1.0 / (2.0 + (-1.0_f64).exp())).ln(),
        ];
        assert!((scores.loss - by_hand.iter().sum::<f64>() / 4.0).abs() < 1e-12);
    }
}
