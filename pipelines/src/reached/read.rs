//! Reads what the tables of one run say. What is not there yet is passed over.

use super::run::{Cost, Owner, Run, Score, Selected, Slots, Trouble};
use super::table::{Row, Table};
use super::{ReadError, Shown};
use fedstill_schemas::task::Subject;
use fedstill_schemas::{names, results};
use fedstill_stages::tensors::LOCAL_TEST;
use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::Path;

/// A run with its scores, as far as it is.
#[derive(Default)]
pub(super) struct Read {
    pub(super) run: Run,
    /// By the step that scores, in the order in which the steps first do.
    pub(super) scores: Vec<Scores>,
    /// Every test set that something is scored on.
    pub(super) test_sets: BTreeSet<String>,
    /// Numerics classes of the machines that made it, each with the release.
    pub(super) numerics: BTreeSet<String>,
    /// The providers whose prices its costs are by.
    pub(super) providers: BTreeSet<String>,
}

/// What a step scored on one test set.
pub(super) struct Scores {
    pub(super) step: String,
    pub(super) owner: Option<Owner>,
    pub(super) rounds: BTreeMap<u32, Slots>,
}

/// Reads a run. The scores are those on `test_set`, or else on the first one met, which it then names.
pub(super) fn run(folder: &Path, shown: &Shown, test_set: &mut Option<String>) -> Result<Read, ReadError> {
    let mut read = Read {
        run: Run {
            id: shown.run.clone(),
            seed: shown.seed,
            wanted: shown.rounds,
            done: shown.done,
            ..Run::default()
        },
        ..Read::default()
    };
    for round in rounds(folder, &shown.run)? {
        let table = |name| {
            let table = Table::open(folder, name, &shown.run, round)?;
            if let Some(table) = &table {
                table.check(&shown.pipeline, shown.seed)?;
            }
            Ok::<_, ReadError>(table)
        };
        let rounds = table(results::ROUNDS)?;
        // A release without that column gave each of the server's models one row on `local`, and not one a party.
        let by_party = rounds.as_ref().is_some_and(|rounds| rounds.has("parties"));
        if let Some(metrics) = table(results::METRICS)? {
            read.run.scored.insert(round);
            read.metrics(&metrics, round, by_party, test_set)?;
            read.carry_on(round);
        }
        if let Some(steps) = table(results::STEPS)? {
            read.steps(&steps, round)?;
        }
        read.run.selected.insert(round, None);
        if let Some(rounds) = rounds {
            read.rounds(&rounds, round)?;
        }
    }
    Ok(read)
}

/// The ids of the runs that have scores, in order.
pub(crate) fn ids(folder: &Path) -> Result<BTreeSet<String>, ReadError> {
    let found = names_in(&folder.join(results::METRICS))?;
    let ids = found.iter().filter_map(|name| names::run_of(name));
    Ok(ids.map(ToOwned::to_owned).collect())
}

/// A run by its id, as its tables describe it; nothing of a run without scores.
pub(crate) fn shown(folder: &Path, run: &str) -> Result<Option<Shown>, ReadError> {
    for round in rounds(folder, run)? {
        let Some(table) = Table::open(folder, results::METRICS, run, round)? else {
            continue;
        };
        if let Some(row) = table.rows().next() {
            let shown = Shown {
                run: run.to_owned(),
                pipeline: row.text("pipeline")?.to_owned(),
                seed: row.whole64("seed")?,
                rounds: None,
                done: None,
            };
            return Ok(Some(shown));
        }
    }
    Ok(None)
}

/// The rounds that a run has a table of.
fn rounds(folder: &Path, run: &str) -> Result<BTreeSet<u32>, ReadError> {
    let mut rounds = BTreeSet::new();
    for table in results::TABLES {
        let found = names_in(&folder.join(names::result_folder(table, run)))?;
        rounds.extend(found.iter().filter_map(|name| names::round_of(name)));
    }
    Ok(rounds)
}

/// The names of what is in a folder; none where there is no folder.
fn names_in(folder: &Path) -> Result<Vec<String>, ReadError> {
    let unreadable = |reason| ReadError::Unreadable {
        path: folder.to_owned(),
        reason,
    };
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(unreadable)?.file_name();
        names.push(name.to_string_lossy().into_owned());
    }
    Ok(names)
}

impl Read {
    /// Who was not scored in a round, as it was not selected, was late, or its architecture had nobody, has the model that
    /// it had, and so its score: means over slots are of the same slots in every round.
    fn carry_on(&mut self, round: u32) {
        for scores in &mut self.scores {
            let Some((_, before)) = scores.rounds.range(..round).next_back() else {
                continue;
            };
            let before = before.clone();
            let slots = scores.rounds.entry(round).or_default();
            for (slot, score) in before {
                slots.entry(slot).or_insert(score);
            }
        }
    }

    /// `by_party` says that a row on [`LOCAL_TEST`] is of a party, whoever has the model; otherwise `steps` say of whom.
    fn metrics(
        &mut self,
        table: &Table<'_>,
        round: u32,
        by_party: bool,
        test_set: &mut Option<String>,
    ) -> Result<(), ReadError> {
        self.numerics.extend(table.numerics.clone());
        for row in table.rows() {
            let set = row.text("test_set")?;
            if !self.test_sets.contains(set) {
                self.test_sets.insert(set.to_owned());
            }
            if test_set.get_or_insert_with(|| set.to_owned()).as_str() != set {
                continue;
            }
            let score = Score {
                architecture: row.text("architecture")?.to_owned(),
                accuracy: row.share("accuracy")?,
            };
            let slot = row.whole("slot")?;
            let of_party = by_party && set == LOCAL_TEST;
            let scores = self.of_step(row.text("step")?);
            if of_party {
                scores.owner = Some(Owner::Parties);
            }
            scores.rounds.entry(round).or_default().insert(slot, score);
        }
        Ok(())
    }

    fn of_step(&mut self, step: &str) -> &mut Scores {
        let found = self.scores.iter().position(|scores| scores.step == step);
        let at = found.unwrap_or_else(|| {
            self.scores.push(Scores {
                step: step.to_owned(),
                owner: None,
                rounds: BTreeMap::new(),
            });
            self.scores.len() - 1
        });
        &mut self.scores[at]
    }

    fn steps(&mut self, table: &Table<'_>, round: u32) -> Result<(), ReadError> {
        self.providers.extend(table.provider.clone());
        let mut costs: Vec<(String, Cost)> = Vec::new();
        // Tables of an earlier release have no such columns.
        let mut crossed = table.has("bytes_up").then_some(0_u64);
        for row in table.rows() {
            if let Some(crossed) = &mut crossed {
                *crossed = crossed.saturating_add(row.whole64("bytes_up")?);
                *crossed = crossed.saturating_add(row.whole64("bytes_down")?);
            }
            let step = row.text("step")?;
            let milliseconds = row.instant("ended_ms")?.saturating_sub(row.instant("started_ms")?);
            let cost = Cost {
                tasks: 1,
                busy_seconds: milliseconds.max(0) as f64 / 1000.0,
                cpu_seconds: row.amount("cpu_seconds")?,
                gb_seconds: row.amount("gb_seconds")?,
                price: row.amount("price")?,
                bytes_in: row.whole64("bytes_in")?,
                bytes_out: row.whole64("bytes_out")?,
            };
            match costs.iter_mut().find(|(name, _)| name == step) {
                Some((_, sum)) => *sum += cost,
                None => costs.push((step.to_owned(), cost)),
            }
            let scores = self.scores.iter_mut().find(|scores| scores.step == step);
            if let Some(scores) = scores.filter(|scores| scores.owner.is_none()) {
                let subject = row.text("subject")?.parse::<Subject>();
                scores.owner = Some(owner(subject.map_err(|error| table.foreign(error))?));
            }
        }
        self.run.costs.insert(round, costs);
        self.run.crossed.extend(crossed.map(|bytes| (round, bytes)));
        Ok(())
    }

    fn rounds(&mut self, table: &Table<'_>, round: u32) -> Result<(), ReadError> {
        // Tables of an earlier release have no such columns.
        let says_selected = table.has("selected");
        for row in table.rows() {
            if says_selected {
                self.run.selected.insert(round, Some(selected(table, &row)?));
            }
            let (late, refused) = (row.text("stragglers")?, row.text("refused")?);
            let named = [late, refused].into_iter().filter(|who| !who.is_empty());
            self.run.troubles.extend(named.map(|who| Trouble {
                round,
                who: who.to_owned(),
            }));
        }
        Ok(())
    }
}

/// Who was selected, as a row of `rounds` says it.
fn selected(table: &Table<'_>, row: &Row<'_>) -> Result<Selected, ReadError> {
    let parties = row.whole("parties")?;
    let named = row.text("selected")?.split("; ").filter(|who| !who.is_empty());
    let slots = named.map(|who| match who.parse::<Subject>() {
        Ok(Subject::Party(slot)) if slot < parties => Ok(slot),
        _ => Err(table.foreign(format_args!("'{who}' is selected, and is none of {parties} parties"))),
    });
    Ok(Selected {
        parties,
        slots: slots.collect::<Result<BTreeSet<u32>, ReadError>>()?,
    })
}

/// Whose models a step has as its subjects.
fn owner(subject: Subject) -> Owner {
    match subject {
        Subject::Architecture(_) => Owner::Architectures,
        Subject::Server => Owner::Ensemble,
        Subject::Party(_) | Subject::Partition(_) => Owner::Parties,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reached::samples::{Results, shown};

    #[test]
    fn who_is_not_scored_in_a_round_keeps_its_last_score() {
        let results = Results::new();
        let shown = shown("fedavg", 0);
        results.scores(&shown, 0, "architecture", &[0.1, 0.2]);
        // Of the second architecture nobody was selected.
        results.scores(&shown, 1, "architecture", &[0.5]);
        results.scores(&shown, 2, "architecture", &[0.6, 0.7]);
        let read = run(results.0.path(), &shown, &mut None).unwrap();
        let accuracies: Vec<Vec<f64>> = read.scores[0]
            .rounds
            .values()
            .map(|slots| slots.values().map(|score| score.accuracy).collect())
            .collect();
        assert_eq!(accuracies, [[0.1, 0.2], [0.5, 0.2], [0.6, 0.7]]);
    }
}
