//! The operations that are measured, the same in Burn's own operations, and the bytes that must move: what `bench_kernels` and
//! the benchmark with criterion share.

use burn::tensor::activation;
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use fedstill_kernels::{
    Averaged, Ensemble, Kl, Reduction, Sharpening, Teacher, Weights, cross_entropy_kl, entropy, log_softmax, mae, mse,
    softmax, softmax_kl,
};
use half::f16;
use rayon::iter::{IndexedParallelIterator, ParallelIterator};
use rayon::slice::{ParallelSlice, ParallelSliceMut};
use std::any::Any;
use std::sync::Mutex;

/// Rows and classes.
pub(crate) const SHAPES: [[usize; 2]; 6] = [
    [65_536, 10],
    [65_536, 100],
    [2_097_152, 100],
    [16_384, 1_000],
    [4_096, 32_000],
    [2_048, 131_072],
];
/// Parties of ensembles, and rows and classes of each prediction.
pub(crate) const PARTIES: [usize; 3] = [10, 100, 1_000];
pub(crate) const ENSEMBLE: [usize; 2] = [5_000, 100];
/// The same of an ensemble that streams with the most parties, where `FEDSTILL_LARGE` is set: 26 GB in float32, 13 GB in float16.
pub(crate) const LARGE_ENSEMBLE: [usize; 2] = [65_536, 100];

/// Values from which a CPU measures a shape only where `FEDSTILL_LARGE` is set: Burn's operations then hold up to sixteen tensors
/// of a gigabyte, and take seconds.
const LARGE: usize = 1 << 27;
/// Bytes of predictions that are in memory at a time: ensembles of more stream.
const AT_ONCE: usize = 8 << 30;
/// Bytes of each part of an ensemble that streams: no buffer is larger than those of the largest shape of rows.
const PART: usize = 1 << 30;
/// Bytes of a row's operands up to which a GPU can keep them between its two looks at the row: the shared memory of a
/// multiprocessor of an H100, the largest there is.
const ON_CHIP: usize = 228 << 10;
const FIT: &str = "operands that fit";
const SOMEBODY: &str = "there is a party";
const TEMPERATURE: f64 = 2.0;
const KL: Kl = Kl {
    temperature: TEMPERATURE,
    times_t2: false,
    teacher: Teacher::Logits,
    reduction: Reduction::BatchMean,
};

/// What came out, to be dropped once it is there: where Burn fuses, what nobody holds any more is not computed.
pub(crate) type Kept = Box<dyn Any + Send>;

/// Does something once.
pub(crate) type Run = Box<dyn Fn() -> Kept + Send + Sync>;

/// Something to measure.
pub(crate) struct Operation {
    pub(crate) name: String,
    /// Bytes that must move: each input read once, each output written once.
    pub(crate) bytes: usize,
    /// The same where a row's operands are read for its statistics and again for what is written, and do not stay on the chip
    /// of a GPU in between.
    pub(crate) bytes_read_twice: Option<usize>,
    pub(crate) own: Run,
    /// The same in Burn's own operations.
    pub(crate) burn: Run,
}

/// Whether what takes much memory and time is asked for.
fn large() -> bool {
    std::env::var_os("FEDSTILL_LARGE").is_some()
}

/// Whether a CPU measures rows of so many classes.
pub(crate) fn is_for_cpu([rows, classes]: [usize; 2]) -> bool {
    rows * classes < LARGE || large()
}

/// The shapes of ensembles of so many parties.
pub(crate) fn ensembles(parties: usize) -> Vec<[usize; 2]> {
    if large() && Some(&parties) == PARTIES.last() {
        vec![ENSEMBLE, LARGE_ENSEMBLE]
    } else {
        vec![ENSEMBLE]
    }
}

/// A copy of so many values of float32 in the machine's memory, by all threads, as the operations: one of them would not fill the
/// memory's lanes.
pub(crate) fn copy(values: usize) -> Run {
    let from = vec![1.0_f32; values];
    let to = Mutex::new(vec![0.0_f32; values]);
    Box::new(move || {
        let mut to = to.lock().expect("nobody failed while copying");
        let parts = to.par_chunks_mut(1 << 16).zip(from.par_chunks(1 << 16));
        parts.for_each(|(to, from)| to.copy_from_slice(from));
        Box::new(())
    })
}

/// Logits of a spread that follows from their place.
pub(crate) fn logits(device: &Device, rows: usize, classes: usize, dtype: DType) -> Tensor<2> {
    let value = |i: usize| ((i * 7919 + i / classes) % 10_007) as f32 / 1000.0 - 5.0;
    if dtype == DType::F16 {
        let values: Vec<f16> = (0..rows * classes).map(|i| f16::from_f32(value(i))).collect();
        Tensor::from_data(TensorData::new(values, [rows, classes]), (device, dtype))
    } else {
        let values: Vec<f32> = (0..rows * classes).map(value).collect();
        Tensor::from_data(TensorData::new(values, [rows, classes]), (device, dtype))
    }
}

/// What losses are taken of.
#[derive(Clone)]
struct Operands {
    student: Tensor<2>,
    teacher: Tensor<2>,
    labels: Tensor<1, Int>,
}

/// What an operation makes of operands.
type Makes<T> = fn(Operands) -> T;

fn forward<T: Send + 'static>(operands: &Operands, makes: Makes<T>) -> Run {
    let operands = operands.clone();
    Box::new(move || Box::new(makes(operands.clone())))
}

/// The loss, and its gradient with respect to the student's logits.
fn both_ways(operands: &Operands, loss: Makes<Tensor<1>>) -> Run {
    let operands = operands.clone();
    Box::new(move || {
        let student = operands.student.clone().autodiff().require_grad();
        let loss = loss(Operands {
            student: student.clone(),
            ..operands.clone()
        });
        let mut gradients = loss.backward();
        Box::new((loss.inner(), student.grad_remove(&mut gradients)))
    })
}

fn kl(operands: Operands) -> Tensor<1> {
    softmax_kl(operands.student, operands.teacher, KL, None, None).expect(FIT)
}

fn burns_kl(operands: Operands) -> Tensor<1> {
    let p = activation::log_softmax(operands.teacher.cast(DType::F32).div_scalar(TEMPERATURE), 1);
    let q = activation::log_softmax(operands.student.div_scalar(TEMPERATURE), 1);
    (p.clone().exp() * (p - q)).sum_dim(1).mean()
}

fn both_losses(operands: Operands) -> Tensor<1> {
    cross_entropy_kl(
        operands.student,
        operands.labels,
        operands.teacher,
        KL,
        [0.5, 0.5],
        false,
    )
    .expect(FIT)
}

fn burns_both_losses(operands: Operands) -> Tensor<1> {
    let rows = operands.labels.dims()[0];
    let labels: Tensor<2, Int> = operands.labels.clone().reshape([rows, 1]);
    let chosen = activation::log_softmax(operands.student.clone(), 1).gather(1, labels);
    (burns_kl(operands) - chosen.mean()).mul_scalar(0.5)
}

/// What is measured of rows: `rows x classes`.
pub(crate) fn of_rows(device: &Device, [rows, classes]: [usize; 2]) -> Vec<Operation> {
    let values = rows * classes;
    let student = logits(device, rows, classes, DType::F32);
    let full = Operands {
        teacher: student.clone().mul_scalar(-0.5),
        labels: Tensor::zeros([rows], device),
        student,
    };
    let half = Operands {
        teacher: full.teacher.clone().cast(DType::F16),
        ..full.clone()
    };
    // Bytes a value that must move, and of them those that are read for a row's statistics and again for what is written.
    let operation = |name: &str, bytes_a_value: usize, read_again: usize, own, burn| Operation {
        name: name.to_owned(),
        bytes: bytes_a_value * values,
        bytes_read_twice: (read_again * classes > ON_CHIP).then_some((bytes_a_value + read_again) * values),
        own,
        burn,
    };
    vec![
        operation("KL forward", 8, 0, forward(&full, kl), forward(&full, burns_kl)),
        operation("KL both ways", 20, 8, both_ways(&full, kl), both_ways(&full, burns_kl)),
        operation(
            "KL both ways, float16",
            18,
            6,
            both_ways(&half, kl),
            both_ways(&half, burns_kl),
        ),
        operation(
            "CE and KL both ways",
            20,
            8,
            both_ways(&full, both_losses),
            both_ways(&full, burns_both_losses),
        ),
        operation(
            "MAE both ways",
            20,
            0,
            both_ways(&full, |operands| mae(operands.student, operands.teacher).expect(FIT)),
            both_ways(&full, |operands| (operands.student - operands.teacher).abs().mean()),
        ),
        operation(
            "MSE both ways",
            20,
            0,
            both_ways(&full, |operands| mse(operands.student, operands.teacher).expect(FIT)),
            both_ways(&full, |operands| {
                let difference = operands.student - operands.teacher;
                (difference.clone() * difference).mean()
            }),
        ),
        operation(
            "softmax",
            8,
            4,
            forward(&full, |operands| softmax(operands.student, TEMPERATURE).expect(FIT)),
            forward(&full, |operands| {
                activation::softmax(operands.student.div_scalar(TEMPERATURE), 1)
            }),
        ),
        operation(
            "log softmax",
            8,
            4,
            forward(&full, |operands| log_softmax(operands.student, TEMPERATURE).expect(FIT)),
            forward(&full, |operands| {
                activation::log_softmax(operands.student.div_scalar(TEMPERATURE), 1)
            }),
        ),
        operation(
            "entropy",
            4,
            0,
            forward(&full, |operands| entropy(operands.student, TEMPERATURE).expect(FIT)),
            forward(&full, |operands| {
                let logarithms = activation::log_softmax(operands.student.div_scalar(TEMPERATURE), 1);
                (logarithms.clone().exp() * logarithms).sum_dim(1).neg()
            }),
        ),
    ]
}

/// What is measured of parties: averages of their predictions, `parties x rows x classes`.
pub(crate) fn of_parties(device: &Device, parties: usize, [rows, classes]: [usize; 2]) -> Vec<Operation> {
    let mut operations = Vec::new();
    for (dtype, width, precision) in [(DType::F32, 4, "float32"), (DType::F16, 2, "float16")] {
        let of_one = rows * classes * width;
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
        for (name, averaged) in [("mean", Averaged::Values), ("probability", Averaged::Probabilities)] {
            let stream = Stream {
                parts: parts.clone(),
                parties,
                averaged,
            };
            let burns = stream.clone();
            operations.push(Operation {
                name: format!("{name} of {parties}, {precision}"),
                bytes: parties * of_one + 8 * rows * classes,
                // Rows of predictions are short here.
                bytes_read_twice: None,
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
}

impl Stream {
    fn average(&self) -> Tensor<2> {
        let first = self.parts.first().expect(SOMEBODY);
        let [_, rows, classes] = first.dims();
        let mut sum = Ensemble::new(rows, classes, self.averaged, &first.device()).expect(FIT);
        for part in &self.parts {
            sum.add(part.clone(), &Weights::Equal).expect(FIT);
        }
        sum.finish(Sharpening::None).expect(FIT)
    }

    fn average_by_burn(&self) -> Tensor<3> {
        let sums = self.parts.iter().map(|part| {
            let part = part.clone().cast(DType::F32);
            let part = match self.averaged {
                Averaged::Values => part,
                Averaged::Probabilities => activation::softmax(part, 2),
            };
            part.sum_dim(0)
        });
        let sum = sums.reduce(|sum, part| sum + part).expect(SOMEBODY);
        sum.div_scalar(self.parties as f64)
    }
}
