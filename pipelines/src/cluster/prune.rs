//! `fedstill prune`: deletes what a run that has ended has put into the stores, but for `run.json` and its result tables.

use super::Config;
use super::watch::state;
use fedstill_schemas::names;
use fedstill_schemas::resolved::{Pruned, ResolvedRun, VERSION};
use fedstill_stages::StageError;

/// Prunes a run; says what was done.
pub(crate) fn prune(config: &Config, run: &str) -> Result<String, StageError> {
    let store = config.store()?;
    if store.get_json::<ResolvedRun>(&names::run_object(run))?.is_none() {
        return Err(StageError::Stop(format!("there is no run '{run}' in {}", store.url())));
    }
    if let Some((at, false)) = state(config, run)? {
        return Err(StageError::Stop(format!(
            "{at} goes on: wait for its end, or `fedstill stop {run}` first"
        )));
    }
    // The mark first: whatever is deleted, the id is not used again.
    let mark = names::pruned_object(run);
    store.create_json(&mark, Pruned { version: VERSION })?;
    let deleted = store.delete_run(run, &[mark, names::run_object(run)])?;
    Ok(format!(
        "{run}: deleted {deleted} objects; run.json and the result tables stay\n"
    ))
}
