//! The real learner: data sets by content, and the models of `fedstill-learner` on them.

mod scores;

use crate::error::StageError;
use crate::learn::{EvaluateInputs, FitInputs, Fitted, Learner, ModelOf, Validated};
use crate::store::Store;
use bytes::Bytes;
use fedstill_learner::{
    Dataset, Division, FitJob, LearnError, Mean, Model, Processor, Registry, Tally, TargetData, TermData,
    ValidationData, draw, fit, initial, predict,
};
use fedstill_schemas::architecture::Architecture;
use fedstill_schemas::data::{Augmentation, DataSet};
use fedstill_schemas::digest::Digest;
use fedstill_schemas::names;
use fedstill_schemas::pipeline::{On, Target, Term};
use fedstill_schemas::plan::Draws;
use fedstill_schemas::resolved::{ResolvedRun, Validation};
use fedstill_schemas::task::{Scores, Subject};
use parking_lot::Mutex;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Name of the test set that all slots are scored on.
pub const GLOBAL_TEST: &str = "global";
/// Name of the same with the classes in the proportions that they have in a party's private rows: a test set of each party.
pub const LOCAL_TEST: &str = "local";

/// Data sets of a store that are kept in memory though no task uses them.
const KEPT: usize = 8;

/// Trains and predicts with Burn, on the data sets that it was given, or finds in a store.
#[derive(Debug)]
pub struct Tensors {
    registry: Registry,
    data: Mutex<BTreeMap<Digest, Arc<Dataset>>>,
    store: Option<Store>,
    /// The rows of the party that this process is of.
    own: Option<Arc<Dataset>>,
}

impl Tensors {
    /// A learner that knows these data sets.
    pub fn new(registry: Registry, data: impl IntoIterator<Item = Arc<Dataset>>) -> Self {
        Self {
            registry,
            data: Mutex::new(data.into_iter().map(|set| (set.digest(), set)).collect()),
            store: None,
            own: None,
        }
    }

    /// Has a party's own rows.
    #[must_use]
    pub fn with_own(mut self, own: Arc<Dataset>) -> Self {
        self.own = Some(own);
        self
    }

    /// The rows that a party trains on, and where they are.
    fn private(&self, run: &ResolvedRun, slot: u32, draws: &Draws) -> Result<(Arc<Dataset>, Vec<u32>), StageError> {
        if !run.is_placed() {
            let rows = draws.private.get(slot as usize).cloned();
            let rows = rows.ok_or_else(|| StageError::Reject(format!("party-{slot} has no rows in the plan")))?;
            return Ok((self.data(&run.private)?, rows));
        }
        let own = self.own.as_ref();
        let own = own.ok_or_else(|| StageError::Reject("private rows are with their party only".to_owned()))?;
        if own.labels_per() != run.labels_per() {
            return Err(StageError::Reject(format!(
                "the party's own rows have labels per {} and the run's per {}: set labels_per of [own] in party.toml, or ask \
                 the operator",
                own.labels_per().name(),
                run.labels_per().name()
            )));
        }
        if own.shape() != run.private.shape || own.classes() > run.private.classes {
            return Err(StageError::Reject(format!(
                "the party's own rows have {} classes and another shape or more classes than the run's {}: ask the operator",
                own.classes(),
                run.private.classes
            )));
        }
        Ok((Arc::clone(own), (0..own.rows()).collect()))
    }

    /// Looks for other data sets in a store.
    #[must_use]
    pub fn with_store(mut self, store: Store) -> Self {
        self.store = Some(store);
        self
    }

    /// A data set, from memory or from the store. All tasks of a process wait for the one that reads it.
    fn data(&self, set: &DataSet) -> Result<Arc<Dataset>, StageError> {
        let mut data = self.data.lock();
        if let Some(found) = data.get(&set.sha256) {
            return Ok(Arc::clone(found));
        }
        let found = match &self.store {
            Some(store) => store.get_data(set.sha256)?,
            None => None,
        };
        let file = found.ok_or_else(|| {
            StageError::Reject(format!(
                "the data set {} is not here: `fedstill submit` puts it into the store",
                set.sha256.short()
            ))
        })?;
        let read = Dataset::parse(&names::data_object(set.sha256), file, &set.columns);
        let read = read.map_err(|error| StageError::Reject(error.to_string()))?;
        if read.digest() != set.sha256 {
            return Err(StageError::Reject(format!(
                "the data set {} in the store holds other rows: submit the run again",
                set.sha256.short()
            )));
        }
        let read = Arc::new(read);
        // A worker serves many runs in its life: what no task uses now can be read again.
        if data.len() >= KEPT {
            data.retain(|_, set| Arc::strong_count(set) > 1);
        }
        data.insert(set.sha256, Arc::clone(&read));
        Ok(read)
    }

    /// Where the validation rows are; `None` of a run without them.
    fn held(&self, run: &ResolvedRun) -> Result<Option<Arc<Dataset>>, StageError> {
        match &run.validation {
            Some(Validation::Private { .. }) => self.data(&run.private).map(Some),
            Some(Validation::Set { set }) => self.data(set).map(Some),
            None => Ok(None),
        }
    }

    fn model(run: &ResolvedRun, subject: Subject) -> Result<Model<'_>, StageError> {
        Ok(Model {
            architecture: architecture(run, subject)?,
            shape: run.private.shape,
            classes: run.head(),
            labels_per: run.labels_per(),
        })
    }
}

fn architecture(run: &ResolvedRun, subject: Subject) -> Result<&Architecture, StageError> {
    let found = match subject {
        Subject::Party(slot) => run.parties.get(slot as usize),
        Subject::Architecture(index) => run.architectures().get(index as usize).copied(),
        Subject::Partition(_) | Subject::Server => None,
    };
    found.ok_or_else(|| StageError::Reject(format!("{subject} has no model in this run")))
}

impl From<LearnError> for StageError {
    fn from(error: LearnError) -> Self {
        match error {
            LearnError::Cancelled => Self::Cancelled,
            error => Self::Reject(error.to_string()),
        }
    }
}

fn public(run: &ResolvedRun) -> Result<&DataSet, StageError> {
    let missing = || StageError::Reject("the run has no public set".to_owned());
    run.public.as_ref().ok_or_else(missing)
}

impl Learner for Tensors {
    fn draws(&self, run: &ResolvedRun, round: u32) -> Result<Draws, StageError> {
        let mut validation = match &run.validation {
            Some(Validation::Set { set }) => draw(run.seed, "validation", 0, set.rows, set.take),
            _ => Vec::new(),
        };
        let private = if run.is_placed() {
            // Each party uses all that it has.
            Vec::new()
        } else {
            let private = self.data(&run.private)?;
            let divided = Division::of(run).rows(private.known());
            let (held, parts) = divided.map_err(|error| StageError::Reject(error.to_string()))?;
            validation.extend(held);
            parts
        };
        let (public, alignment) = match &run.public {
            None => (Vec::new(), Vec::new()),
            Some(set) => {
                let public = draw(run.seed, "public", 0, set.rows, set.take);
                let places = draw(run.seed, "alignment", round, set.take, run.alignment.min(set.take));
                let alignment = places.into_iter().map(|place| public[place as usize]).collect();
                (public, alignment)
            }
        };
        Ok(Draws {
            private,
            public,
            alignment,
            validation,
        })
    }

    fn fit(&self, inputs: &FitInputs<'_>) -> Result<Fitted, StageError> {
        let (run, step) = (inputs.run, inputs.step);
        let settings = step.fit.as_ref();
        let settings =
            settings.ok_or_else(|| StageError::Reject(format!("step '{}' has no settings to train by", step.name)))?;
        let sets = step
            .terms
            .iter()
            .map(|term| match (term.on, inputs.subject) {
                (On::Public, _) => Ok((self.data(public(run)?)?, Cow::Borrowed(&inputs.draws.public[..]))),
                (On::Alignment, _) => Ok((self.data(public(run)?)?, Cow::Borrowed(&inputs.draws.alignment[..]))),
                (On::Private, Subject::Party(slot)) => {
                    let (data, rows) = self.private(run, slot, inputs.draws)?;
                    Ok((data, Cow::Owned(rows)))
                }
                // All parties' rows, for a model of the server in a simulation.
                (On::Private, _) => Ok((self.data(&run.private)?, Cow::Owned(inputs.draws.private.concat()))),
            })
            .collect::<Result<Vec<_>, StageError>>()?;
        let terms = step
            .terms
            .iter()
            .zip(&sets)
            .map(|(term, (data, rows))| {
                Ok(TermData {
                    data,
                    rows,
                    target: target(run, term, inputs.consensus)?,
                    loss: term.loss,
                    weight: term.weight,
                    augment: augment(run, term),
                })
            })
            .collect::<Result<_, StageError>>()?;
        let watches = settings.stop.as_ref().is_some_and(|stop| !stop.watch.is_held_out());
        let held = if watches { self.held(run)? } else { None };
        let subject = inputs.subject.to_string();
        Ok(fit(
            &self.registry,
            &FitJob {
                model: Self::model(run, inputs.subject)?,
                start: inputs.start,
                optimizer: inputs.optimizer,
                terms,
                validation: held.as_ref().map(|data| ValidationData {
                    data,
                    rows: &inputs.draws.validation,
                    offset: 0,
                }),
                settings,
                seed: run.seed,
                round: inputs.round,
                step: &step.name,
                subject: &subject,
                cancel: inputs.cancelled,
            },
        )?)
    }

    fn predict(
        &self,
        run: &ResolvedRun,
        subject: Subject,
        weights: &[u8],
        rows: &[u32],
    ) -> Result<Vec<f32>, StageError> {
        let data = self.data(public(run)?)?;
        Ok(predict(
            &self.registry,
            &Self::model(run, subject)?,
            weights,
            &data,
            rows,
        )?)
    }

    fn effort(&self, run: &ResolvedRun, subject: Subject) -> u64 {
        let model = Self::model(run, subject).ok();
        let cost = model.and_then(|model| fedstill_learner::cost(&self.registry, &model).ok());
        cost.map_or(0, |multiply_adds| multiply_adds as u64)
    }

    fn numerics(&self) -> String {
        self.registry.processor().numerics()
    }

    fn combiner(&self, classes: u32) -> Option<&Processor> {
        Some(self.registry.processor()).filter(|processor| processor.combines(classes))
    }

    fn initial(&self, run: &ResolvedRun, subject: Subject) -> Result<Vec<u8>, StageError> {
        Ok(initial(&self.registry, &Self::model(run, subject)?, run.seed)?)
    }

    fn average(
        &self,
        models: &mut dyn Iterator<Item = Result<(f64, Bytes), StageError>>,
    ) -> Result<Vec<u8>, StageError> {
        let mut mean = Mean::default();
        for model in models {
            let (weight, weights) = model?;
            mean.add(&weights, weight)?;
        }
        let nothing = || StageError::Reject("there are no weights to average".to_owned());
        mean.finish().ok_or_else(nothing)
    }

    fn validate(
        &self,
        run: &ResolvedRun,
        subject: Subject,
        weights: &[u8],
        draws: &Draws,
    ) -> Result<Validated, StageError> {
        let data = self.held(run)?;
        let data = data.ok_or_else(|| StageError::Reject("the run has no validation rows".to_owned()))?;
        let rows = &draws.validation;
        let logits = predict(&self.registry, &Self::model(run, subject)?, weights, &data, rows)?;
        match Tally::new(&logits, &data, rows, 0, run.head()) {
            Ok(tally) => Ok(Validated {
                right: tally.right(),
                rows: tally.samples(),
            }),
            // A model that says what is no number has nothing right: that is no reason to fail whoever asks.
            Err(LearnError::Diverged { .. }) => Ok(Validated {
                right: 0,
                rows: (rows.len() * data.labels_per_row()) as u32,
            }),
            Err(error) => Err(error.into()),
        }
    }

    fn evaluate(
        &self,
        inputs: &EvaluateInputs<'_>,
        models: &mut dyn Iterator<Item = Result<ModelOf, StageError>>,
    ) -> Result<Scores, StageError> {
        self.scores(inputs, models)
    }
}

/// How a term's rows are changed: not where they are compared with predictions, nor where predictions are compared on them.
fn augment<'a>(run: &'a ResolvedRun, term: &Term) -> &'a [Augmentation] {
    let set = match (term.on, term.target) {
        (On::Private, Target::Labels) => Some(&run.private),
        (On::Public, Target::Labels) => run.public.as_ref(),
        _ => None,
    };
    match set {
        Some(set) => &set.augment,
        None => &[],
    }
}

fn target<'a>(run: &ResolvedRun, term: &Term, consensus: Option<&'a [f32]>) -> Result<TargetData<'a>, StageError> {
    match (term.target, term.on) {
        (Target::Labels, On::Private) => Ok(TargetData::Labels { offset: 0 }),
        (Target::Labels, On::Public | On::Alignment) => {
            let offset = run.labels.public_offset(run.private.classes);
            let offset = offset.ok_or_else(|| StageError::Reject("the run uses no public labels".to_owned()))?;
            Ok(TargetData::Labels { offset })
        }
        (Target::Consensus, _) => {
            let consensus = consensus.ok_or_else(|| StageError::Reject("the task names no consensus".to_owned()))?;
            Ok(TargetData::Logits(consensus))
        }
        (Target::Own, _) => Ok(TargetData::Own),
    }
}

#[cfg(test)]
mod tests;
