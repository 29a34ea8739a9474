//! Runs side by side.
//!
//! ```text
//! names of runs ──find──> runs ──reached──> methods ──measures──> text: three tables and notes
//!                                                        ├──────> table (Parquet)
//!                                                        └──────> pictures (SVG)
//! ```
//!
//! A method is a pipeline of a run name, with its seeds. What it reached is the mean of its last evaluations; differences
//! to the baseline are taken seed by seed, which share partition and alignment draws, and then averaged. Only finished
//! rounds enter, and only runs that have as many as the others of their method.

mod baseline;
mod find;
mod measures;
mod notes;
mod pictures;
mod table;
mod text;

#[cfg(test)]
mod tests;

pub(crate) use find::named;

use crate::figures::unfinished;
use crate::reached::{self, Method, ReadError, Shown};
use baseline::Baselines;
use fedstill_schemas::resolved::ResolvedRun;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What is asked of a comparison.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Asked {
    /// How many evaluations at the end of a run make its mean.
    pub(crate) evaluations: usize,
    /// The mean accuracy that rounds, bytes and price are counted to.
    pub(crate) target: Option<f64>,
    /// What differences are against, as `standalone` or `name/standalone`.
    pub(crate) baseline: Option<String>,
    /// The test set; the first one met where none is named.
    pub(crate) test_set: Option<String>,
}

/// Methods side by side.
#[derive(Debug)]
pub(crate) struct Comparison {
    /// Those with results, at least one, in the order in which they were asked for.
    methods: Vec<Method>,
    baselines: Baselines,
    /// The run names without a baseline whose own is asked for, and has no results yet.
    to_come: BTreeSet<String>,
    evaluations: usize,
    target: Option<f64>,
    test_set: String,
    /// The providers whose prices the costs are by.
    providers: BTreeSet<String>,
    /// Which runs are behind, have no results, or lack some of their tables.
    unfinished: String,
    /// Which methods have other data than what they are compared with.
    other_data: Vec<String>,
}

/// Why runs cannot be compared.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoComparison {
    /// A name that no run has.
    #[error("no run '{asked}' has results in {}: {fix}", folder.display())]
    Unknown {
        /// What was asked for.
        asked: String,
        /// The folder of the results.
        folder: PathBuf,
        /// What to do about it.
        fix: String,
    },
    /// Runs that are known, none of which has results.
    #[error("there are no results of {runs} in {}: `fedstill run` makes them", folder.display())]
    Nothing {
        /// Their names.
        runs: String,
        /// The folder of the results.
        folder: PathBuf,
    },
    /// A baseline that is not there.
    #[error("the baseline '{asked}' is not among the methods that have results: {fix}")]
    Baseline {
        /// What was asked for.
        asked: String,
        /// What to do about it.
        fix: String,
    },
    /// A test set on which nothing is scored.
    #[error("nothing is scored on a test set '{asked}': {fix}")]
    TestSet {
        /// What was asked for.
        asked: String,
        /// What to do about it.
        fix: String,
    },
    /// A table that cannot be read, or that the run did not write.
    #[error(transparent)]
    Unreadable(#[from] ReadError),
}

/// Reads runs from the folder of the result tables, and sets them side by side. `kept` has the resolved runs by id, of those
/// whose folders are there.
///
/// # Errors
/// No results; a baseline or test set that is not there; a table that cannot be read, or that these runs did not write.
pub(crate) fn load(
    results: &Path,
    runs: &[Shown],
    kept: &BTreeMap<String, ResolvedRun>,
    asked: &Asked,
) -> Result<Comparison, NoComparison> {
    let reached = reached::load(results, runs, asked.test_set.as_deref())?;
    let Some(test_set) = reached.test_set.filter(|_| !reached.test_sets.is_empty()) else {
        let names: BTreeSet<&str> = runs.iter().map(Shown::name).collect();
        return Err(NoComparison::Nothing {
            runs: Vec::from_iter(names).join(", "),
            folder: results.to_owned(),
        });
    };
    if !reached.test_sets.contains(&test_set) {
        let fix = find::suggestion(&test_set, reached.test_sets.iter().map(String::as_str));
        return Err(NoComparison::TestSet { asked: test_set, fix });
    }
    let unfinished = unfinished(&reached.methods);
    let mut methods = reached.methods;
    methods.retain(|method| method.main.last().is_some());
    let pairs: Vec<(&str, &str)> = methods
        .iter()
        .map(|method| (&method.name[..], &method.pipeline[..]))
        .collect();
    let baselines = baseline::choose(&pairs, asked.baseline.as_deref())?;
    let own = |name: &str| {
        let mut asked_for = runs.iter();
        asked_for.any(|run| run.name() == name && run.pipeline == baselines.name && run.done.is_none())
    };
    let to_come = baselines.lacking.iter().filter(|name| own(name)).cloned().collect();
    Ok(Comparison {
        other_data: notes::other_data(&methods, &baselines, kept),
        methods,
        baselines,
        to_come,
        evaluations: asked.evaluations,
        target: asked.target,
        test_set,
        providers: reached.providers,
        unfinished,
    })
}

impl Comparison {
    /// The run names, in the order of the methods.
    fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for method in &self.methods {
            if !names.contains(&method.name.as_str()) {
                names.push(&method.name);
            }
        }
        names
    }

    /// The run names as one.
    fn name(&self) -> String {
        self.names().join(", ")
    }
}
