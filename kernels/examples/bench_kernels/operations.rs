//! The operations on rows that are measured, the same in Burn's own operations, and the bytes that must move: what
//! `bench_kernels` and the benchmark with criterion share.

use burn::tensor::activation;
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use fedstill_kernels::{Kl, Reduction, Teacher, cross_entropy_kl, entropy, log_softmax, mae, mse, softmax, softmax_kl};
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

/// Values from which a CPU measures a shape only where `FEDSTILL_LARGE` is set: Burn's operations then hold up to sixteen tensors
/// of a gigabyte, and take seconds.
const LARGE: usize = 1 << 27;
/// Values up to which a CPU measures all variants of an operation without being asked for them.
const SMALL: usize = 1 << 20;
/// Bytes of a row's operands up to which a GPU can keep them between its two looks at the row: the shared memory of a
/// multiprocessor of an H100, the largest there is.
pub(crate) const ON_CHIP: usize = 228 << 10;
pub(crate) const FIT: &str = "operands that fit";
pub(crate) const TEMPERATURE: f64 = 2.0;
pub(crate) const KL: Kl = Kl {
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
    /// What the kernels of a GPU move, where that is known to be more: a row's operands that are read for its statistics and again
    /// for what is written, and do not stay on the chip in between; sums of parties.
    pub(crate) bytes_moved: Option<usize>,
    /// Bytes of all inputs and outputs together, however often they are read and written.
    pub(crate) data: usize,
    pub(crate) own: Run,
    /// The same in Burn's own operations.
    pub(crate) burn: Run,
}

/// Whether what takes much memory and time is asked for.
pub(crate) fn large() -> bool {
    std::env::var_os("FEDSTILL_LARGE").is_some()
}

/// Whether a CPU measures rows of so many classes.
pub(crate) fn is_for_cpu([rows, classes]: [usize; 2]) -> bool {
    rows * classes < LARGE || large()
}

/// Whether a CPU measures all variants of the operations on rows of so many classes.
pub(crate) fn are_variants_for_cpu([rows, classes]: [usize; 2]) -> bool {
    rows * classes <= SMALL || large()
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
pub(crate) struct Operands {
    pub(crate) student: Tensor<2>,
    pub(crate) teacher: Tensor<2>,
    pub(crate) labels: Tensor<1, Int>,
}

impl Operands {
    /// For so many rows and classes, in float32.
    pub(crate) fn new(device: &Device, [rows, classes]: [usize; 2]) -> Self {
        let student = logits(device, rows, classes, DType::F32);
        Self {
            teacher: student.clone().mul_scalar(-0.5),
            labels: Tensor::zeros([rows], device),
            student,
        }
    }

    /// With the teacher in float16.
    pub(crate) fn half(&self) -> Self {
        Self {
            teacher: self.teacher.clone().cast(DType::F16),
            ..self.clone()
        }
    }
}

/// Bytes of an operation on rows, a value of theirs.
#[derive(Clone, Copy)]
pub(crate) struct Bytes {
    /// That must move.
    pub(crate) moved: usize,
    /// Of all inputs and outputs together.
    pub(crate) data: usize,
    /// That are read for a row's statistics and again for what is written.
    pub(crate) again: usize,
}

impl Bytes {
    /// Of what reads and writes its data once.
    pub(crate) fn once(data: usize, again: usize) -> Self {
        Self {
            moved: data,
            data,
            again,
        }
    }

    /// Of what goes over its gradient of float32 again, which is read and written.
    pub(crate) fn and_gradient(data: usize, again: usize) -> Self {
        Self {
            moved: data + 8,
            data,
            again,
        }
    }
}

/// An operation on `rows x classes` values.
pub(crate) fn on_rows(name: &str, [rows, classes]: [usize; 2], bytes: Bytes, own: Run, burn: Run) -> Operation {
    let values = rows * classes;
    let twice = bytes.again * classes > ON_CHIP;
    Operation {
        name: name.to_owned(),
        bytes: bytes.moved * values,
        bytes_moved: twice.then_some((bytes.moved + bytes.again) * values),
        data: bytes.data * values,
        own,
        burn,
    }
}

/// What an operation makes of operands.
pub(crate) type Makes<T> = fn(Operands) -> T;

pub(crate) fn forward<T: Send + 'static>(operands: &Operands, makes: Makes<T>) -> Run {
    let operands = operands.clone();
    Box::new(move || Box::new(makes(operands.clone())))
}

/// The loss, and its gradient with respect to the student's logits.
pub(crate) fn both_ways(operands: &Operands, loss: Makes<Tensor<1>>) -> Run {
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

pub(crate) fn kl(operands: Operands) -> Tensor<1> {
    softmax_kl(operands.student, operands.teacher, KL, None, None).expect(FIT)
}

pub(crate) fn burns_kl(operands: Operands) -> Tensor<1> {
    let p = activation::log_softmax(operands.teacher.cast(DType::F32).div_scalar(TEMPERATURE), 1);
    let q = activation::log_softmax(operands.student.div_scalar(TEMPERATURE), 1);
    (p.clone().exp() * (p - q)).sum_dim(1).mean()
}

pub(crate) fn both_losses(operands: Operands) -> Tensor<1> {
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

pub(crate) fn burns_both_losses(operands: Operands) -> Tensor<1> {
    (burns_kl(operands.clone()) + burns_cross_entropy(operands)).mul_scalar(0.5)
}

pub(crate) fn burns_cross_entropy(operands: Operands) -> Tensor<1> {
    let rows = operands.labels.dims()[0];
    let labels: Tensor<2, Int> = operands.labels.reshape([rows, 1]);
    let chosen = activation::log_softmax(operands.student, 1).gather(1, labels);
    chosen.mean().neg()
}

pub(crate) fn absolute(operands: Operands) -> Tensor<1> {
    mae(operands.student, operands.teacher).expect(FIT)
}

pub(crate) fn burns_absolute(operands: Operands) -> Tensor<1> {
    (operands.student - operands.teacher.cast(DType::F32)).abs().mean()
}

pub(crate) fn squared(operands: Operands) -> Tensor<1> {
    mse(operands.student, operands.teacher).expect(FIT)
}

pub(crate) fn burns_squared(operands: Operands) -> Tensor<1> {
    let difference = operands.student - operands.teacher.cast(DType::F32);
    (difference.clone() * difference).mean()
}

pub(crate) fn burns_entropy(logits: Tensor<2>) -> Tensor<2> {
    let logarithms = activation::log_softmax(logits.div_scalar(TEMPERATURE), 1);
    (logarithms.clone().exp() * logarithms).sum_dim(1).neg()
}

/// What is measured of rows: `rows x classes`.
pub(crate) fn of_rows(device: &Device, shape: [usize; 2]) -> Vec<Operation> {
    let full = Operands::new(device, shape);
    let half = full.half();
    let operation = |name, bytes, own, burn| on_rows(name, shape, bytes, own, burn);
    vec![
        operation(
            "KL forward",
            Bytes::once(8, 0),
            forward(&full, kl),
            forward(&full, burns_kl),
        ),
        operation(
            "KL both ways",
            Bytes::and_gradient(12, 8),
            both_ways(&full, kl),
            both_ways(&full, burns_kl),
        ),
        operation(
            "KL both ways, float16",
            Bytes::and_gradient(10, 6),
            both_ways(&half, kl),
            both_ways(&half, burns_kl),
        ),
        operation(
            "CE and KL both ways",
            Bytes::and_gradient(12, 8),
            both_ways(&full, both_losses),
            both_ways(&full, burns_both_losses),
        ),
        operation(
            "MAE both ways",
            Bytes::and_gradient(12, 0),
            both_ways(&full, absolute),
            both_ways(&full, burns_absolute),
        ),
        operation(
            "MSE both ways",
            Bytes::and_gradient(12, 0),
            both_ways(&full, squared),
            both_ways(&full, burns_squared),
        ),
        operation(
            "softmax",
            Bytes::once(8, 4),
            forward(&full, |operands| softmax(operands.student, TEMPERATURE).expect(FIT)),
            forward(&full, |operands| {
                activation::softmax(operands.student.div_scalar(TEMPERATURE), 1)
            }),
        ),
        operation(
            "log softmax",
            Bytes::once(8, 4),
            forward(&full, |operands| log_softmax(operands.student, TEMPERATURE).expect(FIT)),
            forward(&full, |operands| {
                activation::log_softmax(operands.student.div_scalar(TEMPERATURE), 1)
            }),
        ),
        operation(
            "entropy",
            Bytes::once(4, 0),
            forward(&full, |operands| entropy(operands.student, TEMPERATURE).expect(FIT)),
            forward(&full, |operands| burns_entropy(operands.student)),
        ),
    ]
}
