//! Reading one partition without a group.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaResult, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset as KafkaOffset, TopicPartitionList, TopicPartitionListElem};

use super::client::Client;
use super::consumer::record;
use super::failure::{advice, failure};
use super::unreadable::{is_unreadable, unreadable};
use super::{Deadline, Kafka, REQUEST};
use crate::error::{ErrorKind, LogError};
use crate::log::Reader;
use crate::record::{Offset, Record, TopicPartition};

/// Reads one partition.
pub(super) struct RangeReader {
    log: Kafka,
    consumer: BaseConsumer<Client>,
    topic: Arc<str>,
    partition: u32,
    next: Offset,
    /// The end of the partition as it was last asked for.
    end: Offset,
}

impl RangeReader {
    /// Reads from `from` on; `end` is the present end.
    pub(super) fn new(log: Kafka, topic: &str, partition: u32, from: Offset, end: Offset) -> Result<Self, LogError> {
        let consumer = log.inner.settings.reader().create_with_context(Client::default());
        let failed = |error| failure("reading", &error, None);
        let reader = Self {
            consumer: consumer.map_err(failed)?,
            log,
            topic: Arc::from(topic),
            partition,
            next: from,
            end,
        };
        reader.start().map_err(failed)?;
        Ok(reader)
    }

    /// Has librdkafka read from the next record on.
    fn start(&self) -> KafkaResult<()> {
        let mut list = TopicPartitionList::new();
        let from = KafkaOffset::Offset(self.next as i64);
        list.add_partition_offset(&self.topic, self.partition as i32, from)?;
        self.consumer.assign(&list)
    }

    /// Moves on over what has offsets and is no record: control records, and what compaction took away.
    fn skip(&mut self) {
        let Ok(positions) = self.consumer.position() else {
            return;
        };
        if let Some(KafkaOffset::Offset(at)) = positions.elements().first().map(TopicPartitionListElem::offset) {
            self.next = self.next.max(at as Offset);
        }
    }
}

impl Reader for RangeReader {
    fn next(&mut self, max_bytes: usize) -> Result<Vec<Record>, LogError> {
        const LOOK: Duration = Duration::from_millis(100);
        let mut records = Vec::new();
        let mut bytes = 0;
        let mut waiting: Option<Deadline> = None;
        loop {
            let wait = if records.is_empty() && waiting.is_some() {
                LOOK
            } else {
                Duration::ZERO
            };
            match self.consumer.poll(wait) {
                Some(Ok(message)) => {
                    let record = record(Arc::clone(&self.topic), &message);
                    self.next = record.offset + 1;
                    bytes += record.key.len() + record.value.len();
                    bytes += record
                        .headers
                        .iter()
                        .map(|(name, value)| name.len() + value.len())
                        .sum::<usize>();
                    records.push(record);
                    if bytes >= max_bytes {
                        return Ok(records);
                    }
                }
                Some(Err(error)) if is_unreadable(&error) => {
                    if !records.is_empty() {
                        // Told again when it is the next one.
                        return Ok(records);
                    }
                    let at = TopicPartition::new(Arc::clone(&self.topic), self.partition);
                    records.push(unreadable(&at, self.next, &error));
                    self.next += 1;
                    self.start().map_err(|error| failure("reading", &error, None))?;
                    return Ok(records);
                }
                Some(Err(error)) => {
                    // The consumer asks for a coordinator that it never needs: a right to the group is not one to read.
                    let code = error.rdkafka_error_code();
                    let code = code.filter(|code| *code != RDKafkaErrorCode::GroupAuthorizationFailed);
                    if code.and_then(advice).is_some() {
                        return Err(failure("reading", &error, self.consumer.context().take_told()));
                    }
                }
                None if !records.is_empty() => return Ok(records),
                None => {
                    if self.next >= self.end {
                        self.end = self.log.ask_offset(&self.topic, self.partition, KafkaOffset::End)?;
                    }
                    if self.next >= self.end {
                        return Ok(records);
                    }
                    self.skip();
                    let new = || Deadline::after(&self.log.inner.clock, REQUEST);
                    if waiting.get_or_insert_with(new).is_over() {
                        let reason = format!(
                            "reading {}/{}: no record at {} within {} s, though the partition ends at {}",
                            self.topic,
                            self.partition,
                            self.next,
                            REQUEST.as_secs(),
                            self.end
                        );
                        return Err(LogError::new(ErrorKind::Retry, reason));
                    }
                }
            }
        }
    }
}
