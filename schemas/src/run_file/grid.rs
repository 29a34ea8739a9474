//! The grid of a sweep file: keys of the run file with their values, and how a value gets into a run file's tables.
//!
//! In: the table `[grid]`. Out: an [`Axis`] a key, which puts any of its values where the run file has the key, with the place
//! that it has in the sweep file, so many bytes later.

use super::pipeline_file::is_file;
use super::point_name::{word, written};
use super::reader::Value;
use super::spelling::quoted;
use super::sweep_file::SweepFile;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

/// Most points of a grid: where there are more, a key too many was put in.
const MOST_POINTS: usize = 10_000;
/// A line of a grid.
const HINT: &str = "\"steps.revisit.epochs\" = [1, 4]";
/// The table of the grid.
pub(super) const GRID: &str = "grid";

/// A key of the grid with its values.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    /// The key that it changes, part by part.
    key: Vec<Part>,
    /// The keys under which it stands in the grid.
    path: Vec<String>,
    /// Its values, as they are shown.
    pub(super) values: Vec<String>,
    /// Its values, as they stand in names.
    pub(super) words: Vec<String>,
}

/// A part of a dotted key, and where it stands.
#[derive(Clone, Debug)]
struct Part {
    name: String,
    place: Range<usize>,
}

impl Axis {
    /// The key, part by part.
    pub(super) fn parts(&self) -> Vec<&str> {
        self.key.iter().map(|part| part.name.as_str()).collect()
    }

    /// Whether its values name pipelines.
    pub(super) fn is_of_pipelines(&self) -> bool {
        matches!(self.parts()[..], ["pipeline" | "baselines"])
    }

    /// Where its last part stands.
    fn place(&self) -> Range<usize> {
        self.key.last().map_or(0..0, |part| part.place.clone())
    }

    /// Its value of that index, in the sweep file.
    pub(super) fn value<'d, 't>(&self, document: &'d DeTable<'t>, index: usize) -> Option<&'d Spanned<DeValue<'t>>> {
        let mut found = document.get(GRID)?;
        for name in &self.path {
            found = found.get_ref().get(name.as_str())?;
        }
        found.get_ref().get(index)
    }

    /// Puts its value of that index into a run file's tables, `behind` bytes later than it is in the sweep file, `grid`.
    pub(super) fn put<'t>(&self, document: &mut DeTable<'t>, grid: &DeTable<'t>, index: usize, behind: usize) {
        if let Some(value) = self.value(grid, index) {
            let mut value = moved(value, behind);
            if self.is_of_pipelines() {
                name_files(&mut value);
            }
            put(document, &self.key, value, behind);
        }
    }
}

/// `[grid]`: keys of the run file, each with a list of values, in the order of the keys.
pub(super) fn grid(value: &Value<'_>) -> Option<Vec<Axis>> {
    let mut axes = Vec::new();
    gather(value, &[], &[], &mut axes)?;
    axes.sort_by(|one, other| one.parts().cmp(&other.parts()));
    for pair in axes.windows(2) {
        // What begins alike stands together in this order.
        let [around, within] = pair else { continue };
        if within.parts().starts_with(&around.parts()) {
            value.refuse_at(
                within.place(),
                format!(
                    "the grid changes {}, and {} too, which is {}",
                    quoted(&around.parts().join(".")),
                    quoted(&within.parts().join(".")),
                    if within.key.len() == around.key.len() {
                        "the same"
                    } else {
                        "a part of it"
                    }
                ),
                "keep one of the two",
            );
            return None;
        }
    }
    let count = axes
        .iter()
        .try_fold(1_usize, |count, axis| count.checked_mul(axis.values.len()));
    if count.is_none_or(|count| count > MOST_POINTS) {
        value.refuse(
            format!("the grid has more than {MOST_POINTS} points"),
            "list fewer keys or values: every combination is run",
        );
        return None;
    }
    Some(axes)
}

/// The axes of a table of the grid: a key may be dotted in quotes, `"a.b" = [1]`, or as TOML has it, `a.b = [1]`.
fn gather(value: &Value<'_>, path: &[String], key: &[Part], axes: &mut Vec<Axis>) -> Option<()> {
    for (name, place, value) in value.table()?.named(HINT) {
        let path = [path, &[name.to_owned()]].concat();
        let mut key = key.to_vec();
        key.extend(name.split('.').map(|part| Part {
            name: part.trim().to_owned(),
            place: place.clone(),
        }));
        if value.is_table() {
            gather(&value, &path, &key, axes)?;
        } else {
            axes.push(axis(&value, place, path, key)?);
        }
    }
    Some(())
}

fn axis(value: &Value<'_>, place: Range<usize>, path: Vec<String>, key: Vec<Part>) -> Option<Axis> {
    let names: Vec<&str> = key.iter().map(|part| part.name.as_str()).collect();
    let dotted = names.join(".");
    let refused = match names[..] {
        ["name"] => Some("every point has a name of its own, which is made of the run file's: remove it from [grid]"),
        ["seeds"] => Some("every point is run with every seed: write seeds = [0, 1] above [grid]"),
        _ if names.contains(&"") => Some("a key is written as in \"steps.revisit.epochs\""),
        _ => None,
    };
    if let Some(help) = refused {
        value.refuse_at(place, format!("{} is no key for a grid", quoted(&dotted)), help);
        return None;
    }
    let items = value.unread();
    if items.is_empty() {
        let expected = if value.is_list() {
            "a list of at least one value"
        } else {
            "a list of values"
        };
        let quote = if names.len() > 1 { "\"" } else { "" };
        value.expect_as(
            expected,
            &format!("{quote}{dotted}{quote} = [..], with the values to run"),
        );
        return None;
    }
    let values: Vec<String> = items.iter().map(|item| written(item.get_ref())).collect();
    for (index, item) in items.iter().enumerate() {
        if values[..index].contains(&values[index]) {
            let message = format!("{} has the value {} twice", quoted(&dotted), values[index]);
            value.refuse_at(item.span(), message, "remove one of the two");
            return None;
        }
    }
    Some(Axis {
        words: items.iter().map(|item| word(item.get_ref())).collect(),
        key,
        path,
        values,
    })
}

/// A place that many bytes later.
fn later(place: &Range<usize>, by: usize) -> Range<usize> {
    place.start + by..place.end + by
}

/// A value, and all that it holds, that many bytes later.
fn moved<'t>(value: &Spanned<DeValue<'t>>, by: usize) -> Spanned<DeValue<'t>> {
    let content = match value.get_ref() {
        DeValue::Array(items) => DeValue::Array(items.iter().map(|item| moved(item, by)).collect()),
        DeValue::Table(entries) => {
            let moved = entries.iter().map(|(key, value)| {
                let key = Spanned::new(later(&key.span(), by), key.get_ref().clone());
                (key, moved(value, by))
            });
            DeValue::Table(moved.collect())
        }
        plain => plain.clone(),
    };
    Spanned::new(later(&value.span(), by), content)
}

/// Gives them the names under which a catalog has them.
fn name_files(value: &mut Spanned<DeValue<'_>>) {
    match value.get_mut() {
        DeValue::String(name) if is_file(name) => *name = SweepFile::catalogued(name).into(),
        DeValue::Array(items) => items.iter_mut().for_each(name_files),
        _ => {}
    }
}

/// Puts a value under a dotted key, in place of what stands there. Tables on the way that are missing are made, with the
/// place of the key: where no run file has them, they are refused there.
fn put<'t>(table: &mut DeTable<'t>, key: &[Part], value: Spanned<DeValue<'t>>, by: usize) {
    let [part, rest @ ..] = key else { return };
    let place = later(&part.place, by);
    let name = Spanned::new(place.clone(), DeString::from(part.name.clone()));
    if rest.is_empty() {
        // The old key would keep its old place.
        table.remove(part.name.as_str());
        table.insert(name, value);
        return;
    }
    let made = || Spanned::new(place.clone(), DeValue::Table(DeTable::new()));
    let there = table.entry(name).or_insert_with(made);
    if !there.get_ref().is_table() {
        *there = made();
    }
    if let DeValue::Table(inner) = there.get_mut() {
        put(inner, rest, value, by);
    }
}
