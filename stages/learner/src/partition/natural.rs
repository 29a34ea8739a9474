//! Rows as their owners hold them.

use super::{Known, PartitionError};
use crate::random::Stream;
use std::collections::BTreeMap;

/// Each party is one owner, drawn among those with at least `min` rows; rows of the others are left out.
pub(super) fn natural(
    min: u32,
    known: Known<'_>,
    rows: &[u32],
    parties: u32,
    stream: &mut Stream,
) -> Result<Vec<Vec<u32>>, PartitionError> {
    if known.owners.is_empty() {
        return Err(PartitionError::NoOwners);
    }
    let mut owned: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for row in rows {
        owned.entry(known.owners[*row as usize]).or_default().push(*row);
    }
    let mut held: Vec<Vec<u32>> = owned.into_values().filter(|rows| rows.len() >= min as usize).collect();
    if held.len() < parties as usize {
        return Err(PartitionError::FewOwners {
            owners: held.len(),
            parties,
            min,
        });
    }
    stream.shuffle(&mut held);
    held.truncate(parties as usize);
    for rows in &mut held {
        stream.shuffle(rows);
    }
    Ok(held)
}
