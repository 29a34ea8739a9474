//! The sweep file: seeds, and a grid of settings, over a run file.
//!
//! In: the text of a TOML file. Out: a [`SweepFile`], or every [`Problem`] found. Its [`Point`]s are the combinations of the
//! grid's values; each makes a [`RunFile`] of a run file's text, as if its values stood there. Nothing is read from disk.
//!
//! ```text
//! sweep file ──> grid ──> points ──┐
//! run file ──> tables with places ─┴──> the same tables with a point's values ──> RunFile, or problems
//! ```
//! A value keeps the place that it has in the sweep file: places count the bytes of both texts as of one, the run file's
//! first, and [`SweepFile::place`] says in which of the two a problem is, and where there.

use super::fields::{self, seeds};
use super::grid::{Axis, GRID, grid};
use super::pipeline_file::{files_under, is_file};
use super::places::Places;
use super::point_name::{full, joined, labels, mark};
use super::problem::{self, Problem};
use super::reader::{Notes, Table};
use super::{Catalog, RunFile, beside};
use crate::pipeline::Pipeline;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use toml::de::{DeTable, DeValue};

/// A sweep file that was found valid.
#[derive(Clone, Debug)]
pub struct SweepFile {
    /// The run file, as written: relative to this file.
    pub run: String,
    /// Seeds of every point, in place of the run file's; those of the run file where `None`.
    pub seeds: Option<Vec<u64>>,
    text: String,
    axes: Vec<Axis>,
    places: Places,
}

/// One combination of a grid's values. Displayed as `data.partition.alpha = 0.1, rounds = 5`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    /// Keys of the run file and the values that they have at this point, in the order of the keys.
    pub values: Vec<(String, String)>,
    /// Of each axis, which value.
    choice: Vec<usize>,
    /// What it adds to the run file's name.
    name: String,
}

/// In which file a problem of a point is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// In the run file.
    RunFile,
    /// In the sweep file.
    SweepFile,
}

impl SweepFile {
    /// Reads and checks a sweep file.
    ///
    /// # Errors
    /// The problems found, in the order of the text; at least one.
    pub fn parse(text: &str) -> Result<Self, Vec<Problem>> {
        let document = DeTable::parse(text).map_err(|error| vec![problem::of_syntax(text, &error)])?;
        let notes = Notes::new(text);
        let mut top = Table::top(document.get_ref(), &notes);
        let run = top.required("run", "run = \"run.toml\"", |value| {
            value.text("the path of a run file").map(str::to_owned)
        });
        let seeds = top.optional("seeds", "seeds = [0, 1, 2]", seeds);
        let axes = top.optional(GRID, "a table [grid] with lists of values", grid);
        top.finish();
        let places = notes.places();
        match (run, notes.into_problems()) {
            (Some(run), problems) if problems.is_empty() => Ok(Self {
                run,
                seeds,
                text: text.to_owned(),
                axes: axes.unwrap_or_default(),
                places,
            }),
            (_, problems) => Err(problems),
        }
    }

    /// The files of pipelines that the grid names, as it writes their paths: relative to this file.
    pub fn pipeline_files(&self) -> BTreeSet<String> {
        let mut files = BTreeSet::new();
        if let Ok(grid) = DeTable::parse(&self.text) {
            for axis in self.axes.iter().filter(|axis| axis.is_of_pipelines()) {
                let values = (0..axis.values.len()).filter_map(|index| axis.value(grid.get_ref(), index));
                values.for_each(|value| gather_files(value.get_ref(), &mut files));
            }
        }
        files
    }

    /// The files of pipelines that a run file names and some point reads: not those in whose place the grid puts others.
    pub fn kept_pipeline_files(&self, run: &str) -> BTreeSet<String> {
        files_under(run, |key| !self.axes.iter().any(|axis| axis.parts() == [key]))
    }

    /// What a [`Catalog`] calls a file that the grid names: a path in the run file may be written alike and lie elsewhere.
    pub fn catalogued(path: &str) -> String {
        format!("{path} of the sweep file")
    }

    /// Every combination of the grid's values, the last key's changing first; one without values where there is no grid.
    pub fn points(&self) -> Vec<Point> {
        let keys: Vec<Vec<&str>> = self.axes.iter().map(Axis::parts).collect();
        let labels = labels(&keys);
        let mut points: Vec<Point> = self
            .choices()
            .into_iter()
            .map(|choice| self.point(choice, &labels))
            .collect();
        let mut named: BTreeMap<String, usize> = BTreeMap::new();
        for point in &points {
            *named.entry(point.name.clone()).or_default() += 1;
        }
        // Values that read alike in a name, as 'a_b' and 'a-b', are told apart.
        for point in points.iter_mut().filter(|point| named[&point.name] > 1) {
            point.name = format!("{}-{}", point.name, mark(&point.values));
        }
        points
    }

    fn choices(&self) -> Vec<Vec<usize>> {
        self.axes.iter().fold(vec![Vec::new()], |choices, axis| {
            let with = |chosen: &Vec<usize>| {
                let chosen = chosen.clone();
                (0..axis.values.len()).map(move |index| [&chosen[..], &[index]].concat())
            };
            choices.iter().flat_map(with).collect()
        })
    }

    fn point(&self, choice: Vec<usize>, labels: &[String]) -> Point {
        let chosen = || self.axes.iter().zip(&choice);
        let words = chosen().zip(labels);
        let words = words.map(|((axis, index), label)| joined(label, &axis.words[*index]));
        Point {
            values: chosen()
                .map(|(axis, index)| (axis.parts().join("."), axis.values[*index].clone()))
                .collect(),
            name: words.collect::<Vec<_>>().join("-"),
            choice,
        }
    }

    /// The run file at a point: the text of the sweep's run file with the point's values, this file's seeds, and the
    /// point's name.
    ///
    /// # Errors
    /// The problems found, for [`SweepFile::place`]; at least one. Where the grid names pipelines that there are not, these of
    /// all points and no others.
    pub fn at(&self, point: &Point, run: &str, catalog: &Catalog<'_>) -> Result<RunFile, Vec<Problem>> {
        let grid = DeTable::parse(&self.text).map_err(|error| vec![problem::of_syntax(&self.text, &error)])?;
        let document = DeTable::parse(run).map_err(|error| vec![problem::of_syntax(run, &error)])?;
        let mut document = document.into_inner();
        let unknown = self.unknown_pipelines(grid.get_ref(), run, catalog);
        if !unknown.is_empty() {
            return Err(unknown);
        }
        let elsewhere = self.pipelines(grid.get_ref(), &document, catalog);
        let behind = behind(run);
        for (axis, index) in self.axes.iter().zip(&point.choice) {
            axis.put(&mut document, grid.get_ref(), *index, behind);
        }
        let mut file = RunFile::of(&document, &format!("{run}\n{}", self.text), catalog, &elsewhere)?;
        file.name = point.name(&file.name);
        if let Some(seeds) = &self.seeds {
            file.seeds.clone_from(seeds);
        }
        Ok(file)
    }

    /// What is wrong with the names of pipelines in the grid. With one that is unknown nobody knows of which pipelines the run
    /// file's settings are, at any point: it would be told of mistakes that are none.
    fn unknown_pipelines(&self, grid: &DeTable<'_>, run: &str, catalog: &Catalog<'_>) -> Vec<Problem> {
        let text = format!("{run}\n{}", self.text);
        let notes = Notes::new(&text);
        for axis in self.axes.iter().filter(|axis| axis.is_of_pipelines()) {
            for index in 0..axis.values.len() {
                let mut document = DeTable::new();
                axis.put(&mut document, grid, index, behind(run));
                fields::pipeline_names(&document, &notes, catalog);
            }
        }
        notes.into_problems()
    }

    /// The pipelines of all points, where the grid names some: what the run file says about a step of one of them is no mistake
    /// at a point that runs others. Names of the run file that are none are left out: the points that have them say so.
    fn pipelines(&self, grid: &DeTable<'_>, run: &DeTable<'_>, catalog: &Catalog<'_>) -> Vec<Pipeline> {
        if !self.axes.iter().any(Axis::is_of_pipelines) {
            return Vec::new();
        }
        let called = |key: &str| -> Vec<String> {
            let mut names = Vec::new();
            match self.axes.iter().find(|axis| axis.parts() == [key]) {
                Some(axis) => {
                    let values = (0..axis.values.len()).filter_map(|index| axis.value(grid, index));
                    values.for_each(|value| gather_names(value.get_ref(), &mut names));
                    for name in names.iter_mut().filter(|name| is_file(name)) {
                        *name = Self::catalogued(name);
                    }
                }
                None => {
                    if let Some(value) = run.get(key) {
                        gather_names(value.get_ref(), &mut names);
                    }
                }
            }
            let of_file = |name: String| match catalog.files.get(&name) {
                Some(Ok(pipeline)) => pipeline.clone(),
                _ => name,
            };
            names.into_iter().map(of_file).collect()
        };
        let baselines = called("baselines");
        let own = called("pipeline");
        let own = own.iter().filter_map(|name| catalog.pipeline(name));
        own.flat_map(|own| beside(own, &baselines, catalog.pipelines)).collect()
    }

    /// In which of the two files a problem of a point is, and where there; `run` is the run file's text.
    pub fn place(&self, run: &str, problem: Problem) -> (Origin, Problem) {
        let behind = behind(run);
        let Some(start) = problem.span.start.checked_sub(behind) else {
            return (Origin::RunFile, problem);
        };
        let end = problem.span.end.saturating_sub(behind).max(start);
        let problem = self.places.problem(start..end, problem.message, problem.help);
        (Origin::SweepFile, problem)
    }

    /// A problem with the run file that this file names.
    pub fn complain_of_run(&self, message: impl Into<String>, help: impl Into<String>) -> Problem {
        self.places
            .problem(self.places.of("run"), message.into(), Some(help.into()))
    }
}

impl Point {
    /// Its name, for a run file with that name.
    pub fn name(&self, base: &str) -> String {
        full(base, &self.name, &mark(&self.values))
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values: Vec<String> = self
            .values
            .iter()
            .map(|(key, value)| format!("{key} = {value}"))
            .collect();
        f.write_str(&values.join(", "))
    }
}

/// Where the sweep file's text begins behind a run file's.
fn behind(run: &str) -> usize {
    run.len() + 1
}

/// The paths of files among the names of pipelines in a value.
fn gather_files(value: &DeValue<'_>, files: &mut BTreeSet<String>) {
    match value {
        DeValue::String(name) if is_file(name) => {
            files.insert(name.to_string());
        }
        DeValue::Array(items) => items.iter().for_each(|item| gather_files(item.get_ref(), files)),
        _ => {}
    }
}

/// The names of pipelines in a value.
fn gather_names(value: &DeValue<'_>, names: &mut Vec<String>) {
    match value {
        DeValue::String(name) => names.push(name.to_string()),
        DeValue::Array(items) => items.iter().for_each(|item| gather_names(item.get_ref(), names)),
        _ => {}
    }
}
