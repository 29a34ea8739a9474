//! Parquet in, data set out, or what is wrong with the file.

use super::{DataError, Dataset};
use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type};
use arrow_array::{Array, RecordBatch};
use arrow_schema::DataType;
use fedstill_schemas::data::Shape;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::reader::ChunkReader;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

const IMAGE: &str = "image";
const LABEL: &str = "label";

pub(super) fn open(path: &Path) -> Result<Dataset, DataError> {
    let file = File::open(path).map_err(|source| DataError::Open {
        path: path.to_owned(),
        source,
    })?;
    read(path, file)
}

/// Reads a file's bytes; `path` is what messages call it.
pub(super) fn read(path: &Path, file: impl ChunkReader + 'static) -> Result<Dataset, DataError> {
    let damaged = |reason: String| DataError::NotParquet {
        path: path.to_owned(),
        reason,
    };
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| damaged(error.to_string()))?;
    let rows = builder.metadata().file_metadata().num_rows();
    if rows == 0 {
        return Err(DataError::Empty { path: path.to_owned() });
    }
    if rows > i64::from(u32::MAX) {
        return Err(DataError::TooLarge {
            path: path.to_owned(),
            rows,
        });
    }
    let metadata: BTreeMap<String, String> = builder
        .metadata()
        .file_metadata()
        .key_value_metadata()
        .into_iter()
        .flatten()
        .filter_map(|pair| Some((pair.key.clone(), pair.value.clone()?)))
        .collect();
    let about = Metadata { path, values: metadata };
    about.encoding()?;
    let columns: Vec<&str> = builder
        .schema()
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .collect();
    let wanted = [column(path, &columns, IMAGE)?, column(path, &columns, LABEL)?];
    let mask = ProjectionMask::roots(builder.parquet_schema(), wanted);

    let mut content = Content {
        path,
        shape: about.shape()?,
        images: Vec::new(),
        labels: Vec::new(),
    };
    let reader = builder
        .with_projection(mask)
        .build()
        .map_err(|error| damaged(error.to_string()))?;
    for batch in reader {
        content.take(&batch.map_err(|error| damaged(error.to_string()))?)?;
    }
    let classes = about.classes()?;
    let labels = content.checked_labels(classes)?;
    let shape = content
        .shape
        .ok_or_else(|| DataError::Empty { path: path.to_owned() })?;
    let classes = classes.unwrap_or_else(|| labels.iter().max().map_or(0, |most| most + 1));
    let mut dataset = Dataset::from_rows(shape, classes, content.images, labels);
    dataset.class_names = about.class_names(classes)?;
    Ok(dataset)
}

/// The place of a column.
fn column(path: &Path, columns: &[&str], name: &'static str) -> Result<usize, DataError> {
    columns.iter().position(|column| *column == name).ok_or_else(|| {
        let distance = |column: &&&str| strsim::damerau_levenshtein(name, column);
        DataError::NoColumn {
            path: path.to_owned(),
            column: name,
            found: columns.join(", "),
            nearest: columns.iter().min_by_key(distance).unwrap_or(&"").to_string(),
        }
    })
}

/// The key-value metadata of the file.
struct Metadata<'a> {
    path: &'a Path,
    values: BTreeMap<String, String>,
}

impl Metadata<'_> {
    fn refuse(&self, key: &'static str, problem: String) -> DataError {
        DataError::Metadata {
            path: self.path.to_owned(),
            key,
            problem,
        }
    }

    fn encoding(&self) -> Result<(), DataError> {
        match self.values.get("encoding").map(String::as_str) {
            None | Some("raw") => Ok(()),
            Some(other) => {
                let problem = format!("is '{other}'; decode the images and store raw bytes, channels first");
                Err(self.refuse("encoding", problem))
            }
        }
    }

    fn shape(&self) -> Result<Option<Shape>, DataError> {
        let Some(text) = self.values.get("shape") else {
            return Ok(None);
        };
        let numbers: Result<Vec<u32>, _> = text.split(',').map(|number| number.trim().parse()).collect();
        match numbers.as_deref() {
            // Sides that fit 16 bits each, so that their product fits a u32 wherever the bytes fit memory.
            Ok([channels, height, width]) if [channels, height, width].iter().all(|side| (1..1024).contains(*side)) => {
                Ok(Some(Shape {
                    channels: *channels,
                    height: *height,
                    width: *width,
                }))
            }
            _ => Err(self.refuse(
                "shape",
                format!("is '{text}'; write channels,height,width as in 1,28,28"),
            )),
        }
    }

    fn classes(&self) -> Result<Option<u32>, DataError> {
        let Some(text) = self.values.get("classes") else {
            return Ok(None);
        };
        match text.trim().parse() {
            Ok(0) | Err(_) => Err(self.refuse("classes", format!("is '{text}'; write the number of classes"))),
            Ok(classes) => Ok(Some(classes)),
        }
    }

    fn class_names(&self, classes: u32) -> Result<Vec<String>, DataError> {
        let Some(text) = self.values.get("class_names") else {
            return Ok(Vec::new());
        };
        match serde_json::from_str::<Vec<String>>(text) {
            Ok(names) if names.len() == classes as usize => Ok(names),
            Ok(names) => {
                let problem = format!("has {} names for {classes} classes; give one a class", names.len());
                Err(self.refuse("class_names", problem))
            }
            Err(_) => Err(self.refuse("class_names", "is not a JSON list of texts".to_owned())),
        }
    }
}

/// A hint where bytes begin as an encoded image does.
fn encoded(image: &[u8]) -> &'static str {
    let starts: [(&[u8], &str); 3] = [
        (
            b"\x89PNG",
            " (but a PNG file: decode it and store raw bytes, channels first)",
        ),
        (
            b"\xff\xd8\xff",
            " (but a JPEG file: decode it and store raw bytes, channels first)",
        ),
        (
            b"RIFF",
            " (but a WebP file: decode it and store raw bytes, channels first)",
        ),
    ];
    let found = starts.iter().find(|(start, _)| image.starts_with(start));
    found.map_or("", |(_, hint)| hint)
}

/// What was read so far.
struct Content<'a> {
    path: &'a Path,
    shape: Option<Shape>,
    images: Vec<u8>,
    labels: Vec<i64>,
}

impl Content<'_> {
    fn take(&mut self, batch: &RecordBatch) -> Result<(), DataError> {
        for (name, wanted) in [
            (IMAGE, "raw bytes (binary)"),
            (LABEL, "whole numbers of at most 63 bits"),
        ] {
            let Some(column) = batch.column_by_name(name) else {
                continue;
            };
            let known = match name {
                IMAGE => self.take_images(column.as_ref())?,
                _ => self.take_labels(column.as_ref())?,
            };
            if !known {
                return Err(DataError::WrongType {
                    path: self.path.to_owned(),
                    column: name,
                    found: column.data_type().to_string(),
                    wanted,
                });
            }
        }
        Ok(())
    }

    /// Adds the images of a column; false where it has another type.
    fn take_images(&mut self, column: &dyn Array) -> Result<bool, DataError> {
        let first = match self.shape {
            Some(shape) => (self.images.len() / shape.len()) as u64,
            None => 0,
        };
        let mut add = |image: Option<&[u8]>, row: usize| self.take_image(image, first + row as u64);
        match column.data_type() {
            DataType::FixedSizeBinary(_) => {
                column
                    .as_fixed_size_binary()
                    .iter()
                    .enumerate()
                    .try_for_each(|(row, image)| add(image, row))?;
            }
            DataType::Binary => {
                column
                    .as_binary::<i32>()
                    .iter()
                    .enumerate()
                    .try_for_each(|(row, image)| add(image, row))?;
            }
            DataType::LargeBinary => {
                column
                    .as_binary::<i64>()
                    .iter()
                    .enumerate()
                    .try_for_each(|(row, image)| add(image, row))?;
            }
            DataType::BinaryView => {
                column
                    .as_binary_view()
                    .iter()
                    .enumerate()
                    .try_for_each(|(row, image)| add(image, row))?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn take_image(&mut self, image: Option<&[u8]>, row: u64) -> Result<(), DataError> {
        let path = || self.path.to_owned();
        let image = image.ok_or_else(|| DataError::Missing {
            path: path(),
            column: IMAGE,
            row,
        })?;
        let shape = match self.shape {
            Some(shape) => shape,
            None => *self.shape.insert(square(image.len()).ok_or_else(|| DataError::Metadata {
                path: path(),
                key: "shape",
                problem: format!(
                    "is missing, and {} bytes are no square image of one channel{}; add it: channels,height,width as in 3,32,32",
                    image.len(),
                    encoded(image)
                ),
            })?),
        };
        if image.len() != shape.len() {
            return Err(DataError::WrongLength {
                path: path(),
                row,
                found: image.len(),
                shape,
            });
        }
        self.images.extend(image);
        Ok(())
    }

    /// Adds the labels of a column; false where it has another type.
    fn take_labels(&mut self, column: &dyn Array) -> Result<bool, DataError> {
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
            _ => return Ok(false),
        };
        for label in labels {
            let row = self.labels.len() as u64;
            let missing = || DataError::Missing {
                path: self.path.to_owned(),
                column: LABEL,
                row,
            };
            self.labels.push(label.ok_or_else(missing)?);
        }
        Ok(true)
    }

    /// The labels, all of them below `classes`; without it, below 2^16.
    fn checked_labels(&self, classes: Option<u32>) -> Result<Vec<u32>, DataError> {
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
        self.labels.iter().enumerate().map(check).collect()
    }
}

/// The square image of one channel that has that many bytes.
fn square(bytes: usize) -> Option<Shape> {
    let side = bytes.isqrt();
    (side > 0 && side < 1024 && side * side == bytes).then_some(Shape {
        channels: 1,
        height: side as u32,
        width: side as u32,
    })
}

#[cfg(test)]
mod tests;
