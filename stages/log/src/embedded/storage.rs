//! Where entries stay: behind one small trait, in files or in memory.

use std::fmt::Debug;

use parking_lot::RwLock;

use super::catalog::{Catalog, Entry, Pid, Stored};
use crate::error::LogError;
use crate::record::{Offset, Record, TopicPartition};

/// How much one read brings: it stops before the first record that would exceed either.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit {
    pub(super) bytes: usize,
    pub(super) records: usize,
}

/// Keeps entries.
pub(super) trait Storage: Send + Sync + Debug {
    /// Makes the entries durable and readable, all or, after an error, none of them. `before` is
    /// the sum of all entries so far. The caller sees to it that one write runs at a time.
    fn write(&self, entries: &[Entry], before: &Catalog) -> Result<(), LogError>;

    /// Adds records of a partition from an offset on, which exists, to `out`, and takes them off
    /// the limit; one at least if `out` is empty. Whole batches at once: this is the hot path.
    fn read(&self, at: &At<'_>, limit: &mut Limit, out: &mut Vec<Record>) -> Result<(), LogError>;
}

/// Where to read.
#[derive(Clone, Copy, Debug)]
pub(super) struct At<'a> {
    pub(super) pid: Pid,
    pub(super) name: &'a TopicPartition,
    pub(super) from: Offset,
}

/// Adds a record if it fits; true while there may be room for more.
pub(super) fn take(out: &mut Vec<Record>, left: &mut Limit, name: &TopicPartition, record: Stored) -> bool {
    let bytes = record.bytes();
    if !out.is_empty() && (bytes > left.bytes || left.records == 0) {
        return false;
    }
    left.bytes = left.bytes.saturating_sub(bytes);
    left.records = left.records.saturating_sub(1);
    out.push(record.named(name));
    left.bytes > 0 && left.records > 0
}

/// Keeps entries in memory: nothing survives the process.
#[derive(Debug, Default)]
pub(super) struct Memory {
    partitions: RwLock<Vec<Vec<Stored>>>,
}

impl Storage for Memory {
    fn write(&self, entries: &[Entry], _before: &Catalog) -> Result<(), LogError> {
        let mut partitions = self.partitions.write();
        for entry in entries {
            if let Entry::Record { pid, record } = entry {
                let pid = *pid as usize;
                if partitions.len() <= pid {
                    partitions.resize_with(pid + 1, Vec::new);
                }
                partitions[pid].push(record.clone());
            }
        }
        Ok(())
    }

    fn read(&self, at: &At<'_>, limit: &mut Limit, out: &mut Vec<Record>) -> Result<(), LogError> {
        let partitions = self.partitions.read();
        let records = partitions
            .get(at.pid as usize)
            .and_then(|all| all.get(at.from as usize..));
        for record in records.unwrap_or_default() {
            if !take(out, limit, at.name, record.clone()) {
                break;
            }
        }
        Ok(())
    }
}
