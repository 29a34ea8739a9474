//! A member of a group.
//!
//! Partitions come and go while librdkafka is polled; what came and went is told before further records. Positions are
//! counted here: where a partition starts is asked when it is given, since librdkafka only knows it after a record.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::topic_partition_list::{Offset as KafkaOffset, TopicPartitionList};
use rdkafka::types::RDKafkaRespErr;

use super::client::Client;
use super::failure::{advice, failure};
use super::unreadable::{is_stuck, is_unreadable, unreadable};
use super::{Deadline, PAUSE, REQUEST};
use crate::clock::Clock;
use crate::error::{Cause, LogError};
use crate::log::{Consumer, Polled};
use crate::record::{Headers, Offset, Record, TopicPartition};

/// What one poll returns at most.
const MOST_BYTES: usize = 4 << 20;
const MOST_RECORDS: usize = 512;

/// A member of a group.
pub(super) struct Member {
    consumer: BaseConsumer<Group>,
    config: ClientConfig,
    clock: Arc<dyn Clock>,
    /// What `poll` has given and not taken.
    given: BTreeMap<TopicPartition, Place>,
    topics: Vec<Arc<str>>,
}

/// Where a partition is.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// The offset to deliver next; `None` until the brokers have said where the group is.
    next: Option<Offset>,
    /// Whether it was moved and nothing has been delivered since: then librdkafka does not know where it is.
    sought: bool,
}

impl Member {
    pub(super) fn join(config: &ClientConfig, topics: &[&str], clock: Arc<dyn Clock>) -> Result<Self, LogError> {
        let join = || {
            let consumer: BaseConsumer<Group> = config.create_with_context(Group::default())?;
            consumer.subscribe(topics)?;
            Ok(consumer)
        };
        let consumer = join().map_err(|error| failure("joining a group", &error, None))?;
        Ok(Self {
            consumer,
            config: config.clone(),
            clock,
            given: BTreeMap::new(),
            topics: topics.iter().map(|topic| Arc::from(*topic)).collect(),
        })
    }

    /// Reads these partitions with the commits of a group, and without its members.
    pub(super) fn alone(
        config: &ClientConfig,
        partitions: &[TopicPartition],
        clock: Arc<dyn Clock>,
    ) -> Result<Self, LogError> {
        let start = || {
            let consumer: BaseConsumer<Group> = config.create_with_context(Group::default())?;
            let mut list = TopicPartitionList::new();
            for partition in partitions {
                list.add_partition(&partition.topic, partition.partition as i32);
            }
            let starts = starts(&consumer, &list)?;
            for (partition, start) in &starts {
                let at = KafkaOffset::Offset(*start as i64);
                list.set_partition_offset(&partition.topic, partition.partition as i32, at)?;
            }
            consumer.assign(&list)?;
            Ok((consumer, starts))
        };
        let (consumer, starts) = start().map_err(|error| failure("reading", &error, None))?;
        let given: Vec<_> = starts
            .into_iter()
            .map(|(partition, start)| (partition, Some(start)))
            .collect();
        let context = consumer.context();
        context.owned.lock().extend(partitions.iter().cloned());
        context.changes.lock().push_back(Change::Given(given));
        let mut topics: Vec<Arc<str>> = partitions
            .iter()
            .map(|partition| Arc::clone(&partition.topic))
            .collect();
        topics.dedup();
        Ok(Self {
            consumer,
            config: config.clone(),
            clock,
            given: BTreeMap::new(),
            topics,
        })
    }

    /// What came and went, once.
    fn change(&mut self) -> Option<Polled> {
        let change = self.consumer.context().changes.lock().pop_front()?;
        Some(match change {
            Change::Given(partitions) => {
                let named: Vec<_> = partitions.iter().map(|(partition, _)| partition.clone()).collect();
                for (partition, next) in partitions {
                    self.given.insert(partition, Place { next, sought: false });
                }
                Polled::Assigned(named)
            }
            Change::Taken(partitions) => {
                self.given.retain(|partition, _| !partitions.contains(partition));
                Polled::Revoked(partitions)
            }
        })
    }

    /// Asks again where partitions start whose start was not to be had when they were given.
    fn ask_again(&mut self) {
        let mut unknown = TopicPartitionList::new();
        for (partition, _) in self.given.iter().filter(|(_, place)| place.next.is_none()) {
            unknown.add_partition(&partition.topic, partition.partition as i32);
        }
        if unknown.count() == 0 {
            return;
        }
        if let Ok(starts) = starts(&self.consumer, &unknown) {
            for (partition, start) in starts {
                if let Some(place) = self.given.get_mut(&partition) {
                    place.next = Some(start);
                }
            }
        }
    }

    /// Takes over positions that librdkafka has moved beyond what it delivered: control records have offsets too.
    fn look_at_positions(&mut self) {
        let Ok(positions) = self.consumer.position() else {
            return;
        };
        for element in positions.elements() {
            let KafkaOffset::Offset(at) = element.offset() else {
                continue;
            };
            let partition = TopicPartition::new(element.topic(), element.partition() as u32);
            if let Some(place) = self.given.get_mut(&partition)
                && !place.sought
            {
                place.next = place.next.map(|next| next.max(at as Offset));
            }
        }
    }

    /// What stands in for the record at which a partition is stuck, and goes on behind it. librdkafka does not say which one
    /// that is: each is asked.
    fn stand_in(&mut self, error: &KafkaError) -> Result<Option<Record>, LogError> {
        let places = self.given.iter();
        let places: Vec<_> = places
            .filter_map(|(at, place)| Some((at.clone(), place.next?)))
            .collect();
        for (at, next) in places {
            let end = self.consumer.fetch_watermarks(&at.topic, at.partition as i32, REQUEST);
            let end = end.map_err(|error| failure("asking for offsets", &error, None))?.1;
            if (next as i64) < end && is_stuck(&self.config, &at, next, &self.clock) {
                self.seek(&at, next + 1)?;
                return Ok(Some(unreadable(&at, next, error)));
            }
        }
        Ok(None)
    }

    fn list<'a>(&self, partitions: impl Iterator<Item = &'a TopicPartition>) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        for partition in partitions.filter(|partition| self.given.contains_key(partition)) {
            list.add_partition(&partition.topic, partition.partition as i32);
        }
        list
    }
}

impl Consumer for Member {
    fn poll(&mut self, timeout: Duration) -> Result<Polled, LogError> {
        if let Some(change) = self.change() {
            return Ok(change);
        }
        self.ask_again();
        let deadline = Deadline::after(&self.clock, timeout);
        let mut records = Vec::new();
        let mut bytes = 0;
        while records.len() < MOST_RECORDS && bytes < MOST_BYTES {
            let wait = if records.is_empty() {
                deadline.left()
            } else {
                Duration::ZERO
            };
            let polled = match self.consumer.poll(wait) {
                None => None,
                Some(Err(error)) => Some(Err(error)),
                Some(Ok(message)) => {
                    let topic = self.topics.iter().find(|topic| ***topic == *message.topic());
                    let topic = topic.map_or_else(|| Arc::from(message.topic()), Arc::clone);
                    Some(Ok(record(topic, &message)))
                }
            };
            match polled {
                Some(Ok(record)) => {
                    bytes += record.key.len() + record.value.len();
                    if let Some(place) = self.given.get_mut(&record.topic_partition()) {
                        *place = Place {
                            next: Some(record.offset + 1),
                            sought: false,
                        };
                    }
                    records.push(record);
                }
                Some(Err(error)) if is_unreadable(&error) => {
                    if !records.is_empty() {
                        // What there is goes out first: this is told again.
                        break;
                    }
                    records.extend(self.stand_in(&error)?);
                }
                Some(Err(error)) => {
                    let code = error.rdkafka_error_code();
                    if code.and_then(advice).is_some() && records.is_empty() {
                        return Err(failure("reading", &error, self.consumer.context().client.take_told()));
                    }
                    tracing::debug!(%error, "reading goes on when the brokers answer");
                }
                None if !records.is_empty() => break,
                None => {
                    if let Some(change) = self.change() {
                        return Ok(change);
                    }
                    if deadline.is_over() {
                        self.look_at_positions();
                        return Ok(Polled::Idle);
                    }
                }
            }
            if !records.is_empty() && !self.consumer.context().changes.lock().is_empty() {
                break;
            }
        }
        Ok(Polled::Records(records))
    }

    fn pause(&mut self, partitions: &[TopicPartition]) {
        let list = self.list(partitions.iter());
        if let Err(error) = self.consumer.pause(&list) {
            tracing::debug!(%error, "pausing what is no longer there");
        }
    }

    fn resume(&mut self, partitions: &[TopicPartition]) {
        let list = self.list(partitions.iter());
        if let Err(error) = self.consumer.resume(&list) {
            tracing::debug!(%error, "resuming what is no longer there");
        }
    }

    fn commit(&mut self, offsets: &[(TopicPartition, Offset)]) -> Result<(), LogError> {
        let mut list = TopicPartitionList::new();
        {
            let owned = self.consumer.context().owned.lock();
            for (partition, offset) in offsets {
                // What librdkafka has given away is another member's, told or not.
                if owned.contains(partition) && self.given.contains_key(partition) {
                    let at = KafkaOffset::Offset(*offset as i64);
                    let added = list.add_partition_offset(&partition.topic, partition.partition as i32, at);
                    added.map_err(|error| failure("committing", &error, None))?;
                }
            }
        }
        if list.count() == 0 {
            return Ok(());
        }
        match self.consumer.commit(&list, CommitMode::Sync) {
            Err(error) if error.rdkafka_error_code() != Some(RDKafkaErrorCode::NoOffset) => Err(failure(
                "committing",
                &error,
                self.consumer.context().client.take_told(),
            )),
            _ => Ok(()),
        }
    }

    fn position(&self, partition: &TopicPartition) -> Option<Offset> {
        self.given.get(partition)?.next
    }

    fn assignment(&self) -> Vec<TopicPartition> {
        self.given.keys().cloned().collect()
    }

    fn seek(&mut self, partition: &TopicPartition, offset: Offset) -> Result<(), LogError> {
        if !self.given.contains_key(partition) {
            return Err(Cause::NotAssigned(partition.to_string()).into());
        }
        let deadline = Deadline::after(&self.clock, REQUEST);
        loop {
            let to = KafkaOffset::Offset(offset as i64);
            let sought = self
                .consumer
                .seek(&partition.topic, partition.partition as i32, to, REQUEST);
            match sought {
                Ok(()) => break,
                // A partition that was given a moment ago does not fetch yet.
                Err(_) if !deadline.is_over() => std::thread::sleep(PAUSE),
                Err(error) => return Err(failure("seeking", &error, None)),
            }
        }
        if let Some(place) = self.given.get_mut(partition) {
            *place = Place {
                next: Some(offset),
                sought: true,
            };
        }
        Ok(())
    }
}

/// A record out of a message. Headers whose names are no text are left out, all of them: rdkafka cannot read them.
pub(super) fn record(topic: Arc<str>, message: &BorrowedMessage<'_>) -> Record {
    let headers = catch_unwind(AssertUnwindSafe(|| match message.headers() {
        None => Headers::new(),
        Some(headers) => headers
            .iter()
            .map(|header| {
                let value = Bytes::copy_from_slice(header.value.unwrap_or_default());
                (header.key.to_owned(), value)
            })
            .collect(),
    }));
    Record {
        topic,
        partition: message.partition() as u32,
        offset: message.offset() as Offset,
        timestamp_ms: message.timestamp().to_millis().unwrap_or_default(),
        key: Bytes::copy_from_slice(message.key().unwrap_or_default()),
        headers: headers.unwrap_or_default(),
        value: Bytes::copy_from_slice(message.payload().unwrap_or_default()),
    }
}

/// Partitions that came or went.
enum Change {
    /// With the offsets where they start, where those could be had.
    Given(Vec<(TopicPartition, Option<Offset>)>),
    Taken(Vec<TopicPartition>),
}

/// Takes part in rebalances for a member.
#[derive(Default)]
struct Group {
    client: Client,
    changes: Mutex<VecDeque<Change>>,
    /// What is this member's by the last rebalance, told or not.
    owned: Mutex<BTreeSet<TopicPartition>>,
}

impl ClientContext for Group {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.client.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.client.hear(&error, reason);
    }
}

impl ConsumerContext for Group {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, kind: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let partitions = partitions(list);
        if kind == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            let starts = starts(consumer, list).unwrap_or_default();
            let given: Vec<_> = partitions
                .into_iter()
                .map(|partition| {
                    let start = starts.get(&partition).copied();
                    (partition, start)
                })
                .collect();
            for (partition, start) in &given {
                if let Some(start) = start {
                    let at = KafkaOffset::Offset(*start as i64);
                    // It fails for partitions that are not in the list only.
                    let _ = list.set_partition_offset(&partition.topic, partition.partition as i32, at);
                }
            }
            if let Err(error) = consumer.incremental_assign(list) {
                tracing::debug!(%error, "assigning");
            }
            let mut owned = self.owned.lock();
            owned.extend(given.iter().map(|(partition, _)| partition.clone()));
            if !given.is_empty() {
                self.changes.lock().push_back(Change::Given(given));
            }
        } else {
            if let Err(error) = consumer.incremental_unassign(list) {
                tracing::debug!(%error, "unassigning");
            }
            self.owned.lock().retain(|partition| !partitions.contains(partition));
            if !partitions.is_empty() {
                self.changes.lock().push_back(Change::Taken(partitions));
            }
        }
    }
}

fn partitions(list: &TopicPartitionList) -> Vec<TopicPartition> {
    let elements = list.elements();
    let named = elements
        .iter()
        .map(|element| TopicPartition::new(element.topic(), element.partition() as u32));
    named.collect()
}

/// Where the group goes on in each partition: at its commit, or at the earliest record where that is later or the group
/// has none.
fn starts(consumer: &BaseConsumer<Group>, list: &TopicPartitionList) -> KafkaResult<BTreeMap<TopicPartition, Offset>> {
    let mut asked = list.clone();
    asked.set_all_offsets(KafkaOffset::Beginning)?;
    let earliest = consumer.offsets_for_times(asked, REQUEST)?;
    let committed = consumer.committed_offsets(list.clone(), REQUEST)?;
    let mut starts = BTreeMap::new();
    for element in earliest.elements() {
        element.error()?;
        let partition = TopicPartition::new(element.topic(), element.partition() as u32);
        let first = element.offset().to_raw().and_then(|raw| Offset::try_from(raw).ok());
        starts.insert(partition, first.unwrap_or(0));
    }
    for element in committed.elements() {
        element.error()?;
        let partition = TopicPartition::new(element.topic(), element.partition() as u32);
        if let (KafkaOffset::Offset(at), Some(start)) = (element.offset(), starts.get_mut(&partition)) {
            *start = (*start).max(at as Offset);
        }
    }
    Ok(starts)
}
