//! The report that result tables give.

use super::load;
use super::summary::Summary;
use crate::reached::samples::{Results, Value, scored, shown, worked};
use crate::reached::{ReadError, Shown};
use fedstill_schemas::results;
use std::fs;

impl Results {
    fn load(&self, runs: &[Shown]) -> Result<Summary, ReadError> {
        load(self.0.path(), runs)
    }
}

/// A line of a table by its label, with single spaces.
fn line(text: &str, label: &str) -> String {
    let found = text.lines().find(|line| line.starts_with(&format!("{label}  ")));
    let words = found.unwrap_or_default().split_whitespace();
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn one_seed_gives_a_table_by_party_and_a_chart() {
    let results = Results::new();
    let summary = results.load(&results.comparison(&[0])).expect("results");
    assert!(!summary.is_empty());
    assert_eq!(summary.text(80, false), include_str!("expected/one_seed.txt"));
}

#[test]
fn several_seeds_give_means_deviations_and_differences_by_seed() {
    let results = Results::new();
    let summary = results.load(&results.comparison(&[0, 1, 2])).expect("results");
    assert_eq!(summary.text(80, false), include_str!("expected/three_seeds.txt"));
}

#[test]
fn where_nobody_knows_the_method_all_pipelines_are_alike() {
    let results = Results::new();
    let summary = results.load(&results.comparison(&[0, 1, 2])).expect("results");
    let text = summary.among_equals().text(80, false);
    let title = "quick-start: accuracy on the test set, means over seeds 0, 1, 2\nfedmd after round 5, standalone after round \
                 5, self_digest after round 5\n";
    assert!(text.starts_with(title), "{text}");
    for word in ["baselines", "before", "gain", "minus"] {
        assert!(!text.contains(word), "{word}: {text}");
    }
    assert_eq!(line(&text, "mean"), "mean .609 .541 .556");
    assert_eq!(line(&text, "party"), "party architecture fedmd standalone self_digest");
    // One alone is nobody's baseline.
    let alone = [shown("fedmd", 0)];
    let text = results.load(&alone).expect("results").text(80, false);
    assert_eq!(
        results.load(&alone).expect("results").among_equals().text(80, false),
        text
    );
}

#[test]
fn colours_change_no_character() {
    let results = Results::new();
    let summary = results.load(&results.comparison(&[0])).expect("results");
    let coloured = summary.text(80, true);
    assert!(coloured.contains("\x1b[36m"));
    let mut plain = String::new();
    for (index, part) in coloured.split("\x1b[").enumerate() {
        plain += if index == 0 {
            part
        } else {
            part.split_once('m').expect("an end").1
        };
    }
    assert_eq!(plain, summary.text(80, false));
    for width in [20, 40, 60, 80, 100, 1000] {
        let text = summary.text(width, false);
        let chart = text.split("mean accuracy by round").last().expect("a chart");
        let widest = chart.lines().skip(1).map(|line| line.chars().count()).max();
        assert!(widest <= Some(width.clamp(40, 100)), "{width}: {widest:?}");
    }
}

#[test]
fn a_run_that_has_not_ended_is_shown_as_far_as_it_is() {
    let results = Results::new();
    let runs = [shown("fedmd", 0), shown("standalone", 0), shown("self_digest", 0)];
    results.run(&runs[0], 5, 0.02);
    results.run(&runs[1], 3, 0.01);
    let text = results.load(&runs).expect("results").text(80, false);
    assert!(
        text.contains("\nbaselines: standalone after round 3, self_digest not started\n"),
        "{text}"
    );
    assert!(
        text.contains("\nstandalone: 3 of 5 rounds so far\nself_digest: not started\n"),
        "{text}"
    );
    assert_eq!(line(&text, "mean"), "mean .500 .600 +.100 .530 –");

    // Baselines alone, and round 0 alone.
    let text = results.load(&[shown("fedmd", 1), shown("standalone", 0)]);
    let text = text.expect("results").text(80, false);
    assert_eq!(line(&text, "mean"), "mean – – – .530");
    results.run(&shown("fedmd", 1), 0, 0.02);
    let text = results.load(&[shown("fedmd", 1)]).expect("results").text(80, false);
    assert_eq!(line(&text, "mean"), "mean .504 – –");
    assert!(text.contains("after: fedmd not beyond round 0\n") && text.contains("fedmd: 0 of 5 rounds so far\n"));
}

#[test]
fn a_seed_that_is_behind_stays_out_of_the_means() {
    let results = Results::new();
    let runs = [shown("fedmd", 0), shown("fedmd", 7)];
    results.run(&runs[0], 5, 0.02);
    results.run(&runs[1], 1, 0.09);
    let text = results.load(&runs).expect("results").text(80, false);
    assert!(
        text.contains("fedmd, seed 7: 1 of 5 rounds so far; left out of the means\n"),
        "{text}"
    );
    assert_eq!(line(&text, "mean over seeds"), "mean over seeds .600");
    assert_eq!(line(&text, "mean, seed 7"), "mean, seed 7 –");
}

#[test]
fn the_title_names_only_seeds_that_are_in_the_means() {
    let results = Results::new();
    let title = |runs: &[Shown]| {
        let text = results.load(runs).expect("results").text(80, false);
        text.lines().take(3).collect::<Vec<_>>().join("\n")
    };
    let mut runs = results.comparison(&[0, 1]);
    runs.push(shown("fedmd", 2));
    assert!(
        title(&runs).starts_with("quick-start: accuracy on the test set, means over seeds 0, 1\n"),
        "{}",
        title(&runs)
    );
    // Of one pipeline one seed more has ended.
    results.run(&shown("fedmd", 2), 5, 0.02);
    assert_eq!(
        title(&runs),
        "quick-start: accuracy on the test set, means over seeds 0, 1, 2\n\
         before: round 0, without collaboration; after: fedmd after round 5\n\
         baselines: standalone after round 5 (seeds 0, 1 alone), self_digest after round 5 (seeds 0, 1 alone)"
    );
    let one = [shown("fedmd", 0), shown("fedmd", 7)];
    assert!(
        title(&one).starts_with("quick-start: accuracy on the test set, seed 0 alone\n"),
        "{}",
        title(&one)
    );
}

#[test]
fn nothing_yet_is_an_empty_report() {
    let results = Results::new();
    let summary = results.load(&[shown("fedmd", 0)]).expect("no results");
    assert!(summary.is_empty());
    assert_eq!(summary.text(80, false), "fedmd: not started\n");
    assert!(roxmltree::Document::parse(&summary.svg()).is_ok());
    assert!(results.load(&[]).expect("no runs").is_empty());
}

#[test]
fn a_pipeline_whose_scores_are_gone_is_not_called_not_started() {
    let results = Results::new();
    let done = |pipeline| Shown {
        done: Some(5),
        ..shown(pipeline, 0)
    };
    let runs = [done("fedmd"), done("standalone")];
    results.run(&runs[0], 5, 0.02);
    let text = results.load(&runs).expect("results").text(80, false);
    assert!(text.contains("\nbaselines: standalone without its scores\n"), "{text}");
    assert!(
        text.contains("\nstandalone: no table `metrics` of rounds 0, 1, 2, 3, 4, 5; it is in no mean\n"),
        "{text}"
    );
    assert!(!text.contains("not started"), "{text}");
}

#[test]
fn rounds_and_tables_may_be_missing() {
    let results = Results::new();
    let run = shown("fedmd", 0);
    results.run(&run, 6, 0.02);
    for round in [0, 1, 2] {
        fs::remove_file(results.file(results::ROUNDS, &run.run, round)).expect("a file");
        fs::remove_file(results.file(results::STEPS, &run.run, round)).expect("a file");
    }
    fs::remove_file(results.file(results::METRICS, &run.run, 2)).expect("a file");
    let text = results.load(&[run]).expect("results").text(80, false);
    assert_eq!(line(&text, "mean"), "mean .500 .620 +.120");
}

#[test]
fn models_of_the_server_are_shown_by_architecture() {
    let results = Results::new();
    let runs = [shown("centralised", 0), shown("standalone", 0)];
    for round in 0..=5 {
        results.scores(&runs[0], round, "architecture", &[0.6, 0.7]);
    }
    results.run(&runs[1], 5, 0.01);
    let text = results.load(&runs).expect("results").text(80, false);
    let expected = "
architecture        before  after  gain  standalone
───────────────────────────────────────────────────
lenet                 .600   .600  .000        .550
cnn[16,32]            .700   .700  .000        .550
───────────────────────────────────────────────────
mean                  .650   .650  .000        .550
worst architecture    .600   .600  .000        .550
";
    assert!(text.contains(expected), "{text}");
    // The other way round: parties beside the server's models.
    let text = results
        .load(&[runs[1].clone(), runs[0].clone()])
        .expect("results")
        .text(80, false);
    assert!(
        text.contains("\nparty-1      cnn[16,32]      .500   .550  +.050         .700\n"),
        "{text}"
    );
}

#[test]
fn many_parties_are_shown_by_architecture() {
    let results = Results::new();
    let run = shown("fedmd", 0);
    for round in 0..=5 {
        let accuracies: Vec<f64> = (0..51).map(|slot| 0.5 + f64::from(slot % 2 * round) / 100.0).collect();
        results.scores(&run, round, "party", &accuracies);
    }
    let text = results.load(&[run]).expect("results").text(80, false);
    let expected = "
architecture  parties  before  after   gain
───────────────────────────────────────────
cnn[16,32]    25         .500   .550  +.050
lenet         26         .500   .500   .000
───────────────────────────────────────────
mean                     .500   .525  +.025
worst party              .500   .500   .000
";
    assert!(text.contains(expected), "{text}");
}

#[test]
fn who_was_late_or_refused_is_named() {
    let results = Results::new();
    let run = shown("fedmd", 0);
    results.run(&run, 5, 0.02);
    let row = vec![
        (
            "stragglers",
            Value::Text("party-1: it did not answer by the deadline".to_owned()),
        ),
        ("refused", Value::Text("party-2: NaN\x1b[2J".to_owned())),
    ];
    results.write(results::ROUNDS, &run, 3, &[row]);
    let text = results.load(&[run]).expect("results").text(80, false);
    let expected = "
late or refused:
  fedmd, seed 0, round 3: party-1: it did not answer by the deadline
  fedmd, seed 0, round 3: party-2: NaN?[2J
";
    assert!(text.contains(expected), "{text}");
}

/// A row of `rounds`: so many parties, and who was selected of them.
fn selection(parties: u32, selected: &str) -> Vec<(&'static str, Value)> {
    vec![
        ("parties", Value::Number(f64::from(parties))),
        ("selected", Value::Text(selected.to_owned())),
    ]
}

#[test]
fn who_is_never_selected_is_named_where_every_round_says_whom_it_selected() {
    let results = Results::new();
    let (drawn, all) = (shown("fedavg", 0), shown("standalone", 0));
    for run in [&drawn, &all] {
        results.run(run, 2, 0.02);
        for round in 0..=2 {
            results.write(results::ROUNDS, run, round, &[selection(5, "")]);
        }
    }
    results.write(results::ROUNDS, &drawn, 1, &[selection(5, "party-0; party-3")]);
    results.write(results::ROUNDS, &drawn, 2, &[selection(5, "party-1; party-3")]);
    let report = || {
        let summary = results.load(&[drawn.clone(), all.clone()]).expect("results");
        summary.text(80, false)
    };
    let text = report();
    let expected = "\nnever selected:\n  fedavg, seed 0: party-2, party-4\n\n";
    assert!(text.contains(expected), "{text}");

    // Very many are counted.
    results.write(results::ROUNDS, &drawn, 2, &[selection(1000, "party-1; party-3")]);
    let text = report();
    assert!(text.contains(", party-22 and 977 more\n"), "{text}");

    // Of what an earlier release wrote nobody knows whom it selected.
    let row = selection(5, "");
    results.write_without(&["parties", "selected"], results::ROUNDS, &drawn, 1, &[row]);
    assert!(!report().contains("never selected"), "{}", report());

    results.write(results::ROUNDS, &drawn, 1, &[selection(5, "party-5")]);
    let error = results.load(std::slice::from_ref(&drawn)).expect_err("no such party");
    let reason = "'party-5' is selected, and is none of 5 parties";
    assert!(error.to_string().contains(reason), "{error}");
}

#[test]
fn a_file_that_the_run_did_not_write_is_named() {
    let results = Results::new();
    let (run, other) = (shown("fedmd", 0), shown("standalone", 0));
    results.run(&run, 5, 0.02);
    results.run(&other, 5, 0.02);
    let path = results.file(results::METRICS, &run.run, 3);
    let refused = |results: &Results| {
        let error = results
            .load(std::slice::from_ref(&run))
            .expect_err("a foreign file")
            .to_string();
        let place = format!("{} is not the metrics table of run '{}': ", path.display(), run.run);
        let reason = error.strip_prefix(&place).unwrap_or_else(|| panic!("{error}"));
        reason
            .trim_end_matches("; move it away: `fedstill run` writes it again")
            .to_owned()
    };
    let whole = fs::read(&path).expect("a file");
    fs::write(&path, &whole[..whole.len() / 2]).expect("a file");
    assert!(refused(&results).contains("Parquet"), "{}", refused(&results));
    fs::write(&path, "not a table").expect("a file");
    assert!(refused(&results).contains("Parquet"), "{}", refused(&results));
    fs::copy(results.file(results::METRICS, &other.run, 3), &path).expect("a file");
    assert_eq!(refused(&results), "it is of pipeline 'standalone', seed 0");
    fs::copy(results.file(results::ROUNDS, &run.run, 3), &path).expect("a file");
    assert_eq!(refused(&results), "it has no column 'test_set'");
    results.scores(&run, 3, "party", &[0.5, f64::NAN]);
    assert_eq!(refused(&results), "accuracy NaN is not between 0 and 1");
    results.scores(&run, 3, "party", &[0.5, 1.5]);
    assert_eq!(refused(&results), "accuracy 1.5 is not between 0 and 1");
}

#[test]
fn the_picture_has_a_line_a_pipeline() {
    let results = Results::new();
    let runs = results.comparison(&[0, 1, 2]);
    let picture = results.load(&runs).expect("results").svg();
    let document = roxmltree::Document::parse(&picture).expect("well-formed XML");
    let lines: Vec<(Option<&str>, usize)> = document
        .descendants()
        .filter(|node| node.has_tag_name("polyline") || node.has_tag_name(("http://www.w3.org/2000/svg", "polyline")))
        .filter(|node| node.attribute("stroke-width") == Some("3"))
        .map(|node| {
            let points = node.attribute("points").unwrap_or_default();
            (node.attribute("stroke"), points.split_whitespace().count())
        })
        .filter(|(_, points)| *points == 6)
        .collect();
    // The first pipeline is on top.
    assert_eq!(
        lines,
        [(Some("#009E73"), 6), (Some("#D55E00"), 6), (Some("#0072B2"), 6)]
    );
    let texts: Vec<&str> = document
        .descendants()
        .filter_map(|node| node.text())
        .map(str::trim)
        .collect();
    for text in [
        "quick-start",
        "round",
        "accuracy on the test set 'global'",
        "fedmd",
        "standalone",
        "self_digest",
        "5",
    ] {
        assert!(texts.contains(&text), "{text} is not in {texts:?}");
    }
    assert_eq!(picture, results.load(&runs).expect("results").svg());
}

#[test]
fn steps_that_score_other_models_stay_out() {
    let results = Results::new();
    let run = shown("feddf", 0);
    for round in 0..=5 {
        let (mut metrics, mut steps) = scored("evaluate_personal", "global", "party", &[0.1, 0.2, 0.3]);
        let (main, own) = scored("evaluate", "global", "architecture", &[0.6, 0.7]);
        metrics.extend(main);
        steps.extend(own);
        results.write(results::METRICS, &run, round, &metrics);
        results.write(results::STEPS, &run, round, &steps);
    }
    let text = results.load(&[run]).expect("results").text(80, false);
    assert_eq!(line(&text, "lenet"), "lenet .600 .600 .000");
    assert_eq!(line(&text, "mean"), "mean .650 .650 .000");
    assert!(!text.contains("party"), "{text}");
}

#[test]
fn what_tasks_took_is_summed_by_step_and_by_method() {
    let results = Results::new();
    let runs = [shown("fedmd", 0), shown("standalone", 0)];
    for (run, train) in runs.iter().zip([3000, 1000]) {
        results.run(run, 1, 0.01);
        for round in 0..=1 {
            let evaluated = (0..3).map(|slot| worked("evaluate", &format!("party-{slot}"), 500));
            let steps: Vec<_> = std::iter::once(worked("train", "party-0", train))
                .chain(evaluated)
                .collect();
            results.write(results::STEPS, run, round, &steps);
        }
    }
    let text = results.load(&runs).expect("results").text(80, false);
    let expected = "
time and cost by step, all rounds

method      step      tasks  busy s    share  cpu s  GB-s    price
──────────────────────────────────────────────────────────────────
fedmd       train         2    6.00   66.7 %   6.00  12.0  0.00600
            evaluate      6    3.00   33.3 %   3.00  6.00  0.00300
            all           8    9.00  100.0 %   9.00  18.0  0.00900
──────────────────────────────────────────────────────────────────
standalone  train         2    2.00   40.0 %   2.00  4.00  0.00200
            evaluate      6    3.00   60.0 %   3.00  6.00  0.00300
            all           8    5.00  100.0 %   5.00  10.0  0.00500
";
    assert!(text.contains(expected), "{text}");
}
