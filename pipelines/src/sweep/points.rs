//! From a sweep file to the points of its grid, each resolved as its run file would be.
//!
//! In: the path of a sweep file. Out: every point with its runs, or every problem, once: at its place in the sweep file or
//! the run file, with the point that has it where others have it not. Nothing is written.

use crate::estimate::counted;
use crate::pipeline_files::Pipelines;
use crate::resolve::{Opened, Resolved, Unresolved, with_data};
use fedstill_learner::Registry;
use fedstill_schemas::run_file::{self, Origin, Problem, SweepFile};
use std::path::{Path, PathBuf};

/// A point with its runs.
#[derive(Debug)]
pub(crate) struct Point {
    /// Keys and values, for people; empty where there is no grid.
    pub(crate) values: String,
    /// The run file at this point, with its data.
    pub(crate) resolved: Resolved,
}

/// Why a sweep file cannot be used.
#[derive(Debug)]
pub(crate) enum Unusable {
    /// The file cannot be read.
    Unreadable(std::io::Error),
    /// There are mistakes in these files.
    Problems(Vec<Wrong>),
}

/// A file with mistakes.
#[derive(Debug)]
pub(crate) struct Wrong {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
    pub(crate) problems: Vec<Problem>,
}

/// Reads a sweep file and all that it names.
///
/// # Errors
/// Files that cannot be read, and mistakes in them.
pub(crate) fn points(path: &Path, registry: &Registry) -> Result<Vec<Point>, Unusable> {
    let text = std::fs::read_to_string(path).map_err(Unusable::Unreadable)?;
    let wrong = |problems| Wrong {
        path: path.to_owned(),
        text: text.clone(),
        problems,
    };
    if let Some(problem) = SweepFile::mistaken(&text, &path.display().to_string()) {
        return Err(Unusable::Problems(vec![wrong(vec![problem])]));
    }
    let sweep = SweepFile::parse(&text).map_err(|problems| Unusable::Problems(vec![wrong(problems)]))?;
    let run_path = path.parent().unwrap_or(Path::new("")).join(&sweep.run);
    let run = std::fs::read_to_string(&run_path).map_err(|error| {
        let message = format!("the run file {} cannot be read: {error}", run_path.display());
        let problem = sweep.complain_of_run(message, "name a run file, relative to this file");
        Unusable::Problems(vec![wrong(vec![problem])])
    })?;
    if let Some(problem) = sweep.mistaken_run(&run) {
        return Err(Unusable::Problems(vec![wrong(vec![problem])]));
    }
    let folder = run_path.parent().unwrap_or(Path::new(""));
    let unusable = |unresolved: Unresolved| match unresolved {
        Unresolved::Unreadable(_, error) => Unusable::Unreadable(error),
        Unresolved::Problems(path, text, problems) => Unusable::Problems(vec![Wrong { path, text, problems }]),
    };
    let beside = path.parent().unwrap_or(Path::new(""));
    let pipelines = Pipelines::load_with_grid(&run, folder, &sweep, beside).map_err(unusable)?;
    let families = registry.families();
    let catalog = pipelines.catalog(&families);
    let mut data = Opened::default();
    let all = sweep.points();
    let mut points = Vec::new();
    let mut found = Vec::new();
    for (index, point) in all.iter().enumerate() {
        let file = sweep.at(point, &run, &catalog);
        match file.and_then(|file| with_data(file, folder, &pipelines.all, registry, &mut data)) {
            Ok(resolved) => points.push(Point {
                values: point.to_string(),
                resolved,
            }),
            Err(problems) => found.extend(problems.into_iter().map(|problem| {
                let (origin, problem) = sweep.place(&run, problem);
                Found {
                    origin,
                    problem,
                    points: vec![index],
                }
            })),
        }
    }
    if found.is_empty() {
        return Ok(points);
    }
    let (of_run, of_sweep): (Vec<_>, Vec<_>) = told(found, &all)
        .into_iter()
        .partition(|(origin, _)| *origin == Origin::RunFile);
    let problems = |told: Vec<(Origin, Problem)>| told.into_iter().map(|(_, problem)| problem).collect::<Vec<_>>();
    let mut files = vec![
        Wrong {
            problems: problems(of_run),
            path: run_path.clone(),
            text: run.clone(),
        },
        wrong(problems(of_sweep)),
    ];
    files.retain(|file| !file.problems.is_empty());
    Err(Unusable::Problems(files))
}

/// A problem, and the points that have it, by their indices.
#[derive(Debug)]
struct Found {
    origin: Origin,
    problem: Problem,
    points: Vec<usize>,
}

/// Every problem once, in the order of the files; what not all points have says which one does.
fn told(found: Vec<Found>, all: &[run_file::Point]) -> Vec<(Origin, Problem)> {
    let mut distinct: Vec<Found> = Vec::new();
    for one in found {
        let same = |other: &&mut Found| other.origin == one.origin && other.problem == one.problem;
        match distinct.iter_mut().find(same) {
            Some(same) => same.points.extend(one.points),
            None => distinct.push(one),
        }
    }
    distinct.sort_by_key(|one| (one.origin, one.problem.span.start));
    let tell = |one: Found| {
        let mut problem = one.problem;
        if one.points.len() < all.len() {
            let others = match one.points.len() - 1 {
                0 => String::new(),
                more => format!(" and {}", counted(more, "other")),
            };
            problem.message = format!("{}, at the point {}{others}", problem.message, all[one.points[0]]);
        }
        (one.origin, problem)
    };
    distinct.into_iter().map(tell).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(message: &str, at: usize, point: usize) -> Found {
        Found {
            origin: Origin::SweepFile,
            problem: Problem {
                message: message.to_owned(),
                help: None,
                span: at..at + 1,
                line: 1,
                column: 1,
            },
            points: vec![point],
        }
    }

    #[test]
    fn a_problem_is_told_once_and_names_the_point_that_has_it_where_not_all_do() {
        let sweep = SweepFile::parse("run = \"a\"\n[grid]\nrounds = [1, 2, 3]").unwrap();
        let all = sweep.points();
        let every = |index| found("of all", 9, index);
        let found = vec![
            every(0),
            found("of one", 5, 1),
            every(1),
            found("of two", 7, 1),
            found("of two", 7, 2),
            every(2),
        ];
        let messages: Vec<String> = told(found, &all)
            .into_iter()
            .map(|(_, problem)| problem.message)
            .collect();
        assert_eq!(
            messages,
            [
                "of one, at the point rounds = 2",
                "of two, at the point rounds = 2 and 1 other",
                "of all",
            ]
        );
    }
}
