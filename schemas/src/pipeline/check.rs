//! What every pipeline must follow, so that its rounds can be done and it discloses no more than it says.
//!
//! In: a pipeline, from wherever. Out: each rule that it breaks, at its key; none of a pipeline whose rounds can be done on
//! any run file that has what it needs. Whoever reads a pipeline from outside asks here, before anything starts: a file's
//! reader, `plan` of a run's trigger, a party's own worker of the run that it is to take part in. The other stages do not
//! ask again.

mod disclosure;
mod order;
mod stages;
#[cfg(test)]
mod tests;
mod training;

pub(super) use disclosure::shown;

use super::{Pipeline, Stage, Step, Who};
use crate::plan::ARCHIVE;
use crate::run_file::quoted;
use std::fmt;

/// Longest name: it becomes part of run ids and of objects' names.
const LONGEST_NAME: usize = 60;

/// A rule that a pipeline breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The key that it is about, as in the pipeline's file: `round[2].start`. What is missing there is named by its step,
    /// `round[2]`.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// The fix.
    pub help: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.key, self.message, self.help)
    }
}

impl Pipeline {
    /// The rules that it breaks, step by step; none of a pipeline that can be run.
    pub fn check(&self) -> Vec<Fault> {
        let mut faults: Vec<Fault> = bad_name("name".to_owned(), "a pipeline", &self.name, "mine")
            .into_iter()
            .collect();
        for at in steps(self) {
            faults.extend(names(&at));
            faults.extend(stages::faults(&at));
            faults.extend(order::faults(&at));
            faults.extend(training::faults(&at));
        }
        faults.extend(disclosure::faults(self));
        faults.extend(nothing_to_report(self));
        faults
    }
}

/// A step, where it stands, and what is done before it.
struct StepAt<'a> {
    list: &'static str,
    index: usize,
    step: &'a Step,
    /// The steps before it in the same round.
    before: &'a [Step],
    /// The warm-up's steps; of these themselves none.
    warmup: &'a [Step],
}

impl StepAt<'_> {
    /// One of the step's keys in the file; the step where `key` is empty.
    fn key(&self, key: &str) -> String {
        let dot = if key.is_empty() { "" } else { "." };
        format!("{}[{}]{dot}{key}", self.list, self.index)
    }

    /// A fault at one of the step's keys, or at the step where `key` is empty.
    fn fault(&self, key: &str, message: impl Into<String>, help: impl Into<String>) -> Fault {
        Fault {
            key: self.key(key),
            message: message.into(),
            help: help.into(),
        }
    }

    /// The step's name in quotes.
    fn name(&self) -> String {
        quoted(&self.step.name)
    }

    /// Whether it needs a model to start from, unless it starts fresh.
    fn reads_model(&self) -> bool {
        match self.step.stage {
            // Without settings to train by it makes the weights that everyone begins with, or a party takes somebody's.
            Stage::Pretrain | Stage::Train | Stage::Distill => self.step.fit.is_some() || stages::takes(self.step),
            Stage::Predict => true,
            // The server's is about the models that the parties trained.
            Stage::Evaluate => self.step.who != Who::Server,
            Stage::Aggregate | Stage::Join | Stage::Average | Stage::Archive => false,
        }
    }
}

fn steps(pipeline: &Pipeline) -> impl Iterator<Item = StepAt<'_>> {
    let (warmup, round) = (pipeline.warmup.as_slice(), pipeline.round.as_slice());
    let lists = [("warmup", warmup, &warmup[..0]), ("round", round, warmup)];
    lists.into_iter().flat_map(|(list, steps, warmup)| {
        steps.iter().enumerate().map(move |(index, step)| StepAt {
            list,
            index,
            step,
            before: &steps[..index],
            warmup,
        })
    })
}

fn names(at: &StepAt<'_>) -> Vec<Fault> {
    let name = &at.step.name;
    let taken = at.before.iter().any(|other| other.name == *name).then(|| {
        at.fault(
            "name",
            format!("two steps of one round are called {}", quoted(name)),
            "give one of them another name: its stage says what it does",
        )
    });
    let archive = (name == ARCHIVE && at.step.stage != Stage::Archive).then(|| {
        at.fault(
            "name",
            format!("'{ARCHIVE}' is the step that ends every round"),
            "give this one another name",
        )
    });
    let keep = at.step.keep.as_deref();
    let keep = keep.and_then(|keep| bad_name(at.key("keep"), "an optimizer state", keep, "private"));
    let name = bad_name(at.key("name"), "a step", name, at.step.stage.name());
    [name, taken, archive, keep].into_iter().flatten().collect()
}

/// The fault of a name that cannot be part of ids and objects' names.
fn bad_name(key: String, what: &str, name: &str, otherwise: &str) -> Option<Fault> {
    let valid = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if !name.is_empty() && name.len() <= LONGEST_NAME && name.chars().all(valid) {
        return None;
    }
    let lower = name.to_lowercase();
    let near = lower.chars().map(|c| if valid(c) { c } else { '_' });
    let near: String = near.take(LONGEST_NAME).collect();
    let near = match near.trim_matches('_') {
        "" => otherwise,
        near => near,
    };
    Some(Fault {
        key,
        message: format!(
            "{} cannot be the name of {what}: it has lower-case letters, digits and underscores, at most {LONGEST_NAME}",
            quoted(name)
        ),
        help: format!("write \"{near}\""),
    })
}

/// A run whose rounds score no model has no results.
fn nothing_to_report(pipeline: &Pipeline) -> Option<Fault> {
    let evaluates = pipeline.round.iter().any(|step| step.stage == Stage::Evaluate);
    (!evaluates).then(|| Fault {
        key: "round".to_owned(),
        message: "no step of 'round' evaluates models: there would be nothing to report".to_owned(),
        help: "add a step with name = \"evaluate\", stage = \"evaluate\" and who = \"parties\"".to_owned(),
    })
}
