//! How a cluster is reached, and which of librdkafka's properties are fixed.

use rdkafka::ClientConfig;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// How a cluster is reached, and what its new topics get.
#[derive(Clone)]
pub struct Settings {
    /// Properties of librdkafka, `bootstrap.servers` among them. Never printed: secrets are among them too.
    pub properties: BTreeMap<String, String>,
    /// Copies of each new topic; the brokers' default where `None`.
    pub replication: Option<u32>,
    /// How long topics keep records, but for compacted ones, which keep the last of each key.
    pub retention: Duration,
}

impl Settings {
    /// Two weeks: longer than any phase should stay open.
    pub const RETENTION: Duration = Duration::from_hours(14 * 24);

    /// A cluster that needs no more than addresses.
    pub fn new(brokers: &str) -> Self {
        Self {
            properties: BTreeMap::from([("bootstrap.servers".to_owned(), brokers.to_owned())]),
            replication: None,
            retention: Self::RETENTION,
        }
    }

    /// The addresses of the brokers, for messages.
    pub fn brokers(&self) -> &str {
        self.properties.get("bootstrap.servers").map_or("", String::as_str)
    }

    /// The properties of one client: defaults, what the user says, what must hold.
    fn config(&self, defaults: &[(&str, &str)], fixed: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("client.id", "fedstill");
        for (name, value) in defaults {
            config.set(*name, *value);
        }
        for (name, value) in &self.properties {
            config.set(name, value);
        }
        for (name, value) in fixed {
            config.set(*name, *value);
        }
        config
    }

    pub(super) fn producer(&self) -> ClientConfig {
        self.config(
            &[
                // Publishing is waited for, in batches: what there is goes out at once.
                ("linger.ms", "0"),
                ("message.timeout.ms", "30000"),
                // The brokers' own default, which counts the framing.
                ("message.max.bytes", "1048588"),
            ],
            &[("enable.idempotence", "true"), ("acks", "all")],
        )
    }

    /// For a member of a group.
    pub(super) fn member(&self, group: &str) -> ClientConfig {
        self.config(
            &[
                ("queued.max.messages.kbytes", "16384"),
                // What a compressed batch may unpack to, which its writer chooses.
                ("fetch.max.bytes", "16777216"),
                ("receive.message.max.bytes", "33554432"),
            ],
            &[
                // Assignments are taken over one by one.
                ("partition.assignment.strategy", "cooperative-sticky"),
                ("group.protocol", "classic"),
                ("group.id", group),
                ("enable.auto.commit", "false"),
                ("enable.auto.offset.store", "false"),
                ("auto.offset.reset", "earliest"),
                ("isolation.level", "read_uncommitted"),
                ("allow.auto.create.topics", "false"),
            ],
        )
    }

    /// For a reader without a group. librdkafka wants the name of one, which is never joined and needs no rights.
    pub(super) fn reader(&self) -> ClientConfig {
        self.member("fedstill.readers")
    }

    pub(super) fn admin(&self) -> ClientConfig {
        self.config(&[], &[])
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.properties.keys().collect();
        f.debug_struct("Settings")
            .field("brokers", &self.brokers())
            .field("properties", &names)
            .field("replication", &self.replication)
            .field("retention", &self.retention)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_delivery_rests_on_cannot_be_set_otherwise_and_the_rest_can() {
        let mut settings = Settings::new("127.0.0.1:1");
        for (name, value) in [
            ("enable.auto.commit", "true"),
            ("acks", "0"),
            ("enable.idempotence", "false"),
            ("group.id", "mine"),
            ("linger.ms", "7"),
        ] {
            settings.properties.insert(name.into(), value.into());
        }
        assert_eq!(settings.member("g").get("enable.auto.commit"), Some("false"));
        assert_eq!(settings.member("g").get("group.id"), Some("g"));
        assert_eq!(settings.producer().get("acks"), Some("all"));
        assert_eq!(settings.producer().get("enable.idempotence"), Some("true"));
        assert_eq!(settings.producer().get("linger.ms"), Some("7"));
    }

    #[test]
    fn secrets_are_never_printed() {
        let mut settings = Settings::new("127.0.0.1:1");
        settings.properties.insert("sasl.password".into(), "hunter2".into());
        assert!(!format!("{settings:?}").contains("hunter2"));
    }
}
