//! The run file: what a person writes to describe a run, read into typed fields.
//!
//! In: the text of a TOML file and a [`Catalog`] of the pipelines and model families that exist. Out: a [`RunFile`], or
//! every [`Problem`] found, each with its place and its fix. Nothing is read from disk: whether data files exist and
//! fit is for the caller to find out, who then points at the same places with [`RunFile::complain`].
//!
//! ```text
//! text ──toml──> tables with places ──fields──> RunFile ──checks──> RunFile
//!        │ syntax            │ keys, types, ranges       │ fields against each other
//!        └───────────────────┴──────> Problem <──────────┘
//! ```
//! The three passes report apart: a later one starts when the one before found nothing, so that one mistake is one
//! problem. serde does not do the reading, because its tagged enums forget where a value stood.

mod checks;
mod classes;
mod data;
mod deployment;
mod duration;
mod fields;
mod grid;
mod party_file;
mod pipeline_file;
mod places;
mod point_name;
mod price_table;
mod problem;
mod reader;
mod selection;
mod simulation;
mod spelling;
mod step_settings;
mod sweep_file;
#[cfg(test)]
mod tests;
mod training;
mod wrong_kind;

pub use deployment::{BadVariable, Cost, Deployment, LogSettings};
pub use party_file::PartyFile;
pub use places::Places;
pub use price_table::NoSuchProvider;
pub use problem::Problem;
pub use spelling::{nearest, quoted, shell_word, suggestion};
pub use step_settings::{StepSettings, Stop};
pub use sweep_file::{Origin, Point, SweepFile};
pub use wrong_kind::FileKind;

use crate::architecture::Architecture;
use crate::data::{Augmentation, Columns, Labels, LabelsPer, Partition, Shape};
use crate::pipeline::{Disclosure, Pipeline, Selection};
use crate::resolved::{Precision, Simulate};
use crate::signature::PartyIdentity;
use reader::Notes;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::de::DeTable;

/// A documented run file with the quickstart's settings, to begin from.
pub const TEMPLATE: &str = include_str!("template.toml");

/// Rows of the public set in each round's alignment set where the run file names no number and the set has as many.
pub const ALIGNMENT: u32 = 5000;

/// What a run file may name: which pipelines and model families exist.
#[derive(Clone, Copy, Debug)]
pub struct Catalog<'a> {
    /// The pipelines, those of `files` too.
    pub pipelines: &'a [Pipeline],
    /// Files of pipelines, by their paths as the run file writes them, or as [`SweepFile::catalogued`] does: the name of the
    /// pipeline in it, or why it cannot be used.
    pub files: &'a BTreeMap<String, Result<String, String>>,
    /// The model families: `lenet`, `cnn`.
    pub families: &'a [&'a str],
}

impl<'a> Catalog<'a> {
    /// The pipeline of that name.
    pub fn pipeline(&self, name: &str) -> Option<&'a Pipeline> {
        called(self.pipelines, name)
    }
}

fn called<'a>(pipelines: &'a [Pipeline], name: &str) -> Option<&'a Pipeline> {
    pipelines.iter().find(|pipeline| pipeline.name == name)
}

/// A file's pipeline, and those to compare it with: what is made of its own steps, or of another pipeline's, where that is
/// what a baseline is.
fn beside(own: &Pipeline, baselines: &[String], pipelines: &[Pipeline]) -> Vec<Pipeline> {
    let baseline = |name: &String| {
        let made = own.baseline(name).or_else(|| called(pipelines, name).cloned());
        made.or_else(|| made_of_another(name, pipelines))
    };
    std::iter::once(own.clone())
        .chain(baselines.iter().filter_map(baseline))
        .collect()
}

/// What `fedmd_standalone` is: the baseline of that kind, of the steps of that pipeline.
fn made_of_another(name: &str, pipelines: &[Pipeline]) -> Option<Pipeline> {
    let (of, kind) = name.rsplit_once('_')?;
    let mut made = called(pipelines, of)?.baseline(kind)?;
    name.clone_into(&mut made.name);
    Some(made)
}

/// A run file that was found valid, with its defaults filled in.
#[derive(Clone, Debug)]
pub struct RunFile {
    /// Its name; run ids are `<name>-<pipeline>-<seed>`.
    pub name: String,
    /// The pipeline that it is about.
    pub pipeline: String,
    /// Rounds after the warm-up; 0 for the warm-up alone.
    pub rounds: u32,
    /// Seeds, each a run of its own: distinct, at least one.
    pub seeds: Vec<u64>,
    /// Pipelines to compare with: distinct, without the pipeline itself.
    pub baselines: Vec<String>,
    /// The number format of predictions on the wire.
    pub predictions: Precision,
    /// Data sets and how they are used.
    pub data: Data,
    /// The parties.
    pub parties: Parties,
    /// What the file changes about steps of its pipeline, by step.
    pub steps: BTreeMap<String, StepSettings>,
    /// When a phase ends.
    pub close: Close,
    /// What goes wrong with simulated parties.
    pub simulate: Simulate,
    /// What a deployment runs on; a run on one machine uses its prices and nothing else.
    pub deployment: Deployment,
    places: Places,
}

impl RunFile {
    /// Reads and checks a run file.
    ///
    /// # Errors
    /// The problems found, in the order of the text; at least one.
    pub fn parse(text: &str, catalog: &Catalog<'_>) -> Result<Self, Vec<Problem>> {
        let document = DeTable::parse(text).map_err(|error| vec![problem::of_syntax(text, &error)])?;
        Self::of(document.get_ref(), text, catalog, &[])
    }

    /// The same of tables whose places are in that text. What is said about pipelines may be about those that run `elsewhere`
    /// alone, at other points of a sweep.
    fn of(
        document: &DeTable<'_>,
        text: &str,
        catalog: &Catalog<'_>,
        elsewhere: &[Pipeline],
    ) -> Result<Self, Vec<Problem>> {
        let notes = Notes::new(text);
        let read = fields::run_file(document, &notes, catalog, elsewhere);
        match (read, notes.into_problems()) {
            (Some(file), problems) if problems.is_empty() => {
                let problems = checks::run(&file, catalog, elsewhere);
                if problems.is_empty() { Ok(file) } else { Err(problems) }
            }
            (_, problems) => Err(problems),
        }
    }

    /// The names of the pipelines of this file: its own and its baselines.
    pub fn pipelines(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.pipeline)
            .chain(&self.baselines)
            .map(String::as_str)
    }

    /// The pipelines of this file, its own first, out of all that there are. The baselines `standalone` and `centralised`
    /// are made of its own pipeline's steps ([`Pipeline::baseline`]), `fedmd_standalone` is of that one's. Each has what the
    /// file changes about its steps.
    pub fn asked(&self, pipelines: &[Pipeline]) -> Vec<Pipeline> {
        let own = called(pipelines, &self.pipeline);
        let all = own.map_or_else(Vec::new, |own| beside(own, &self.baselines, pipelines));
        all.iter().map(|pipeline| self.settled(pipeline)).collect()
    }

    /// A pipeline with what the file changes about its steps, and about what it discloses by them.
    pub fn settled(&self, pipeline: &Pipeline) -> Pipeline {
        let mut settled = pipeline.clone();
        for step in settled.warmup.iter_mut().chain(&mut settled.round) {
            if let Some(settings) = self.steps.get(&step.name) {
                settings.apply(step);
            }
            // Where the server never sees what parties trained, it has nothing to judge: a baseline lacks it.
            step.drop_worst &= pipeline.discloses.contains(&Disclosure::Weights);
        }
        let held = Disclosure::ValidationRows;
        match (settled.reads_validation(), settled.discloses.contains(&held)) {
            (true, false) => {
                settled.discloses.push(held);
                settled.discloses.sort_unstable();
            }
            (false, true) => settled.discloses.retain(|what| *what != held),
            _ => {}
        }
        settled
    }

    /// A problem at the place of a dotted key, such as `data.private.url` or `parties.architectures[1]`; where the
    /// file does not write that key, at the table that would hold it.
    pub fn complain(&self, key: &str, message: impl Into<String>, help: impl Into<String>) -> Problem {
        self.places
            .problem(self.places.of(key), message.into(), Some(help.into()))
    }
}

/// `[data]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Data {
    /// The rows that parties keep to themselves.
    pub private: Private,
    /// The rows that everyone can read; present where a pipeline of the file uses them.
    pub public: Option<Source>,
    /// The rows that models are evaluated on.
    pub test: Source,
    /// The rows that the server stops its training by, or judges parties' models by; present where a pipeline of the file
    /// uses them.
    pub validation: Option<Validation>,
    /// How private and public labels meet in one head.
    pub labels: Labels,
    /// How private rows are divided.
    pub partition: Partition,
    /// Rows of the public set in each round's alignment set; where `None`, [`ALIGNMENT`] or all that there are.
    pub alignment: Option<u32>,
}

impl Data {
    /// How many of the private rows the server holds to stop its training by: they are divided among nobody.
    pub fn held_back(&self) -> u32 {
        match self.validation {
            Some(Validation::Private { rows }) => rows,
            _ => 0,
        }
    }
}

/// `data.validation`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Validation {
    /// So many of the private rows, cut off before they are divided.
    Private {
        /// How many.
        rows: u32,
    },
    /// A file of its own.
    Set(Source),
}

/// `data.private`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Private {
    /// A file whose rows are divided among simulated parties.
    Divided(Source),
    /// Each party has rows of its own, which are like this.
    Own {
        /// Labels run from 0 to `classes` - 1.
        classes: u32,
        /// Shape of an image, or of a window of text.
        shape: Shape,
        /// What of a row has a label.
        labels_per: LabelsPer,
        /// How images are changed in training; sorted.
        augment: Vec<Augmentation>,
    },
}

impl Private {
    /// The file, where there is one.
    pub fn file(&self) -> Option<&Source> {
        match self {
            Self::Divided(source) => Some(source),
            Self::Own { .. } => None,
        }
    }

    /// What of a row has a label.
    pub fn labels_per(&self) -> LabelsPer {
        match self {
            Self::Divided(source) => source.columns.labels_per,
            Self::Own { labels_per, .. } => *labels_per,
        }
    }
}

/// A data set's file and how many of its rows to draw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// As written: a path, relative to the run file, or `file://` and an absolute path.
    pub url: String,
    /// Rows to draw; all where `None`.
    pub rows: Option<u32>,
    /// Which of its columns are read, and which rows by their labels.
    pub columns: Columns,
    /// How its images are changed in training; sorted.
    pub augment: Vec<Augmentation>,
}

impl Source {
    /// The file, for a run file that lies in `folder`.
    pub fn path(&self, folder: &Path) -> PathBuf {
        folder.join(self.url.strip_prefix("file://").unwrap_or(&self.url))
    }
}

/// `[parties]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parties {
    /// How many there are.
    pub count: u32,
    /// Their architectures, in turn: not empty, no more than parties.
    pub architectures: Vec<Architecture>,
    /// Who they are, where they run their own workers; empty where they are simulated.
    pub identities: Vec<PartyIdentity>,
    /// Which of them take part in a round, of pipelines that select.
    pub selection: Selection,
}

impl Parties {
    /// The architecture of the party in that slot.
    pub fn architecture(&self, slot: u32) -> &Architecture {
        &self.architectures[slot as usize % self.architectures.len()]
    }
}

/// `[close]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Close {
    /// The fraction of a phase's parties that must answer, above 0 and at most 1.
    pub quorum: f64,
    /// How long a phase waits for all of them; for ever where `None`.
    pub deadline: Option<Duration>,
}

impl Default for Close {
    fn default() -> Self {
        Self {
            quorum: 0.5,
            deadline: None,
        }
    }
}
