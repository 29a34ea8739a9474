//! Which rows each simulated party holds: pure functions of the labels, or owners, and a seed.

mod classes;
mod dirichlet;
mod natural;
mod sizes;

use crate::random::{Stream, draw};
use fedstill_schemas::data::{DataSet, Partition};
use fedstill_schemas::resolved::ResolvedRun;

/// Draws before giving up.
const TRIES: u32 = 10_000;

/// The rows cannot be divided as asked. The text says what to change.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PartitionError {
    /// There must be a party.
    #[error("there are no parties to divide the rows among; set parties.count")]
    NoParties,
    /// Not every party can have its least number of rows.
    #[error(
        "{rows} rows cannot give {} {min} each; use more rows, fewer parties or a smaller min", counted(*parties)
    )]
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
    /// The deviation has no meaning.
    #[error("sigma must not be negative, and be finite, not {0}")]
    Sigma(
        /// As written.
        String,
    ),
    /// No draw gave every party enough rows.
    #[error(
        "{tries} draws of {draw} left a party with fewer than {min} rows; use {instead}, a smaller min, more rows or fewer \
         parties"
    )]
    Unlucky {
        /// Draws made.
        tries: u32,
        /// What was drawn.
        draw: String,
        /// Fewest rows of a party.
        min: u32,
        /// What makes draws more even.
        instead: &'static str,
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
    /// A party gets something.
    #[error("per_party must be at least 1 shard, not 0")]
    NoShards,
    /// Rows have several labels each.
    #[error(
        "rows have a label at every position, and this partition goes by the label of each row; divide them by iid, \
         log_normal or natural"
    )]
    SeveralLabels,
    /// Nobody said who owns which row.
    #[error("the rows have no owners; name the column that says whose each row is, as in owner = \"client\"")]
    NoOwners,
    /// There are fewer owners than parties.
    #[error(
        "{owners} owners have at least {min} rows, for {}; use fewer parties, more rows or a smaller min",
        counted(*parties)
    )]
    FewOwners {
        /// Owners with enough rows.
        owners: usize,
        /// Parties.
        parties: u32,
        /// Fewest rows of a party.
        min: u32,
    },
}

/// So many parties, for people.
fn counted(parties: u32) -> String {
    match parties {
        1 => "1 party".to_owned(),
        _ => format!("{parties} parties"),
    }
}

/// What is known of the rows of a data set.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// The label of each row; empty where rows have several.
    pub labels: &'a [u32],
    /// Labels are below it.
    pub classes: u32,
    /// The owner of each row, from 0; empty where nobody said who they are.
    pub owners: &'a [u32],
}

/// Divides `rows` of a data set among parties: for each party its rows, in draw order.
///
/// No row is given twice, and all are given, but for two kinds: [`Partition::Classes`] leaves out the classes that no party
/// holds where there are more of them than places (parties times classes of one party), and [`Partition::Natural`] the rows
/// of owners that are no parties.
///
/// # Errors
/// [`PartitionError`] where that cannot be done.
///
/// # Panics
/// If a row has no label or owner where others have one, or a label is not below `classes`.
pub fn partition(
    kind: &Partition,
    known: Known<'_>,
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
    let labelled = || {
        if known.labels.is_empty() {
            return Err(PartitionError::SeveralLabels);
        }
        Ok(())
    };
    let stream = &mut Stream::new(seed, 0, "partition", "");
    match *kind {
        Partition::Iid => {
            enough(1)?;
            Ok(sizes::iid(rows, parties, stream))
        }
        Partition::LogNormal { sigma, min } => {
            let min = min.max(1);
            enough(min)?;
            sizes::log_normal(sigma, min, rows, parties, stream)
        }
        Partition::Dirichlet {
            alpha,
            min,
            balanced,
            groups,
        } => {
            let min = min.max(1);
            enough(min)?;
            labelled()?;
            let divide = |rows: &[u32], parties: u32, stream: &mut Stream| {
                let classes = by_class(known, rows);
                if balanced {
                    dirichlet::balanced(alpha, min, classes, parties, stream)
                } else {
                    dirichlet::dirichlet(alpha, min, classes, parties, stream)
                }
            };
            match groups.filter(|most| *most < parties) {
                Some(most) => dirichlet::in_groups(most.max(1), min, rows, parties, stream, divide),
                None => divide(rows, parties, stream),
            }
        }
        Partition::Classes { per_party } => {
            enough(per_party)?;
            labelled()?;
            classes::few_classes(per_party, by_class(known, rows), parties, stream)
        }
        Partition::Shards { per_party } => {
            enough(per_party)?;
            labelled()?;
            classes::shards(per_party, known, rows, parties, stream)
        }
        Partition::Natural { min } => natural::natural(min.max(1), known, rows, parties, stream),
    }
}

/// How the private rows of a run are divided.
#[derive(Clone, Copy, Debug)]
pub struct Division<'a> {
    /// The private set.
    pub set: &'a DataSet,
    /// Rows that the server stops its training by.
    pub held_back: u32,
    /// How the others are divided.
    pub partition: &'a Partition,
    /// Among how many parties.
    pub parties: u32,
    /// The run's seed.
    pub seed: u64,
}

impl<'a> Division<'a> {
    /// How a run divides them, whose parties are simulated.
    pub fn of(run: &'a ResolvedRun) -> Self {
        Self {
            set: &run.private,
            held_back: run.held_back(),
            partition: &run.partition,
            parties: run.parties.len() as u32,
            seed: run.seed,
        }
    }

    /// The rows that the server holds, and those of each party, by slot.
    ///
    /// # Errors
    /// [`PartitionError`] where they cannot be divided so.
    pub fn rows(&self, known: Known<'_>) -> Result<(Vec<u32>, Vec<Vec<u32>>), PartitionError> {
        let rows = draw(self.seed, "private", 0, self.set.rows, self.set.take);
        let (held, rows) = held_by_server(&rows, self.held_back, self.seed);
        let parts = partition(self.partition, known, &rows, self.parties, self.seed)?;
        Ok((held, parts))
    }
}

/// Parts the private rows in use: so many that the server stops its training by, and those that are divided among parties,
/// each in the order of `rows`. A seeded draw of its own, as rows that are all in use come in the order of their file, which
/// may be that of their labels. All are the server's where there are no more than it asks for.
fn held_by_server(rows: &[u32], validation: u32, seed: u64) -> (Vec<u32>, Vec<u32>) {
    let mut held = vec![false; rows.len()];
    for place in draw(seed, "validation", 0, rows.len() as u32, validation) {
        held[place as usize] = true;
    }
    let those = |wanted: bool| -> Vec<u32> {
        let rows = rows.iter().zip(&held).filter(|(_, held)| **held == wanted);
        rows.map(|(row, _)| *row).collect()
    };
    (those(true), those(false))
}

/// `parts` slices whose lengths differ by one at most, the longer ones first.
fn equal(rows: &[u32], parts: usize) -> impl Iterator<Item = &[u32]> {
    let bound = move |part: usize| part * (rows.len() / parts) + part.min(rows.len() % parts);
    (0..parts).map(move |part| &rows[bound(part)..bound(part + 1)])
}

/// Where the shares of so many rows end, in those proportions.
fn ends(parts: &[f64], rows: usize) -> Vec<usize> {
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

/// The classes that have rows, with them.
fn by_class(known: Known<'_>, rows: &[u32]) -> Vec<(u32, Vec<u32>)> {
    let mut held: Vec<(u32, Vec<u32>)> = (0..known.classes).map(|class| (class, Vec::new())).collect();
    for row in rows {
        held[known.labels[*row as usize] as usize].1.push(*row);
    }
    held.retain(|(_, rows)| !rows.is_empty());
    held
}

#[cfg(test)]
mod tests;
