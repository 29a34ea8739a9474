//! The rows that the server stops its training by.

use super::bad_files::each_is_one_problem;
use super::{CATALOG, MOST, PLACED, SELECTING, parse};
use crate::data::Columns;
use crate::pipeline::{Disclosure, Pipeline};
use crate::run_file::{RunFile, Source, Validation};
use std::collections::BTreeMap;

#[test]
fn validation_rows_are_private_ones_or_a_file_of_their_own() {
    let data = parse(SELECTING).unwrap().data;
    assert_eq!(data.validation, Some(Validation::Private { rows: 100 }));
    assert_eq!(data.held_back(), 100);
    let own = SELECTING.replace("{ rows = 100 }", "{ url = \"v.parquet\", rows = 50, label = \"kind\" }");
    let data = parse(&own).unwrap().data;
    let source = Source {
        url: "v.parquet".to_owned(),
        rows: Some(50),
        columns: Columns {
            label: Some("kind".to_owned()),
            ..Columns::default()
        },
        augment: Vec::new(),
    };
    assert_eq!(data.validation, Some(Validation::Set(source)));
    assert_eq!(data.held_back(), 0);
}

fn settled(file: &RunFile) -> Pipeline {
    settled_by(file, &file.pipeline)
}

/// The pipeline of that name as a file settles it.
fn settled_by(file: &RunFile, name: &str) -> Pipeline {
    let mut tables: BTreeMap<String, Vec<Pipeline>> = toml::from_str(CATALOG).unwrap();
    let pipelines = tables.remove("pipelines").unwrap();
    let named = pipelines.iter().find(|pipeline| pipeline.name == name);
    file.settled(named.unwrap())
}

/// [`SELECTING`], but that it drops the worst by its validation rows, and stops by nothing.
fn dropping() -> String {
    SELECTING
        .replace("rule = \"mean_probability\"", "drop_worst = true")
        .replace("{ patience = 10, watch = \"validation\", every = 100 }", "false")
}

#[test]
fn the_worst_are_dropped_where_the_server_sees_what_parties_trained() {
    let both = dropping().replace("rounds   = 1", "rounds = 1\nbaselines = [\"fedmd\"]");
    let file = parse(&both).unwrap();
    let feddf = settled(&file);
    let drops = |pipeline: &Pipeline, step: &str| pipeline.step(1, step).unwrap().drop_worst;
    assert!(drops(&feddf, "aggregate") && !drops(&feddf, "average"));
    assert!(feddf.reads_validation());
    assert!(feddf.discloses.contains(&Disclosure::ValidationRows));
    // A baseline whose server sees no models drops none, and needs no rows to judge them by.
    let fedmd = settled_by(&file, "fedmd");
    assert!(!drops(&fedmd, "aggregate") && !fedmd.reads_validation());
    let average = dropping().replace(
        "{ weights = \"parties\" }",
        "{ weights = \"parties\" }\ndrop_worst = true",
    );
    assert!(drops(&settled(&parse(&average).unwrap()), "average"));
}

#[test]
fn a_pipeline_discloses_validation_rows_where_a_step_of_it_stops_by_them() {
    let held = Disclosure::ValidationRows;
    let file = parse(SELECTING).unwrap();
    assert!(settled(&file).discloses.contains(&held));
    let otherwise = SELECTING
        .replace("validation = { rows = 100 }\n", "")
        .replace("{ patience = 10, watch = \"validation\", every = 100 }", "false");
    let file = parse(&otherwise).unwrap();
    assert!(!settled(&file).reads_validation());
    assert_eq!(
        settled(&file).discloses,
        [Disclosure::Weights, Disclosure::Prototypes, Disclosure::Reports]
    );
    let watching = PLACED
        .replace("test    =", "validation = { url = \"v.parquet\" }\ntest =")
        .replace("patience = 3", "patience = 3, watch = \"validation\"");
    let file = parse(&watching).unwrap();
    assert_eq!(
        settled(&file).discloses,
        [Disclosure::Predictions, Disclosure::Consensus, held]
    );
}

#[test]
#[rustfmt::skip]
fn mistakes_about_validation_rows() {
    each_is_one_problem(SELECTING, &[
        ("validation = { rows = 100 }", "", 6, 1, "'validation' is missing in data, but step 'distill' of feddf stops by validation rows", "add validation = { rows = 500 }"),
        ("{ rows = 100 }", "{}", 10, 14, "'rows' is missing in data.validation", "add rows = 500"),
        ("{ rows = 100 }", "{ rows = 0 }", 10, 23, "'data.validation.rows' is 0, but a whole number of at least 1", "rows = 500"),
        ("{ rows = 100 }", "100", 10, 14, "'data.validation' is 100, but a table", "validation = { rows = 500 }"),
        ("{ rows = 100 }", "{ uri = \"v.parquet\", rows = 100 }", 10, 16, "unknown key 'uri' in data.validation", "did you mean 'url'?"),
        ("{ rows = 100 }", "{ url = \"v.parquet\", augment = [\"flip\"] }", 10, 35, "unknown key 'augment' in data.validation", "valid keys here: url, rows"),
        ("{ rows = 100 }", "{ url = \"v.parquet\", owner = \"o\" }", 10, 43, "'data.validation.owner' would change nothing", "remove it"),
        ("{ rows = 100 }", "{ rows = 991 }", 7, 42, "9 private rows, without the 991 of data.validation, are too few for 10 parties", "write rows = 1001 or more, or lower parties.count or data.validation.rows"),
        ("{ rows = 100 }", "{ rows = 4294967295 }", 7, 42, "0 private rows, without the 4294967295", "write rows = 4294967305 or more"),
        ("{ rows = 100 }", "{ rows = 100 }\npartition = { kind = \"dirichlet\", alpha = 1, min = 91 }", 11, 52, "need 910 private rows, but there are 900", "write min = 90 or less"),
        ("patience = 10, watch = \"validation\"", "patience = 10", 10, 14, "'data.validation' would change nothing: no step stops by validation rows", "watch = \"validation\""),
        ("[steps.train]", "[steps.train]\nstop = { patience = 1, watch = \"validation\" }", 24, 32, "parties do step 'train' of feddf, and validation rows are with the server", "watch = \"held_out\""),
        ("\"validation\", every", "\"validating\", every", 35, 37, "'validating', which is not something that early stopping looks at", "did you mean 'validation'?"),
    ]);
    each_is_one_problem(&dropping(), &[
        ("validation = { rows = 100 }", "", 6, 1, "'validation' is missing in data, but step 'aggregate' of feddf drops the worst by validation rows", "add validation = { rows = 500 }, or remove drop_worst"),
        ("drop_worst = true", "drop_worst = 1", 31, 14, "'steps.aggregate.drop_worst' is 1, but true or false", "drop_worst = true"),
        ("drop_worst = true", "drop_worst = false", 10, 14, "'data.validation' would change nothing: no step stops by validation rows, or drops the worst by them", "remove it"),
    ]);
    each_is_one_problem(MOST, &[
        ("[close]", "[steps.aggregate]\ndrop_worst = true\n\n[close]", 33, 14, "'steps.aggregate.drop_worst' would change nothing: the server of fedmd, self_digest, standalone does not see", "remove it, or choose a pipeline that discloses weights, as feddf does"),
    ]);
    each_is_one_problem(PLACED, &[
        ("stop = { patience = 3 }", "stop = { patience = 3, watch = \"validation\" }", 6, 1, "'validation' is missing in data, but step 'pretrain' of fedmd stops by validation rows", "add validation"),
    ]);
    let watching = PLACED.replace("patience = 3", "patience = 3, watch = \"validation\"");
    each_is_one_problem(&watching, &[
        ("test    =", "validation = { rows = 5 }\ntest =", 9, 14, "of which the server can hold none", "validation = { url ="),
    ]);
}
