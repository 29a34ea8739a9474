//! The terms of a job: which rows they need together, and the loss that they sum to.

use super::{FitJob, TargetData};
use crate::dataset::{Dataset, Values};
use crate::error::LearnError;
use crate::predict::{data_fits, labels_fit, logits, rows_exist};
use crate::random::Stream;
use crate::registry::Network;
use crate::tensors::Tensors;
use burn::tensor::{Device, Int, Tensor, TensorData};
use fedstill_kernels::{Kl, Reduction, Teacher, cross_entropy, cross_entropy_kl, mae, mse, softmax_kl};
use fedstill_schemas::data::Augmentation;
use fedstill_schemas::fit::{Loss, Per};
use std::borrow::Cow;

/// Terms on the same rows, changed alike: they share batches and forward passes.
pub(super) struct Group<'a> {
    data: &'a Dataset,
    pub(super) rows: &'a [u32],
    augment: &'a [Augmentation],
    terms: Vec<Summand<'a>>,
}

struct Summand<'a> {
    target: Target<'a>,
    loss: Loss,
    weight: f64,
}

enum Target<'a> {
    Labels { offset: u32 },
    Logits(Cow<'a, [f32]>),
}

pub(super) fn groups<'a>(
    network: &dyn Network,
    start: &Tensors,
    device: &Device,
    job: &FitJob<'a>,
) -> Result<Vec<Group<'a>>, LearnError> {
    let model = &job.model;
    let batch = job.settings.batch.max(1) as usize;
    let mut groups: Vec<Group<'a>> = Vec::new();
    for term in &job.terms {
        data_fits(network, model, term.data)?;
        rows_exist(term.data, term.rows)?;
        if !term.weight.is_finite() {
            let value = term.weight.to_string();
            return Err(LearnError::Setting {
                setting: "weight",
                must: "a finite number",
                value,
            });
        }
        let target = match term.target {
            TargetData::Labels { offset } => {
                labels_fit(term.data, term.rows, offset, model.classes)?;
                Target::Labels { offset }
            }
            TargetData::Logits(values) => {
                let (rows, classes) = (term.rows.len() * term.data.labels_per_row(), model.classes);
                if values.len() != rows * classes as usize {
                    return Err(LearnError::OtherTargets {
                        values: values.len(),
                        rows,
                        classes,
                    });
                }
                Target::Logits(Cow::Borrowed(values))
            }
            // In batches like those of the fit: other sizes round otherwise, and the difference would count as a loss.
            TargetData::Own => Target::Logits(Cow::Owned(logits(
                network, start, device, model, term.data, term.rows, batch,
            )?)),
        };
        let must = match (&target, term.data.values()) {
            (Target::Logits(_), _) => {
                Some("left out where rows are compared with logits, which are of the rows as they are")
            }
            (_, Values::Tokens { .. }) => Some("left out of text"),
            (Target::Labels { .. }, Values::Pixels) => None,
        };
        if let (Some(must), false) = (must, term.augment.is_empty()) {
            let names: Vec<&str> = term.augment.iter().map(|change| change.name()).collect();
            return Err(LearnError::Setting {
                setting: "augment",
                must,
                value: names.join(", "),
            });
        }
        match (&target, term.loss == Loss::CrossEntropy) {
            (Target::Labels { .. }, false) => {
                return Err(LearnError::LossAndTarget {
                    loss: "a distance of logits",
                    target: "labels",
                });
            }
            (Target::Logits(_), true) => return Err(cross_entropy_with_logits()),
            _ => {}
        }
        let summand = Summand {
            target,
            loss: term.loss,
            weight: term.weight,
        };
        let same = |group: &&mut Group<'_>| {
            std::ptr::eq(group.data, term.data) && group.rows == term.rows && group.augment == term.augment
        };
        match groups.iter_mut().find(same) {
            Some(group) => group.terms.push(summand),
            None => groups.push(Group {
                data: term.data,
                rows: term.rows,
                augment: term.augment,
                terms: vec![summand],
            }),
        }
    }
    if groups.is_empty() {
        return Err(LearnError::NoTerms);
    }
    Ok(groups)
}

fn cross_entropy_with_logits() -> LearnError {
    LearnError::LossAndTarget {
        loss: "cross entropy",
        target: "logits",
    }
}

impl Group<'_> {
    pub(super) fn images(&self, places: &[u32], device: &Device) -> Tensor<4> {
        self.data
            .images(places.iter().map(|place| self.rows[*place as usize]), device)
    }

    /// The images at those places, changed by what the stream draws where the group is augmented.
    pub(super) fn training_images(&self, places: &[u32], changes: &mut Stream, device: &Device) -> Tensor<4> {
        if self.augment.is_empty() {
            return self.images(places, device);
        }
        let rows = places.iter().map(|place| self.rows[*place as usize]);
        self.data.augmented(rows, self.augment, changes, device)
    }

    /// The weighted sum of the terms on the rows at those places: of rows with several predictions a mean over all of them.
    pub(super) fn loss(&self, logits: &Tensor<2>, places: &[u32]) -> Result<Tensor<1>, LearnError> {
        if let [one, other] = &self.terms[..] {
            for (hard, soft) in [(one, other), (other, one)] {
                if let (Target::Labels { offset }, Target::Logits(values)) = (&hard.target, &soft.target)
                    && let Loss::Kl { t, times_t2, per } = soft.loss
                {
                    // Both in one pass over the logits.
                    let labels = self.labels(*offset, places, logits);
                    let (kl, weights) = (divergence(t, times_t2, per), [hard.weight, soft.weight]);
                    let target = targets(values, places, logits);
                    return Ok(cross_entropy_kl(logits.clone(), labels, target, kl, weights, false)?);
                }
            }
        }
        let mut sum: Option<Tensor<1>> = None;
        for term in &self.terms {
            let loss = match &term.target {
                Target::Labels { offset } => cross_entropy(logits.clone(), self.labels(*offset, places, logits))?,
                Target::Logits(values) => {
                    let (logits, target) = (logits.clone(), targets(values, places, logits));
                    match term.loss {
                        Loss::Kl { t, times_t2, per } => {
                            softmax_kl(logits, target, divergence(t, times_t2, per), None, None)?
                        }
                        Loss::Mae => mae(logits, target)?,
                        Loss::Mse => mse(logits, target)?,
                        Loss::CrossEntropy => return Err(cross_entropy_with_logits()),
                    }
                }
            };
            let loss = if term.weight == 1.0 {
                loss
            } else {
                loss.mul_scalar(term.weight)
            };
            sum = Some(match sum {
                Some(sum) => sum + loss,
                None => loss,
            });
        }
        sum.ok_or(LearnError::NoTerms)
    }

    /// Labels of the rows at those places, as many as there are predictions, where their logits are.
    fn labels(&self, offset: u32, places: &[u32], logits: &Tensor<2>) -> Tensor<1, Int> {
        let of_row = |place: &u32| self.data.labels_of(self.rows[*place as usize]);
        let labels = places.iter().flat_map(of_row);
        let labels: Vec<i64> = labels.map(|label| i64::from(label + offset)).collect();
        let count = labels.len();
        Tensor::from_data(TensorData::new(labels, [count]), &logits.device().inner())
    }
}

/// What the logits of the rows at those places are compared with, where they are.
fn targets(values: &[f32], places: &[u32], logits: &Tensor<2>) -> Tensor<2> {
    let [predictions, classes] = logits.dims();
    // Those on a row lie together.
    let of_row = predictions * classes / places.len().max(1);
    let row = |place: &u32| &values[*place as usize * of_row..][..of_row];
    let target: Vec<f32> = places.iter().flat_map(row).copied().collect();
    Tensor::from_data(
        TensorData::new(target, [predictions, classes]),
        &logits.device().inner(),
    )
}

fn divergence(temperature: f64, times_t2: bool, per: Per) -> Kl {
    Kl {
        temperature,
        times_t2,
        teacher: Teacher::Logits,
        reduction: match per {
            Per::Batch => Reduction::BatchMean,
            Per::Element => Reduction::ElementMean,
        },
    }
}

#[cfg(test)]
mod tests;
