//! The metrics. Names and attributes are OpenTelemetry's for messaging where it has them, and ours below `fedstill.`.

use fedstill_log::{ErrorKind, LogError};
use fedstill_schemas::events::{Closed, Missing};
use fedstill_schemas::pipeline::Stage;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram, Meter};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Bounds of durations in seconds: from a record that is passed on to an hour of training.
const SECONDS: [f64; 16] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0,
];

/// What is true at the moment, read when somebody collects.
#[derive(Debug, Default)]
pub(crate) struct Levels {
    /// Records that a group has not committed, by group, topic and partition.
    pub(crate) lag: BTreeMap<(String, String, u32), u64>,
    /// Phases that are open here, by key.
    pub(crate) phases: BTreeMap<String, OpenPhaseLevel>,
    /// Tasks that were taken and are not answered.
    pub(crate) in_flight: u64,
}

/// How far an open phase has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OpenPhaseLevel {
    pub(crate) run: String,
    pub(crate) step: String,
    pub(crate) cohort: u64,
    pub(crate) answered: u64,
}

#[derive(Debug)]
pub(crate) struct Instruments {
    sent: Counter<u64>,
    consumed: Counter<u64>,
    operations: Histogram<f64>,
    processed: Histogram<f64>,
    io: Counter<u64>,
    waited: Histogram<f64>,
    retries: Counter<u64>,
    dead: Counter<u64>,
    phases: Histogram<f64>,
    missing: Counter<u64>,
    pub(crate) levels: Arc<Mutex<Levels>>,
}

impl Instruments {
    pub(crate) fn new(meter: &Meter) -> Self {
        let counter = |name: &'static str, unit, what| {
            let counter = meter.u64_counter(name).with_unit(unit);
            counter.with_description(what).build()
        };
        let seconds = |name: &'static str, what| {
            let histogram = meter.f64_histogram(name).with_unit("s").with_description(what);
            histogram.with_boundaries(SECONDS.to_vec()).build()
        };
        let levels = Arc::new(Mutex::new(Levels::default()));
        observe(meter, &levels);
        Self {
            sent: counter("messaging.client.sent.messages", "{message}", "Records appended"),
            consumed: counter("messaging.client.consumed.messages", "{message}", "Records read"),
            operations: seconds("messaging.client.operation.duration", "Appends and commits"),
            processed: seconds("messaging.process.duration", "Tasks, from begun to answered"),
            io: counter("fedstill.log.io", "By", "Keys, headers and bodies of records"),
            waited: seconds("fedstill.task.wait", "Tasks, from written to begun"),
            retries: counter("fedstill.task.retries", "{task}", "Tasks that will be tried again"),
            dead: counter(
                "fedstill.dead_letters",
                "{message}",
                "Records that could not be used, by the topic that they came from",
            ),
            phases: seconds("fedstill.phase.duration", "Phases, from open to closed"),
            missing: counter("fedstill.phase.missing", "{party}", "Subjects that closed phases lack"),
            levels,
        }
    }

    /// Records appended, all at once: how many of which topic, with how many bytes.
    pub(crate) fn sent(&self, topics: &BTreeMap<&str, (u64, u64)>, took: Duration, error: Option<&LogError>) {
        let failed = error.is_some();
        let kind = error.map(error_type);
        for (topic, (messages, bytes)) in topics {
            let mut attributes = on_topic(topic, "send");
            attributes.extend(kind.clone());
            self.sent.add(*messages, &attributes);
            if !failed {
                self.io.add(*bytes, &moved(topic, "transmit"));
            }
        }
        self.operation("send", took, error);
    }

    /// A call to the log that took time.
    pub(crate) fn operation(&self, name: &'static str, took: Duration, error: Option<&LogError>) {
        let mut attributes = vec![
            KeyValue::new("messaging.system", "kafka"),
            KeyValue::new("messaging.operation.name", name),
        ];
        attributes.extend(error.map(error_type));
        self.operations.record(took.as_secs_f64(), &attributes);
    }

    /// Records read, by a group or without one.
    pub(crate) fn consumed(&self, topic: &str, group: Option<&str>, messages: u64, bytes: u64) {
        let mut attributes = on_topic(topic, "poll");
        attributes.extend(group.map(|group| KeyValue::new("messaging.consumer.group.name", group.to_owned())));
        self.consumed.add(messages, &attributes);
        self.io.add(bytes, &moved(topic, "receive"));
    }

    pub(crate) fn task(&self, stage: Stage, topic: &str, took: Duration, failed: bool) {
        let mut attributes = on_topic(topic, "process");
        attributes.push(KeyValue::new("fedstill.stage", stage.name()));
        attributes.extend(failed.then(|| KeyValue::new("error.type", "task")));
        self.processed.record(took.as_secs_f64(), &attributes);
    }

    pub(crate) fn waited(&self, stage: Stage, waited: Duration) {
        let attributes = [KeyValue::new("fedstill.stage", stage.name())];
        self.waited.record(waited.as_secs_f64(), &attributes);
    }

    pub(crate) fn retried(&self, stage: Stage) {
        self.retries.add(1, &[KeyValue::new("fedstill.stage", stage.name())]);
    }

    pub(crate) fn dead_lettered(&self, topic: &str) {
        let attributes = [KeyValue::new("messaging.destination.name", topic.to_owned())];
        self.dead.add(1, &attributes);
    }

    pub(crate) fn closed(&self, steps: &str, took: Duration, closed: &Closed) {
        let step = KeyValue::new("fedstill.step", steps.to_owned());
        let outcome = if closed.enough { "closed" } else { "failed" };
        let attributes = [step.clone(), KeyValue::new("fedstill.outcome", outcome)];
        self.phases.record(took.as_secs_f64(), &attributes);
        for why in closed.missing.values() {
            let reason = match why {
                Missing::Late => "late",
                Missing::Failed { .. } => "failed",
            };
            let attributes = [step.clone(), KeyValue::new("fedstill.reason", reason)];
            self.missing.add(1, &attributes);
        }
    }
}

fn error_type(error: &LogError) -> KeyValue {
    let kind = match error.kind() {
        ErrorKind::Retry => "retriable",
        ErrorKind::Fatal => "fatal",
    };
    KeyValue::new("error.type", kind)
}

fn on_topic(topic: &str, operation: &'static str) -> Vec<KeyValue> {
    vec![
        KeyValue::new("messaging.system", "kafka"),
        KeyValue::new("messaging.operation.name", operation),
        KeyValue::new("messaging.destination.name", topic.to_owned()),
    ]
}

fn moved(topic: &str, direction: &'static str) -> [KeyValue; 2] {
    [
        KeyValue::new("messaging.destination.name", topic.to_owned()),
        KeyValue::new("network.io.direction", direction),
    ]
}

/// The levels, as gauges that are read when somebody collects: what is gone is not told any more.
fn observe(meter: &Meter, levels: &Arc<Mutex<Levels>>) {
    let of = Arc::clone(levels);
    let gauge = meter.u64_observable_gauge("fedstill.log.lag").with_unit("{message}");
    gauge
        .with_description("Records that a group has not committed")
        .with_callback(move |observer| {
            for ((group, topic, partition), lag) in &of.lock().lag {
                let attributes = [
                    KeyValue::new("messaging.consumer.group.name", group.clone()),
                    KeyValue::new("messaging.destination.name", topic.clone()),
                    KeyValue::new("messaging.destination.partition.id", partition.to_string()),
                ];
                observer.observe(*lag, &attributes);
            }
        })
        .build();
    let of = Arc::clone(levels);
    let gauge = meter
        .u64_observable_gauge("fedstill.tasks.in_flight")
        .with_unit("{task}");
    gauge
        .with_description("Tasks that were taken and are not answered")
        .with_callback(move |observer| observer.observe(of.lock().in_flight, &[]))
        .build();
    let of = Arc::clone(levels);
    let gauge = meter.u64_observable_gauge("fedstill.phases.open").with_unit("{phase}");
    gauge
        .with_description("Phases that this process counts the answers of")
        .with_callback(move |observer| observer.observe(of.lock().phases.len() as u64, &[]))
        .build();
    type Read = fn(&OpenPhaseLevel) -> u64;
    let parties: [(&'static str, &'static str, Read); 2] = [
        ("fedstill.phase.cohort", "Who could answer an open phase", |p| p.cohort),
        ("fedstill.phase.answered", "Who has answered an open phase", |p| {
            p.answered
        }),
    ];
    for (name, what, read) in parties {
        let of = Arc::clone(levels);
        let gauge = meter.u64_observable_gauge(name).with_unit("{party}");
        gauge
            .with_description(what)
            .with_callback(move |observer| {
                for phase in of.lock().phases.values() {
                    let attributes = [
                        KeyValue::new("fedstill.run", phase.run.clone()),
                        KeyValue::new("fedstill.step", phase.step.clone()),
                    ];
                    observer.observe(read(phase), &attributes);
                }
            })
            .build();
    }
}
