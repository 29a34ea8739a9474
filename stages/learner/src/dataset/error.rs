//! What can be wrong with a file that is to be a data set.

use fedstill_schemas::data::Shape;
use std::path::PathBuf;

/// A file is not a data set. The text says what to change.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// It cannot be opened.
    #[error("cannot open {path}: {source}; check the path, which is relative to the run file", path = path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// It is not Parquet, or damaged.
    #[error("{path} cannot be read as Parquet: {reason}", path = path.display())]
    NotParquet {
        /// The file.
        path: PathBuf,
        /// What the reader says.
        reason: String,
    },
    /// A column is missing.
    #[error(
        "{path} has no column '{column}'; its columns are {found}: write {key} = \"{nearest}\" if that is the one",
        path = path.display()
    )]
    NoColumn {
        /// The file.
        path: PathBuf,
        /// What names the column, where it is named.
        key: &'static str,
        /// The column looked for.
        column: String,
        /// The columns there are.
        found: String,
        /// The column with the name most like it.
        nearest: String,
    },
    /// Several columns could be meant.
    #[error("{path} has several columns for '{key}': {found}; name one, as in {key} = \"{first}\"", path = path.display())]
    Ambiguous {
        /// The file.
        path: PathBuf,
        /// What names the column.
        key: &'static str,
        /// The columns that it could be.
        found: String,
        /// One of them.
        first: String,
    },
    /// A column has another type.
    #[error("{path}: column '{column}' is {found}; it must hold {wanted}", path = path.display())]
    WrongType {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
        /// Its type.
        found: String,
        /// What it must hold.
        wanted: &'static str,
    },
    /// A row has no value.
    #[error("{path}: row {row} has no '{column}'; remove the row or give it one", path = path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
        /// The row, from 0.
        row: u64,
    },
    /// The metadata does not say what the bytes are.
    #[error("{path}: metadata '{key}' {problem}", path = path.display())]
    Metadata {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// What is wrong, and what to write.
        problem: String,
    },
    /// An encoded image is broken, or is unlike the others.
    #[error("{path}: the image of row {row} {problem}", path = path.display())]
    BadImage {
        /// The file.
        path: PathBuf,
        /// The row, from 0.
        row: u64,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// A raw image has another size than the shape says.
    #[error(
        "{path}: the image of row {row} has {found} bytes and {} x {} x {} needs {}; \
         store raw bytes, one a value, channels first",
        shape.channels, shape.height, shape.width, shape.len(), path = path.display()
    )]
    WrongLength {
        /// The file.
        path: PathBuf,
        /// The row, from 0.
        row: u64,
        /// Its bytes.
        found: usize,
        /// The shape of all images.
        shape: Shape,
    },
    /// A label is not a class.
    #[error("{path}: the label of row {row} is {label}; labels must run from 0 to {most}", path = path.display())]
    LabelOutside {
        /// The file.
        path: PathBuf,
        /// The row, from 0.
        row: u64,
        /// Its label.
        label: i64,
        /// The largest label there may be.
        most: i64,
    },
    /// A label is listed that no row has.
    #[error(
        "no row of {path} has the label {label} that 'classes' lists; its labels run from {least} to {most}: list labels \
         that rows have, or write into the file's metadata '{metadata}' how many labels there are, where rows may lack some",
        path = path.display()
    )]
    NoSuchLabel {
        /// The file.
        path: PathBuf,
        /// The label.
        label: u32,
        /// The smallest label of a row.
        least: i64,
        /// The largest label of a row.
        most: i64,
        /// The key of the metadata that says how many labels there are.
        metadata: String,
    },
    /// There are no rows.
    #[error("{path} has no rows", path = path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// No text gives a window.
    #[error(
        "{path}: no text of column '{column}' is longer than {window} characters; where rows are lines of a text, leave \
         their owner out, or name who has more of them",
        path = path.display()
    )]
    TooShort {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
        /// Characters of a window.
        window: usize,
    },
    /// Labels at every position are asked for of images.
    #[error(
        "{path} would be read as images, and labels_per = \"position\" is about text: name the column of texts, as in text = \
         \"text\", or remove labels_per",
        path = path.display()
    )]
    NoPositions {
        /// The file.
        path: PathBuf,
    },
    /// There are more rows than a row number can name.
    #[error("{path} has {rows} rows and a data set at most {}; split it", u32::MAX, path = path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its rows.
        rows: i64,
    },
}

impl DataError {
    /// The key of a run file's `{ url = .. }` that it is about.
    pub fn key(&self) -> &'static str {
        match self {
            Self::NoColumn { key, .. } | Self::Ambiguous { key, .. } => key,
            Self::NoSuchLabel { .. } => "classes",
            Self::NoPositions { .. } => "labels_per",
            _ => "url",
        }
    }
}
