//! What stages that read the models of all parties hold of them: one at a time.
//!
//! In: a finished run, whose tasks are done once more over a store that counts what it hands out. Out: how many models were
//! in memory at once.

use super::learner::{self, Synthetic};
use super::objects::{Answer, Objects};
use super::scenario::{Algorithm, Scenario};
use crate::context::Context;
use crate::error::StageError;
use crate::execute::{Inputs, round_of};
use crate::federation::{Federation, PARTITIONS, Progress, make_topics};
use crate::learn::{EvaluateInputs, FitInputs, Fitted, Learner, ModelOf, Validated};
use crate::{average, evaluate, teachers};
use bytes::Bytes;
use fedstill_log::{Clock, Embedded, Log, ManualClock};
use fedstill_schemas::names;
use fedstill_schemas::pipeline::Stage;
use fedstill_schemas::plan::Draws;
use fedstill_schemas::resolved::ResolvedRun;
use fedstill_schemas::task::{Scores, Subject, Task};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult,
};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts bytes that were handed out, until whoever has them lets them go.
#[derive(Debug, Default)]
pub(crate) struct Handed {
    alive: AtomicUsize,
    most: AtomicUsize,
    all: AtomicUsize,
}

impl Handed {
    /// The same bytes, counted.
    pub(crate) fn out(handed: &Arc<Self>, bytes: Bytes) -> Bytes {
        let alive = handed.alive.fetch_add(1, Ordering::Relaxed) + 1;
        handed.most.fetch_max(alive, Ordering::Relaxed);
        handed.all.fetch_add(1, Ordering::Relaxed);
        Bytes::from_owner(Held {
            bytes,
            handed: Arc::clone(handed),
        })
    }

    /// How many were handed out, and how many of them were held at once.
    pub(crate) fn counted(&self) -> (usize, usize) {
        (self.all.load(Ordering::Relaxed), self.most.load(Ordering::Relaxed))
    }
}

/// Bytes that count as held until they are dropped.
struct Held {
    bytes: Bytes,
    handed: Arc<Handed>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.handed.alive.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A store that counts the parts that are read from it.
#[derive(Debug)]
struct CountingStore {
    inner: Arc<dyn ObjectStore>,
    parts: Arc<Handed>,
}

impl fmt::Display for CountingStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a store that counts what is read")
    }
}

impl ObjectStore for CountingStore {
    fn put_opts<'a, 'b, 'c>(&'a self, path: &'b Path, payload: PutPayload, options: PutOptions) -> Answer<'c, PutResult>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        self.inner.put_opts(path, payload, options)
    }

    fn get_opts<'a, 'b, 'c>(&'a self, path: &'b Path, options: GetOptions) -> Answer<'c, GetResult>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        Box::pin(async move {
            let mut found = self.inner.get_opts(path, options).await?;
            if !path.as_ref().contains("/parts/") {
                return Ok(found);
            }
            if let GetResultPayload::Stream(bytes) = found.payload {
                let parts = Arc::clone(&self.parts);
                // Memory answers with one piece, which is handed on as it is.
                let counted = bytes.map_ok(move |bytes| Handed::out(&parts, bytes));
                found.payload = GetResultPayload::Stream(counted.boxed());
            }
            Ok(found)
        })
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

    fn delete_stream(
        &self,
        paths: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        self.inner.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
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

/// A learner that lets go of a model before it asks for the next, and holds validation rows.
#[derive(Debug, Default)]
struct OneByOne(Synthetic);

impl Learner for OneByOne {
    fn draws(&self, run: &ResolvedRun, round: u32) -> Result<Draws, StageError> {
        Ok(Draws {
            validation: vec![0, 1],
            ..learner::draws(run, round)
        })
    }

    fn fit(&self, inputs: &FitInputs<'_>) -> Result<Fitted, StageError> {
        self.0.fit(inputs)
    }

    fn predict(
        &self,
        run: &ResolvedRun,
        subject: Subject,
        weights: &[u8],
        rows: &[u32],
    ) -> Result<Vec<f32>, StageError> {
        self.0.predict(run, subject, weights, rows)
    }

    fn initial(&self, run: &ResolvedRun, subject: Subject) -> Result<Vec<u8>, StageError> {
        self.0.initial(run, subject)
    }

    fn average(
        &self,
        models: &mut dyn Iterator<Item = Result<(f64, Bytes), StageError>>,
    ) -> Result<Vec<u8>, StageError> {
        let mut mean = Vec::new();
        for model in models {
            let (weight, weights) = model?;
            mean = learner::average([(1.0, &mean[..]), (weight, &weights[..])].into_iter());
        }
        Ok(mean)
    }

    fn validate(&self, _: &ResolvedRun, _: Subject, _: &[u8], draws: &Draws) -> Result<Validated, StageError> {
        Ok(Validated {
            right: 1,
            rows: draws.validation.len() as u32,
        })
    }

    fn evaluate(
        &self,
        _: &EvaluateInputs<'_>,
        models: &mut dyn Iterator<Item = Result<ModelOf, StageError>>,
    ) -> Result<Scores, StageError> {
        let mut mean = Vec::new();
        for model in models {
            let (_, weights) = model?;
            mean = learner::average([(1.0, &mean[..]), (1.0, &weights[..])].into_iter());
        }
        Ok(learner::evaluate(&mean))
    }
}

/// Parties of a run, half of them of each architecture.
const PARTIES: u32 = 6;

/// A finished run of FedDF, by its log and its stores.
struct Done {
    log: Embedded,
    objects: Objects,
}

impl Done {
    fn new() -> Self {
        let mut scenario = Scenario::calm(Algorithm::FedDf);
        (scenario.parties, scenario.alignment) = (PARTIES, 10);
        let clock = Arc::new(ManualClock::new(0));
        let log = Embedded::in_memory(Arc::clone(&clock) as Arc<dyn Clock>);
        make_topics(&log, PARTITIONS).unwrap();
        let objects = Objects::new(PARTIES);
        let context = Context::new(Arc::new(log.clone()), objects.plain(), Arc::new(OneByOne::default()));
        let mut federation = Federation::start(Arc::new(context), 1).unwrap();
        let progress = federation.run(&scenario.trigger(0, 0, 1), &*clock, &|| false);
        assert_eq!(progress.unwrap(), Progress::Finished);
        Self { log, objects }
    }

    /// The tasks of a stage.
    fn tasks(&self, stage: Stage) -> Vec<Task> {
        let topic = names::stage_topic(stage);
        let mut tasks = Vec::new();
        for partition in 0..self.log.partitions(topic).unwrap() {
            let mut reader = self.log.read(topic, partition, 0).unwrap();
            for record in reader.next(usize::MAX).unwrap() {
                tasks.push(serde_json::from_slice(&record.value).unwrap());
            }
        }
        tasks
    }

    /// How many parts some work on a task reads from the stores, and how many of them it holds at once. Nothing is in
    /// memory from before.
    fn parts<T>(&self, task: &Task, work: impl Fn(&Context, &Inputs<'_>) -> Result<T, StageError>) -> (usize, usize) {
        let parts = Arc::<Handed>::default();
        let store = self.objects.wrapped(|inner| {
            Arc::new(CountingStore {
                inner,
                parts: Arc::clone(&parts),
            })
        });
        let context = Context::new(Arc::new(self.log.clone()), store, Arc::new(OneByOne::default()));
        let inputs = Inputs::read(&context, task).unwrap();
        if let Err(error) = work(&context, &inputs) {
            panic!("{}: {error}", task.step);
        }
        parts.counted()
    }
}

#[test]
fn an_average_holds_one_partys_model_at_a_time() {
    let done = Done::new();
    let tasks = done.tasks(Stage::Average);
    assert_eq!(tasks.len(), 2, "one an architecture");
    for task in &tasks {
        let read = done.parts(task, average::run);
        assert_eq!(read, (PARTIES as usize / 2, 1), "{}", task.subject);
    }
}

#[test]
fn an_ensemble_is_scored_with_one_partys_model_at_a_time() {
    let done = Done::new();
    let mut tasks = done.tasks(Stage::Evaluate);
    tasks.retain(|task| task.subject == Subject::Server);
    assert_eq!(tasks.len(), 1);
    // The models, and before them the plan's rows.
    assert_eq!(done.parts(&tasks[0], evaluate::run), (PARTIES as usize + 1, 1));
}

#[test]
fn the_worst_are_found_with_one_partys_model_at_a_time() {
    let done = Done::new();
    let averaged = |context: &Context, inputs: &Inputs<'_>| {
        let round = round_of(context, inputs.task)?;
        let models = round.averaged(&inputs.task.step, inputs.task.subject).unwrap();
        teachers::averaged(context, inputs, models)
    };
    let average = &done.tasks(Stage::Average)[0];
    assert_eq!(done.parts(average, averaged), (PARTIES as usize / 2 + 1, 1));
    let aggregate = &done.tasks(Stage::Aggregate)[0];
    assert_eq!(done.parts(aggregate, teachers::dropped), (PARTIES as usize + 1, 1));
}
