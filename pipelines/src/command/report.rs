//! `fedstill report`, and what `fedstill run` ends with: prints the tables, writes the pictures, says where all of it is.
//!
//! What is reported is a run file, every point of a sweep file, or the runs of a name that have results. By a name alone
//! nobody knows where the rows are, nor which pipeline the others are compared with: how rows are divided is not drawn then,
//! all pipelines are alike, and their chart has a name of its own, so that the run file's stays.

use super::compare::refused;
use super::{FAILED, complain, print, sweep, with_file};
use crate::compare::named;
use crate::folder::out_option;
use crate::reached::Shown;
use crate::resolve::Resolved;
use crate::sweep::{Point, points};
use crate::{algorithms, folder, report, run_file_report};
use fedstill_learner::Registry;
use fedstill_schemas::run_file::{FileKind, shell_word};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Reports what a person named: a file, or else runs.
pub(super) fn report(asked: &Path, out: &Path, registry: &Registry) -> ExitCode {
    if !is_file(asked) {
        return of_name(&asked.display().to_string(), out);
    }
    if is_sweep(asked) {
        return of_sweep(asked, out, registry);
    }
    with_file(asked, registry, |resolved| {
        ended(&of_file(&resolved, out, "", &maker("run", Some(asked), out)))
    })
}

/// Whether what a person named is a file, and else a name: one that is there is, and one that is not there where it can only
/// be meant as one.
pub(super) fn is_file(asked: &Path) -> bool {
    asked.is_file() || asked.extension().is_some_and(|extension| extension == "toml")
}

/// Whether a file has the keys of a sweep file.
pub(super) fn is_sweep(file: &Path) -> bool {
    std::fs::read_to_string(file).is_ok_and(|text| FileKind::of(&text) == Some(FileKind::Sweep))
}

/// Prints the results of a run file's runs and where they are, and writes the pictures.
pub(super) fn show(resolved: &Resolved, out: &Path) -> ExitCode {
    ended(&of_file(resolved, out, "", &maker("run", None, out)))
}

/// The command that makes results in that folder.
fn maker(command: &str, file: Option<&Path>, out: &Path) -> String {
    let file = file.map_or_else(String::new, |file| {
        format!(" {}", shell_word(&file.display().to_string()))
    });
    format!("`fedstill {command}{file}{}`", out_option(out))
}

/// The same of every point of a sweep file. One that has no results yet, or others, keeps none from being shown.
fn of_sweep(file: &Path, out: &Path, registry: &Registry) -> ExitCode {
    let points = match points(file, registry) {
        Ok(points) => points,
        Err(why) => return sweep::refused(file, why),
    };
    let maker = maker("sweep", Some(file), out);
    let mut code = ExitCode::SUCCESS;
    let mut above = "";
    for Point { values, resolved } in &points {
        let name = &resolved.file.name;
        let colon = if values.is_empty() { "" } else { ": " };
        let told = of_file(resolved, out, &format!("{above}{name}{colon}{values}\n\n"), &maker);
        if told.shown {
            above = "\n";
        }
        for why in &told.wrong {
            complain(why);
            code = ExitCode::from(FAILED);
        }
    }
    code
}

/// The same of the runs of a name that have results, whatever file they are of.
fn of_name(asked: &str, out: &Path) -> ExitCode {
    let mut runs = match named(&folder::results(out), folder::runs_of(out, asked), asked) {
        Ok(runs) => runs,
        Err(why) => return refused(&why),
    };
    for shown in &mut runs {
        let there = folder::kept(out, &shown.run);
        shown.rounds = there.as_ref().and_then(|there| there.rounds);
        shown.done = there.and_then(|there| there.done);
    }
    in_order(&mut runs);
    let shown = tables_and_pictures(asked, &runs, out, "", None, &maker("run", None, out));
    ended(&Told::from(shown))
}

/// Sorts runs, which are in the order of their pipelines' names, as `fedstill pipelines` has those, the others behind them.
fn in_order(runs: &mut [Shown]) {
    runs.sort_by_key(|shown| algorithms::place(&shown.pipeline));
}

/// What became of a report.
struct Told {
    /// Whether anything was shown.
    shown: bool,
    /// Why other runs were not.
    wrong: Vec<String>,
}

impl From<Result<(), String>> for Told {
    fn from(shown: Result<(), String>) -> Self {
        Self {
            shown: shown.is_ok(),
            wrong: shown.err().into_iter().collect(),
        }
    }
}

fn ended(told: &Told) -> ExitCode {
    for why in &told.wrong {
        complain(why);
    }
    if told.wrong.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(FAILED)
    }
}

/// Prints the results of a run file's runs below a heading, and writes the pictures; `maker` is the command that makes
/// results where there are none. Runs with other settings are left out: what is shown is then not the file's, but of runs of
/// its name.
fn of_file(resolved: &Resolved, out: &Path, heading: &str, maker: &str) -> Told {
    let mut runs = Vec::new();
    let mut wrong = Vec::new();
    for job in &resolved.jobs {
        match folder::same(out, job) {
            Ok(()) => runs.push(Shown {
                done: folder::kept(out, &job.id).and_then(|there| there.done),
                ..Shown::of(job, resolved.file.rounds)
            }),
            Err(error) => wrong.push(error.to_string()),
        }
    }
    if runs.is_empty() {
        return Told { shown: false, wrong };
    }
    let whole = wrong.is_empty().then_some(resolved);
    let mut told = Told::from(tables_and_pictures(
        &resolved.file.name,
        &runs,
        out,
        heading,
        whole,
        maker,
    ));
    told.wrong.extend(wrong);
    told
}

fn tables_and_pictures(
    name: &str,
    runs: &[Shown],
    out: &Path,
    heading: &str,
    resolved: Option<&Resolved>,
    maker: &str,
) -> Result<(), String> {
    let results = folder::results(out);
    let summary = report::load(&results, runs).map_err(|error| error.to_string())?;
    if summary.is_empty() {
        let out = out.display();
        return Err(format!("there are no results of {name} in {out}: {maker} makes them"));
    }
    let (summary, chart) = match resolved {
        Some(_) => (summary, name.to_owned()),
        None => (summary.among_equals(), format!("{name}-runs")),
    };
    let terminal = std::io::stdout().is_terminal();
    let colours = terminal && run_file_report::colours_wanted();
    print(&format!("{heading}{}", summary.text(80, colours)));
    if let Some(chart) = picture(out, &chart, &summary.svg()) {
        print(&format!("\nchart    {}\n", chart.display()));
    }
    if let Some(division) = resolved.and_then(|resolved| division(resolved, out)) {
        print(&format!("division {}\n", division.display()));
    }
    for numerics in summary.numerics() {
        print(&format!("numerics {numerics}\n"));
    }
    print(&format!("results  {}\n", tables(&results)));
    print(&format!(
        "query    duckdb -c {}\n",
        shell_word(&query(&results, runs, summary.test_set(), &summary.steps()))
    ));
    Ok(())
}

/// Draws how the private rows of a run file are divided; where the picture is, `None` where there is none to draw, or it
/// cannot be written, which is said.
pub(super) fn division(resolved: &Resolved, out: &Path) -> Option<PathBuf> {
    let drawn = report::divided(resolved)?;
    picture(out, &format!("{}-division", resolved.file.name), &drawn.svg())
}

/// Writes a picture; where it is, `None` where it cannot be written, which is said.
fn picture(out: &Path, name: &str, svg: &str) -> Option<PathBuf> {
    let path = out.join(format!("{name}.svg"));
    match std::fs::write(&path, svg) {
        Ok(()) => Some(path),
        Err(error) => {
            complain(&format!("cannot write {}: {error}", path.display()));
            None
        }
    }
}

/// Where the tables of all runs are.
pub(super) fn tables(results: &Path) -> String {
    format!(
        "{}/{{metrics,steps,consensus,rounds}}/run=*/round=*/*.parquet",
        results.display()
    )
}

/// The mean and the lowest accuracy of each run and round, in DuckDB's SQL: of the models and the test set that the tables
/// above it are of. `steps` are pipelines, each with the step whose scores are its main ones.
fn query(results: &Path, runs: &[Shown], test_set: &str, steps: &[(&str, &str)]) -> String {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
    let files = quoted(&format!("{}/metrics/*/*/*.parquet", results.display()));
    let runs: Vec<String> = runs.iter().map(|shown| quoted(&shown.run)).collect();
    let step = match steps {
        [(_, one), others @ ..] if others.iter().all(|(_, step)| step == one) => format!("step = {}", quoted(one)),
        several => {
            let pairs = several.iter();
            let pairs: Vec<String> = pairs
                .map(|(pipeline, step)| format!("({}, {})", quoted(pipeline), quoted(step)))
                .collect();
            format!("(pipeline, step) IN ({})", pairs.join(", "))
        }
    };
    format!(
        "SELECT run, round, avg(accuracy), min(accuracy) FROM read_parquet({files}, hive_partitioning = true) \
         WHERE test_set = {} AND {step} AND run IN ({}) GROUP BY ALL ORDER BY ALL",
        quoted(test_set),
        runs.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reached::samples::shown;

    #[test]
    fn runs_of_a_name_are_in_the_order_of_the_pipelines_that_ship_and_others_behind_them() {
        let all = ["also_mine", "fedavg", "feddf", "fedmd_standalone", "standalone"];
        let mut runs: Vec<Shown> = all.iter().map(|pipeline| shown(pipeline, 0)).collect();
        in_order(&mut runs);
        let order: Vec<&str> = runs.iter().map(|shown| shown.pipeline.as_str()).collect();
        assert_eq!(
            order,
            ["feddf", "fedavg", "standalone", "also_mine", "fedmd_standalone"]
        );
    }
}
