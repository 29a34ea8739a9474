//! Labelled images from Parquet, or windows of text, held as one byte a value.
//!
//! The file has a column of images (raw bytes, channels x height x width, or PNG, JPEG and WebP files, plain or in Hugging
//! Face's struct `{bytes, path}`) and a column of labels (whole numbers). Of raw images the key-value metadata `shape` =
//! `C,H,W` says what they are; `classes` and `class_names` (a JSON list) are optional, as is Hugging Face's own metadata.
//! Labels may be left out, renumbered and put together: see [`Columns::classes`].
//! Or it has a column of texts, whose windows of characters are labelled by the character that follows, the window or each of
//! its positions: a row has one label, or as many as it has positions.

mod classes;
mod columns;
mod encoded;
mod error;
mod images;
mod labels;
mod metadata;
mod owners;
mod read;
mod text;
mod values;

pub use error::DataError;

use crate::augment::Change;
use crate::partition::Known;
use crate::random::Stream;
use burn::tensor::{Device, Tensor, TensorData};
use bytes::Bytes;
use fedstill_schemas::data::{Augmentation, Columns, LabelsPer, Shape};
use fedstill_schemas::{Digest, canonical_json};
use sha2::{Digest as _, Sha256};
use std::path::Path;

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
    labels_per: LabelsPer,
    /// Row after row.
    labels: Vec<u32>,
    /// Of each row; empty where they were not asked for.
    owners: Vec<u32>,
    bytes: Vec<u8>,
    /// Where each row begins in the bytes; one after the other where `None`. Windows of a text overlap.
    starts: Option<Vec<u32>>,
    digest: Digest,
}

/// The shape of a window of so many characters.
fn window(length: u32) -> Shape {
    Shape {
        channels: 1,
        height: 1,
        width: length,
    }
}

impl std::fmt::Debug for Dataset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dataset")
            .field("rows", &self.rows())
            .field("classes", &self.classes)
            .field("values", &self.values)
            .field("shape", &self.shape)
            .field("labels_per", &self.labels_per)
            .field("digest", &self.digest)
            .finish_non_exhaustive()
    }
}

impl Dataset {
    /// Reads those columns of a file whole; where classes are listed, the rows whose labels are among them.
    ///
    /// # Errors
    /// [`DataError`], with the row where one is at fault.
    pub fn open(path: &Path, columns: &Columns) -> Result<Self, DataError> {
        read::open(path, columns)
    }

    /// Reads the bytes of a file, which messages call `name`.
    ///
    /// # Errors
    /// As [`Dataset::open`].
    pub fn parse(name: &str, file: Bytes, columns: &Columns) -> Result<Self, DataError> {
        read::read(Path::new(name), file, columns)
    }

    /// A data set from its rows: `images` row after row, `labels` below `classes`.
    ///
    /// # Panics
    /// If there are not as many images as labels, or a label is not below `classes`.
    pub fn from_rows(shape: Shape, classes: u32, images: Vec<u8>, labels: Vec<u32>) -> Self {
        assert_eq!(images.len(), labels.len() * shape.len(), "one image a label");
        let per = LabelsPer::Window;
        Self::of(Values::Pixels, shape, classes, images, None, labels, per)
    }

    /// A data set of text: `tokens` window after window, `length` of them each and below `vocabulary`, `labels` below
    /// `classes`. Its shape is 1 x 1 x `length`.
    ///
    /// # Panics
    /// As [`Dataset::from_rows`], and if a token is not below `vocabulary`.
    pub fn from_windows(length: u32, vocabulary: u32, classes: u32, tokens: Vec<u8>, labels: Vec<u32>) -> Self {
        assert_eq!(tokens.len(), labels.len() * length as usize, "one window a label");
        Self::of_tokens(length, vocabulary, classes, tokens, labels, LabelsPer::Window)
    }

    /// The same with a label at every position: as many `labels` as `tokens`, in their order.
    ///
    /// # Panics
    /// If there are not as many labels as tokens, or not whole windows of them, or a label is not below `classes`, or a token
    /// not below `vocabulary`.
    pub fn from_positions(length: u32, vocabulary: u32, classes: u32, tokens: Vec<u8>, labels: Vec<u32>) -> Self {
        assert_eq!(tokens.len(), labels.len(), "one label a token");
        assert!(tokens.len().is_multiple_of(length as usize), "whole windows");
        Self::of_tokens(length, vocabulary, classes, tokens, labels, LabelsPer::Position)
    }

    /// Windows one after the other.
    fn of_tokens(
        length: u32,
        vocabulary: u32,
        classes: u32,
        tokens: Vec<u8>,
        labels: Vec<u32>,
        labels_per: LabelsPer,
    ) -> Self {
        assert!(
            tokens.iter().all(|token| u32::from(*token) < vocabulary),
            "tokens run from 0 to {vocabulary} - 1"
        );
        let values = Values::Tokens { vocabulary };
        Self::of(values, window(length), classes, tokens, None, labels, labels_per)
    }

    /// Rows of bytes, one after the other or where they begin, and their labels row after row.
    fn of(
        values: Values,
        shape: Shape,
        classes: u32,
        bytes: Vec<u8>,
        starts: Option<Vec<u32>>,
        labels: Vec<u32>,
        labels_per: LabelsPer,
    ) -> Self {
        assert!(
            labels.iter().all(|label| *label < classes),
            "labels run from 0 to {classes} - 1"
        );
        let mut dataset = Self {
            values,
            shape,
            classes,
            class_names: Vec::new(),
            labels_per,
            labels,
            owners: Vec::new(),
            bytes,
            starts,
            digest: Digest::of(b""),
        };
        let mut hash = Sha256::new();
        let per = match labels_per {
            LabelsPer::Window => "",
            LabelsPer::Position => ", labels per position",
        };
        let frame = format!(
            "fedstill data 1 {},{},{} {} {}{per}\n",
            shape.channels,
            shape.height,
            shape.width,
            dataset.rows(),
            values.transform()
        );
        hash.update(frame);
        for label in &dataset.labels {
            hash.update(label.to_le_bytes());
        }
        for row in 0..dataset.rows() {
            hash.update(dataset.image(row));
        }
        dataset.digest = Digest::from_bytes(hash.finalize().into());
        dataset
    }

    /// The same rows, from columns and classes that were named, with the owner of each where that column was.
    fn of_columns(mut self, columns: &Columns, owners: Vec<u32>) -> Self {
        if !columns.is_default() {
            let mut hash = Sha256::new();
            hash.update(format!("{} {}\n", self.digest, canonical_json(columns)));
            for owner in &owners {
                hash.update(owner.to_le_bytes());
            }
            self.digest = Digest::from_bytes(hash.finalize().into());
            self.owners = owners;
        }
        self
    }

    /// Rows.
    pub fn rows(&self) -> u32 {
        (self.labels.len() / self.labels_per_row()) as u32
    }

    /// What of a row has a label.
    pub fn labels_per(&self) -> LabelsPer {
        self.labels_per
    }

    /// Labels of a row: 1, or as many as a window of text has positions.
    pub fn labels_per_row(&self) -> usize {
        self.labels_per.of(self.shape) as usize
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

    /// The labels of each row, row after row.
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// The labels of a row: one, or that of each position.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn labels_of(&self, row: u32) -> &[u32] {
        let count = self.labels_per_row();
        &self.labels[row as usize * count..][..count]
    }

    /// What a partition goes by: not the labels, where rows have several.
    pub fn known(&self) -> Known<'_> {
        Known {
            labels: match self.labels_per {
                LabelsPer::Window => &self.labels,
                LabelsPer::Position => &[],
            },
            classes: self.classes,
            owners: &self.owners,
        }
    }

    /// sha256 of shape, transform, what has a label, labels and rows, in order, and of the columns and classes that were
    /// named, and the owners among them: a file of which other columns are read, or other labels, is another data set.
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
        let start = match &self.starts {
            Some(starts) => starts[row as usize] as usize,
            None => row as usize * len,
        };
        &self.bytes[start..][..len]
    }

    /// Those rows as a network sees them: `rows x channels x height x width`, each value as [`Dataset::values`] says.
    ///
    /// # Panics
    /// If a row is not there.
    pub fn images(&self, rows: impl ExactSizeIterator<Item = u32>, device: &Device) -> Tensor<4> {
        let mut bytes = Vec::with_capacity(rows.len() * self.shape.len());
        let count = rows.len();
        for row in rows {
            bytes.extend(self.image(row));
        }
        self.seen(&bytes, count, device)
    }

    /// Images of those rows as a network sees them, each changed as those augmentations and the stream have it.
    ///
    /// # Panics
    /// If a row is not there.
    pub(crate) fn augmented(
        &self,
        rows: impl ExactSizeIterator<Item = u32>,
        augmentations: &[Augmentation],
        stream: &mut Stream,
        device: &Device,
    ) -> Tensor<4> {
        let mut bytes = Vec::with_capacity(rows.len() * self.shape.len());
        let count = rows.len();
        for row in rows {
            Change::draw(augmentations, stream).apply(self.shape, self.image(row), &mut bytes);
        }
        self.seen(&bytes, count, device)
    }

    fn seen(&self, bytes: &[u8], rows: usize, device: &Device) -> Tensor<4> {
        let seen: [f32; 256] = std::array::from_fn(|byte| match self.values {
            Values::Pixels => (byte as f32 / 255.0 - 0.5) / 0.5,
            Values::Tokens { .. } => byte as f32,
        });
        let Shape {
            channels,
            height,
            width,
        } = self.shape;
        let dims = [rows, channels as usize, height as usize, width as usize];
        let values: Vec<f32> = bytes.iter().map(|byte| seen[*byte as usize]).collect();
        Tensor::from_data(TensorData::new(values, dims), device)
    }
}
