//! One file of a result table, read whole: the files are a few kilobytes. What is there must be what a run wrote.

use super::ReadError;
use arrow_array::{Array, Float64Array, Int64Array, RecordBatch, StringArray, UInt32Array, UInt64Array};
use fedstill_schemas::{names, results};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

pub(super) struct Table<'a> {
    path: PathBuf,
    name: &'static str,
    run: &'a str,
    batches: Vec<RecordBatch>,
    /// The numerics classes of the machines that made it, with the release.
    pub(super) numerics: Option<String>,
    /// The provider whose prices its costs are by.
    pub(super) provider: Option<String>,
}

impl<'a> Table<'a> {
    /// Nothing if the file does not exist.
    pub(super) fn open(folder: &Path, name: &'static str, run: &'a str, round: u32) -> Result<Option<Self>, ReadError> {
        let path = folder.join(names::result_file(name, run, round));
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(reason) => return Err(ReadError::Unreadable { path, reason }),
        };
        let mut table = Table {
            path,
            name,
            run,
            batches: Vec::new(),
            numerics: None,
            provider: None,
        };
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| table.foreign(error))?;
        let metadata = reader.metadata().file_metadata().key_value_metadata();
        let value = |key: &str| {
            let found = metadata?.iter().find(|entry| entry.key == key)?;
            found.value.clone().filter(|value| !value.is_empty())
        };
        table.numerics = value(results::NUMERICS)
            .map(|class| format!("{class} (fedstill {})", value(results::RELEASE).unwrap_or_default()));
        table.provider = value(results::PROVIDER);
        for batch in reader.build().map_err(|error| table.foreign(error))? {
            let batch = batch.map_err(|error| table.foreign(error))?;
            table.batches.push(batch);
        }
        Ok(Some(table))
    }

    /// Checks that every row is of that pipeline and seed.
    pub(super) fn check(&self, pipeline: &str, seed: u64) -> Result<(), ReadError> {
        for row in self.rows() {
            let (its, own) = (row.text("pipeline")?, row.whole64("seed")?);
            if its != pipeline || own != seed {
                return Err(self.foreign(format_args!("it is of pipeline '{its}', seed {own}")));
            }
        }
        Ok(())
    }

    /// Whether it has rows with that column.
    pub(super) fn has(&self, column: &str) -> bool {
        let first = self.batches.first();
        first.is_some_and(|batch| batch.column_by_name(column).is_some())
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        let rows = |batch| (0..RecordBatch::num_rows(batch)).map(move |index| (batch, index));
        self.batches.iter().flat_map(rows).map(|(batch, index)| Row {
            table: self,
            batch,
            index,
        })
    }

    pub(super) fn foreign(&self, reason: impl ToString) -> ReadError {
        ReadError::Foreign {
            path: self.path.clone(),
            table: self.name,
            run: self.run.to_owned(),
            reason: reason.to_string(),
        }
    }
}

pub(super) struct Row<'a> {
    table: &'a Table<'a>,
    batch: &'a RecordBatch,
    index: usize,
}

impl<'a> Row<'a> {
    pub(super) fn text(&self, column: &str) -> Result<&'a str, ReadError> {
        self.column::<StringArray>(column)
            .map(|values| values.value(self.index))
    }

    pub(super) fn whole(&self, column: &str) -> Result<u32, ReadError> {
        self.column::<UInt32Array>(column)
            .map(|values| values.value(self.index))
    }

    pub(super) fn whole64(&self, column: &str) -> Result<u64, ReadError> {
        self.column::<UInt64Array>(column)
            .map(|values| values.value(self.index))
    }

    /// An instant in milliseconds.
    pub(super) fn instant(&self, column: &str) -> Result<i64, ReadError> {
        self.column::<Int64Array>(column).map(|values| values.value(self.index))
    }

    /// A number from 0 to 1.
    pub(super) fn share(&self, column: &str) -> Result<f64, ReadError> {
        let value = self.column::<Float64Array>(column)?.value(self.index);
        if (0.0..=1.0).contains(&value) {
            Ok(value)
        } else {
            Err(self
                .table
                .foreign(format_args!("{column} {value} is not between 0 and 1")))
        }
    }

    /// A finite number from 0.
    pub(super) fn amount(&self, column: &str) -> Result<f64, ReadError> {
        let value = self.column::<Float64Array>(column)?.value(self.index);
        if value.is_finite() && value >= 0.0 {
            Ok(value)
        } else {
            Err(self.table.foreign(format_args!("{column} {value} is no amount")))
        }
    }

    fn column<T: Array + 'static>(&self, column: &str) -> Result<&'a T, ReadError> {
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
