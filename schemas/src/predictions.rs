//! The codec of predictions: one Arrow IPC stream a message, one record batch in it (`sample: uint32`,
//! `values: FixedSizeList<float16 or float32, C>`), with run, round, attempt, step, chunk, slot and kind in the
//! schema's metadata. A value that the wire cannot hold is refused, never saturated.

mod decode;
mod flat;

pub use decode::decode;

use crate::resolved::{Precision, VERSION};
use crate::task::Attempt;
use arrow_array::{Array, ArrayRef, FixedSizeListArray, Float16Array, Float32Array, RecordBatch, UInt32Array};
use arrow_buffer::ScalarBuffer;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, DataType, Field, Schema};
use bytes::Bytes;
use half::f16;
use std::collections::HashMap;
use std::sync::Arc;

/// What a message of predictions says it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity {
    /// Run, round and attempt.
    pub at: Attempt,
    /// The step that predicted, or aggregated.
    pub step: String,
    /// Index of the chunk.
    pub chunk: u32,
    /// The party's slot; `None` for a consensus.
    pub slot: Option<u32>,
}

/// Values of a chunk, row-major.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Two bytes a value.
    Float16(ScalarBuffer<f16>),
    /// Four bytes a value.
    Float32(ScalarBuffer<f32>),
}

impl Values {
    /// Number of values.
    pub fn len(&self) -> usize {
        match self {
            Self::Float16(values) => values.len(),
            Self::Float32(values) => values.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// As float32, exactly.
    pub fn to_f32(&self) -> Vec<f32> {
        match self {
            Self::Float16(values) => values.iter().map(|v| v.to_f32()).collect(),
            Self::Float32(values) => values.to_vec(),
        }
    }
}

/// A decoded message.
#[derive(Clone, Debug, PartialEq)]
pub struct Predictions {
    /// What it says it is.
    pub identity: Identity,
    /// Row ids in the public set, in the order of the alignment set; each as often as there are predictions on it.
    pub samples: ScalarBuffer<u32>,
    /// Classes of a row.
    pub classes: u32,
    /// The values.
    pub values: Values,
}

/// Why predictions cannot be sent or used.
#[derive(Debug, thiserror::Error)]
pub enum PredictionsError {
    /// A value that is not finite.
    #[error(
        "row {row} holds a value that is not finite ({value}): the model has diverged; lower its learning rate or look at its data"
    )]
    NotFinite {
        /// Row in the chunk.
        row: usize,
        /// The value.
        value: f32,
    },
    /// A finite value that float16 cannot hold.
    #[error(
        "row {row} holds {value}, which float16 cannot hold (at most 65504): set `predictions = \"float32\"` in the run file"
    )]
    TooLarge {
        /// Row in the chunk.
        row: usize,
        /// The value.
        value: f32,
    },
    /// Rows or classes differ from the plan's.
    #[error("it has {found}, the plan says {expected}")]
    Shape {
        /// What the message has.
        found: String,
        /// What the plan says.
        expected: String,
    },
    /// Not an Arrow stream of this schema.
    #[error("it is not an Arrow stream of predictions: {0}")]
    Malformed(String),
    /// Written by a newer release.
    #[error("it has schema version {0}, this release reads up to {VERSION}: upgrade this worker")]
    Version(u32),
}

impl From<ArrowError> for PredictionsError {
    fn from(error: ArrowError) -> Self {
        Self::Malformed(error.to_string())
    }
}

/// Encodes `values` (rows x classes, row-major) of the rows `samples`, in which a row with several predictions is as often.
///
/// # Errors
/// A value that is not finite, or that `precision` cannot hold.
pub fn encode(
    identity: &Identity,
    samples: &[u32],
    classes: u32,
    values: &[f32],
    precision: Precision,
) -> Result<Bytes, PredictionsError> {
    let width = classes.max(1) as usize;
    if let Some(at) = values.iter().position(|v| !v.is_finite()) {
        let (row, value) = (at / width, values[at]);
        return Err(PredictionsError::NotFinite { row, value });
    }
    let (kind, list): (DataType, ArrayRef) = match precision {
        Precision::Float32 => (DataType::Float32, Arc::new(Float32Array::from(values.to_vec()))),
        Precision::Float16 => {
            let halves: Vec<f16> = values.iter().map(|v| f16::from_f32(*v)).collect();
            if let Some(at) = halves.iter().position(|h| !h.is_finite()) {
                let (row, value) = (at / width, values[at]);
                return Err(PredictionsError::TooLarge { row, value });
            }
            (DataType::Float16, Arc::new(Float16Array::from(halves)))
        }
    };
    let item = Arc::new(Field::new("item", kind, false));
    let list = FixedSizeListArray::try_new(item, classes as i32, list, None)?;
    let schema = Arc::new(schema(identity, list.data_type().clone()));
    let columns: Vec<ArrayRef> = vec![Arc::new(UInt32Array::from(samples.to_vec())), Arc::new(list)];
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns)?;
    let mut writer = StreamWriter::try_new(Vec::new(), &schema)?;
    writer.write(&batch)?;
    writer.finish()?;
    Ok(Bytes::from(writer.into_inner()?))
}

fn schema(identity: &Identity, values: DataType) -> Schema {
    let mut metadata = HashMap::from([
        ("version".to_owned(), VERSION.to_string()),
        ("run".to_owned(), identity.at.run.clone()),
        ("round".to_owned(), identity.at.round.to_string()),
        ("attempt".to_owned(), identity.at.attempt.to_string()),
        ("step".to_owned(), identity.step.clone()),
        ("chunk".to_owned(), identity.chunk.to_string()),
        ("kind".to_owned(), "logits".to_owned()),
    ]);
    if let Some(slot) = identity.slot {
        metadata.insert("slot".to_owned(), slot.to_string());
    }
    let fields = vec![
        Field::new("sample", DataType::UInt32, false),
        Field::new("values", values, false),
    ];
    Schema::new_with_metadata(fields, metadata)
}

impl Predictions {
    /// Whether they fit the plan's rows and classes. Values are looked at where they are added up.
    ///
    /// # Errors
    /// Other rows, or another class count.
    pub fn check(&self, rows: &[u32], classes: u32) -> Result<(), PredictionsError> {
        if self.samples.len() != rows.len() || self.classes != classes {
            return Err(PredictionsError::Shape {
                found: format!("{} rows of {} classes", self.samples.len(), self.classes),
                expected: format!("{} rows of {classes} classes", rows.len()),
            });
        }
        if self.samples.as_ref() != rows {
            return Err(PredictionsError::Shape {
                found: "other rows of the public set, or another order".to_owned(),
                expected: "the rows of the alignment set, in its order".to_owned(),
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn identity() -> Identity {
        Identity {
            at: Attempt {
                run: "a-fedmd-0".into(),
                round: 2,
                attempt: 1,
            },
            step: "predict".into(),
            chunk: 3,
            slot: Some(7),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn predictions_survive_the_wire(rows in 0usize..40, classes in 1u32..12, seed in any::<u32>(), single in any::<bool>()) {
            let values: Vec<f32> = (0..rows * classes as usize)
                .map(|i| f16::from_bits((seed.wrapping_mul(2654435761).wrapping_add(i as u32 * 40503) as u16) & 0xbbff).to_f32())
                .collect();
            let samples: Vec<u32> = (0..rows as u32).map(|i| i * 3).collect();
            let precision = if single { Precision::Float32 } else { Precision::Float16 };
            let message = encode(&identity(), &samples, classes, &values, precision).unwrap();
            let back = decode(&message).unwrap();
            prop_assert_eq!(&back.identity, &identity());
            prop_assert_eq!(back.values.to_f32(), values);
            prop_assert!(back.check(&samples, classes).is_ok());
        }

        #[test]
        fn garbled_messages_are_refused_or_decoded_but_never_panic(
            changes in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..4), cut in proptest::option::weighted(0.1, any::<usize>()),
        ) {
            let message = encode(&identity(), &[1, 2], 3, &[0.5; 6], Precision::Float16).unwrap();
            let mut bytes = message.to_vec();
            for (at, byte) in changes {
                let at = at % bytes.len();
                bytes[at] = byte;
            }
            if let Some(cut) = cut {
                bytes.truncate(cut % bytes.len());
            }
            let _ = decode(&Bytes::from(bytes));
        }
    }

    #[test]
    fn values_that_the_wire_cannot_hold_are_refused_at_their_row() {
        let encode = |values: &[f32], precision| super::encode(&identity(), &[0, 1], 2, values, precision);
        let nan = encode(&[0.0, 0.0, f32::NAN, 0.0], Precision::Float16);
        assert!(matches!(nan, Err(PredictionsError::NotFinite { row: 1, .. })));
        let large = encode(&[0.0, 70000.0, 0.0, 0.0], Precision::Float16);
        assert!(matches!(large, Err(PredictionsError::TooLarge { row: 0, .. })));
        assert!(encode(&[0.0, 70000.0, 0.0, 0.0], Precision::Float32).is_ok());
    }

    #[test]
    fn other_rows_and_classes_are_refused() {
        let message = encode(&identity(), &[4, 5], 2, &[0.0, 1.0, 2.0, 3.0], Precision::Float16).unwrap();
        let predictions = decode(&message).unwrap();
        assert!(predictions.check(&[4, 5], 2).is_ok());
        assert!(matches!(
            predictions.check(&[4], 2),
            Err(PredictionsError::Shape { .. })
        ));
        assert!(matches!(
            predictions.check(&[4, 6], 2),
            Err(PredictionsError::Shape { .. })
        ));
        assert!(matches!(
            predictions.check(&[4, 5], 4),
            Err(PredictionsError::Shape { .. })
        ));
    }
}
