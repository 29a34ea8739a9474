//! A chunk's consensus by a rule: summed exactly as members are read, or combined by a processor when all have been.
//!
//! In: members' logits, in any order. Out: the consensus, as logits. Exact sums have the same bits in any order and on every
//! machine: what a rule makes of each member before, and of their mean after, is by `exp` and `log` of the `libm` crate in
//! float64. A processor adds in float32, where order shows: it gets all members at once, in the order of their slots. It knows
//! members that count alike, and no others: where parties have weights, sums are exact.

use crate::aggregation::{Accumulator, Summable, Weight};
use fedstill_learner::{LearnError, Processor, combine};
use fedstill_schemas::pipeline::Rule;
use fedstill_schemas::predictions::Values;
use std::collections::BTreeMap;

/// Members' predictions of a chunk on their way to its consensus.
#[derive(Debug)]
pub(crate) struct Combination<'a> {
    rule: &'a Rule,
    rows: usize,
    classes: usize,
    members: Members<'a>,
}

#[derive(Debug)]
enum Members<'a> {
    Summed(Accumulator),
    /// With the weight of each slot.
    Weighted(Accumulator, Vec<Weight>),
    /// By slot.
    Held(&'a Processor, BTreeMap<u32, Values>),
}

impl<'a> Combination<'a> {
    /// Of nobody yet: by exact sums, where no processor is given, or parties have weights.
    pub(crate) fn new(rule: &'a Rule, rows: usize, classes: usize, processor: Option<&'a Processor>) -> Self {
        let sums = || Accumulator::new(rows * classes);
        let members = match (rule.slots(), processor) {
            (Some(weights), _) => Members::Weighted(sums(), Weight::of(weights)),
            (None, None) => Members::Summed(sums()),
            (None, Some(processor)) => Members::Held(processor, BTreeMap::new()),
        };
        Self {
            rule,
            rows,
            classes,
            members,
        }
    }

    /// Adds members' logits (`rows x classes`, row-major), each with its slot.
    pub(crate) fn add(&mut self, slots: &[u32], logits: &[Summable]) {
        match &mut self.members {
            Members::Summed(sums) => match self.rule {
                Rule::Mean | Rule::Weights(_) => sums.add(logits),
                Rule::MeanProbability => {
                    let probabilities = logits
                        .iter()
                        .map(|logits| probabilities(&logits.values().to_f32(), self.classes));
                    let probabilities: Vec<_> = probabilities.map(Summable::of_probabilities).collect();
                    sums.add(&probabilities);
                }
            },
            Members::Weighted(sums, weights) => {
                for (slot, logits) in slots.iter().zip(logits) {
                    let weight = weights.get(*slot as usize).copied().unwrap_or_default();
                    sums.add_weighted(logits, weight);
                }
            }
            Members::Held(_, held) => {
                let copies = logits.iter().map(|logits| copy(logits.values()));
                held.extend(slots.iter().copied().zip(copies));
            }
        }
    }

    /// The consensus, as logits; `None` of nobody, or of members without weight.
    ///
    /// # Errors
    /// What the processor refuses.
    pub(crate) fn finish(self) -> Result<Option<Vec<f32>>, LearnError> {
        let mean = match self.members {
            Members::Summed(sums) | Members::Weighted(sums, _) => sums.mean(),
            Members::Held(_, held) if held.is_empty() => None,
            Members::Held(processor, held) => {
                let members: Vec<&Values> = held.values().collect();
                Some(combine(processor, self.rule, [self.rows, self.classes], &members)?)
            }
        };
        Ok(mean.map(|mean| of_mean(self.rule, mean)))
    }
}

/// Values in memory of their own: those of a record lie in what was read together with it, all of which they would keep.
fn copy(values: &Values) -> Values {
    match values {
        Values::Float16(values) => Values::Float16(values.to_vec().into()),
        Values::Float32(values) => Values::Float32(values.to_vec().into()),
    }
}

/// What logits (`rows x classes`, row-major) say of each row.
pub(crate) fn probabilities(logits: &[f32], classes: usize) -> Vec<f32> {
    logits.chunks_exact(classes).flat_map(softmax).collect()
}

/// The consensus, as logits, of the mean of what was summed.
pub(crate) fn of_mean(rule: &Rule, mean: Vec<f32>) -> Vec<f32> {
    match rule {
        Rule::Mean | Rule::Weights(_) => mean,
        // Their softmax is the mean probability again. No probability is below the least float32: its logarithm is finite.
        Rule::MeanProbability => mean
            .into_iter()
            .map(|probability| libm::log(f64::from(probability.max(f32::MIN_POSITIVE))) as f32)
            .collect(),
    }
}

fn softmax(row: &[f32]) -> Vec<f32> {
    let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exps: Vec<f64> = row
        .iter()
        .map(|logit| libm::exp(f64::from(*logit) - f64::from(most)))
        .collect();
    let sum: f64 = exps.iter().sum();
    exps.into_iter().map(|exp| (exp / sum) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_probability_is_the_mean_of_softmaxes_and_not_the_softmax_of_the_mean() {
        let members = [[8.0, 0.0, 0.0], [0.0, 0.0, 8.0], [1.0, 2.0, 3.0]];
        let probabilities: Vec<Vec<f32>> = members.iter().map(|logits| probabilities(logits, 3)).collect();
        let mean = (0..3).map(|class| probabilities.iter().map(|of| of[class]).sum::<f32>() / 3.0);
        let mean: Vec<f32> = mean.collect();
        let consensus = of_mean(&Rule::MeanProbability, mean.clone());
        for (found, expected) in softmax(&consensus).iter().zip(&mean) {
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
        let e = |x: f64| x.exp();
        let first = (e(8.0) / (e(8.0) + 2.0) + 1.0 / (e(8.0) + 2.0) + e(1.0) / (e(1.0) + e(2.0) + e(3.0))) / 3.0;
        assert!((f64::from(mean[0]) - first).abs() < 1e-6);
    }

    #[test]
    fn a_class_that_nobody_believes_in_stays_finite() {
        let probabilities = probabilities(&[0.0, -60000.0], 2);
        assert_eq!(probabilities, [1.0, 0.0]);
        let consensus = of_mean(&Rule::MeanProbability, probabilities);
        assert!(consensus.iter().all(|logit| logit.is_finite()));
        assert!((consensus[1] - f32::MIN_POSITIVE.ln()).abs() < 1e-5);
    }
}
