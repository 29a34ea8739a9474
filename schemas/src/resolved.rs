//! The resolved run: everything that decides a run's bits, and nothing else. Put once as `<run>/run.json`; its sha256
//! is part of every task's identity.

use crate::architecture::Architecture;
use crate::data::{DataSet, Labels, LabelsPer, Partition};
use crate::digest::Digest;
use crate::pipeline::{Pipeline, Selection};
use crate::signature::PartyIdentity;
use crate::task::Subject;
use serde::{Deserialize, Serialize};

/// Version of the schemas of tasks, events, plans and results. A reader refuses a newer one.
pub const VERSION: u32 = 1;

/// The schema version of a record or an object that a newer release wrote: the rest of it need not be readable.
pub fn newer(body: &[u8]) -> Option<u32> {
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    let Versioned { version } = serde_json::from_slice(body).ok()?;
    (version > VERSION).then_some(version)
}

/// Reads a record's body.
///
/// # Errors
/// Why it cannot be used; `what` names what it should be, with its article.
pub fn read<T: serde::de::DeserializeOwned>(body: &[u8], what: &str) -> Result<T, String> {
    if let Some(version) = newer(body) {
        return Err(format!(
            "it has schema version {version}, this release reads up to {VERSION}"
        ));
    }
    serde_json::from_slice(body).map_err(|error| format!("it is not {what}: {error}"))
}

/// One pipeline, one seed, defaults filled in, data by sha256. Without rounds, seeds, baselines, paths, log, store and
/// deadlines, which change no result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResolvedRun {
    /// [`VERSION`].
    pub version: u32,
    /// The algorithm, with the settings of its steps.
    pub pipeline: Pipeline,
    /// Every random stream of the run derives from it.
    pub seed: u64,
    /// Architecture of each party, by slot.
    pub parties: Vec<Architecture>,
    /// Who the parties are, by slot, where they run their own workers; empty where they are simulated.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub identities: Vec<PartyIdentity>,
    /// Rows that parties keep to themselves: divided among simulated parties; of real ones, each has its own, and this
    /// says only what they are like (no rows, the sha256 of nothing).
    pub private: DataSet,
    /// Rows that everyone can read; `None` where the pipeline uses none.
    pub public: Option<DataSet>,
    /// Rows that models are scored on.
    pub test: DataSet,
    /// How private and public labels meet in one head.
    pub labels: Labels,
    /// How private rows are divided.
    pub partition: Partition,
    /// Rows of each round's alignment set.
    pub alignment: u32,
    /// Number format of predictions on the wire.
    pub precision: Precision,
    /// Which parties take part in a round after the warm-up.
    #[serde(default, skip_serializing_if = "Selection::is_all")]
    pub selection: Selection,
    /// Rows that the server stops its training by; `None` where there are none. A pipeline that stops otherwise has those
    /// that are cut off the private rows too, so that it divides the same rows as the ones that it is compared with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<Validation>,
    /// What goes wrong with simulated parties.
    #[serde(default, skip_serializing_if = "Simulate::is_nothing")]
    pub simulate: Simulate,
}

/// Labelled rows like the private ones, which the server holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Validation {
    /// So many of the private rows, drawn by the plan before they are divided among simulated parties.
    Private {
        /// How many.
        rows: u32,
    },
    /// Rows of a set of their own.
    Set {
        /// The set.
        set: Box<DataSet>,
    },
}

impl Validation {
    /// How many there are.
    pub fn rows(&self) -> u32 {
        match self {
            Self::Private { rows } => *rows,
            Self::Set { set } => set.take,
        }
    }
}

/// What goes wrong with simulated parties, by seeded draws: who is slow, who fails and who is offline is drawn once a run,
/// whether a party that fails does so is drawn for each attempt at a round, all of whose tasks of that party then fail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Simulate {
    /// Parties whose tasks take longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slow: Option<Slow>,
    /// Parties that fail now and then, with all their tasks of an attempt at a round.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fail: Option<Fail>,
    /// Parties that never answer after round 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offline: Option<Offline>,
}

/// Parties whose tasks take longer.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slow {
    /// How many of the parties.
    pub parties: u32,
    /// How many times as long as they would: above 1.
    pub factor: f64,
}

/// Parties that fail now and then, with all their tasks of an attempt at a round.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fail {
    /// How many of the parties.
    pub parties: u32,
    /// In how many of the attempts at rounds after the warm-up, as a fraction.
    pub probability: f64,
}

/// Parties that never answer after round 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Offline {
    /// How many of the parties.
    pub parties: u32,
}

impl Simulate {
    /// Whether nothing goes wrong.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// The mark of a run whose objects were deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pruned {
    /// [`VERSION`].
    pub version: u32,
}

/// Number format of predictions on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// IEEE 754 binary16: two bytes a value.
    #[default]
    Float16,
    /// IEEE 754 binary32: four bytes a value.
    Float32,
}

impl Precision {
    /// Bytes of one value.
    pub fn bytes(self) -> usize {
        match self {
            Self::Float16 => 2,
            Self::Float32 => 4,
        }
    }
}

impl ResolvedRun {
    /// Its identity.
    pub fn sha256(&self) -> Digest {
        Digest::of_json(self)
    }

    /// Whether parties run their own workers, with their own data.
    pub fn is_placed(&self) -> bool {
        !self.identities.is_empty()
    }

    /// Who a slot's party is, where parties run their own workers.
    pub fn identity(&self, subject: Subject) -> Option<&PartyIdentity> {
        match subject {
            Subject::Party(slot) => self.identities.get(slot as usize),
            _ => None,
        }
    }

    /// Classes of every model's head.
    pub fn head(&self) -> u32 {
        let public = self.public.as_ref().map_or(0, |set| set.classes);
        self.labels.head(self.private.classes, public)
    }

    /// What of a row every model predicts: what of a private row has a label.
    pub fn labels_per(&self) -> LabelsPer {
        self.private.columns.labels_per
    }

    /// Predictions of every model on a row: 1, or as many as a window of text has positions.
    pub fn labels_per_row(&self) -> u32 {
        self.private.labels_per_row()
    }

    /// Whose the predictions on those rows are, in order: the id of each row, as often as there are predictions on it.
    pub fn samples(&self, rows: &[u32]) -> Vec<u32> {
        let times = self.labels_per_row() as usize;
        rows.iter().flat_map(|row| std::iter::repeat_n(*row, times)).collect()
    }

    /// How many of the private rows the server holds to stop its training by.
    pub fn held_back(&self) -> u32 {
        match self.validation {
            Some(Validation::Private { rows }) => rows,
            _ => 0,
        }
    }

    /// How many of the private rows are divided among the parties.
    pub fn divided(&self) -> u32 {
        self.private.take.saturating_sub(self.held_back())
    }

    /// What of its data sets is larger than anything that can be trained on, in words for people.
    pub fn too_large(&self) -> Option<String> {
        let validation = match &self.validation {
            Some(Validation::Set { set }) => Some(set.as_ref()),
            _ => None,
        };
        let sets = [Some(&self.private), self.public.as_ref(), Some(&self.test), validation];
        let data = sets.into_iter().flatten().find_map(DataSet::too_large);
        // Both counts are small enough to be added where that found nothing.
        data.or_else(|| {
            let predictions = u64::from(self.alignment).saturating_mul(u64::from(self.labels_per_row()));
            let values = predictions.saturating_mul(u64::from(self.head()));
            let most = 1_u64 << 30;
            (values > most).then(|| format!("predictions of {values} values, where {most} are the most"))
        })
        .or_else(|| {
            let (held, rows) = (self.held_back(), self.private.take);
            let nothing_left = held > 0 && held >= rows;
            nothing_left
                .then(|| format!("{held} validation rows out of {rows} private ones, which leaves none to train on"))
        })
    }

    /// The distinct architectures, in the order of their first party.
    pub fn architectures(&self) -> Vec<&Architecture> {
        let mut distinct: Vec<&Architecture> = Vec::new();
        for architecture in &self.parties {
            if !distinct.contains(&architecture) {
                distinct.push(architecture);
            }
        }
        distinct
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Shape;

    fn run() -> ResolvedRun {
        serde_json::from_str(include_str!("../testdata/version-1/run.json")).unwrap()
    }

    #[test]
    fn validation_rows_are_cut_off_the_private_ones_or_are_a_set_of_their_own() {
        let mut run = run();
        let rows = run.private.take;
        assert_eq!((run.held_back(), run.divided()), (0, rows));
        run.validation = Some(Validation::Private { rows: 7 });
        assert_eq!((run.held_back(), run.divided()), (7, rows - 7));
        run.validation = Some(Validation::Set {
            set: Box::new(run.test.clone()),
        });
        assert_eq!((run.held_back(), run.divided()), (0, rows));
        assert_eq!(run.validation.as_ref().map(Validation::rows), Some(run.test.take));
    }

    #[test]
    fn validation_rows_that_no_worker_can_hold_or_that_leave_none_to_train_on_are_too_large() {
        let mut run = run();
        assert_eq!(run.too_large(), None);
        let shape = Shape {
            channels: 1,
            height: 1 << 13,
            width: 1 << 13,
        };
        let set = Box::new(DataSet {
            shape,
            ..run.test.clone()
        });
        run.validation = Some(Validation::Set { set });
        let why = run.too_large().unwrap();
        assert!(why.contains("rows of 1x8192x8192"), "{why}");
        for (rows, refused) in [
            (1, false),
            (run.private.take - 1, false),
            (run.private.take, true),
            (u32::MAX, true),
        ] {
            run.validation = Some(Validation::Private { rows });
            assert_eq!(run.too_large().is_some(), refused, "{rows}");
        }
    }

    #[test]
    fn a_row_has_a_prediction_or_one_at_every_position() {
        let mut run = run();
        assert_eq!((run.labels_per(), run.labels_per_row()), (LabelsPer::Window, 1));
        assert_eq!(run.samples(&[7, 3]), [7, 3]);
        run.private.shape = Shape {
            channels: 1,
            height: 1,
            width: 3,
        };
        run.private.columns.labels_per = LabelsPer::Position;
        assert_eq!((run.labels_per(), run.labels_per_row()), (LabelsPer::Position, 3));
        assert_eq!(run.samples(&[7, 3]), [7, 7, 7, 3, 3, 3]);
    }

    #[test]
    fn predictions_at_every_position_count_where_a_run_is_too_large() {
        let mut run = run();
        run.private.shape.width = 80;
        run.private.shape.height = 1;
        // A head of 36 classes: 2^30 values are 372,827 windows of 80 predictions.
        assert_eq!(run.head(), 36);
        run.alignment = 1 << 20;
        assert_eq!(run.too_large(), None);
        run.private.columns.labels_per = LabelsPer::Position;
        let why = run.too_large().unwrap();
        assert!(why.contains("predictions of 3019898880 values"), "{why}");
        run.alignment = 372_827;
        assert_eq!(run.too_large(), None);
    }

    #[test]
    fn what_a_run_does_not_say_is_not_written() {
        let text = crate::canonical_json(&run());
        for field in ["selection", "validation", "simulate", "labels_per"] {
            assert!(!text.contains(field), "{field}");
        }
    }
}
