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
    /// The share of labels that have the largest logit of the whole head; the first of equal ones counts.
    pub accuracy: f64,
    /// The mean over the classes that occur of the share of their labels that are right.
    pub balanced_accuracy: f64,
    /// Mean cross entropy, in nats.
    pub loss: f64,
    /// Labels that were compared: rows, where each has one.
    pub samples: u32,
}

/// Raw logits of those rows, row-major `rows x classes`, in evaluation mode; of a model that predicts at every position of
/// windows of text `rows x length x classes`.
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
    let network = registry.network(model)?;
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
    let logits = predict(registry, model, weights, data, rows)?;
    Ok(Tally::new(&logits, data, rows, offset, model.classes)?.scores())
}

/// Checks rows and labels of a term.
pub(crate) fn labels_fit(data: &Dataset, rows: &[u32], offset: u32, classes: u32) -> Result<(), LearnError> {
    rows_exist(data, rows)?;
    let labels = rows.iter().flat_map(|row| data.labels_of(*row)).copied();
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
    if data.labels_per() != model.labels_per {
        return Err(LearnError::OtherLabels {
            model: model.labels_per,
            data: data.labels_per(),
        });
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
    let mut logits = Vec::with_capacity(rows.len() * data.labels_per_row() * model.classes as usize);
    for batch in rows.chunks(batch) {
        let images = data.images(batch.iter().copied(), device);
        logits.extend(values(network.forward(tensors, images, &mut Mode::evaluation())));
    }
    Ok(logits)
}

/// What logits say of each class' labels: scores are made of it. A label counts like a row of its own, wherever it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Tally {
    /// By class: its labels, those of them that are right, and the sum of their cross entropies.
    classes: Vec<(u32, u32, f64)>,
}

impl Tally {
    /// Counts logits (`rows x classes`, row-major, or `rows x length x classes`, as [`predict`] gives them) against the labels
    /// of those rows; label `l` is class `l + offset`.
    ///
    /// # Errors
    /// [`LearnError`] where a row does not exist, a label has no place in the head, the logits are not as many, or one is
    /// not finite.
    pub fn new(logits: &[f32], data: &Dataset, rows: &[u32], offset: u32, classes: u32) -> Result<Self, LearnError> {
        labels_fit(data, rows, offset, classes)?;
        let count = rows.len() * data.labels_per_row();
        if logits.len() != count * classes as usize {
            let (values, rows) = (logits.len(), count);
            return Err(LearnError::OtherTargets { values, rows, classes });
        }
        if !logits.iter().all(|logit| logit.is_finite()) {
            return Err(LearnError::Diverged {
                what: "a logit",
                steps: 0,
            });
        }
        let labels = rows.iter().flat_map(|row| data.labels_of(*row));
        let labels = labels.map(|label| (label + offset) as usize);
        Ok(Self::count(logits, labels, classes as usize))
    }

    fn count(logits: &[f32], labels: impl Iterator<Item = usize>, classes: usize) -> Self {
        let mut counted = vec![(0, 0, 0.0); classes];
        for (row, label) in logits.chunks_exact(classes).zip(labels) {
            let best = (1..classes).fold(0, |best, class| if row[class] > row[best] { class } else { best });
            let (count, right, loss) = &mut counted[label];
            *count += 1;
            *right += u32::from(best == label);
            *loss += cross_entropy(row, label);
        }
        Self { classes: counted }
    }

    /// The classes that occur: their labels, the share that is right, the mean cross entropy.
    fn occurring(&self) -> impl Iterator<Item = (usize, f64, f64, f64)> {
        let occur = self.classes.iter().enumerate().filter(|(_, (count, ..))| *count > 0);
        occur.map(|(class, (count, right, loss))| {
            let labels = f64::from(*count);
            (class, labels, f64::from(*right) / labels, loss / labels)
        })
    }

    /// Labels that were compared.
    pub fn samples(&self) -> u32 {
        self.classes.iter().map(|(count, ..)| count).sum()
    }

    /// Those that have the largest logit; the first of equal ones counts.
    pub fn right(&self) -> u32 {
        self.classes.iter().map(|(_, right, _)| right).sum()
    }

    /// Every label alike.
    pub fn scores(&self) -> Scores {
        let samples = self.samples();
        let loss: f64 = self.classes.iter().map(|(.., loss)| loss).sum();
        Scores {
            accuracy: f64::from(self.right()) / f64::from(samples),
            balanced_accuracy: self.balanced(),
            loss: loss / f64::from(samples),
            samples,
        }
    }

    /// As if the classes occurred in those proportions, by class of the head: what a set with a party's own proportions
    /// would say, without drawing one. Classes that no label is of are left out; `None` where no other is left.
    pub fn in_proportions(&self, proportions: &[f64]) -> Option<Scores> {
        let weight = |class: usize| proportions.get(class).copied().unwrap_or(0.0);
        let (mut all, mut accuracy, mut loss) = (0.0, 0.0, 0.0);
        let mut shares = Vec::new();
        for (class, _, right, mean_loss) in self.occurring().filter(|(class, ..)| weight(*class) > 0.0) {
            all += weight(class);
            accuracy += weight(class) * right;
            loss += weight(class) * mean_loss;
            shares.push(right);
        }
        (all > 0.0).then(|| Scores {
            accuracy: accuracy / all,
            balanced_accuracy: shares.iter().sum::<f64>() / shares.len() as f64,
            loss: loss / all,
            samples: self.samples(),
        })
    }

    fn balanced(&self) -> f64 {
        let shares: Vec<f64> = self.occurring().map(|(_, _, right, _)| right).collect();
        shares.iter().sum::<f64>() / shares.len() as f64
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
        let scores = Tally::count(&logits, [0, 1, 2, 0].into_iter(), 3).scores();
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

    #[test]
    fn scores_in_a_partys_proportions_weigh_each_class_by_them() {
        // Class 0 is right in one of two rows, class 1 in its one row, class 2 in none of its one.
        let logits = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0];
        let tally = Tally::count(&logits, [0, 0, 1, 2].into_iter(), 3);
        let local = tally.in_proportions(&[30.0, 10.0, 0.0]).unwrap();
        assert!((local.accuracy - (0.75 * 0.5 + 0.25)).abs() < 1e-12);
        assert!((local.balanced_accuracy - 0.75).abs() < 1e-12);
        let all = tally.in_proportions(&[2.0, 1.0, 1.0]).unwrap();
        assert!((all.accuracy - tally.scores().accuracy).abs() < 1e-12);
        assert!((all.loss - tally.scores().loss).abs() < 1e-12);
        assert!(tally.in_proportions(&[0.0, 0.0, 0.0, 5.0]).is_none());
    }
}
