//! The `fedstill` command: what is asked for, and how it ends. Exit codes: 0 done, 1 failed, 2 a run file or arguments
//! that cannot be used, 130 interrupted.

use crate::report::{self, Shown};
use crate::resolve::{Resolved, Unresolved, resolve};
use crate::run::{Ended, run};
use crate::{check, folder, run_file_report};
use clap::{Parser, Subcommand};
use fedstill_learner::Registry;
use fedstill_schemas::run_file::TEMPLATE;
use std::io::{IsTerminal, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const FAILED: u8 = 1;
const UNUSABLE: u8 = 2;
const INTERRUPTED: u8 = 130;

/// Federated learning by knowledge distillation, as a dataflow on message queues.
#[derive(Parser, Debug)]
#[command(name = "fedstill", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Write a documented run file to start from
    Init {
        /// Where to write it
        #[arg(default_value = "run.toml")]
        file: PathBuf,
    },
    /// Say what a run file would do: steps, who runs them, what leaves whom, bytes, memory; start nothing
    Check {
        /// The run file
        file: PathBuf,
    },
    /// Run a run file to its end; go on where it was interrupted; show it when finished
    Run {
        /// The run file
        file: PathBuf,
        /// Folder of runs and results
        #[arg(long, default_value = "runs")]
        out: PathBuf,
        /// Compute threads [default: the processors that there are]
        #[arg(long)]
        threads: Option<NonZeroUsize>,
    },
    /// Show the results of a run file's runs
    Report {
        /// The run file
        file: PathBuf,
        /// Folder of runs and results
        #[arg(long, default_value = "runs")]
        out: PathBuf,
    },
}

/// Runs the command of this process's arguments.
pub fn main() -> ExitCode {
    // What goes wrong and is tried again, as plain lines beside the progress.
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::WARN)
        .with_writer(std::io::stderr)
        .with_target(false)
        .without_time()
        .init();
    let registry = Registry::default();
    match Arguments::parse().command {
        Command::Init { file } => init(&file),
        Command::Check { file } => with_file(&file, &registry, |resolved| {
            print(&check::plan(&resolved, &registry));
            ExitCode::SUCCESS
        }),
        Command::Run { file, out, threads } => with_file(&file, &registry, |resolved| {
            let available = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
            let threads = threads.map_or_else(available, NonZeroUsize::get);
            start(&resolved, &out, threads)
        }),
        Command::Report { file, out } => with_file(&file, &registry, |resolved| show(&resolved, &out)),
    }
}

fn with_file(path: &Path, registry: &Registry, then: impl FnOnce(Resolved) -> ExitCode) -> ExitCode {
    match resolve(path, registry) {
        Ok(resolved) => then(resolved),
        Err(Unresolved::Unreadable(path, error)) => {
            complain(&format!(
                "cannot read {}: {error}; `fedstill init` writes a run file to start from",
                path.display()
            ));
            ExitCode::from(UNUSABLE)
        }
        Err(Unresolved::Problems(text, problems)) => {
            let shown = run_file_report::render(path, &text, &problems, run_file_report::colours());
            let _ = std::io::stderr().write_all(shown.as_bytes());
            ExitCode::from(UNUSABLE)
        }
    }
}

fn init(path: &Path) -> ExitCode {
    let written = std::fs::File::create_new(path).and_then(|mut file| file.write_all(TEMPLATE.as_bytes()));
    match written {
        Ok(()) => {
            let path = path.display();
            print(&format!(
                "wrote {path}: name your data in it, then `fedstill check {path}` and `fedstill run {path}`\n"
            ));
            ExitCode::SUCCESS
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            complain(&format!(
                "{} exists: choose another name; nothing was written",
                path.display()
            ));
            ExitCode::from(FAILED)
        }
        Err(error) => {
            complain(&format!("cannot write {}: {error}", path.display()));
            ExitCode::from(FAILED)
        }
    }
}

fn start(resolved: &Resolved, out: &Path, threads: usize) -> ExitCode {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        // The first signal asks, a second one ends the process at once: nothing is lost either way.
        let armed =
            signal_hook::flag::register_conditional_shutdown(signal, i32::from(INTERRUPTED), Arc::clone(&interrupted))
                .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&interrupted)));
        if let Err(error) = armed {
            complain(&format!(
                "cannot handle signals ({error}): Ctrl-C will end the process at once"
            ));
        }
    }
    match run(resolved, Registry::default(), out, threads, &|| {
        interrupted.load(Ordering::Relaxed)
    }) {
        Ok(Ended::Finished) => show(resolved, out),
        Ok(Ended::Interrupted) => {
            eprintln!("stopped; the same command goes on where it was");
            ExitCode::from(INTERRUPTED)
        }
        Ok(Ended::Failed(reason)) => {
            complain(&reason);
            eprintln!(
                "the same command tries the round again, three times at most in all; after that use another name"
            );
            ExitCode::from(FAILED)
        }
        Err(error) => {
            complain(&error.to_string());
            ExitCode::from(FAILED)
        }
    }
}

fn show(resolved: &Resolved, out: &Path) -> ExitCode {
    let runs: Vec<Shown> = resolved
        .jobs
        .iter()
        .map(|job| Shown {
            run: job.id.clone(),
            pipeline: job.resolved.pipeline.name.clone(),
            seed: job.resolved.seed,
            rounds: resolved.file.rounds,
        })
        .collect();
    let results = folder::results(out);
    for job in &resolved.jobs {
        if let Err(error) = folder::finished(out, job, resolved.file.rounds) {
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
    let svg = out.join(format!("{}.svg", resolved.file.name));
    match std::fs::write(&svg, summary.svg()) {
        Ok(()) => print(&format!("\nchart    {}\n", svg.display())),
        Err(error) => complain(&format!("cannot write {}: {error}", svg.display())),
    }
    for numerics in summary.numerics() {
        print(&format!("numerics {numerics}\n"));
    }
    print(&format!(
        "results  {}/{{metrics,steps,consensus,rounds}}/run=*/round=*/*.parquet\n",
        results.display()
    ));
    print(&format!(
        "query    duckdb -c {}\n",
        shell_quoted(&query(&results, &runs))
    ));
    ExitCode::SUCCESS
}

/// The mean and the lowest accuracy of each run and round, in DuckDB's SQL.
fn query(results: &Path, runs: &[Shown]) -> String {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
    let files = quoted(&format!("{}/metrics/*/*/*.parquet", results.display()));
    let runs: Vec<String> = runs.iter().map(|shown| quoted(&shown.run)).collect();
    format!(
        "SELECT run, round, avg(accuracy), min(accuracy) FROM read_parquet({files}, hive_partitioning = true) WHERE run IN ({}) GROUP BY ALL ORDER BY ALL",
        runs.join(", ")
    )
}

/// One word of a POSIX shell.
fn shell_quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        if matches!(c, '"' | '\\' | '$' | '`') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('"');
    quoted
}

fn print(text: &str) {
    // A reader that went away is no failure of ours.
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn complain(message: &str) {
    let _ = writeln!(std::io::stderr(), "error: {message}");
}
