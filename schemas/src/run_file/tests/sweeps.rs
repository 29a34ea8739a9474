//! Sweep files: their points, the run files that these make, and where problems are.

use super::{LEAST, MOST, SELECTING, parse, with_catalog};
use crate::pipeline::Pipeline;
use crate::resolved::Precision;
use crate::run_file::{Catalog, Origin, Point, SweepFile};
use std::collections::BTreeMap;

const SWEEP: &str = "\
run   = \"a/run.toml\"
seeds = [4, 5]

[grid]
\"steps.revisit.optimizer.lr\" = [1e-3, 1]
data.partition.alpha = [0.1, 100]
";

fn sweep(text: &str) -> SweepFile {
    SweepFile::parse(text).unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn names(text: &str) -> Vec<String> {
    sweep(text).points().iter().map(|point| point.name("tiny")).collect()
}

/// A sweep of one key.
fn over(line: &str) -> String {
    format!("run = \"run.toml\"\n[grid]\n{line}\n")
}

/// What is wrong with the points of a sweep over a run file: point, file, line and column there, message, help.
fn problems(text: &str, run: &str) -> Vec<(String, Origin, u32, u32, String, String)> {
    let sweep = sweep(text);
    let of = |point: &Point| {
        let wrong = with_catalog(|catalog| sweep.at(point, run, catalog))
            .err()
            .unwrap_or_default();
        let placed = wrong.into_iter().map(|problem| {
            let (origin, problem) = sweep.place(run, problem);
            let help = problem.help.unwrap_or_default();
            (
                point.to_string(),
                origin,
                problem.line,
                problem.column,
                problem.message,
                help,
            )
        });
        placed.collect::<Vec<_>>()
    };
    sweep.points().iter().flat_map(of).collect()
}

#[test]
fn points_are_every_combination_and_the_last_key_changes_first() {
    let points = sweep(SWEEP).points();
    let shown: Vec<String> = points.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "data.partition.alpha = 0.1, steps.revisit.optimizer.lr = 0.001",
            "data.partition.alpha = 0.1, steps.revisit.optimizer.lr = 1",
            "data.partition.alpha = 100, steps.revisit.optimizer.lr = 0.001",
            "data.partition.alpha = 100, steps.revisit.optimizer.lr = 1",
        ]
    );
    assert_eq!(
        names(SWEEP),
        [
            "tiny-alpha0p1-lr0p001",
            "tiny-alpha0p1-lr1",
            "tiny-alpha100-lr0p001",
            "tiny-alpha100-lr1"
        ]
    );
}

#[test]
fn without_a_grid_there_is_one_point_with_the_run_file_s_name() {
    let points = sweep("run = \"run.toml\"").points();
    assert_eq!(points.len(), 1);
    assert_eq!(
        (points[0].name("tiny"), points[0].to_string()),
        ("tiny".to_owned(), String::new())
    );
}

#[test]
fn a_point_is_the_run_file_with_its_values_its_name_and_the_seeds() {
    let sweep = sweep(SWEEP);
    let points = sweep.points();
    let file = with_catalog(|catalog| sweep.at(&points[2], MOST, catalog)).unwrap();
    let written = MOST
        .replace("alpha = 1,", "alpha = 100,")
        .replace("\"sgd\", lr = 1,", "\"sgd\", lr = 1e-3,")
        .replace("[3, 0, 9223372036854775807]", "[4, 5]");
    let expected = parse(&written).unwrap();
    assert_eq!(file.name, "every-key-1-alpha100-lr0p001");
    assert_eq!(file.seeds, expected.seeds);
    assert_eq!(
        (&file.data, &file.parties, &file.close),
        (&expected.data, &expected.parties, &expected.close)
    );
    assert_eq!(file.steps, expected.steps);
    assert_ne!(file.steps, parse(MOST).unwrap().steps);
}

#[test]
fn pipelines_of_a_grid_may_be_files_beside_the_sweep_file() {
    let sweep = sweep(&over(
        "pipeline = [\"fedmd\", \"mine.toml\"]\nbaselines = [[\"standalone\", \"b/other.toml\"], []]\n\"data.public.url\" = [\"c.toml\"]",
    ));
    let files: Vec<String> = sweep.pipeline_files().into_iter().collect();
    assert_eq!(
        files,
        ["b/other.toml", "mine.toml"],
        "a file of data is none of a pipeline"
    );

    let both = LEAST.replace("\"fedmd\"", "\"mine.toml\"\nbaselines = [\"other.toml\"]");
    assert!(
        sweep.kept_pipeline_files(&both).is_empty(),
        "the grid has others at every point"
    );

    // The run file's own `mine.toml` is another one, in another folder.
    let run = LEAST.replace("\"fedmd\"", "\"mine.toml\"");
    let at = |point: usize, of_grid: Result<String, String>| {
        let files = BTreeMap::from([
            ("mine.toml".to_owned(), Ok("standalone".to_owned())),
            (SweepFile::catalogued("mine.toml"), of_grid),
            (SweepFile::catalogued("b/other.toml"), Ok("self_digest".to_owned())),
        ]);
        with_catalog(|catalog| {
            let catalog = Catalog {
                files: &files,
                ..*catalog
            };
            sweep.at(&sweep.points()[point], &run, &catalog)
        })
    };
    // The first key's last value is the last point's.
    let last = at(3, Ok("fedmd".to_owned())).unwrap();
    assert_eq!((last.pipeline.as_str(), last.baselines.len()), ("fedmd", 0));
    let both = at(1, Ok("fedmd".to_owned())).unwrap();
    assert_eq!(
        (both.pipeline.as_str(), &both.baselines[..]),
        ("fedmd", &["standalone".to_owned(), "self_digest".to_owned()][..])
    );

    let problems = at(1, Err("cannot read 'mine.toml': no such file".to_owned())).unwrap_err();
    assert_eq!(problems.len(), 1, "{problems:?}");
    let (origin, problem) = sweep.place(&run, problems[0].clone());
    assert_eq!((origin, problem.line, problem.column), (Origin::SweepFile, 3, 22));
    assert!(problem.message.contains("cannot read 'mine.toml'"), "{problem}");
    assert!(problem.help.unwrap().contains("of a sweep file's grid to that file"));
}

#[test]
fn values_are_put_where_a_run_file_has_nothing() {
    let sweep = sweep(&over("\"steps.digest.epochs\" = [3]\npredictions = [\"float32\"]"));
    let points = sweep.points();
    let file = with_catalog(|catalog| sweep.at(&points[0], LEAST, catalog)).unwrap();
    assert_eq!(file.steps["digest"].epochs, Some(3));
    assert_eq!(file.predictions, Precision::Float32);
    assert_eq!(file.seeds, [0]);
}

#[test]
fn temperatures_are_compared_by_a_grid() {
    let text = over("\"steps.distill.temperature\" = [1, 3.5]");
    assert_eq!(names(&text), ["tiny-temperature1", "tiny-temperature3p5"]);
    let sweep = sweep(&text);
    let at = |point: &Point| with_catalog(|catalog| sweep.at(point, SELECTING, catalog)).unwrap();
    let temperatures: Vec<Option<f64>> = sweep
        .points()
        .iter()
        .map(|point| at(point).steps["distill"].temperature)
        .collect();
    assert_eq!(temperatures, [Some(1.0), Some(3.5)]);
    // A step that compares nothing by a divergence has none.
    let found = problems(&over("\"steps.train.temperature\" = [3]"), SELECTING);
    let [(_, origin, line, column, message, _)] = &found[..] else {
        panic!("{found:?}")
    };
    assert_eq!((*origin, *line, *column), (Origin::SweepFile, 3, 30));
    assert!(
        message.contains("'steps.train.temperature' would change nothing"),
        "{message}"
    );
}

#[test]
fn settings_of_a_step_that_some_pipeline_of_the_grid_has_are_no_mistake_at_the_points_of_others() {
    // feddf's steps, its selection and its validation rows, none of which fedmd has.
    let run = SELECTING.replace("schedule = \"cosine\"", "temperature = 3");
    let of_grid = over("pipeline = [\"feddf\", \"fedmd\"]");
    let found = problems(&of_grid, &run);
    assert!(found.is_empty(), "{found:?}");
    let sweep = sweep(&of_grid);
    let points = sweep.points();
    let of_fedmd = with_catalog(|catalog| {
        let file = sweep.at(&points[1], &run, catalog).unwrap();
        file.asked(catalog.pipelines)
    });
    let fedmd = with_catalog(|catalog| catalog.pipeline("fedmd").cloned()).unwrap();
    let fits = |pipeline: &Pipeline| pipeline.all_steps().map(|step| step.fit.clone()).collect::<Vec<_>>();
    assert_eq!(fits(&of_fedmd[0]), fits(&fedmd));
    // And of a baseline that other points are compared with.
    let baselines = over("baselines = [[], [\"fedmd\"]]");
    let of_both = run
        .replace("[steps.average]", "[steps.digest]")
        .replace("rule = { weights = \"parties\" }", "epochs = 1");
    let found = problems(&baselines, &of_both);
    assert!(found.is_empty(), "{found:?}");

    // What no point has stays a mistake of every point, with the nearest name of all.
    let slip = run.replace("[steps.distill]", "[steps.digset]");
    let found = problems(&of_grid, &slip);
    let said: Vec<(&str, &str)> = found.iter().map(|found| (found.4.as_str(), found.5.as_str())).collect();
    assert_eq!(
        said,
        [
            ("feddf has no step 'digset'", "did you mean 'digest'?"),
            ("fedmd has no step 'digset'", "did you mean 'digest'?"),
        ]
    );
    let none = run.replace("[steps.distill]", "[steps.local]");
    let found = problems(&of_grid, &none);
    assert_eq!(
        found[0].5,
        "steps of feddf that have settings: train, average, aggregate, distill"
    );
    // With a name that is none nothing is said of steps, which may be that one's.
    for (line, place, help) in [
        ("pipeline = [\"fedmd\", \"fedff\"]", 22, "did you mean 'feddf'?"),
        ("baselines = [[], [\"fedmmd\"]]", 19, "did you mean 'fedmd'?"),
    ] {
        let grid = over(line);
        let found = problems(&grid, &run.replace("\"feddf\"", "\"fedmd\""));
        assert_eq!(found.len(), 2, "one at each point: {found:?}");
        for (_, origin, line, column, message, fix) in &found {
            assert_eq!((*origin, *line, *column), (Origin::SweepFile, 3, place), "{message}");
            assert!(message.contains("unknown pipeline") && fix == help, "{message}; {fix}");
        }
    }
    // Without such a grid a file is about its own pipeline.
    let found = problems(&over("pipeline = [\"fedmd\"]"), &run);
    assert!(found[0].4.contains("fedmd has no step 'train'"), "{found:?}");
}

#[test]
fn names_are_distinct_and_do_not_depend_on_what_else_is_listed() {
    let seen = |line: &str| names(&over(line));
    assert_eq!(seen("rounds = [1, 2]"), ["tiny-rounds1", "tiny-rounds2"]);
    assert_eq!(
        seen("rounds = [2, 1, 3]"),
        ["tiny-rounds2", "tiny-rounds1", "tiny-rounds3"]
    );
    assert_eq!(
        seen("pipeline = [\"fedmd\", \"self_digest\"]"),
        ["tiny-pipeline-fedmd", "tiny-pipeline-self-digest"]
    );
    assert_eq!(
        seen("steps.digest.epochs = [1]\nsteps.revisit.epochs = [2]"),
        ["tiny-digest-epochs1-revisit-epochs2"]
    );
    let alike = seen("\"data.public.url\" = [\"a_b\", \"a-b\", \"a/c\"]");
    assert!(
        alike[0].starts_with("tiny-url-a-b-") && alike[1].starts_with("tiny-url-a-b-"),
        "{alike:?}"
    );
    assert_ne!(alike[0], alike[1]);
    assert_eq!(alike[2], "tiny-url-a-c");
}

#[test]
fn every_name_is_one_that_a_run_may_have() {
    let long = "x".repeat(200);
    let text = over(&format!(
        "\"data.public.url\" = [\"{long}1\", \"{long}2\", \"Ü\"]\nrounds = [-1, 1e-9]"
    ));
    let names = names(&text);
    assert_eq!(names.len(), 6);
    for (index, name) in names.iter().enumerate() {
        assert!(!names[..index].contains(name), "{names:?}");
        parse(&LEAST.replace("\"a\"", &format!("\"{name}\""))).unwrap_or_else(|why| panic!("{name}: {why:?}"));
    }
}

#[test]
fn a_mistake_in_a_sweep_file_is_one_problem_with_its_fix() {
    for (line, message, help) in [
        (
            "rounds = 5",
            "'grid.rounds' is 5, but a list of values is expected",
            "write rounds = [..], with the values to run",
        ),
        ("rounds = []", "a list of at least one value", "write rounds = [..]"),
        (
            "data.partition.alpha = 0.1",
            "'grid.data.partition.alpha' is 0.1, but a list of values is expected",
            "write \"data.partition.alpha\" = [..]",
        ),
        ("rounds = [1, 2, 1]", "'rounds' has the value 1 twice", "remove one"),
        ("name = [\"a\"]", "'name' is no key for a grid", "name of its own"),
        ("seeds = [[0], [1]]", "'seeds' is no key for a grid", "above [grid]"),
        (
            "\"steps..epochs\" = [1]",
            "'steps..epochs' is no key for a grid",
            "steps.revisit.epochs",
        ),
        (
            "\"data.partition\" = [{ kind = \"iid\" }]\n\"data.partition.alpha\" = [1]",
            "'data.partition.alpha' too, which is a part of it",
            "keep one",
        ),
        (
            "\"data.alignment\" = [1]\ndata.alignment = [2]",
            "'data.alignment' too, which is the same",
            "keep one",
        ),
    ] {
        let problems = SweepFile::parse(&over(line)).unwrap_err();
        let [problem] = &problems[..] else {
            panic!("{line}: {problems:?}")
        };
        assert!(problem.message.contains(message), "{line}: {problem}");
        assert!(
            problem.help.as_ref().is_some_and(|found| found.contains(help)),
            "{line}: {problem}"
        );
        assert!(problem.line >= 2, "{line}: {problem}");
    }
    let problems = SweepFile::parse("rnu = \"run.toml\"").unwrap_err();
    assert!(
        problems.len() == 1 && problems[0].help.as_deref() == Some("did you mean 'run'?"),
        "{problems:?}"
    );
    let many: Vec<String> = (0..101).map(|value| value.to_string()).collect();
    let many = many.join(", ");
    let problems = SweepFile::parse(&over(&format!("rounds = [{many}]\ndata.alignment = [{many}]"))).unwrap_err();
    assert!(problems[0].message.contains("more than 10000 points"), "{problems:?}");
}

#[test]
fn a_key_that_no_run_file_has_is_refused_where_the_grid_names_it() {
    for (line, message, help) in [
        (
            "\"data.partition.alfa\" = [1]",
            "'alfa' in data.partition of kind 'dirichlet'",
            "alpha",
        ),
        ("ronds = [1]", "unknown key 'ronds' in the top level", "rounds"),
        (
            "\"dta.partition.alpha\" = [1]",
            "unknown key 'dta' in the top level",
            "data",
        ),
        ("\"steps.revist.epochs\" = [1]", "fedmd has no step 'revist'", "revisit"),
        (
            "\"steps.revisit.epoch\" = [1]",
            "unknown key 'epoch' in steps.revisit",
            "epochs",
        ),
        ("\"rounds.most\" = [1]", "'rounds' is a table", "rounds = 5"),
    ] {
        let found = problems(&over(line), MOST);
        let [(_, origin, at, column, said, fix)] = &found[..] else {
            panic!("{line}: {found:?}")
        };
        assert_eq!((*origin, *at, *column), (Origin::SweepFile, 3, 1), "{line}: {said}");
        assert!(said.contains(message) && fix.contains(help), "{line}: {said}; {fix}");
    }
}

#[test]
fn a_value_that_cannot_be_is_refused_at_its_place_and_its_point_is_known() {
    let found = problems(&over("\"data.partition.alpha\" = [0.1, -1]"), MOST);
    let [(point, origin, line, column, message, _)] = &found[..] else {
        panic!("{found:?}")
    };
    assert_eq!(point, "data.partition.alpha = -1");
    assert_eq!((*origin, *line, *column), (Origin::SweepFile, 3, 32));
    assert!(message.contains("'data.partition.alpha' is -1"), "{message}");
    // What is wrong with the run file itself stays there.
    let found = problems(&over("rounds = [1]"), &MOST.replace("\"union\"", "\"onion\""));
    let [(_, origin, line, column, ..)] = &found[..] else {
        panic!("{found:?}")
    };
    assert_eq!((*origin, *line, *column), (Origin::RunFile, 13, 13));
    let found = problems(&over("rounds = [1]"), "name = ");
    assert_eq!((found[0].1, found[0].2), (Origin::RunFile, 1));
}

#[test]
fn later_checks_of_a_point_point_into_the_right_file() {
    let sweep = sweep(&over("\"data.public.rows\" = [300]"));
    let point = &sweep.points()[0];
    let file = with_catalog(|catalog| sweep.at(point, MOST, catalog)).unwrap();
    let place = |key: &str| {
        let (origin, problem) = sweep.place(MOST, file.complain(key, "m", "h"));
        (origin, problem.line, problem.column)
    };
    assert_eq!(place("data.public.rows"), (Origin::SweepFile, 3, 23));
    assert_eq!(place("data.public.url"), (Origin::RunFile, 11, 21));
    assert_eq!(place("data.partition"), (Origin::RunFile, 14, 13));
}
