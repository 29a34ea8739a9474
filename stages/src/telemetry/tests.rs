//! Spans without an SDK.

use super::*;
use bytes::Bytes;
use fedstill_log::ManualClock;
use fedstill_schemas::envelope::{self, Kind};
use parking_lot::Mutex;

#[derive(Clone, Debug, Default)]
struct Kept(Arc<Mutex<Vec<Span>>>);

impl Spans for Kept {
    fn ended(&self, span: Span) {
        self.0.lock().push(span);
    }
}

fn telemetry() -> (Telemetry, Kept, Arc<ManualClock>) {
    let (kept, clock) = (Kept::default(), Arc::new(ManualClock::new(5_000)));
    let meter = opentelemetry::global::meter("test");
    let telemetry = Telemetry::new(
        &meter,
        Box::new(kept.clone()),
        "me",
        Arc::clone(&clock) as Arc<dyn Clock>,
    );
    (telemetry, kept, clock)
}

fn at(round: u32) -> Attempt {
    Attempt {
        run: "a-fedmd-0".to_owned(),
        round,
        attempt: 0,
    }
}

fn message(topic: &str, at: &Attempt, value: String) -> Message {
    Message {
        topic: topic.to_owned(),
        partition: 3,
        key: "k".into(),
        headers: envelope::headers(Kind::Task, at, "x", "party-0"),
        value: value.into(),
    }
}

fn record(headers: Vec<(String, Bytes)>) -> Record {
    Record {
        topic: "fedstill.train".into(),
        partition: 3,
        offset: 7,
        timestamp_ms: 4_000,
        key: "k".into(),
        headers,
        value: "{}".into(),
    }
}

#[test]
fn a_record_is_processed_below_the_span_that_sent_it_and_sends_below_that() {
    let (telemetry, kept, clock) = telemetry();
    let sent = message("fedstill.train", &at(1), "{}".to_owned());
    telemetry.sent(Trace::of_phase(&at(1), 2), std::slice::from_ref(&sent), telemetry.now());
    let began = telemetry.now();
    clock.advance(Duration::from_millis(1500));
    let record = record(sent.headers);
    let at = at(1);
    let processing = Processing {
        record: &record,
        at: &at,
        group: "g",
        tries: 0,
        began,
    };
    let own = telemetry.processed(&processing, Vec::new(), Some("no store"));
    let answer = message("fedstill.answers", &at, "{}".to_owned());
    telemetry.sent(own, &[answer], began);
    let spans = kept.0.lock().clone();
    let [send, process, reply] = &spans[..] else {
        panic!("{spans:?}")
    };
    assert_eq!(send.parent, Some(Trace::of_phase(&at, 2).span));
    assert_eq!(process.parent, Some(send.at.span));
    assert_eq!(process.ended, process.began + Duration::from_millis(1500));
    assert_eq!(process.error.as_deref(), Some("no store"));
    assert_eq!(reply.parent, Some(process.at.span));
    assert!(spans.iter().all(|span| span.at.trace == Trace::of_round(&at).trace));
    // Another try, and another process, is another span.
    let again = Processing { tries: 1, ..processing };
    assert_ne!(telemetry.processed(&again, Vec::new(), None), own);
}

#[test]
fn a_record_without_a_context_of_its_round_is_processed_below_the_round() {
    let (telemetry, kept, _) = telemetry();
    let other = message("fedstill.train", &at(9), "{}".to_owned());
    for headers in [Vec::new(), other.headers] {
        let (record, at) = (record(headers), at(1));
        let processing = Processing {
            record: &record,
            at: &at,
            group: "g",
            tries: 0,
            began: Duration::ZERO,
        };
        telemetry.processed(&processing, Vec::new(), None);
    }
    for span in kept.0.lock().iter() {
        assert_eq!(span.parent, Some(Trace::of_round(&at(1)).span));
    }
}

#[test]
fn the_next_rounds_trigger_is_in_that_rounds_trace_and_linked_to_this_one() {
    let (telemetry, kept, _) = telemetry();
    let value = serde_json::json!({ "at": at(2) }).to_string();
    let trigger = message(names::ROUNDS, &at(2), value);
    let own = Trace::of_phase(&at(1), 0);
    telemetry.sent(own, &[trigger], Duration::ZERO);
    let span = kept.0.lock()[0].clone();
    assert_eq!(span.parent, Some(Trace::of_round(&at(2)).span));
    assert_eq!(span.at.trace, Trace::of_round(&at(2)).trace);
    assert_eq!(span.link, Some(own));
}

#[test]
fn nobody_who_listens_costs_nothing_and_changes_nothing() {
    let telemetry = Telemetry::default();
    assert!(!telemetry.is_on());
    assert_eq!(telemetry.now(), Duration::ZERO);
    telemetry.open_phases(|| panic!("nothing is computed"));
}
