//! A column of texts to windows of characters, each with the character that follows it as its label, or with a label at every
//! position, the character that follows there.
//!
//! As LEAF prepares Shakespeare (Caldas et al. 2018, arXiv:1812.01097): the texts of an owner one after the other, line ends
//! as spaces, several spaces as one, a window of 80 characters at every place. A token is a character's place in LEAF's
//! alphabet of 80, after 0, which stands for nothing, and 1, which stands for any other character: 82, as Keras counts
//! them for FedLess (arXiv:2402.07295).
//!
//! Windows with a label at every position are one after the other instead, so that no character is a label twice: at every
//! place it would be one 80 times, and rows that are held out would be trained on in the windows beside them. Either way
//! there is no window that nothing follows.

use super::owners::Owners;
use super::read::each;
use super::values::texts;
use super::{DataError, Dataset, Values, window};
use arrow_array::{Array, RecordBatch};
use fedstill_schemas::data::LabelsPer;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::reader::ChunkReader;
use std::path::Path;

/// LEAF's alphabet.
const LETTERS: &str = "\n !\"&'(),-.0123456789:;>?ABCDEFGHIJKLMNOPQRSTUVWXYZ[]abcdefghijklmnopqrstuvwxyz}";
/// The token of a character that is not in it.
const UNKNOWN: u8 = 1;
/// The token of its first character.
const FIRST: u8 = 2;
const SPACE: u8 = FIRST + 1;
/// Tokens are below it.
const VOCABULARY: u32 = 82;
/// Characters of a window.
const WINDOW: usize = 80;

/// Reads the texts of a file; without owners they are one text.
pub(super) fn read<R: ChunkReader + 'static>(
    path: &Path,
    builder: ParquetRecordBatchReaderBuilder<R>,
    text: &str,
    owner: Option<&str>,
    labels_per: LabelsPer,
) -> Result<(Dataset, Vec<u32>), DataError> {
    let mut read = Texts {
        path,
        column: text,
        rows: 0,
        owned: Vec::new(),
    };
    let mut owners = owner.map(|owner| (owner, Owners::new(path, owner)));
    let columns: Vec<&str> = [text].into_iter().chain(owner).collect();
    each(path, builder, &columns, |batch| {
        let owned = owners.as_mut().and_then(|(owner, owners)| {
            let column = batch.column_by_name(owner)?;
            Some(owners.take(column.as_ref(), &vec![true; batch.num_rows()]))
        });
        read.take(batch, owned.transpose()?)
    })?;
    let (dataset, whose) = read.cut(labels_per)?;
    Ok((dataset, if owner.is_some() { whose } else { Vec::new() }))
}

/// What was read so far.
struct Texts<'a> {
    path: &'a Path,
    column: &'a str,
    rows: u64,
    /// Tokens of each owner.
    owned: Vec<Vec<u8>>,
}

impl Texts<'_> {
    /// Adds the texts of a batch, to their owners.
    fn take(&mut self, batch: &RecordBatch, owners: Option<&[u32]>) -> Result<(), DataError> {
        let Some(column) = batch.column_by_name(self.column) else {
            return Ok(());
        };
        let texts = texts(column.as_ref()).ok_or_else(|| DataError::WrongType {
            path: self.path.to_owned(),
            column: self.column.to_owned(),
            found: column.data_type().to_string(),
            wanted: "texts",
        })?;
        for (row, text) in texts.into_iter().enumerate() {
            let text = text.ok_or_else(|| DataError::Missing {
                path: self.path.to_owned(),
                column: self.column.to_owned(),
                row: self.rows,
            })?;
            let owner = owners.map_or(0, |owners| owners[row] as usize);
            if self.owned.len() <= owner {
                self.owned.resize(owner + 1, Vec::new());
            }
            add(&mut self.owned[owner], text);
            self.rows += 1;
        }
        Ok(())
    }

    /// All windows, owner after owner, and whose each is.
    fn cut(self, labels_per: LabelsPer) -> Result<(Dataset, Vec<u32>), DataError> {
        // From one window to the next, and the first of a window's labels.
        let (apart, first) = match labels_per {
            LabelsPer::Window => (1, WINDOW),
            LabelsPer::Position => (WINDOW, 1),
        };
        let tokens: usize = self.owned.iter().map(Vec::len).sum();
        if tokens > u32::MAX as usize {
            return Err(DataError::TooLarge {
                path: self.path.to_owned(),
                rows: tokens as i64,
            });
        }
        let (mut all, mut starts, mut owners) = (Vec::with_capacity(tokens), Vec::new(), Vec::new());
        for (owner, tokens) in self.owned.into_iter().enumerate() {
            let places = tokens.len().saturating_sub(WINDOW);
            let start = all.len();
            starts.extend((start..start + places).step_by(apart).map(|start| start as u32));
            owners.resize(starts.len(), owner as u32);
            all.extend(tokens);
        }
        if starts.is_empty() {
            return Err(DataError::TooShort {
                path: self.path.to_owned(),
                column: self.column.to_owned(),
                window: WINDOW,
            });
        }
        let follow = |start: &u32| &all[*start as usize..][first..=WINDOW];
        let labels: Vec<u32> = starts.iter().flat_map(follow).map(|token| u32::from(*token)).collect();
        let values = Values::Tokens { vocabulary: VOCABULARY };
        let shape = window(WINDOW as u32);
        let dataset = Dataset::of(values, shape, VOCABULARY, all, Some(starts), labels, labels_per);
        Ok((dataset, owners))
    }
}

/// Adds a text and the end of its last line.
fn add(tokens: &mut Vec<u8>, text: &str) {
    for character in text.chars().chain(['\n']) {
        let token = match character {
            '\n' | '\r' | ' ' => SPACE,
            other => LETTERS.find(other).map_or(UNKNOWN, |place| FIRST + place as u8),
        };
        if token != SPACE || tokens.last() != Some(&SPACE) {
            tokens.push(token);
        }
    }
}
