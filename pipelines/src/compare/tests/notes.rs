//! What a comparison says below its tables.

use super::{ASKED, compared, finish, line};
use crate::compare::{Asked, load};
use crate::reached::Shown;
use crate::reached::samples::{Results, Value, named, scored, shown};
use crate::samples::resolved;
use fedstill_schemas::data::Partition;
use fedstill_schemas::resolved::ResolvedRun;
use fedstill_schemas::results as tables;
use std::collections::BTreeMap;

#[test]
fn means_of_fewer_evaluations_are_told_once_a_run_name() {
    let results = Results::new();
    let runs = [shown("feddf", 0), shown("fedmd", 0), shown("standalone", 0)];
    finish(&results, &runs[1], 3, 0.02, 500);
    finish(&results, &runs[2], 5, 0.01, 200);
    for round in 0..=2 {
        let (mut metrics, mut steps) = scored("evaluate", "global", "architecture", &[0.6, 0.7]);
        let (ensemble, server) = scored("evaluate_ensemble", "global", "server", &[0.9]);
        metrics.extend(ensemble);
        steps.extend(server);
        results.write(tables::METRICS, &runs[0], round, &metrics);
        results.write(tables::STEPS, &runs[0], round, &steps);
    }
    let text = compared(&results, &runs, &ASKED).expect("a comparison").text();
    assert!(
        text.contains("quick-start: some means of 2 to 3 evaluations; there are no more yet\n"),
        "{text}"
    );
    assert_eq!(text.matches("there are no more yet").count(), 1, "{text}");
}

#[test]
fn rounds_without_their_tables_are_named() {
    let results = Results::new();
    let run = shown("fedmd", 0);
    finish(&results, &run, 5, 0.02, 500);
    let text = |results: &Results| {
        let comparison = compared(results, std::slice::from_ref(&run), &ASKED);
        comparison.expect("a comparison").text()
    };
    assert!(!text(&results).contains("no table"), "{}", text(&results));
    for (table, round) in [(tables::METRICS, 2), (tables::STEPS, 3), (tables::STEPS, 4)] {
        std::fs::remove_file(results.file(table, &run.run, round)).expect("a file");
    }
    let expected = "
fedmd: no table `metrics` of round 2; means are of the other rounds
fedmd: no table `steps` of rounds 3, 4; times and costs are of the other rounds
";
    assert!(text(&results).contains(expected), "{}", text(&results));
}

#[test]
fn the_newest_round_of_a_run_that_goes_on_lacks_no_costs_yet() {
    let results = Results::new();
    let run = shown("fedmd", 0);
    finish(&results, &run, 3, 0.02, 500);
    for round in [1, 3] {
        std::fs::remove_file(results.file(tables::STEPS, &run.run, round)).expect("a file");
    }
    let text = |wanted: Option<u32>| {
        let run = Shown {
            rounds: wanted,
            ..run.clone()
        };
        compared(&results, &[run], &ASKED).expect("a comparison").text()
    };
    let missing =
        |rounds: &str| format!("\nfedmd: no table `steps` of {rounds}; times and costs are of the other rounds\n");
    let goes_on = text(Some(5));
    assert!(goes_on.contains(&missing("round 1")), "{goes_on}");
    for ended in [Some(3), None] {
        let ended = text(ended);
        assert!(ended.contains(&missing("rounds 1, 3")), "{ended}");
    }
}

#[test]
fn a_run_that_is_done_by_its_folder_and_has_no_scores_is_not_called_not_started() {
    let results = Results::new();
    let runs = [shown("fedmd", 0), shown("standalone", 0)];
    for run in &runs {
        finish(&results, run, 2, 0.02, 500);
    }
    for round in 0..=2 {
        std::fs::remove_file(results.file(tables::METRICS, &runs[0].run, round)).expect("a file");
    }
    let text = |rounds: u32, done: Option<u32>| {
        let runs = runs.clone().map(|run| Shown {
            rounds: Some(rounds),
            done,
            ..run
        });
        compared(&results, &runs, &ASKED).expect("a comparison").text()
    };
    let ended = text(2, Some(2));
    let missing = "
fedmd: no table `metrics` of rounds 0, 1, 2; it is in no mean
fedmd: the command that made the run (`fedstill run`, or `sweep`, with its file) writes what is missing again, where the \
                   run's folder still has its log
";
    assert!(ended.contains(missing), "{ended}");
    assert!(
        !ended.contains("not started") && !ended.contains("standalone: "),
        "{ended}"
    );
    // What is about to be written is not missed.
    let goes_on = text(5, Some(2));
    let missing = "
fedmd: 2 of 5 rounds so far
fedmd: no table `metrics` of rounds 0, 1; it is in no mean
";
    assert!(goes_on.contains(missing), "{goes_on}");
    // Without a folder nobody knows.
    let unknown = text(2, None);
    assert!(unknown.contains("\nfedmd: not started\n"), "{unknown}");
    assert!(!unknown.contains("no table"), "{unknown}");
}

#[test]
fn the_last_rounds_of_a_run_that_is_done_by_its_folder_are_missed_too() {
    let results = Results::new();
    let runs = [0, 1].map(|seed| Shown {
        done: Some(5),
        ..shown("fedmd", seed)
    });
    for run in &runs {
        finish(&results, run, 5, 0.02, 500);
    }
    for round in [4, 5] {
        std::fs::remove_file(results.file(tables::METRICS, &runs[1].run, round)).expect("a file");
    }
    let text = compared(&results, &runs, &ASKED).expect("a comparison").text();
    assert!(
        text.contains("\nfedmd, seed 1: no table `metrics` of rounds 4, 5; left out of the means\n"),
        "{text}"
    );
    assert!(!text.contains("so far"), "{text}");
}

#[test]
fn a_run_without_scores_on_the_test_set_says_so() {
    let results = Results::new();
    let runs = [shown("fedmd", 0), shown("standalone", 0)];
    finish(&results, &runs[0], 5, 0.02, 500);
    let (metrics, _) = scored("evaluate", "other", "party", &[0.5]);
    results.write(tables::METRICS, &runs[1], 0, &metrics);
    let text = compared(&results, &runs, &ASKED).expect("a comparison").text();
    assert!(text.contains("\nstandalone: no scores on this test set\n"), "{text}");
}

/// Prototypes and an ensemble of three parties on the parties' own test sets: of an earlier release with a row a model, else
/// with one a party.
fn finish_local(results: &Results, shown: &Shown, earlier: bool) {
    let (prototypes, ensemble, without): (&[f64], &[f64], &[&str]) = if earlier {
        (&[0.5, 0.6], &[0.7], &["parties", "selected"])
    } else {
        (&[0.5, 0.6, 0.7], &[0.7, 0.8, 0.9], &[])
    };
    for round in 0..=5 {
        let (mut metrics, _) = scored("evaluate", "local", "architecture", prototypes);
        metrics.extend(scored("evaluate_ensemble", "local", "server", ensemble).0);
        // The tasks are the same ones.
        let (_, mut steps) = scored("evaluate", "local", "architecture", &[0.0, 0.0]);
        steps.extend(scored("evaluate_ensemble", "local", "server", &[0.0]).1);
        results.write(tables::METRICS, shown, round, &metrics);
        results.write(tables::STEPS, shown, round, &steps);
        results.write_without(without, tables::ROUNDS, shown, round, &[Vec::new()]);
    }
}

#[test]
fn models_of_the_server_that_an_earlier_release_scored_on_local_test_sets_are_not_called_parties() {
    let results = Results::new();
    let runs = [shown("feddf", 0), shown("feddf", 1), shown("feddf", 2)];
    for (run, earlier) in runs.iter().zip([true, false, true]) {
        finish_local(&results, run, earlier);
    }
    let asked = Asked {
        test_set: Some("local".to_owned()),
        ..ASKED
    };
    let text = |runs: &[Shown]| compared(&results, runs, &asked).expect("a comparison").text();
    let earlier = text(&runs[..1]);
    assert_eq!(line(&earlier, "feddf 1"), "feddf 1 5 .550 – .500 2 architectures");
    assert_eq!(
        line(&earlier, "feddf (evaluate_ensemble)"),
        "feddf (evaluate_ensemble) 1 5 .700 +.150 1 –"
    );
    let own = text(&runs[1..2]);
    assert_eq!(line(&own, "feddf 1"), "feddf 1 5 .600 – .500 3 parties");
    assert_eq!(
        line(&own, "feddf (evaluate_ensemble)"),
        "feddf (evaluate_ensemble) 1 5 .800 +.200 1 .700 3 parties"
    );
    assert!(!own.contains("earlier release"), "{own}");
    let note = "\nfeddf: seed 0 is of an earlier release: on 'local' a model of the server has one score, in the mean of its \
                parties' proportions\n";
    assert_eq!(earlier.matches(note).count(), 1, "{earlier}");
    // Of seeds of both nobody can say whose the worst is.
    let both = text(&runs[..2]);
    let note = "\nfeddf: seed 0 is of an earlier release: on 'local' its models are scored otherwise\n";
    assert_eq!(both.matches(note).count(), 1, "{both}");
    assert!(line(&both, "feddf 2").ends_with(" 3 models"), "{both}");
    let all = text(&runs);
    let note = "\nfeddf: seeds 0, 2 are of an earlier release: on 'local' their models are scored otherwise\n";
    assert!(all.contains(note), "{all}");
}

#[test]
fn who_was_late_or_refused_is_named_in_brief() {
    let results = Results::new();
    let run = shown("fedmd", 0);
    finish(&results, &run, 5, 0.02, 500);
    let text = |text: &str| Value::Text(text.to_owned());
    let late = text("party-2: it did not answer by the deadline");
    let refused = text("party-0: NaN: \x1b[2J, then nothing; party-1: it failed");
    results.write(
        tables::ROUNDS,
        &run,
        3,
        &[vec![("stragglers", late.clone()), ("refused", refused)]],
    );
    results.write(tables::ROUNDS, &run, 4, &[vec![("stragglers", late)]]);
    let text = compared(&results, &[run], &ASKED).expect("a comparison").text();
    assert!(
        text.contains("fedmd: somebody was late or refused in 2 rounds (party-0, party-1, party-2)\n"),
        "{text}"
    );
}

/// Two run names, of which one has no baseline.
fn one_without_a_baseline(results: &Results) -> Vec<Shown> {
    let mut runs = Vec::new();
    for (name, pipeline, gain) in [
        ("alpha", "fedmd", 0.02),
        ("alpha", "standalone", 0.01),
        ("beta", "fedmd", 0.02),
    ] {
        let run = named(name, pipeline, 0);
        finish(results, &run, 5, gain, 500);
        runs.push(run);
    }
    runs
}

#[test]
fn a_run_name_without_a_baseline_of_its_own_is_compared_with_none_and_named() {
    let results = Results::new();
    let runs = one_without_a_baseline(&results);
    let text = compared(&results, &runs, &ASKED).expect("a comparison").text();
    assert_eq!(line(&text, "beta/fedmd 1"), "beta/fedmd 1 5 .560 – .540 3 parties");
    let note = "beta: no standalone of its own, and so no difference; --baseline alpha/standalone compares all methods with \
                that one\n";
    assert!(text.contains(note), "{text}");
    let asked = Asked {
        baseline: Some("alpha/standalone".to_owned()),
        ..ASKED
    };
    let text = compared(&results, &runs, &asked).expect("a comparison").text();
    assert_eq!(
        line(&text, "beta/fedmd 1"),
        "beta/fedmd 1 5 .560 +.030 1 .540 3 parties"
    );
    assert!(!text.contains("of its own"), "{text}");
}

#[test]
fn a_baseline_that_is_asked_for_and_not_started_is_still_to_come() {
    let results = Results::new();
    let mut runs = one_without_a_baseline(&results);
    runs.push(named("beta", "standalone", 0));
    let text = compared(&results, &runs, &ASKED).expect("a comparison").text();
    assert!(text.contains("beta/standalone: not started\n"), "{text}");
    assert!(
        text.contains("\nbeta: standalone is still to come, and so no difference yet\n"),
        "{text}"
    );
    assert!(!text.contains("--baseline"), "{text}");
    // Beside one that has none: each is told what it lacks.
    let other = named("gamma", "fedmd", 0);
    finish(&results, &other, 5, 0.02, 500);
    runs.push(other);
    let text = compared(&results, &runs, &ASKED).expect("a comparison").text();
    assert!(text.contains("\nbeta: standalone is still to come"), "{text}");
    assert!(text.contains("\ngamma: no standalone of its own"), "{text}");
}

#[test]
fn pairs_of_other_data_are_named_where_the_folders_say_so() {
    let results = Results::new();
    let runs = one_without_a_baseline(&results);
    let asked = Asked {
        baseline: Some("alpha/standalone".to_owned()),
        ..ASKED
    };
    let text = |kept: &BTreeMap<String, ResolvedRun>| {
        let comparison = load(results.0.path(), &runs, kept, &asked);
        comparison.expect("a comparison").text()
    };
    let mut kept: BTreeMap<String, ResolvedRun> = runs.iter().map(|shown| (shown.run.clone(), resolved())).collect();
    assert!(!text(&kept).contains("other data"), "{}", text(&kept));
    let other = kept.get_mut("beta-fedmd-0").expect("a run");
    other.partition = Partition::LogNormal { sigma: 1.0, min: 1 };
    other.test.take = 20;
    let with = text(&kept);
    let note =
        "beta/fedmd: alpha/standalone has other data (partition, test data), and the difference is of that too\n";
    assert!(with.contains(note), "{with}");
    assert_eq!(with.matches("other data").count(), 1, "{with}");
    kept.remove("alpha-standalone-0");
    assert!(!text(&kept).contains("other data"), "{}", text(&kept));
}
