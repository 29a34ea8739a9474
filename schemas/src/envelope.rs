//! Headers of every record: a CloudEvents envelope in binary mode (CloudEvents 1.0, Kafka protocol binding) with a W3C
//! trace context. A round is one trace: its id derives from run, round and attempt.

use crate::digest::Digest;
use crate::resolved::VERSION;
use crate::task::Attempt;
use bytes::Bytes;

/// Content type of JSON bodies.
pub const JSON: &str = "application/json";
/// Content type of predictions.
pub const ARROW: &str = "application/vnd.apache.arrow.stream";
/// Header with the reason why a record is on the dead-letter topic.
pub const REASON: &str = "fedstill_reason";

/// Kinds of records (`ce_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Kind {
    Trigger,
    Task,
    Answer,
    Decision,
    Predictions,
    Consensus,
    DeadLetter,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Trigger => "fedstill.trigger",
            Self::Task => "fedstill.task",
            Self::Answer => "fedstill.answer",
            Self::Decision => "fedstill.decision",
            Self::Predictions => "fedstill.predictions",
            Self::Consensus => "fedstill.consensus",
            Self::DeadLetter => "fedstill.dead_letter",
        }
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::Predictions | Self::Consensus => ARROW,
            _ => JSON,
        }
    }
}

/// The headers of a record of `kind` about `subject`, whose id is derived from `id`: the same record, published again,
/// has the same id.
pub fn headers(kind: Kind, at: &Attempt, id: &str, subject: &str) -> Vec<(String, Bytes)> {
    let id = Digest::of(format!("{}/{id}", kind.name()).as_bytes());
    let trace = Digest::of(format!("{}/{}/{}", at.run, at.round, at.attempt).as_bytes());
    let traceparent = format!("00-{}-{}-01", &trace.to_string()[..32], &id.to_string()[..16]);
    [
        ("ce_specversion", "1.0".to_owned()),
        ("ce_id", id.to_string()),
        ("ce_type", kind.name().to_owned()),
        ("ce_source", format!("/fedstill/{}", at.run)),
        ("ce_subject", subject.to_owned()),
        ("content-type", kind.content_type().to_owned()),
        ("fedstill_version", VERSION.to_string()),
        ("traceparent", traceparent),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), Bytes::from(value)))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_published_again_has_the_same_id_and_a_round_is_one_trace() {
        let at = Attempt {
            run: "a-fedmd-0".into(),
            round: 1,
            attempt: 0,
        };
        let value = |headers: &[(String, Bytes)], name: &str| {
            let found = headers.iter().find(|(n, _)| n == name).unwrap();
            String::from_utf8(found.1.to_vec()).unwrap()
        };
        let one = headers(Kind::Task, &at, "x", "party-0");
        let two = headers(Kind::Task, &at, "y", "party-1");
        assert_eq!(one, headers(Kind::Task, &at, "x", "party-0"));
        assert_ne!(value(&one, "ce_id"), value(&two, "ce_id"));
        let trace = |headers: &[(String, Bytes)]| value(headers, "traceparent")[..35].to_owned();
        assert_eq!(trace(&one), trace(&two));
        assert_eq!(value(&one, "traceparent").len(), 55);
    }
}
