//! Members' predictions of a chunk, combined on a processor.
//!
//! In: the logits of each member, in the order of their slots. Out: their mean, or that of their probabilities. Members are
//! added one after the other, whatever goes to the processor together: the same members in the same order give the same bits
//! on the same processor, and near ones on another. Memory of the processor: the sums, and the members of a batch.

use crate::error::LearnError;
use crate::processor::Processor;
use crate::tensors::values;
use burn::tensor::{DType, Device, Tensor, TensorData};
use fedstill_kernels::{Averaged, Ensemble, Sharpening, Weights};
use fedstill_schemas::pipeline::Rule;
use fedstill_schemas::predictions::Values;

/// Bytes of predictions that go to the processor together, in float32: few launches a chunk, in buffers that any device takes.
const TOGETHER: usize = 64 << 20;

/// The mean over members of logits, or of the probabilities that a rule makes of them: `rows x classes` in float32. Every
/// member counts alike, and its values are as many and finite.
///
/// # Errors
/// [`LearnError::OtherTargets`] where a member has another number of values; [`LearnError::Operand`] without members.
pub fn combine(
    processor: &Processor,
    rule: &Rule,
    [rows, classes]: [usize; 2],
    members: &[&Values],
) -> Result<Vec<f32>, LearnError> {
    let count = rows * classes;
    if let Some(other) = members.iter().find(|member| member.len() != count) {
        return Err(LearnError::OtherTargets {
            values: other.len(),
            rows,
            classes: classes as u32,
        });
    }
    let averaged = match rule {
        Rule::Mean | Rule::Weights(_) => Averaged::Values,
        Rule::MeanProbability => Averaged::Probabilities,
    };
    let device = processor.device();
    let mut ensemble = Ensemble::new(rows, classes, averaged, device)?;
    let together = (TOGETHER / (count.max(1) * size_of::<f32>())).max(1);
    for members in members.chunks(together) {
        let predictions = tensor(members, [members.len(), rows, classes], device);
        ensemble.add(predictions, &Weights::Equal)?;
    }
    Ok(values(ensemble.finish(Sharpening::None)?))
}

/// Members' values on a device: in float16 where all of them are and the device reads it, which halves what has to get there.
fn tensor(members: &[&Values], dims: [usize; 3], device: &Device) -> Tensor<3> {
    let reads_halves = device.supports_dtype(DType::F16);
    let halves: Option<Vec<_>> = members
        .iter()
        .map(|member| match member {
            Values::Float16(values) if reads_halves => Some(&values[..]),
            _ => None,
        })
        .collect();
    if let Some(halves) = halves {
        return Tensor::from_data(TensorData::new(halves.concat(), dims), (device, DType::F16));
    }
    let wide: Vec<f32> = members.iter().flat_map(|member| member.to_f32()).collect();
    Tensor::from_data(TensorData::new(wide, dims), (device, DType::F32))
}

#[cfg(test)]
mod tests {
    use super::*;
    use fedstill_schemas::predictions::{Identity, decode, encode};
    use fedstill_schemas::resolved::Precision;
    use fedstill_schemas::task::Attempt;

    /// A row of three classes, as it comes from the wire.
    fn member(logits: [f32; 3], precision: Precision) -> Values {
        let at = Attempt {
            run: "r".to_owned(),
            round: 0,
            attempt: 0,
        };
        let identity = Identity {
            at,
            step: "predict".to_owned(),
            chunk: 0,
            slot: Some(0),
        };
        decode(&encode(&identity, &[0], 3, &logits, precision).unwrap())
            .unwrap()
            .values
    }

    #[test]
    fn members_of_either_width_count_alike() {
        let rows = [[1.0, -2.0, 0.5], [3.0, 0.0, 0.5], [2.0, 8.0, -1.0]];
        for widths in [
            [Precision::Float16; 3],
            [Precision::Float32; 3],
            [Precision::Float16, Precision::Float32, Precision::Float16],
        ] {
            let members: Vec<Values> = rows
                .into_iter()
                .zip(widths)
                .map(|(row, width)| member(row, width))
                .collect();
            let members: Vec<&Values> = members.iter().collect();
            let mean = combine(&Processor::default(), &Rule::Mean, [1, 3], &members).unwrap();
            assert_eq!(mean, [2.0, 2.0, 0.0]);
            let mean = combine(&Processor::default(), &Rule::MeanProbability, [1, 3], &members).unwrap();
            let share = |class: usize| {
                let softmax = |row: &[f32; 3]| row[class].exp() / row.iter().map(|logit| logit.exp()).sum::<f32>();
                rows.iter().map(softmax).sum::<f32>() / 3.0
            };
            for (class, found) in mean.iter().enumerate() {
                assert!((found - share(class)).abs() < 1e-6, "{found} {}", share(class));
            }
        }
    }

    #[test]
    fn members_of_other_lengths_and_nobody_are_refused() {
        let member = member([1.0, 2.0, 3.0], Precision::Float16);
        let refused = |rows, members: &[&Values]| {
            let combined = combine(&Processor::default(), &Rule::Mean, [rows, 3], members);
            combined.unwrap_err().to_string()
        };
        assert!(refused(2, &[&member]).contains("3 target values for 2 rows of 3 classes"));
        assert!(!refused(1, &[]).is_empty());
    }
}
