//! What a stage asks of a step by itself: who does it, and which keys mean something there.

use super::{Fault, StepAt};
use crate::pipeline::{By, Rule, Stage, Start, Step, Who};

const TERMS: &str = "terms = [{ on = \"private\", target = \"labels\", loss = { kind = \"cross_entropy\" } }]";
const FIT: &str = "fit = { epochs = 1, batch = 32, optimizer = { kind = \"adam\", lr = 0.001 } }";

pub(super) fn faults(at: &StepAt<'_>) -> Vec<Fault> {
    if at.step.stage == Stage::Archive {
        return vec![at.fault(
            "stage",
            "every round is archived at its end without being asked to",
            "remove this step",
        )];
    }
    let mut faults: Vec<Fault> = [who(at), selected_in_warmup(at), rule(at), drop_worst(at), start(at)]
        .into_iter()
        .flatten()
        .collect();
    if learns(at.step.stage) {
        faults.extend(learning(at));
    } else {
        faults.extend(learning_nothing(at));
    }
    faults
}

/// Who can do steps of a stage. Parties that run their own workers have topics for what parties do, and no others.
fn doers(stage: Stage) -> &'static [Who] {
    match stage {
        Stage::Pretrain | Stage::Average => &[Who::Architectures],
        Stage::Train | Stage::Distill => &[Who::Parties, Who::Selected, Who::Architectures],
        Stage::Predict => &[Who::Parties, Who::Selected],
        Stage::Aggregate => &[Who::Partitions],
        Stage::Join => &[Who::Server],
        Stage::Evaluate => &[Who::Parties, Who::Selected, Who::Architectures, Who::Server],
        Stage::Archive => &[],
    }
}

fn learns(stage: Stage) -> bool {
    matches!(stage, Stage::Pretrain | Stage::Train | Stage::Distill)
}

fn who(at: &StepAt<'_>) -> Option<Fault> {
    let (stage, who) = (at.step.stage, at.step.who);
    let able = doers(stage);
    if able.contains(&who) {
        return None;
    }
    let able: Vec<String> = able.iter().map(|who| format!("who = \"{}\"", who.name())).collect();
    Some(at.fault(
        "who",
        format!("steps of stage '{stage}' are not done by '{}'", who.name()),
        format!("write {}", able.join(" or ")),
    ))
}

fn selected_in_warmup(at: &StepAt<'_>) -> Option<Fault> {
    (at.list == "warmup" && at.step.who == Who::Selected).then(|| {
        at.fault(
            "who",
            "parties are selected from round 1 on: the warm-up is for all of them",
            "write who = \"parties\", or move the step to 'round'",
        )
    })
}

fn rule(at: &StepAt<'_>) -> Option<Fault> {
    let rule = at.step.rule.as_ref();
    let of_predictions = rule.is_some_and(Rule::is_of_predictions);
    if let Some(weights) = rule.and_then(Rule::slots)
        && at.step.stage == Stage::Aggregate
        && !By::are_weights(weights)
    {
        if let Some(weight) = By::too_small(weights) {
            return Some(at.fault(
                "rule",
                format!(
                    "a weight of step {} is {weight:e}, less than 2^-30 of the largest one",
                    at.name()
                ),
                "write 0 for a party that is not to count, or a number that is not so small beside the largest",
            ));
        }
        return Some(at.fault(
            "rule",
            format!(
                "the weights of step {} are not numbers of at least 0, one of them above it",
                at.name()
            ),
            "write a number for each party, as in rule = { weights = [1.0, 1.0, 0.5] }",
        ));
    }
    match at.step.stage {
        Stage::Aggregate if !of_predictions => Some(at.fault(
            "rule",
            format!("step {} has no rule by which predictions are combined", at.name()),
            "write rule = \"mean\" or rule = \"mean_probability\"",
        )),
        Stage::Average if rule.is_none() || of_predictions => Some(at.fault(
            "rule",
            format!("step {} has no rule by which weights are averaged", at.name()),
            "write rule = { weights = \"samples\" } or rule = { weights = \"parties\" }",
        )),
        Stage::Aggregate | Stage::Average => None,
        _ => rule.map(|_| useless(at, "rule")),
    }
}

fn drop_worst(at: &StepAt<'_>) -> Option<Fault> {
    let combines = matches!(at.step.stage, Stage::Aggregate | Stage::Average);
    (at.step.drop_worst && !combines).then(|| useless(at, "drop_worst"))
}

fn start(at: &StepAt<'_>) -> Option<Fault> {
    let (stage, start) = (at.step.stage, &at.step.start);
    if learns(stage) {
        return None;
    }
    if !at.reads_model() {
        return (*start != Start::Own).then(|| useless(at, "start"));
    }
    (*start == Start::Fresh).then(|| {
        at.fault(
            "start",
            format!(
                "step {} cannot start fresh: it makes no model, and needs one",
                at.name()
            ),
            "remove start, or name what it starts from",
        )
    })
}

fn learning(at: &StepAt<'_>) -> Option<Fault> {
    let (step, name) = (at.step, at.name());
    match (step.terms.is_empty(), step.fit.is_some()) {
        (false, true) => None,
        (true, true) => Some(at.fault(
            "fit",
            format!("step {name} has settings to train by, and nothing to learn from"),
            format!("add {TERMS}"),
        )),
        (false, false) => Some(at.fault(
            "terms",
            format!("step {name} has something to learn from, and no settings to train by"),
            format!("add {FIT}"),
        )),
        // A party takes the weights that it starts from as they are.
        (true, false) if takes(step) => step.keep.is_some().then(|| useless(at, "keep")),
        (true, false) if step.stage != Stage::Pretrain => Some(at.fault(
            "",
            format!(
                "step {name} is of stage '{}', and has neither terms nor fit",
                step.stage
            ),
            format!("add {TERMS} and {FIT}"),
        )),
        (true, false) if step.start != Start::Fresh => Some(at.fault(
            "start",
            format!("step {name} has neither terms nor fit: it makes new weights, whatever it starts from"),
            "write start = \"fresh\", or add terms and fit",
        )),
        (true, false) => step.keep.is_some().then(|| useless(at, "keep")),
    }
}

/// Whether by the step, which does not train, a party takes another model in place of its own.
pub(super) fn takes(step: &Step) -> bool {
    let untrained = step.fit.is_none() && step.terms.is_empty();
    untrained && step.stage == Stage::Train && step.who.is_parties() && step.start != Start::Own
}

fn learning_nothing(at: &StepAt<'_>) -> Vec<Fault> {
    let step = at.step;
    let written = [
        ("terms", !step.terms.is_empty()),
        ("fit", step.fit.is_some()),
        ("keep", step.keep.is_some()),
    ];
    let written = written.into_iter().filter(|(_, written)| *written);
    written.map(|(key, _)| useless(at, key)).collect()
}

/// The fault of a key that a step of its stage never looks at.
fn useless(at: &StepAt<'_>, key: &str) -> Fault {
    let message = format!("'{key}' of step {} would change nothing", at.name());
    at.fault(key, message, format!("remove {key}"))
}
