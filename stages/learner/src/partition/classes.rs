//! Parties with few classes: so many each, or so many pieces of the rows in the order of their labels.

use super::{Known, PartitionError, equal};
use crate::random::Stream;

/// Classes in a seeded circle; each party takes the next `per_party` of it. So all classes are held equally often, give
/// or take one, and no party has one twice.
pub(super) fn few_classes(
    per_party: u32,
    mut classes: Vec<(u32, Vec<u32>)>,
    parties: u32,
    stream: &mut Stream,
) -> Result<Vec<Vec<u32>>, PartitionError> {
    if per_party == 0 || per_party as usize > classes.len() {
        return Err(PartitionError::Classes {
            per_party,
            classes: classes.len(),
        });
    }
    stream.shuffle(&mut classes);
    let places = (parties * per_party) as usize;
    let mut held = vec![Vec::new(); parties as usize];
    let count = classes.len();
    for (i, (class, rows)) in classes.iter_mut().enumerate() {
        stream.shuffle(rows);
        let holders: Vec<usize> = (i..places)
            .step_by(count)
            .map(|place| place / per_party as usize)
            .collect();
        if holders.len() > rows.len() {
            return Err(PartitionError::RareClass {
                class: *class,
                rows: rows.len(),
                holders: holders.len(),
            });
        }
        if holders.is_empty() {
            continue;
        }
        for (party, rows) in holders.iter().zip(equal(rows, holders.len())) {
            held[*party].extend(rows);
        }
    }
    for rows in &mut held {
        stream.shuffle(rows);
    }
    Ok(held)
}

/// Rows in the order of their labels, cut into shards of equal size, of which each party gets `per_party`, dealt at random
/// (McMahan et al. 2017, arXiv:1602.05629, section 3: two shards each).
pub(super) fn shards(
    per_party: u32,
    known: Known<'_>,
    rows: &[u32],
    parties: u32,
    stream: &mut Stream,
) -> Result<Vec<Vec<u32>>, PartitionError> {
    if per_party == 0 {
        return Err(PartitionError::NoShards);
    }
    let mut rows = rows.to_vec();
    stream.shuffle(&mut rows);
    // Stable: rows of a label stay in the order that was drawn.
    rows.sort_by_key(|row| known.labels[*row as usize]);
    let count = parties * per_party;
    let shards: Vec<&[u32]> = equal(&rows, count as usize).collect();
    let hands = stream.permutation(count);
    let hands = hands.chunks(per_party as usize);
    let mut held: Vec<Vec<u32>> = hands
        .map(|hand| hand.iter().flat_map(|shard| shards[*shard as usize]).copied().collect())
        .collect();
    for rows in &mut held {
        stream.shuffle(rows);
    }
    Ok(held)
}
