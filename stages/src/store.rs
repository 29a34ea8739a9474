//! The object store: small create-once objects that decide, and parts named by their own sha256.
//!
//! In: bytes and a name from [`fedstill_schemas::names`]. Out: the bytes that exist under that name from now on, which
//! for a create-once object may be another writer's. After a crash an object is there whole or not at all: the folder
//! backend writes aside, syncs and links. Only this module names `object_store`.

use bytes::Bytes;
use fedstill_schemas::digest::Digest;
use fedstill_schemas::names;
use fedstill_schemas::resolved::VERSION;
use fedstill_schemas::task::{Part, Place};
use futures::executor::block_on;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path as ObjectPath;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The stores that a worker reaches: the run's, the results', and those of the parties that it runs.
#[derive(Clone)]
pub struct Store {
    shared: Backend,
    results: Backend,
    parties: BTreeMap<u32, Backend>,
}

/// Where objects lie.
#[derive(Clone)]
struct Backend {
    objects: Arc<dyn ObjectStore>,
    /// How people name it: a folder.
    shown: String,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parties: Vec<_> = self.parties.keys().collect();
        f.debug_struct("Store")
            .field("parties", &parties)
            .finish_non_exhaustive()
    }
}

/// Why an object cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store does not answer now.
    #[error("{path}: the store does not answer: {reason}")]
    Unavailable {
        /// The object.
        path: String,
        /// What it said.
        reason: String,
    },
    /// The store will not work without a person.
    #[error("{path}: {reason}")]
    Unusable {
        /// The object.
        path: String,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// An object that a task names is not there.
    #[error("{path} is not in the store: it was deleted, or this worker has no access to that party's store")]
    Missing {
        /// The object.
        path: String,
    },
    /// An object is not what its name says.
    #[error("{path} is damaged: {reason}")]
    Damaged {
        /// The object.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// What a person can do about a damaged object.
const RESTORE: &str = "restore it from a copy, or start the run again under another name";

/// What came of putting a create-once object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Created {
    /// It is ours.
    New,
    /// Somebody was first, with these bytes.
    Exists(Bytes),
}

impl Store {
    /// The stores of a local run: folders `store` and `parties/<slot>` of the run's folder, and `results`.
    ///
    /// # Errors
    /// A folder that cannot be made or written.
    pub fn local(run_folder: &Path, results: &Path, parties: u32) -> Result<Self, StoreError> {
        let open = |folder: PathBuf| -> Result<Backend, StoreError> {
            let shown = folder.display().to_string();
            std::fs::create_dir_all(&folder).map_err(|error| from_io(shown.clone(), &error))?;
            let store =
                LocalFileSystem::new_with_prefix(&folder).map_err(|error| from_object_store(shown.clone(), &error))?;
            Ok(Backend {
                objects: Arc::new(store.with_fsync(true)),
                shown,
            })
        };
        Ok(Self {
            shared: open(run_folder.join("store"))?,
            results: open(results.to_owned())?,
            parties: (0..parties)
                .map(|slot| Ok((slot, open(run_folder.join("parties").join(slot.to_string()))?)))
                .collect::<Result<_, StoreError>>()?,
        })
    }

    /// Stores in memory, for simulations.
    pub fn in_memory(parties: u32) -> Self {
        Self::over(Arc::new(InMemory::new()), Arc::new(InMemory::new()), parties, || {
            Arc::new(InMemory::new())
        })
    }

    /// Stores over given backends.
    pub fn over(
        shared: Arc<dyn ObjectStore>,
        results: Arc<dyn ObjectStore>,
        parties: u32,
        party: impl Fn() -> Arc<dyn ObjectStore>,
    ) -> Self {
        let backend = |objects, shown: &str| Backend {
            objects,
            shown: shown.to_owned(),
        };
        Self {
            shared: backend(shared, "store"),
            results: backend(results, "results"),
            parties: (0..parties)
                .map(|slot| (slot, backend(party(), &format!("parties/{slot}"))))
                .collect(),
        }
    }

    /// The bytes of an object of the run's store; `None` where there is none.
    ///
    /// # Errors
    /// A store that does not answer.
    pub fn get(&self, path: &str) -> Result<Option<Bytes>, StoreError> {
        self.shared.read(path)
    }

    /// Puts a create-once object: the first writer wins, and everyone learns what was written.
    ///
    /// # Errors
    /// A store that does not answer or cannot be written.
    pub fn create(&self, path: &str, bytes: Bytes) -> Result<Created, StoreError> {
        loop {
            if self.shared.write(path, bytes.clone(), PutMode::Create)? {
                return Ok(Created::New);
            }
            // Deleted in between: put again.
            if let Some(there) = self.get(path)? {
                return Ok(Created::Exists(there));
            }
        }
    }

    /// Puts a JSON object create-once and returns what is there afterwards, with the sha256 of its bytes.
    ///
    /// # Errors
    /// As [`Store::create`], and an object there that is no such JSON.
    pub fn create_json<T: Serialize + DeserializeOwned>(
        &self,
        path: &str,
        value: T,
    ) -> Result<(T, Digest), StoreError> {
        let bytes = Bytes::from(fedstill_schemas::canonical_json(&value));
        match self.create(path, bytes.clone())? {
            Created::New => Ok((value, Digest::of(&bytes))),
            Created::Exists(there) => Ok((parse(self.shared.shown(path), &there)?, Digest::of(&there))),
        }
    }

    /// A JSON object with the sha256 of its bytes; `None` where there is none.
    ///
    /// # Errors
    /// A store that does not answer, or an object that is no such JSON.
    pub fn get_json<T: DeserializeOwned>(&self, path: &str) -> Result<Option<(T, Digest)>, StoreError> {
        self.get(path)?
            .map(|bytes| Ok((parse(self.shared.shown(path), &bytes)?, Digest::of(&bytes))))
            .transpose()
    }

    /// A JSON object that must be there.
    ///
    /// # Errors
    /// As [`Store::get_json`], and a missing object.
    pub fn need_json<T: DeserializeOwned>(&self, path: &str) -> Result<(T, Digest), StoreError> {
        self.get_json(path)?.ok_or_else(|| StoreError::Missing {
            path: self.shared.shown(path),
        })
    }

    /// Puts a part. It may be there already: its name says what it holds, and where damage made it hold something else,
    /// it is mended.
    ///
    /// # Errors
    /// A store that does not answer or cannot be written.
    pub fn put_part(&self, run: &str, place: Place, bytes: Bytes) -> Result<Part, StoreError> {
        let part = Part {
            sha256: Digest::of(&bytes),
            bytes: bytes.len() as u64,
            place,
        };
        let path = names::part_object(run, &part);
        let store = self.place(place, &path)?;
        if !store.write(&path, bytes.clone(), PutMode::Create)? && store.read(&path)?.as_ref() != Some(&bytes) {
            store.write(&path, bytes, PutMode::Overwrite)?;
        }
        Ok(part)
    }

    /// The bytes of a part, checked against its name.
    ///
    /// # Errors
    /// A part that is missing or damaged, or a store that does not answer.
    pub fn get_part(&self, run: &str, part: &Part) -> Result<Bytes, StoreError> {
        let path = names::part_object(run, part);
        let store = self.place(part.place, &path)?;
        let bytes = store.read(&path)?;
        let path = store.shown(&path);
        let bytes = bytes.ok_or_else(|| StoreError::Missing { path: path.clone() })?;
        if Digest::of(&bytes) != part.sha256 {
            let reason = format!("its bytes have another sha256 than its name: {RESTORE}");
            return Err(StoreError::Damaged { path, reason });
        }
        Ok(bytes)
    }

    /// Writes one file of the results; the same file again has the same bytes.
    ///
    /// # Errors
    /// A store that does not answer or cannot be written.
    pub fn put_result_file(&self, path: &str, bytes: Bytes) -> Result<(), StoreError> {
        self.results.write(path, bytes, PutMode::Overwrite).map(|_| ())
    }

    /// Whether a file of the results is there.
    ///
    /// # Errors
    /// A store that does not answer.
    pub fn has_result_file(&self, path: &str) -> Result<bool, StoreError> {
        match block_on(self.results.objects.head(&ObjectPath::from(path))) {
            Ok(_) => Ok(true),
            Err(Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(from_object_store(self.results.shown(path), &error)),
        }
    }

    fn place(&self, place: Place, path: &str) -> Result<&Backend, StoreError> {
        match place {
            Place::Shared => Ok(&self.shared),
            Place::Party(slot) => self.parties.get(&slot).ok_or_else(|| StoreError::Missing {
                path: format!("party-{slot}: {path}"),
            }),
        }
    }
}

impl Backend {
    /// An object, as people find it.
    fn shown(&self, path: &str) -> String {
        format!("{}/{path}", self.shown)
    }

    fn read(&self, path: &str) -> Result<Option<Bytes>, StoreError> {
        let result = block_on(async { (*self.objects).get(&ObjectPath::from(path)).await?.bytes().await });
        match result {
            Ok(bytes) => Ok(Some(bytes)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(from_object_store(self.shown(path), &error)),
        }
    }

    /// Whether the object was written: `false` if it must be new and is not.
    fn write(&self, path: &str, bytes: Bytes, mode: PutMode) -> Result<bool, StoreError> {
        let (options, payload) = (PutOptions::from(mode), PutPayload::from_bytes(bytes));
        match block_on((*self.objects).put_opts(&ObjectPath::from(path), payload, options)) {
            Ok(_) => Ok(true),
            Err(Error::AlreadyExists { .. }) => Ok(false),
            Err(error) => Err(from_object_store(self.shown(path), &error)),
        }
    }
}

/// What every object says of itself.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

fn parse<T: DeserializeOwned>(path: String, bytes: &[u8]) -> Result<T, StoreError> {
    let damaged = |error: serde_json::Error| StoreError::Damaged {
        path: path.clone(),
        reason: format!("{error}: {RESTORE}"),
    };
    let Versioned { version } = serde_json::from_slice(bytes).map_err(damaged)?;
    if version > VERSION {
        let reason = format!(
            "it was written by a newer release (schema version {version}, this one reads up to {VERSION}): use that release"
        );
        return Err(StoreError::Unusable { path, reason });
    }
    serde_json::from_slice(bytes).map_err(damaged)
}

fn from_object_store(path: String, error: &Error) -> StoreError {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(cause) = source {
        if let Some(io) = cause.downcast_ref::<io::Error>() {
            return from_io(path, io);
        }
        source = cause.source();
    }
    StoreError::Unavailable {
        path,
        reason: error.to_string(),
    }
}

fn from_io(path: String, error: &io::Error) -> StoreError {
    let fix = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "the disk is full: free some space and run again; nothing is lost"
        }
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
            "it cannot be written: change its permissions, or choose another folder with --out"
        }
        _ => {
            return StoreError::Unavailable {
                path,
                reason: error.to_string(),
            };
        }
    };
    StoreError::Unusable {
        path,
        reason: fix.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stores() -> Vec<(Store, Option<tempfile::TempDir>)> {
        let folder = tempfile::tempdir().unwrap();
        let local = Store::local(folder.path(), &folder.path().join("results"), 2).unwrap();
        vec![(Store::in_memory(2), None), (local, Some(folder))]
    }

    #[test]
    fn the_first_writer_of_a_create_once_object_wins() {
        for (store, _folder) in stores() {
            assert_eq!(store.get("r/run.json").unwrap(), None);
            assert_eq!(store.create("r/run.json", "one".into()).unwrap(), Created::New);
            assert_eq!(
                store.create("r/run.json", "two".into()).unwrap(),
                Created::Exists("one".into())
            );
            assert_eq!(store.get("r/run.json").unwrap().unwrap(), "one");
        }
    }

    #[test]
    fn one_of_many_concurrent_writers_wins_and_all_learn_its_bytes() {
        for (store, _folder) in stores() {
            let wins = std::thread::scope(|scope| {
                let writers: Vec<_> = (0..16)
                    .map(|i| {
                        let store = &store;
                        scope.spawn(move || store.create("r/x", format!("{i}").into()).unwrap())
                    })
                    .collect();
                writers.into_iter().map(|w| w.join().unwrap()).collect::<Vec<_>>()
            });
            let there = store.get("r/x").unwrap().unwrap();
            assert_eq!(wins.iter().filter(|w| **w == Created::New).count(), 1);
            assert_eq!(
                wins.iter().filter(|w| **w == Created::Exists(there.clone())).count(),
                15
            );
        }
    }

    #[test]
    fn a_part_is_kept_at_its_place_and_checked_when_read() {
        for (store, folder) in stores() {
            let part = store.put_part("r", Place::Party(1), "weights".into()).unwrap();
            assert_eq!(store.put_part("r", Place::Party(1), "weights".into()).unwrap(), part);
            assert_eq!(store.get_part("r", &part).unwrap(), "weights");
            let elsewhere = Part {
                place: Place::Party(0),
                ..part
            };
            assert!(matches!(
                store.get_part("r", &elsewhere),
                Err(StoreError::Missing { .. })
            ));
            assert!(matches!(
                store.put_part("r", Place::Party(9), "x".into()),
                Err(StoreError::Missing { .. })
            ));
            if let Some(folder) = folder {
                let file = folder.path().join("parties/1").join(names::part_object("r", &part));
                std::fs::write(file, "weighty").unwrap();
                assert!(matches!(store.get_part("r", &part), Err(StoreError::Damaged { .. })));
                store.put_part("r", Place::Party(1), "weights".into()).unwrap();
                assert_eq!(store.get_part("r", &part).unwrap(), "weights");
            }
        }
    }

    #[test]
    fn what_a_newer_release_wrote_is_refused_and_damage_is_named_with_its_file() {
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        struct Object {
            version: u32,
            new: Option<bool>,
        }
        let folder = tempfile::tempdir().unwrap();
        let store = Store::local(folder.path(), &folder.path().join("results"), 0).unwrap();
        let newer = Object {
            version: VERSION + 1,
            new: Some(true),
        };
        store.create_json("r/newer.json", newer).unwrap();
        let error = store.get_json::<Object>("r/newer.json").unwrap_err();
        assert!(matches!(error, StoreError::Unusable { .. }) && error.to_string().contains("newer release"));
        store.create("r/cut.json", "{\"version\": 1".into()).unwrap();
        let error = store.get_json::<Object>("r/cut.json").unwrap_err().to_string();
        let file = folder.path().join("store/r/cut.json");
        assert!(
            error.contains(&file.display().to_string()) && error.contains("restore"),
            "{error}"
        );
    }

    #[test]
    fn names_with_equals_signs_are_kept_as_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::local(folder.path(), &folder.path().join("results"), 0).unwrap();
        store
            .put_result_file(&names::result_file("metrics", "a-fedmd-0", 3), "x".into())
            .unwrap();
        assert!(
            folder
                .path()
                .join("results/metrics/run=a-fedmd-0/round=3/part-0.parquet")
                .is_file()
        );
    }
}
