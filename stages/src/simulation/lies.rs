//! Predictions that are wrong on the wire.

use fedstill_log::Message;
use fedstill_schemas::names;
use fedstill_schemas::predictions::{self, Identity};
use fedstill_schemas::resolved::Precision;
use fedstill_schemas::task::Subject;
use half::f16;

/// How predictions are wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lie {
    /// A value is NaN.
    Nan,
    /// One class more than the head has.
    Classes,
    /// One row less than the chunk has.
    Rows,
    /// The rows of the chunk in another order.
    Order,
    /// No Arrow stream.
    Garbage,
    /// Another party's, by what the body says.
    Identity,
}

impl Lie {
    pub(super) const ALL: [Self; 6] = [
        Self::Nan,
        Self::Classes,
        Self::Rows,
        Self::Order,
        Self::Garbage,
        Self::Identity,
    ];

    /// A part of the reason why it is refused.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::Nan => "not finite",
            Self::Classes => "of 3 classes",
            Self::Rows => "rows of 2 classes, the plan says",
            Self::Order => "another order",
            Self::Garbage => "not an Arrow stream",
            Self::Identity => "another party's",
        }
    }
}

/// The messages as a party sends them that lies, if they are its predictions.
pub(super) fn told(messages: &[Message], liar: u32, lie: Lie) -> Vec<Message> {
    let liar = Subject::Party(liar).to_string();
    let from_liar = |message: &Message| {
        let subject = message.headers.iter().find(|(name, _)| name == "ce_subject");
        message.topic == names::LOGITS && subject.is_some_and(|(_, subject)| subject[..] == *liar.as_bytes())
    };
    messages
        .iter()
        .map(|message| {
            let mut message = message.clone();
            if from_liar(&message) {
                message.value = lied(&message.value, lie);
            }
            message
        })
        .collect()
}

/// A message of predictions, made wrong.
pub(super) fn lied(honest: &bytes::Bytes, lie: Lie) -> bytes::Bytes {
    const MARK: f32 = 12_345.0;
    let found = predictions::decode(honest).unwrap();
    let mut identity: Identity = found.identity;
    let mut samples = found.samples.to_vec();
    let mut values = found.values.to_f32();
    let mut classes = found.classes;
    match lie {
        Lie::Nan => values[1] = MARK,
        Lie::Classes => {
            classes += 1;
            values.resize(samples.len() * classes as usize, 0.0);
        }
        Lie::Rows => {
            samples.pop();
            values.truncate(samples.len() * classes as usize);
        }
        Lie::Order => samples.reverse(),
        Lie::Garbage => return "no predictions".into(),
        Lie::Identity => identity.slot = identity.slot.map(|slot| slot + 1),
    }
    let message = predictions::encode(&identity, &samples, classes, &values, Precision::Float16).unwrap();
    if lie != Lie::Nan {
        return message;
    }
    // The codec refuses to write NaN: it is put in the place of a value that nobody else has.
    let mark = f16::from_f32(MARK).to_le_bytes();
    let mut bytes = message.to_vec();
    let at = bytes.windows(2).position(|two| two == mark).unwrap();
    bytes[at..at + 2].copy_from_slice(&f16::NAN.to_le_bytes());
    bytes.into()
}
