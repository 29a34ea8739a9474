//! Settings of steps that train, and of those that combine predictions or weights.

use super::bad_files::each_is_one_problem;
use super::{MOST, SELECTING, parse, with_catalog};
use crate::fit::{EarlyStop, Fit, Loss, Optimizer, Per, Schedule, Watch};
use crate::pipeline::{By, On, Pipeline, Rule, Stage, Start, Step, Target, Term, Who};
use crate::run_file::{StepSettings, Stop};

fn step(stage: Stage, fit: Option<Fit>, rule: Option<Rule>) -> Step {
    Step {
        name: "a".to_owned(),
        stage,
        who: Who::Parties,
        start: Start::Own,
        terms: Vec::new(),
        fit,
        rule,
        keep: None,
        drop_worst: false,
    }
}

#[test]
fn every_setting_is_read() {
    let steps = parse(SELECTING).unwrap().steps;
    let train = StepSettings {
        steps: Some(50),
        proximal: Some(0.01),
        ..StepSettings::default()
    };
    assert_eq!(steps["train"], train);
    let stop = EarlyStop {
        patience: 10,
        min_delta: 0.0,
        watch: Watch::Validation,
        every: Some(100),
    };
    let distill = StepSettings {
        schedule: Some(Schedule::Cosine),
        stop: Some(Stop::Early(stop)),
        ..StepSettings::default()
    };
    assert_eq!(steps["distill"], distill);
    assert_eq!(steps["average"].rule, Some(Rule::Weights(By::Parties)));
    assert_eq!(steps["aggregate"].rule, Some(Rule::MeanProbability));
}

#[test]
fn settings_change_what_they_name_and_leave_the_rest() {
    let fit = Fit::new(9, 9, Optimizer::adam(0.5), Some(EarlyStop::after(9, 0.0)));
    let before = step(Stage::Train, Some(fit.clone()), None);
    let by = |settings: &StepSettings| {
        let mut step = before.clone();
        settings.apply(&mut step);
        step.fit.unwrap()
    };
    let steps = parse(MOST).unwrap().steps;
    let digest = by(&steps["digest"]);
    assert_eq!((digest.epochs, digest.batch), (2, 64));
    assert_eq!(digest.stop.unwrap().patience, 3);
    let revisit = by(&steps["revisit"]);
    assert_eq!((revisit.epochs, revisit.batch, revisit.stop), (9, 9, None));
    assert_ne!(revisit.optimizer, fit.optimizer);
    let steps = parse(SELECTING).unwrap().steps;
    let train = by(&steps["train"]);
    assert_eq!((train.epochs, train.steps, train.proximal), (9, Some(50), 0.01));
    assert_eq!(by(&steps["distill"]).schedule, Schedule::Cosine);
    let clipped = SELECTING.replace("schedule = \"cosine\"", "clip = 5");
    assert_eq!(by(&parse(&clipped).unwrap().steps["distill"]).clip, Some(5.0));
    let penalised = SELECTING.replace("schedule = \"cosine\"", "head_l2 = 0.001");
    assert_eq!(by(&parse(&penalised).unwrap().steps["distill"]).head_l2, 0.001);
    assert_eq!(by(&StepSettings::default()), fit);
}

#[test]
fn baselines_are_made_of_the_steps_of_the_file_s_pipeline_with_its_settings() {
    let compared = SELECTING.replace(
        "rounds   = 1",
        "rounds   = 1\nbaselines = [\"standalone\", \"centralised\", \"self_digest\"]",
    );
    let file = parse(&compared).unwrap();
    let asked = with_catalog(|catalog| file.asked(catalog.pipelines));
    let names: Vec<&str> = asked.iter().map(|pipeline| pipeline.name.as_str()).collect();
    assert_eq!(names, ["feddf", "standalone", "centralised", "self_digest"]);
    let train = |pipeline: &Pipeline| pipeline.step(1, "train").and_then(|step| step.fit.clone());
    let own = train(&asked[0]).unwrap();
    assert_eq!((own.steps, own.proximal), (Some(50), 0.01));
    for baseline in &asked[1..3] {
        assert_eq!(train(baseline), Some(own.clone()), "{}", baseline.name);
        assert_eq!(baseline.step(1, "revisit"), None, "{}", baseline.name);
    }
    assert!(asked[3].step(1, "digest").is_some());
    // Where a name is none, what is listed is the file's own, and not what the baselines have.
    let problems = parse(&compared.replace("[steps.train]", "[steps.local]")).unwrap_err();
    assert_eq!(
        problems[0].help.as_deref(),
        Some("steps of feddf that have settings: train, average, aggregate, distill")
    );
    // Of another pipeline they are others, and have no such step.
    let problems = parse(&MOST.replace("[steps.revisit]", "[steps.train]")).unwrap_err();
    assert!(
        problems[0].message.contains("fedmd has no step 'train'"),
        "{problems:?}"
    );
}

#[test]
fn epochs_take_the_place_of_steps_that_a_pipeline_asks_for() {
    let mut fit = Fit::new(1, 9, Optimizer::adam(0.5), None);
    fit.steps = Some(1000);
    let mut changed = step(Stage::Distill, Some(fit), None);
    let settings = StepSettings {
        epochs: Some(4),
        ..StepSettings::default()
    };
    settings.apply(&mut changed);
    let fit = changed.fit.unwrap();
    assert_eq!((fit.epochs, fit.steps), (4, None));
}

/// [`SELECTING`] with a temperature, compared with `fedmd` and its own baselines.
fn softened() -> String {
    SELECTING
        .replace("rounds   = 1", "rounds   = 1\nbaselines = [\"standalone\", \"fedmd\"]")
        .replace("schedule = \"cosine\"", "temperature = 3")
}

#[test]
fn a_temperature_is_that_of_every_divergence_of_the_step_and_of_nothing_else() {
    let file = parse(&softened()).unwrap();
    assert_eq!(file.steps["distill"].temperature, Some(3.0));
    let before = with_catalog(|catalog| catalog.pipeline("feddf").cloned()).unwrap();
    let asked = with_catalog(|catalog| file.asked(catalog.pipelines));
    let losses = |pipeline: &Pipeline| -> Vec<(String, Loss)> {
        let mut losses = Vec::new();
        for step in pipeline.all_steps() {
            losses.extend(step.terms.iter().map(|term| (step.name.clone(), term.loss)));
        }
        losses
    };
    let kl = |t| Loss::Kl {
        t,
        times_t2: true,
        per: Per::Batch,
    };
    let train = ("train".to_owned(), Loss::CrossEntropy);
    let distill = |t| ("distill".to_owned(), kl(t));
    assert_eq!(losses(&before), [train.clone(), distill(1.0)]);
    assert_eq!(losses(&asked[0]), [train.clone(), distill(3.0)]);
    // Made of feddf's steps, without those on the alignment set.
    assert_eq!((asked[1].name.as_str(), losses(&asked[1])), ("standalone", vec![train]));
    assert!(asked[2].step(1, "digest").is_some_and(|step| !step.has_temperature()));
    assert!(asked[0].check().iter().all(|fault| !fault.key.contains("loss")));

    // Several in a step have one temperature, and other losses none.
    let mut several = step(Stage::Distill, Some(Fit::new(1, 9, Optimizer::adam(0.5), None)), None);
    let term = |loss| Term {
        on: On::Alignment,
        target: Target::Consensus,
        loss,
        weight: 1.0,
    };
    several.terms = Vec::from([kl(1.0), Loss::Mae, kl(2.0)].map(term));
    file.steps["distill"].apply(&mut several);
    assert_eq!(several.terms, [kl(3.0), Loss::Mae, kl(3.0)].map(term));
}

#[test]
#[rustfmt::skip]
fn mistakes_about_temperatures() {
    each_is_one_problem(&softened(), &[
        ("temperature = 3", "temperature = 0", 35, 15, "'steps.distill.temperature' is 0, but a temperature from 1e-9 to 1e9 is expected", "write temperature = 3.0"),
        ("temperature = 3", "temperature = -1.5", 35, 15, "'steps.distill.temperature' is -1.5, but a temperature", "temperature = 3.0"),
        ("temperature = 3", "temperature = inf", 35, 15, "'steps.distill.temperature' is inf, but a temperature", "temperature = 3.0"),
        ("temperature = 3", "temperature = nan", 35, 15, "'steps.distill.temperature' is nan, but a temperature", "temperature = 3.0"),
        ("temperature = 3", "temperature = 1e10", 35, 15, "but a temperature from 1e-9 to 1e9", "temperature = 3.0"),
        ("temperature = 3", "temperature = \"3\"", 35, 15, "is the text '3', but a temperature", "temperature = 3.0"),
        ("temperature = 3", "temprature = 3", 35, 1, "unknown key 'temprature' in steps.distill", "did you mean 'temperature'?"),
        ("[steps.aggregate]", "[steps.aggregate]\ntemperature = 3.0", 32, 1, "unknown key 'temperature' in steps.aggregate", "valid keys here: rule, drop_worst"),
        ("proximal = 0.01", "temperature = 2", 26, 15, "'steps.train.temperature' would change nothing: step 'train' of feddf and standalone have no term with loss = { kind = \"kl\" }", "remove it; steps with such a term: distill"),
    ]);
    each_is_one_problem(MOST, &[
        ("batch     = 64", "temperature = 3.0", 24, 15, "'steps.digest.temperature' would change nothing: step 'digest' of fedmd and self_digest have no term", "remove it, or name a pipeline with such a term"),
    ]);
}

#[test]
fn a_rule_changes_steps_that_combine_what_it_is_about() {
    let weights = || Rule::Weights(By::Parties);
    let slots = || Rule::Weights(By::Slots(vec![1.0, 0.5]));
    for (stage, had, rule, has) in [
        (
            Stage::Aggregate,
            Rule::Mean,
            Rule::MeanProbability,
            Rule::MeanProbability,
        ),
        (Stage::Aggregate, Rule::Mean, weights(), Rule::Mean),
        (Stage::Aggregate, Rule::Mean, slots(), slots()),
        (Stage::Average, Rule::Weights(By::Samples), weights(), weights()),
        (Stage::Average, weights(), Rule::Mean, weights()),
        (Stage::Average, weights(), slots(), weights()),
    ] {
        let mut changed = step(stage, None, Some(had));
        let settings = StepSettings {
            rule: Some(rule.clone()),
            ..StepSettings::default()
        };
        settings.apply(&mut changed);
        assert_eq!(changed, step(stage, None, Some(has)), "{rule:?} in {stage}");
    }
}

/// [`SELECTING`] with a weight for each of its ten parties.
fn weighing() -> String {
    SELECTING.replace("\"mean_probability\"", "{ weights = [1, 1, 0.5, 0, 2, 1, 1, 1, 1, 1] }")
}

#[test]
fn parties_have_weights_of_their_own() {
    let weights = vec![1.0, 1.0, 0.5, 0.0, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0];
    let file = parse(&weighing()).unwrap();
    assert_eq!(file.steps["aggregate"].rule, Some(Rule::Weights(By::Slots(weights))));
    // Of four that are selected, one at least counts; and where all take part, the one that does.
    let three = weighing().replace("[1, 1, 0.5, 0, 2,", "[0, 1, 0.5, 0, 0,");
    assert!(parse(&three).is_ok());
    let one = weighing().replace("[1, 1, 0.5, 0, 2, 1, 1, 1, 1, 1]", "[1, 0, 0, 0, 0, 0, 0, 0, 0, 0]");
    let selects = "active        = 0.4\nselection     = \"round_robin\"\n";
    assert!(one.contains(selects));
    assert!(parse(&one.replace(selects, "")).is_ok());
}

#[test]
#[rustfmt::skip]
fn mistakes_about_weights() {
    each_is_one_problem(&weighing(), &[
        ("1, 1, 0.5, 0, 2, ", "1, 1, ", 31, 20, "the rule of step 'aggregate' lists 7 weights, and there are 10 parties", "list 10 weights, one a party"),
        ("0.5, 0, 2", "0.5, -0.1, 2", 31, 32, "'steps.aggregate.rule.weights[3]' is -0.1, but a number of at least 0", "a number a party"),
        ("0.5, 0, 2", "0.5, inf, 2", 31, 32, "'steps.aggregate.rule.weights[3]' is inf, but a number of at least 0", "a number a party"),
        ("0.5, 0, 2", "0.5, 1e-10, 2", 31, 20, "'steps.aggregate.rule.weights' has a weight of 1e-10, less than 2^-30 of the largest one", "write 0 for a party"),
        ("[1, 1, 0.5, 0, 2, 1, 1, 1, 1, 1]", "[1, 1, 0, 0, 0, 0, 1, 1, 1, 1]", 31, 20, "4 of 10 parties have weight 0 in the rule of step 'aggregate', and a round of 4 may select these alone", "give 1 of them a weight above 0, or raise parties.active so that more than 4 take part"),
        ("[1, 1, 0.5, 0, 2, 1, 1, 1, 1, 1]", "[0, 0]", 31, 20, "'steps.aggregate.rule.weights' gives no party a weight above 0", "one of them above 0"),
        ("1] }", "1], by = 2 }", 31, 54, "unknown key 'by' in steps.aggregate.rule", "valid keys here: weights"),
        ("count         = 10", "count = 9", 31, 20, "lists 10 weights, and there are 9 parties", "list 9 weights"),
    ]);
    each_is_one_problem(SELECTING, &[
        ("{ weights = \"parties\" }", "{ weights = [1, 2] }", 28, 20, "'steps.average.rule.weights' is a list, but what a party counts by is expected", "weights = \"samples\""),
    ]);
}

#[test]
#[rustfmt::skip]
fn mistakes_about_settings() {
    each_is_one_problem(SELECTING, &[
        ("steps    = 50", "steps = 50\nepochs = 2", 24, 9, "'steps.train.steps' says how long to train, and so does 'epochs'", "remove one of the two"),
        ("steps    = 50", "steps = 0", 24, 9, "'steps.train.steps' is 0, but a whole number of at least 1", "steps = 1000"),
        ("proximal = 0.01", "proximal = -1", 25, 12, "'steps.train.proximal' is -1, but a number of at least 0", "proximal = 0.01"),
        ("proximal = 0.01", "head_l2 = -1", 25, 11, "'steps.train.head_l2' is -1, but a number of at least 0", "head_l2 = 0.001"),
        ("proximal = 0.01", "head_l2 = nan", 25, 11, "'steps.train.head_l2' is nan, but a number of at least 0", "head_l2 = 0.001"),
        ("proximal = 0.01", "clip = 0", 25, 8, "'steps.train.clip' is 0, but a number above 0", "clip = 5.0"),
        ("proximal = 0.01", "clip = inf", 25, 8, "'steps.train.clip' is inf, but a number above 0", "clip = 5.0"),
        ("proximal =", "proximl =", 25, 1, "unknown key 'proximl' in steps.train", "did you mean 'proximal'?"),
        ("\"cosine\"", "\"cosin\"", 34, 12, "'cosin', which is not a schedule of the learning rate", "did you mean 'cosine'?"),
        ("every = 100", "every = 0", 35, 59, "'steps.distill.stop.every' is 0", "leave it out for every epoch"),
        ("\"mean_probability\"", "\"mean_probabilty\"", 31, 8, "'mean_probabilty', which is not a rule that combines predictions", "did you mean 'mean_probability'?"),
        ("\"mean_probability\"", "\"trimmed\"", 31, 8, "'steps.aggregate.rule' is 'trimmed', which is not a rule that combines predictions", "valid: mean, mean_probability, { weights = [..] }"),
        ("\"mean_probability\"", "\"median\"", 31, 8, "'steps.aggregate.rule' is 'median'", "did you mean 'mean'?"),
        ("\"mean_probability\"", "{ weights = \"samples\" }", 31, 8, "'steps.aggregate.rule' is a table, but a rule that combines predictions", "rule = \"mean\""),
        ("{ weights = \"parties\" }", "\"mean\"", 28, 8, "'steps.average.rule' is the text 'mean', but a table", "rule = { weights = \"samples\" }"),
        ("weights = \"parties\"", "weights = \"rows\"", 28, 20, "'rows', which is not what a party counts by", "valid: samples, parties"),
        ("weights = \"parties\"", "weigths = \"parties\"", 28, 10, "unknown key 'weigths' in steps.average.rule", "did you mean 'weights'?"),
        ("[steps.aggregate]", "[steps.aggregate]\nepochs = 1", 31, 1, "unknown key 'epochs' in steps.aggregate", "valid keys here: rule"),
        ("[steps.distill]", "[steps.distill]\nrule = \"mean\"", 34, 1, "unknown key 'rule' in steps.distill", "valid keys here: epochs, steps, batch, optimizer, schedule, proximal, head_l2, clip, stop"),
        ("[steps.average]", "[steps.predict]", 27, 8, "step 'predict' of feddf neither trains nor combines anything", "that have settings: train, average, aggregate, distill"),
        ("[steps.average]", "[steps.initial]", 27, 8, "step 'initial' of feddf neither trains nor combines anything", "remove this table"),
    ]);
}
