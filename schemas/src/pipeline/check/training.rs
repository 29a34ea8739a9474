//! What a step learns from, and the numbers that it trains by.

use super::{Fault, StepAt};
use crate::fit::{EarlyStop, Fit, Loss, Optimizer, Watch};
use crate::pipeline::{On, Target, Term, Who};
use crate::run_file::quoted;

pub(super) fn faults(at: &StepAt<'_>) -> Vec<Fault> {
    let terms = at.step.terms.iter().enumerate();
    let mut faults: Vec<Fault> = terms.filter_map(|(index, term)| of_term(at, index, term)).collect();
    if let Some(fit) = &at.step.fit {
        faults.extend(of_numbers(at, fit));
        faults.extend(fit.stop.as_ref().and_then(|stop| validation_of_parties(at, stop)));
        faults.extend(other_state(at, fit));
    }
    faults
}

fn of_term(at: &StepAt<'_>, index: usize, term: &Term) -> Option<Fault> {
    let name = at.name();
    let key = |key: &str| format!("terms[{index}].{key}");
    if (term.target == Target::Labels) != (term.loss == Loss::CrossEntropy) {
        return Some(at.fault(
            &key("loss"),
            format!("step {name} compares labels by cross entropy and predictions by another loss, not otherwise"),
            "write target = \"labels\" with kind = \"cross_entropy\", or another target with kl, mae or mse",
        ));
    }
    if term.target == Target::Consensus && term.on != On::Alignment {
        return Some(at.fault(
            &key("on"),
            format!("step {name} has a consensus on the alignment set, and on no other rows"),
            "write on = \"alignment\"",
        ));
    }
    if let Loss::Kl { t, .. } = term.loss
        && !Loss::TEMPERATURES.contains(&t)
    {
        return Some(at.fault(
            &key("loss"),
            format!("the temperature of step {name} is {t}, and must be from 1e-9 to 1e9"),
            "write t = 1.0, or t = 3.0 to soften both",
        ));
    }
    (!term.weight.is_finite()).then(|| {
        at.fault(
            &key("weight"),
            format!("the weight of a term of step {name} is {}", term.weight),
            "write weight = 1.0, or remove it",
        )
    })
}

/// A number of a fit: its key, what it is, what it must be, whether it is so, and one that is.
type Number = (&'static str, f64, &'static str, bool, &'static str);

fn of_numbers(at: &StepAt<'_>, fit: &Fit) -> Vec<Fault> {
    let mut numbers: Vec<Number> = vec![
        count("epochs", fit.epochs, "1"),
        (
            "batch",
            f64::from(fit.batch),
            "at least 2, which batch norm needs",
            fit.batch >= 2,
            "32",
        ),
        not_negative("proximal", fit.proximal),
        not_negative("head_l2", fit.head_l2),
    ];
    numbers.extend(fit.steps.map(|steps| count("steps", steps, "1000")));
    numbers.extend(fit.clip.map(|clip| positive("clip", clip, "5.0")));
    match fit.optimizer {
        Optimizer::Adam {
            lr,
            beta_1,
            beta_2,
            epsilon,
            weight_decay,
        } => numbers.extend([
            positive("optimizer.lr", lr, "0.001"),
            fraction("optimizer.beta_1", beta_1, "0.9"),
            fraction("optimizer.beta_2", beta_2, "0.999"),
            positive("optimizer.epsilon", epsilon, "1e-8"),
            not_negative("optimizer.weight_decay", weight_decay),
        ]),
        Optimizer::Sgd {
            lr,
            momentum,
            weight_decay,
        } => numbers.extend([
            positive("optimizer.lr", lr, "0.1"),
            fraction("optimizer.momentum", momentum, "0.9"),
            not_negative("optimizer.weight_decay", weight_decay),
        ]),
    }
    if let Some(stop) = &fit.stop {
        numbers.push(count("stop.patience", stop.patience, "3"));
        numbers.push(not_negative("stop.min_delta", stop.min_delta));
        numbers.extend(stop.every.map(|every| count("stop.every", every, "100")));
    }
    let wrong = numbers.into_iter().filter(|(_, _, _, valid, _)| !valid);
    wrong
        .map(|(key, value, must, _, good)| {
            at.fault(
                &format!("fit.{key}"),
                format!("'{key}' of step {} is {value}, and must be {must}", at.name()),
                format!("write {} = {good}", key.rsplit('.').next().unwrap_or(key)),
            )
        })
        .collect()
}

fn count(key: &'static str, value: u32, good: &'static str) -> Number {
    (key, f64::from(value), "at least 1", value >= 1, good)
}

fn positive(key: &'static str, value: f64, good: &'static str) -> Number {
    let valid = value > 0.0 && value.is_finite();
    (key, value, "above 0", valid, good)
}

fn not_negative(key: &'static str, value: f64) -> Number {
    let valid = value >= 0.0 && value.is_finite();
    (key, value, "at least 0", valid, "0.0")
}

fn fraction(key: &'static str, value: f64, good: &'static str) -> Number {
    (key, value, "from 0 to below 1", (0.0..1.0).contains(&value), good)
}

fn validation_of_parties(at: &StepAt<'_>, stop: &EarlyStop) -> Option<Fault> {
    (stop.watch == Watch::Validation && at.step.who != Who::Architectures).then(|| {
        at.fault(
            "fit.stop",
            format!(
                "step {} cannot stop by validation rows: the server holds them",
                at.name()
            ),
            "remove watch, so that a fifth of the step's own rows is watched",
        )
    })
}

/// Steps that continue each other's optimizer state need optimizers with the same kind of state.
fn other_state(at: &StepAt<'_>, fit: &Fit) -> Option<Fault> {
    let keep = at.step.keep.as_deref()?;
    let (other, state) = at.warmup.iter().chain(at.before).find_map(|other| {
        let state = other.fit.as_ref()?.optimizer.state();
        let differs = other.keep.as_deref() == Some(keep) && state != fit.optimizer.state();
        differs.then_some((other, state))
    })?;
    Some(at.fault(
        "fit.optimizer",
        format!(
            "steps {} and {} keep one optimizer state {}, of {state} there and of {} here",
            quoted(&other.name),
            at.name(),
            quoted(keep),
            fit.optimizer.state()
        ),
        "write the same kind of optimizer in both, or another keep in one",
    ))
}
