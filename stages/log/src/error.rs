//! Errors: a fine private cause, a coarse public kind that says what to do.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::record::Offset;

/// What the caller should do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// Do the same again after a pause.
    Retry,
    /// Stop: it fails the same way until a person changes something. The message says what.
    Fatal,
}

/// An operation on the log failed.
#[derive(Clone, Debug, thiserror::Error)]
#[error(transparent)]
pub struct LogError(Arc<Cause>);

impl LogError {
    /// An error of another implementation of the log, with a message that says what to do.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Cause::Other(kind, message.into()).into()
    }

    /// What to do about it.
    pub fn kind(&self) -> ErrorKind {
        match &*self.0 {
            Cause::Other(kind, _) => *kind,
            Cause::Io { .. } => ErrorKind::Retry,
            _ => ErrorKind::Fatal,
        }
    }

    /// Sorts an error of the file system by what a person can do about it.
    pub(crate) fn io(doing: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                Cause::DiskFull { path, source }
            }
            io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => Cause::ReadOnly { path, source },
            _ => Cause::Io { doing, path, source },
        }
        .into()
    }
}

impl From<Cause> for LogError {
    fn from(cause: Cause) -> Self {
        Self(Arc::new(cause))
    }
}

/// What happened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Cause {
    #[error("there is no topic {0:?} in the log: `fedstill topics create` makes it")]
    UnknownTopic(String),
    #[error("topic {topic:?} has {partitions} partitions, there is no partition {partition}")]
    UnknownPartition {
        topic: String,
        partition: u32,
        partitions: u32,
    },
    #[error("a topic needs a name and at least one partition: {0:?}")]
    BadTopic(String),
    #[error("offset {offset} of {partition} is outside of {start}..={end}")]
    OutOfRange {
        partition: String,
        offset: Offset,
        start: Offset,
        end: Offset,
    },
    #[error("partition {0} is not assigned to this member of the group")]
    NotAssigned(String),
    #[error("a message to {topic:?} has {bytes} bytes, more than the log's {most}: split it")]
    TooLarge { topic: String, bytes: usize, most: usize },
    #[error("the log in {0} is in use by another process: stop the other process or choose another --out")]
    InUse(PathBuf),
    #[error(
        "the log in {path} has format version {found}, this release reads {expected}: use the release that wrote it or choose another --out"
    )]
    Version {
        path: PathBuf,
        found: String,
        expected: u32,
    },
    #[error("{path} is not a log, but holds other files: choose another --out")]
    NotALog { path: PathBuf },
    #[error(
        "the log is corrupted: {path} at byte {at}: {what}. Restore the folder from a copy, or start the run again with another --out"
    )]
    Corrupted { path: PathBuf, at: u64, what: &'static str },
    #[error("disk full: writing {path} failed ({source}). Free some space; nothing is lost")]
    DiskFull { path: PathBuf, source: io::Error },
    #[error("{path} is read-only or not permitted ({source}): make it writable or choose another --out")]
    ReadOnly { path: PathBuf, source: io::Error },
    #[error("{doing} {path} failed: {source}")]
    Io {
        doing: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error(
        "the log in {path} could not take back a failed write ({source}): start the process again, it goes on from what was acknowledged"
    )]
    Broken { path: PathBuf, source: io::Error },
    #[error("the index {path} failed: {message}. Delete that file: it is made again")]
    Index { path: PathBuf, message: String },
    #[error("{1}")]
    Other(ErrorKind, String),
}
