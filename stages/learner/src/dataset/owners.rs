//! A column that says whose each row is.

use super::DataError;
use super::values::{numbers, texts};
use arrow_array::Array;
use std::collections::BTreeMap;
use std::path::Path;

/// What was read so far.
pub(super) struct Owners<'a> {
    path: &'a Path,
    column: &'a str,
    /// Numbers of owners, in the order of their first rows.
    known: BTreeMap<String, u32>,
    rows: Vec<u32>,
}

impl<'a> Owners<'a> {
    pub(super) fn new(path: &'a Path, column: &'a str) -> Self {
        Self {
            path,
            column,
            known: BTreeMap::new(),
            rows: Vec::new(),
        }
    }

    /// The owner of each row.
    pub(super) fn finish(self) -> Vec<u32> {
        self.rows
    }

    /// Adds the owners of a column, and gives them.
    pub(super) fn take(&mut self, column: &dyn Array) -> Result<&[u32], DataError> {
        let first = self.rows.len();
        if let Some(names) = texts(column) {
            names
                .into_iter()
                .try_for_each(|name| self.add(name.map(str::to_owned)))?;
            return Ok(&self.rows[first..]);
        }
        let numbers = numbers(column).ok_or_else(|| DataError::WrongType {
            path: self.path.to_owned(),
            column: self.column.to_owned(),
            found: column.data_type().to_string(),
            wanted: "names of owners (texts or whole numbers)",
        })?;
        numbers
            .into_iter()
            .try_for_each(|number| self.add(number.map(|number| number.to_string())))?;
        Ok(&self.rows[first..])
    }

    fn add(&mut self, name: Option<String>) -> Result<(), DataError> {
        let name = name.ok_or_else(|| DataError::Missing {
            path: self.path.to_owned(),
            column: self.column.to_owned(),
            row: self.rows.len() as u64,
        })?;
        let next = self.known.len() as u32;
        self.rows.push(*self.known.entry(name).or_insert(next));
        Ok(())
    }
}
