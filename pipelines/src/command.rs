//! The `fedstill` command: what is asked for, and how it ends. Exit codes: 0 done, 1 failed, 2 a run file or arguments
//! that cannot be used, 130 interrupted.

use crate::cluster::{Config, Watched};
use crate::report::{self, Shown};
use crate::resolve::{Resolved, Unresolved, resolve};
use crate::run::{Ended, run};
use crate::{check, cluster, folder, run_file_report};
use clap::{Parser, Subcommand};
use fedstill_learner::Registry;
use fedstill_schemas::run_file::TEMPLATE;
use fedstill_stages::StageError;
use fedstill_stages::service::Role;
use std::io::{IsTerminal, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tracing_subscriber::filter::LevelFilter;

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
    /// Make the topics of a deployment, or mend those that are there
    #[command(subcommand)]
    Topics(Topics),
    /// Work on stages of a deployment until stopped
    Worker {
        #[command(flatten)]
        deployment: OfDeployment,
        /// Stages, with commas: plan, advance, pretrain, train, predict, aggregate, join, distill, evaluate, archive
        #[arg(long, value_delimiter = ',', default_value = "all")]
        stages: Vec<String>,
        #[command(flatten)]
        serving: Serving,
    },
    /// Take part in a deployment with data of one's own
    #[command(subcommand)]
    Party(Party),
    /// Start the runs of a run file on a deployment, or take them up again
    Submit {
        /// The run file
        file: PathBuf,
        /// Only print the triggers, a line each, to be written to the topic fedstill.rounds with any Kafka tool
        #[arg(long)]
        print: bool,
        #[command(flatten)]
        deployment: OfDeployment,
    },
    /// Say what happens to a run of a deployment until it ends
    Watch {
        /// The run's id, as `fedstill submit` says it
        run: String,
        #[command(flatten)]
        deployment: OfDeployment,
    },
    /// Delete what a run that has ended has put into the stores, but for its result tables
    Prune {
        /// The run's id
        run: String,
        #[command(flatten)]
        deployment: OfDeployment,
    },
    /// End a run of a deployment
    Stop {
        /// The run's id
        run: String,
        #[command(flatten)]
        deployment: OfDeployment,
    },
}

/// What is done about topics.
#[derive(Subcommand, Debug)]
enum Topics {
    /// Make what is not there, extend what has too few partitions, mend what is configured otherwise
    Create {
        #[command(flatten)]
        deployment: OfDeployment,
    },
}

/// What a party does.
#[derive(Subcommand, Debug)]
enum Party {
    /// Make a key and a documented party.toml; print what the operator needs
    Init {
        /// The party's id
        id: String,
        /// Where to write both files
        #[arg(default_value = ".")]
        folder: PathBuf,
    },
    /// Work for a party until stopped
    Run {
        /// The party's file
        #[arg(default_value = "party.toml")]
        file: PathBuf,
        #[command(flatten)]
        serving: Serving,
    },
}

/// How a process works until it is stopped.
#[derive(clap::Args, Debug)]
struct Serving {
    /// Tasks at once [default: the processors that there are]
    #[arg(long)]
    jobs: Option<NonZeroUsize>,
    /// Answer /healthz and /readyz on this address, as 0.0.0.0:8080
    #[arg(long)]
    health: Option<String>,
    /// Seconds that tasks may go on after it was asked to stop
    #[arg(long, default_value_t = 25)]
    grace: u64,
}

impl Serving {
    fn options(self, roles: Vec<Role>) -> cluster::Options {
        cluster::Options {
            roles,
            threads: self.jobs.map_or_else(processors, NonZeroUsize::get),
            health: self.health,
            grace: Duration::from_secs(self.grace),
        }
    }
}

/// Where a deployment is.
#[derive(clap::Args, Debug)]
struct OfDeployment {
    /// A file with [log] and [store]; FEDSTILL_LOG_BROKERS, FEDSTILL_STORE_URL and others replace what it says
    #[arg(long)]
    config: Option<PathBuf>,
}

/// Runs the command of this process's arguments.
pub fn main() -> ExitCode {
    let command = Arguments::parse().command;
    log(matches!(
        command,
        Command::Worker { .. } | Command::Party(Party::Run { .. })
    ));
    let registry = Registry::default();
    match command {
        Command::Init { file } => init(&file),
        Command::Check { file } => with_file(&file, &registry, |resolved| {
            print(&check::plan(&resolved, &registry));
            ExitCode::SUCCESS
        }),
        Command::Run { file, out, threads } => with_file(&file, &registry, |resolved| {
            let threads = threads.map_or_else(processors, NonZeroUsize::get);
            start(&resolved, &out, threads)
        }),
        Command::Report { file, out } => with_file(&file, &registry, |resolved| show(&resolved, &out)),
        Command::Topics(Topics::Create { deployment }) => {
            with_config(&deployment, |config| said(cluster::create(config)))
        }
        Command::Worker {
            deployment,
            stages,
            serving,
        } => {
            let roles: Result<Vec<Role>, String> = match &stages[..] {
                [all] if all == "all" => Ok(Role::all().collect()),
                some => some.iter().map(|name| name.parse()).collect(),
            };
            let roles = match roles {
                Ok(roles) => roles,
                Err(why) => return unusable(&why),
            };
            let options = serving.options(roles);
            with_config(&deployment, |config| {
                let asked = asked_to_stop();
                served(cluster::serve(config, options, &|| asked.load(Ordering::Relaxed)))
            })
        }
        Command::Party(Party::Init { id, folder }) => match cluster::init_party(&folder, &id) {
            Ok(text) => {
                print(&text);
                ExitCode::SUCCESS
            }
            Err(why) => unusable(&why),
        },
        Command::Party(Party::Run { file, serving }) => {
            let asked = asked_to_stop();
            let options = serving.options(Vec::new());
            served(cluster::serve_party(&file, options, &|| asked.load(Ordering::Relaxed)))
        }
        Command::Submit {
            file,
            print: only,
            deployment,
        } => with_file(&file, &registry, |resolved| {
            let own = || Config::over(resolved.file.deployment.clone());
            let config = deployment
                .config
                .as_deref()
                .map_or_else(own, |file| Config::load(Some(file)));
            match config {
                Ok(config) if only => said(cluster::triggers(&config, &resolved)),
                Ok(config) => said(cluster::submit(&config, &file, &resolved)),
                Err(why) => unusable(&why),
            }
        }),
        Command::Watch { run, deployment } => with_config(&deployment, |config| {
            let asked = asked_to_stop();
            let say = |line: &str| print(&format!("{line}\n"));
            match cluster::watch(config, &run, &|| asked.load(Ordering::Relaxed), &say) {
                Ok(Watched::Finished) => ExitCode::SUCCESS,
                Ok(Watched::Ended) => ExitCode::from(FAILED),
                Ok(Watched::Interrupted) => ExitCode::from(INTERRUPTED),
                Err(error) => failed(&error),
            }
        }),
        Command::Prune { run, deployment } => with_config(&deployment, |config| said(cluster::prune(config, &run))),
        Command::Stop { run, deployment } => with_config(&deployment, |config| said(cluster::stop(config, &run))),
    }
}

/// Lines about what goes wrong and is tried again: beside the progress of a command, all that a worker says, as JSON
/// where no person reads it.
fn log(worker: bool) {
    let lines = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_target(false);
    if !worker {
        lines.with_max_level(LevelFilter::WARN).without_time().init();
    } else if std::io::stderr().is_terminal() {
        lines.with_max_level(LevelFilter::INFO).init();
    } else {
        lines
            .with_max_level(LevelFilter::INFO)
            .json()
            .flatten_event(true)
            .init();
    }
}

fn served(ended: Result<(), StageError>) -> ExitCode {
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "cannot go on");
            ExitCode::from(FAILED)
        }
    }
}

fn with_config(deployment: &OfDeployment, then: impl FnOnce(&Config) -> ExitCode) -> ExitCode {
    match Config::load(deployment.config.as_deref()) {
        Ok(config) => then(&config),
        Err(why) => unusable(&why),
    }
}

fn said(outcome: Result<String, StageError>) -> ExitCode {
    match outcome {
        Ok(text) => {
            print(&text);
            ExitCode::SUCCESS
        }
        Err(error) => failed(&error),
    }
}

fn failed(error: &StageError) -> ExitCode {
    complain(&error.to_string());
    ExitCode::from(FAILED)
}

fn unusable(why: &str) -> ExitCode {
    complain(why);
    ExitCode::from(UNUSABLE)
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, NonZeroUsize::get)
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

/// Turns true at the first signal to stop; a second one ends the process at once: nothing is lost either way.
fn asked_to_stop() -> Arc<AtomicBool> {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        let armed =
            signal_hook::flag::register_conditional_shutdown(signal, i32::from(INTERRUPTED), Arc::clone(&interrupted))
                .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&interrupted)));
        if let Err(error) = armed {
            complain(&format!(
                "cannot handle signals ({error}): Ctrl-C will end the process at once"
            ));
        }
    }
    interrupted
}

fn start(resolved: &Resolved, out: &Path, threads: usize) -> ExitCode {
    if resolved.jobs.iter().any(|job| job.resolved.is_placed()) {
        return unusable(
            "the parties of this file run their own workers: `fedstill submit` starts it; a run on one machine has \
             simulated parties, [parties] instead of [[party]]",
        );
    }
    let interrupted = asked_to_stop();
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
