//! `fedstill compare`: finds the runs, prints the tables, writes the Parquet table and the pictures.

use super::arguments::Comparing;
use super::report::{is_file, is_sweep};
use super::{FAILED, UNUSABLE, complain, failed, print, sweep, unresolved};
use crate::compare::{self, Asked, Comparison, NoComparison};
use crate::figures::Rasteriser;
use crate::reached::Shown;
use crate::resolve::Resolved;
use crate::sweep::{Point, points};
use crate::{folder, resolve, tell};
use fedstill_learner::Registry;
use fedstill_schemas::names;
use fedstill_schemas::resolved::ResolvedRun;
use fedstill_schemas::run_file::{RunFile, shell_word};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

pub(super) fn compare(comparing: Comparing, registry: &Registry) -> ExitCode {
    let results = folder::results(&comparing.out);
    let mut code = ExitCode::SUCCESS;
    let mut runs: Vec<Shown> = Vec::new();
    let mut kept: BTreeMap<String, ResolvedRun> = BTreeMap::new();
    for asked in &comparing.runs {
        let path = Path::new(asked);
        let mut parsed = None;
        // Each with the run that is asked for, where that is known with its data.
        let found: Vec<(Shown, Option<ResolvedRun>)> = if is_file(path) && is_sweep(path) {
            match points(path, registry) {
                Ok(points) => points.iter().flat_map(of_point).collect(),
                Err(why) => return sweep::refused(path, why),
            }
        } else if is_file(path) {
            match resolve::parse(path, registry) {
                Ok(file) => {
                    let shown = of_file(&file.file);
                    parsed = Some(file);
                    shown.into_iter().map(|shown| (shown, None)).collect()
                }
                Err(error) => return unresolved(error),
            }
        } else {
            match compare::named(&results, folder::runs_of(&comparing.out, asked), asked) {
                Ok(found) => found.into_iter().map(|shown| (shown, None)).collect(),
                Err(why) => return refused(&why),
            }
        };
        for (mut shown, wanted) in found {
            if let Some(there) = folder::kept(&comparing.out, &shown.run) {
                let by_file = || parsed.as_ref().and_then(|parsed| parsed.asked_of(&there.resolved));
                let same = wanted.or_else(by_file).map_or(Ok(()), |wanted| {
                    folder::checked(&comparing.out, &shown.run, &there.resolved, &wanted)
                });
                if let Err(error) = same {
                    // The others are compared all the same.
                    code = failed(&error);
                    continue;
                }
                shown.rounds = shown.rounds.or(there.rounds);
                shown.done = there.done;
                kept.insert(shown.run.clone(), there.resolved);
            }
            if !runs.iter().any(|other| other.run == shown.run) {
                runs.push(shown);
            }
        }
    }
    if runs.is_empty() {
        return code;
    }
    let to = comparing.to.unwrap_or_else(|| comparing.out.join("compare"));
    let asked = Asked {
        evaluations: comparing.last.get(),
        target: comparing.target,
        baseline: comparing.baseline,
        test_set: comparing.test_set,
    };
    match compare::load(&results, &runs, &kept, &asked) {
        Ok(comparison) => {
            print(&comparison.text());
            match write(&comparison, &to) {
                Ok(()) => code,
                Err(failed) => failed,
            }
        }
        Err(why) => refused(&why),
    }
}

/// Every pipeline and seed of a sweep's point.
fn of_point(point: &Point) -> Vec<(Shown, Option<ResolvedRun>)> {
    let Resolved { file, jobs, .. } = &point.resolved;
    let shown = jobs.iter();
    shown
        .map(|job| (Shown::of(job, file.rounds), Some(job.resolved.clone())))
        .collect()
}

/// Every pipeline and seed of a run file.
fn of_file(file: &RunFile) -> Vec<Shown> {
    let shown = |pipeline: &str, seed: u64| Shown {
        run: names::run_id(&file.name, pipeline, seed),
        pipeline: pipeline.to_owned(),
        seed,
        rounds: Some(file.rounds),
        done: None,
    };
    let all = file
        .pipelines()
        .flat_map(|pipeline| file.seeds.iter().map(move |seed| shown(pipeline, *seed)));
    all.collect()
}

/// Says why there is no comparison, or no run of a name.
pub(super) fn refused(why: &NoComparison) -> ExitCode {
    let no_file = match why {
        NoComparison::Unknown { .. } => " (there is no file of that name either)",
        _ => "",
    };
    complain(&format!("{why}{no_file}"));
    ExitCode::from(match why {
        NoComparison::Nothing { .. } | NoComparison::Unreadable(_) => FAILED,
        NoComparison::Unknown { .. } | NoComparison::Baseline { .. } | NoComparison::TestSet { .. } => UNUSABLE,
    })
}

/// Writes the table and both pictures into a folder, and says where they are.
fn write(comparison: &Comparison, to: &Path) -> Result<(), ExitCode> {
    let rasteriser = Rasteriser::new();
    let mut files = vec![("compare.parquet".to_owned(), comparison.parquet())];
    for (name, svg) in [
        ("accuracy", comparison.accuracy_picture()),
        ("cost", comparison.cost_picture()),
    ] {
        match rasteriser.png(&svg) {
            Ok(png) => files.push((format!("{name}.png"), png)),
            Err(error) => {
                complain(&format!("cannot draw {name}.png: {error}"));
                return Err(ExitCode::from(FAILED));
            }
        }
        files.push((format!("{name}.svg"), svg.into_bytes()));
    }
    let mut files = files.iter();
    let written = std::fs::create_dir_all(to)
        .and_then(|()| files.try_for_each(|(name, bytes)| std::fs::write(to.join(name), bytes)));
    if let Err(error) = written {
        complain(&format!("cannot write into {}: {error}", to.display()));
        return Err(ExitCode::from(FAILED));
    }
    if !rasteriser.has_font() {
        tell::line(
            "there is no text in the PNG files: this machine has no font; install one (`apt-get install \
             fonts-dejavu-core`), or take the SVG files",
        );
    }
    let to = to.display();
    let query = format!(
        "SELECT name, pipeline, step, measure, value, deviation, seeds FROM '{}/compare.parquet' WHERE round IS NULL",
        to.to_string().replace('\'', "''")
    );
    print(&format!(
        "\npictures {to}/{{accuracy,cost}}.{{svg,png}}\ntable    {to}/compare.parquet\nquery    duckdb -c {}\n",
        shell_word(&query)
    ));
    Ok(())
}
