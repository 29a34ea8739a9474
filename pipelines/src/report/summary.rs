//! What the runs of a run file reached so far, and its picture.

use crate::figures::{Across, Line, Picture};
use crate::reached::{self, Method, ReadError, Shown, worst_of};
use std::collections::BTreeSet;
use std::path::Path;

/// What the runs of a run file reached so far.
#[derive(Debug)]
pub(crate) struct Summary {
    /// The run file's name.
    pub(super) name: String,
    /// The pipelines: the run file's own first, then its baselines.
    pub(super) methods: Vec<Method>,
    /// Whether the first pipeline is the one that the others are there to be compared with.
    pub(super) leads: bool,
    /// Numerics classes of the machines that made them, each with the release.
    numerics: BTreeSet<String>,
    /// The providers whose prices its costs are by.
    pub(super) providers: BTreeSet<String>,
    /// The test set of all scores; empty where nothing is scored.
    test_set: String,
}

/// Reads what the runs have reached so far, from the folder of the result tables.
///
/// # Errors
/// A table that cannot be read, or that these runs did not write.
pub(crate) fn load(results: &Path, runs: &[Shown]) -> Result<Summary, ReadError> {
    let reached = reached::load(results, runs, None)?;
    Ok(Summary {
        name: runs.first().map_or("", Shown::name).to_owned(),
        methods: reached.methods,
        leads: true,
        numerics: reached.numerics,
        providers: reached.providers,
        test_set: reached.test_set.unwrap_or_default(),
    })
}

impl Summary {
    /// The same where nobody knows which pipeline the others are compared with. One alone leads all the same.
    pub(crate) fn among_equals(mut self) -> Self {
        self.leads = self.methods.len() == 1;
        self
    }

    /// Whether no run has a round.
    pub(crate) fn is_empty(&self) -> bool {
        self.methods.iter().all(|method| method.main.last().is_none())
    }

    /// The numerics classes of the machines that made the results, each with the release: where there is one, the same
    /// run on a machine of that class gives the same bits.
    pub(crate) fn numerics(&self) -> impl Iterator<Item = &str> {
        self.numerics.iter().map(String::as_str)
    }

    /// The mean accuracy of the first pipeline's last round, over slots and then over seeds.
    pub(crate) fn reached(&self) -> Option<f64> {
        let (_, accuracy) = self.methods.first()?.main.means().pop()?;
        Some(accuracy.mean)
    }

    /// The test set of all scores; empty where nothing is scored.
    pub(crate) fn test_set(&self) -> &str {
        &self.test_set
    }

    /// The pipelines that have scores, each with the step of its main ones.
    pub(crate) fn steps(&self) -> Vec<(&str, &str)> {
        let scored = self.methods.iter().filter(|method| method.main.last().is_some());
        scored
            .map(|method| (method.pipeline.as_str(), method.main.step.as_str()))
            .collect()
    }

    /// The seeds that are in the means of any pipeline, in order.
    pub(super) fn counted_seeds(&self) -> BTreeSet<u64> {
        let runs = self.methods.iter().flat_map(Method::counted);
        runs.map(|run| run.seed).collect()
    }

    /// The seeds of all pipelines, in order.
    pub(super) fn seeds(&self) -> BTreeSet<u64> {
        let runs = self.methods.iter().flat_map(|method| &method.runs);
        runs.map(|run| run.seed).collect()
    }

    /// The last round of any pipeline.
    pub(super) fn last(&self) -> u32 {
        let rounds = self.methods.iter().filter_map(|method| method.main.last());
        rounds.max().unwrap_or(0)
    }

    /// What the lowest slot is, of the pipelines that have scores.
    pub(super) fn worst(&self) -> &'static str {
        let scored = self.methods.iter().filter(|method| method.main.last().is_some());
        worst_of(scored.map(|method| method.main.owner()))
    }

    /// A line chart of mean accuracy by round: a line a pipeline, the lowest slot dashed in the same colour, and with
    /// several seeds a band from the lowest to the highest of them.
    pub(crate) fn svg(&self) -> String {
        let line = |method: &Method| {
            let worsts = method.main.worsts().into_iter();
            Line {
                name: method.name.clone(),
                pipeline: method.pipeline.clone(),
                mean: by_round(method.main.means()),
                worst: by_round(worsts.map(|(round, worst)| (round, worst.mean))),
            }
        };
        Picture {
            across: Across::rounds(self.last()),
            test_set: self.test_set.clone(),
            lines: self.methods.iter().map(line).collect(),
            worst: self.worst(),
            target: None,
        }
        .svg()
    }
}

fn by_round<T>(values: impl IntoIterator<Item = (u32, T)>) -> Vec<(f64, T)> {
    let places = values.into_iter().map(|(round, value)| (f64::from(round), value));
    places.collect()
}
