//! What models have right of the test set, and of each party's own.
//!
//! ```text
//! models, test set ──> logits ──> counts by class ──> scores on `global`
//!                                       └── proportions of each party's private rows ──> scores on `local`
//! ```
//!
//! In: one model, or all of an ensemble. Out: a score on the whole test set, and one for each party whose rows are
//! here. Nothing is kept between models: a task that is done again scores the same.

use super::{GLOBAL_TEST, LOCAL_TEST, Tensors, architecture};
use crate::aggregation::Weight;
use crate::combination;
use crate::error::StageError;
use crate::learn::{EvaluateInputs, ModelOf};
use fedstill_learner::{Tally, draw, predict};
use fedstill_schemas::pipeline::Rule;
use fedstill_schemas::task::{Scores, Subject};

impl Tensors {
    /// The scores of models on the test set: of one by itself by its own logits, of the server's ensemble by what the rule
    /// makes of them all. One forward pass serves every test set.
    ///
    /// # Errors
    /// A data set or a model that cannot be read; an ensemble whose members have no weight; logits that are no numbers.
    pub(super) fn scores(
        &self,
        inputs: &EvaluateInputs<'_>,
        models: &mut dyn Iterator<Item = Result<ModelOf, StageError>>,
    ) -> Result<Scores, StageError> {
        let run = inputs.run;
        // A model by itself is scored by its own logits.
        let (ensemble, alone) = (inputs.subject == Subject::Server, Rule::Mean);
        let rule = if ensemble { inputs.rule } else { &alone };
        // In the order of the file: sums do not depend on the draw where all rows are asked for.
        let mut rows = draw(run.seed, "test", 0, run.test.rows, run.test.take);
        rows.sort_unstable();
        let data = self.data(&run.test)?;
        // The very numbers that the consensus is weighed by.
        let weights_of_slots = rule.slots().map(Weight::of);
        let mut sums: Vec<f64> = Vec::new();
        let mut all = 0.0;
        for model in models {
            let (subject, weights) = model?;
            let mut logits = predict(&self.registry, &Self::model(run, subject)?, &weights, &data, &rows)?;
            if *rule == Rule::MeanProbability {
                logits = combination::probabilities(&logits, run.head() as usize);
            }
            sums.resize(logits.len(), 0.0);
            let weight = match (&weights_of_slots, subject) {
                (Some(weights), Subject::Party(slot)) => {
                    weights.get(slot as usize).copied().unwrap_or_default().share()
                }
                _ => 1.0,
            };
            for (sum, logit) in sums.iter_mut().zip(logits) {
                *sum += weight * f64::from(logit);
            }
            all += weight;
        }
        if all <= 0.0 && !sums.is_empty() {
            let reason = "the parties that trained have no weight in the rule of the step that aggregates";
            return Err(StageError::Reject(reason.to_owned()));
        }
        let mean: Vec<f32> = sums.into_iter().map(|sum| (sum / all) as f32).collect();
        let mean = combination::of_mean(rule, mean);
        let tally = Tally::new(&mean, &data, &rows, 0, run.head())?;
        let proportions = self.proportions(inputs)?;
        let local = proportions.iter().filter_map(|(party, proportions)| {
            let scores = tally.in_proportions(proportions)?;
            Some(named(LOCAL_TEST, Some(*party), scores))
        });
        Ok(Scores {
            others: local.collect(),
            ..named(GLOBAL_TEST, None, tally.scores())
        })
    }

    /// How often each class occurs among the labels of the private rows of each party of a subject: the party itself, an
    /// architecture's parties, or all of them. Nobody where those rows are with their parties, and the subject is none.
    pub(super) fn proportions(&self, inputs: &EvaluateInputs<'_>) -> Result<Vec<(u32, Vec<f64>)>, StageError> {
        let run = inputs.run;
        let slots: Vec<u32> = match inputs.subject {
            Subject::Party(slot) => vec![slot],
            _ if run.is_placed() => Vec::new(),
            Subject::Architecture(_) => {
                let shared = architecture(run, inputs.subject)?;
                let own = |slot: &u32| run.parties[*slot as usize] == *shared;
                (0..run.parties.len() as u32).filter(own).collect()
            }
            _ => (0..run.parties.len() as u32).collect(),
        };
        let of_party = |slot: u32| {
            let (data, rows) = self.private(run, slot, inputs.draws)?;
            let share = 1.0 / (rows.len() * data.labels_per_row()).max(1) as f64;
            let mut proportions = vec![0.0; run.head() as usize];
            for label in rows.iter().flat_map(|row| data.labels_of(*row)) {
                proportions[*label as usize] += share;
            }
            Ok((slot, proportions))
        };
        slots.into_iter().map(of_party).collect()
    }
}

fn named(test_set: &str, party: Option<u32>, scores: fedstill_learner::Scores) -> Scores {
    Scores {
        test_set: test_set.to_owned(),
        party,
        accuracy: scores.accuracy,
        balanced_accuracy: scores.balanced_accuracy,
        loss: scores.loss,
        samples: scores.samples,
        others: Vec::new(),
    }
}
