//! `fedstill report`, and what `fedstill run` ends with: prints the tables, writes the pictures, says where all of it is.

use super::{FAILED, complain, out_option, print};
use crate::reached::Shown;
use crate::resolve::Resolved;
use crate::{folder, report, run_file_report};
use fedstill_schemas::resolved::ResolvedRun;
use fedstill_schemas::run_file::shell_word;
use fedstill_stages::StageError;
use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;

/// Prints the results of a run file's runs and where they are, and writes the pictures.
pub(super) fn show(resolved: &Resolved, out: &Path) -> ExitCode {
    let runs: Vec<Shown> = resolved
        .jobs
        .iter()
        .map(|job| Shown::of(job, resolved.file.rounds))
        .collect();
    let results = folder::results(out);
    for job in &resolved.jobs {
        let same = folder::kept(out, &job.id).map_or(Ok(()), |there| {
            is_asked_for(out, &job.id, &there.resolved, &job.resolved)
        });
        let usable = same.and_then(|()| folder::finished(out, job, resolved.file.rounds));
        if let Err(error) = usable {
            complain(&error.to_string());
            return ExitCode::from(FAILED);
        }
    }
    let summary = match report::load(&results, &runs) {
        Ok(summary) if summary.is_empty() => {
            complain(&format!(
                "there are no results of {} in {}: `fedstill run` makes them",
                resolved.file.name,
                out.display()
            ));
            return ExitCode::from(FAILED);
        }
        Ok(summary) => summary,
        Err(error) => {
            complain(&error.to_string());
            return ExitCode::from(FAILED);
        }
    };
    let terminal = std::io::stdout().is_terminal();
    let colours = terminal && run_file_report::colours_wanted();
    print(&summary.text(80, colours));
    let pictures = [
        ("\nchart   ", "", Some(summary.svg())),
        (
            "division",
            "-division",
            report::divided(resolved).map(|divided| divided.svg()),
        ),
    ];
    for (what, end, picture) in pictures {
        let svg = out.join(format!("{}{end}.svg", resolved.file.name));
        match picture.map(|picture| std::fs::write(&svg, picture)) {
            Some(Ok(())) => print(&format!("{what} {}\n", svg.display())),
            Some(Err(error)) => complain(&format!("cannot write {}: {error}", svg.display())),
            None => {}
        }
    }
    for numerics in summary.numerics() {
        print(&format!("numerics {numerics}\n"));
    }
    print(&format!("results  {}\n", tables(&results)));
    print(&format!(
        "query    duckdb -c {}\n",
        shell_word(&query(&results, &runs, summary.test_set(), &summary.steps()))
    ));
    ExitCode::SUCCESS
}

/// Whether the run that is there is the one that is asked for. Nobody who reads results is told to delete them.
///
/// # Errors
/// It has other settings: which, and what to do.
pub(super) fn is_asked_for(out: &Path, run: &str, there: &ResolvedRun, asked: &ResolvedRun) -> Result<(), StageError> {
    let fix = format!(
        "choose another name in the run file or another --out, or compare what is there by its name: \
         `fedstill compare {run}{}`",
        out_option(out)
    );
    folder::checked(out, run, there, asked, &fix)
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
