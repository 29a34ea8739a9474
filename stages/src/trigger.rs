//! Triggers as they are written to the log: by `archive`, by `fedstill submit`, or by a person with any Kafka tool.
//!
//! In: the body of a record. Out: a [`Trigger`], or what is wrong with it. `resolved` may be the URL of an object of the
//! store instead of the run itself; and `run` instead of `at` asks for the round and attempt where the run goes on.

use crate::context::Context;
use crate::decisions::Decisions;
use crate::error::StageError;
use crate::resume::next_trigger;
use fedstill_schemas::events::Trigger;
use fedstill_schemas::names;
use fedstill_schemas::resolved;
use serde_json::{Map, Value, json};

/// What a record asks for.
#[derive(Debug)]
pub(crate) enum Asked {
    /// This round.
    Start(Box<Trigger>),
    /// Nothing: the run is finished.
    Nothing,
    /// Something that cannot be, for this reason.
    Refuse(String),
}

/// Reads a record's body.
///
/// # Errors
/// A log or a store that does not answer.
pub(crate) fn read(context: &Context, decisions: &Decisions, body: &[u8]) -> Result<Asked, StageError> {
    let mut fields: Map<String, Value> = match resolved::read(body, "a trigger") {
        Ok(fields) => fields,
        Err(reason) => return Ok(Asked::Refuse(reason)),
    };
    if let Some(Value::String(url)) = fields.get("resolved") {
        let Some(object) = context.store.get_url(url)? else {
            let reason = format!("there is no object {url} below {}", context.store.url());
            return Ok(Asked::Refuse(reason));
        };
        match serde_json::from_slice(&object) {
            Ok(resolved) => fields.insert("resolved".to_owned(), resolved),
            Err(error) => return Ok(Asked::Refuse(format!("{url} is no resolved run: {error}"))),
        };
    }
    let run = if fields.contains_key("at") {
        None
    } else {
        fields.remove("run")
    };
    if let Some(run) = &run {
        fields.insert("at".to_owned(), json!({"run": run, "round": 0, "attempt": 0}));
    }
    let trigger = match serde_json::from_value::<Trigger>(Value::Object(fields)) {
        Ok(trigger) => trigger,
        Err(error) => return Ok(Asked::Refuse(format!("it is not a trigger: {error}"))),
    };
    if !names::is_run_id(&trigger.at.run) {
        let reason = "its run is no run's id: <name>-<pipeline>-<seed>, of letters, digits, '-', '_' and '.'";
        return Ok(Asked::Refuse(reason.to_owned()));
    }
    if run.is_none() {
        return Ok(Asked::Start(Box::new(trigger)));
    }
    let next = next_trigger(context, decisions, &trigger, |_| Ok(()))?;
    Ok(next.map_or(Asked::Nothing, |next| Asked::Start(Box::new(next))))
}
