//! A learner without learning: weights are a sha256 of everything that they come from, so that any difference anywhere
//! changes all bits that follow. The functions are public to the oracle, which computes the same without log and store.

use crate::error::StageError;
use crate::learn::{EvaluateInputs, FitInputs, Fitted, Learner, ModelOf};
use bytes::Bytes;
use fedstill_schemas::digest::Digest;
use fedstill_schemas::plan::Draws;
use fedstill_schemas::resolved::ResolvedRun;
use fedstill_schemas::task::{Scores, Subject};
use std::collections::BTreeMap;

/// How a party is bad on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bad {
    /// Its fit fails.
    Fails,
    /// Its logits hold NaN.
    Nan,
    /// Its logits lack a row.
    ShortRow,
    /// Its fit panics.
    Panics,
}

/// Reason of a fit that fails on purpose.
pub(super) const ON_PURPOSE: &str = "it fails on purpose";
/// Distance of the alignment rows of two rounds: predictions are not told their round.
const ROUND: u32 = 100_000;

/// Who is bad, in which round and step.
pub(super) type BadOnes = BTreeMap<(u32, String, Subject), Bad>;

/// Arithmetic in the place of learning.
#[derive(Clone, Debug, Default)]
pub(super) struct Synthetic {
    pub(super) bad: BadOnes,
}

impl Learner for Synthetic {
    fn draws(&self, run: &ResolvedRun, round: u32) -> Result<Draws, StageError> {
        Ok(draws(run, round))
    }

    fn fit(&self, inputs: &FitInputs<'_>) -> Result<Fitted, StageError> {
        let who = (inputs.round, inputs.step.name.clone(), inputs.subject);
        match self.bad.get(&who) {
            Some(Bad::Panics) => panic!("{ON_PURPOSE}"),
            Some(_) => return Err(StageError::Reject(ON_PURPOSE.to_owned())),
            None => {}
        }
        let (weights, optimizer) = fit(&Fit {
            seed: inputs.run.seed,
            round: inputs.round,
            step: &inputs.step.name,
            subject: inputs.subject,
            start: inputs.start,
            optimizer: inputs.optimizer,
            consensus: inputs.consensus,
        });
        Ok(Fitted {
            loss: unit(&weights),
            weights,
            optimizer,
            epochs: 1,
            steps: 1,
            rows: inputs.draws.private.len() as u32,
        })
    }

    fn predict(
        &self,
        run: &ResolvedRun,
        subject: Subject,
        weights: &[u8],
        rows: &[u32],
    ) -> Result<Vec<f32>, StageError> {
        let mut logits = predict(run, weights, rows);
        match self.bad.get(&(rows[0] / ROUND, "predict".to_owned(), subject)) {
            Some(Bad::Fails | Bad::Panics) => return Err(StageError::Reject(ON_PURPOSE.to_owned())),
            Some(Bad::Nan) => logits[1] = f32::NAN,
            Some(Bad::ShortRow) => logits.truncate(logits.len() - run.head() as usize),
            None => {}
        }
        Ok(logits)
    }

    fn initial(&self, run: &ResolvedRun, subject: Subject) -> Result<Vec<u8>, StageError> {
        Ok(initial(run, subject))
    }

    fn average(
        &self,
        models: &mut dyn Iterator<Item = Result<(f64, Bytes), StageError>>,
    ) -> Result<Vec<u8>, StageError> {
        let models = models.collect::<Result<Vec<_>, _>>()?;
        Ok(average(models.iter().map(|(weight, weights)| (*weight, &weights[..]))))
    }

    fn evaluate(
        &self,
        _: &EvaluateInputs<'_>,
        models: &mut dyn Iterator<Item = Result<ModelOf, StageError>>,
    ) -> Result<Scores, StageError> {
        let models = models.collect::<Result<Vec<_>, _>>()?;
        Ok(match &models[..] {
            [(_, weights)] => evaluate(weights),
            several => evaluate(&average(several.iter().map(|(_, weights)| (1.0, &weights[..])))),
        })
    }
}

/// What weights come from.
pub(super) struct Fit<'a> {
    pub(super) seed: u64,
    pub(super) round: u32,
    pub(super) step: &'a str,
    pub(super) subject: Subject,
    pub(super) start: Option<&'a [u8]>,
    pub(super) optimizer: Option<&'a [u8]>,
    pub(super) consensus: Option<&'a [f32]>,
}

/// Weights and the state of the optimizer.
pub(super) fn fit(of: &Fit<'_>) -> (Vec<u8>, Vec<u8>) {
    let mut text = format!("{}/{}/{}/{}", of.seed, of.round, of.step, of.subject).into_bytes();
    for part in [of.start, of.optimizer] {
        text.push(u8::from(part.is_some()));
        text.extend_from_slice(part.unwrap_or_default());
    }
    for value in of.consensus.unwrap_or_default() {
        text.extend_from_slice(&value.to_bits().to_le_bytes());
    }
    let weights = Digest::of(&text).as_bytes().to_vec();
    text.extend_from_slice(b"optimizer");
    (weights, Digest::of(&text).as_bytes().to_vec())
}

/// The weights that an architecture starts from.
pub(super) fn initial(run: &ResolvedRun, subject: Subject) -> Vec<u8> {
    Digest::of(format!("{}/{subject}", run.seed).as_bytes())
        .as_bytes()
        .to_vec()
}

/// What several models come to, in their order, each with what it counts by.
pub(super) fn average<'a>(models: impl Iterator<Item = (f64, &'a [u8])>) -> Vec<u8> {
    let mut text = b"average".to_vec();
    for (weight, weights) in models {
        text.extend_from_slice(&weight.to_bits().to_le_bytes());
        text.extend_from_slice(weights);
    }
    Digest::of(&text).as_bytes().to_vec()
}

/// Multiples of 1/64 between -8 and 8, from the weights, the row and the place in it.
pub(super) fn predict(run: &ResolvedRun, weights: &[u8], rows: &[u32]) -> Vec<f32> {
    let seed = weights
        .iter()
        .fold(0u64, |seed, byte| seed.rotate_left(8) ^ u64::from(*byte));
    let (places, classes) = (u64::from(run.labels_per_row()), u64::from(run.head()));
    let value = |row: &u32, place: u64, class: u64| {
        let mixed = (seed ^ (place << 40) ^ (u64::from(*row) << 8) ^ class).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        ((mixed >> 54) as f32 - 512.0) / 64.0
    };
    let mut logits = Vec::new();
    for row in rows {
        for place in 0..places {
            logits.extend((0..classes).map(|class| value(row, place, class)));
        }
    }
    logits
}

pub(super) fn evaluate(weights: &[u8]) -> Scores {
    Scores {
        test_set: "synthetic".to_owned(),
        party: None,
        accuracy: unit(weights),
        balanced_accuracy: unit(&weights[8..]),
        loss: unit(&weights[16..]),
        samples: 100,
        others: Vec::new(),
    }
}

pub(super) fn draws(run: &ResolvedRun, round: u32) -> Draws {
    Draws {
        private: (0..run.parties.len() as u32).map(|slot| vec![slot]).collect(),
        public: vec![0, 1],
        alignment: (0..run.alignment).map(|row| round * ROUND + row).collect(),
        validation: Vec::new(),
    }
}

/// The first bytes as a number between 0 and 1.
fn unit(bytes: &[u8]) -> f64 {
    let whole = bytes[..6]
        .iter()
        .fold(0u64, |whole, byte| (whole << 8) | u64::from(*byte));
    whole as f64 / (1u64 << 48) as f64
}
