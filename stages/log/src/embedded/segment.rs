//! Segments: the append-only files that hold every entry.
//!
//! Comes in: a segment's file. Goes out: its frames in order, and how it ends: whole, torn by a
//! crash (then what follows the last whole frame was never acknowledged), or damaged.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::frame::{self, Frame, HEAD, MAGIC, MARK_BYTES};
use crate::error::{Cause, LogError};

/// Where a segment lies.
pub(super) fn path(folder: &Path, segment: u32) -> PathBuf {
    folder.join(format!("{segment:08}.segment"))
}

/// Reads a segment's frames from its start.
pub(super) struct Scan {
    path: PathBuf,
    reader: BufReader<File>,
    bytes: u64,
    position: u64,
}

/// One step of a scan.
pub(super) enum Scanned {
    /// A whole frame, its position and its length.
    Frame(Frame, u64, u64),
    /// The end of the file.
    End,
    /// No whole frame follows this position, nor has anything behind it been synced.
    Torn(u64),
}

impl Scan {
    pub(super) fn new(file: File, path: PathBuf) -> Result<Self, LogError> {
        let bytes = file.metadata().map_err(|e| LogError::io("reading", &path, e))?.len();
        Ok(Self {
            path,
            reader: BufReader::with_capacity(1 << 20, file),
            bytes,
            position: 0,
        })
    }

    pub(super) fn next(&mut self) -> Result<Scanned, LogError> {
        if self.position == self.bytes {
            return Ok(Scanned::End);
        }
        match self.frame()? {
            Some((frame, length)) if self.fits(&frame) => {
                let position = self.position;
                self.position += length;
                Ok(Scanned::Frame(frame, position, length))
            }
            _ => self.torn_or_damaged(),
        }
    }

    /// A mark says where it lies: elsewhere it is a piece of an older file, not an entry.
    fn fits(&self, frame: &Frame) -> bool {
        !matches!(frame, Frame::Mark(position) if *position != self.position)
    }

    fn frame(&mut self) -> Result<Option<(Frame, u64)>, LogError> {
        let left = self.bytes - self.position;
        let mut head = [0; HEAD];
        if left < HEAD as u64 {
            return Ok(None);
        }
        let failed = |e| LogError::io("reading", &self.path, e);
        self.reader.read_exact(&mut head).map_err(failed)?;
        let length = match frame::length(&head) {
            Some(length) if length > HEAD && length as u64 <= left => length,
            _ => return Ok(None),
        };
        let mut bytes = vec![0; length];
        bytes[..HEAD].copy_from_slice(&head);
        self.reader.read_exact(&mut bytes[HEAD..]).map_err(failed)?;
        Ok(frame::decode(&Bytes::from(bytes), 0..length).map(|frame| (frame, length as u64)))
    }

    fn torn_or_damaged(&mut self) -> Result<Scanned, LogError> {
        if self.mark_behind()? {
            return Err(self.damaged("an entry is not as it was written, and later ones follow"));
        }
        Ok(Scanned::Torn(self.position))
    }

    pub(super) fn damaged(&self, what: &'static str) -> LogError {
        Cause::Corrupted {
            path: self.path.clone(),
            at: self.position,
            what,
        }
        .into()
    }

    /// True if a whole mark lies behind the position.
    fn mark_behind(&mut self) -> Result<bool, LogError> {
        let failed = |e| LogError::io("reading", &self.path, e);
        let mut at = self.position + 1;
        self.reader.seek(SeekFrom::Start(at)).map_err(failed)?;
        let mut window = Vec::new();
        loop {
            let read = self.reader.by_ref().take(1 << 20).read_to_end(&mut window);
            let ended = read.map_err(failed)? == 0;
            for start in 0..(window.len() + 1).saturating_sub(MARK_BYTES) {
                let mark = &window[start..start + MARK_BYTES];
                if mark.ends_with(&MAGIC) {
                    let mark = frame::decode(&Bytes::copy_from_slice(mark), 0..MARK_BYTES);
                    if mark == Some(Frame::Mark(at + start as u64)) {
                        return Ok(true);
                    }
                }
            }
            if ended {
                return Ok(false);
            }
            // A mark may lie across two windows.
            let done = (window.len() + 1).saturating_sub(MARK_BYTES);
            window.drain(..done);
            at += done as u64;
        }
    }
}
