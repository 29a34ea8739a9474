//! Ensembles that are measured, the same in Burn's own operations, and the bytes that must move: what `bench_kernels` and the
//! benchmark with criterion share.

use crate::operations::{FIT, ON_CHIP, Operation, logits};
use burn::tensor::activation;
use burn::tensor::{DType, Device, Tensor, TensorData};
use fedstill_kernels::{Averaged, Ensemble, Sharpening, Weights};

/// Parties of ensembles.
pub(crate) const PARTIES: [usize; 3] = [10, 100, 1_000];
/// Rows and classes of each prediction.
pub(crate) const ENSEMBLE: [usize; 2] = [5_000, 100];
/// The same of what workers send to a GPU: 1,000 classes and more.
const MANY_CLASSES: [[usize; 2]; 2] = [[16_384, 1_000], [4_096, 32_000]];
/// The same with the most parties: 26 GB in float32, 13 GB in float16.
const LARGE_ENSEMBLE: [usize; 2] = [65_536, 100];

/// Bytes in float32 up to which an ensemble of many classes is measured.
const MOST: usize = 8 << 30;
/// Bytes of predictions that are in memory at a time: ensembles of more stream.
const AT_ONCE: usize = 2 << 30;
/// Bytes of each part of an ensemble that streams: no buffer is larger than those of the largest shape of rows.
const PART: usize = 1 << 30;
/// Classes up to which a cube of 256 units keeps sums of probabilities in registers.
const HELD: usize = 1_024;
const SOMEBODY: &str = "there is a party";

/// The shapes of ensembles of so many parties: of all of them, or of the one that takes little time and memory.
pub(crate) fn ensembles(parties: usize, all: bool) -> Vec<[usize; 2]> {
    let mut shapes = vec![ENSEMBLE];
    if all && Some(&parties) == PARTIES.last() {
        shapes.push(LARGE_ENSEMBLE);
    } else if all {
        let fits = |[rows, classes]: &[usize; 2]| 4 * parties * rows * classes <= MOST;
        shapes.extend(MANY_CLASSES.into_iter().filter(fits));
    }
    shapes
}

/// What is measured of parties: averages of their predictions, `parties x rows x classes`.
pub(crate) fn of_parties(device: &Device, parties: usize, [rows, classes]: [usize; 2]) -> Vec<Operation> {
    let values = rows * classes;
    let mut operations = Vec::new();
    for (dtype, width, precision) in [(DType::F32, 4, "float32"), (DType::F16, 2, "float16")] {
        let of_one = values * width;
        let in_memory = if parties * of_one > AT_ONCE {
            (PART / of_one).clamp(1, parties)
        } else {
            parties
        };
        let predictions: Tensor<3> =
            logits(device, in_memory * rows, classes, dtype).reshape([in_memory, rows, classes]);
        // Taken apart beforehand: where that copies, it is not measured.
        let mut parts = vec![predictions.clone(); parties / in_memory];
        if !parties.is_multiple_of(in_memory) {
            parts.push(predictions.narrow(0, 0, parties % in_memory));
        }
        let all = [
            ("mean", Averaged::Values, false),
            ("probability", Averaged::Probabilities, false),
            ("weighted mean", Averaged::Values, true),
        ];
        for (name, averaged, weighted) in all {
            // Weights are a value a party: one number of parties shows what they cost.
            if weighted && Some(&parties) != PARTIES.first() {
                continue;
            }
            let stream = Stream {
                parts: parts.clone(),
                parties,
                averaged,
                weighted,
            };
            let burns = stream.clone();
            // A sum is two values: itself, and what rounding took from it. Those of a longer row are read and written for each
            // party, and its predictions read twice.
            let again = averaged == Averaged::Probabilities && classes > HELD && (width + 8) * classes > ON_CHIP;
            let in_launches = if again {
                parties * (2 * width + 16)
            } else {
                parties * width + parts.len() * 16
            };
            operations.push(Operation {
                name: format!("{name} of {parties}, {precision}"),
                // What is handed from part to part cannot stay on the chip.
                bytes: parties * of_one + (4 + (parts.len() - 1) * 16) * values,
                // Zeros are written to begin with; at the end the sums are read and the average written.
                bytes_moved: Some((in_launches + 8 + 12) * values),
                data: in_memory * of_one + 16 * values,
                own: Box::new(move || Box::new(stream.average())),
                burn: Box::new(move || Box::new(burns.average_by_burn())),
            });
        }
    }
    operations
}

/// Predictions of more parties than memory holds: the same ones come again and again in the place of others.
#[derive(Clone)]
struct Stream {
    /// Some parties' each, `parties x rows x classes`.
    parts: Vec<Tensor<3>>,
    parties: usize,
    averaged: Averaged,
    /// Whether each party has a weight of its own.
    weighted: bool,
}

impl Stream {
    fn average(&self) -> Tensor<2> {
        let first = self.parts.first().expect(SOMEBODY);
        let [_, rows, classes] = first.dims();
        let mut sum = Ensemble::new(rows, classes, self.averaged, &first.device()).expect(FIT);
        for part in &self.parts {
            let weights = if self.weighted {
                Weights::Party(weights(part))
            } else {
                Weights::Equal
            };
            sum.add(part.clone(), &weights).expect(FIT);
        }
        sum.finish(Sharpening::None).expect(FIT)
    }

    fn average_by_burn(&self) -> Tensor<3> {
        let sums = self.parts.iter().map(|part| {
            let values = part.clone().cast(DType::F32);
            let values = match self.averaged {
                Averaged::Values => values,
                Averaged::Probabilities => activation::softmax(values, 2),
            };
            if !self.weighted {
                return values.sum_dim(0);
            }
            let weights: Tensor<3> = weights(part).reshape([part.dims()[0], 1, 1]);
            (values * weights).sum_dim(0)
        });
        let sum = sums.reduce(|sum, part| sum + part).expect(SOMEBODY);
        sum.div_scalar(self.parties as f64)
    }
}

/// A weight for each party of a part.
fn weights(part: &Tensor<3>) -> Tensor<1> {
    let parties = part.dims()[0];
    let weights: Vec<f32> = (1..=parties).map(|party| party as f32).collect();
    Tensor::from_data(TensorData::new(weights, [parties]), (&part.device(), DType::F32))
}
