//! What runs reached, from their result tables: what `report` and `compare` show.
//!
//! ```text
//! results (Parquet) ──table, read──> run (one a seed) ──> methods, each with a track a scoring step
//! ```
//!
//! A run can score several kinds of models in a round, each by a step of its own: prototypes, parties' own models, an
//! ensemble of teachers. They are kept apart; the scores of the step `evaluate` are the main ones. Runs that have not
//! ended, or not started, are read as far as they are.

mod read;
mod run;
mod statistics;
mod table;
mod track;

#[cfg(test)]
pub(crate) mod samples;

pub(crate) use read::{ids, shown};
pub(crate) use run::{Cost, Owner, Run, Slots, worst_of};
pub(crate) use statistics::{Spread, deviation, mean, paired};
pub(crate) use track::{Curve, Method, Track};

use crate::resolve::Job;
use fedstill_schemas::names;
use fedstill_schemas::pipeline::Stage;
use read::Read;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A run to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shown {
    /// Its id, `<name>-<pipeline>-<seed>`.
    pub(crate) run: String,
    /// Its pipeline.
    pub(crate) pipeline: String,
    /// Its seed.
    pub(crate) seed: u64,
    /// The rounds that it is to have, without round 0, where a run file or its folder says so.
    pub(crate) rounds: Option<u32>,
    /// The last round that its folder says is done, where its folder is there and has one: its tables are written, or
    /// about to be.
    pub(crate) done: Option<u32>,
}

impl Shown {
    /// A job that is to have so many rounds.
    pub(crate) fn of(job: &Job, rounds: u32) -> Self {
        Self {
            run: job.id.clone(),
            pipeline: job.resolved.pipeline.name.clone(),
            seed: job.resolved.seed,
            rounds: Some(rounds),
            done: None,
        }
    }

    /// Its run name. A run that a hand-written trigger started under another kind of id is named by it.
    pub(crate) fn name(&self) -> &str {
        let end = names::run_id("", &self.pipeline, self.seed);
        self.run.strip_suffix(end.as_str()).unwrap_or(&self.run)
    }
}

/// What runs reached so far.
#[derive(Debug, Default)]
pub(crate) struct Reached {
    /// In the order in which their runs were asked for.
    pub(crate) methods: Vec<Method>,
    /// The test set of all scores; none where nothing was asked for and nothing is scored.
    pub(crate) test_set: Option<String>,
    /// Every test set that something is scored on.
    pub(crate) test_sets: BTreeSet<String>,
    /// Numerics classes of the machines that made them, each with the release.
    pub(crate) numerics: BTreeSet<String>,
    /// The providers whose prices their costs are by.
    pub(crate) providers: BTreeSet<String>,
}

/// Why results cannot be shown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// A file or folder that cannot be opened.
    #[error("cannot read {}: {reason}", path.display())]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        reason: std::io::Error,
    },
    /// A file that is not what the run wrote there.
    #[error("{} is not the {table} table of run '{run}': {reason}; move it away: `fedstill run` writes it again", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// The table that should be there.
        table: &'static str,
        /// The run that the folder is for.
        run: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// Reads what the runs have reached so far, from the folder of the result tables, on one test set: the first one met where
/// none is named.
///
/// # Errors
/// A table that cannot be read, or that these runs did not write.
pub(crate) fn load(results: &Path, runs: &[Shown], test_set: Option<&str>) -> Result<Reached, ReadError> {
    let mut reached = Reached {
        test_set: test_set.map(ToOwned::to_owned),
        ..Reached::default()
    };
    let mut groups: Vec<Group> = Vec::new();
    for shown in runs {
        let read = read::run(results, shown, &mut reached.test_set)?;
        let own = |group: &Group| group.name == shown.name() && group.pipeline == shown.pipeline;
        let at = groups.iter().position(own).unwrap_or_else(|| {
            groups.push(Group::new(shown));
            groups.len() - 1
        });
        reached.test_sets.extend(read.test_sets.iter().cloned());
        reached.numerics.extend(read.numerics.iter().cloned());
        reached.providers.extend(read.providers.iter().cloned());
        groups[at].add(read);
    }
    let names: BTreeSet<&str> = groups.iter().map(|group| group.name.as_str()).collect();
    let several = names.len() > 1;
    reached.methods = groups.into_iter().map(|group| group.method(several)).collect();
    Ok(reached)
}

/// The runs of a method, before its main scores are known.
struct Group {
    name: String,
    pipeline: String,
    tracks: Vec<Track>,
    runs: Vec<Run>,
}

impl Group {
    fn new(shown: &Shown) -> Self {
        Self {
            name: shown.name().to_owned(),
            pipeline: shown.pipeline.clone(),
            tracks: Vec::new(),
            runs: Vec::new(),
        }
    }

    fn add(&mut self, read: Read) {
        for scores in read.scores {
            let found = self.tracks.iter().position(|track| track.step == scores.step);
            let at = found.unwrap_or_else(|| {
                self.tracks.push(Track {
                    step: scores.step.clone(),
                    ..Track::default()
                });
                self.tracks.len() - 1
            });
            let track = &mut self.tracks[at];
            track.curves.push(Curve {
                seed: read.run.seed,
                owner: scores.owner,
                rounds: scores.rounds,
            });
        }
        self.runs.push(read.run);
    }

    fn method(self, several: bool) -> Method {
        let mut tracks = self.tracks;
        // A stable sort: the others stay in their order.
        tracks.sort_by_key(|track| track.step != Stage::Evaluate.name());
        let mut tracks = tracks.into_iter();
        Method {
            label: if several {
                format!("{}/{}", self.name, self.pipeline)
            } else {
                self.pipeline.clone()
            },
            main: tracks.next().unwrap_or_default(),
            others: tracks.collect(),
            name: self.name,
            pipeline: self.pipeline,
            runs: self.runs,
        }
    }
}
