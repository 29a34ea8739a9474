//! Signatures on records: parties' own workers put them on, `aggregate` and `advance` check them.

use crate::context::Own;
use fedstill_log::{Headers, Record};
use fedstill_schemas::resolved::ResolvedRun;
use fedstill_schemas::signature::{PARTY, SIGNATURE, Signed};
use fedstill_schemas::task::{Attempt, Subject};

/// What a record says, as it is signed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Said<'a> {
    pub(crate) at: &'a Attempt,
    pub(crate) step: &'a str,
    pub(crate) chunk: Option<u32>,
    pub(crate) slot: u32,
}

impl<'a> Said<'a> {
    fn signed(self, ce_id: &'a str) -> Signed<'a> {
        let Self { at, step, chunk, slot } = self;
        Signed {
            ce_id,
            at,
            step,
            chunk,
            slot,
        }
    }
}

/// Adds a party's name and signature to a record's headers.
pub(crate) fn sign(own: &Own, headers: &mut Headers, said: Said<'_>, body: &[u8]) {
    let id = headers.iter().find(|(name, _)| name == "ce_id");
    let id = id.map_or_else(String::new, |(_, id)| String::from_utf8_lossy(id).into_owned());
    let signature = own.key.sign(said.signed(&id), body);
    headers.push((PARTY.to_owned(), own.id.clone().into()));
    headers.push((SIGNATURE.to_owned(), signature.into()));
}

/// Checks that a record is the party's whose words it holds. Records of simulated parties are not signed.
pub(crate) fn check(run: &ResolvedRun, record: &Record, said: Said<'_>) -> Result<(), String> {
    if !run.is_placed() {
        return Ok(());
    }
    let subject = Subject::Party(said.slot);
    let party = run
        .identity(subject)
        .ok_or_else(|| format!("{subject} is no party of the run"))?;
    let text = |name: &str| record.header(name).and_then(|value| std::str::from_utf8(value).ok());
    let (Some(id), Some(signature)) = (text("ce_id"), record.header(SIGNATURE)) else {
        return Err(format!("it is not signed, and {subject} ({}) signs", party.id));
    };
    if party.key.verifies(said.signed(id), &record.value, signature) {
        return Ok(());
    }
    Err(format!(
        "its signature is not that of {subject} ({}) for this run, round, attempt, step and chunk",
        party.id
    ))
}
