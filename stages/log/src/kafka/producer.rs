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

#[cfg(test)]
mod tests {
    use super::super::{Kafka, Settings};
    use super::*;
    use crate::clock::SystemClock;
    use crate::error::ErrorKind;
    use crate::log::{Cleanup, Log};
    use bytes::Bytes;
    use fedstill_test_servers::kafka::{Cluster, Options};
    use rdkafka::types::RDKafkaRespErr;

    #[test]
    #[expect(unsafe_code, reason = "librdkafka's own way to provoke a fatal error")]
    fn a_producer_that_librdkafka_gives_up_is_replaced_and_appends_go_on() {
        let options = Options {
            brokers: 1,
            ..Options::default()
        };
        let cluster = match Cluster::start(options) {
            Ok(cluster) => cluster,
            Err(missing) => return fedstill_test_servers::skip("the replacement of a producer", &missing),
        };
        let settings = Settings::new(&cluster.bootstrap());
        let log = Kafka::new(settings, Arc::new(SystemClock::new())).unwrap();
        log.ensure_topic("t", 1, Cleanup::Delete).unwrap();
        let message = Message {
            topic: "t".to_owned(),
            partition: 0,
            key: Bytes::new(),
            headers: Vec::new(),
            value: "x".into(),
        };
        assert_eq!(log.append(std::slice::from_ref(&message)).unwrap(), [0]);
        let producer = Arc::clone(&log.inner.producer.present.lock());
        // SAFETY: the client lives as long as `producer`, and the reason is a C string.
        let failed = unsafe {
            rdkafka::bindings::rd_kafka_test_fatal_error(
                producer.client().native_ptr(),
                RDKafkaRespErr::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER,
                c"as if records were lost".as_ptr(),
            )
        };
        assert_eq!(failed, RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR);
        let error = log.append(std::slice::from_ref(&message)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Retry, "{error}");
        assert!(error.to_string().contains("as if records were lost"), "{error}");
        assert_eq!(log.append(&[message]).unwrap(), [1]);
    }
}
