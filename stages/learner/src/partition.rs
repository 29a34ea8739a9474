//! Which rows each simulated party holds: pure functions of the labels and a seed.

use crate::random::Stream;
use fedstill_schemas::data::Partition;

/// Dirichlet draws before giving up.
const TRIES: u32 = 10_000;

/// The rows cannot be divided as asked. The text says what to change.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PartitionError {
    /// There must be a party.
    #[error("there are no parties to divide the rows among; set parties.count")]
    NoParties,
    /// Not every party can have its least number of rows.
    #[error("{rows} rows cannot give {parties} parties {min} each; use more rows, fewer parties or a smaller min")]
    TooFewRows {
        /// Rows in use.
        rows: usize,
        /// Parties.
        parties: u32,
        /// Fewest rows of a party.
        min: u32,
    },
    /// The concentration has no meaning.
    #[error("alpha must be positive, not {0}")]
    Alpha(
        /// As written.
        String,
    ),
    /// No draw gave every party enough rows.
    #[error(
        "{tries} draws of dirichlet(alpha = {alpha}) left a party with fewer than {min} rows; \
         use a larger alpha, a smaller min, more rows or fewer parties"
    )]
    Unlucky {
        /// Draws made.
        tries: u32,
        /// Concentration, as written.
        alpha: String,
        /// Fewest rows of a party.
        min: u32,
    },
    /// There are not that many classes.
    #[error("per_party must be from 1 to the {classes} classes that have rows, not {per_party}")]
    Classes {
        /// Classes of one party.
        per_party: u32,
        /// Classes with rows.
        classes: usize,
    },
    /// A class has fewer rows than parties that hold it.
    #[error("class {class} has {rows} rows for {holders} parties; use more rows, fewer parties or a smaller per_party")]
    RareClass {
        /// The class.
        class: u32,
        /// Its rows in use.
        rows: usize,
        /// Parties that are to hold it.
        holders: usize,
    },
}

/// Divides `rows`, which are places in `labels`, among parties: for each party its rows, in draw order.
///
/// No row is given twice. [`Partition::Iid`] and [`Partition::Dirichlet`] give all of them; so does
/// [`Partition::Classes`] if there are at least as many places (parties times classes of one party) as classes, else the
/// rows of classes that no party holds are left out.
///
/// # Errors
/// [`PartitionError`] where that cannot be done.
///
/// # Panics
/// If a row has no label, or a label is not below `classes`.
pub fn partition(
    kind: &Partition,
    labels: &[u32],
    classes: u32,
    rows: &[u32],
    parties: u32,
    seed: u64,
) -> Result<Vec<Vec<u32>>, PartitionError> {
    if parties == 0 {
        return Err(PartitionError::NoParties);
    }
    let enough = |min: u32| {
        if rows.len() as u64 >= u64::from(min) * u64::from(parties) {
            return Ok(());
        }
        Err(PartitionError::TooFewRows {
            rows: rows.len(),
            parties,
            min,
        })
    };
    let mut stream = Stream::new(seed, 0, "partition", "");
    match kind {
        Partition::Iid => {
            enough(1)?;
            let mut rows = rows.to_vec();
            stream.shuffle(&mut rows);
            Ok(equal(&rows, parties as usize).map(<[u32]>::to_vec).collect())
        }
        Partition::Dirichlet { alpha, min } => {
            enough((*min).max(1))?;
            dirichlet(
                *alpha,
                (*min).max(1),
                by_class(labels, classes, rows),
                parties,
                &mut stream,
            )
        }
        Partition::Classes { per_party } => {
            enough(*per_party)?;
            few_classes(*per_party, by_class(labels, classes, rows), parties, &mut stream)
        }
    }
}

/// `parts` slices whose lengths differ by one at most, the longer ones first.
fn equal(rows: &[u32], parts: usize) -> impl Iterator<Item = &[u32]> {
    let bound = move |part: usize| part * (rows.len() / parts) + part.min(rows.len() % parts);
    (0..parts).map(move |part| &rows[bound(part)..bound(part + 1)])
}

/// The classes that have rows, with them.
fn by_class(labels: &[u32], classes: u32, rows: &[u32]) -> Vec<(u32, Vec<u32>)> {
    let mut held: Vec<(u32, Vec<u32>)> = (0..classes).map(|class| (class, Vec::new())).collect();
    for row in rows {
        held[labels[*row as usize] as usize].1.push(*row);
    }
    held.retain(|(_, rows)| !rows.is_empty());
    held
}

/// Each class by its own proportions (Hsu, Qi and Brown 2019, arXiv:1909.06335, section 3, per class as in Yurochkin et
/// al. 2019, arXiv:1905.12022, section 4).
fn dirichlet(
    alpha: f64,
    min: u32,
    mut classes: Vec<(u32, Vec<u32>)>,
    parties: u32,
    stream: &mut Stream,
) -> Result<Vec<Vec<u32>>, PartitionError> {
    if !(alpha.is_finite() && alpha > 0.0) {
        return Err(PartitionError::Alpha(alpha.to_string()));
    }
    for _ in 0..TRIES {
        // Where each party's share of each class ends.
        let ends: Vec<Vec<usize>> = classes
            .iter()
            .map(|(_, rows)| shares(alpha, rows.len(), parties, stream))
            .collect();
        let size = |party: usize| -> usize {
            ends.iter()
                .map(|ends| ends[party] - party.checked_sub(1).map_or(0, |before| ends[before]))
                .sum()
        };
        if (0..parties as usize).any(|party| size(party) < min as usize) {
            continue;
        }
        let mut held = vec![Vec::new(); parties as usize];
        for ((_, rows), ends) in classes.iter_mut().zip(&ends) {
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
        return Ok(held);
    }
    Err(PartitionError::Unlucky {
        tries: TRIES,
        alpha: alpha.to_string(),
        min,
    })
}

/// Where the shares of a class of `rows` end, by proportions from a symmetric Dirichlet distribution.
fn shares(alpha: f64, rows: usize, parties: u32, stream: &mut Stream) -> Vec<usize> {
    // Normalised gamma variables, in logarithms: all of them may be too small for a float.
    let logs: Vec<f64> = (0..parties).map(|_| stream.log_gamma(alpha)).collect();
    let largest = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let parts: Vec<f64> = logs.iter().map(|log| libm::exp(log - largest)).collect();
    let whole: f64 = parts.iter().sum();
    let mut sum = 0.0;
    let mut ends: Vec<usize> = parts
        .iter()
        .map(|part| {
            sum += part;
            ((sum / whole * rows as f64).round() as usize).min(rows)
        })
        .collect();
    if let Some(last) = ends.last_mut() {
        *last = rows;
    }
    ends
}

/// Classes in a seeded circle; each party takes the next `per_party` of it. So all classes are held equally often, give
/// or take one, and no party has one twice.
fn few_classes(
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

#[cfg(test)]
mod tests;
