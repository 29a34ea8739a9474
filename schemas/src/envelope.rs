//! Headers of every record: a CloudEvents envelope in binary mode (CloudEvents 1.0, Kafka protocol binding) with a W3C
//! trace context. A round's attempt is one trace. Its id, and those of the spans that several processes speak of, follow
//! from their names: whoever publishes a record again says the same, and nobody hands a context on.

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

const TRACEPARENT: &str = "traceparent";

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

/// Where a span belongs: its trace and its id, as W3C Trace Context has them. Neither is ever zero in practice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    /// Of the attempt.
    pub trace: u128,
    /// Of the span.
    pub span: u64,
}

impl Trace {
    /// The span of a round's attempt: the root of its trace.
    pub fn of_round(at: &Attempt) -> Self {
        Self::named(at, "round")
    }

    /// The span of a phase.
    pub fn of_phase(at: &Attempt, phase: u32) -> Self {
        Self::named(at, &format!("phase/{phase}"))
    }

    /// The span with a name in the trace of an attempt.
    pub fn named(at: &Attempt, name: &str) -> Self {
        let attempt = format!("{}/{}/{}", at.run, at.round, at.attempt);
        let span = Digest::of(format!("{attempt}/{name}").as_bytes());
        Self {
            trace: u128::from_be_bytes(first(&Digest::of(attempt.as_bytes()))),
            span: u64::from_be_bytes(first(&span)),
        }
    }

    /// What a record's headers say about the span that published it; `None` where they say nothing that can be read.
    pub fn of_record(headers: &[(String, Bytes)]) -> Option<Self> {
        let (_, text) = headers.iter().rev().find(|(name, _)| name == TRACEPARENT)?;
        let mut fields = std::str::from_utf8(text).ok()?.split('-');
        let (_version, trace, span) = (fields.next()?, fields.next()?, fields.next()?);
        let is_hex = |text: &str, length| text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        (is_hex(trace, 32) && is_hex(span, 16)).then_some(())?;
        Some(Self {
            trace: u128::from_str_radix(trace, 16).ok()?,
            span: u64::from_str_radix(span, 16).ok()?,
        })
    }
}

fn first<const N: usize>(digest: &Digest) -> [u8; N] {
    std::array::from_fn(|index| digest.as_bytes()[index])
}

/// The headers of a record of `kind` about `subject`, whose id is derived from `id`: the same record, published again,
/// has the same id.
pub fn headers(kind: Kind, at: &Attempt, id: &str, subject: &str) -> Vec<(String, Bytes)> {
    let id = Digest::of(format!("{}/{id}", kind.name()).as_bytes());
    let trace = Trace::of_round(at).trace;
    let traceparent = format!("00-{trace:032x}-{:016x}-01", u64::from_be_bytes(first(&id)));
    [
        ("ce_specversion", "1.0".to_owned()),
        ("ce_id", id.to_string()),
        ("ce_type", kind.name().to_owned()),
        ("ce_source", format!("/fedstill/{}", at.run)),
        ("ce_subject", subject.to_owned()),
        ("content-type", kind.content_type().to_owned()),
        ("fedstill_version", VERSION.to_string()),
        (TRACEPARENT, traceparent),
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
        assert_eq!(Trace::of_record(&one).unwrap().trace, Trace::of_round(&at).trace);
        assert_ne!(Trace::of_record(&one), Trace::of_record(&two));
        assert_ne!(Trace::of_phase(&at, 0), Trace::of_round(&at));
    }

    #[test]
    fn a_context_that_is_none_is_passed_over() {
        let said = |text: &str| Trace::of_record(&[("traceparent".to_owned(), text.to_owned().into())]);
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(said(good).unwrap().span, 0xb7ad_6b71_6920_3331);
        for bad in [
            "",
            "00",
            "00-x-y-01",
            "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert_eq!(said(bad), None, "{bad}");
        }
        assert_eq!(Trace::of_record(&[]), None);
    }
}
