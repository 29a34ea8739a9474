//! `join`: the consensus of the whole alignment set, from what the partitions made of it.
//!
//! In: the results of `aggregate`. Out: one result that names every chunk; the chunks themselves are not touched.

use crate::error::StageError;
use crate::execute::{Inputs, Output};
use crate::fit::consensus_part;
use fedstill_schemas::task::Report;
use std::collections::BTreeMap;

pub(crate) fn run(inputs: &Inputs<'_>) -> Result<Output, StageError> {
    let mut kept = BTreeMap::new();
    let mut chunks = Vec::new();
    for result in inputs.results.values() {
        let Report::Consensus { chunks: some } = &result.report else {
            return Err(StageError::Reject(
                "a result that it reads is not a consensus".to_owned(),
            ));
        };
        chunks.extend(some.iter().cloned());
        kept.extend(result.parts.iter().map(|(name, part)| (name.clone(), *part)));
    }
    chunks.sort_by_key(|report| report.chunk);
    let missing =
        (0..inputs.planned.plan.chunks.len() as u32).find(|chunk| !kept.contains_key(&consensus_part(*chunk)));
    if let Some(chunk) = missing {
        return Err(StageError::Reject(format!(
            "no partition has made the consensus of chunk {chunk}"
        )));
    }
    Ok(Output {
        parts: BTreeMap::new(),
        kept,
        report: Report::Consensus { chunks },
    })
}
