//! The suite, on every log of this crate.

use std::sync::Arc;

use fedstill_log::conformance::{Fixture, conformance};
use fedstill_log::kafka::Settings;
use fedstill_log::{Clock as _, Embedded, Faulty, Kafka, Log, SystemClock};
use fedstill_test_servers::kafka::Cluster;
use parking_lot::Mutex;

struct OnDisk {
    folder: tempfile::TempDir,
    open: Mutex<Option<Embedded>>,
}

impl OnDisk {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a folder"),
            open: Mutex::new(None),
        }
    }

    fn embedded(&self) -> Embedded {
        let mut open = self.open.lock();
        let log = open
            .get_or_insert_with(|| Embedded::open(self.folder.path(), Arc::new(SystemClock::new())).expect("it opens"));
        log.clone()
    }
}

impl Fixture for OnDisk {
    fn log(&self) -> Arc<dyn Log> {
        Arc::new(self.embedded())
    }

    fn reopen(&self) -> Arc<dyn Log> {
        *self.open.lock() = None;
        self.log()
    }

    fn prefix(&self) -> String {
        "disk".to_owned()
    }
}

/// A log whose handles share one state; it ends with the last of them.
struct Shared(Arc<dyn Log>);

impl Fixture for Shared {
    fn log(&self) -> Arc<dyn Log> {
        Arc::clone(&self.0)
    }

    fn reopen(&self) -> Arc<dyn Log> {
        self.log()
    }

    fn prefix(&self) -> String {
        "shared".to_owned()
    }
}

/// A running cluster, reached anew by each handle.
struct OnKafka {
    brokers: String,
    prefix: String,
}

impl Fixture for OnKafka {
    fn log(&self) -> Arc<dyn Log> {
        let mut settings = Settings::new(&self.brokers);
        // Members hear of each other with a heartbeat: by default every three seconds.
        let soon = ("heartbeat.interval.ms".to_owned(), "200".to_owned());
        settings.properties.extend([soon]);
        let kafka = Kafka::new(settings, Arc::new(SystemClock::new()));
        Arc::new(kafka.expect("a client"))
    }

    fn reopen(&self) -> Arc<dyn Log> {
        self.log()
    }

    fn prefix(&self) -> String {
        self.prefix.clone()
    }
}

fn in_memory() -> Embedded {
    Embedded::in_memory(Arc::new(SystemClock::new()))
}

#[test]
fn embedded_on_disk() {
    conformance(|| Box::new(OnDisk::new()));
}

#[test]
fn embedded_in_memory() {
    conformance(|| Box::new(Shared(Arc::new(in_memory()))));
}

#[test]
fn faulty_without_faults() {
    conformance(|| Box::new(Shared(Arc::new(Faulty::new(Arc::new(in_memory()), 1)))));
}

#[test]
fn faulty_that_only_reorders() {
    conformance(|| {
        let log = Faulty::new(Arc::new(in_memory()), 7);
        log.reorder(true);
        Box::new(Shared(Arc::new(log)))
    });
}

#[test]
fn apache_kafka() {
    let brokers = match Cluster::shared() {
        Ok(brokers) => brokers,
        Err(missing) => return fedstill_test_servers::skip("the log's conformance on Apache Kafka", &missing),
    };
    // A cluster that was running before may hold the topics of an earlier run.
    let prefix = format!("conformance-{}-{}", std::process::id(), SystemClock::new().now_ms());
    conformance(|| {
        Box::new(OnKafka {
            brokers: brokers.clone(),
            prefix: prefix.clone(),
        })
    });
}

#[test]
fn a_broken_log_does_not_pass() {
    // The suite itself must be able to fail: repeated and lost appends are not what it asks for.
    for seed in 0..2 {
        let failed = std::panic::catch_unwind(|| {
            conformance(|| {
                let log = Faulty::new(Arc::new(in_memory()), seed);
                if seed == 0 {
                    log.repeat_appends(1);
                } else {
                    log.lose_acks(1);
                }
                Box::new(Shared(Arc::new(log)))
            });
        });
        assert!(failed.is_err());
    }
}
