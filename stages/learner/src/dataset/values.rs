//! The values of a column, whatever their width and layout.

use arrow_array::Array;
use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type};
use arrow_schema::DataType;

/// Whole numbers of at most 63 bits; `None` where the column has another type.
pub(super) fn numbers(column: &dyn Array) -> Option<Vec<Option<i64>>> {
    macro_rules! widen {
        ($type:ty) => {
            column
                .as_primitive::<$type>()
                .iter()
                .map(|number| number.map(i64::from))
                .collect()
        };
    }
    Some(match column.data_type() {
        DataType::Int8 => widen!(Int8Type),
        DataType::Int16 => widen!(Int16Type),
        DataType::Int32 => widen!(Int32Type),
        DataType::Int64 => widen!(Int64Type),
        DataType::UInt8 => widen!(UInt8Type),
        DataType::UInt16 => widen!(UInt16Type),
        DataType::UInt32 => widen!(UInt32Type),
        _ => return None,
    })
}

/// Bytes, or a struct's column `bytes`; `None` where the column has another type.
pub(super) fn binaries(column: &dyn Array) -> Option<Vec<Option<&[u8]>>> {
    Some(match column.data_type() {
        DataType::FixedSizeBinary(_) => column.as_fixed_size_binary().iter().collect(),
        DataType::Binary => column.as_binary::<i32>().iter().collect(),
        DataType::LargeBinary => column.as_binary::<i64>().iter().collect(),
        DataType::BinaryView => column.as_binary_view().iter().collect(),
        DataType::Struct(_) => {
            let rows = column.as_struct();
            let bytes = binaries(rows.column_by_name("bytes")?.as_ref())?;
            let bytes = bytes.into_iter().enumerate();
            bytes.map(|(row, bytes)| bytes.filter(|_| rows.is_valid(row))).collect()
        }
        _ => return None,
    })
}

/// Texts; `None` where the column has another type.
pub(super) fn texts(column: &dyn Array) -> Option<Vec<Option<&str>>> {
    Some(match column.data_type() {
        DataType::Utf8 => column.as_string::<i32>().iter().collect(),
        DataType::LargeUtf8 => column.as_string::<i64>().iter().collect(),
        DataType::Utf8View => column.as_string_view().iter().collect(),
        DataType::Dictionary(..) => {
            let dictionary = column.as_any_dictionary();
            let words = texts(dictionary.values().as_ref())?;
            if words.is_empty() {
                return Some(vec![None; column.len()]);
            }
            let keys = dictionary.normalized_keys().into_iter().enumerate();
            keys.map(|(row, key)| words[key].filter(|_| column.is_valid(row)))
                .collect()
        }
        _ => return None,
    })
}
