//! A column of labels.

use super::DataError;
use super::values::numbers;
use arrow_array::Array;
use std::path::Path;

/// What was read so far.
pub(super) struct Labels<'a> {
    path: &'a Path,
    column: &'a str,
    values: Vec<i64>,
}

impl<'a> Labels<'a> {
    pub(super) fn new(path: &'a Path, column: &'a str) -> Self {
        Self {
            path,
            column,
            values: Vec::new(),
        }
    }

    /// Adds the labels of a column.
    pub(super) fn take(&mut self, column: &dyn Array) -> Result<(), DataError> {
        let labels = numbers(column).ok_or_else(|| DataError::WrongType {
            path: self.path.to_owned(),
            column: self.column.to_owned(),
            found: column.data_type().to_string(),
            wanted: "whole numbers of at most 63 bits",
        })?;
        for label in labels {
            let row = self.values.len() as u64;
            let missing = || DataError::Missing {
                path: self.path.to_owned(),
                column: self.column.to_owned(),
                row,
            };
            self.values.push(label.ok_or_else(missing)?);
        }
        Ok(())
    }

    /// The labels, all of them below `classes`; without it, below 2^16.
    pub(super) fn below(&self, classes: Option<u32>) -> Result<Vec<u32>, DataError> {
        let most = i64::from(classes.unwrap_or(1 << 16)) - 1;
        let check = |(row, label): (usize, &i64)| {
            if (0..=most).contains(label) {
                return Ok(*label as u32);
            }
            Err(DataError::LabelOutside {
                path: self.path.to_owned(),
                row: row as u64,
                label: *label,
                most,
            })
        };
        self.values.iter().enumerate().map(check).collect()
    }
}
