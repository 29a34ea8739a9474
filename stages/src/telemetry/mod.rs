//! What a process tells about itself to those who run it: spans and metrics, after OpenTelemetry's conventions for
//! messaging. Off unless somebody listens, and then nothing is computed.
//!
//! ```text
//! round N                                        a worker that has archived it; advance, where it fails
//! ├─ process fedstill.rounds                     plan
//! └─ phase predict                               advance, when it closes
//!    └─ send fedstill.predict                    plan or advance: a record's traceparent names this span
//!       └─ process fedstill.predict              a worker
//!          ├─ send fedstill.logits
//!          └─ send fedstill.answers
//! ```
//!
//! The ids of all spans but the processes' follow from names: processes agree on them without a word, and what is
//! published again after a crash is the same span. Nothing here decides anything.

mod instruments;
mod log;

use crate::rounds::Round;
use fedstill_log::{Clock, Message, Record};
use fedstill_schemas::digest::Digest;
use fedstill_schemas::envelope::Trace;
use fedstill_schemas::events::{Closed, Ending, Missing};
use fedstill_schemas::names;
use fedstill_schemas::pipeline::Stage;
use fedstill_schemas::task::{Attempt, Task};
use instruments::Instruments;
use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;
use opentelemetry::trace::SpanKind;
use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::sync::Arc;
use std::time::Duration;

pub(crate) use instruments::OpenPhaseLevel;
pub(crate) use log::Observed;

/// Something that took time.
#[derive(Clone, Debug)]
pub struct Span {
    /// Its ids.
    pub at: Trace,
    /// The span that it is part of, of the same trace; `None` for the root.
    pub parent: Option<u64>,
    /// Its name.
    pub name: String,
    /// What it is in an exchange of messages.
    pub kind: SpanKind,
    /// Since the Unix epoch.
    pub began: Duration,
    /// Since the Unix epoch.
    pub ended: Duration,
    /// More about it.
    pub attributes: Vec<KeyValue>,
    /// What went wrong, if anything.
    pub error: Option<String>,
    /// A span of another trace that led to it.
    pub link: Option<Trace>,
}

/// Takes spans that have ended.
pub trait Spans: Send + Sync + Debug {
    /// Takes one. Must not wait.
    fn ended(&self, span: Span);
}

/// Tells what a process does, or nobody.
#[derive(Clone, Debug, Default)]
pub struct Telemetry {
    on: Option<Arc<On>>,
}

struct On {
    spans: Box<dyn Spans>,
    instruments: Instruments,
    clock: Arc<dyn Clock>,
    /// The present since the Unix epoch, when the clock showed the other.
    started: (Duration, Duration),
    /// Names this process in the ids of its own spans.
    instance: String,
}

impl Debug for On {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("On").field("spans", &self.spans).finish_non_exhaustive()
    }
}

/// A record that is being processed.
#[derive(Debug)]
pub(crate) struct Processing<'a> {
    /// Its record.
    pub(crate) record: &'a Record,
    /// What it is about.
    pub(crate) at: &'a Attempt,
    /// The group that read it.
    pub(crate) group: &'a str,
    /// How often it was tried before.
    pub(crate) tries: u32,
    /// When work on it began.
    pub(crate) began: Duration,
}

impl Telemetry {
    /// Tells everything. `instance` names this process.
    pub fn new(meter: &Meter, spans: Box<dyn Spans>, instance: &str, clock: Arc<dyn Clock>) -> Self {
        let now = since(clock.now_ms());
        let on = On {
            spans,
            instruments: Instruments::new(meter),
            started: (now, clock.monotonic()),
            clock,
            instance: instance.to_owned(),
        };
        Self { on: Some(Arc::new(on)) }
    }

    /// Whether anybody listens.
    pub fn is_on(&self) -> bool {
        self.on.is_some()
    }

    /// The present since the Unix epoch, finer than the log's clock; zero where nobody listens.
    pub fn now(&self) -> Duration {
        self.on.as_ref().map_or(Duration::ZERO, |on| {
            on.started.0 + on.clock.monotonic().saturating_sub(on.started.1)
        })
    }

    pub(crate) fn instruments(&self) -> Option<&Instruments> {
        self.on.as_deref().map(|on| &on.instruments)
    }

    /// Messages that a span has published, from `began` until now. Those of another attempt, as the trigger of the next
    /// round, belong to their own trace, and are linked to the span.
    pub(crate) fn sent(&self, parent: Trace, messages: &[Message], began: Duration) {
        let Some(on) = &self.on else { return };
        let ended = self.now();
        for message in messages {
            let Some(at) = Trace::of_record(&message.headers) else {
                continue;
            };
            let same = at.trace == parent.trace;
            on.spans.ended(Span {
                at,
                // Where it is another's trace, that one's root is not known here by more than its trace.
                parent: same.then_some(parent.span).or_else(|| root_of(message)),
                name: format!("send {}", message.topic),
                kind: SpanKind::Producer,
                began,
                ended,
                attributes: vec![
                    KeyValue::new("messaging.system", "kafka"),
                    KeyValue::new("messaging.operation.name", "send"),
                    KeyValue::new("messaging.operation.type", "send"),
                    KeyValue::new("messaging.destination.name", message.topic.clone()),
                    KeyValue::new("messaging.destination.partition.id", message.partition.to_string()),
                    KeyValue::new("messaging.message.body.size", message.value.len() as i64),
                    KeyValue::new("messaging.kafka.message.key", text(&message.key)),
                ],
                error: None,
                link: (!same).then_some(parent),
            });
        }
    }

    /// A record that was processed until now; the ids of the span, for what it published. Its parent is whoever sent the
    /// record; of a trigger, which anybody may have sent, it is the round.
    pub(crate) fn processed(&self, what: &Processing<'_>, more: Vec<KeyValue>, error: Option<&str>) -> Trace {
        let Processing {
            record,
            at,
            group,
            tries,
            began,
        } = what;
        let place = format!("{}/{}/{}", record.topic, record.partition, record.offset);
        let round = Trace::of_round(at);
        let Some(on) = &self.on else { return round };
        let own = Trace::named(at, &format!("{}/{place}/{tries}", on.instance));
        let of_round = |sender: &Trace| sender.trace == round.trace && &*record.topic != names::ROUNDS;
        let sender = Trace::of_record(&record.headers).filter(of_round);
        let mut attributes = vec![
            KeyValue::new("messaging.system", "kafka"),
            KeyValue::new("messaging.operation.name", "process"),
            KeyValue::new("messaging.operation.type", "process"),
            KeyValue::new("messaging.destination.name", record.topic.to_string()),
            KeyValue::new("messaging.destination.partition.id", record.partition.to_string()),
            KeyValue::new("messaging.consumer.group.name", (*group).to_owned()),
            KeyValue::new("messaging.kafka.offset", record.offset as i64),
            KeyValue::new("messaging.message.body.size", record.value.len() as i64),
        ];
        attributes.extend(of_attempt(at));
        attributes.extend(more);
        attributes.extend(error.map(|_| KeyValue::new("error.type", "task")));
        on.spans.ended(Span {
            at: own,
            parent: Some(sender.map_or(round.span, |sender| sender.span)),
            name: format!("process {}", record.topic),
            kind: SpanKind::Consumer,
            began: *began,
            ended: self.now(),
            attributes,
            error: error.map(str::to_owned),
            link: None,
        });
        own
    }

    /// A task that was done, or failed, or will be tried again.
    pub(crate) fn task(&self, what: &Processing<'_>, task: &Task, error: Option<&str>) -> Trace {
        if let Some(instruments) = self.instruments() {
            let took = self.now().saturating_sub(what.began);
            instruments.task(task.stage, &what.record.topic, took, error.is_some());
            instruments.waited(task.stage, what.began.saturating_sub(since(what.record.timestamp_ms)));
        }
        let more = vec![
            KeyValue::new("fedstill.stage", task.stage.name()),
            KeyValue::new("fedstill.step", task.step.clone()),
            KeyValue::new("fedstill.subject", task.subject.to_string()),
        ];
        self.processed(what, more, error)
    }

    /// A task that will be tried again.
    pub(crate) fn retried(&self, stage: Stage) {
        if let Some(instruments) = self.instruments() {
            instruments.retried(stage);
        }
    }

    /// A record that went to the dead letters.
    pub(crate) fn dead_lettered(&self, topic: &str) {
        if let Some(instruments) = self.instruments() {
            instruments.dead_lettered(topic);
        }
    }

    /// A phase that has closed and, where the attempt ends with it, the round.
    pub(crate) fn closed(&self, closed: &Closed, steps: &[String], opened_ms: i64, round: Option<(i64, &Ending)>) {
        let Some(on) = &self.on else { return };
        let (at, name) = (&closed.at, steps.join(", "));
        let took = self.now().saturating_sub(since(opened_ms));
        on.instruments.closed(&name, took, closed);
        let late = closed.missing.values().filter(|why| **why == Missing::Late).count();
        let error = (!closed.enough).then(|| match round {
            Some((_, Ending::Stopped)) => "stopped".to_owned(),
            _ => "fewer members than the quorum".to_owned(),
        });
        let attributes = vec![
            KeyValue::new("fedstill.step", name.clone()),
            KeyValue::new("fedstill.phase", i64::from(closed.phase)),
            KeyValue::new("fedstill.members", closed.members.len() as i64),
            KeyValue::new("fedstill.missing", closed.missing.len() as i64),
            KeyValue::new("fedstill.late", late as i64),
        ];
        let phase = Trace::of_phase(at, closed.phase);
        self.within(at, phase, format!("phase {name}"), opened_ms, attributes, error.clone());
        if let Some((began_ms, _)) = round {
            let name = format!("round {}", at.round);
            self.within(at, Trace::of_round(at), name, began_ms, Vec::new(), error);
        }
    }

    /// A round whose archive is done, and its last phase, whose end nobody waits for.
    pub(crate) fn archived(&self, round: &Round, opened_ms: i64) {
        let (at, phase) = (round.planned.at(), round.phase());
        let name = format!("phase {}", round.planned.phases[phase as usize].steps.join(", "));
        self.within(at, Trace::of_phase(at, phase), name, opened_ms, Vec::new(), None);
        let began_ms = round.began_ms().unwrap_or(opened_ms);
        let name = format!("round {}", at.round);
        self.within(at, Trace::of_round(at), name, began_ms, Vec::new(), None);
    }

    /// A span of an attempt, from then until now: the round itself, or below it.
    fn within(
        &self,
        at: &Attempt,
        own: Trace,
        name: String,
        began_ms: i64,
        mut attributes: Vec<KeyValue>,
        error: Option<String>,
    ) {
        let Some(on) = &self.on else { return };
        let (root, ended) = (Trace::of_round(at), self.now());
        attributes.extend(of_attempt(at));
        on.spans.ended(Span {
            at: own,
            parent: (own != root).then_some(root.span),
            name,
            kind: SpanKind::Internal,
            began: since(began_ms).min(ended),
            ended,
            attributes,
            error,
            link: None,
        });
    }

    /// The phases that are open here, instead of those that were said before.
    pub(crate) fn open_phases(&self, phases: impl FnOnce() -> BTreeMap<String, OpenPhaseLevel>) {
        if let Some(instruments) = self.instruments() {
            instruments.levels.lock().phases = phases();
        }
    }

    /// How many tasks are being computed here.
    pub(crate) fn in_flight(&self, tasks: usize) {
        if let Some(instruments) = self.instruments() {
            instruments.levels.lock().in_flight = tasks as u64;
        }
    }
}

fn since(ms: i64) -> Duration {
    Duration::from_millis(ms.max(0).unsigned_abs())
}

fn of_attempt(at: &Attempt) -> Vec<KeyValue> {
    vec![
        KeyValue::new("fedstill.run", at.run.clone()),
        KeyValue::new("fedstill.round", i64::from(at.round)),
        KeyValue::new("fedstill.attempt", i64::from(at.attempt)),
    ]
}

/// The root of the trace that a trigger begins.
fn root_of(message: &Message) -> Option<u64> {
    (message.topic == names::ROUNDS).then_some(())?;
    let trigger: serde_json::Value = serde_json::from_slice(&message.value).ok()?;
    let at: Attempt = serde_json::from_value(trigger.get("at")?.clone()).ok()?;
    Some(Trace::of_round(&at).span)
}

/// A key for people: it is text, or its digest stands for it.
fn text(key: &[u8]) -> String {
    std::str::from_utf8(key).map_or_else(|_| Digest::of(key).short(), str::to_owned)
}

#[cfg(test)]
mod tests;
