//! A run's folder: `<out>/<run>/{log,store,parties/<slot>}`, in use by one process at a time.

use crate::resolve::Job;
use fedstill_log::{Clock, Embedded, Log};
use fedstill_schemas::names;
use fedstill_schemas::resolved::ResolvedRun;
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
    let folder = out.join(&job.id);
    let log: Arc<dyn Log> = Arc::new(Embedded::open(folder.join("log"), clock)?);
    let store = Store::local(&folder, &results(out), job.resolved.parties.len() as u32)?;
    if let Some((there, _)) = store.get_json::<ResolvedRun>(&names::run_object(&job.id))?
        && there != job.resolved
    {
        return Err(StageError::Stop(format!(
            "{} holds a run with other settings ({}): choose another name in the run file or another --out, or delete the folder",
            folder.display(),
            differences(&there, &job.resolved)
        )));
    }
    Ok((log, store))
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
    ];
    let names: Vec<&str> = differ
        .iter()
        .filter(|(_, differ)| *differ)
        .map(|(name, _)| *name)
        .collect();
    names.join(", ")
}
