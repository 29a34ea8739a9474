//! Entries in files: segments for the bytes, an index for where they are.
//!
//! ```text
//!  FORMAT            "fedstill log 1"
//!  LOCK              locked while a process has the log open
//!  00000000.segment  sealed: full, found through the index
//!  00000001.segment  active: appended to; its extents are in memory, from a scan at open
//!  index.redb        extents of the sealed segments, the catalog at the last seal
//! ```
//!
//! Comes in: entries. Goes out: records. A write is one append to the active segment and one
//! fsync. After a crash the active segment is scanned, what a cut-short write left is cut off, and
//! what stays is synced before anything follows it.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};

use super::catalog::{Catalog, Entry, Pid};
use super::folder;
use super::frame::{self, Frame};
use super::index::{Extent, Index};
use super::segment::{self, Scan, Scanned};
use super::storage::{At, Limit, Storage, take};
use crate::error::{Cause, LogError};
use crate::record::{Offset, Record};

/// The usual size of a segment.
pub(super) const SEGMENT_BYTES: u64 = 128 << 20;
/// Records join an extent up to this size: what a read may have to pass over.
const EXTENT_BYTES: u64 = 64 << 10;
/// Extents that lie one behind the other are read together up to this size.
const READ_BYTES: u64 = 1024 << 10;
/// Values from this size on are written from where they are, without a copy.
const LARGE: usize = 64 << 10;

/// A folder that holds a log.
#[derive(Debug)]
pub(super) struct Files {
    folder: PathBuf,
    active: Mutex<Active>,
    tail: RwLock<Tail>,
    index: Index,
    /// A segment is sealed before the write that follows this size. It bounds the scan at open and
    /// the extents in memory.
    segment_bytes: u64,
    /// Locked as long as the log is open.
    _lock: folder::Lock,
}

/// The segment that is written.
#[derive(Debug)]
struct Active {
    file: File,
    segment: u32,
    bytes: u64,
    /// Why nothing can be written any more.
    broken: Option<LogError>,
}

/// Where the records of the active segment are.
type Tail = BTreeMap<Pid, Vec<Extent>>;

impl Files {
    /// Opens the log in a folder, which it makes if need be, with the sum of its entries.
    pub(super) fn open(folder: &Path, segment_bytes: u64) -> Result<(Self, Catalog), LogError> {
        std::fs::create_dir_all(folder).map_err(|e| LogError::io("making", folder, e))?;
        let lock = folder::lock(folder)?;
        folder::check_format(folder)?;
        let index = Index::open(folder)?;
        let (mut catalog, mut segment) = index.load()?;
        let (active, tail) = loop {
            let (active, tail) = recover(folder, segment, &mut catalog)?;
            if !segment::path(folder, segment + 1).exists() {
                break (active, tail);
            }
            // The index does not know this segment though it is full: it has been made anew.
            index.seal(segment, each(&tail), &catalog)?;
            segment += 1;
        };
        folder::sync(folder)?;
        let files = Self {
            folder: folder.to_owned(),
            active: Mutex::new(active),
            tail: RwLock::new(tail),
            index,
            segment_bytes,
            _lock: lock,
        };
        Ok((files, catalog))
    }

    /// Moves on to the next segment.
    fn seal(&self, active: &mut Active, catalog: &Catalog) -> Result<(), LogError> {
        self.index.seal(active.segment, each(&self.tail.read()), catalog)?;
        let segment = active.segment + 1;
        let path = segment::path(&self.folder, segment);
        let file = open_segment(&path)?;
        folder::sync(&self.folder)?;
        // From here on readers find these records through the index.
        self.tail.write().clear();
        *active = Active {
            file,
            segment,
            bytes: 0,
            broken: None,
        };
        Ok(())
    }

    /// Bytes of a segment. A handle of its own costs less than zeroing a shared one's buffer.
    fn bytes(&self, run: &Run) -> Result<Bytes, LogError> {
        let path = segment::path(&self.folder, run.segment);
        let read = || {
            let mut file = File::open(&path)?;
            file.seek(SeekFrom::Start(run.position))?;
            let mut buffer = Vec::with_capacity(run.bytes);
            file.take(run.bytes as u64).read_to_end(&mut buffer)?;
            Ok(buffer)
        };
        let buffer = read().map_err(|e| LogError::io("reading", &path, e))?;
        if buffer.len() < run.bytes {
            return Err(self.damaged(run.segment, run.position));
        }
        Ok(buffer.into())
    }

    fn extents(&self, pid: Pid, from: Offset, most: u64) -> Result<Vec<Extent>, LogError> {
        // The tail first: what it has lost since has come to the index before.
        if let Some(extents) = self.tail.read().get(&pid) {
            let after = extents.partition_point(|extent| extent.base <= from);
            if after > 0 {
                let mut left = most;
                let more = extents[after - 1..].iter().take_while(|extent| {
                    let go_on = left > 0;
                    left = left.saturating_sub(u64::from(extent.bytes));
                    go_on
                });
                return Ok(more.copied().collect());
            }
        }
        self.index.extents(pid, from, most)
    }

    fn damaged(&self, segment: u32, at: u64) -> LogError {
        Cause::Corrupted {
            path: segment::path(&self.folder, segment),
            at,
            what: "a record is not as it was written",
        }
        .into()
    }
}

impl Storage for Files {
    fn write(&self, entries: &[Entry], before: &Catalog) -> Result<(), LogError> {
        let mut active = self.active.lock();
        if let Some(error) = &active.broken {
            return Err(error.clone());
        }
        if active.bytes >= self.segment_bytes {
            self.seal(&mut active, before)?;
        }
        let mut added = Vec::new();
        let start = active.bytes;
        let written = append(&mut active, entries, &mut added);
        let path = || segment::path(&self.folder, active.segment);
        match written {
            Ok(bytes) => {
                if let Err(source) = active.file.sync_data() {
                    // What a failed sync has dropped cannot be synced again: the pages are gone.
                    let path = path();
                    let broken = LogError::from(Cause::Broken { path, source });
                    active.broken = Some(broken.clone());
                    return Err(broken);
                }
                active.bytes = start + bytes;
            }
            Err(source) => {
                let error = LogError::io("writing", &path(), source);
                if let Err(source) = active.file.set_len(start) {
                    let path = path();
                    active.broken = Some(Cause::Broken { path, source }.into());
                }
                return Err(error);
            }
        }
        let mut tail = self.tail.write();
        for (pid, extent) in added {
            join(&mut tail, pid, extent);
        }
        Ok(())
    }

    fn read(&self, at: &At<'_>, limit: &mut Limit, out: &mut Vec<Record>) -> Result<(), LogError> {
        let At { pid, name, from } = *at;
        let mut next = from;
        loop {
            let most = (limit.bytes as u64).min(READ_BYTES);
            let Some(run) = first_run(&self.extents(pid, next, most)?) else {
                return Ok(());
            };
            let buffer = self.bytes(&run)?;
            let before = next;
            if let Some(first) = frame::length(&buffer) {
                out.reserve((buffer.len() / first + 1).min(limit.records));
            }
            let mut place = 0;
            while place < buffer.len() {
                let position = run.position + place as u64;
                let damaged = || self.damaged(run.segment, position);
                let rest = &buffer[place..];
                let length = frame::length(rest).filter(|length| *length <= rest.len());
                let frame = place..place + length.ok_or_else(damaged)?;
                let passed = match frame::record_place(&buffer[frame.clone()]) {
                    Some((other, offset)) if other == pid => offset < next,
                    _ => return Err(damaged()),
                };
                place = frame.end;
                if passed {
                    continue;
                }
                let Some(Frame::Entry(Entry::Record { record, .. })) = frame::decode(&buffer, frame) else {
                    return Err(damaged());
                };
                next = record.offset + 1;
                if !take(out, limit, name, record) {
                    return Ok(());
                }
            }
            // The extents have ended where the partition does.
            if next == before {
                return Ok(());
            }
        }
    }
}

/// Writes the entries behind what is there and says where the records are; returns the bytes.
fn append(active: &mut Active, entries: &[Entry], added: &mut Vec<(Pid, Extent)>) -> std::io::Result<u64> {
    // Records of a partition side by side, for those who read it; their order stays.
    let mut order: Vec<&Entry> = entries.iter().collect();
    order.sort_by_key(|entry| match entry {
        Entry::Topic { .. } => (0, 0),
        Entry::Record { pid, .. } => (1, *pid),
        Entry::Commit { .. } => (2, 0),
    });
    let mut buffer = Vec::with_capacity(LARGE);
    frame::encode_mark(active.bytes, &mut buffer);
    let mut flushed = 0;
    for entry in order {
        let start = flushed + buffer.len() as u64;
        let value = frame::encode(entry, &mut buffer);
        if value.len() < LARGE {
            buffer.extend_from_slice(value);
        }
        if buffer.len() >= READ_BYTES as usize || value.len() >= LARGE {
            active.file.write_all(&buffer)?;
            flushed += buffer.len() as u64;
            buffer.clear();
        }
        if value.len() >= LARGE {
            active.file.write_all(value)?;
            flushed += value.len() as u64;
        }
        if let Entry::Record { pid, record } = entry {
            let extent = Extent {
                base: record.offset,
                segment: active.segment,
                position: active.bytes + start,
                bytes: (flushed + buffer.len() as u64 - start) as u32,
            };
            added.push((*pid, extent));
        }
    }
    active.file.write_all(&buffer)?;
    Ok(flushed + buffer.len() as u64)
}

/// Adds an extent, or makes the last one longer if it lies right behind it.
fn join(tail: &mut Tail, pid: Pid, extent: Extent) {
    let extents = tail.entry(pid).or_default();
    if let Some(last) = extents.last_mut() {
        let behind = last.position + u64::from(last.bytes) == extent.position;
        if behind && u64::from(last.bytes + extent.bytes) <= EXTENT_BYTES {
            last.bytes += extent.bytes;
            return;
        }
    }
    extents.push(extent);
}

fn each(tail: &Tail) -> impl Iterator<Item = (Pid, &Extent)> {
    let pairs = tail.iter();
    pairs.flat_map(|(pid, extents)| extents.iter().map(move |extent| (*pid, extent)))
}

/// A stretch of a segment.
struct Run {
    segment: u32,
    position: u64,
    bytes: usize,
}

/// The extents at the start that lie one behind the other.
fn first_run(extents: &[Extent]) -> Option<Run> {
    let (first, rest) = extents.split_first()?;
    let mut bytes = u64::from(first.bytes);
    for extent in rest {
        let behind = first.position + bytes == extent.position;
        let longer = bytes + u64::from(extent.bytes);
        if extent.segment != first.segment || !behind || longer > READ_BYTES {
            break;
        }
        bytes = longer;
    }
    Some(Run {
        segment: first.segment,
        position: first.position,
        bytes: bytes as usize,
    })
}

/// Folds a segment into the catalog and cuts off what a crash left behind its last whole frame.
fn recover(folder: &Path, segment: u32, catalog: &mut Catalog) -> Result<(Active, Tail), LogError> {
    let path = segment::path(folder, segment);
    let file = open_segment(&path)?;
    let failed = |e| LogError::io("opening", &path, e);
    let mut scan = Scan::new(File::open(&path).map_err(failed)?, path.clone())?;
    let mut tail = Tail::new();
    let mut bytes = 0;
    loop {
        match scan.next()? {
            Scanned::Frame(Frame::Mark(_), position, length) => bytes = position + length,
            Scanned::Frame(Frame::Entry(entry), position, length) => {
                let fits = catalog.apply(&entry);
                fits.ok_or_else(|| scan.damaged("an entry does not follow the one before it"))?;
                if let Entry::Record { pid, record } = entry {
                    let extent = Extent {
                        base: record.offset,
                        segment,
                        position,
                        bytes: length as u32,
                    };
                    join(&mut tail, pid, extent);
                }
                bytes = position + length;
            }
            Scanned::End => break,
            Scanned::Torn(_) if segment::path(folder, segment + 1).exists() => {
                return Err(scan.damaged("an entry is not as it was written in a full segment"));
            }
            Scanned::Torn(position) => {
                file.set_len(position).map_err(|e| LogError::io("writing", &path, e))?;
                break;
            }
        }
    }
    // A killed process may have left whole frames that never reached the disk, and what is
    // written next vouches for them.
    file.sync_all().map_err(|e| LogError::io("writing", &path, e))?;
    let active = Active {
        file,
        segment,
        bytes,
        broken: None,
    };
    Ok((active, tail))
}

fn open_segment(path: &Path) -> Result<File, LogError> {
    let open = OpenOptions::new().append(true).create(true).open(path);
    open.map_err(|e| LogError::io("opening", path, e))
}
