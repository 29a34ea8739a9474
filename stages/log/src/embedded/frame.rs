//! An entry as bytes.
//!
//! ```text
//!  crc32: u32 | length: u32 | kind: u8 | fields ...          little endian
//!             '---------- what the crc32 covers ----'
//!  record: pid u32, offset u64, time i64, key (u32 + bytes), headers (u32, each name and value),
//!          value (the rest)
//!  topic:  more u32, name (the rest)
//!  commit: pid u32, offset u64, group (the rest)
//!  mark:   position u64 of this frame in its segment, MAGIC
//! ```
//!
//! A mark opens every write: all that lies before it had been synced. So a broken frame with a
//! mark behind it is damage, and one without is a write that a crash cut short.

use std::ops::Range;

use bytes::Bytes;

use super::catalog::{Entry, Pid, Stored};
use crate::record::Offset;

/// Before the frame's fields: crc32 and length.
pub(super) const HEAD: usize = 8;

/// Ends a mark; what a search for marks looks for.
pub(super) const MAGIC: [u8; 16] = *b"fedstill sync \x1f\x9e";

/// A mark as bytes: head, kind, position, magic.
pub(super) const MARK_BYTES: usize = HEAD + 1 + 8 + MAGIC.len();

const MARK: u8 = 0;
const TOPIC: u8 = 1;
const RECORD: u8 = 2;
const COMMIT: u8 = 3;

/// What a frame holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame {
    Mark(u64),
    Entry(Entry),
}

/// Appends the frame to `out`, except for a record's value, which it returns: the caller copies a
/// small one and writes a large one as it is.
pub(super) fn encode<'a>(entry: &'a Entry, out: &mut Vec<u8>) -> &'a [u8] {
    let start = out.len();
    out.extend_from_slice(&[0; HEAD]);
    let value: &[u8] = match entry {
        Entry::Topic { name, more } => {
            out.push(TOPIC);
            out.extend_from_slice(&more.to_le_bytes());
            out.extend_from_slice(name.as_bytes());
            &[]
        }
        Entry::Commit { group, pid, offset } => {
            out.push(COMMIT);
            out.extend_from_slice(&pid.to_le_bytes());
            out.extend_from_slice(&offset.to_le_bytes());
            out.extend_from_slice(group.as_bytes());
            &[]
        }
        Entry::Record { pid, record } => {
            out.push(RECORD);
            out.extend_from_slice(&pid.to_le_bytes());
            out.extend_from_slice(&record.offset.to_le_bytes());
            out.extend_from_slice(&record.timestamp_ms.to_le_bytes());
            put(out, &record.key);
            out.extend_from_slice(&(record.headers.len() as u32).to_le_bytes());
            for (name, value) in &record.headers {
                put(out, name.as_bytes());
                put(out, value);
            }
            &record.value
        }
    };
    close(out, start, value);
    value
}

/// Appends a mark for the position that it will have.
pub(super) fn encode_mark(position: u64, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0; HEAD]);
    out.push(MARK);
    out.extend_from_slice(&position.to_le_bytes());
    out.extend_from_slice(&MAGIC);
    close(out, start, &[]);
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}

fn close(out: &mut [u8], start: usize, value: &[u8]) {
    let length = (out.len() - start - HEAD + value.len()) as u32;
    out[start + 4..start + HEAD].copy_from_slice(&length.to_le_bytes());
    let mut crc = crc32fast::Hasher::new();
    crc.update(&out[start + 4..]);
    crc.update(value);
    out[start..start + 4].copy_from_slice(&crc.finalize().to_le_bytes());
}

/// The length of the frame at the start of `bytes`, head included, as its head says.
pub(super) fn length(bytes: &[u8]) -> Option<usize> {
    let length = bytes.get(4..HEAD)?.try_into().ok()?;
    Some(HEAD + u32::from_le_bytes(length) as usize)
}

/// The partition and offset of a record's frame, unchecked: to pass over it quickly.
pub(super) fn record_place(frame: &[u8]) -> Option<(Pid, Offset)> {
    let mut fields = Fields(frame.get(HEAD..)?);
    if fields.array::<1>()? != [RECORD] {
        return None;
    }
    let pid = u32::from_le_bytes(fields.array()?);
    Some((pid, u64::from_le_bytes(fields.array()?)))
}

/// Reads the one whole frame that lies `at` a place of `buffer`, of which keys and values become
/// slices. `None` if it is not as it was written.
pub(super) fn decode(buffer: &Bytes, at: Range<usize>) -> Option<Frame> {
    let frame = buffer.get(at)?;
    let crc = u32::from_le_bytes(frame.get(..4)?.try_into().ok()?);
    if length(frame)? != frame.len() || crc32fast::hash(&frame[4..]) != crc {
        return None;
    }
    let mut fields = Fields(&frame[HEAD..]);
    let [kind] = fields.array()?;
    let entry = match kind {
        MARK => {
            let position = u64::from_le_bytes(fields.array()?);
            return (fields.0 == MAGIC).then_some(Frame::Mark(position));
        }
        TOPIC => Entry::Topic {
            more: u32::from_le_bytes(fields.array()?),
            name: std::str::from_utf8(fields.0).ok()?.to_owned(),
        },
        COMMIT => Entry::Commit {
            pid: u32::from_le_bytes(fields.array()?),
            offset: u64::from_le_bytes(fields.array()?),
            group: std::str::from_utf8(fields.0).ok()?.to_owned(),
        },
        RECORD => Entry::Record {
            pid: u32::from_le_bytes(fields.array()?),
            record: record(&mut fields, buffer)?,
        },
        _ => return None,
    };
    Some(Frame::Entry(entry))
}

fn record(fields: &mut Fields<'_>, buffer: &Bytes) -> Option<Stored> {
    let slice = |part: &[u8]| {
        // An empty slice need not keep the buffer's memory.
        if part.is_empty() {
            Bytes::new()
        } else {
            buffer.slice_ref(part)
        }
    };
    let offset = u64::from_le_bytes(fields.array()?);
    let timestamp_ms = i64::from_le_bytes(fields.array()?);
    let key = slice(fields.sized()?);
    let count = u32::from_le_bytes(fields.array()?);
    let mut headers = Vec::new();
    for _ in 0..count {
        let name = std::str::from_utf8(fields.sized()?).ok()?.to_owned();
        headers.push((name, slice(fields.sized()?)));
    }
    Some(Stored {
        offset,
        timestamp_ms,
        key,
        headers,
        value: slice(fields.0),
    })
}

/// The bytes that have not been read yet.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn sized(&mut self) -> Option<&'a [u8]> {
        let length = u32::from_le_bytes(self.array()?);
        self.take(length as usize)
    }
}
