//! Making topics, and mending those that are there.

use futures::executor::block_on;
use rdkafka::ClientContext;
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, ConfigSource, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
    TopicResult,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};

use super::failure::failure;
use super::{REQUEST, Settings};
use crate::error::LogError;
use crate::log::Cleanup;

/// Has a topic exist with at least so many partitions and with the settings' configuration. What else was configured
/// stays. `there` is how many partitions it has.
pub(super) fn ensure(
    settings: &Settings,
    topic: &str,
    there: Option<u32>,
    partitions: u32,
    cleanup: Cleanup,
) -> Result<(), LogError> {
    let admin: AdminClient<DefaultClientContext> = settings
        .admin()
        .create()
        .map_err(|error| failure("reaching the cluster", &error, None))?;
    let wanted = wanted(settings, cleanup);
    if there.is_none() && create(&admin, settings, topic, partitions, &wanted)? {
        return Ok(());
    }
    if there.is_some_and(|there| there < partitions) {
        let more = NewPartitions::new(topic, partitions as usize);
        let grown = block_on(admin.create_partitions(&[more], &options()));
        one(&format!("extending topic {topic}"), grown)?;
    }
    warn_of_replication(&admin, settings, topic);
    configure(&admin, topic, &wanted)
}

/// Says where a topic has fewer replicas than are asked for: adding them takes a plan of which brokers get them.
fn warn_of_replication<C: ClientContext>(admin: &AdminClient<C>, settings: &Settings, topic: &str) {
    let (Some(wanted), Ok(found)) = (settings.replication, admin.inner().fetch_metadata(Some(topic), REQUEST)) else {
        return;
    };
    let partitions = found
        .topics()
        .iter()
        .flat_map(rdkafka::metadata::MetadataTopic::partitions);
    if let Some(replicas) = partitions.map(|partition| partition.replicas().len()).min()
        && replicas < wanted as usize
    {
        tracing::warn!(
            topic,
            replicas,
            wanted,
            "has fewer replicas than are asked for: add them by kafka-reassign-partitions"
        );
    }
}

/// The configuration of a topic.
fn wanted(settings: &Settings, cleanup: Cleanup) -> Vec<(&'static str, String)> {
    let mut wanted = vec![("message.timestamp.type", "LogAppendTime".to_owned())];
    match cleanup {
        Cleanup::Delete => {
            wanted.push(("cleanup.policy", "delete".to_owned()));
            wanted.push(("retention.ms", settings.retention.as_millis().to_string()));
        }
        Cleanup::Compact => wanted.push(("cleanup.policy", "compact".to_owned())),
    }
    wanted
}

fn options() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(REQUEST))
        .operation_timeout(Some(REQUEST))
}

/// Creates a topic; `false` if somebody else was faster.
fn create<C: ClientContext>(
    admin: &AdminClient<C>,
    settings: &Settings,
    topic: &str,
    partitions: u32,
    wanted: &[(&str, String)],
) -> Result<bool, LogError> {
    let replication = settings.replication.map_or(-1, |replicas| replicas as i32);
    let mut new = NewTopic::new(topic, partitions as i32, TopicReplication::Fixed(replication));
    for (name, value) in wanted {
        new = new.set(name, value);
    }
    match block_on(admin.create_topics(&[new], &options())) {
        Ok(results) if matches!(results[..], [Err((_, RDKafkaErrorCode::TopicAlreadyExists))]) => Ok(false),
        results => one(&format!("creating topic {topic}"), results).map(|()| true),
    }
}

/// Sets what differs. A broker takes a topic's configuration as a whole: what it has of its own is sent along.
fn configure<C: ClientContext>(admin: &AdminClient<C>, topic: &str, wanted: &[(&str, String)]) -> Result<(), LogError> {
    let doing = format!("configuring topic {topic}");
    let specifier = ResourceSpecifier::Topic(topic);
    let described = block_on(admin.describe_configs(&[specifier], &options()))
        .and_then(|found| {
            found
                .into_iter()
                .next()
                .ok_or(KafkaError::Canceled)?
                .map_err(KafkaError::AdminOp)
        })
        .map_err(|error| failure(&doing, &error, None))?;
    let is = |name: &str| described.get(name).and_then(|entry| entry.value.as_deref());
    if wanted.iter().all(|(name, value)| is(name) == Some(value)) {
        return Ok(());
    }
    let own = described.entries.iter().filter(|entry| {
        entry.source == ConfigSource::DynamicTopic && wanted.iter().all(|(name, _)| *name != entry.name)
    });
    let mut alter = AlterConfig::new(specifier);
    for (name, value) in own.filter_map(|entry| Some((entry.name.as_str(), entry.value.as_deref()?))) {
        alter = alter.set(name, value);
    }
    for (name, value) in wanted {
        alter = alter.set(name, value);
    }
    let altered = block_on(admin.alter_configs(&[alter], &options())).map(|results| {
        let to_topic = |result| match result {
            Ok(_) => Ok(topic.to_owned()),
            Err((_, code)) => Err((topic.to_owned(), code)),
        };
        results.into_iter().map(to_topic).collect()
    });
    one(&doing, altered)
}

/// The result of an operation on one topic.
fn one(doing: &str, results: KafkaResult<Vec<TopicResult>>) -> Result<(), LogError> {
    let failed = match results {
        Err(error) => Some(error),
        Ok(results) => results
            .into_iter()
            .find_map(Result::err)
            .map(|(_, code)| KafkaError::AdminOp(code)),
    };
    failed.map_or(Ok(()), |error| Err(failure(doing, &error, None)))
}
