//! The reader of predictions: any bytes give predictions or an error, values are not copied, and nothing that a message
//! declares is trusted. Arrow's own stream reader trusts declared lengths and panics on a poisoned record; this one knows
//! the one schema that there is, and reads it from the verified flatbuffers.

use super::{Identity, Predictions, PredictionsError, Values};
use crate::resolved::VERSION;
use crate::task::Attempt;
use arrow_buffer::{ArrowNativeType, Buffer, ScalarBuffer};
use arrow_ipc::{Message, Precision, RecordBatch, Schema, root_as_message};
use bytes::Bytes;

/// Decodes a message.
///
/// # Errors
/// Anything but one Arrow IPC stream of one uncompressed batch of this schema without nulls.
pub fn decode(message: &Bytes) -> Result<Predictions, PredictionsError> {
    let (frame, _, rest) = next_frame(message, 0)?.ok_or_else(|| malformed("it is empty"))?;
    let schema = frame
        .header_as_schema()
        .ok_or_else(|| malformed("it does not begin with a schema"))?;
    let identity = identity(&schema)?;
    let (classes, precision) = columns(&schema)?;
    let (frame, body, _) = next_frame(message, rest)?.ok_or_else(|| malformed("it has no record batch"))?;
    let batch = frame
        .header_as_record_batch()
        .ok_or_else(|| malformed("it has no record batch"))?;
    if batch.compression().is_some() {
        return Err(malformed("its buffers are compressed"));
    }
    let rows = usize::try_from(batch.length()).map_err(|_| malformed("it has a negative number of rows"))?;
    let values = rows
        .checked_mul(classes as usize)
        .ok_or_else(|| malformed("it is too large"))?;
    // Three columns lie in a batch of this schema: samples, lists, and the lists' values.
    let nodes = batch.nodes().map(|nodes| {
        nodes
            .iter()
            .map(|node| (node.length(), node.null_count()))
            .collect::<Vec<_>>()
    });
    if nodes != Some(vec![(rows as i64, 0), (rows as i64, 0), (values as i64, 0)]) {
        return Err(malformed("its columns differ in length, or have nulls"));
    }
    // Validity and data of the samples, validity of the lists, validity and data of the values.
    let buffer = |index: usize| buffer(message, &body, &batch, index);
    Ok(Predictions {
        identity,
        samples: scalars(&buffer(1)?, rows)?,
        classes,
        values: match precision {
            Precision::HALF => Values::Float16(scalars(&buffer(4)?, values)?),
            _ => Values::Float32(scalars(&buffer(4)?, values)?),
        },
    })
}

fn malformed(what: &str) -> PredictionsError {
    PredictionsError::Malformed(what.to_owned())
}

type Frame<'a> = (Message<'a>, std::ops::Range<usize>, usize);

/// The frame at an offset, the place of its body, and the offset after it; `None` at the end of the stream. A frame is a
/// continuation marker, the length of the metadata, the metadata, and the body.
fn next_frame(message: &[u8], at: usize) -> Result<Option<Frame<'_>>, PredictionsError> {
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
    let frame = root_as_message(metadata).map_err(|error| malformed(&error.to_string()))?;
    let body = usize::try_from(frame.bodyLength()).ok().and_then(|body| {
        let end = (start + length).checked_add(body)?;
        (end <= message.len()).then_some(start + length..end)
    });
    let body = body.ok_or_else(|| malformed("a body is longer than the message"))?;
    let after = body.end;
    Ok(Some((frame, body, after)))
}

fn identity(schema: &Schema<'_>) -> Result<Identity, PredictionsError> {
    let find = |name: &str| {
        let pairs = schema.custom_metadata().into_iter().flatten();
        pairs
            .filter(|pair| pair.key() == Some(name))
            .find_map(|pair| pair.value())
    };
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
fn columns(schema: &Schema<'_>) -> Result<(u32, Precision), PredictionsError> {
    let fields = schema.fields().filter(|fields| fields.len() == 2);
    let fields = fields.ok_or_else(|| malformed("it does not have the two columns sample and values"))?;
    let sample = fields.get(0).type_as_int();
    if !sample.is_some_and(|int| int.bitWidth() == 32 && !int.is_signed()) || fields.get(0).dictionary().is_some() {
        return Err(malformed("its first column is not uint32"));
    }
    let list = fields.get(1).type_as_fixed_size_list();
    let list = list.ok_or_else(|| malformed("its second column is not a fixed-size list"))?;
    let classes = u32::try_from(list.listSize()).map_err(|_| malformed("its rows have a negative length"))?;
    let item = fields.get(1).children().filter(|children| children.len() == 1);
    let precision = item.and_then(|children| Some(children.get(0).type_as_floating_point()?.precision()));
    match precision {
        Some(precision @ (Precision::HALF | Precision::SINGLE)) => Ok((classes, precision)),
        _ => Err(malformed("its values are neither float16 nor float32")),
    }
}

/// A buffer of a batch, as a slice of the message.
fn buffer(
    message: &Bytes,
    body: &std::ops::Range<usize>,
    batch: &RecordBatch<'_>,
    index: usize,
) -> Result<Bytes, PredictionsError> {
    let buffers = batch.buffers().filter(|buffers| buffers.len() == 5);
    let buffer = *buffers
        .ok_or_else(|| malformed("it does not have the buffers of its columns"))?
        .get(index);
    let offset = usize::try_from(buffer.offset()).ok();
    let length = usize::try_from(buffer.length()).ok();
    let place = offset.zip(length).and_then(|(offset, length)| {
        let start = body.start.checked_add(offset)?;
        let end = start.checked_add(length)?;
        (end <= body.end).then_some(start..end)
    });
    place
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
