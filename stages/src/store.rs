//! The object store: small create-once objects that decide, and parts named by their own sha256.
//!
//! In: bytes and a name from [`fedstill_schemas::names`]. Out: the bytes that exist under that name from now on, which
//! for a create-once object may be another writer's. After a crash an object is there whole or not at all: the folder
//! backend writes aside, syncs and links. Only this module and its own name `object_store`.

mod backend;

#[cfg(feature = "cloud")]
pub use self::backend::provide_tls;

use self::backend::Backend;
use bytes::Bytes;
use fedstill_schemas::digest::Digest;
use fedstill_schemas::names;
use fedstill_schemas::resolved::{self, VERSION};
use fedstill_schemas::task::{Part, Place, Subject};
use object_store::memory::InMemory;
use object_store::{ObjectStore, PutMode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// The stores that a worker reaches: the run's, the results', and those of the parties that it runs.
#[derive(Clone)]
pub struct Store {
    shared: Backend,
    results: Backend,
    parties: Parties,
}

/// The stores of parties that can be reached from here.
#[derive(Clone)]
enum Parties {
    /// Of these slots.
    Some(BTreeMap<u32, Backend>),
    /// Of all slots, below one place: all parties are simulated, or there is one party here.
    All(Backend),
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("shared", &self.shared.shown(""))
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

/// Bytes of the largest object that is no part: what closed a phase of a hundred thousand parties. Parties write some of
/// them, and nobody is to read more than that into memory.
const LARGEST: u64 = 256 << 20;

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
        Ok(Self {
            shared: Backend::folder(&run_folder.join("store"))?,
            results: Backend::folder(results)?,
            parties: Parties::Some(
                (0..parties)
                    .map(|slot| {
                        Ok((
                            slot,
                            Backend::folder(&run_folder.join("parties").join(slot.to_string()))?,
                        ))
                    })
                    .collect::<Result<_, StoreError>>()?,
            ),
        })
    }

    /// The stores of a deployment: `store`, `results` and `parties/<slot>` below one URL (`s3://bucket/prefix`, `gs://`,
    /// `az://`, `file://`). Credentials and endpoints are in the environment, under the
    /// names that each provider's own tools read: `AWS_ACCESS_KEY_ID`, `GOOGLE_SERVICE_ACCOUNT`, `AZURE_STORAGE_ACCOUNT_KEY`.
    ///
    /// # Errors
    /// A URL that names no store, or one that this build does not reach.
    pub fn deployed(url: &str, environment: &[(String, String)]) -> Result<Self, StoreError> {
        let root = Backend::open(url, environment)?;
        Ok(Self {
            shared: root.below("store"),
            results: root.below("results"),
            parties: Parties::All(root.below("parties")),
        })
    }

    /// The stores of a party that runs its own worker: a deployment's shared store, and one of its own for all that
    /// nobody else reads. Variables of the environment that begin with `FEDSTILL_OWN_` are, without that beginning, the
    /// own store's instead of the shared one's.
    ///
    /// # Errors
    /// As [`Store::deployed`].
    pub fn of_party(shared: &str, own: &str, environment: &[(String, String)]) -> Result<Self, StoreError> {
        let root = Backend::open(shared, environment)?;
        let others: Vec<(String, String)> = environment
            .iter()
            .filter_map(|(name, value)| Some((name.strip_prefix("FEDSTILL_OWN_")?.to_owned(), value.clone())))
            .collect();
        let own = Backend::open(own, if others.is_empty() { environment } else { &others })?;
        Ok(Self {
            shared: root.below("store"),
            results: root.below("results"),
            parties: Parties::All(own),
        })
    }

    /// Checks that the store keeps its most important promise: an object that exists is not created again.
    ///
    /// # Errors
    /// A store that overwrites, or that does not answer.
    pub fn check_create_once(&self) -> Result<(), StoreError> {
        const PROBE: &str = "create-once";
        self.create(PROBE, Bytes::from_static(b"fedstill"))?;
        match self.create(PROBE, Bytes::from_static(b"overwritten"))? {
            Created::Exists(_) => Ok(()),
            Created::New => Err(StoreError::Unusable {
                path: self.shared.shown(PROBE),
                reason: "the store overwrites objects that must be created once: choose one with conditional puts \
                         (If-None-Match), as S3, GCS and Azure have them"
                    .to_owned(),
            }),
        }
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
        let party = |slot: u32| (slot, Backend::over(party(), &format!("parties/{slot}")));
        Self {
            shared: Backend::over(shared, "store"),
            results: Backend::over(results, "results"),
            parties: Parties::Some((0..parties).map(party).collect()),
        }
    }

    /// The bytes of an object of the run's store; `None` where there is none.
    ///
    /// # Errors
    /// A store that does not answer.
    pub fn get(&self, path: &str) -> Result<Option<Bytes>, StoreError> {
        self.shared.read_up_to(path, LARGEST)
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

    /// Where the shared store is, for people.
    pub fn url(&self) -> String {
        self.shared.shown("")
    }

    /// An object of the shared store by its URL; `None` for one that is not there, or not below it.
    ///
    /// # Errors
    /// A store that does not answer.
    pub fn get_url(&self, url: &str) -> Result<Option<Bytes>, StoreError> {
        // A folder is shown as its path; its URL begins with the scheme.
        let path = url.strip_prefix("file://").unwrap_or(url);
        match path.strip_prefix(&self.url()) {
            Some(path) if !path.split('/').any(|part| part.is_empty() || part.starts_with('.')) => self.get(path),
            _ => Ok(None),
        }
    }

    /// Deletes all that a run has put, but for `keep`, and says how many objects that were. Its result tables stay.
    ///
    /// # Errors
    /// A store that does not answer or cannot be written.
    pub fn delete_run(&self, run: &str, keep: &[String]) -> Result<usize, StoreError> {
        let shared = self.shared.delete_below(run, keep)?;
        let parties = match &self.parties {
            Parties::Some(some) => some
                .values()
                .map(|store| store.delete_below(run, &[]))
                .sum::<Result<usize, StoreError>>()?,
            Parties::All(all) => all
                .folders()?
                .iter()
                .map(|slot| all.below(slot).delete_below(run, &[]))
                .sum::<Result<usize, StoreError>>()?,
        };
        Ok(shared + parties)
    }

    /// Puts the file of a data set where workers find it: everyone's in the shared store, that of simulated parties
    /// among their stores.
    ///
    /// # Errors
    /// A store that does not answer or cannot be written, or that holds single parties only.
    pub fn put_data(&self, set: Digest, private: bool, file: Bytes) -> Result<(), StoreError> {
        let path = names::data_object(set);
        let store = match (&self.parties, private) {
            (_, false) => &self.shared,
            (Parties::All(all), true) => all,
            (Parties::Some(_), true) => {
                return Err(StoreError::Missing { path });
            }
        };
        store.write(&path, file, PutMode::Create).map(|_| ())
    }

    /// The file of a data set; `None` where it is not in reach.
    ///
    /// # Errors
    /// A store that does not answer.
    pub fn get_data(&self, set: Digest) -> Result<Option<Bytes>, StoreError> {
        let path = names::data_object(set);
        match (self.shared.read(&path)?, &self.parties) {
            (None, Parties::All(all)) => all.read(&path),
            (found, _) => Ok(found),
        }
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
        self.results.has(path)
    }

    fn place(&self, place: Place, path: &str) -> Result<Backend, StoreError> {
        let unreachable = || StoreError::Missing {
            path: format!("{path} of {}", place_of(place)),
        };
        match (place, &self.parties) {
            (Place::Shared, _) => Ok(self.shared.clone()),
            (Place::Party(slot), Parties::All(all)) => Ok(all.below(&slot.to_string())),
            (Place::Party(slot), Parties::Some(some)) => some.get(&slot).cloned().ok_or_else(unreachable),
        }
    }
}

fn place_of(place: Place) -> String {
    match place {
        Place::Shared => "the shared store".to_owned(),
        Place::Party(slot) => Subject::Party(slot).to_string(),
    }
}

fn parse<T: DeserializeOwned>(path: String, bytes: &[u8]) -> Result<T, StoreError> {
    let damaged = |error: serde_json::Error| StoreError::Damaged {
        path: path.clone(),
        reason: format!("{error}: {RESTORE}"),
    };
    if let Some(version) = resolved::newer(bytes) {
        let reason = format!(
            "it was written by a newer release (schema version {version}, this one reads up to {VERSION}): use that release"
        );
        return Err(StoreError::Unusable { path, reason });
    }
    serde_json::from_slice(bytes).map_err(damaged)
}

#[cfg(test)]
mod tests;
