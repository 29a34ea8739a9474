//! What steps show others, against what the pipeline says that it discloses.

use super::{Fault, steps};
use crate::fit::Watch;
use crate::pipeline::{Disclosure, On, Pipeline, Stage, Start, Step, Target, Who};

/// What is not said, each at the first step that shows it.
pub(super) fn faults(pipeline: &Pipeline) -> Vec<Fault> {
    let unsaid = Disclosure::ALL
        .into_iter()
        .filter(|what| !pipeline.discloses.contains(what));
    unsaid
        .filter_map(|what| {
            let at = steps(pipeline).find(|at| shows(at.step, at.before, what))?;
            Some(Fault {
                key: "discloses".to_owned(),
                message: format!("step {} shows what 'discloses' does not name: {what}", at.name()),
                help: format!("add \"{}\" to discloses", what.name()),
            })
        })
        .collect()
}

/// What a pipeline's steps show somebody.
pub(in crate::pipeline) fn shown(pipeline: &Pipeline) -> Vec<Disclosure> {
    let is_shown = |what: &Disclosure| steps(pipeline).any(|at| shows(at.step, at.before, *what));
    Disclosure::ALL.into_iter().filter(is_shown).collect()
}

/// Whether a step, after those before it in its round, shows somebody that.
fn shows(step: &Step, before: &[Step], what: Disclosure) -> bool {
    let by_party = step.who.is_parties();
    match what {
        Disclosure::Reports => by_party,
        Disclosure::Predictions => by_party && step.stage == Stage::Predict,
        Disclosure::Consensus => by_party && step.terms.iter().any(|term| term.target == Target::Consensus),
        Disclosure::Weights => {
            step.drop_worst
                || step.stage == Stage::Average
                || (step.stage == Stage::Evaluate && step.who == Who::Server)
        }
        Disclosure::Prototypes => by_party && starts_from_prototype(step, before),
        Disclosure::PrivateRows => !by_party && step.terms.iter().any(|term| term.on == On::Private),
        Disclosure::ValidationRows => {
            let stop = step.fit.as_ref().and_then(|fit| fit.stop.as_ref());
            step.drop_worst || stop.is_some_and(|stop| stop.watch == Watch::Validation)
        }
    }
}

/// What was pretrained tells nothing of any party: it is where all of them begin.
fn starts_from_prototype(step: &Step, before: &[Step]) -> bool {
    match &step.start {
        Start::Prototype => true,
        Start::Step(name) => before
            .iter()
            .any(|made| made.name == *name && made.who == Who::Architectures && made.stage != Stage::Pretrain),
        Start::Own | Start::Fresh => false,
    }
}
