//! Appending: one idempotent producer, replaced when librdkafka gives it up.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer};

use super::client::{Client, Told};
use super::failure::failure;
use super::{Deadline, PAUSE, REQUEST};
use crate::clock::Clock;
use crate::error::LogError;
use crate::record::{Headers, Message, Offset};

/// How long an append waits for room in the producer's queue beyond what the queue itself waits for the brokers.
const ROOM: Duration = Duration::from_mins(1);

/// The producer of a log.
pub(super) struct Producer {
    config: ClientConfig,
    clock: Arc<dyn Clock>,
    present: Mutex<Arc<ThreadedProducer<Deliveries>>>,
}

impl Producer {
    pub(super) fn new(config: ClientConfig, clock: Arc<dyn Clock>) -> Result<Self, LogError> {
        Ok(Self {
            present: Mutex::new(create(&config)?),
            config,
            clock,
        })
    }

    /// Appends and waits until all are acknowledged.
    pub(super) fn append(&self, messages: &[Message]) -> Result<Vec<Offset>, LogError> {
        let producer = Arc::clone(&self.present.lock());
        let batch = Arc::new(Batch::of(messages.len()));
        for (index, message) in messages.iter().enumerate() {
            if let Err(error) = self.send(&producer, message, &batch, index) {
                batch.fail(messages.len() - index, error);
                break;
            }
        }
        let outcome = batch.wait();
        outcome.map_err(|error| {
            let dead = producer.client().fatal_error();
            if dead.is_some() {
                tracing::debug!(?dead, "the producer is given up and replaced");
                let mut present = self.present.lock();
                if Arc::ptr_eq(&present, &producer)
                    && let Ok(new) = create(&self.config)
                {
                    *present = new;
                }
            }
            let told = dead.map(|(code, reason)| Told { code, reason });
            failure(
                "appending",
                &error,
                told.or_else(|| producer.context().client.take_told()),
            )
        })
    }

    /// Queues a message, waiting for room.
    fn send(
        &self,
        producer: &ThreadedProducer<Deliveries>,
        message: &Message,
        batch: &Arc<Batch>,
        index: usize,
    ) -> Result<(), KafkaError> {
        let mut record = BaseRecord::with_opaque_to(&message.topic, Box::new((Arc::clone(batch), index)))
            .partition(message.partition as i32)
            .key(&message.key[..])
            .payload(&message.value[..]);
        if !message.headers.is_empty() {
            record = record.headers(owned(&message.headers));
        }
        let (room, grown) = (
            Deadline::after(&self.clock, ROOM),
            Deadline::after(&self.clock, REQUEST),
        );
        loop {
            match producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) if !room.is_over() => {
                    record = back;
                    std::thread::sleep(PAUSE);
                }
                // The topic has grown since the producer last asked: the log knows the partition.
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::UnknownPartition), back)) if !grown.is_over() => {
                    record = back;
                    producer.client().fetch_metadata(Some(&message.topic), REQUEST)?;
                    std::thread::sleep(PAUSE);
                }
                Err((error, _)) => return Err(error),
            }
        }
    }
}

fn create(config: &ClientConfig) -> Result<Arc<ThreadedProducer<Deliveries>>, LogError> {
    let made = config.create_with_context(Deliveries::default());
    made.map(Arc::new)
        .map_err(|error| failure("reaching the cluster", &error, None))
}

fn owned(headers: &Headers) -> OwnedHeaders {
    let start = OwnedHeaders::new_with_capacity(headers.len());
    headers.iter().fold(start, |all, (name, value)| {
        all.insert(Header {
            key: name,
            value: Some(&value[..]),
        })
    })
}

/// The messages of one append.
struct Batch {
    state: Mutex<State>,
    done: Condvar,
}

struct State {
    left: usize,
    offsets: Vec<Offset>,
    failed: Option<KafkaError>,
}

impl Batch {
    fn of(messages: usize) -> Self {
        Self {
            state: Mutex::new(State {
                left: messages,
                offsets: vec![0; messages],
                failed: None,
            }),
            done: Condvar::new(),
        }
    }

    fn acknowledge(&self, index: usize, result: Result<Offset, KafkaError>) {
        let mut state = self.state.lock();
        match result {
            Ok(offset) => state.offsets[index] = offset,
            Err(error) => {
                state.failed.get_or_insert(error);
            }
        }
        state.left -= 1;
        if state.left == 0 {
            self.done.notify_all();
        }
    }

    /// These messages were never sent.
    fn fail(&self, unsent: usize, error: KafkaError) {
        let mut state = self.state.lock();
        state.failed.get_or_insert(error);
        state.left -= unsent;
        if state.left == 0 {
            self.done.notify_all();
        }
    }

    /// Waits for all: librdkafka reports each message, at the latest when `message.timeout.ms` is over.
    fn wait(&self) -> Result<Vec<Offset>, KafkaError> {
        let mut state = self.state.lock();
        while state.left > 0 {
            self.done.wait(&mut state);
        }
        match state.failed.take() {
            Some(error) => Err(error),
            None => Ok(std::mem::take(&mut state.offsets)),
        }
    }
}

/// Hears of each message's fate.
#[derive(Default)]
struct Deliveries {
    client: Client,
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.client.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.client.hear(&error, reason);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = Box<(Arc<Batch>, usize)>;

    fn delivery(&self, result: &DeliveryResult<'_>, opaque: Self::DeliveryOpaque) {
        use rdkafka::message::Message as _;
        let (batch, index) = *opaque;
        let result = match result {
            Ok(message) => Ok(Offset::try_from(message.offset()).unwrap_or_default()),
            Err((error, _)) => Err(error.clone()),
        };
        batch.acknowledge(index, result);
    }
}
