//! How fast the operations are, beside copying memory and beside the same in Burn's own operations.
//!
//! ```text
//! cargo run --release -p fedstill-kernels --example bench_kernels [--features gpu] [-- [--quick] [cpu | gpu]]
//! ```
//!
//! A line an operation, shape and type: milliseconds; the bytes that must move once; GB/s of them; their share of a copy's rate on the same device, measured in the
//! same run, a copy moving twice what it copies; and where Burn has the operations, how many times as long they take. The CPU
//! uses the threads of its pool (`RAYON_NUM_THREADS`). Each figure is the fastest of several rounds; a GPU is asked for many
//! launches at a time and waited for once.

use burn::tensor::activation::log_softmax;
use burn::tensor::{DType, Device, Tensor, TensorData};
use fedstill_kernels::{
    Averaged, Kl, Sharpening, Weights, cross_entropy_kl, devices, ensemble, entropy, mae, softmax, softmax_kl,
};
use half::f16;
use std::time::Instant;

const SHAPES: [[usize; 2]; 6] = [
    [65_536, 10],
    [65_536, 100],
    [2_097_152, 100],
    [16_384, 1_000],
    [4_096, 32_000],
    [2_048, 131_072],
];
/// Parties of ensembles, and rows and classes of each prediction.
const PARTIES: [usize; 3] = [10, 100, 1_000];
const ENSEMBLE: [usize; 2] = [5_000, 100];
/// Bytes that all tensors of an operation together may take.
const MOST: usize = 8 << 30;

struct Bench {
    device: Device,
    gpu: bool,
    /// Bytes a second of a copy.
    copy: f64,
    rounds: usize,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |name: &str| arguments.iter().any(|argument| argument == name);
    let quick = has("--quick");
    let mut found = Vec::new();
    if !has("gpu") {
        found.push(("cpu".to_owned(), Device::flex(), false));
    }
    if !has("cpu") {
        found.extend(devices().into_iter().map(|found| (found.name, found.device, true)));
    }
    for (name, device, gpu) in found {
        let mut bench = Bench {
            device,
            gpu,
            copy: 1.0,
            rounds: if quick { 2 } else { 5 },
        };
        bench.copy = bench.copied(if quick { 1 << 22 } else { 1 << 26 });
        println!("\n{name}: a copy moves {:.1} GB/s", bench.copy / 1e9);
        println!(
            "{:>24} {:>9} x {:<7} {:>9} {:>9} {:>7} {:>7}",
            "", "rows", "classes", "ms", "GB/s", "copy", "Burn"
        );
        for [rows, classes] in SHAPES {
            let values = rows * classes;
            if (quick && values > 1 << 20) || (!gpu && values > 1 << 27) {
                continue;
            }
            bench.losses(rows, classes);
        }
        for parties in PARTIES {
            let [rows, classes] = if quick { [500, 10] } else { ENSEMBLE };
            bench.ensembles(parties, rows, classes);
        }
    }
}

impl Bench {
    /// The shortest time of a run, in seconds.
    #[expect(clippy::disallowed_methods, reason = "a benchmark reads the machine's clock")]
    fn time<T>(&self, mut run: impl FnMut() -> T) -> f64 {
        let mut once = |count: usize| {
            let start = Instant::now();
            for _ in 0..count {
                std::hint::black_box(run());
            }
            self.device.sync().expect("the device works");
            start.elapsed().as_secs_f64() / count as f64
        };
        // The first one compiles.
        once(1);
        let first = once(1);
        // As many at a time as take a tenth of a second, so that a launch's own cost is not counted.
        let count = if self.gpu {
            (0.1 / first).clamp(1.0, 100.0) as usize
        } else {
            1
        };
        (0..self.rounds).map(|_| once(count)).fold(f64::INFINITY, f64::min)
    }

    /// Bytes a second that a copy of so many values moves, both ways together.
    fn copied(&self, values: usize) -> f64 {
        if !self.gpu {
            // By all threads, as the operations: half of them would not fill the memory's lanes.
            use rayon::iter::{IndexedParallelIterator, ParallelIterator};
            use rayon::slice::{ParallelSlice, ParallelSliceMut};
            let (from, mut to) = (vec![1.0_f32; values], vec![0.0_f32; values]);
            let seconds = self.time(|| {
                let parts = to.par_chunks_mut(1 << 16).zip(from.par_chunks(1 << 16));
                parts.for_each(|(to, from)| to.copy_from_slice(from));
            });
            return 8.0 * values as f64 / seconds;
        }
        let from = self.logits(1, values, DType::F32);
        // The other tensor is held, so that it is not done in place.
        8.0 * values as f64 / self.time(|| from.clone().mul_scalar(1.000_1))
    }

    /// Logits of a spread that follows from their place.
    fn logits(&self, rows: usize, classes: usize, dtype: DType) -> Tensor<2> {
        let value = |i: usize| ((i * 7919 + i / classes) % 10_007) as f32 / 1000.0 - 5.0;
        if dtype == DType::F16 {
            let values: Vec<f16> = (0..rows * classes).map(|i| f16::from_f32(value(i))).collect();
            Tensor::from_data(TensorData::new(values, [rows, classes]), (&self.device, dtype))
        } else {
            let values: Vec<f32> = (0..rows * classes).map(value).collect();
            Tensor::from_data(TensorData::new(values, [rows, classes]), (&self.device, dtype))
        }
    }

    fn say(&self, what: &str, dims: [usize; 2], bytes: f64, seconds: f64, burn: Option<f64>) {
        let rate = bytes / seconds;
        let burn = burn.map_or_else(|| "-".to_owned(), |burn| format!("{:.1}", burn / seconds));
        println!(
            "{what:>24} {:>9} x {:<7} {:>9.3} {:>9.1} {:>7.2} {burn:>7}",
            dims[0],
            dims[1],
            seconds * 1e3,
            rate / 1e9,
            rate / self.copy
        );
    }

    fn losses(&self, rows: usize, classes: usize) {
        let (dims, values) = ([rows, classes], (rows * classes) as f64);
        let student = self.logits(rows, classes, DType::F32);
        let teacher = student.clone().mul_scalar(-0.5);
        let kl = Kl {
            temperature: 2.0,
            ..Kl::default()
        };
        let by_burn = |student: Tensor<2>, teacher: Tensor<2>| {
            let p = log_softmax(teacher.div_scalar(2.0), 1);
            let q = log_softmax(student.div_scalar(2.0), 1);
            (p.clone().exp() * (p - q)).sum_dim(1).mean()
        };
        let own = |student: Tensor<2>, teacher: Tensor<2>| {
            softmax_kl(student, teacher, kl, None, None).expect("operands that fit")
        };
        let forward = self.time(|| own(student.clone(), teacher.clone()));
        let burn = self.time(|| by_burn(student.clone(), teacher.clone()));
        self.say("KL forward", dims, 8.0 * values, forward, Some(burn));
        let both = |loss: &dyn Fn(Tensor<2>, Tensor<2>) -> Tensor<1>, teacher: &Tensor<2>| {
            let student = student.clone().autodiff().require_grad();
            let mut gradients = loss(student.clone(), teacher.clone()).backward();
            student.grad_remove(&mut gradients)
        };
        let burn = self.time(|| both(&by_burn, &teacher));
        self.say(
            "KL both ways",
            dims,
            20.0 * values,
            self.time(|| both(&own, &teacher)),
            Some(burn),
        );
        let half = teacher.clone().cast(DType::F16);
        self.say(
            "KL both ways, float16",
            dims,
            18.0 * values,
            self.time(|| both(&own, &half)),
            None,
        );
        let labels = Tensor::zeros([rows], &self.device);
        let sum = |student: Tensor<2>, teacher: Tensor<2>| {
            cross_entropy_kl(student, labels.clone(), teacher, kl, [0.5, 0.5], false).expect("operands that fit")
        };
        self.say(
            "CE and KL both ways",
            dims,
            20.0 * values,
            self.time(|| both(&sum, &teacher)),
            None,
        );
        let distance = |student: Tensor<2>, teacher: Tensor<2>| mae(student, teacher).expect("operands that fit");
        let by_burn = |student: Tensor<2>, teacher: Tensor<2>| (student - teacher).abs().mean();
        let burn = self.time(|| both(&by_burn, &teacher));
        self.say(
            "MAE both ways",
            dims,
            20.0 * values,
            self.time(|| both(&distance, &teacher)),
            Some(burn),
        );
        let burn = self.time(|| burn::tensor::activation::softmax(student.clone().div_scalar(2.0), 1));
        self.say(
            "softmax",
            dims,
            8.0 * values,
            self.time(|| softmax(student.clone(), 2.0).expect("operands that fit")),
            Some(burn),
        );
        self.say(
            "entropy",
            dims,
            4.0 * values,
            self.time(|| entropy(student.clone(), 2.0).expect("operands that fit")),
            None,
        );
    }

    fn ensembles(&self, parties: usize, rows: usize, classes: usize) {
        let values = parties * rows * classes;
        for (dtype, width) in [(DType::F32, 4), (DType::F16, 2)] {
            if values * width > MOST {
                continue;
            }
            let predictions: Tensor<3> = self
                .logits(parties * rows, classes, dtype)
                .reshape([parties, rows, classes]);
            for (name, averaged) in [("mean", Averaged::Values), ("probability", Averaged::Probabilities)] {
                let run = || {
                    ensemble(predictions.clone(), &Weights::Equal, averaged, Sharpening::None)
                        .expect("operands that fit")
                };
                let bytes = (values * width + 8 * rows * classes) as f64;
                let name = format!(
                    "{name} of {parties}, {}",
                    if width == 4 { "float32" } else { "float16" }
                );
                self.say(&name, [rows, classes], bytes, self.time(run), None);
            }
        }
    }
}
