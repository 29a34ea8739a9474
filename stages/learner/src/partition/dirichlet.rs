//! Classes divided by proportions from a symmetric Dirichlet distribution.

use super::{PartitionError, TRIES, ends};
use crate::random::Stream;

/// Each class by its own proportions (Hsu, Qi and Brown 2019, arXiv:1909.06335, section 3, per class as in Yurochkin et
/// al. 2019, arXiv:1905.12022, section 4), all of them drawn anew until every party has `min` rows.
pub(super) fn dirichlet(
    alpha: f64,
    min: u32,
    classes: Vec<(u32, Vec<u32>)>,
    parties: u32,
    stream: &mut Stream,
) -> Result<Vec<Vec<u32>>, PartitionError> {
    positive(alpha)?;
    for _ in 0..TRIES {
        // Where each party's share of each class ends.
        let ends: Vec<Vec<usize>> = classes
            .iter()
            .map(|(_, rows)| ends(&proportions(alpha, parties, |_| true, stream), rows.len()))
            .collect();
        let size = |party: usize| -> usize { ends.iter().map(|ends| share(ends, party)).sum() };
        if (0..parties as usize).all(|party| size(party) >= min as usize) {
            return Ok(deal(classes, &ends, parties, stream));
        }
    }
    Err(PartitionError::Unlucky {
        tries: TRIES,
        draw: format!("dirichlet(alpha = {alpha})"),
        min,
        instead: "a larger alpha",
    })
}

/// Class after class by its own proportions, where a party that has an equal share of all rows already gets none, and all
/// of them drawn anew until every party has half of an equal share, and `min` (the code of Lin et al. 2020,
/// arXiv:2006.07242, whose groups of ten parties are [`in_groups`], and of FedLess with knowledge distillation,
/// arXiv:2402.07295). After ten thousand classes drawn, as there, parties that have too few take rows of the largest, one by one.
pub(super) fn balanced(
    alpha: f64,
    min: u32,
    classes: Vec<(u32, Vec<u32>)>,
    parties: u32,
    stream: &mut Stream,
) -> Result<Vec<Vec<u32>>, PartitionError> {
    positive(alpha)?;
    let rows: usize = classes.iter().map(|(_, rows)| rows.len()).sum();
    let least = (rows / (2 * parties as usize)).max(min as usize);
    let tries = (TRIES / classes.len().max(1) as u32).max(1);
    let mut drawn = Vec::new();
    for _ in 0..tries {
        drawn.clear();
        let mut sizes = vec![0; parties as usize];
        for (_, class) in &classes {
            let open = |party: usize| sizes[party] * (parties as usize) < rows;
            let ends = ends(&proportions(alpha, parties, open, stream), class.len());
            for (party, size) in sizes.iter_mut().enumerate() {
                *size += share(&ends, party);
            }
            drawn.push(ends);
        }
        if sizes.iter().all(|size| *size >= least) {
            break;
        }
    }
    let mut held = deal(classes, &drawn, parties, stream);
    while let Some(small) = (0..held.len()).find(|party| held[*party].len() < least) {
        // Some party has more than an equal share where one has less.
        let large = (0..held.len()).rev().max_by_key(|party| held[*party].len());
        let Some(row) = large.and_then(|large| held[large].pop()) else {
            break;
        };
        held[small].push(row);
    }
    Ok(held)
}

/// Parties in groups of `most`, the last one of those that are left; the rows, in a seeded order, in parts in proportion to
/// the groups' parties; and each part divided by `divide` among its group alone, with at least `min` rows a party, which all
/// rows have (the code of Lin et al. 2020, arXiv:2006.07242, with ten parties a group).
pub(super) fn in_groups(
    most: u32,
    min: u32,
    rows: &[u32],
    parties: u32,
    stream: &mut Stream,
    divide: impl Fn(&[u32], u32, &mut Stream) -> Result<Vec<Vec<u32>>, PartitionError>,
) -> Result<Vec<Vec<u32>>, PartitionError> {
    let mut rows = rows.to_vec();
    stream.shuffle(&mut rows);
    let firsts = (0..parties).step_by(most as usize);
    let sizes: Vec<u32> = firsts.map(|first| most.min(parties - first)).collect();
    let parts: Vec<f64> = sizes.iter().copied().map(f64::from).collect();
    let mut held = Vec::new();
    let mut start = 0;
    for (size, end) in sizes.into_iter().zip(ends(&parts, rows.len())) {
        let own = &rows[start..end];
        // The bounds of a part that is due so many rows or more, rounded alike, are as far apart. Otherwise no division would end.
        debug_assert!(
            own.len() as u64 >= u64::from(min) * u64::from(size),
            "rows of {size} parties"
        );
        held.extend(divide(own, size, stream)?);
        start = end;
    }
    Ok(held)
}

fn positive(alpha: f64) -> Result<(), PartitionError> {
    if alpha.is_finite() && alpha > 0.0 {
        Ok(())
    } else {
        Err(PartitionError::Alpha(alpha.to_string()))
    }
}

/// Proportions of the parties in one class, up to a factor; 0 for parties that are not open.
fn proportions(alpha: f64, parties: u32, open: impl Fn(usize) -> bool, stream: &mut Stream) -> Vec<f64> {
    // Normalised gamma variables, in logarithms: all of them may be too small for a float.
    let logs: Vec<f64> = (0..parties).map(|_| stream.log_gamma(alpha)).collect();
    let open: Vec<(usize, f64)> = logs.into_iter().enumerate().filter(|(party, _)| open(*party)).collect();
    let largest = open.iter().map(|(_, log)| *log).fold(f64::NEG_INFINITY, f64::max);
    let mut parts = vec![0.0; parties as usize];
    for (party, log) in open {
        parts[party] = libm::exp(log - largest);
    }
    parts
}

/// Rows of a party in a class.
fn share(ends: &[usize], party: usize) -> usize {
    ends[party] - party.checked_sub(1).map_or(0, |before| ends[before])
}

/// Gives each party its share of each class.
fn deal(mut classes: Vec<(u32, Vec<u32>)>, ends: &[Vec<usize>], parties: u32, stream: &mut Stream) -> Vec<Vec<u32>> {
    let mut held = vec![Vec::new(); parties as usize];
    for ((_, rows), ends) in classes.iter_mut().zip(ends) {
        stream.shuffle(rows);
        let mut start = 0;
        for (party, end) in held.iter_mut().zip(ends) {
            party.extend(&rows[start..*end]);
            start = *end;
        }
    }
    for rows in &mut held {
        stream.shuffle(rows);
    }
    held
}
