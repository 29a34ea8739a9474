//! The keys of a run file, table by table: names, types, ranges, defaults.

use super::data::data;
use super::reader::{Notes, Repeats, Table, Value};
use super::selection::selection;
use super::simulation::simulate;
use super::spelling::{quoted, suggestion};
use super::training::steps;
use super::{Catalog, Close, Parties, RunFile, beside, deployment, duration, made_of_another};
use crate::architecture::{Architecture, FORM};
use crate::pipeline::{Pipeline, Selection};
use crate::resolved::Precision;
use crate::signature::{PartyIdentity, PublicKey};
use std::time::Duration;
use toml::de::DeTable;

/// Longest name of a run: with pipeline and seed it becomes part of file names.
pub(super) const LONGEST_NAME: usize = 60;
/// A line that names a pipeline.
const PIPELINE: &str = "pipeline = \"fedmd\"";
/// A line that names what it is compared with.
const BASELINES: &str = "baselines = [\"standalone\"]";

/// Reads a document. Where it returns `None`, the notes say why.
pub(super) fn run_file(
    document: &DeTable<'_>,
    notes: &Notes,
    catalog: &Catalog<'_>,
    elsewhere: &[Pipeline],
) -> Option<RunFile> {
    let mut top = Table::top(document, notes);
    let name = top.required("name", "name = \"quickstart\"", run_name);
    let pipeline = top.required("pipeline", PIPELINE, |value| known_pipeline(value, catalog));
    let rounds = top.required("rounds", "rounds = 5", |value| value.count(0));
    let seeds = top.optional("seeds", "seeds = [0]", seeds);
    let baselines = top.optional("baselines", BASELINES, |value| baselines(value, catalog));
    let predictions = top.optional("predictions", "predictions = \"float16\"", |value| {
        let words = [("float16", Precision::Float16), ("float32", Precision::Float32)];
        value.one_of("a number format of predictions", &words)
    });
    let data = top.required("data", "a table [data] with keys private and test", data);
    let placed = top.optional(
        "party",
        "a table [[party]] with keys id, architecture and key",
        |value| placed_parties(value, catalog),
    );
    let simulated = |value: &Value<'_>| parties(value, catalog);
    let hint = "a table [parties] with keys count and architectures";
    let parties = if document.contains_key("party") {
        top.optional("parties", hint, |value| {
            value.refuse(
                "a file has simulated parties in [parties] or real ones in [[party]] tables, not both",
                "remove one of the two",
            );
            None::<Parties>
        });
        placed
    } else {
        top.required("parties", hint, simulated)
    };
    let all = pipeline.map(|own| beside(own, baselines.as_deref().unwrap_or_default(), catalog.pipelines));
    let pipelines: Vec<&Pipeline> = all.iter().flatten().collect();
    let steps = top.optional("steps", "a table [steps.<name>]", |value| {
        steps(value, &pipelines, elsewhere)
    });
    let close = top.optional("close", "a table [close] with key quorum", close);
    let simulate = top.optional(
        "simulate",
        "a table [simulate] with key slow, fail or offline",
        simulate,
    );
    let deployment = deployment::tables(&mut top);
    top.finish();

    Some(RunFile {
        name: name?,
        pipeline: pipeline?.name.clone(),
        rounds: rounds?,
        seeds: seeds.unwrap_or_else(|| vec![0]),
        baselines: baselines.unwrap_or_default(),
        predictions: predictions.unwrap_or_default(),
        data: data?,
        parties: parties?,
        steps: steps.unwrap_or_default(),
        close: close.unwrap_or_default(),
        simulate: simulate.unwrap_or_default(),
        deployment,
        places: notes.places(),
    })
}

/// Notes what is wrong with the names of pipelines in a document, and nothing else.
pub(super) fn pipeline_names(document: &DeTable<'_>, notes: &Notes, catalog: &Catalog<'_>) {
    let mut top = Table::top(document, notes);
    top.optional("pipeline", PIPELINE, |value| known_pipeline(value, catalog));
    top.optional("baselines", BASELINES, |value| baselines(value, catalog));
}

/// The name of a run, which becomes part of topics' keys, objects and folders.
fn run_name(value: &Value<'_>) -> Option<String> {
    let name = value.text("a name")?;
    let valid = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !name.is_empty() && name.len() <= LONGEST_NAME && name.chars().all(valid) && !name.starts_with('-') {
        return Some(name.to_owned());
    }
    let near: String = name
        .to_lowercase()
        .chars()
        .map(|c| if valid(c) { c } else { '-' })
        .take(LONGEST_NAME)
        .collect();
    let near = match near.trim_matches('-') {
        "" => "quickstart",
        near => near,
    };
    value.refuse(
        format!(
            "'name' is {}, but a name has lower-case letters, digits and hyphens, at most {LONGEST_NAME}, and no \
             hyphen in front",
            quoted(name)
        ),
        format!("write name = \"{near}\""),
    );
    None
}

/// A pipeline that exists, by its name or its file.
fn known_pipeline<'a>(value: &Value<'_>, catalog: &Catalog<'a>) -> Option<&'a Pipeline> {
    let name = pipeline_name(value, catalog)?;
    let found = catalog.pipeline(&name);
    if found.is_none() {
        refuse_unknown(value, &name, catalog);
    }
    found
}

/// The names of the pipelines to compare with.
fn baselines(value: &Value<'_>, catalog: &Catalog<'_>) -> Option<Vec<String>> {
    value.list(Repeats::Refused, |item| known_baseline(item, catalog))
}

/// The name of a pipeline to compare with: one that there is, or a baseline that is made of one.
fn known_baseline(value: &Value<'_>, catalog: &Catalog<'_>) -> Option<String> {
    let name = pipeline_name(value, catalog)?;
    if catalog.pipeline(&name).is_none() && made_of_another(&name, catalog.pipelines).is_none() {
        refuse_unknown(value, &name, catalog);
        return None;
    }
    Some(name)
}

/// What a file calls a pipeline by; of a file's path the name of the pipeline in it.
fn pipeline_name(value: &Value<'_>, catalog: &Catalog<'_>) -> Option<String> {
    let written = value.text("the name of a pipeline")?;
    match catalog.files.get(written) {
        Some(Err(why)) => {
            value.refuse(
                why,
                "a pipeline's file lies at a path relative to the run file, of a sweep file's grid to that file, and has a name \
                 that no other pipeline has",
            );
            None
        }
        Some(Ok(name)) => Some(name.clone()),
        None => Some(written.to_owned()),
    }
}

fn refuse_unknown(value: &Value<'_>, name: &str, catalog: &Catalog<'_>) {
    let names: Vec<&str> = catalog
        .pipelines
        .iter()
        .map(|pipeline| pipeline.name.as_str())
        .collect();
    value.refuse(
        format!("unknown pipeline {}", quoted(name)),
        suggestion(name, "pipelines", &names),
    );
}

/// Seeds, each a run of its own.
pub(super) fn seeds(value: &Value<'_>) -> Option<Vec<u64>> {
    // A TOML integer has 64 bits and a sign.
    let seeds = value.list(Repeats::Refused, |item| item.whole(0, i64::MAX as u64))?;
    if seeds.is_empty() {
        value.expect("a list of at least one seed");
        return None;
    }
    Some(seeds)
}

fn parties(value: &Value<'_>, catalog: &Catalog<'_>) -> Option<Parties> {
    let mut table = value.table()?;
    let count = table.required("count", "count = 10", |value| value.count(1));
    let architectures = table.required("architectures", "architectures = [\"lenet\"]", |value| {
        let list = value.list(Repeats::Allowed, |item| architecture(item, catalog))?;
        if list.is_empty() {
            value.expect("a list of at least one architecture");
            return None;
        }
        Some(list)
    });
    let selection = selection(&mut table, count);
    table.finish();
    Some(Parties {
        count: count?,
        architectures: architectures?,
        identities: Vec::new(),
        selection,
    })
}

/// `[[party]]`: parties that run their own workers.
fn placed_parties(value: &Value<'_>, catalog: &Catalog<'_>) -> Option<Parties> {
    let listed = value.list(Repeats::Allowed, |item| {
        let mut table = item.table()?;
        let id = table.required("id", "id = \"hospital-a\"", party_id);
        let own = table.required("architecture", "architecture = \"lenet\"", |value| {
            architecture(value, catalog)
        });
        let key = table.required("key", "the key that `fedstill party init` prints", |value| {
            let text = value.text("a public key")?;
            text.parse::<PublicKey>()
                .map_err(|why| {
                    value.refuse(
                        format!("'{}' is wrong: {why}", value.path()),
                        "write key = \"ed25519:..\"",
                    );
                })
                .ok()
        });
        table.finish();
        Some((PartyIdentity { id: id?, key: key? }, own?))
    })?;
    for (index, (party, _)) in listed.iter().enumerate() {
        if listed[..index]
            .iter()
            .any(|(other, _)| other.id == party.id || other.key == party.key)
        {
            value.refuse(
                format!("two parties have the id or the key of {}", quoted(&party.id)),
                "give every party an id and a key of its own",
            );
            return None;
        }
    }
    if listed.is_empty() {
        value.expect("at least one table [[party]]");
        return None;
    }
    let (identities, architectures): (Vec<_>, Vec<_>) = listed.into_iter().unzip();
    Some(Parties {
        count: identities.len() as u32,
        architectures,
        identities,
        selection: Selection::All,
    })
}

/// A party's id: part of topics' keys and of a group's name.
pub(super) fn party_id(value: &Value<'_>) -> Option<String> {
    let id = value.text("a party's id")?;
    let valid = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if id.is_empty() || id.len() > LONGEST_NAME || !id.chars().all(valid) {
        value.refuse(
            format!(
                "'{}' is {}, but an id has lower-case letters, digits and hyphens",
                value.path(),
                quoted(id)
            ),
            "write id = \"hospital-a\"",
        );
        return None;
    }
    Some(id.to_owned())
}

fn architecture(value: &Value<'_>, catalog: &Catalog<'_>) -> Option<Architecture> {
    let text = value.text("an architecture")?;
    let Ok(architecture) = text.parse::<Architecture>() else {
        value.refuse(format!("{} is not an architecture", quoted(text)), FORM);
        return None;
    };
    let family = architecture.family();
    if !catalog.families.contains(&family) {
        value.refuse(
            format!("unknown model family {}", quoted(family)),
            suggestion(family, "families", catalog.families),
        );
        return None;
    }
    Some(architecture)
}

fn close(value: &Value<'_>) -> Option<Close> {
    let mut table = value.table()?;
    let quorum = table.optional("quorum", "quorum = 0.5", |value| {
        value.number("a fraction above 0 and at most 1", |quorum| {
            quorum > 0.0 && quorum <= 1.0
        })
    });
    let deadline = table.optional("deadline", "deadline = \"10m\"", deadline);
    table.finish();
    let default = Close::default();
    Some(Close {
        quorum: quorum.unwrap_or(default.quorum),
        deadline,
    })
}

fn deadline(value: &Value<'_>) -> Option<Duration> {
    let text = value.text("a duration with its unit")?;
    match duration::parse(text) {
        Ok(deadline) => Some(deadline),
        Err(why) => {
            value.refuse(
                format!("'{}' is {}, which is no duration: {why}", value.path(), quoted(text)),
                "write a whole number and one of ms, s, m, h, d, as in deadline = \"10m\"",
            );
            None
        }
    }
}
