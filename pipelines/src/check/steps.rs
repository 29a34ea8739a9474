//! What a step does, in words.

use crate::estimate::counted;
use fedstill_schemas::fit::{EarlyStop, Fit, Loss, Optimizer, Per, Schedule, Watch};
use fedstill_schemas::pipeline::{By, On, Rule, Stage, Start, Step, Target, Who};
use std::fmt::Write;

/// What a step of a round does.
pub(super) fn does(step: &Step, round: &[Step]) -> String {
    let mut text = String::new();
    for term in &step.terms {
        let on = match term.on {
            On::Private => "private rows",
            On::Public => "public rows",
            On::Alignment => "alignment set",
        };
        let target = match term.target {
            Target::Labels => "their labels",
            Target::Consensus => "the consensus",
            Target::Own => "the model's own logits",
        };
        let _ = write!(text, "{} of {on} to {target}; ", loss(term.loss));
    }
    match &step.start {
        Start::Step(name) => {
            let _ = write!(text, "starts from {name}; ");
        }
        Start::Prototype => text.push_str("starts from the server's model; "),
        Start::Fresh => text.push_str("starts fresh; "),
        Start::Own => {}
    }
    match &step.fit {
        Some(fit) => {
            text.push_str(&fit_text(fit));
            let first = step.terms.first();
            if step.who == Who::Architectures && first.is_some_and(|term| term.on == On::Private) {
                text.push_str("; as many steps as the parties together");
            }
        }
        None if step.stage.makes_model() && step.stage != Stage::Average => text.push_str("not trained"),
        None => {}
    }
    if let Some(rule) = &step.rule {
        text.push_str(combines(rule));
    }
    if step.drop_worst {
        text.push_str(", without the worst on validation rows");
    }
    if (step.stage, step.who) == (Stage::Evaluate, Who::Server) {
        // As the round combines predictions, or else by the mean of logits.
        let aggregate = round.iter().find(|step| step.stage == Stage::Aggregate);
        text.push_str(match aggregate.and_then(|step| step.rule.as_ref()) {
            Some(Rule::MeanProbability) => "mean of the parties' probabilities",
            Some(Rule::Weights(_)) => "mean of the parties' logits, each by a weight of its own",
            Some(Rule::Mean) | None => "mean of the parties' logits",
        });
        if aggregate.is_some_and(|step| step.drop_worst) {
            text.push_str(", without those that are dropped");
        }
    }
    text.trim_end_matches("; ").to_owned()
}

fn combines(rule: &Rule) -> &'static str {
    match rule {
        Rule::Mean => "mean of logits",
        Rule::MeanProbability => "logarithm of the mean of probabilities",
        Rule::Weights(By::Samples) => "mean of weights, by rows",
        Rule::Weights(By::Parties) => "mean of weights, every party alike",
        Rule::Weights(By::Slots(_)) => "mean of logits, each party by a weight of its own",
    }
}

fn loss(loss: Loss) -> String {
    match loss {
        Loss::CrossEntropy => "cross entropy".to_owned(),
        Loss::Kl { t, times_t2, per } => {
            let scale = if times_t2 { ", times T^2" } else { "" };
            let per = if per == Per::Batch { "row" } else { "element" };
            format!("KL (T = {t}{scale}, mean per {per})")
        }
        Loss::Mae => "mean absolute error".to_owned(),
        Loss::Mse => "mean squared error".to_owned(),
    }
}

/// How a step trains.
pub(super) fn fit_text(fit: &Fit) -> String {
    let optimizer = match fit.optimizer {
        Optimizer::Adam { lr, .. } => format!("Adam {}", short(lr)),
        Optimizer::Sgd { lr, momentum, .. } => format!("SGD {}, momentum {}", short(lr), short(momentum)),
    };
    let length = match fit.steps {
        Some(steps) => counted(steps, "step"),
        None => counted(fit.epochs, "epoch"),
    };
    let schedule = match fit.schedule {
        Schedule::Constant => "",
        Schedule::Cosine => " falling along a cosine",
    };
    let proximal = if fit.proximal > 0.0 {
        format!(", proximal weight {}", short(fit.proximal))
    } else {
        String::new()
    };
    let penalty = if fit.head_l2 > 0.0 {
        format!(", L2 penalty {} on the head", short(fit.head_l2))
    } else {
        String::new()
    };
    let clip = fit.clip.map_or(String::new(), |clip| {
        format!(", gradient no longer than {}", short(clip))
    });
    let stop = fit.stop.as_ref().map_or(String::new(), stop_text);
    format!(
        "{length} in batches of {}, {optimizer}{schedule}{proximal}{penalty}{clip}{stop}",
        fit.batch
    )
}

/// A number for people: with an exponent where it would be a row of zeros.
pub(super) fn short(number: f64) -> String {
    if number == 0.0 || (1e-4..1e6).contains(&number.abs()) {
        number.to_string()
    } else {
        format!("{number:e}")
    }
}

fn stop_text(stop: &EarlyStop) -> String {
    let looks = match stop.every {
        Some(every) => format!(
            "{}, one every {}",
            counted(stop.patience, "look"),
            counted(every, "step")
        ),
        None => counted(stop.patience, "epoch"),
    };
    let better = match stop.watch {
        Watch::HeldOut => "without a lower loss on rows held out",
        Watch::Validation => "without better accuracy on validation rows",
    };
    format!(", stops after {looks} {better}")
}
