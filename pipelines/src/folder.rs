//! A run's folder: `<out>/<run>/{log,store,parties/<slot>}`, in use by one process at a time.

use crate::reached::Shown;
use crate::resolve::Job;
use fedstill_log::{Clock, Embedded, Log};
use fedstill_schemas::names;
use fedstill_schemas::plan::{Manifest, Plan};
use fedstill_schemas::resolved::ResolvedRun;
use fedstill_schemas::results as tables;
use fedstill_schemas::run_file::shell_word;
use fedstill_schemas::task::Attempt;
use fedstill_stages::{StageError, Store};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Folder of the result tables.
pub(crate) fn results(out: &Path) -> PathBuf {
    out.join("results")
}

/// Opens a run's log and stores, making the folder if it is new.
///
/// # Errors
/// A folder that cannot be made or written, is in use, was written by another version, or holds another run.
pub(crate) fn open(out: &Path, job: &Job, clock: Arc<dyn Clock>) -> Result<(Arc<dyn Log>, Store), StageError> {
    open_run(out, &job.id, job.resolved.parties.len() as u32, clock)
}

/// The same for a run that no run file names, with so many parties.
///
/// # Errors
/// A folder that cannot be made or written, is in use, or was written by another version.
pub(crate) fn open_run(
    out: &Path,
    run: &str,
    parties: u32,
    clock: Arc<dyn Clock>,
) -> Result<(Arc<dyn Log>, Store), StageError> {
    let folder = out.join(run);
    for folder in [&folder, &results(out)] {
        make(folder)?;
    }
    let log: Arc<dyn Log> = Arc::new(Embedded::open(folder.join("log"), clock)?);
    let store = Store::local(&folder, &results(out), parties)?;
    Ok((log, store))
}

/// How many of a run's rounds, of those up to `rounds`, are finished from the first on: they have a manifest and all their
/// tables. Looks only.
///
/// # Errors
/// A folder that cannot be read, or holds another run.
pub(crate) fn finished(out: &Path, job: &Job, rounds: u32) -> Result<u32, StageError> {
    let folder = out.join(&job.id);
    let results = results(out);
    if !folder.join("store").is_dir() {
        return Ok(0);
    }
    let store = Store::local(&folder, &results, 0)?;
    let Some((there, _)) = store.get_json::<ResolvedRun>(&names::run_object(&job.id))? else {
        return Ok(0);
    };
    checked(out, &job.id, &there, &job.resolved)?;
    for round in 0..=rounds {
        let manifest = store.get_json::<Manifest>(&names::manifest_object(&job.id, round))?;
        let mut files = tables::TABLES
            .iter()
            .map(|table| names::result_file(table, &job.id, round));
        if manifest.is_none() || !files.all(|file| results.join(file).is_file()) {
            return going_on(out, &job.id, round);
        }
    }
    Ok(rounds + 1)
}

/// The first round that is not finished: going on with it needs the log that the store was made with.
fn going_on(out: &Path, run: &str, round: u32) -> Result<u32, StageError> {
    let log = out.join(run).join("log");
    if log.is_dir() {
        return Ok(round);
    }
    Err(StageError::Stop(format!(
        "{} is gone, and the run cannot go on without it: restore it, or begin anew under another name or --out; what it \
         reached so far is shown by its name: {}",
        log.display(),
        by_its_name(out, run)
    )))
}

/// What a command needs besides to find the runs of that folder: nothing where it looks by itself.
pub(crate) fn out_option(out: &Path) -> String {
    if out == Path::new("runs") {
        return String::new();
    }
    format!(" --out {}", shell_word(&out.display().to_string()))
}

/// The command that shows a run without its run file.
fn by_its_name(out: &Path, run: &str) -> String {
    format!("`fedstill compare {run}{}`", out_option(out))
}

/// Whether the run that is there is the one that is asked for. Nobody is told to delete it.
///
/// # Errors
/// It has other settings: which, and what to do.
pub(crate) fn checked(out: &Path, run: &str, there: &ResolvedRun, asked: &ResolvedRun) -> Result<(), StageError> {
    if there == asked {
        return Ok(());
    }
    Err(StageError::Stop(format!(
        "{} holds a run with other settings ({}): choose another name in the run file or another --out for the new ones, or \
         compare what is there by its name: {}",
        out.join(run).display(),
        differences(there, asked),
        by_its_name(out, run)
    )))
}

/// Whether results of a job, if there are any, may be shown as its own. Reading needs no log, and goes on with whatever
/// rounds there are.
///
/// # Errors
/// The folder holds another run.
pub(crate) fn same(out: &Path, job: &Job) -> Result<(), StageError> {
    match kept(out, &job.id) {
        Some(there) => checked(out, &job.id, &there.resolved, &job.resolved),
        None => Ok(()),
    }
}

/// What a run's folder says of it.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) resolved: ResolvedRun,
    /// The rounds that it was asked for last, without round 0; `None` where it has no plan.
    pub(crate) rounds: Option<u32>,
    /// The last round that is done, as are all before it; `None` where none is.
    pub(crate) done: Option<u32>,
}

/// What the folder of a run says of it, whether it has ended or not. Looks only; `None` where there is no folder, or none
/// that can be read: results are shown without it too.
pub(crate) fn kept(out: &Path, run: &str) -> Option<Kept> {
    let folder = out.join(run);
    if !folder.join("store").is_dir() {
        return None;
    }
    let store = Store::local(&folder, &results(out), 0).ok()?;
    let (resolved, _) = store.get_json::<ResolvedRun>(&names::run_object(run)).ok()??;
    Some(Kept {
        resolved,
        rounds: through(&folder, &store, run),
        done: done(&folder, run),
    })
}

/// The runs of a name, or the one whose id it is, that have done rounds by their folders, whatever tables are there. Looks
/// only, and passes over folders that cannot be read.
pub(crate) fn runs_of(out: &Path, asked: &str) -> Vec<Shown> {
    let Ok(entries) = std::fs::read_dir(out) else {
        return Vec::new();
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut runs: Vec<String> = names
        .filter(|name| {
            let rest = name.strip_prefix(asked);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        })
        .collect();
    runs.sort_unstable();
    let shown = runs.into_iter().filter_map(|run| {
        let kept = kept(out, &run)?;
        kept.done.map(|done| Shown {
            pipeline: kept.resolved.pipeline.name,
            seed: kept.resolved.seed,
            rounds: kept.rounds,
            done: Some(done),
            run,
        })
    });
    shown.collect()
}

/// The last round that has a manifest, as all before it have.
fn done(folder: &Path, run: &str) -> Option<u32> {
    let has_manifest = |round: &u32| folder.join("store").join(names::manifest_object(run, *round)).is_file();
    (0..u32::MAX).take_while(has_manifest).last()
}

/// The last round that the newest plan of a run is for.
fn through(folder: &Path, store: &Store, run: &str) -> Option<u32> {
    let plan = |round: u32, attempt: u32| {
        names::plan_object(&Attempt {
            run: run.to_owned(),
            round,
            attempt,
        })
    };
    let planned = |round: u32, attempt: u32| folder.join("store").join(plan(round, attempt)).is_file();
    let round = (0..u32::MAX).take_while(|round| planned(*round, 0)).last()?;
    let attempt = (0..u32::MAX).take_while(|attempt| planned(round, *attempt)).last()?;
    let (newest, _) = store.get_json::<Plan>(&plan(round, attempt)).ok()??;
    Some(newest.through)
}

fn make(folder: &Path) -> Result<(), StageError> {
    std::fs::create_dir_all(folder).map_err(|error| {
        use std::io::ErrorKind::{AlreadyExists, NotADirectory, PermissionDenied, ReadOnlyFilesystem, StorageFull};
        let fix = match error.kind() {
            AlreadyExists | NotADirectory => "a file is in the way: move it, or choose another folder with --out",
            PermissionDenied | ReadOnlyFilesystem => {
                "it is read-only or not permitted: make it writable, or choose another folder with --out"
            }
            StorageFull => "the disk is full: free some space; nothing is lost",
            _ => "choose another folder with --out",
        };
        StageError::Stop(format!(
            "the folder {} cannot be made ({error}): {fix}",
            folder.display()
        ))
    })
}

/// Which parts of two resolved runs differ.
fn differences(there: &ResolvedRun, asked: &ResolvedRun) -> String {
    let differ = [
        ("version", there.version != asked.version),
        ("pipeline or its steps", there.pipeline != asked.pipeline),
        ("seed", there.seed != asked.seed),
        ("parties", there.parties != asked.parties),
        ("private data", there.private != asked.private),
        ("public data", there.public != asked.public),
        ("test data", there.test != asked.test),
        ("labels", there.labels != asked.labels),
        ("partition", there.partition != asked.partition),
        ("alignment", there.alignment != asked.alignment),
        ("predictions", there.precision != asked.precision),
        ("selection of parties", there.selection != asked.selection),
        ("validation data", there.validation != asked.validation),
        ("what is simulated", there.simulate != asked.simulate),
    ];
    let names: Vec<&str> = differ
        .iter()
        .filter(|(_, differ)| *differ)
        .map(|(name, _)| *name)
        .collect();
    names.join(", ")
}
