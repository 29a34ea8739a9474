//! What early stopping looks at: rows that are held out of training, or validation rows.

use super::terms::Group;
use super::{FitJob, ValidationData};
use crate::Model;
use crate::error::LearnError;
use crate::mode::Mode;
use crate::predict::{labels_fit, logits};
use crate::random::Stream;
use crate::registry::Network;
use crate::tensors::{Tensors, values};
use burn::tensor::Device;

/// Rows of one forward pass. Fixed: sums may depend on it.
const BATCH: usize = 128;

/// Rows that are not trained on.
pub(super) enum Looks<'a> {
    /// Places in the first group, for their loss: smaller is better.
    HeldOut { group: &'a Group<'a>, places: Vec<u32> },
    /// The job's validation rows, for their accuracy: larger is better.
    Validation { model: Model<'a>, rows: ValidationData<'a> },
}

impl<'a> Looks<'a> {
    /// Looks at a job's validation rows.
    ///
    /// # Errors
    /// [`LearnError`]: there are none, one is not in the data set, or its label has no place in the head.
    pub(super) fn validation(job: &FitJob<'a>) -> Result<Self, LearnError> {
        let rows = job.validation.filter(|validation| !validation.rows.is_empty());
        let rows = rows.ok_or(LearnError::NoValidation)?;
        labels_fit(rows.data, rows.rows, rows.offset, job.model.classes)?;
        Ok(Self::Validation { model: job.model, rows })
    }

    /// Whether the start is looked at too, so that it is kept where no step betters it.
    pub(super) fn begin_before_the_first_step(&self) -> bool {
        matches!(self, Self::Validation { .. })
    }

    /// What a model comes to on these rows, in evaluation mode.
    ///
    /// # Errors
    /// [`LearnError`] where the validation rows are not what the model reads.
    pub(super) fn take(&self, network: &dyn Network, tensors: &Tensors, device: &Device) -> Result<f64, LearnError> {
        match self {
            Self::HeldOut { group, places } => {
                let mut sum = 0.0;
                for batch in places.chunks(BATCH) {
                    let images = group.images(batch, device);
                    let logits = network.forward(tensors, images, &mut Mode::evaluation());
                    let loss = group.loss(&logits, batch)?;
                    sum += f64::from(values(loss)[0]) * batch.len() as f64;
                }
                Ok(sum / places.len() as f64)
            }
            Self::Validation { model, rows } => {
                let ValidationData { data, rows, offset } = *rows;
                let logits = logits(network, tensors, device, model, data, rows, BATCH)?;
                let labels = rows.iter().flat_map(|row| data.labels_of(*row));
                let labels: Vec<usize> = labels.map(|label| (label + offset) as usize).collect();
                Ok(accuracy(&logits, &labels, model.classes as usize))
            }
        }
    }
}

/// The share of labels that have the largest of their logits, the first of equal ones; among logits of which one is no number
/// none is right.
fn accuracy(logits: &[f32], labels: &[usize], classes: usize) -> f64 {
    let right = logits.chunks_exact(classes).zip(labels).filter(|(row, label)| {
        let (before, from) = row.split_at(**label);
        let largest = from[0];
        before.iter().all(|logit| *logit < largest) && from.iter().all(|logit| *logit <= largest)
    });
    right.count() as f64 / labels.len() as f64
}

/// How many of so many rows are held out: a fifth, one at least.
pub(super) fn held_out(rows: usize) -> usize {
    (rows / 5).max(1).min(rows)
}

/// Takes a seeded fifth of the places out, in draw order.
pub(super) fn hold_out(places: &mut Vec<u32>, stream: &Stream) -> Vec<u32> {
    let count = held_out(places.len());
    stream.fork("held out").shuffle(places);
    let held_out = places.split_off(places.len() - count);
    places.sort_unstable();
    held_out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{architecture, positions};
    use crate::{Registry, evaluate};

    #[test]
    fn held_out_rows_are_a_fifth_and_not_trained_on() {
        let stream = Stream::new(1, 1, "train", "0");
        let mut places: Vec<u32> = (0..53).collect();
        let held_out = hold_out(&mut places, &stream);
        assert_eq!((held_out.len(), places.len()), (10, 43));
        assert!(held_out.iter().all(|place| !places.contains(place)));
        assert_ne!(held_out, (43..53).collect::<Vec<_>>());
    }

    #[test]
    fn rows_with_a_label_at_every_position_are_looked_at_label_by_label() {
        let data = positions(4, 6);
        let architecture = architecture("charlstm[1]");
        let model = Model {
            architecture: &architecture,
            shape: data.shape(),
            classes: 3,
            labels_per: data.labels_per(),
        };
        let (registry, device) = (Registry::default(), Device::flex());
        let network = registry.network(&model).unwrap();
        let tensors = Tensors::initial(network.parameters(), &Stream::new(1, 0, "init", ""), &device);
        let rows = [4, 1, 5];
        let looks = Looks::Validation {
            model,
            rows: ValidationData {
                data: &data,
                rows: &rows,
                offset: 0,
            },
        };
        let seen = looks.take(network.as_ref(), &tensors, &device).unwrap();
        let scores = evaluate(&registry, &model, &tensors.write(), &data, &rows, 0).unwrap();
        assert_eq!((scores.samples, scores.accuracy), (12, seen));
    }

    #[test]
    fn the_first_of_the_largest_logits_is_what_a_model_says() {
        // It says 0, 1, 0, and 0 (the first of two equal ones).
        let logits = [3.0, 1.0, 0.0, 0.0, 2.0, 0.0, 5.0, 1.0, 1.0, 0.0, 0.0, -1.0];
        assert_eq!(accuracy(&logits, &[0, 1, 2, 0], 3), 0.75);
        assert_eq!(accuracy(&logits, &[0, 1, 0, 1], 3), 0.75);
        assert_eq!(accuracy(&[f32::NAN, 1.0, 1.0, f32::NAN], &[0, 0], 2), 0.0);
    }
}
