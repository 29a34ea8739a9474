//! Good files and bad ones: each mistake is one problem, at its place, with its fix.

use super::*;
use crate::fit::{EarlyStop, Optimizer};
use proptest::prelude::*;

mod bad_files;
mod classes;
mod partitions;
mod positions;
mod selection;
mod simulation;
mod step_settings;
mod sweeps;
mod validation;

/// Pipelines and families of these tests.
const CATALOG: &str = r#"
[[pipelines]]
name      = "fedmd"
discloses = ["predictions", "consensus"]
warmup    = [
    { name = "pretrain", stage = "pretrain", who = "architectures", terms = [{ on = "public", target = "labels", loss = { kind = "cross_entropy" } }], fit = { epochs = 9, batch = 9, optimizer = { kind = "sgd", lr = 0.1 } } },
    { name = "transfer", stage = "train", who = "parties", terms = [{ on = "private", target = "labels", loss = { kind = "cross_entropy" } }], fit = { epochs = 9, batch = 9, optimizer = { kind = "sgd", lr = 0.1 } } },
    { name = "evaluate", stage = "evaluate", who = "parties" },
]
round     = [
    { name = "predict", stage = "predict", who = "parties" },
    { name = "aggregate", stage = "aggregate", who = "partitions", rule = "mean" },
    { name = "digest", stage = "distill", who = "parties", terms = [{ on = "alignment", target = "consensus", loss = { kind = "mae" } }], fit = { epochs = 9, batch = 9, optimizer = { kind = "sgd", lr = 0.1 } } },
    { name = "revisit", stage = "train", who = "parties", terms = [{ on = "private", target = "labels", loss = { kind = "cross_entropy" } }], fit = { epochs = 9, batch = 9, optimizer = { kind = "sgd", lr = 0.1 } } },
    { name = "evaluate", stage = "evaluate", who = "parties" },
]

[[pipelines]]
name      = "standalone"
discloses = []
warmup    = [{ name = "evaluate", stage = "evaluate", who = "parties" }]
round     = [
    { name = "revisit", stage = "train", who = "parties", terms = [{ on = "private", target = "labels", loss = { kind = "cross_entropy" } }], fit = { epochs = 9, batch = 9, optimizer = { kind = "sgd", lr = 0.1 } } },
    { name = "evaluate", stage = "evaluate", who = "parties" },
]

[[pipelines]]
name      = "self_digest"
discloses = []
warmup    = []
round     = [
    { name = "digest", stage = "distill", who = "parties", terms = [{ on = "alignment", target = "own", loss = { kind = "mae" } }], fit = { epochs = 9, batch = 9, optimizer = { kind = "sgd", lr = 0.1 } } },
]

[[pipelines]]
name      = "feddf"
discloses = ["weights", "prototypes", "validation_rows", "reports"]
warmup    = [{ name = "initial", stage = "pretrain", who = "architectures", start = "fresh" }]
round     = [
    { name = "train", stage = "train", who = "selected", start = "prototype", terms = [{ on = "private", target = "labels", loss = { kind = "cross_entropy" } }], fit = { epochs = 9, batch = 9, optimizer = { kind = "sgd", lr = 0.1 } } },
    { name = "average", stage = "average", who = "architectures", rule = { weights = "samples" } },
    { name = "predict", stage = "predict", who = "selected" },
    { name = "aggregate", stage = "aggregate", who = "partitions", rule = "mean" },
    { name = "distill", stage = "distill", who = "architectures", start = { step = "average" }, terms = [{ on = "alignment", target = "consensus", loss = { kind = "kl", t = 1.0, times_t2 = true } }], fit = { epochs = 9, batch = 9, optimizer = { kind = "sgd", lr = 0.1 }, stop = { patience = 9, watch = "validation" } } },
]

[[pipelines]]
name      = "centralised"
discloses = []
round     = [{ name = "evaluate", stage = "evaluate", who = "architectures" }]
"#;

fn parse(text: &str) -> Result<RunFile, Vec<Problem>> {
    with_catalog(|catalog| RunFile::parse(text, catalog))
}

fn with_catalog<T>(then: impl FnOnce(&Catalog<'_>) -> T) -> T {
    #[derive(serde::Deserialize)]
    struct Parsed {
        pipelines: Vec<Pipeline>,
    }
    let parsed: Parsed = toml::from_str(CATALOG).unwrap();
    then(&Catalog {
        pipelines: &parsed.pipelines,
        files: &BTreeMap::new(),
        families: &["lenet", "cnn", "mlp", "resnet8"],
    })
}

/// The least that a run file of `fedmd` says.
const LEAST: &str = r#"
name     = "a"
pipeline = "fedmd"
rounds   = 0
data     = { private = { url = "a.parquet" }, public = { url = "b.parquet" }, test = { url = "c.parquet" } }
parties  = { count = 1, architectures = ["lenet"] }
"#;

/// A file of a pipeline that selects parties, averages weights and stops by validation rows.
const SELECTING: &str = r#"
name     = "a"
pipeline = "feddf"
rounds   = 1

[data]
private    = { url = "a.parquet", rows = 1000 }
public     = { url = "b.parquet" }
test       = { url = "c.parquet" }
validation = { rows = 100 }

[parties]
count         = 10
architectures = ["lenet", "mlp[9]"]
active        = 0.4
selection     = "round_robin"

[simulate]
slow    = { parties = 3, factor = 5 }
fail    = { parties = 2, probability = 0.5 }
offline = { parties = 1 }

[steps.train]
steps    = 50
proximal = 0.01

[steps.average]
rule = { weights = "parties" }

[steps.aggregate]
rule = "mean_probability"

[steps.distill]
schedule = "cosine"
stop     = { patience = 10, watch = "validation", every = 100 }

[close]
quorum   = 0.3
deadline = "10m"
"#;

/// A key of every kind, none at its default.
const MOST: &str = r#"
name        = "every-key-1"
pipeline    = "fedmd"
rounds      = 7
seeds       = [3, 0, 9223372036854775807]
baselines   = ["self_digest", "standalone"]
predictions = "float32"

[data]
private   = { url = "data/a.parquet", rows = 1_000, augment = ["crop", "flip"] }
public    = { url = "file:///srv/b.parquet", rows = 0x100 }
test      = { url = "../c.parquet", rows = 10, image = "img", label = "coarse_label" }
labels    = "union"
partition = { kind = "dirichlet", alpha = 1, min = 20 }
alignment = 256

[parties]
count         = 3
architectures = ["cnn[16, 32]", "lenet"]
active        = 1.0

[steps.digest]
epochs    = 2
batch     = 64
optimizer = { kind = "adam", lr = 1e-2, beta_1 = 0.5, beta_2 = 0.6, epsilon = 1e-6, weight_decay = 0.1 }
stop      = { patience = 3, min_delta = 0.005 }

[steps.revisit]
optimizer = { kind = "sgd", lr = 1, momentum = 0.9, weight_decay = 0.2 }
stop      = false

[close]
quorum   = 1
deadline = "90s"
"#;

/// A file of parties that run their own workers.
const PLACED: &str = r#"
name     = "a"
pipeline = "fedmd"
rounds   = 0

[data]
private = { classes = 26, shape = [1, 28, 28] }
public  = { url = "b.parquet" }
test    = { url = "c.parquet" }

[steps.pretrain]
stop = { patience = 3 }

[[party]]
id           = "a"
architecture = "lenet"
key          = "ed25519:d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
"#;

#[test]
fn defaults_fill_in_what_a_file_leaves_out() {
    let file = parse(LEAST).unwrap();
    assert_eq!((file.rounds, file.seeds), (0, vec![0]));
    assert!(file.baselines.is_empty() && file.steps.is_empty());
    assert_eq!(file.predictions, Precision::Float16);
    assert_eq!(file.data.labels, Labels::Shared);
    assert_eq!(file.data.partition, Partition::Iid);
    assert_eq!(
        (file.data.alignment, file.data.private.file().unwrap().rows),
        (None, None)
    );
    assert_eq!(
        file.close,
        Close {
            quorum: 0.5,
            deadline: None
        }
    );
}

#[test]
fn every_key_is_read() {
    let file = parse(MOST).unwrap();
    assert_eq!((file.name.as_str(), file.pipeline.as_str()), ("every-key-1", "fedmd"));
    assert_eq!((file.rounds, file.seeds.as_slice()), (7, &[3, 0, i64::MAX as u64][..]));
    assert_eq!(
        file.pipelines().collect::<Vec<_>>(),
        ["fedmd", "self_digest", "standalone"]
    );
    assert_eq!(file.predictions, Precision::Float32);
    let source = |url: &str, rows| Source {
        url: url.to_owned(),
        rows: Some(rows),
        columns: Columns::default(),
        augment: Vec::new(),
    };
    let augmented = Source {
        augment: vec![Augmentation::Flip, Augmentation::Crop],
        ..source("data/a.parquet", 1000)
    };
    assert_eq!(file.data.private, Private::Divided(augmented));
    assert_eq!(file.data.public, Some(source("file:///srv/b.parquet", 256)));
    let columns = Columns {
        image: Some("img".to_owned()),
        label: Some("coarse_label".to_owned()),
        ..Columns::default()
    };
    let named = Source {
        columns,
        ..source("../c.parquet", 10)
    };
    assert_eq!(file.data.test, named);
    assert_eq!(file.data.labels, Labels::Union);
    let dirichlet = Partition::Dirichlet {
        alpha: 1.0,
        min: 20,
        balanced: false,
        groups: None,
    };
    assert_eq!(file.data.partition, dirichlet);
    assert_eq!(file.data.alignment, Some(256));
    let turns: Vec<String> = (0..3).map(|slot| file.parties.architecture(slot).to_string()).collect();
    assert_eq!(turns, ["cnn[16,32]", "lenet", "cnn[16,32]"]);
    assert_eq!(
        file.steps["digest"],
        StepSettings {
            epochs: Some(2),
            batch: Some(64),
            optimizer: Some(Optimizer::Adam {
                lr: 0.01,
                beta_1: 0.5,
                beta_2: 0.6,
                epsilon: 1e-6,
                weight_decay: 0.1,
            }),
            stop: Some(Stop::Early(EarlyStop::after(3, 0.005))),
            ..StepSettings::default()
        }
    );
    assert_eq!(
        file.steps["revisit"],
        StepSettings {
            optimizer: Some(Optimizer::Sgd {
                lr: 1.0,
                momentum: 0.9,
                weight_decay: 0.2,
            }),
            stop: Some(Stop::Never),
            ..StepSettings::default()
        }
    );
    assert_eq!(
        file.close,
        Close {
            quorum: 1.0,
            deadline: Some(Duration::from_secs(90)),
        }
    );
}

#[test]
fn the_template_is_the_quickstart() {
    let file = parse(TEMPLATE).unwrap();
    assert_eq!((file.name.as_str(), file.pipeline.as_str()), ("quickstart", "fedmd"));
    assert_eq!(file.baselines, ["standalone", "self_digest"]);
    assert_eq!((file.rounds, file.seeds, file.parties.count), (5, vec![0], 10));
    let architectures: Vec<String> = file.parties.architectures.iter().map(ToString::to_string).collect();
    assert_eq!(
        architectures,
        ["lenet", "cnn[16,32]", "cnn[32,32]", "cnn[16,32,64]", "mlp[200,200]"]
    );
    assert_eq!(file.data.labels, Labels::Union);
    assert_eq!(file.data.private.file().unwrap().rows, Some(1000));
    assert_eq!(file.data.public.unwrap().rows, Some(3000));
    for (step, epochs, batch, stop) in [
        ("pretrain", 5, 32, Some(Stop::Never)),
        ("transfer", 25, 32, Some(Stop::Never)),
        ("digest", 1, 128, None),
        ("revisit", 2, 32, None),
    ] {
        let settings = &file.steps[step];
        assert_eq!((settings.epochs, settings.batch), (Some(epochs), Some(batch)), "{step}");
        assert_eq!(settings.optimizer, Some(Optimizer::adam(0.001)), "{step}");
        assert_eq!(settings.stop, stop, "{step}");
    }
}

#[test]
fn every_commented_key_of_the_template_is_valid() {
    let mut uncommented = String::new();
    for line in TEMPLATE.lines() {
        let code = line.strip_prefix("# ").filter(|code| {
            let word = code.split(' ').next().unwrap_or_default();
            code.starts_with('[')
                || ["predictions", "alignment", "active", "quorum", "deadline", "provider"].contains(&word)
                || ["prices", "slow", "fail", "offline"].contains(&word)
        });
        uncommented += code.unwrap_or(line);
        uncommented += "\n";
    }
    let file = parse(&uncommented).unwrap();
    assert_eq!(file.data.alignment, Some(3000));
    assert_eq!(file.close.deadline, Some(Duration::from_mins(10)));
    assert_eq!(file.deployment.cost.provider.as_deref(), Some("openfaas"));
    assert_eq!(file.simulate.slow.map(|slow| slow.parties), Some(3));
    assert!(file.simulate.fail.is_some() && file.simulate.offline.is_some());
}

#[test]
fn paths_are_relative_to_the_run_file() {
    let file = parse(MOST).unwrap();
    let folder = Path::new("/runs/one");
    assert_eq!(
        file.data.private.file().unwrap().path(folder),
        Path::new("/runs/one/data/a.parquet")
    );
    assert_eq!(file.data.public.unwrap().path(folder), Path::new("/srv/b.parquet"));
}

#[test]
fn later_checks_point_at_the_same_places() {
    let file = parse(MOST).unwrap();
    let place = |key: &str| {
        let problem = file.complain(key, "m", "h");
        (problem.line, problem.column, MOST[problem.span].to_owned())
    };
    assert_eq!(place("data.private.url"), (10, 21, "\"data/a.parquet\"".to_owned()));
    assert_eq!(place("parties.architectures[1]"), (19, 33, "\"lenet\"".to_owned()));
    assert_eq!(place("steps.digest.optimizer.lr"), (25, 35, "1e-2".to_owned()));
    assert_eq!(place("steps.digest"), (22, 1, "[steps.digest]".to_owned()));
    assert_eq!(place("data"), (9, 1, "[data]".to_owned()));
    // What is not written is complained about where it would be.
    assert_eq!(
        place("data.public.transform"),
        (11, 13, "{ url = \"file:///srv/b.parquet\", rows = 0x100 }".to_owned())
    );
    assert_eq!(place("log.url"), (1, 1, String::new()));
}

#[test]
fn a_problem_is_displayed_on_one_line() {
    let problems = parse("ronds = 1").unwrap_err();
    let shown: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert!(
        shown.contains(&"line 1, column 1: unknown key 'ronds' in the top level; did you mean 'rounds'?".to_owned())
    );
}

#[test]
fn distinct_mistakes_are_reported_together_in_the_order_of_the_text() {
    let text = MOST
        .replace("rounds      = 7", "ronds = 7")
        .replace("alpha = 1,", "alpha = -1,")
        .replace("epochs    = 2", "epochs = 0");
    let places: Vec<(u32, u32)> = parse(&text)
        .unwrap_err()
        .iter()
        .map(|problem| (problem.line, problem.column))
        .collect();
    assert_eq!(places, [(4, 1), (14, 43), (23, 10)]);
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in "\\PC*") {
        let _ = parse(&text);
    }

    #[test]
    fn arbitrary_characters_in_a_valid_file_never_panic_and_point_into_it(
        at in 0..MOST.len(), cut in 0_usize..20, insert in "[\\PC\\n\\t\\r\\[\\]{}=\".0-9a-e]{0,12}",
    ) {
        let text = format!("{}{insert}{}", &MOST[..at], &MOST[(at + cut).min(MOST.len())..]);
        for problem in parse(&text).err().unwrap_or_default() {
            prop_assert!(problem.span.end <= text.len() && text.get(problem.span.clone()).is_some());
            prop_assert!(problem.line as usize <= text.split('\n').count());
        }
    }

    #[test]
    fn values_of_any_type_anywhere_are_read_or_refused(
        key in 0..30_usize,
        value in prop_oneof![
            Just("-1"), Just("0"), Just("99999999999999999999999999999999999999999999"), Just("1e999"), Just("nan"),
            Just("inf"), Just("true"), Just("\"\""), Just("\"é\""), Just("[]"), Just("[[1]]"), Just("{}"),
            Just("{ kind = 1 }"), Just("1979-05-27"), Just("'''\n'''"),
        ],
    ) {
        let mut assignments = MOST.match_indices(" = ").map(|(at, _)| at);
        if let Some(at) = assignments.nth(key) {
            let end = at + MOST[at..].find([',', '\n', '}']).unwrap();
            let text = format!("{} = {value}{}", &MOST[..at], &MOST[end..]);
            if let Err(problems) = parse(&text) {
                prop_assert!(!problems.is_empty());
            }
        }
    }
}

#[test]
fn deep_nesting_is_refused_and_not_followed() {
    for text in [
        format!("name = {}", "[".repeat(100_000)),
        format!("data = {}", "{a=".repeat(100_000)),
        format!("{}a = 1", "a.".repeat(20_000)),
        format!("[{}a]", "a.".repeat(20_000)),
    ] {
        assert!(parse(&text).is_err());
    }
}
