//! `fedstill replay`: does a run of a deployment again on this machine, with the members that it had, and compares.

use super::Config;
use crate::folder;
use crate::run::faults;
use fedstill_learner::Registry;
use fedstill_log::{Clock, SystemClock};
use fedstill_schemas::names;
use fedstill_schemas::resolved::ResolvedRun;
use fedstill_stages::StageError;
use fedstill_stages::context::Context;
use fedstill_stages::replay::{Replayed, replay as again};
use fedstill_stages::tensors::Tensors;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

/// Does a run again below `out`.
///
/// # Errors
/// A run that is not there, or cannot be done again here.
pub(crate) fn replay(
    config: &Config,
    run: &str,
    out: &Path,
    threads: usize,
    asked: &dyn Fn() -> bool,
) -> Result<Replayed, StageError> {
    let source = config.store_to_read()?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let nobody = || StageError::Stop(format!("there is no run '{run}' in {}", source.url()));
    if !names::is_run_id(run) {
        return Err(nobody());
    }
    let (resolved, _) = source
        .get_json::<ResolvedRun>(&names::run_object(run))?
        .ok_or_else(nobody)?;
    let parties = resolved.parties.len() as u32;
    let (log, store) = folder::open_run(out, run, parties, Arc::clone(&clock))?;
    let learner = Tensors::new(Registry::default(), []).with_store(source.clone());
    let mut context = Context::new(log, store, Arc::new(learner));
    context.faults = faults();
    again(context, &source, run, threads, &*clock, asked)
}

/// What came of it, for people.
pub(crate) fn text(run: &str, replayed: &Replayed) -> String {
    let Replayed {
        rounds,
        results,
        differences,
        numerics: [was, is],
        interrupted,
    } = replayed;
    let mut text = format!("{rounds} rounds of {run} are the same, {results} results, bit for bit\n");
    for difference in differences {
        text.push_str(difference);
        text.push('\n');
    }
    if *interrupted {
        text.push_str("stopped; the same command goes on where it was\n");
    }
    if !differences.is_empty() && was != is {
        let list = |classes: &BTreeSet<String>| classes.iter().cloned().collect::<Vec<_>>().join("; ");
        let _ = writeln!(
            text,
            "it was done on another kind of machine, where bits may differ: {}; here: {}",
            list(was),
            list(is)
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_kind_of_machine_is_named_only_where_something_differs() {
        let mut replayed = Replayed {
            rounds: 3,
            results: 40,
            numerics: [["x86-v3".to_owned()].into(), ["neon".to_owned()].into()],
            ..Replayed::default()
        };
        let said = text("a-fedmd-0", &replayed);
        assert_eq!(said, "3 rounds of a-fedmd-0 are the same, 40 results, bit for bit\n");
        replayed
            .differences
            .push("round 3, digest: party-1 has another result".to_owned());
        let said = text("a-fedmd-0", &replayed);
        assert!(
            said.contains("party-1") && said.contains("x86-v3; here: neon"),
            "{said}"
        );
    }
}
