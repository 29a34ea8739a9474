//! What becomes of a run file's selection, validation rows and head, with the data that ships.

use super::*;
use crate::algorithms;
use fedstill_schemas::fit::{Loss, Per, Watch};
use fedstill_schemas::pipeline::{By, Disclosure, On, Rule, Start, Who};
use fedstill_schemas::run_file::Catalog;
use std::collections::{BTreeMap, BTreeSet};

/// FedMD between three parties and its baseline alone, with what `changes` replace.
fn text(changes: &[(&str, &str)]) -> String {
    let data = format!("{}/examples/data", env!("CARGO_MANIFEST_DIR"));
    let mut text = format!(
        "name = \"a\"\npipeline = \"fedmd\"\nbaselines = [\"standalone\"]\nrounds = 1\n[data]\nlabels = \"union\"\n\
         private = {{ url = \"{data}/letters.parquet\", rows = 90 }}\npublic = {{ url = \"{data}/mnist.parquet\", rows = 90 }}\n\
         test = {{ url = \"{data}/letters-test.parquet\" }}\n[parties]\ncount = 3\narchitectures = [\"mlp[16]\"]\n"
    );
    for (from, to) in changes {
        assert!(text.contains(from), "the run file has no '{from}'");
        text = text.replacen(from, to, 1);
    }
    text.replace("DATA", &data)
}

/// Resolves it with these pipelines in place of those that ship.
fn resolved(changes: &[(&str, &str)], pipelines: &[Pipeline]) -> Result<Resolved, Vec<Problem>> {
    let registry = Registry::default();
    let families = registry.families();
    let files = BTreeMap::new();
    let catalog = Catalog {
        pipelines,
        files: &files,
        families: &families,
    };
    let file = RunFile::parse(&text(changes), &catalog)?;
    with_data(file, Path::new(""), pipelines, &registry, &mut Opened::default())
}

/// The pipelines that ship, one of them changed.
fn with(name: &str, change: impl Fn(&mut Pipeline)) -> Vec<Pipeline> {
    let mut pipelines = algorithms::all();
    for pipeline in pipelines.iter_mut().filter(|pipeline| pipeline.name == name) {
        change(pipeline);
    }
    pipelines
}

fn of<'a>(resolved: &'a Resolved, pipeline: &str) -> &'a ResolvedRun {
    let mut jobs = resolved.jobs.iter().map(|job| &job.resolved);
    jobs.find(|run| run.pipeline.name == pipeline).unwrap()
}

/// The one problem that a file has, as a person reads it.
fn problem(resolved: Result<Resolved, Vec<Problem>>) -> String {
    let problems = resolved.unwrap_err();
    let shown: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(shown.len(), 1, "{shown:?}");
    shown.concat()
}

#[test]
fn parties_are_selected_in_pipelines_that_select() {
    let changes = [
        ("count = 3", "count = 3\nactive = 0.67"),
        ("\"standalone\"", "\"centralised\""),
    ];
    let resolved = resolved(&changes, &algorithms::all()).unwrap();
    assert_eq!(of(&resolved, "fedmd").selection, Selection::Random { active: 2 });
    assert_eq!(of(&resolved, "centralised").selection, Selection::All);
}

#[test]
fn a_run_carries_the_temperature_that_its_file_sets() {
    let changes = [
        ("\"fedmd\"", "\"feddf\""),
        ("\"union\"", "\"private\""),
        ("[parties]", "validation = { rows = 30 }\n[parties]"),
        (
            "architectures = [\"mlp[16]\"]\n",
            "architectures = [\"mlp[16]\"]\n[steps.distill]\ntemperature = 3.0\n",
        ),
    ];
    let resolved = resolved(&changes, &algorithms::all()).unwrap();
    let distill = of(&resolved, "feddf").pipeline.step(1, "distill").unwrap();
    let losses: Vec<Loss> = distill.terms.iter().map(|term| term.loss).collect();
    let softened = Loss::Kl {
        t: 3.0,
        times_t2: false,
        per: Per::Batch,
    };
    assert_eq!(losses, [softened]);
}

#[test]
fn what_a_file_asks_of_a_run_is_known_without_its_data() {
    let both = ("[\"standalone\"]", "[\"standalone\", \"centralised\"]");
    let begun = resolved(&[both], &algorithms::all()).unwrap();
    assert_eq!(begun.jobs.len(), 3);
    let folder = tempfile::tempdir().unwrap();
    let parsed = |changes: &[(&str, &str)]| {
        let path = folder.path().join("run.toml");
        std::fs::write(&path, text(changes)).unwrap();
        parse(&path, &Registry::default()).unwrap()
    };
    let same = parsed(&[both, ("letters.parquet", "gone.parquet")]);
    for job in &begun.jobs {
        assert_eq!(same.asked_of(&job.resolved).as_ref(), Some(&job.resolved), "{}", job.id);
    }
    for change in [
        ("rows = 90", "rows = 80"),
        ("mlp[16]", "mlp[8]"),
        ("count = 3", "count = 4"),
        ("[parties]", "alignment = 50\n[parties]"),
        ("architectures", "active = 0.67\narchitectures"),
        (
            "[parties]",
            "partition = { kind = \"dirichlet\", alpha = 0.5 }\n[parties]",
        ),
        ("\"mlp[16]\"]\n", "\"mlp[16]\"]\n[steps.revisit]\nepochs = 9\n"),
    ] {
        let own = of(&begun, "fedmd");
        let other = parsed(&[both, change]).asked_of(own);
        assert!(other.is_some() && other.as_ref() != Some(own), "{change:?}");
    }
    let alone = parsed(&[
        ("\"fedmd\"", "\"fedavg\""),
        ("labels = \"union\"\n", ""),
        ("public = ", "# public = "),
    ]);
    assert_eq!(alone.asked_of(of(&begun, "fedmd")), None);
}

/// FedMD whose pretraining stops by validation rows.
fn validating() -> Vec<Pipeline> {
    with("fedmd", |fedmd| {
        for step in &mut fedmd.warmup {
            if let Some(stop) = step.fit.as_mut().and_then(|fit| fit.stop.as_mut())
                && step.who == Who::Architectures
            {
                stop.watch = Watch::Validation;
            }
        }
    })
}

/// The steps of the optimizer that a step of a run takes, and the epochs.
fn fit(run: &ResolvedRun, round: u32, step: &str) -> (Option<u32>, u32) {
    let step = run
        .pipeline
        .step(round, step)
        .unwrap_or_else(|| panic!("there is no {step}"));
    step.fit.as_ref().map(|fit| (fit.steps, fit.epochs)).unwrap()
}

#[test]
fn baselines_train_as_the_file_s_pipeline_does_and_one_place_takes_the_steps_of_all_parties() {
    // Without a public set, and so without the pretraining of FedMD's baselines.
    let changes = [
        ("\"fedmd\"", "\"fedavg\""),
        ("[\"standalone\"]", "[\"standalone\", \"centralised\"]"),
        ("labels = \"union\"\n", ""),
        ("public = ", "# public = "),
        (
            "[parties]",
            "partition = { kind = \"dirichlet\", alpha = 0.5, min = 5 }\n[parties]",
        ),
        (
            "architectures = [\"mlp[16]\"]\n",
            "architectures = [\"mlp[16]\"]\n[steps.train]\nepochs = 3\nbatch = 4\n",
        ),
    ];
    let resolved = resolved(&changes, &algorithms::all()).unwrap();
    let own = of(&resolved, "fedavg");
    assert_eq!(fit(own, 1, "train"), (None, 3));
    let alone = of(&resolved, "standalone");
    assert_eq!(
        alone.pipeline.step(1, "train").unwrap().fit,
        own.pipeline.step(1, "train").unwrap().fit
    );
    assert_eq!(alone.pipeline.discloses, [Disclosure::Reports]);
    assert_eq!(alone.public, None);
    let data = &resolved.data[0];
    let (_, parties) = division(&resolved.file, &own.private, 0).rows(data.known()).unwrap();
    let (sizes, batches): (BTreeSet<usize>, u32) = (
        parties.iter().map(Vec::len).collect(),
        parties
            .iter()
            .map(|rows| (rows.len() / 4 + usize::from(rows.len() % 4 >= 2)) as u32)
            .sum(),
    );
    assert!(
        sizes.len() > 1,
        "parties with as many rows each show nothing: {sizes:?}"
    );
    assert_eq!(fit(of(&resolved, "centralised"), 1, "train"), (Some(3 * batches), 3));
}

#[test]
fn a_pipeline_that_is_compared_with_has_baselines_of_its_own() {
    let baselines = "[\"fedavg\", \"standalone\", \"centralised\", \"fedavg_standalone\", \"fedavg_centralised\"]";
    let changes = [
        ("[\"standalone\"]", baselines),
        (
            "architectures = [\"mlp[16]\"]\n",
            "architectures = [\"mlp[16]\"]\n[steps.train]\nepochs = 3\nbatch = 4\n[steps.revisit]\nepochs = 1\nbatch = 30\n",
        ),
    ];
    let resolved = resolved(&changes, &algorithms::all()).unwrap();
    // Thirty rows a party: eight steps an epoch in FedAvg, and one in FedMD.
    assert_eq!(fit(of(&resolved, "fedavg_standalone"), 1, "train"), (None, 3));
    assert_eq!(
        fit(of(&resolved, "fedavg_centralised"), 1, "train"),
        (Some(3 * 3 * 8), 3)
    );
    assert_eq!(fit(of(&resolved, "standalone"), 1, "revisit"), (None, 1));
    assert_eq!(fit(of(&resolved, "centralised"), 1, "revisit"), (Some(3), 1));
    let ids: Vec<&str> = resolved.jobs.iter().map(|job| job.id.as_str()).collect();
    assert!(ids.contains(&"a-fedavg_standalone-0"), "{ids:?}");
}

#[test]
fn private_validation_rows_are_held_back_in_all_runs_of_a_file() {
    let changes = [
        ("[parties]", "validation = { rows = 30 }\n[parties]"),
        // Not made of the steps of fedmd, which stop by them.
        ("\"standalone\"", "\"self_digest\""),
    ];
    let resolved = resolved(&changes, &validating()).unwrap();
    for name in ["fedmd", "self_digest"] {
        let run = of(&resolved, name);
        assert_eq!(run.validation, Some(Validation::Private { rows: 30 }), "{name}");
        assert_eq!(run.divided(), 60, "{name}");
    }
    let discloses = |name| {
        of(&resolved, name)
            .pipeline
            .discloses
            .contains(&Disclosure::ValidationRows)
    };
    assert!(discloses("fedmd") && !discloses("self_digest"));
    assert_eq!(resolved.data.len(), 3);
}

#[test]
fn a_validation_set_is_a_part_of_the_runs_that_stop_by_it() {
    let set = "validation = { url = \"DATA/letters-test.parquet\", rows = 40 }\n[parties]";
    let changes = [("[parties]", set), ("\"standalone\"", "\"self_digest\"")];
    let resolved = resolved(&changes, &validating()).unwrap();
    let fedmd = of(&resolved, "fedmd");
    assert_eq!(fedmd.validation.as_ref().map(Validation::rows), Some(40));
    assert_eq!(fedmd.divided(), 90);
    assert_eq!(of(&resolved, "self_digest").validation, None);
    assert_eq!(resolved.data.len(), 4);
}

#[test]
fn validation_rows_that_do_not_fit_are_refused_at_their_place() {
    for (validation, expected) in [
        (
            "{ url = \"DATA/letters-test.parquet\", rows = 99999 }",
            "99999 rows are asked for",
        ),
        ("{ url = \"DATA/leters.parquet\" }", "leters.parquet"),
    ] {
        let changed = format!("validation = {validation}\n[parties]");
        let shown = problem(resolved(&[("[parties]", changed.as_str())], &validating()));
        assert!(shown.starts_with("line 10, ") && shown.contains(expected), "{shown}");
    }
    // Of a private set whose rows nobody counted in the file.
    let changes = [
        ("letters.parquet\", rows = 90", "letters.parquet\""),
        ("[parties]", "validation = { rows = 7799 }\n[parties]"),
    ];
    let shown = problem(resolved(&changes, &validating()));
    assert!(
        shown.contains("7800 private rows, 7799 of them for validation, are too few for 3 parties"),
        "{shown}"
    );
    let changes = [
        ("letters.parquet", "mnist.parquet"),
        ("letters-test.parquet", "mnist.parquet"),
        (
            "[parties]",
            "validation = { url = \"DATA/letters-test.parquet\" }\n[parties]",
        ),
    ];
    let shown = problem(resolved(&changes, &validating()));
    assert!(
        shown.contains("the validation set has labels up to 25, the private set up to 9"),
        "{shown}"
    );
}

#[test]
fn a_head_has_public_classes_only_where_somebody_trains_them() {
    let alone = with("standalone", |standalone| {
        standalone.warmup.retain(|step| step.name != "pretrain");
        for step in &mut standalone.warmup {
            if step.start == Start::Step("pretrain".to_owned()) {
                step.start = Start::Fresh;
            }
        }
    });
    let only = [
        ("\"fedmd\"", "\"standalone\""),
        ("baselines = [\"standalone\"]", "baselines = []"),
    ];
    let shown = problem(resolved(&only, &alone));
    assert!(
        shown.contains("36 classes, 10 of them of the public set") && shown.contains("labels = \"private\""),
        "{shown}"
    );
    for labels in ["private", "shared"] {
        let written = format!("labels = \"{labels}\"");
        let changes = [&only[..], &[("labels = \"union\"", written.as_str())]].concat();
        assert_eq!(of(&resolved(&changes, &alone).unwrap(), "standalone").head(), 26);
    }
    // A baseline that trains them shares the head.
    assert_eq!(of(&resolved(&[], &alone).unwrap(), "standalone").head(), 36);
}

#[test]
fn a_setting_that_breaks_a_rule_of_its_pipeline_is_refused_at_its_place() {
    // FedAvg whose models come from public rows alone, every party alike.
    let public = with("fedavg", |fedavg| {
        for step in &mut fedavg.round {
            for term in &mut step.terms {
                term.on = On::Public;
            }
            if step.rule.is_some() {
                step.rule = Some(Rule::Weights(By::Parties));
            }
        }
    });
    let changes = [
        ("\"fedmd\"", "\"fedavg\""),
        ("baselines = [\"standalone\"]", "baselines = []"),
        (
            "[parties]",
            "[steps.average]\nrule = { weights = \"parties\" }\n[parties]",
        ),
    ];
    assert!(resolved(&changes, &public).is_ok());
    let by_samples = [&changes[..], &[("weights = \"parties\"", "weights = \"samples\"")]].concat();
    let shown = problem(resolved(&by_samples, &public));
    assert!(
        shown.starts_with("line 11, ") && shown.contains("step 'average' weighs parties by the private rows"),
        "{shown}"
    );
}

#[test]
fn a_label_that_no_row_has_is_not_answered_with_where_paths_lie() {
    let shipped = algorithms::all();
    let classes = ("rows = 90 }\npublic", "rows = 90, classes = [0, 77] }\npublic");
    let shown = problem(resolved(&[classes], &shipped));
    assert!(shown.contains("has the label 77 that 'classes' lists"), "{shown}");
    assert!(
        shown.ends_with("list labels that rows have, or leave `classes` out to use all labels as they are"),
        "{shown}"
    );
    let shown = problem(resolved(&[("letters.parquet", "lettres.parquet")], &shipped));
    assert!(shown.contains("paths are relative to the run file"), "{shown}");
}
