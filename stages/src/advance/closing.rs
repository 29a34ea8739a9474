//! The end of a phase: the object that decides who is in, and what follows from it.
//!
//! In: a phase that is complete or overdue. Out: `closed` in the store, create-once, then what follows on the log, then
//! the decision. After a crash `closed` is adopted, and the rest is published once more.

use crate::context::Context;
use crate::error::StageError;
use crate::phase::OpenPhase;
use crate::plan::{Opening, log_ends, open, some};
use fedstill_schemas::events::{Closed, Decision, Ending};
use fedstill_schemas::names;
use fedstill_schemas::pipeline::Stage;
use std::sync::Arc;

/// Tells that a phase ended with its attempt.
pub(super) fn tell_end(context: &Context, phase: &OpenPhase, why: &Ending) {
    let round = phase.round();
    let mut closed = phase.close(Vec::new());
    closed.enough = false;
    let steps = &round.planned.phases[round.phase() as usize].steps;
    let end = Some((phase.round_opened_ms(), why));
    context.telemetry.closed(&closed, steps, phase.opened_ms(), end);
}

/// Closes a phase: decides, or adopts what was decided, publishes what follows, and says so.
pub(super) fn close(context: &Context, phase: &OpenPhase) -> Result<(), StageError> {
    let round = phase.round();
    let planned = &round.planned;
    let at = planned.at();
    let path = names::closed_object(at, round.phase());
    context.faults.hit("advance:before-close");
    let closed = if let Some((closed, _)) = context.store.get_json::<Closed>(&path)? {
        closed
    } else {
        let ends = if planned.phases[round.phase() as usize].stages.contains(&Stage::Predict) {
            // After the decision: every member's predictions were acknowledged before its answer.
            log_ends(context, names::LOGITS, planned.plan.logits_start.len() as u32)?
        } else {
            Vec::new()
        };
        context.store.create_json(&path, phase.close(ends))?.0
    };
    context.faults.hit("advance:after-close");
    let closed = Arc::new(closed);
    let last = round.phase() as usize + 1 == planned.phases.len();
    let mut end = None;
    if !closed.enough {
        let step = planned.phases[round.phase() as usize].steps.join(", ");
        let why = Ending::Failed {
            step,
            missing: some(&closed.missing),
        };
        end = Some(why.clone());
        let ended = Decision::Ended { at: at.clone(), why };
        context.log.append(&[context.decision(&ended)?])?;
    } else if !last {
        let mut next = round.clone();
        next.closed.push(Arc::clone(&closed));
        open(context, &next, |point| match point {
            Opening::Opened => context.faults.hit("advance:after-open"),
            Opening::Tasks => context.faults.hit("advance:after-tasks"),
        })?;
    }
    let said = Decision::Closed {
        at: at.clone(),
        phase: round.phase(),
    };
    context.log.append(&[context.decision(&said)?])?;
    context.faults.hit("advance:after-closed");
    context.observer.closed(&closed);
    if !last || end.is_some() {
        let end = end.as_ref().map(|why| (phase.round_opened_ms(), why));
        let steps = &planned.phases[round.phase() as usize].steps;
        context.telemetry.closed(&closed, steps, phase.opened_ms(), end);
    }
    Ok(())
}
