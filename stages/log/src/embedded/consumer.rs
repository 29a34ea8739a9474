//! A member of a group, and a reader without one.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::Inner;
use super::catalog::Pid;
use super::groups::{Change, MemberId};
use super::storage::{At, Limit};
use super::writer::Request;
use crate::error::{Cause, LogError};
use crate::log::{Consumer, Polled, Reader};
use crate::record::{Offset, Record, TopicPartition};

/// The most that one poll delivers, unless one record is larger.
const POLL: Limit = Limit {
    bytes: 4 << 20,
    records: 512,
};

#[derive(Debug)]
struct Assigned {
    pid: Pid,
    position: Offset,
    paused: bool,
}

/// A member of a group of the embedded log.
pub(super) struct Member {
    inner: Arc<Inner>,
    group: String,
    /// `None` for a reader that is alone.
    id: Option<MemberId>,
    /// What a reader that is alone has to be told once.
    alone: Vec<Pid>,
    assigned: BTreeMap<TopicPartition, Assigned>,
    /// The partition that the last records came from: the next poll starts after it.
    last: Option<TopicPartition>,
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Member");
        out.field("group", &self.group).field("id", &self.id);
        out.field("assigned", &self.assigned).finish_non_exhaustive()
    }
}

impl Member {
    pub(super) fn new(inner: Arc<Inner>, group: String, id: MemberId) -> Self {
        Self {
            inner,
            group,
            id: Some(id),
            alone: Vec::new(),
            assigned: BTreeMap::new(),
            last: None,
        }
    }

    /// A reader of these partitions with the commits of a group, and without its members.
    pub(super) fn alone(inner: Arc<Inner>, group: String, pids: Vec<Pid>) -> Self {
        Self {
            inner,
            group,
            id: None,
            alone: pids,
            assigned: BTreeMap::new(),
            last: None,
        }
    }

    fn change(&mut self) -> Option<Polled> {
        let change = match self.id {
            Some(id) => self.inner.change(&self.group, id)?,
            None if self.alone.is_empty() => return None,
            None => Change::Assigned(std::mem::take(&mut self.alone)),
        };
        self.inner.writer.look(|catalog| {
            let name = |pid: &Pid| catalog.partition(*pid).name.clone();
            Some(match change {
                Change::Revoked(pids) => {
                    let names: Vec<_> = pids.iter().map(name).collect();
                    for name in &names {
                        self.assigned.remove(name);
                    }
                    Polled::Revoked(names)
                }
                Change::Assigned(pids) => {
                    for pid in &pids {
                        let assigned = Assigned {
                            pid: *pid,
                            position: catalog.commit(&self.group, *pid).unwrap_or(0),
                            paused: false,
                        };
                        self.assigned.insert(name(pid), assigned);
                    }
                    Polled::Assigned(pids.iter().map(name).collect())
                }
            })
        })
    }

    /// Fills one poll, starting after the partition that was served last.
    fn records(&mut self) -> Result<Vec<Record>, LogError> {
        let ready: Vec<(TopicPartition, Offset)> = self.inner.writer.look(|catalog| {
            let active = self.assigned.iter().filter(|(_, at)| !at.paused);
            let ends = active.map(|(name, at)| (name, at.position, catalog.partition(at.pid).end));
            let ready = ends.filter(|(_, position, end)| position < end);
            ready.map(|(name, _, end)| (name.clone(), end)).collect()
        });
        let start = match &self.last {
            Some(last) => ready.partition_point(|(name, _)| name <= last),
            None => 0,
        };
        let mut left = POLL;
        let mut out = Vec::new();
        for (name, end) in ready[start..].iter().chain(&ready[..start]) {
            let Some(at) = self.assigned.get_mut(name) else {
                continue;
            };
            let mut limit = Limit {
                bytes: left.bytes,
                records: left.records.min((end - at.position) as usize),
            };
            let place = At {
                pid: at.pid,
                name,
                from: at.position,
            };
            let before = out.len();
            let read = self.inner.writer.storage().read(&place, &mut limit, &mut out);
            let added = out.len() - before;
            at.position += added as u64;
            left.bytes = limit.bytes;
            left.records -= added;
            match read {
                // What has been read is delivered first: the next poll fails in the same way.
                Err(error) if out.is_empty() => return Err(error),
                Err(_) => break,
                // Too large for what is left: the next poll starts with it.
                Ok(()) if added == 0 => break,
                Ok(()) => self.last = Some(name.clone()),
            }
            if left.bytes == 0 || left.records == 0 {
                break;
            }
        }
        Ok(out)
    }
}

impl Consumer for Member {
    fn poll(&mut self, timeout: Duration) -> Result<Polled, LogError> {
        let deadline = self.inner.writer.clock().monotonic().saturating_add(timeout);
        loop {
            // Seen before looking: what happens in between ends the wait.
            let seen = self.inner.signal.seen();
            if let Some(change) = self.change() {
                return Ok(change);
            }
            let records = self.records()?;
            if !records.is_empty() {
                return Ok(Polled::Records(records));
            }
            let now = self.inner.writer.clock().monotonic();
            let left = deadline.saturating_sub(now);
            if left.is_zero() || !self.inner.signal.wait(seen, left) {
                return Ok(Polled::Idle);
            }
        }
    }

    fn pause(&mut self, partitions: &[TopicPartition]) {
        for partition in partitions {
            if let Some(at) = self.assigned.get_mut(partition) {
                at.paused = true;
            }
        }
    }

    fn resume(&mut self, partitions: &[TopicPartition]) {
        for partition in partitions {
            if let Some(at) = self.assigned.get_mut(partition) {
                at.paused = false;
            }
        }
    }

    fn commit(&mut self, offsets: &[(TopicPartition, Offset)]) -> Result<(), LogError> {
        let mut mine = Vec::with_capacity(offsets.len());
        for (partition, offset) in offsets {
            let Some(at) = self.assigned.get(partition) else {
                continue;
            };
            self.inner
                .writer
                .look(|catalog| catalog.check_offset(at.pid, *offset))?;
            mine.push((at.pid, *offset));
        }
        if mine.is_empty() {
            return Ok(());
        }
        self.inner.writer.submit(Request::Commit(self.group.clone(), mine))?;
        Ok(())
    }

    fn position(&self, partition: &TopicPartition) -> Option<Offset> {
        self.assigned.get(partition).map(|at| at.position)
    }

    fn assignment(&self) -> Vec<TopicPartition> {
        self.assigned.keys().cloned().collect()
    }

    fn seek(&mut self, partition: &TopicPartition, offset: Offset) -> Result<(), LogError> {
        let at = self.assigned.get_mut(partition);
        let at = at.ok_or_else(|| Cause::NotAssigned(partition.to_string()))?;
        self.inner.writer.look(|catalog| catalog.check_offset(at.pid, offset))?;
        at.position = offset;
        Ok(())
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.inner.leave(&self.group, id);
        }
    }
}

/// A reader of one partition of the embedded log.
#[derive(Debug)]
pub(super) struct RangeReader {
    pub(super) inner: Arc<Inner>,
    pub(super) name: TopicPartition,
    pub(super) pid: Pid,
    pub(super) position: Offset,
}

impl Reader for RangeReader {
    fn next(&mut self, max_bytes: usize) -> Result<Vec<Record>, LogError> {
        let end = self.inner.writer.look(|catalog| catalog.partition(self.pid).end);
        if self.position >= end {
            return Ok(Vec::new());
        }
        let mut limit = Limit {
            bytes: max_bytes,
            records: (end - self.position) as usize,
        };
        let at = At {
            pid: self.pid,
            name: &self.name,
            from: self.position,
        };
        let mut out = Vec::new();
        let read = self.inner.writer.storage().read(&at, &mut limit, &mut out);
        self.position += out.len() as u64;
        match read {
            // What has been read is delivered first: the next call fails in the same way.
            Err(error) if out.is_empty() => Err(error),
            _ => Ok(out),
        }
    }
}
