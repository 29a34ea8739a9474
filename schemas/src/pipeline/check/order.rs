//! What must come before a step: the model that it starts from, and the predictions, consensus or weights that it reads.
//!
//! A step finds what was made in its own round, or a model of the round before. Round 1 follows the warm-up: what round 1
//! can find, every later round finds.

use super::{Fault, StepAt};
use crate::pipeline::{By, Rule, Stage, Start, Step, Target, Who};
use crate::run_file::{quoted, suggestion};

pub(super) fn faults(at: &StepAt<'_>) -> Vec<Fault> {
    let faults = [
        without_start(at),
        without_predictions(at),
        without_consensus(at),
        without_weights(at),
        without_samples(at),
        twice_in_a_phase(at),
    ];
    faults.into_iter().flatten().collect()
}

/// Whether one of those steps makes a model of somebody that `whose` accepts.
fn makes(steps: &[Step], whose: impl Fn(Who) -> bool) -> bool {
    steps.iter().any(|step| step.stage.makes_model() && whose(step.who))
}

fn without_start(at: &StepAt<'_>) -> Option<Fault> {
    if !at.reads_model() {
        return None;
    }
    let found = |whose: &dyn Fn(Who) -> bool| makes(at.before, whose) || makes(at.warmup, whose);
    let prototypes = |who: Who| who == Who::Architectures;
    let name = at.name();
    match &at.step.start {
        Start::Fresh => None,
        Start::Prototype => (!found(&prototypes)).then(|| {
            at.fault(
                "start",
                format!("step {name} starts from the server's model, and no step before it makes one"),
                "begin the warm-up with a step of stage = \"pretrain\", who = \"architectures\", start = \"fresh\"",
            )
        }),
        Start::Step(made_by) => without_step(at, made_by),
        Start::Own => {
            let (found, owner) = match at.step.who {
                Who::Parties => (found(&|who: Who| who == Who::Parties), "every party"),
                Who::Selected => (found(&Who::is_parties), "the selected parties"),
                Who::Architectures => (found(&prototypes), "every architecture"),
                Who::Partitions | Who::Server => return None,
            };
            (!found).then(|| {
                at.fault(
                    "start",
                    format!("step {name} starts from a model that no step before it makes for {owner}"),
                    "put a step that trains before it, or name another start, as in start = { step = \"pretrain\" }",
                )
            })
        }
    }
}

fn without_step(at: &StepAt<'_>, made_by: &str) -> Option<Fault> {
    let makers = at
        .before
        .iter()
        .filter(|step| step.who == Who::Architectures && step.stage.makes_model());
    let makers: Vec<&str> = makers.map(|step| step.name.as_str()).collect();
    (!makers.contains(&made_by)).then(|| {
        at.fault(
            "start",
            format!(
                "step {} starts from step {}, and no step of that name before it in the round makes models of architectures",
                at.name(),
                quoted(made_by)
            ),
            suggestion(made_by, "such steps before it", &makers),
        )
    })
}

/// Whether a step of that stage comes before in the round.
fn follows(at: &StepAt<'_>, stage: Stage) -> bool {
    at.before.iter().any(|step| step.stage == stage)
}

fn without_predictions(at: &StepAt<'_>) -> Option<Fault> {
    let name = at.name();
    match at.step.stage {
        Stage::Aggregate if !follows(at, Stage::Predict) => Some(at.fault(
            "stage",
            format!("step {name} aggregates predictions, and no step before it in the round predicts"),
            "put a step of stage = \"predict\", who = \"parties\" before it",
        )),
        Stage::Join if !follows(at, Stage::Aggregate) => Some(at.fault(
            "stage",
            format!("step {name} joins a consensus, and no step before it in the round aggregates predictions"),
            "put a step of stage = \"aggregate\", who = \"partitions\" before it",
        )),
        _ => None,
    }
}

fn without_consensus(at: &StepAt<'_>) -> Option<Fault> {
    let mut terms = at.step.terms.iter();
    let term = terms.position(|term| term.target == Target::Consensus)?;
    (!follows(at, Stage::Join)).then(|| {
        at.fault(
            &format!("terms[{term}].target"),
            format!(
                "step {} learns from a consensus that no step before it in the round joins",
                at.name()
            ),
            "put steps of the stages predict, aggregate and join before it",
        )
    })
}

/// Averages and ensembles are of the models that parties trained in the round, and so are the worst that are dropped.
fn without_weights(at: &StepAt<'_>) -> Option<Fault> {
    let step = at.step;
    let reads = match step.stage {
        Stage::Average => true,
        Stage::Evaluate => step.who == Who::Server,
        Stage::Aggregate => step.drop_worst,
        _ => false,
    };
    (reads && !makes(at.before, Who::is_parties)).then(|| {
        at.fault(
            "stage",
            format!(
                "step {} reads what parties trained, and none does so before it in the round",
                at.name()
            ),
            "put a step of stage = \"train\", who = \"parties\" or who = \"selected\" before it",
        )
    })
}

/// A mean by samples asks each party's model for the private rows that it was trained on: they are in the chain of steps,
/// each from what the one before has made, that leads to it in the round.
fn without_samples(at: &StepAt<'_>) -> Option<Fault> {
    if at.step.stage != Stage::Average || at.step.rule != Some(Rule::Weights(By::Samples)) {
        return None;
    }
    let makes_model = |step: &&Step| step.who.is_parties() && step.stage.makes_model();
    let models = at.before.iter().rev().filter(makes_model);
    // Where there are none, it is the weights that are missing.
    let averaged = models.clone().next()?;
    let mut counted = false;
    for step in models {
        counted = step.counts_private_rows();
        if counted || step.start != Start::Own {
            break;
        }
    }
    (!counted).then(|| {
        at.fault(
            "rule",
            format!(
                "step {} weighs parties by the private rows that their models were trained on, and nothing that leads to \
                 those of step {} in the round has its first term on private rows",
                at.name(),
                quoted(&averaged.name)
            ),
            "write rule = { weights = \"parties\" }, or put a step whose first term is on = \"private\" before it, and \
             start = \"own\" in those that follow",
        )
    })
}

/// Who reads predictions or a consensus reads one step of the newest phase that has such a step.
fn twice_in_a_phase(at: &StepAt<'_>) -> Option<Fault> {
    let step = at.step;
    let read_by_phase = matches!(step.stage, Stage::Predict | Stage::Aggregate | Stage::Join);
    let mut phase = at.before.iter().rev().take_while(|other| other.who == step.who);
    let first = phase.find(|other| read_by_phase && other.stage == step.stage)?;
    Some(at.fault(
        "stage",
        format!(
            "steps {} and {} are of one phase and of one stage: what the second makes would not be read",
            quoted(&first.name),
            at.name()
        ),
        "remove one of the two, or put what reads the first one between them",
    ))
}
