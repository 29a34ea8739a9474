//! Puts records back that were polled and could not be served.

use crate::error::StageError;
use fedstill_log::{Consumer, Offset, Record, TopicPartition};
use std::collections::BTreeMap;

/// Has the consumer deliver these records again: the first one of each partition, and what follows it.
///
/// # Errors
/// A log that does not answer.
pub(crate) fn rewind(consumer: &mut dyn Consumer, records: &[Record]) -> Result<(), StageError> {
    let mut first: BTreeMap<TopicPartition, Offset> = BTreeMap::new();
    for record in records {
        first.entry(record.topic_partition()).or_insert(record.offset);
    }
    for (partition, offset) in first {
        consumer.seek(&partition, offset)?;
    }
    Ok(())
}
