//! Reads the result tables of runs. What is not there yet is passed over; what is there must be what a run wrote.

use super::summary::{Owner, Run, Score, Summary, Track, Trouble};
use super::{ReportError, Shown};
use arrow_array::{Array, Float64Array, RecordBatch, StringArray, UInt32Array, UInt64Array};
use fedstill_schemas::names;
use fedstill_schemas::results;
use fedstill_schemas::task::Subject;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Reads what the runs have reached so far, from the folder of the result tables.
///
/// # Errors
/// A table that cannot be read, or that these runs did not write.
pub(crate) fn load(results: &Path, runs: &[Shown]) -> Result<Summary, ReportError> {
    let mut tracks: Vec<Track> = Vec::new();
    let mut test_set = None;
    let mut numerics = BTreeSet::new();
    for shown in runs {
        let (owner, run) = read_run(results, shown, &mut test_set, &mut numerics)?;
        let found = tracks.iter().position(|track| track.pipeline == shown.pipeline);
        let at = found.unwrap_or_else(|| {
            tracks.push(Track {
                pipeline: shown.pipeline.clone(),
                owner: None,
                runs: Vec::new(),
            });
            tracks.len() - 1
        });
        tracks[at].owner = tracks[at].owner.or(owner);
        tracks[at].runs.push(run);
    }
    let name = runs.first().map_or("", |shown| {
        let end = names::run_id("", &shown.pipeline, shown.seed);
        shown.run.strip_suffix(&end).unwrap_or(&shown.run)
    });
    Ok(Summary {
        name: name.to_owned(),
        tracks,
        numerics,
    })
}

/// One run, and whose models it scores. The scores are those on one test set, the first one met.
fn read_run(
    results: &Path,
    shown: &Shown,
    test_set: &mut Option<String>,
    numerics: &mut BTreeSet<String>,
) -> Result<(Option<Owner>, Run), ReportError> {
    let mut owner = None;
    let mut run = Run {
        seed: shown.seed,
        wanted: shown.rounds,
        ..Run::default()
    };
    let mut round = 0;
    loop {
        let table = |table| Table::open(results, table, shown, round);
        let metrics = table(results::METRICS)?;
        if metrics.is_none() && round > shown.rounds {
            return Ok((owner, run));
        }
        numerics.extend(metrics.as_ref().and_then(|table| table.numerics.clone()));
        let mut scoring = None;
        for row in metrics.iter().flat_map(Table::rows) {
            let set = test_set.get_or_insert(row.text("test_set")?.to_owned());
            scoring.get_or_insert(row.text("step")?.to_owned());
            if row.text("test_set")? == set.as_str() {
                let score = Score {
                    architecture: row.text("architecture")?.to_owned(),
                    accuracy: row.share("accuracy")?,
                };
                run.rounds.entry(round).or_default().insert(row.whole("slot")?, score);
            }
        }
        if let (None, Some(step)) = (owner, scoring)
            && let Some(steps) = table(results::STEPS)?
        {
            owner = steps.scored(&step)?;
        }
        if let Some(rounds) = table(results::ROUNDS)? {
            for row in rounds.rows() {
                let (late, refused) = (row.text("stragglers")?, row.text("refused")?);
                let named = [late, refused].into_iter().filter(|who| !who.is_empty());
                run.troubles.extend(named.map(|who| Trouble {
                    round,
                    who: who.to_owned(),
                }));
            }
        }
        round += 1;
    }
}

/// One file of a table, whole: the files are a few kilobytes.
struct Table<'a> {
    path: PathBuf,
    name: &'static str,
    shown: &'a Shown,
    batches: Vec<RecordBatch>,
    numerics: Option<String>,
}

impl<'a> Table<'a> {
    /// Nothing if the file does not exist.
    fn open(folder: &Path, name: &'static str, shown: &'a Shown, round: u32) -> Result<Option<Self>, ReportError> {
        let path = folder.join(names::result_file(name, &shown.run, round));
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(reason) => return Err(ReportError::Unreadable { path, reason }),
        };
        let mut table = Table {
            path,
            name,
            shown,
            batches: Vec::new(),
            numerics: None,
        };
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| table.foreign(error))?;
        let metadata = reader.metadata().file_metadata().key_value_metadata();
        let value = |key: &str| {
            let found = metadata?.iter().find(|entry| entry.key == key)?;
            found.value.clone().filter(|value| !value.is_empty())
        };
        table.numerics = value(results::NUMERICS)
            .map(|class| format!("{class} (fedstill {})", value(results::RELEASE).unwrap_or_default()));
        for batch in reader.build().map_err(|error| table.foreign(error))? {
            let batch = batch.map_err(|error| table.foreign(error))?;
            table.batches.push(batch);
        }
        for row in table.rows() {
            let (pipeline, seed) = (row.text("pipeline")?, row.whole64("seed")?);
            if pipeline != shown.pipeline || seed != shown.seed {
                return Err(table.foreign(format_args!("it is of pipeline '{pipeline}', seed {seed}")));
            }
        }
        Ok(Some(table))
    }

    fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        let rows = |batch| (0..RecordBatch::num_rows(batch)).map(move |index| (batch, index));
        self.batches.iter().flat_map(rows).map(|(batch, index)| Row {
            table: self,
            batch,
            index,
        })
    }

    /// Whose models the step that scores has as its subjects.
    fn scored(&self, step: &str) -> Result<Option<Owner>, ReportError> {
        for row in self.rows() {
            if row.text("step")? == step {
                let subject = row.text("subject")?.parse::<Subject>();
                return match subject.map_err(|error| self.foreign(error))? {
                    Subject::Architecture(_) | Subject::Server => Ok(Some(Owner::Server)),
                    Subject::Party(_) | Subject::Partition(_) => Ok(Some(Owner::Parties)),
                };
            }
        }
        Ok(None)
    }

    fn foreign(&self, reason: impl ToString) -> ReportError {
        ReportError::Foreign {
            path: self.path.clone(),
            table: self.name,
            run: self.shown.run.clone(),
            reason: reason.to_string(),
        }
    }
}

struct Row<'a> {
    table: &'a Table<'a>,
    batch: &'a RecordBatch,
    index: usize,
}

impl<'a> Row<'a> {
    fn text(&self, column: &str) -> Result<&'a str, ReportError> {
        self.column::<StringArray>(column)
            .map(|values| values.value(self.index))
    }

    fn whole(&self, column: &str) -> Result<u32, ReportError> {
        self.column::<UInt32Array>(column)
            .map(|values| values.value(self.index))
    }

    fn whole64(&self, column: &str) -> Result<u64, ReportError> {
        self.column::<UInt64Array>(column)
            .map(|values| values.value(self.index))
    }

    /// A number from 0 to 1.
    fn share(&self, column: &str) -> Result<f64, ReportError> {
        let value = self.column::<Float64Array>(column)?.value(self.index);
        if (0.0..=1.0).contains(&value) {
            Ok(value)
        } else {
            Err(self
                .table
                .foreign(format_args!("{column} {value} is not between 0 and 1")))
        }
    }

    fn column<T: Array + 'static>(&self, column: &str) -> Result<&'a T, ReportError> {
        let found = self.batch.column_by_name(column);
        let found = found.ok_or_else(|| self.table.foreign(format_args!("it has no column '{column}'")))?;
        let typed = found.as_any().downcast_ref::<T>();
        let typed = typed.filter(|values| values.null_count() == 0);
        typed.ok_or_else(|| {
            let kind = found.data_type();
            let nulls = found.null_count();
            self.table
                .foreign(format_args!("its column '{column}' is {kind} with {nulls} nulls"))
        })
    }
}
