//! Labelled images from Parquet, held as the bytes that they are; windows of text beside them, from memory.
//!
//! The file has a column `image` (raw bytes, channels x height x width, one byte a value) and a column `label` (whole
//! numbers), and the key-value metadata `shape` = `C,H,W`; `classes` and `class_names` (a JSON list) are optional.

mod read;

use burn::tensor::{Device, Tensor, TensorData};
use bytes::Bytes;
use fedstill_schemas::Digest;
use fedstill_schemas::data::Shape;
use sha2::{Digest as _, Sha256};
use std::path::{Path, PathBuf};

/// What a row's bytes are, and what a network sees of each; a part of a data set's identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Values {
    /// Pixels of an image, seen as `(x / 255 - 0.5) / 0.5`.
    Pixels,
    /// Tokens of a window of text, seen as the numbers that they are.
    Tokens {
        /// Tokens run from 0 to `vocabulary` - 1.
        vocabulary: u32,
    },
}

impl Values {
    /// What is done to a byte before a network sees it.
    fn transform(self) -> String {
        match self {
            Self::Pixels => "(x/255-0.5)/0.5".to_owned(),
            Self::Tokens { vocabulary } => format!("token below {vocabulary}"),
        }
    }

    /// Whether a network that reads these can read those.
    pub(crate) fn include(self, others: Self) -> bool {
        match (self, others) {
            (Self::Pixels, Self::Pixels) => true,
            (Self::Tokens { vocabulary: most }, Self::Tokens { vocabulary }) => vocabulary <= most,
            _ => false,
        }
    }
}

impl std::fmt::Display for Values {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Pixels => f.write_str("images"),
            Self::Tokens { vocabulary } => write!(f, "text of {vocabulary} tokens"),
        }
    }
}

/// Labelled rows of bytes: images, channels x height x width, or windows of text, 1 x 1 x length.
#[derive(Clone)]
pub struct Dataset {
    values: Values,
    shape: Shape,
    classes: u32,
    class_names: Vec<String>,
    labels: Vec<u32>,
    images: Vec<u8>,
    digest: Digest,
}

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
    #[error("{path} has no column '{column}'; its columns are {found}: rename '{nearest}' if it is the one", path = path.display())]
    NoColumn {
        /// The file.
        path: PathBuf,
        /// The column looked for.
        column: &'static str,
        /// The columns there are.
        found: String,
        /// The column with the name most like it.
        nearest: String,
    },
    /// A column has another type.
    #[error("{path}: column '{column}' is {found}; it must hold {wanted}", path = path.display())]
    WrongType {
        /// The file.
        path: PathBuf,
        /// The column.
        column: &'static str,
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
        column: &'static str,
        /// The row, from 0.
        row: u64,
    },
    /// The metadata does not say what the bytes are.
    #[error("{path}: metadata '{key}' {problem}", path = path.display())]
    Metadata {
        /// The file.
        path: PathBuf,
        /// The key.
        key: &'static str,
        /// What is wrong, and what to write.
        problem: String,
    },
    /// An image has another size than the shape says.
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
    /// There are no rows.
    #[error("{path} has no rows", path = path.display())]
    Empty {
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

impl std::fmt::Debug for Dataset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dataset")
            .field("rows", &self.rows())
            .field("classes", &self.classes)
            .field("values", &self.values)
            .field("shape", &self.shape)
            .field("digest", &self.digest)
            .finish_non_exhaustive()
    }
}

impl Dataset {
    /// Reads a file whole.
    ///
    /// # Errors
    /// [`DataError`], with the row where one is at fault.
    pub fn open(path: &Path) -> Result<Self, DataError> {
        read::open(path)
    }

    /// Reads the bytes of a file, which messages call `name`.
    ///
    /// # Errors
    /// As [`Dataset::open`].
    pub fn parse(name: &str, file: Bytes) -> Result<Self, DataError> {
        read::read(Path::new(name), file)
    }

    /// A data set from its rows: `images` row after row, `labels` below `classes`.
    ///
    /// # Panics
    /// If there are not as many images as labels, or a label is not below `classes`.
    pub fn from_rows(shape: Shape, classes: u32, images: Vec<u8>, labels: Vec<u32>) -> Self {
        Self::of(Values::Pixels, shape, classes, images, labels)
    }

    /// A data set of text: `tokens` window after window, `length` of them each and below `vocabulary`, `labels` below
    /// `classes`. Its shape is 1 x 1 x `length`.
    ///
    /// # Panics
    /// As [`Dataset::from_rows`], and if a token is not below `vocabulary`.
    pub fn from_windows(length: u32, vocabulary: u32, classes: u32, tokens: Vec<u8>, labels: Vec<u32>) -> Self {
        assert!(
            tokens.iter().all(|token| u32::from(*token) < vocabulary),
            "tokens run from 0 to {vocabulary} - 1"
        );
        let shape = Shape {
            channels: 1,
            height: 1,
            width: length,
        };
        Self::of(Values::Tokens { vocabulary }, shape, classes, tokens, labels)
    }

    fn of(values: Values, shape: Shape, classes: u32, images: Vec<u8>, labels: Vec<u32>) -> Self {
        assert_eq!(images.len(), labels.len() * shape.len(), "one image a label");
        assert!(
            labels.iter().all(|label| *label < classes),
            "labels run from 0 to {classes} - 1"
        );
        let mut hash = Sha256::new();
        let frame = format!(
            "fedstill data 1 {},{},{} {} {}\n",
            shape.channels,
            shape.height,
            shape.width,
            labels.len(),
            values.transform()
        );
        hash.update(frame);
        for label in &labels {
            hash.update(label.to_le_bytes());
        }
        hash.update(&images);
        let digest = Digest::from_bytes(hash.finalize().into());
        Self {
            values,
            shape,
            classes,
            class_names: Vec::new(),
            labels,
            images,
            digest,
        }
    }

    /// Rows.
    pub fn rows(&self) -> u32 {
        self.labels.len() as u32
    }

    /// Label values run from 0 to `classes` - 1.
    pub fn classes(&self) -> u32 {
        self.classes
    }

    /// What its bytes are.
    pub fn values(&self) -> Values {
        self.values
    }

    /// Shape of a row.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// The label of each row.
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// sha256 of shape, transform, labels and rows, in order.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Names of the classes; empty where the file has none.
    pub fn class_names(&self) -> &[String] {
        &self.class_names
    }

    /// The bytes of a row, channels x height x width.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn image(&self, row: u32) -> &[u8] {
        let len = self.shape.len();
        &self.images[row as usize * len..][..len]
    }

    /// Those rows as a network sees them: `rows x channels x height x width`, each value as [`Dataset::values`] says.
    ///
    /// # Panics
    /// If a row is not there.
    pub fn images(&self, rows: impl ExactSizeIterator<Item = u32>, device: &Device) -> Tensor<4> {
        let seen: [f32; 256] = std::array::from_fn(|byte| match self.values {
            Values::Pixels => (byte as f32 / 255.0 - 0.5) / 0.5,
            Values::Tokens { .. } => byte as f32,
        });
        let Shape {
            channels,
            height,
            width,
        } = self.shape;
        let dims = [rows.len(), channels as usize, height as usize, width as usize];
        let mut values = Vec::with_capacity(rows.len() * self.shape.len());
        for row in rows {
            values.extend(self.image(row).iter().map(|byte| seen[*byte as usize]));
        }
        Tensor::from_data(TensorData::new(values, dims), device)
    }
}
