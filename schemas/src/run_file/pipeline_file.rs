//! A pipeline's file: an algorithm of a person's own, read by the code that reads those of resolved runs, and written.
//!
//! In: the text of a TOML file. Out: a [`Pipeline`] that can be run, or the problems found: one where the text is not TOML or
//! not a pipeline, else all that [`Pipeline::check`] finds, each at its place.

use super::RunFile;
use super::places::Places;
use super::problem::{self, Problem};
use super::spelling::{quoted, suggestion};
use crate::pipeline::{Pipeline, Start, Step};
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::ops::Range;
use std::path::Path;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

impl Pipeline {
    /// Reads and checks a pipeline's file.
    ///
    /// # Errors
    /// The problems found, in the order of the text; at least one.
    pub fn parse(text: &str) -> Result<Self, Vec<Problem>> {
        let document = DeTable::parse(text).map_err(|error| vec![problem::of_syntax(text, &error)])?;
        let mut places = Places::new(text);
        let pipeline: Self = toml::from_str(text).map_err(|error| vec![of_reading(&places, &error)])?;
        for (key, value) in document.get_ref() {
            note(&mut places, key.get_ref(), value);
        }
        let strays = settings_without_use(&pipeline, document.get_ref());
        let strays = strays.map(|(span, message)| (span, message, "remove it, or write another kind".to_owned()));
        let faults = pipeline.check().into_iter();
        let faults = faults.map(|fault| (places.of(&fault.key), fault.message, fault.help));
        let mut problems: Vec<Problem> = strays
            .chain(faults)
            .map(|(span, message, help)| places.problem(span, message, Some(help)))
            .collect();
        problems.sort_by_key(|problem| problem.span.start);
        if problems.is_empty() {
            Ok(pipeline)
        } else {
            Err(problems)
        }
    }

    /// Its file, without what is left out by default; read again it is the same pipeline.
    pub fn to_toml(&self) -> String {
        let Self {
            name,
            discloses,
            warmup,
            round,
        } = self;
        let mut text = String::new();
        put(&mut text, "name", name);
        put(&mut text, "discloses", discloses);
        if round.is_empty() {
            put(&mut text, "round", round);
        }
        let warmup = warmup.iter().map(|step| ("warmup", step));
        for (list, step) in warmup.chain(round.iter().map(|step| ("round", step))) {
            let _ = write!(text, "\n[[{list}]]\n");
            put_step(&mut text, step);
        }
        text
    }
}

impl RunFile {
    /// The files of pipelines that a run file names, as it writes their paths; none where it is not TOML.
    pub fn pipeline_files(text: &str) -> BTreeSet<String> {
        files_under(text, |_| true)
    }
}

/// The files of pipelines that a run file names under those of its keys; none where it is not TOML.
pub(super) fn files_under(text: &str, reads: impl Fn(&str) -> bool) -> BTreeSet<String> {
    let Ok(document) = DeTable::parse(text) else {
        return BTreeSet::new();
    };
    let under = |key: &str| document.get_ref().get(key).filter(|_| reads(key));
    let baselines = under("baselines").and_then(|list| list.get_ref().as_array());
    let baselines = baselines.into_iter().flat_map(|list| list.iter());
    let names = under("pipeline").into_iter().chain(baselines);
    names
        .filter_map(|name| name.get_ref().as_str())
        .filter(|name| is_file(name))
        .map(str::to_owned)
        .collect()
}

/// Whether what stands in the place of a pipeline's name is the path of a file.
pub(super) fn is_file(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|end| end == "toml")
}

/// Remembers the places of a value and of all that is in it.
fn note(places: &mut Places, key: &str, value: &Spanned<DeValue<'_>>) {
    places.put(key.to_owned(), value.span());
    match value.get_ref() {
        DeValue::Table(table) => {
            for (name, value) in table {
                note(places, &format!("{key}.{}", name.get_ref()), value);
            }
        }
        DeValue::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                note(places, &format!("{key}[{index}]"), item);
            }
        }
        _ => {}
    }
}

/// The problem of a text that is TOML and no pipeline: what serde says, in the words of other files.
fn of_reading(places: &Places, error: &toml::de::Error) -> Problem {
    let said = error.message();
    // As in: unknown field `nmae`, expected `name` or `stage`
    let mut words = said.split('`').skip(1).step_by(2);
    let word = words.next().unwrap_or_default();
    let valid: Vec<&str> = words.collect();
    let (message, help) = if said.starts_with("unknown field") {
        (
            format!("unknown key {}", quoted(word)),
            suggestion(word, "valid keys here", &valid),
        )
    } else if said.starts_with("unknown variant") {
        (
            format!("{} means nothing here", quoted(word)),
            suggestion(word, "valid here", &valid),
        )
    } else if said.starts_with("missing field") {
        let help = format!("add {word}, as in what `fedstill pipelines fedmd` prints");
        (format!("'{word}' is missing here"), help)
    } else if said.ends_with("expected newtype variant") {
        let help = "write a table, as in start = { step = \"pretrain\" } or rule = { weights = \"samples\" }";
        ("this word needs a value".to_owned(), help.to_owned())
    } else {
        (
            said.to_owned(),
            "compare it with what `fedstill pipelines fedmd` prints".to_owned(),
        )
    };
    places.problem(error.span().unwrap_or(0..0), message, Some(help))
}

/// Settings of losses that have none, which serde passes over: the place and the message of each.
fn settings_without_use<'a>(
    pipeline: &'a Pipeline,
    document: &'a DeTable<'_>,
) -> impl Iterator<Item = (Range<usize>, String)> + 'a {
    let lists = [("warmup", &pipeline.warmup), ("round", &pipeline.round)];
    let terms = lists.into_iter().flat_map(|(list, steps)| {
        let steps = steps.iter().enumerate();
        steps.flat_map(move |(step, of)| {
            of.terms
                .iter()
                .enumerate()
                .map(move |(index, term)| (list, step, index, term))
        })
    });
    terms.filter_map(move |(list, step, index, term)| {
        let step = document.get(list)?.get_ref().get(step)?.get_ref();
        let written = step.get("terms")?.get_ref().get(index)?.get_ref().get("loss")?;
        let read = serde_json::to_value(term.loss).ok()?;
        let mut written = written.get_ref().as_table()?.iter();
        let (key, _) = written.find(|(key, _)| {
            let name: &str = key.get_ref();
            read.get(name).is_none()
        })?;
        let message = format!("{} means nothing beside this kind of loss", quoted(key.get_ref()));
        Some((key.span(), message))
    })
}

/// Longest key of a step.
const WIDTH: usize = "stage".len();

fn put<T: Serialize>(text: &mut String, key: &str, value: &T) {
    let _ = write!(text, "{key:<WIDTH$} = ");
    value
        .serialize(toml::ser::ValueSerializer::new(text))
        .expect("types of this crate serialise to TOML");
    text.push('\n');
}

fn put_step(text: &mut String, step: &Step) {
    let Step {
        name,
        stage,
        who,
        start,
        terms,
        fit,
        rule,
        keep,
        drop_worst,
    } = step;
    put(text, "name", name);
    put(text, "stage", stage);
    put(text, "who", who);
    if *start != Start::Own {
        put(text, "start", start);
    }
    if !terms.is_empty() {
        put(text, "terms", terms);
    }
    if let Some(rule) = rule {
        put(text, "rule", rule);
    }
    if *drop_worst {
        put(text, "drop_worst", drop_worst);
    }
    if let Some(fit) = fit {
        put(text, "fit", fit);
    }
    if let Some(keep) = keep {
        put(text, "keep", keep);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Catalog;
    use super::*;
    use std::collections::BTreeMap;

    const FEDMD: &str = include_str!("../../testdata/fedmd.toml");
    const FEDDF: &str = include_str!("../../testdata/feddf.toml");

    #[test]
    fn a_pipeline_survives_its_file() {
        let more = FEDDF
            .replace(
                "rule = \"mean_probability\"",
                "rule = \"mean_probability\", drop_worst = true",
            )
            .replace("proximal = 0.01", "head_l2 = 0.001, clip = 5");
        let weighing = FEDMD.replace("rule = \"mean\"", "rule = { weights = [1, 0.5, 0] }");
        for text in [FEDMD, FEDDF, more.as_str(), weighing.as_str()] {
            let pipeline = Pipeline::parse(text).unwrap();
            let written = pipeline.to_toml();
            assert_eq!(Pipeline::parse(&written), Ok(pipeline), "{written}");
        }
        let empty = Pipeline {
            name: "empty".to_owned(),
            discloses: Vec::new(),
            warmup: Vec::new(),
            round: Vec::new(),
        };
        assert_eq!(toml::from_str::<Pipeline>(&empty.to_toml()), Ok(empty));
    }

    #[test]
    fn a_file_says_no_more_than_it_must() {
        let text = Pipeline::parse(FEDDF).unwrap().to_toml();
        for part in [
            "name  = \"mine\"\n",
            "\n[[warmup]]\nname  = \"initial\"\nstage = \"pretrain\"\nwho   = \"architectures\"\nstart = \"fresh\"\n\n[[round]]\n",
            "\n[[round]]\nname  = \"predict\"\nstage = \"predict\"\nwho   = \"selected\"\n\n[[round]]\n",
            "rule  = { weights = \"samples\" }\n",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }

    /// The one problem of a good pipeline in which one thing is replaced by another.
    fn problem(good: &str, old: &str, new: &str) -> Problem {
        assert_eq!(good.matches(old).count(), 1, "{old} is not in the good file once");
        let problems = Pipeline::parse(&good.replace(old, new)).unwrap_err();
        let [problem] = &problems[..] else {
            panic!("{old} -> {new}: {problems:?}");
        };
        problem.clone()
    }

    #[test]
    #[rustfmt::skip]
    fn a_slip_of_the_pen_is_one_problem_at_its_place_with_its_fix() {
        let good = Pipeline::parse(FEDMD).unwrap().to_toml();
        for (old, new, at, message, help) in [
            ("round]]\nname  = \"join\"", "round]]\nnmae  = \"join\"", "nmae", "unknown key 'nmae'", "did you mean 'name'?"),
            ("discloses", "disclose", "disclose", "unknown key 'disclose'", "did you mean 'discloses'?"),
            ("\"partitions\"", "\"partition\"", "\"partition\"", "'partition' means nothing here", "did you mean 'partitions'?"),
            ("\"distill\"", "\"destill\"", "\"destill\"", "'destill' means nothing here", "did you mean 'distill'?"),
            ("\"mean\"", "\"blend\"", "\"blend\"", "'blend' means nothing here", "valid here: "),
            ("kind = \"kl\"", "kind = \"kll\"", "\"kll\"", "'kll' means nothing here", "did you mean 'kl'?"),
            ("{ step = \"pretrain\" }", "\"step\"", "\"step\"", "this word needs a value", "start = { step = "),
            ("{ step = \"pretrain\" }", "{ stpe = \"pretrain\" }", "stpe", "'stpe' means nothing here", "did you mean 'step'?"),
            ("stage = \"join\"\n", "", "[[round]]", "'stage' is missing here", "add stage"),
            ("name  = \"mine\"\n", "", "", "'name' is missing here", "add name"),
            ("batch = 256", "batch = \"many\"", "\"many\"", "expected u32", "fedstill pipelines fedmd"),
            ("stage = \"join\"\nwho   = \"server\"", "stage = \"join\"\nwho   = \"parties\"", "\"parties\"", "steps of stage 'join' are not done by 'parties'", "who = \"server\""),
            ("name  = \"predict\"\nstage = \"predict\"", "name  = \"predict\"\nstage = \"predict\"\nstart = \"fresh\"", "\"fresh\"", "cannot start fresh", "remove start"),
            ("\"predictions\", ", "", "[\"consensus\", \"reports\"]", "what 'discloses' does not name", "add \"predictions\""),
        ] {
            let found = problem(&good, old, new);
            let text = good.replace(old, new);
            assert_eq!(&text[found.span.clone()], at, "{new}: {found}");
            assert!(found.message.contains(message), "{new}: {found}");
            assert!(found.help.as_ref().unwrap().contains(help), "{new}: {found}");
        }
    }

    #[test]
    fn a_setting_of_another_kind_of_loss_is_not_passed_over() {
        let found = problem(
            FEDMD,
            "{ kind = \"kl\", t = 3.0, times_t2 = true }",
            "{ kind = \"mae\", t = 3.0 }",
        );
        assert!(
            found.message.contains("'t' means nothing beside this kind of loss"),
            "{found}"
        );
        assert_eq!(found.line, 13);
    }

    const RUN: &str = "
        name = \"a\"
        pipeline = \"my/own.toml\"
        rounds = 1
        data = { private = { url = \"a.parquet\" }, public = { url = \"b.parquet\" }, test = { url = \"c.parquet\" } }
        parties = { count = 1, architectures = [\"lenet\"] }
    ";

    #[test]
    fn a_run_file_names_pipelines_by_their_files() {
        let both = RUN.replace(
            "rounds = 1",
            "rounds = 1\nbaselines = [\"standalone\", \"other.toml\", 3]",
        );
        let expected = ["my/own.toml", "other.toml"].map(str::to_owned);
        assert_eq!(RunFile::pipeline_files(&both), BTreeSet::from(expected));
        for none in [
            "",
            "pipeline = ",
            "pipeline = \"toml\"",
            "pipeline = 1\nbaselines = \"a.toml\"",
        ] {
            assert!(RunFile::pipeline_files(none).is_empty(), "{none}");
        }

        let pipelines = [Pipeline::parse(FEDMD).unwrap()];
        let read = |file: Result<String, String>| {
            let files = BTreeMap::from([("my/own.toml".to_owned(), file)]);
            let catalog = Catalog {
                pipelines: &pipelines,
                files: &files,
                families: &["lenet"],
            };
            RunFile::parse(RUN, &catalog)
        };
        let file = read(Ok("mine".to_owned())).unwrap();
        assert_eq!(file.pipeline, "mine");
        let problems = read(Err("cannot read 'my/own.toml': no such file".to_owned())).unwrap_err();
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert_eq!(&RUN[problems[0].span.clone()], "\"my/own.toml\"");
        assert!(problems[0].message.contains("no such file"), "{problems:?}");
        assert!(problems[0].help.as_ref().unwrap().contains("relative to the run file"));
    }
}
