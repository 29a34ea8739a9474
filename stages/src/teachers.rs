//! Whose models are left out where a step drops the worst.
//!
//! In: the models that the round's parties trained, and the validation rows that the server holds. Out: which of them do
//! not count, with the reason. It follows from what a task names: whoever asks, in whatever step, after a crash or in a
//! replay, finds the same. Models are judged by counts of rows, in whole numbers: nothing is rounded.
//!
//! The rule is `drop_worst` of FedDF's released code (Lin et al. 2020, arXiv:2006.07242; epfml/federated-learning-public-code
//! at 44dd555). Where all models guess, that code divides by zero; here all of them stay.

use crate::context::Context;
use crate::error::StageError;
use crate::execute::{Inputs, round_of};
use fedstill_schemas::task::{Reference, Subject};
use std::collections::{BTreeMap, BTreeSet};

/// The parties whose models teach nobody in the round, each with the reason.
pub(crate) fn dropped(context: &Context, inputs: &Inputs<'_>) -> Result<BTreeMap<Subject, String>, StageError> {
    let trained = round_of(context, inputs.task)?.trained(Subject::Server);
    let judged = judge(context, inputs, &trained.unwrap_or_default())?;
    let (worst, why) = judged.worst();
    let reason = |party: Subject| {
        let (right, rows) = (judged.right[&party], judged.rows);
        (
            party,
            format!("dropped: {right} of {rows} validation rows right, {why}"),
        )
    };
    Ok(worst.into_iter().map(reason).collect())
}

/// The models that an average is of: without those that guess, or all of them where no other is left.
pub(crate) fn averaged(
    context: &Context,
    inputs: &Inputs<'_>,
    models: BTreeMap<Subject, Reference>,
) -> Result<BTreeMap<Subject, Reference>, StageError> {
    let judged = judge(context, inputs, &models)?;
    let guessing = judged.guessing();
    if guessing.len() == models.len() {
        return Ok(models);
    }
    let averaged = models.into_iter().filter(|(party, _)| !guessing.contains(party));
    Ok(averaged.collect())
}

fn judge(context: &Context, inputs: &Inputs<'_>, models: &BTreeMap<Subject, Reference>) -> Result<Judged, StageError> {
    let planned = &inputs.planned;
    let draws = context.draws(planned)?;
    if draws.validation.is_empty() {
        let reason = "its step drops the worst by validation rows, and the run has none; give the run some";
        return Err(StageError::Reject(reason.to_owned()));
    }
    let mut judged = Judged {
        right: BTreeMap::new(),
        rows: 0,
        classes: planned.run.private.classes,
    };
    // One at a time: memory holds one model, however many parties there are.
    for (party, model) in models {
        let validated = context.validated(model, || {
            let (_, weights) = inputs.weights_of(context, model)?;
            context.learner.validate(&planned.run, *party, &weights, &draws)
        })?;
        judged.right.insert(*party, validated.right);
        judged.rows = validated.rows;
    }
    Ok(judged)
}

/// How many of the validation rows each model has right.
#[derive(Debug)]
struct Judged {
    right: BTreeMap<Subject, u32>,
    /// All validation rows.
    rows: u32,
    /// Classes that a guess is among.
    classes: u32,
}

impl Judged {
    /// Who has less than 1.2 times as many rows right as guessing would.
    fn guessing(&self) -> BTreeSet<Subject> {
        // right / rows < 1.2 / classes
        let guesses = |right: u32| 5 * u128::from(right) * u128::from(self.classes) < 6 * u128::from(self.rows);
        let guessing = self.right.iter().filter(|(_, right)| guesses(**right));
        guessing.map(|(party, _)| *party).collect()
    }

    /// Who is more than 1.5 standard deviations below the mean, both of all models but the best.
    fn outliers(&self) -> BTreeSet<Subject> {
        let right = || self.right.values().map(|right| u128::from(*right));
        let Some(best) = right().max() else {
            return BTreeSet::new();
        };
        let others = self.right.len() as u128 - 1;
        let sum = right().sum::<u128>() - best;
        let squares = right().map(|right| right * right).sum::<u128>() - best * best;
        // Both sides times the number of the others: mean - right > 1.5 deviations.
        let is_outlier = |right: u128| {
            let behind = sum.saturating_sub(others * right);
            4 * behind * behind > 9 * (others * squares - sum * sum)
        };
        let outliers = self.right.iter().filter(|(_, right)| is_outlier(u128::from(**right)));
        outliers.map(|(party, _)| *party).collect()
    }

    /// Who teaches nobody, and why: those that guess; where none does, the outliers; nobody where all guess.
    fn worst(&self) -> (BTreeSet<Subject>, &'static str) {
        let guessing = self.guessing();
        if guessing.is_empty() {
            return (self.outliers(), "more than 1.5 deviations below the others' mean");
        }
        if guessing.len() == self.right.len() {
            tracing::warn!(
                models = guessing.len(),
                "all models guess: all of them stay, where the step would drop the worst"
            );
            return (BTreeSet::new(), "");
        }
        (guessing, "less than 1.2 times what guessing would have")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOBODY: [u32; 0] = [];

    /// The slots that are dropped of parties with so many of 1000 rows right, of ten classes.
    fn worst(right: &[u32]) -> Vec<u32> {
        slots(judged(right).worst().0)
    }

    fn judged(right: &[u32]) -> Judged {
        Judged {
            right: (0..).map(Subject::Party).zip(right.iter().copied()).collect(),
            rows: 1000,
            classes: 10,
        }
    }

    fn slots(parties: BTreeSet<Subject>) -> Vec<u32> {
        let slot = |party| match party {
            Subject::Party(slot) => slot,
            other => panic!("{other}"),
        };
        parties.into_iter().map(slot).collect()
    }

    #[test]
    fn who_is_below_1_2_times_chance_is_dropped_and_nobody_else_then() {
        assert_eq!(worst(&[119, 500, 600]), [0]);
        assert_eq!(worst(&[120, 500, 600]), NOBODY);
        // By itself the last one would be an outlier.
        assert_eq!(worst(&[900, 905, 895, 910, 300]), [4]);
        assert_eq!(worst(&[900, 905, 895, 910, 300, 100, 0]), [5, 6]);
    }

    #[test]
    fn who_is_far_below_all_but_the_best_is_dropped_where_nobody_guesses() {
        // Without the best, 910: mean 750, deviation 259.8, and 300 is 1.73 deviations below.
        assert_eq!(worst(&[300, 900, 905, 895, 910]), [0]);
        // Mean 730, deviation 233.4, and 400 is 1.41 deviations below.
        assert_eq!(worst(&[400, 900, 890, 910]), NOBODY);
        // Of fourteen four are exactly 1.5 deviations below the mean of all but the best, and stay; of fifteen they are more.
        let mut right = vec![950];
        right.extend([900; 9]);
        right.extend([300; 4]);
        assert_eq!(worst(&right), NOBODY);
        right.push(900);
        assert_eq!(worst(&right), [10, 11, 12, 13]);
    }

    #[test]
    fn somebody_is_always_left() {
        assert_eq!(worst(&[0, 50, 119]), NOBODY);
        assert_eq!(worst(&[500]), NOBODY);
        assert_eq!(worst(&[500, 900]), NOBODY);
        assert_eq!(worst(&[700; 5]), NOBODY);
        assert_eq!(worst(&[]), NOBODY);
    }

    #[test]
    fn an_average_asks_only_who_guesses() {
        assert_eq!(slots(judged(&[300, 900, 905, 895, 910]).guessing()), NOBODY);
        assert_eq!(slots(judged(&[119, 120, 900]).guessing()), [0]);
    }
}
