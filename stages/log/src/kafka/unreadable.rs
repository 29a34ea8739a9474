//! Records that cannot be unpacked, and what stands in for them: whoever writes to a topic must not stop its readers.

use std::sync::Arc;

use bytes::Bytes;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::topic_partition_list::{Offset as KafkaOffset, TopicPartitionList};

use super::client::Client;
use super::{Deadline, PAUSE, REQUEST};
use crate::clock::Clock;
use crate::record::{Offset, Record, TopicPartition, UNREADABLE};

/// Whether a batch of records cannot be unpacked: it is damaged, unpacks to more than is taken, or in a way that is not
/// built in. librdkafka asks for it again for ever.
pub(super) fn is_unreadable(error: &KafkaError) -> bool {
    let code = error.rdkafka_error_code();
    matches!(
        code,
        Some(Code::BadCompression | Code::BadMessage | Code::InvalidMessage | Code::NotImplemented)
    )
}

/// Whether the record there cannot be unpacked.
pub(super) fn is_stuck(config: &ClientConfig, at: &TopicPartition, offset: Offset, clock: &Arc<dyn Clock>) -> bool {
    let start = || {
        let consumer: BaseConsumer<Client> = config.create_with_context(Client::default())?;
        let mut list = TopicPartitionList::new();
        let from = KafkaOffset::Offset(offset as i64);
        list.add_partition_offset(&at.topic, at.partition as i32, from)?;
        consumer.assign(&list)?;
        Ok::<_, KafkaError>(consumer)
    };
    let Ok(consumer) = start() else { return false };
    let deadline = Deadline::after(clock, REQUEST);
    while !deadline.is_over() {
        match consumer.poll(PAUSE) {
            Some(Ok(_)) => return false,
            Some(Err(error)) if is_unreadable(&error) => return true,
            _ => {}
        }
    }
    false
}

/// An empty record in the place of one that cannot be unpacked, with the reason.
pub(super) fn unreadable(at: &TopicPartition, offset: Offset, error: &KafkaError) -> Record {
    let reason = format!(
        "its batch cannot be unpacked ({error}): it is damaged, far too large, or in a compression but zstd, lz4 and snappy"
    );
    tracing::warn!(record = %at, offset, reason, "passed over");
    Record {
        topic: Arc::clone(&at.topic),
        partition: at.partition,
        offset,
        timestamp_ms: 0,
        key: Bytes::new(),
        headers: vec![(UNREADABLE.to_owned(), reason.into())],
        value: Bytes::new(),
    }
}
