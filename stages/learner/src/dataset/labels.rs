//! A column of labels.

use super::DataError;
use arrow_array::Array;
use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type};
use arrow_schema::DataType;
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
        macro_rules! widen {
            ($type:ty) => {
                column
                    .as_primitive::<$type>()
                    .iter()
                    .map(|label| label.map(i64::from))
                    .collect()
            };
        }
        let labels: Vec<Option<i64>> = match column.data_type() {
            DataType::Int8 => widen!(Int8Type),
            DataType::Int16 => widen!(Int16Type),
            DataType::Int32 => widen!(Int32Type),
            DataType::Int64 => widen!(Int64Type),
            DataType::UInt8 => widen!(UInt8Type),
            DataType::UInt16 => widen!(UInt16Type),
            DataType::UInt32 => widen!(UInt32Type),
            other => {
                return Err(DataError::WrongType {
                    path: self.path.to_owned(),
                    column: self.column.to_owned(),
                    found: other.to_string(),
                    wanted: "whole numbers of at most 63 bits",
                });
            }
        };
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
