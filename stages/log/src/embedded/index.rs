//! The index: where the records of sealed segments lie, and the catalog at the last seal.
//!
//! Comes in: a segment that will not change any more. Goes out: the extents of a partition from an
//! offset on. The index repeats what the segments say, so a crash, or the loss of its file, costs
//! no more than a scan.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

use super::catalog::{Catalog, Pid};
use crate::error::{Cause, LogError};
use crate::record::Offset;

const META: TableDefinition<'_, &str, i64> = TableDefinition::new("meta");
const PARTITIONS: TableDefinition<'_, Pid, (&str, Offset)> = TableDefinition::new("partitions");
const COMMITS: TableDefinition<'_, (&str, Pid), Offset> = TableDefinition::new("commits");
const EXTENTS: TableDefinition<'_, (Pid, Offset), (u32, u64, u32)> = TableDefinition::new("extents");

const SEALED: &str = "sealed segments";
const LAST_MS: &str = "last timestamp";

/// The page cache of the store; extents are small, so this serves many gigabytes of records.
const CACHE_BYTES: usize = 8 << 20;

/// Consecutive records of one partition that lie one behind the other in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    /// The offset of the first record.
    pub(super) base: Offset,
    pub(super) segment: u32,
    /// The first byte.
    pub(super) position: u64,
    pub(super) bytes: u32,
}

/// The key-value store that holds the index.
#[derive(Debug)]
pub(super) struct Index {
    path: PathBuf,
    store: Database,
}

impl Index {
    /// Opens the index, or makes an empty one in the place of one that is missing or damaged.
    pub(super) fn open(folder: &Path) -> Result<Self, LogError> {
        let path = folder.join("index.redb");
        let open = || Database::builder().set_cache_size(CACHE_BYTES).create(&path);
        let store = match open() {
            Err(error) if damaged(&error) => {
                std::fs::remove_file(&path).map_err(|e| LogError::io("removing", &path, e))?;
                open()
            }
            other => other,
        };
        let store = store.map_err(|e| failed(&path, e))?;
        let index = Self { path, store };
        index.make_tables().map_err(|e| failed(&index.path, e))?;
        Ok(index)
    }

    fn make_tables(&self) -> Result<(), redb::Error> {
        let write = self.store.begin_write()?;
        write.open_table(META)?;
        write.open_table(PARTITIONS)?;
        write.open_table(COMMITS)?;
        write.open_table(EXTENTS)?;
        write.commit()?;
        Ok(())
    }

    /// The catalog at the last seal, and how many segments are sealed.
    pub(super) fn load(&self) -> Result<(Catalog, u32), LogError> {
        self.try_load().map_err(|e| failed(&self.path, e))
    }

    fn try_load(&self) -> Result<(Catalog, u32), redb::Error> {
        let read = self.store.begin_read()?;
        let mut catalog = Catalog::default();
        for row in read.open_table(PARTITIONS)?.iter()? {
            let (_, row) = row?;
            let (topic, end) = row.value();
            catalog.add_partition(topic, end);
        }
        for row in read.open_table(COMMITS)?.iter()? {
            let (key, offset) = row?;
            let (group, pid) = key.value();
            catalog.set_commit(group, pid, offset.value());
        }
        let meta = read.open_table(META)?;
        if let Some(last_ms) = meta.get(LAST_MS)? {
            catalog.set_last_ms(last_ms.value());
        }
        let sealed = meta.get(SEALED)?.map_or(0, |sealed| sealed.value());
        Ok((catalog, sealed as u32))
    }

    /// Adds a whole segment. `catalog` is the sum of all entries to its end.
    pub(super) fn seal<'a>(
        &self,
        segment: u32,
        extents: impl Iterator<Item = (Pid, &'a Extent)>,
        catalog: &Catalog,
    ) -> Result<(), LogError> {
        let sealed = self.try_seal(segment, extents, catalog);
        sealed.map_err(|e| failed(&self.path, e))
    }

    fn try_seal<'a>(
        &self,
        segment: u32,
        extents: impl Iterator<Item = (Pid, &'a Extent)>,
        catalog: &Catalog,
    ) -> Result<(), redb::Error> {
        let write = self.store.begin_write()?;
        {
            let mut table = write.open_table(EXTENTS)?;
            for (pid, extent) in extents {
                let place = (extent.segment, extent.position, extent.bytes);
                table.insert((pid, extent.base), place)?;
            }
            let mut table = write.open_table(PARTITIONS)?;
            for (pid, partition) in catalog.all().iter().enumerate() {
                table.insert(pid as Pid, (&*partition.name.topic, partition.end))?;
            }
            let mut table = write.open_table(COMMITS)?;
            for (group, commits) in catalog.commits() {
                for (pid, offset) in commits {
                    table.insert((group.as_str(), *pid), *offset)?;
                }
            }
            let mut table = write.open_table(META)?;
            table.insert(SEALED, i64::from(segment) + 1)?;
            table.insert(LAST_MS, catalog.last_ms())?;
        }
        write.commit()?;
        Ok(())
    }

    /// The extents of a partition, from the one that holds `from` on, at least one and until they
    /// have `most` bytes.
    pub(super) fn extents(&self, pid: Pid, from: Offset, most: u64) -> Result<Vec<Extent>, LogError> {
        self.try_extents(pid, from, most).map_err(|e| failed(&self.path, e))
    }

    fn try_extents(&self, pid: Pid, from: Offset, most: u64) -> Result<Vec<Extent>, redb::Error> {
        let table = self.store.begin_read()?.open_table(EXTENTS)?;
        let first = match table.range((pid, 0)..=(pid, from))?.next_back() {
            Some(row) => row?.0.value().1,
            None => return Ok(Vec::new()),
        };
        let mut out = Vec::new();
        let mut bytes = 0;
        for row in table.range((pid, first)..=(pid, Offset::MAX))? {
            let (key, place) = row?;
            let (segment, position, length) = place.value();
            out.push(Extent {
                base: key.value().1,
                segment,
                position,
                bytes: length,
            });
            bytes += u64::from(length);
            if bytes >= most {
                break;
            }
        }
        Ok(out)
    }
}

/// True if the file is not an index, or not a whole one.
fn damaged(error: &redb::DatabaseError) -> bool {
    use redb::{DatabaseError, StorageError};
    match error {
        DatabaseError::Storage(StorageError::Corrupted(_)) => true,
        DatabaseError::Storage(StorageError::Io(e)) => {
            matches!(e.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof)
        }
        _ => false,
    }
}

fn failed(path: &Path, error: impl Into<redb::Error>) -> LogError {
    match error.into() {
        redb::Error::Io(source) => LogError::io("writing", path, source),
        other => Cause::Index {
            path: path.to_owned(),
            message: other.to_string(),
        }
        .into(),
    }
}
