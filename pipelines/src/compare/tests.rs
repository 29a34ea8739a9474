//! The comparison that result tables give.

mod notes;
mod pictures;
mod table;

use super::{Asked, Comparison, NoComparison, load};
use crate::reached::Shown;
use crate::reached::samples::{Results, Row, Value, crossed, named, scored, shown, worked};
use fedstill_schemas::results as tables;
use std::collections::BTreeMap;

const ASKED: Asked = Asked {
    evaluations: 5,
    target: None,
    baseline: None,
    test_set: None,
};

fn compared(results: &Results, runs: &[Shown], asked: &Asked) -> Result<Comparison, NoComparison> {
    load(results.0.path(), runs, &BTreeMap::new(), asked)
}

/// The words of the line that begins with these.
fn line(text: &str, start: &str) -> String {
    let mut lines = text
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    lines.find(|line| line.starts_with(start)).unwrap_or_default()
}

/// Rounds of three parties, .02 apart, whose mean begins at .5 and .01 higher with each seed, and grows by `gain` a round;
/// in each a thousand bytes cross between the server and two that train, and all are evaluated in a tenth of a second.
fn finish(results: &Results, shown: &Shown, rounds: u32, gain: f64, train: u32) {
    for round in 0..=rounds {
        let grown = 0.5 + f64::from(round) * gain + shown.seed as f64 * 0.01;
        let accuracies = [grown - 0.02, grown, grown + 0.02];
        let (metrics, _) = scored("evaluate", "global", "party", &accuracies);
        let trained = |party| crossed(worked("train", party, train), 300, 200);
        let mut steps: Vec<Row> = vec![trained("party-0"), trained("party-1")];
        steps.extend((0..3).map(|slot| worked("evaluate", &format!("party-{slot}"), 100)));
        results.write(tables::METRICS, shown, round, &metrics);
        results.write(tables::STEPS, shown, round, &steps);
        results.write(tables::ROUNDS, shown, round, &[Vec::new()]);
    }
}

/// FedMD and standalone with the seeds 0, 1 and 2, finished.
fn three_seeds(results: &Results) -> Vec<Shown> {
    let mut runs = Vec::new();
    for (pipeline, gain, per_seed, train) in [("fedmd", 0.02, 0.002, 500), ("standalone", 0.01, 0.0, 200)] {
        for seed in 0..3 {
            let shown = shown(pipeline, seed);
            finish(results, &shown, 5, gain + seed as f64 * per_seed, train);
            runs.push(shown);
        }
    }
    runs
}

#[test]
fn three_seeds_give_tables_of_accuracy_target_and_cost() {
    let results = Results::new();
    let asked = Asked {
        target: Some(0.601),
        ..ASKED
    };
    let comparison = compared(&results, &three_seeds(&results), &asked).expect("a comparison");
    assert_eq!(comparison.text(), include_str!("expected/three_seeds.txt"));
}

#[test]
fn a_seed_that_the_baseline_lacks_is_left_out_of_the_difference_and_counted() {
    let results = Results::new();
    let mut runs = three_seeds(&results);
    runs.remove(4);
    let text = compared(&results, &runs, &ASKED).expect("a comparison").text();
    // Of the differences .03, .036 and .042 the middle one has no pair.
    assert_eq!(
        line(&text, "fedmd 3"),
        "fedmd 3 5 .576 ± .016 +.036 ± .008 2 .556 ± .016 3 parties"
    );
    assert!(
        text.contains("\nfedmd: 1 seed that standalone lacks, left out of the difference\n"),
        "{text}"
    );
}

#[test]
fn a_run_that_is_behind_is_left_out_and_named() {
    let results = Results::new();
    let runs = [shown("fedmd", 0), shown("fedmd", 1)];
    finish(&results, &runs[0], 5, 0.02, 500);
    finish(&results, &runs[1], 2, 0.09, 500);
    let text = compared(&results, &runs, &ASKED).expect("a comparison").text();
    assert_eq!(line(&text, "fedmd 1"), "fedmd 1 5 .560 – .540 3 parties");
    assert!(
        text.contains("fedmd, seed 1: 2 of 5 rounds so far; left out of the means\n"),
        "{text}"
    );
    assert_eq!(
        line(&text, "fedmd train"),
        "fedmd train 12 6.00 76.9 % 6.00 12.0 0.00600"
    );
}

#[test]
fn a_method_that_is_not_as_far_as_its_baseline_is_marked_and_has_no_difference() {
    let results = Results::new();
    let runs = [shown("fedavg", 0), shown("fedmd", 0), shown("standalone", 0)];
    for (run, rounds) in runs.iter().zip([3, 5, 5]) {
        finish(&results, run, rounds, 0.02, 500);
    }
    let asked = Asked {
        target: Some(0.55),
        ..ASKED
    };
    let comparison = compared(&results, &runs, &asked).expect("a comparison");
    let text = comparison.text();
    assert_eq!(line(&text, "fedavg 1"), "fedavg 1 3 of 5 .540 – .520 3 parties");
    assert_eq!(line(&text, "fedmd 1"), "fedmd 1 5 .560 .000 1 .540 3 parties");
    assert!(
        line(&text, "fedavg 1 of 1").starts_with("fedavg 1 of 1 so far 3"),
        "{text}"
    );
    assert!(line(&text, "fedmd 1 of 1").starts_with("fedmd 1 of 1 3"), "{text}");
    let note = "\nfedavg: 3 rounds where standalone has 5, and so no difference\n";
    assert!(text.contains(note), "{text}");
    let with: Vec<bool> = comparison.scored().iter().map(|row| row.difference.is_some()).collect();
    assert_eq!(with, [false, true, false]);
    // Runs that are asked for no more than they have are not marked, and are no pair either.
    let ended = runs.map(|run| Shown { rounds: None, ..run });
    let text = compared(&results, &ended, &ASKED).expect("a comparison").text();
    assert_eq!(line(&text, "fedavg 1"), "fedavg 1 3 .540 – .520 3 parties");
    assert!(text.contains(note), "{text}");
    // Those that are equally far are one.
    let both = [ended[0].clone(), named("quick-start", "feddf", 0)];
    finish(&results, &both[1], 3, 0.03, 500);
    let text = compared(&results, &both, &ASKED).expect("a comparison").text();
    assert!(text.contains("minus feddf"), "{text}");
    assert_eq!(line(&text, "fedavg 1"), "fedavg 1 3 .540 -.020 1 .520 3 parties");
}

#[test]
fn a_mean_of_fewer_evaluations_says_so() {
    let results = Results::new();
    let run = shown("fedmd", 0);
    finish(&results, &run, 2, 0.02, 500);
    let text = compared(&results, std::slice::from_ref(&run), &ASKED)
        .expect("a comparison")
        .text();
    assert_eq!(line(&text, "fedmd 1"), "fedmd 1 2 of 5 .530 – .510 3 parties");
    assert!(
        text.contains("quick-start: means of 2 evaluations; there are no more yet\n"),
        "{text}"
    );
    let finished = Shown { rounds: Some(2), ..run };
    let text = compared(&results, &[finished], &ASKED).expect("a comparison").text();
    assert!(text.contains("quick-start: means of 2 evaluations\n"), "{text}");
}

#[test]
fn steps_that_score_other_models_have_rows_of_their_own() {
    let results = Results::new();
    let runs = [shown("feddf", 0), shown("standalone", 0)];
    finish(&results, &runs[1], 5, 0.01, 200);
    for round in 0..=5 {
        let (mut metrics, mut steps) = scored("evaluate_personal", "global", "party", &[0.1, 0.2]);
        // Not first in the tables, and still the main one.
        let (main, own) = scored("evaluate", "global", "architecture", &[0.6, 0.7]);
        let (ensemble, server) = scored("evaluate_ensemble", "global", "server", &[0.9]);
        metrics.extend(main.into_iter().chain(ensemble));
        steps.extend(own.into_iter().chain(server));
        results.write(tables::METRICS, &runs[0], round, &metrics);
        results.write(tables::STEPS, &runs[0], round, &steps);
    }
    let comparison = compared(&results, &runs, &ASKED).expect("a comparison");
    let text = comparison.text();
    assert_eq!(line(&text, "feddf 1"), "feddf 1 5 .650 +.120 1 .600 2 architectures");
    assert_eq!(
        line(&text, "feddf (evaluate_personal)"),
        "feddf (evaluate_personal) 1 5 .150 -.380 1 .100 2 parties"
    );
    assert_eq!(
        line(&text, "feddf (evaluate_ensemble)"),
        "feddf (evaluate_ensemble) 1 5 .900 +.370 1 –"
    );
    assert_eq!(comparison.accuracy_picture().matches("\nfeddf\n").count(), 1);
    // Nobody takes the worst architecture for a party, nor an ensemble for the worst of anything.
    let measures: Vec<(&str, [&str; 2], bool)> = comparison
        .scored()
        .iter()
        .map(|row| (row.track.step.as_str(), row.worst_measures(), row.worst.is_some()))
        .collect();
    assert_eq!(
        measures[..3],
        [
            ("evaluate", ["worst_architecture", "round_worst_architecture"], true),
            ("evaluate_personal", ["worst_party", "round_worst_party"], true),
            ("evaluate_ensemble", ["worst_model", "round_worst_model"], false),
        ]
    );
}

#[test]
fn while_nobody_knows_whose_models_a_step_scores_there_is_no_worst_of_them() {
    let results = Results::new();
    let run = shown("feddf", 0);
    for round in 0..=1 {
        let (mut metrics, mut steps) = scored("evaluate", "global", "architecture", &[0.6, 0.7]);
        if round > 0 {
            let (ensemble, server) = scored("evaluate_ensemble", "global", "server", &[0.9]);
            metrics.extend(ensemble);
            steps.extend(server);
        }
        results.write(tables::METRICS, &run, round, &metrics);
        results.write(tables::STEPS, &run, round, &steps);
    }
    let compared = || compared(&results, std::slice::from_ref(&run), &ASKED).expect("a comparison");
    let ensemble = "feddf (evaluate_ensemble) 1 1 of 5 .900 +.250 1 –";
    assert_eq!(line(&compared().text(), "feddf (evaluate_ensemble)"), ensemble);
    // That of the round in which the ensemble was first scored is lost, or still to come.
    std::fs::remove_file(results.file(tables::STEPS, &run.run, 1)).expect("a file");
    let text = compared().text();
    assert_eq!(line(&text, "feddf (evaluate_ensemble)"), ensemble);
    assert_eq!(line(&text, "feddf 1"), "feddf 1 1 of 5 .650 – .600 2 architectures");
    std::fs::remove_file(results.file(tables::STEPS, &run.run, 0)).expect("a file");
    assert_eq!(line(&compared().text(), "feddf 1"), "feddf 1 1 of 5 .650 – –");
}

#[test]
fn scores_on_other_test_sets_stay_out_and_on_each_partys_own_the_worst_is_a_party() {
    let results = Results::new();
    let (run, prototypes) = (shown("fedmd", 0), shown("fedavg", 0));
    for round in 0..=5 {
        let (mut metrics, steps) = scored("evaluate", "global", "party", &[0.6, 0.7]);
        metrics.extend(scored("evaluate", "local", "party", &[0.8, 0.9]).0);
        results.write(tables::METRICS, &run, round, &metrics);
        results.write(tables::STEPS, &run, round, &steps);
        results.write(tables::ROUNDS, &run, round, &[Vec::new()]);
        let (mut metrics, steps) = scored("evaluate", "global", "architecture", &[0.5, 0.6]);
        metrics.extend(scored("evaluate", "local", "party", &[0.5, 0.6, 0.7]).0);
        results.write(tables::METRICS, &prototypes, round, &metrics);
        results.write(tables::STEPS, &prototypes, round, &steps);
        results.write(tables::ROUNDS, &prototypes, round, &[Vec::new()]);
    }
    let of = |test_set: Option<&str>| {
        let asked = Asked {
            test_set: test_set.map(ToOwned::to_owned),
            ..ASKED
        };
        let runs = [run.clone(), prototypes.clone()];
        compared(&results, &runs, &asked).map(|comparison| comparison.text())
    };
    let global = of(None).expect("the first");
    assert_eq!(line(&global, "fedmd 1"), "fedmd 1 5 .650 – .600 2 parties");
    assert_eq!(
        line(&global, "fedavg 1"),
        "fedavg 1 5 .550 -.100 1 .500 2 architectures"
    );
    let local = of(Some("local")).expect("the other");
    assert!(local.contains("accuracy on the test set 'local'"), "{local}");
    assert_eq!(line(&local, "fedmd 1"), "fedmd 1 5 .850 – .800 2 parties");
    assert_eq!(line(&local, "fedavg 1"), "fedavg 1 5 .600 -.250 1 .500 3 parties");
    let refused = of(Some("locale")).expect_err("no such set").to_string();
    assert_eq!(
        refused,
        "nothing is scored on a test set 'locale': did you mean 'local'?"
    );
}

#[test]
fn several_run_names_are_told_apart_and_compared_within_each() {
    let results = Results::new();
    let mut runs = Vec::new();
    for (name, gain) in [("alpha-1", 0.01), ("alpha-100", 0.02)] {
        for (pipeline, more) in [("fedmd", 0.01), ("standalone", 0.0)] {
            let run = named(name, pipeline, 0);
            finish(&results, &run, 5, gain + more, 500);
            runs.push(run);
        }
    }
    let text = compared(&results, &runs, &ASKED).expect("a comparison").text();
    assert!(
        text.starts_with("alpha-1, alpha-100: accuracy on the test set 'global'\n"),
        "{text}"
    );
    assert_eq!(
        line(&text, "alpha-1/fedmd 1"),
        "alpha-1/fedmd 1 5 .560 +.030 1 .540 3 parties"
    );
    assert_eq!(
        line(&text, "alpha-100/fedmd 1"),
        "alpha-100/fedmd 1 5 .590 +.030 1 .570 3 parties"
    );
    let asked = Asked {
        baseline: Some("alpha-1/standalone".to_owned()),
        ..ASKED
    };
    let text = compared(&results, &runs, &asked).expect("a comparison").text();
    assert_eq!(
        line(&text, "alpha-100/fedmd 1"),
        "alpha-100/fedmd 1 5 .590 +.060 1 .570 3 parties"
    );
}

#[test]
fn bytes_are_what_each_party_sends_and_fetches() {
    let results = Results::new();
    let run = shown("fedavg", 0);
    // Three parties send models of 700 and 900 bytes and fetch as many; the server reads them all, which crosses nothing.
    let train = |party, bytes| crossed(worked("train", party, 100), bytes, bytes);
    for round in 0..=2 {
        let (metrics, _) = scored("evaluate", "global", "architecture", &[0.5, 0.7]);
        let mut steps = vec![
            worked("average", "architecture-0", 100),
            worked("evaluate", "architecture-0", 100),
        ];
        if round > 0 {
            steps.extend([train("party-0", 700), train("party-1", 900), train("party-2", 700)]);
        }
        results.write(tables::METRICS, &run, round, &metrics);
        results.write(tables::STEPS, &run, round, &steps);
        results.write(
            tables::ROUNDS,
            &run,
            round,
            &[vec![("bytes_tasks", Value::Number(5000.0))]],
        );
    }
    let asked = Asked {
        target: Some(0.55),
        ..ASKED
    };
    let comparison = compared(&results, std::slice::from_ref(&run), &asked).expect("a comparison");
    let to_target = comparison.to_target();
    assert_eq!(
        to_target[0].bytes.map(|bytes| bytes.mean),
        Some(0.0),
        "round 0 has it, and nobody sent anything"
    );
    let counted = comparison.methods[0].runs[0].bytes(2);
    assert_eq!(counted, Some(2 * 2 * (700 + 900 + 700)));
}

#[test]
fn bytes_that_results_do_not_say_are_not_shown_as_none() {
    let results = Results::new();
    let run = shown("fedavg", 0);
    for round in 0..=1 {
        let (metrics, _) = scored("evaluate", "global", "architecture", &[0.7]);
        let steps = [worked("train", "party-0", 100)];
        results.write(tables::METRICS, &run, round, &metrics);
        let without: &[&str] = if round == 0 { &["bytes_up", "bytes_down"] } else { &[] };
        results.write_without(without, tables::STEPS, &run, round, &steps);
    }
    let asked = Asked {
        target: Some(0.6),
        ..ASKED
    };
    let comparison = compared(&results, std::slice::from_ref(&run), &asked).expect("a comparison");
    assert_eq!(comparison.to_target()[0].bytes, None);
    assert_eq!(comparison.to_target()[0].rounds.map(|rounds| rounds.mean), Some(0.0));
    let text = comparison.text();
    assert!(
        line(&text, "fedavg 1 of 1").starts_with("fedavg 1 of 1 so far 0 –"),
        "{text}"
    );
    let note = "\nfedavg: seed 0 is of an earlier release, without `bytes_up` and `bytes_down` in `steps`: no bytes\n";
    assert!(text.contains(note), "{text}");
    // Without a target there are no bytes to miss; and where no seed reaches it, that is why there is a dash.
    let without = |target: Option<f64>| {
        let asked = Asked { target, ..ASKED };
        let comparison = compared(&results, std::slice::from_ref(&run), &asked);
        comparison.expect("a comparison").text()
    };
    assert!(!without(None).contains("no bytes") && !without(Some(0.9)).contains("no bytes"));
}

#[test]
fn without_results_there_is_no_comparison() {
    let results = Results::new();
    let runs = [shown("fedmd", 0), shown("standalone", 0)];
    let refused = compared(&results, &runs, &ASKED).expect_err("no results").to_string();
    assert!(
        refused.starts_with("there are no results of quick-start in "),
        "{refused}"
    );
    finish(&results, &runs[0], 1, 0.02, 500);
    let text = compared(&results, &runs, &ASKED).expect("a comparison").text();
    assert!(text.contains("standalone: not started\n"), "{text}");
    let asked = Asked {
        baseline: Some("standalone".to_owned()),
        ..ASKED
    };
    let refused = compared(&results, &runs, &asked).expect_err("no baseline").to_string();
    assert!(
        refused.contains("'standalone' is not among the methods that have results"),
        "{refused}"
    );
}
