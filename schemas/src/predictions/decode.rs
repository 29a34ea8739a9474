//! The reader of predictions: any bytes give predictions or an error, values are not copied, and nothing that a message
//! declares is trusted. Arrow's own stream reader trusts declared lengths and panics on a poisoned record; this one knows
//! the one schema that there is, and looks up in the frames what it needs.

use super::flat::Table;
use super::{Identity, Predictions, PredictionsError, Values};
use crate::resolved::VERSION;
use crate::task::Attempt;
use arrow_buffer::{ArrowNativeType, Buffer, ScalarBuffer};
use bytes::Bytes;
use std::ops::Range;

/// Fields of the tables of Arrow's `Message.fbs` and `Schema.fbs`, by their place there. A union takes two: which kind of
/// table it is, and the table.
mod fields {
    pub(super) const MESSAGE_KIND: usize = 1;
    pub(super) const MESSAGE_HEADER: usize = 2;
    pub(super) const MESSAGE_BODY_LENGTH: usize = 3;
    pub(super) const SCHEMA_FIELDS: usize = 1;
    pub(super) const SCHEMA_METADATA: usize = 2;
    pub(super) const FIELD_KIND: usize = 2;
    pub(super) const FIELD_TYPE: usize = 3;
    pub(super) const FIELD_DICTIONARY: usize = 4;
    pub(super) const FIELD_CHILDREN: usize = 5;
    pub(super) const BATCH_LENGTH: usize = 0;
    pub(super) const BATCH_NODES: usize = 1;
    pub(super) const BATCH_BUFFERS: usize = 2;
    pub(super) const BATCH_COMPRESSION: usize = 3;
}

/// Kinds of Arrow's unions that this schema has.
mod kinds {
    pub(super) const SCHEMA: u8 = 1;
    pub(super) const RECORD_BATCH: u8 = 3;
    pub(super) const INT: u8 = 2;
    pub(super) const FLOATING_POINT: u8 = 3;
    pub(super) const FIXED_SIZE_LIST: u8 = 16;
}

/// Number formats of the values.
#[derive(Clone, Copy)]
enum Precision {
    Half,
    Single,
}

/// Decodes a message.
///
/// # Errors
/// Anything but one Arrow IPC stream of one uncompressed batch of this schema without nulls.
pub fn decode(message: &Bytes) -> Result<Predictions, PredictionsError> {
    let (frame, rest) = next_frame(message, 0)?.ok_or_else(|| malformed("it is empty"))?;
    let schema = frame
        .header(kinds::SCHEMA)
        .ok_or_else(|| malformed("it does not begin with a schema"))?;
    let identity = identity(schema)?;
    let (classes, precision) = columns(schema)?;
    let (frame, _) = next_frame(message, rest)?.ok_or_else(|| malformed("it has no record batch"))?;
    let batch = frame
        .header(kinds::RECORD_BATCH)
        .ok_or_else(|| malformed("it has no record batch"))?;
    if batch.has(fields::BATCH_COMPRESSION) != Some(false) {
        return Err(malformed("its buffers are compressed"));
    }
    let rows = batch
        .i64(fields::BATCH_LENGTH)
        .and_then(|rows| usize::try_from(rows).ok());
    let rows = rows.ok_or_else(|| malformed("it has a negative number of rows"))?;
    let values = rows
        .checked_mul(classes as usize)
        .ok_or_else(|| malformed("it is too large"))?;
    // Three columns lie in a batch of this schema: samples, lists, and the lists' values.
    let nodes = [(rows as i64, 0), (rows as i64, 0), (values as i64, 0)];
    let found = batch.pairs(fields::BATCH_NODES);
    if !found.is_some_and(|found| found.eq(nodes.map(Some))) {
        return Err(malformed("its columns differ in length, or have nulls"));
    }
    // Validity and data of the samples, validity of the lists, validity and data of the values.
    let buffers: Option<Vec<(i64, i64)>> = batch.pairs(fields::BATCH_BUFFERS).and_then(Iterator::collect);
    let buffers: [(i64, i64); 5] = buffers
        .and_then(|buffers| buffers.try_into().ok())
        .ok_or_else(|| malformed("it does not have the buffers of its columns"))?;
    let buffer = |index: usize| buffer(message, &frame.body, buffers[index]);
    Ok(Predictions {
        identity,
        samples: scalars(&buffer(1)?, rows)?,
        classes,
        values: match precision {
            Precision::Half => Values::Float16(scalars(&buffer(4)?, values)?),
            Precision::Single => Values::Float32(scalars(&buffer(4)?, values)?),
        },
    })
}

fn malformed(what: &str) -> PredictionsError {
    PredictionsError::Malformed(what.to_owned())
}

/// A frame of a stream: a continuation marker, the length of the metadata, the metadata, and the body.
struct Frame<'a> {
    message: Table<'a>,
    body: Range<usize>,
}

impl<'a> Frame<'a> {
    /// The table that the message carries, if it is of that kind.
    fn header(&self, kind: u8) -> Option<Table<'a>> {
        let same = self.message.u8(fields::MESSAGE_KIND) == Some(kind);
        same.then(|| self.message.table(fields::MESSAGE_HEADER)).flatten()
    }
}

/// The frame at an offset, and the offset after it; `None` at the end of the stream.
fn next_frame(message: &[u8], at: usize) -> Result<Option<(Frame<'_>, usize)>, PredictionsError> {
    let head = message
        .get(at..at + 8)
        .ok_or_else(|| malformed("it ends within a frame"))?;
    if head[..4] != [0xff; 4] {
        return Err(malformed("a frame does not begin with Arrow's continuation marker"));
    }
    let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
    if length == 0 {
        return Ok(None);
    }
    let start = at + 8;
    let metadata = message
        .get(start..start + length)
        .ok_or_else(|| malformed("a frame is longer than the message"))?;
    let table = Table::root(metadata).ok_or_else(|| malformed("a frame has no message"))?;
    let body = table.i64(fields::MESSAGE_BODY_LENGTH).and_then(|body| {
        let end = (start + length).checked_add(usize::try_from(body).ok()?)?;
        (end <= message.len()).then_some(start + length..end)
    });
    let body = body.ok_or_else(|| malformed("a body is longer than the message"))?;
    let after = body.end;
    Ok(Some((Frame { message: table, body }, after)))
}

fn identity(schema: Table<'_>) -> Result<Identity, PredictionsError> {
    let pairs = schema.tables(fields::SCHEMA_METADATA);
    let pairs = pairs.ok_or_else(|| malformed("it has no metadata"))?;
    // Read once: finding each name by itself would take longer than all the rest.
    let pairs: Vec<(&str, &str)> = pairs
        .filter_map(|pair| pair.and_then(|pair| Some((pair.text(0)?, pair.text(1)?))))
        .collect();
    let find = |name: &str| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
    let text = |name: &str| find(name).ok_or_else(|| malformed(&format!("its metadata lacks '{name}'")));
    let number = |name: &str| -> Result<u32, PredictionsError> {
        let value = text(name)?;
        let refuse = |_| malformed(&format!("its metadata has {name} = '{value}'"));
        value.parse().map_err(refuse)
    };
    let version = number("version")?;
    if version > VERSION {
        return Err(PredictionsError::Version(version));
    }
    Ok(Identity {
        at: Attempt {
            run: text("run")?.to_owned(),
            round: number("round")?,
            attempt: number("attempt")?,
        },
        step: text("step")?.to_owned(),
        chunk: number("chunk")?,
        slot: find("slot").map(|_| number("slot")).transpose()?,
    })
}

/// Classes and number format, of a schema with the two columns that there must be.
fn columns(schema: Table<'_>) -> Result<(u32, Precision), PredictionsError> {
    let columns: Option<Vec<Table<'_>>> = schema.tables(fields::SCHEMA_FIELDS).and_then(Iterator::collect);
    let columns: [Table<'_>; 2] = columns
        .and_then(|columns| columns.try_into().ok())
        .ok_or_else(|| malformed("it does not have the two columns sample and values"))?;
    let sample = of_kind(columns[0], kinds::INT);
    if !sample.is_some_and(|int| int.i32(0) == Some(32) && int.u8(1) == Some(0)) {
        return Err(malformed("its first column is not uint32"));
    }
    let list = of_kind(columns[1], kinds::FIXED_SIZE_LIST);
    let size = list.and_then(|list| list.i32(0));
    let size = size.ok_or_else(|| malformed("its second column is not a fixed-size list"))?;
    let classes = u32::try_from(size).map_err(|_| malformed("its rows have a negative length"))?;
    let item = || {
        let mut children = columns[1].tables(fields::FIELD_CHILDREN)?;
        let (first, rest) = (children.next()??, children.next());
        let float = of_kind(first, kinds::FLOATING_POINT).filter(|_| rest.is_none())?;
        match float.i16(0)? {
            0 => Some(Precision::Half),
            1 => Some(Precision::Single),
            _ => None,
        }
    };
    let precision = item().ok_or_else(|| malformed("its values are neither float16 nor float32"))?;
    Ok((classes, precision))
}

/// The type of a column, if it is of that kind.
fn of_kind(field: Table<'_>, kind: u8) -> Option<Table<'_>> {
    let same = field.u8(fields::FIELD_KIND) == Some(kind) && field.has(fields::FIELD_DICTIONARY) == Some(false);
    same.then(|| field.table(fields::FIELD_TYPE)).flatten()
}

/// A buffer of a batch, as a slice of the message.
fn buffer(message: &Bytes, body: &Range<usize>, (offset, length): (i64, i64)) -> Result<Bytes, PredictionsError> {
    let place = || {
        let start = body.start.checked_add(usize::try_from(offset).ok()?)?;
        let end = start.checked_add(usize::try_from(length).ok()?)?;
        (end <= body.end).then_some(start..end)
    };
    place()
        .map(|place| message.slice(place))
        .ok_or_else(|| malformed("a buffer lies outside its body"))
}

/// The first `count` values of a buffer, copied only where it lies at an address that they cannot have.
fn scalars<T: ArrowNativeType>(bytes: &Bytes, count: usize) -> Result<ScalarBuffer<T>, PredictionsError> {
    let size = count.checked_mul(size_of::<T>()).filter(|size| *size <= bytes.len());
    let bytes = bytes.slice(..size.ok_or_else(|| malformed("a buffer is shorter than its column"))?);
    let aligned = bytes.as_ptr().align_offset(align_of::<T>()) == 0;
    let buffer = if aligned {
        Buffer::from(bytes)
    } else {
        Buffer::from(bytes.as_ref())
    };
    Ok(ScalarBuffer::new(buffer, 0, count))
}
