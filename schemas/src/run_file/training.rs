//! `[steps.<name>]`: how steps train, at which temperature they compare predictions, and how they combine predictions or
//! weights.

use super::reader::{Repeats, Table, Value};
use super::spelling::{nearest, quoted, suggestion};
use super::{StepSettings, Stop};
use crate::fit::{EarlyStop, Loss, Optimizer, Schedule, Watch};
use crate::pipeline::{By, Pipeline, Rule, Stage, Step};
use std::collections::BTreeMap;

/// Which settings a step has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Has {
    /// How it trains.
    Fit,
    /// How it combines predictions.
    PredictionsRule,
    /// How it combines weights.
    WeightsRule,
    /// Some of these: its pipeline is unknown.
    Any,
}

/// The settings of steps of the file's pipelines, its own first, and of those that run elsewhere alone; where its own is
/// unknown, so that nobody knows its steps, there are none, and names are not checked.
pub(super) fn steps(
    value: &Value<'_>,
    pipelines: &[&Pipeline],
    elsewhere: &[Pipeline],
) -> Option<BTreeMap<String, StepSettings>> {
    let known: Vec<&Pipeline> = pipelines.iter().copied().chain(elsewhere).collect();
    let mut steps = BTreeMap::new();
    for (name, place, settings) in value.table()?.named("a table [steps.<name>] with epochs = 1") {
        let all = known.iter().flat_map(|pipeline| pipeline.all_steps());
        let has = match pipelines {
            [] => Some(Has::Any),
            _ => all.filter(|step| step.name == name).find_map(settings_of),
        };
        if let Some(has) = has {
            if let Some(read) = step(&settings, has) {
                steps.insert(name.to_owned(), read);
            }
        } else if let [own, ..] = pipelines {
            let (message, help) = no_such_step(own, &known, name);
            settings.refuse_at(place, message, help);
        }
    }
    Some(steps)
}

/// `None` where settings would change nothing.
fn settings_of(step: &Step) -> Option<Has> {
    match step.stage {
        _ if step.fit.is_some() => Some(Has::Fit),
        Stage::Aggregate => Some(Has::PredictionsRule),
        Stage::Average => Some(Has::WeightsRule),
        _ => None,
    }
}

/// The names of a pipeline's steps that have settings.
fn settable(pipeline: &Pipeline) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for step in pipeline.all_steps().filter(|step| settings_of(step).is_some()) {
        if !names.contains(&step.name.as_str()) {
            names.push(&step.name);
        }
    }
    names
}

/// Message and help for a name of no step with settings, of any of the pipelines that are known.
fn no_such_step(own: &Pipeline, known: &[&Pipeline], name: &str) -> (String, String) {
    let has = |pipeline: &&&Pipeline| pipeline.all_steps().any(|step| step.name == name);
    if let Some(of) = known.iter().find(has) {
        let message = format!(
            "step '{name}' of {} neither trains nor combines anything, so that settings would change nothing",
            of.name
        );
        let help = match settable(of).as_slice() {
            [] => "remove this table".to_owned(),
            steps => format!(
                "remove this table; steps of {} that have settings: {}",
                of.name,
                steps.join(", ")
            ),
        };
        return (message, help);
    }
    // Whichever pipeline's it is: what is listed is what the file's own has.
    let meant = nearest(name, known.iter().flat_map(|pipeline| settable(pipeline)));
    let help = match meant {
        Some(meant) => format!("did you mean '{meant}'?"),
        None => suggestion(
            name,
            &format!("steps of {} that have settings", own.name),
            &settable(own),
        ),
    };
    (format!("{} has no step {}", own.name, quoted(name)), help)
}

fn step(value: &Value<'_>, has: Has) -> Option<StepSettings> {
    let mut table = value.table()?;
    let mut settings = if matches!(has, Has::Fit | Has::Any) {
        fit(&mut table)
    } else {
        StepSettings::default()
    };
    if has != Has::Fit {
        let hint = match has {
            Has::WeightsRule => "rule = { weights = \"samples\" }",
            _ => "rule = \"mean\", or rule = { weights = [1, 0.5] } with a number a party",
        };
        settings.rule = table.optional("rule", hint, |value| rule(value, has));
        settings.drop_worst = table.optional("drop_worst", "drop_worst = true", Value::truth);
    }
    table.finish();
    Some(settings)
}

fn fit(table: &mut Table<'_>) -> StepSettings {
    let epochs = table.optional("epochs", "epochs = 1", |value| value.count(1));
    let steps = table.optional("steps", "steps = 1000", |value| {
        if epochs.is_some() {
            value.refuse(
                format!("'{}' says how long to train, and so does 'epochs'", value.path()),
                "remove one of the two",
            );
        }
        value.count(1)
    });
    let schedules = [("constant", Schedule::Constant), ("cosine", Schedule::Cosine)];
    StepSettings {
        epochs,
        steps,
        batch: table.optional("batch", "batch = 32 (a batch of one row is dropped)", |value| {
            value.count(2)
        }),
        optimizer: table.optional("optimizer", "optimizer = { kind = \"adam\", lr = 0.001 }", optimizer),
        schedule: table.optional("schedule", "schedule = \"cosine\"", |value| {
            value.one_of("a schedule of the learning rate", &schedules)
        }),
        proximal: table.optional("proximal", "proximal = 0.01", Value::not_negative),
        head_l2: table.optional("head_l2", "head_l2 = 0.001", Value::not_negative),
        clip: table.optional("clip", "clip = 5.0", Value::positive),
        stop: table.optional("stop", "stop = { patience = 3 }, or stop = false", stop),
        temperature: table.optional("temperature", "temperature = 3.0", temperature),
        rule: None,
        drop_worst: None,
    }
}

fn temperature(value: &Value<'_>) -> Option<f64> {
    let range = Loss::TEMPERATURES;
    let expected = format!("a temperature from {:e} to {:e}", range.start(), range.end());
    value.number(&expected, |t| range.contains(&t))
}

/// Predictions are combined by a word, or by a table that lists what each party counts by; weights by a table that says what
/// a party counts by.
fn rule(value: &Value<'_>, has: Has) -> Option<Rule> {
    if has != Has::WeightsRule && value.has_list("weights") {
        return slots(value);
    }
    let of_weights = has == Has::WeightsRule || (has == Has::Any && value.is_table());
    if !of_weights {
        return word(value);
    }
    let mut table = value.table()?;
    let by = table.required("weights", "weights = \"samples\"", |value| {
        let words = [("samples", By::Samples), ("parties", By::Parties)];
        value.one_of("what a party counts by", &words)
    });
    table.finish();
    by.map(Rule::Weights)
}

/// A rule of predictions that is a word.
fn word(value: &Value<'_>) -> Option<Rule> {
    const WHAT: &str = "a rule that combines predictions";
    match value.text(WHAT)? {
        "mean" => Some(Rule::Mean),
        "mean_probability" => Some(Rule::MeanProbability),
        written => {
            value.refuse(
                format!("'{}' is {}, which is not {WHAT}", value.path(), quoted(written)),
                suggestion(written, "valid", &["mean", "mean_probability", "{ weights = [..] }"]),
            );
            None
        }
    }
}

fn slots(value: &Value<'_>) -> Option<Rule> {
    let mut table = value.table()?;
    let weights = table.required("weights", "weights = [1, 0.5], a number a party", |value| {
        let weights = value.list(Repeats::Allowed, Value::not_negative)?;
        if By::are_weights(&weights) {
            return Some(weights);
        }
        match By::too_small(&weights) {
            Some(weight) => value.refuse(
                format!(
                    "'{}' has a weight of {weight:e}, less than 2^-30 of the largest one",
                    value.path()
                ),
                "write 0 for a party that is not to count, or a number that is not so small beside the largest",
            ),
            None => value.refuse(
                format!("'{}' gives no party a weight above 0", value.path()),
                "write a number a party, one of them above 0",
            ),
        }
        None
    });
    table.finish();
    weights.map(|weights| Rule::Weights(By::Slots(weights)))
}

fn optimizer(value: &Value<'_>) -> Option<Optimizer> {
    let mut table = value.table()?;
    let words = [("adam", "adam"), ("sgd", "sgd")];
    let kind = table.required("kind", "kind = \"adam\"", |value| value.one_of("an optimizer", &words));
    let Some(kind) = kind else {
        table.allow(&["lr", "beta_1", "beta_2", "epsilon", "momentum", "weight_decay"]);
        table.finish();
        return None;
    };
    table.specify(&format!("of kind '{kind}'"));
    let lr = table.required("lr", "lr = 0.001", Value::positive);
    let weight_decay = table.optional("weight_decay", "weight_decay = 0.0", Value::not_negative);
    let fraction = |value: &Value<'_>| value.number("a number from 0 to below 1", |x| (0.0..1.0).contains(&x));
    let optimizer = if kind == "adam" {
        let given_beta_1 = table.optional("beta_1", "beta_1 = 0.9", fraction);
        let given_beta_2 = table.optional("beta_2", "beta_2 = 0.999", fraction);
        let given_epsilon = table.optional("epsilon", "epsilon = 1e-8", Value::positive);
        lr.map(|lr| {
            let mut adam = Optimizer::adam(lr);
            if let Optimizer::Adam {
                beta_1,
                beta_2,
                epsilon,
                weight_decay: decay,
                ..
            } = &mut adam
            {
                *beta_1 = given_beta_1.unwrap_or(*beta_1);
                *beta_2 = given_beta_2.unwrap_or(*beta_2);
                *epsilon = given_epsilon.unwrap_or(*epsilon);
                *decay = weight_decay.unwrap_or(*decay);
            }
            adam
        })
    } else {
        let momentum = table.optional("momentum", "momentum = 0.9", fraction);
        lr.map(|lr| Optimizer::Sgd {
            lr,
            momentum: momentum.unwrap_or(0.0),
            weight_decay: weight_decay.unwrap_or(0.0),
        })
    };
    table.finish();
    optimizer
}

fn stop(value: &Value<'_>) -> Option<Stop> {
    if value.is(false) {
        return Some(Stop::Never);
    }
    if !value.is_table() {
        value.expect("false or a table");
        return None;
    }
    let mut table = value.table()?;
    let patience = table.required("patience", "patience = 3", |value| value.count(1));
    let min_delta = table.optional("min_delta", "min_delta = 0.005", Value::not_negative);
    let watch = table.optional("watch", "watch = \"validation\"", |value| {
        let words = [("held_out", Watch::HeldOut), ("validation", Watch::Validation)];
        value.one_of("something that early stopping looks at", &words)
    });
    let every = table.optional("every", "every = 100, or leave it out for every epoch", |value| {
        value.count(1)
    });
    table.finish();
    Some(Stop::Early(EarlyStop {
        patience: patience?,
        min_delta: min_delta.unwrap_or(0.0),
        watch: watch.unwrap_or_default(),
        every,
    }))
}
