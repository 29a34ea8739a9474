//! The `fedstill` command: what is asked for, and how it ends. Exit codes: 0 done, 1 failed, 2 a run file or arguments
//! that cannot be used, 130 interrupted.

mod arguments;
mod compare;
mod report;
mod sweep;

use crate::cluster::{Config, Exporters, Watched};
use crate::resolve::{Resolved, Unresolved, resolve};
use crate::run::{Ended, failures, run};
use crate::sweep::Side;
use crate::{algorithms, check, cluster, run_file_report, tell};
use arguments::{Arguments, Command, OfDeployment, Party, Topics};
use clap::Parser;
use fedstill_learner::{Processor, Registry};
use fedstill_schemas::run_file::TEMPLATE;
use fedstill_stages::StageError;
use fedstill_stages::service::Role;
use report::show;
use std::io::{IsTerminal, Write};
use std::num::NonZeroUsize;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

const FAILED: u8 = 1;
const UNUSABLE: u8 = 2;
const INTERRUPTED: u8 = 130;

/// Runs the command of this process's arguments.
pub fn main() -> ExitCode {
    let command = Arguments::parse().command;
    let serves = match &command {
        Command::Worker { stages, .. } => Some(stages.join(",")),
        Command::Party(Party::Run { .. }) => Some("party".to_owned()),
        _ => None,
    };
    let exporters = match &serves {
        Some(stages) => Exporters::from_environment(stages),
        None => Ok(None),
    };
    log(serves.is_some(), exporters.as_ref().ok().and_then(Option::as_ref));
    let exporters = match exporters {
        Ok(exporters) => exporters,
        Err(why) => return unusable(&why),
    };
    let registry = Registry::default();
    match command {
        Command::Init { file } => init(&file),
        Command::Check { file, deployment } => with_file(&file, &registry, |resolved| {
            let config = config_of(&deployment, &resolved);
            let checked =
                config.and_then(|config| cluster::check_retention(&config.deployment, resolved.file.close.deadline));
            if let Err(why) = checked {
                return unusable(&why);
            }
            print(&check::plan(&resolved, &registry));
            ExitCode::SUCCESS
        }),
        Command::Run { file, out, threads, on } => with_file(&file, &registry, |resolved| {
            let threads = threads.map_or_else(processors, NonZeroUsize::get);
            match on.registry() {
                Ok(registry) => start(&resolved, registry, &out, threads),
                Err(why) => unusable(&why),
            }
        }),
        Command::Sweep {
            file,
            out,
            jobs,
            threads,
            dry_run,
            on,
        } => match on.registry() {
            Ok(registry) => {
                let side = Side {
                    jobs: jobs.map_or_else(processors, NonZeroUsize::get),
                    threads: threads.get(),
                };
                sweep::start(&file, &out, side, dry_run, registry)
            }
            Err(why) => unusable(&why),
        },
        Command::Pipelines { name: None } => {
            print(&algorithms::list());
            ExitCode::SUCCESS
        }
        Command::Pipelines { name: Some(name) } => match algorithms::file(&name) {
            Ok(text) => {
                print(&text);
                ExitCode::SUCCESS
            }
            Err(why) => unusable(&why),
        },
        Command::Devices => {
            for (name, what) in Processor::all() {
                print(&format!("{name:<8}{what}\n"));
            }
            ExitCode::SUCCESS
        }
        Command::Compare(comparing) => compare::compare(comparing, &registry),
        Command::Report { asked, out } => report::report(&asked, &out, &registry),
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
            let options = match serving.options(roles) {
                Ok(options) => options,
                Err(why) => return unusable(&why),
            };
            with_config(&deployment, |config| {
                let asked = asked_to_stop();
                served(cluster::serve(config, options, exporters.as_ref(), &|| {
                    asked.load(Ordering::Relaxed)
                }))
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
            let options = match serving.options(Vec::new()) {
                Ok(options) => options,
                Err(why) => return unusable(&why),
            };
            served(cluster::serve_party(&file, options, exporters.as_ref(), &|| {
                asked.load(Ordering::Relaxed)
            }))
        }
        Command::Submit {
            file,
            print: only,
            deployment,
        } => with_file(&file, &registry, |resolved| match config_of(&deployment, &resolved) {
            Ok(config) if only => said(cluster::triggers(&config, &resolved)),
            Ok(config) => said(cluster::submit(&config, &file, &resolved)),
            Err(why) => unusable(&why),
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
        Command::Replay {
            run,
            out,
            threads,
            deployment,
        } => with_config(&deployment, |config| {
            let asked = asked_to_stop();
            let threads = threads.map_or_else(processors, NonZeroUsize::get);
            match cluster::replay(config, &run, &out, threads, &|| asked.load(Ordering::Relaxed)) {
                Ok(replayed) => {
                    print(&cluster::replayed_text(&run, &replayed));
                    match (replayed.interrupted, replayed.differences.is_empty()) {
                        (true, _) => ExitCode::from(INTERRUPTED),
                        (false, true) => ExitCode::SUCCESS,
                        (false, false) => ExitCode::from(FAILED),
                    }
                }
                Err(error) => failed(&error),
            }
        }),
        Command::Prune { run, deployment } => with_config(&deployment, |config| said(cluster::prune(config, &run))),
        Command::Stop { run, deployment } => with_config(&deployment, |config| said(cluster::stop(config, &run))),
    }
}

/// Lines about what goes wrong and is tried again: beside the progress of a command, all that a worker says, as JSON
/// where no person reads it.
fn log(serves: bool, exporters: Option<&Exporters>) {
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_target(false);
    let (level, lines) = if !serves {
        (LevelFilter::WARN, lines.without_time().boxed())
    } else if std::io::stderr().is_terminal() {
        (LevelFilter::INFO, lines.boxed())
    } else {
        (LevelFilter::INFO, lines.json().flatten_event(true).boxed())
    };
    tracing_subscriber::registry()
        .with(level)
        .with(lines)
        .with(exporters.map(Exporters::lines))
        .init();
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
        Err(error) => unresolved(error),
    }
}

fn unresolved(error: Unresolved) -> ExitCode {
    match error {
        Unresolved::Unreadable(path, error) => complain(&format!(
            "cannot read {}: {error}; `fedstill init` writes a run file to start from",
            path.display()
        )),
        Unresolved::Problems(file, text, problems) => {
            let shown = run_file_report::render(&file, &text, &problems, run_file_report::colours());
            tell::write(&shown);
        }
    }
    ExitCode::from(UNUSABLE)
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

/// Where a run file's deployment is: as the file that is named says, or the run file itself, and the environment.
fn config_of(deployment: &OfDeployment, resolved: &Resolved) -> Result<Config, String> {
    match deployment.config.as_deref() {
        Some(file) => Config::load(Some(file)),
        None => Config::over(resolved.file.deployment.clone()),
    }
}

/// Why a run of parties with workers of their own does not start here.
const PLACED: &str = "the parties of this file run their own workers: `fedstill submit` starts it; a run on one machine \
                      has simulated parties, [parties] instead of [[party]]";
/// What a person who stopped a run is told.
const STOPPED: &str = "stopped; the same command goes on where it was";

fn start(resolved: &Resolved, registry: Registry, out: &Path, threads: usize) -> ExitCode {
    if resolved.jobs.iter().any(|job| job.resolved.is_placed()) {
        return unusable(PLACED);
    }
    let interrupted = asked_to_stop();
    match run(resolved, registry, out, threads, &|| {
        interrupted.load(Ordering::Relaxed)
    }) {
        Ok(Ended::Finished) => show(resolved, out),
        Ok(Ended::Interrupted) => {
            tell::line(STOPPED);
            ExitCode::from(INTERRUPTED)
        }
        Ok(Ended::Failed(failed)) => {
            let simulates = !resolved.file.simulate.is_nothing();
            tell::line(&failures(&failed, resolved.jobs.len(), simulates));
            ExitCode::from(FAILED)
        }
        Err(error) => {
            complain(&error.to_string());
            ExitCode::from(FAILED)
        }
    }
}

fn print(text: &str) {
    // A reader that went away is no failure of ours.
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn complain(message: &str) {
    // What points into a file says so itself.
    let itself = message.starts_with("error") || message.starts_with('\u{1b}');
    tell::line(&format!("{}{message}", if itself { "" } else { "error: " }));
}
