//! What librdkafka tells about a client beside its answers: log lines, and errors of the connection.

use parking_lot::Mutex;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use std::time::Duration;

/// Hears what goes wrong with a connection, so that a request which then times out can say why.
#[derive(Debug, Default)]
pub(super) struct Client {
    told: Mutex<Option<Told>>,
}

/// An error of a connection.
#[derive(Clone, Debug)]
pub(super) struct Told {
    /// Its kind.
    pub(super) code: RDKafkaErrorCode,
    /// What librdkafka says about it.
    pub(super) reason: String,
}

impl Client {
    /// What was heard last, once.
    pub(super) fn take_told(&self) -> Option<Told> {
        self.told.lock().take()
    }

    pub(super) fn hear(&self, error: &KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "kafka");
        let Some(code) = error.rdkafka_error_code() else { return };
        let mut told = self.told.lock();
        // That all brokers are down follows from errors that say why.
        if code != RDKafkaErrorCode::AllBrokersDown || told.is_none() {
            *told = Some(Told {
                code,
                reason: reason.to_owned(),
            });
        }
    }
}

impl ClientContext for Client {
    fn log(&self, _level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(facility, message, "kafka");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.hear(&error, reason);
    }
}

impl ConsumerContext for Client {}

/// What a client without messages has been told, after a look at its queue: why a request failed may come a moment
/// after the failure.
pub(super) fn told(consumer: &BaseConsumer<Client>) -> Option<Told> {
    const LOOKS: u32 = 10;
    (0..LOOKS).find_map(|_| {
        let _ = consumer.poll(Duration::from_millis(50));
        consumer.context().take_told()
    })
}
