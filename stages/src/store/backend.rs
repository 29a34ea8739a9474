//! One place for objects: a folder, a bucket, memory.
//!
//! In: a folder or a URL. Out: objects by path. Calls block: a folder is read and written on the calling thread, buckets
//! on a runtime of the backend's own, whatever thread asks.

use super::StoreError;
use bytes::Bytes;
use futures::TryStreamExt;
use futures::executor::block_on;
use object_store::local::LocalFileSystem;
use object_store::path::Path as ObjectPath;
use object_store::{Error, ObjectStore, ObjectStoreExt, ObjectStoreScheme, PutMode, PutOptions, PutPayload};
use std::future::Future;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// Where objects lie.
#[derive(Clone)]
pub(super) struct Backend {
    objects: Arc<dyn ObjectStore>,
    /// Before every path.
    prefix: ObjectPath,
    /// How people name it: a folder, a URL.
    shown: String,
    runtime: Runtime,
}

/// What runs a backend's futures.
#[derive(Clone)]
enum Runtime {
    /// The calling thread: nothing waits for a network.
    Calling,
    #[cfg(feature = "cloud")]
    Own(Arc<tokio::runtime::Runtime>),
}

impl Backend {
    /// A folder, which is made where it is not there; written with fsync.
    pub(super) fn folder(folder: &Path) -> Result<Self, StoreError> {
        let shown = folder.display().to_string();
        std::fs::create_dir_all(folder).map_err(|error| from_io(shown.clone(), &error))?;
        let store =
            LocalFileSystem::new_with_prefix(folder).map_err(|error| from_object_store(shown.clone(), &error))?;
        Ok(Self::over(Arc::new(store.with_fsync(true)), &shown))
    }

    /// Given objects.
    pub(super) fn over(objects: Arc<dyn ObjectStore>, shown: &str) -> Self {
        Self {
            objects,
            prefix: ObjectPath::default(),
            shown: shown.to_owned(),
            runtime: Runtime::Calling,
        }
    }

    /// What a URL names, reached with what the environment says of credentials and endpoints.
    pub(super) fn open(text: &str, environment: &[(String, String)]) -> Result<Self, StoreError> {
        let unusable = |reason: String| StoreError::Unusable {
            path: text.to_owned(),
            reason,
        };
        let example = "write a URL, as s3://bucket/prefix, gs://bucket/prefix, az://container/prefix or file:///folder";
        let url = url::Url::parse(text).map_err(|error| unusable(format!("{error}: {example}")))?;
        let (scheme, prefix) =
            ObjectStoreScheme::parse(&url).map_err(|error| unusable(format!("{error}: {example}")))?;
        if scheme == ObjectStoreScheme::Local {
            let folder = url.to_file_path().map_err(|()| unusable(example.to_owned()))?;
            return Self::folder(&folder);
        }
        let (objects, runtime) = cloud::open(&scheme, text, environment).map_err(unusable)?;
        Ok(Self {
            objects,
            prefix,
            shown: text.trim_end_matches('/').to_owned(),
            runtime,
        })
    }

    /// The same, below a path.
    pub(super) fn below(&self, path: &str) -> Self {
        Self {
            prefix: self.at(path),
            shown: self.shown(path),
            ..self.clone()
        }
    }

    /// An object, as people find it.
    pub(super) fn shown(&self, path: &str) -> String {
        format!("{}/{path}", self.shown)
    }

    fn at(&self, path: &str) -> ObjectPath {
        if self.prefix.as_ref().is_empty() {
            return ObjectPath::from(path);
        }
        ObjectPath::from(format!("{}/{path}", self.prefix))
    }

    fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        match &self.runtime {
            Runtime::Calling => block_on(future),
            #[cfg(feature = "cloud")]
            Runtime::Own(runtime) => runtime.block_on(future),
        }
    }

    pub(super) fn read(&self, path: &str) -> Result<Option<Bytes>, StoreError> {
        self.read_up_to(path, u64::MAX)
    }

    /// The same of an object of so many bytes at most: larger ones are refused unread.
    pub(super) fn read_up_to(&self, path: &str, most: u64) -> Result<Option<Bytes>, StoreError> {
        let read = async {
            let found = (*self.objects).get(&self.at(path)).await?;
            match found.meta.size {
                size if size > most => Ok(Err(size)),
                _ => found.bytes().await.map(Ok),
            }
        };
        match self.block_on(read) {
            Ok(Ok(bytes)) => Ok(Some(bytes)),
            Ok(Err(size)) => Err(StoreError::Damaged {
                path: self.shown(path),
                reason: format!("it has {size} bytes, and nothing of its kind has more than {most}"),
            }),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(from_object_store(self.shown(path), &error)),
        }
    }

    pub(super) fn has(&self, path: &str) -> Result<bool, StoreError> {
        match self.block_on((*self.objects).head(&self.at(path))) {
            Ok(_) => Ok(true),
            Err(Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(from_object_store(self.shown(path), &error)),
        }
    }

    /// Names of the folders at the top.
    pub(super) fn folders(&self) -> Result<Vec<String>, StoreError> {
        let prefix = (!self.prefix.as_ref().is_empty()).then_some(&self.prefix);
        let listed = self.block_on((*self.objects).list_with_delimiter(prefix));
        let listed = listed.map_err(|error| from_object_store(self.shown(""), &error))?;
        let last = |path: &ObjectPath| path.filename().map(str::to_owned);
        Ok(listed.common_prefixes.iter().filter_map(last).collect())
    }

    /// Deletes all objects below a path but those of `keep`; how many those were.
    pub(super) fn delete_below(&self, path: &str, keep: &[String]) -> Result<usize, StoreError> {
        let keep: Vec<ObjectPath> = keep.iter().map(|path| self.at(path)).collect();
        let below = self.at(path);
        let deleted = self.block_on(async {
            let listed: Vec<_> = (*self.objects).list(Some(&below)).try_collect().await?;
            let mut deleted = 0;
            for object in listed.iter().filter(|object| !keep.contains(&object.location)) {
                match (*self.objects).delete(&object.location).await {
                    Ok(()) | Err(Error::NotFound { .. }) => deleted += 1,
                    Err(error) => return Err(error),
                }
            }
            Ok(deleted)
        });
        deleted.map_err(|error| from_object_store(self.shown(path), &error))
    }

    /// Whether the object was written: `false` if it must be new and is not.
    pub(super) fn write(&self, path: &str, bytes: Bytes, mode: PutMode) -> Result<bool, StoreError> {
        let (options, payload) = (PutOptions::from(mode), PutPayload::from_bytes(bytes));
        match self.block_on((*self.objects).put_opts(&self.at(path), payload, options)) {
            Ok(_) => Ok(true),
            Err(Error::AlreadyExists { .. }) => Ok(false),
            Err(error) => Err(from_object_store(self.shown(path), &error)),
        }
    }
}

/// Gives this process the TLS that its clients use: one provider a process, whoever is first.
#[cfg(feature = "cloud")]
pub fn provide_tls() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

#[cfg(feature = "cloud")]
mod cloud {
    use super::Runtime;
    use object_store::aws::AmazonS3Builder;
    use object_store::azure::MicrosoftAzureBuilder;
    use object_store::gcp::GoogleCloudStorageBuilder;
    use object_store::{ObjectStore, ObjectStoreScheme, RetryConfig};
    use std::str::FromStr;
    use std::sync::Arc;
    use std::time::Duration;

    /// How long a call is tried before the task is put off.
    const PATIENCE: Duration = Duration::from_secs(20);

    /// The variables of a provider, as its builder's keys.
    fn of<K: FromStr>(environment: &[(String, String)], prefix: &str) -> impl Iterator<Item = (K, String)> {
        let own = environment.iter().filter(move |(name, _)| name.starts_with(prefix));
        own.filter_map(|(name, value)| Some((name.to_ascii_lowercase().parse().ok()?, value.clone())))
    }

    pub(super) fn open(
        scheme: &ObjectStoreScheme,
        url: &str,
        environment: &[(String, String)],
    ) -> Result<(Arc<dyn ObjectStore>, Runtime), String> {
        let retry = RetryConfig {
            retry_timeout: PATIENCE,
            ..RetryConfig::default()
        };
        super::provide_tls();
        let built = match scheme {
            ObjectStoreScheme::AmazonS3 => of(environment, "AWS_")
                .fold(AmazonS3Builder::new(), |builder, (key, value)| {
                    builder.with_config(key, value)
                })
                .with_url(url)
                .with_retry(retry)
                .build()
                .map(|store| Arc::new(store) as Arc<dyn ObjectStore>),
            ObjectStoreScheme::GoogleCloudStorage => of(environment, "GOOGLE_")
                .fold(GoogleCloudStorageBuilder::new(), |builder, (key, value)| {
                    builder.with_config(key, value)
                })
                .with_url(url)
                .with_retry(retry)
                .build()
                .map(|store| Arc::new(store) as Arc<dyn ObjectStore>),
            ObjectStoreScheme::MicrosoftAzure => of(environment, "AZURE_")
                .fold(MicrosoftAzureBuilder::new(), |builder, (key, value)| {
                    builder.with_config(key, value)
                })
                .with_url(url)
                .with_retry(retry)
                .build()
                .map(|store| Arc::new(store) as Arc<dyn ObjectStore>),
            _ => return Err("choose s3, gs, az or file".to_owned()),
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("store")
            .enable_all()
            .build()
            .map_err(|error| error.to_string())?;
        Ok((
            built.map_err(|error| error.to_string())?,
            Runtime::Own(Arc::new(runtime)),
        ))
    }
}

#[cfg(not(feature = "cloud"))]
mod cloud {
    use super::Runtime;
    use object_store::{ObjectStore, ObjectStoreScheme};
    use std::sync::Arc;

    pub(super) fn open(
        _: &ObjectStoreScheme,
        _: &str,
        _: &[(String, String)],
    ) -> Result<(Arc<dyn ObjectStore>, Runtime), String> {
        Err("this build reaches folders only: build with --features cloud, or use the image".to_owned())
    }
}

fn from_object_store(path: String, error: &Error) -> StoreError {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(cause) = source {
        if let Some(io) = cause.downcast_ref::<io::Error>() {
            return from_io(path, io);
        }
        source = cause.source();
    }
    let reason = error.to_string();
    match error {
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => StoreError::Unusable {
            path,
            reason: format!("{reason}: check the credentials in the environment and their rights"),
        },
        _ => StoreError::Unavailable { path, reason },
    }
}

fn from_io(path: String, error: &io::Error) -> StoreError {
    let fix = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "the disk is full: free some space and run again; nothing is lost"
        }
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
            "it cannot be written: change its permissions, or choose another folder (--out of a run here, the store's url of a deployment)"
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
