//! Parquet in, data set out, or what is wrong with the file.

use super::classes::Classes;
use super::columns::Columns;
use super::images::Images;
use super::labels::Labels;
use super::metadata::{self, Metadata};
use super::owners::Owners;
use super::{DataError, Dataset, text};
use arrow_array::RecordBatch;
use fedstill_schemas::data::{self, LabelsPer};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::reader::ChunkReader;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

pub(super) fn open(path: &Path, columns: &data::Columns) -> Result<Dataset, DataError> {
    let file = File::open(path).map_err(|source| DataError::Open {
        path: path.to_owned(),
        source,
    })?;
    read(path, file, columns)
}

/// Reads a file's bytes; `path` is what messages call it.
pub(super) fn read(path: &Path, file: impl ChunkReader + 'static, named: &data::Columns) -> Result<Dataset, DataError> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| damaged(path, error))?;
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
    let about = Metadata::new(path, builder.metadata().file_metadata());
    let schema = Arc::clone(builder.schema());
    let columns = Columns {
        path,
        names: schema.fields().iter().map(|field| field.name().as_str()).collect(),
        about: &about,
    };
    let owner = columns.owner(named.owner.as_deref())?;
    if let Some(text) = &named.text {
        let (dataset, owners) = text::read(path, builder, columns.text(text)?, owner, named.labels_per)?;
        return Ok(dataset.of_columns(named, owners));
    }
    if named.labels_per == LabelsPer::Position {
        return Err(DataError::NoPositions { path: path.to_owned() });
    }
    let image = columns.image(named.image.as_deref())?;
    let label = columns.label(named.label.as_deref())?;
    let mut images = Images::new(path, image, about.encoding()?, about.shape()?);
    let classes = Classes::new(&named.classes);
    let known = about.classes(label)?;
    let mut labels = Labels::new(path, label, &classes, known);
    let mut owners = owner.map(|owner| Owners::new(path, owner));
    let read: Vec<&str> = [image, label].into_iter().chain(owner).collect();
    each(path, builder, &read, |batch| {
        let Some(column) = batch.column_by_name(label) else {
            return Ok(());
        };
        let used = labels.take(column.as_ref())?;
        if let Some(column) = batch.column_by_name(image) {
            images.take(column.as_ref(), &used)?;
        }
        if let (Some(owners), Some(owner)) = (&mut owners, owner)
            && let Some(column) = batch.column_by_name(owner)
        {
            owners.take(column.as_ref(), &used)?;
        }
        Ok(())
    })?;

    let (count, names) = about.class_names(label, known, labels.largest())?;
    let known = known.or((!names.is_empty()).then_some(count)).unwrap_or(0);
    let labels = labels.finish(known, &metadata::key(label, "classes"))?;
    let (classes, class_names) = classes.of_labels(count, names);
    let (shape, images) = images
        .finish()
        .filter(|_| !labels.is_empty())
        .ok_or_else(|| DataError::Empty { path: path.to_owned() })?;
    let mut dataset = Dataset::from_rows(shape, classes, images, labels);
    dataset.class_names = class_names;
    Ok(dataset.of_columns(named, owners.map(Owners::finish).unwrap_or_default()))
}

fn damaged(path: &Path, error: impl std::fmt::Display) -> DataError {
    DataError::NotParquet {
        path: path.to_owned(),
        reason: error.to_string(),
    }
}

/// Hands out the rows of those columns, some at a time.
pub(super) fn each<R: ChunkReader + 'static>(
    path: &Path,
    builder: ParquetRecordBatchReaderBuilder<R>,
    columns: &[&str],
    mut take: impl FnMut(&RecordBatch) -> Result<(), DataError>,
) -> Result<(), DataError> {
    let schema = builder.schema();
    let places = columns.iter().filter_map(|column| schema.index_of(column).ok());
    let mask = ProjectionMask::roots(builder.parquet_schema(), places);
    let reader = builder
        .with_projection(mask)
        .build()
        .map_err(|error| damaged(path, error))?;
    for batch in reader {
        take(&batch.map_err(|error| damaged(path, error))?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
