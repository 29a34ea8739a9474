//! Object stores as one process sees them: away for a while, failing before or after a put, and with the process's
//! death before or after one.

use super::world::{BEFORE_PUT, World};
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};

pub(super) type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// Every store of a run, as it is.
#[derive(Clone, Debug)]
pub(super) struct Objects {
    shared: Arc<InMemory>,
    results: Arc<InMemory>,
    parties: Vec<Arc<InMemory>>,
}

impl Objects {
    pub(super) fn new(parties: u32) -> Self {
        Self {
            shared: Arc::default(),
            results: Arc::default(),
            parties: (0..parties).map(|_| Arc::default()).collect(),
        }
    }

    /// The stores without faults.
    pub(super) fn plain(&self) -> crate::Store {
        self.wrapped(|inner| inner)
    }

    /// The stores as a process sees them.
    pub(super) fn of_process(&self, world: &Weak<World>, process: usize, life: u64) -> crate::Store {
        self.wrapped(|inner| {
            Arc::new(ProcessStore {
                inner,
                world: Weak::clone(world),
                process,
                life,
            })
        })
    }

    /// The stores as whoever wraps each of them sees them.
    pub(super) fn wrapped(&self, wrap: impl Fn(Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore>) -> crate::Store {
        let next = Cell::new(0);
        crate::Store::over(
            wrap(Arc::clone(&self.shared) as _),
            wrap(Arc::clone(&self.results) as _),
            self.parties.len() as u32,
            || wrap(Arc::clone(&self.parties[next.replace(next.get() + 1)]) as _),
        )
    }

    /// The bytes of a file of the results.
    pub(super) fn result_file(&self, path: &str) -> Option<bytes::Bytes> {
        use object_store::ObjectStoreExt;
        let read = async { self.results.get(&Path::from(path)).await?.bytes().await };
        futures::executor::block_on(read).ok()
    }
}

/// A process's view of a store.
struct ProcessStore {
    inner: Arc<dyn ObjectStore>,
    world: Weak<World>,
    process: usize,
    life: u64,
}

impl fmt::Debug for ProcessStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for ProcessStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the store of process {}", self.process)
    }
}

fn unavailable() -> Error {
    Error::Generic {
        store: "simulated",
        source: "injected fault: the store is away".into(),
    }
}

impl ProcessStore {
    /// The process may die here; whether the call fails.
    fn fails(&self) -> bool {
        let world = self.world.upgrade();
        world.is_some_and(|world| world.store_call(self.process, self.life))
    }
}

impl ObjectStore for ProcessStore {
    fn put_opts<'a, 'b, 'c>(&'a self, path: &'b Path, payload: PutPayload, options: PutOptions) -> Answer<'c, PutResult>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        // Not within the future: others use their stores while this process stalls.
        if let Some(world) = self.world.upgrade() {
            world.point(self.process, self.life, BEFORE_PUT);
        }
        let failed = self.fails();
        Box::pin(async move {
            if failed {
                return Err(unavailable());
            }
            let put = self.inner.put_opts(path, payload, options).await;
            // It is written, and nobody learns of it.
            if self.fails() { Err(unavailable()) } else { put }
        })
    }

    fn get_opts<'a, 'b, 'c>(&'a self, path: &'b Path, options: GetOptions) -> Answer<'c, GetResult>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        if self.fails() {
            return Box::pin(async { Err(unavailable()) });
        }
        self.inner.get_opts(path, options)
    }

    fn put_multipart_opts<'a, 'b, 'c>(
        &'a self,
        path: &'b Path,
        options: PutMultipartOptions,
    ) -> Answer<'c, Box<dyn MultipartUpload>>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        self.inner.put_multipart_opts(path, options)
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn list_with_delimiter<'a, 'b, 'c>(&'a self, prefix: Option<&'b Path>) -> Answer<'c, ListResult>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        self.inner.list_with_delimiter(prefix)
    }

    fn copy_opts<'a, 'b, 'c, 'd>(&'a self, from: &'b Path, to: &'c Path, options: CopyOptions) -> Answer<'d, ()>
    where
        'a: 'd,
        'b: 'd,
        'c: 'd,
        Self: 'd,
    {
        self.inner.copy_opts(from, to, options)
    }
}
