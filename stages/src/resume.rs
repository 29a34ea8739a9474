//! Where a run goes on: after its last round with a manifest.

use crate::context::Context;
use crate::decisions::Decisions;
use crate::error::StageError;
use fedstill_schemas::events::Trigger;
use fedstill_schemas::names;
use fedstill_schemas::plan::Manifest;

/// The trigger that a run needs to go on: the round after its last manifest, by the attempt after its last failure;
/// `None` if its last round has a manifest. Each manifest on the way is shown to `finished`.
///
/// # Errors
/// A store that does not answer, and what `finished` says.
pub fn next_trigger(
    context: &Context,
    decisions: &Decisions,
    first: &Trigger,
    finished: impl Fn(&Manifest) -> Result<(), StageError>,
) -> Result<Option<Trigger>, StageError> {
    let run = &first.at.run;
    let mut trigger = first.clone();
    let manifest = |round| context.store.get_json::<Manifest>(&names::manifest_object(run, round));
    while let Some((manifest, _)) = manifest(trigger.at.round)? {
        finished(&manifest)?;
        trigger.at.round += 1;
    }
    if trigger.at.round > first.through {
        return Ok(None);
    }
    if let Some(((round, attempt), _)) = decisions.ended(run)
        && *round == trigger.at.round
    {
        trigger.at.attempt = attempt + 1;
    }
    Ok(Some(trigger))
}
