//! How fast the operations are, beside copying memory and beside the same in Burn's own operations.
//!
//! ```text
//! cargo run --release -p fedstill-kernels --example bench_kernels [--features gpu] [-- [--quick] [cpu | gpu]]
//! ```
//!
//! A line an operation, shape and type: milliseconds; MB that must move once; GB/s of them; their share of a copy's rate on the
//! same device, measured in the same run, a copy moving twice what it copies; on a GPU the same share (`twice`) with what is
//! read a second time counted, where a row's operands exceed the memory of a chip; and how many times as long Burn's own
//! operations take. The line of a GPU says whether these are fused (`--features fusion`). A copy is a kernel that reads and
//! writes each value there, on the CPU one that all threads share.
//!
//! The CPU uses the threads of its pool (`RAYON_NUM_THREADS`), and leaves out the two largest shapes unless `FEDSTILL_LARGE` is
//! set. Where that is set there is an ensemble too whose parties do not fit in 8 GB and stream; not on GPUs in software. Each
//! figure is the fastest of several rounds; a GPU is asked for many launches at a time, and timed by its own clock where it has
//! one, by the machine's otherwise.

#[cfg(feature = "gpu")]
mod copying;
mod operations;

use burn::tensor::Device;
use fedstill_kernels::devices;
use operations::{ENSEMBLE, Operation, PARTIES, Run, SHAPES};
use std::time::Instant;

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
    if found.is_empty() {
        eprintln!(
            "bench_kernels: there is no GPU: build with --features gpu (or vulkan), and install its Vulkan driver"
        );
        std::process::exit(1);
    }
    for (name, device, gpu) in found {
        let mut bench = Bench {
            device,
            gpu,
            copy: 1.0,
            rounds: if quick { 2 } else { 5 },
        };
        let values = if quick { 1 << 22 } else { 1 << 26 };
        #[cfg(feature = "gpu")]
        let copy = if gpu {
            bench.copying(values)
        } else {
            operations::copy(values)
        };
        #[cfg(not(feature = "gpu"))]
        let copy = operations::copy(values);
        let (seconds, clock) = bench.time(&copy);
        bench.copy = 8.0 * values as f64 / seconds;
        let fusion = match (gpu, cfg!(feature = "fusion")) {
            (false, _) => "",
            (true, false) => "; Burn's fusion is off",
            (true, true) => "; Burn's fusion is on",
        };
        println!(
            "\n{name}: a copy moves {:.1} GB/s; times by the {clock}'s clock{fusion}",
            bench.copy / 1e9
        );
        println!(
            "{:>24} {:>9} x {:<7} {:>9} {:>9} {:>9} {:>7} {:>7} {:>7}",
            "", "rows", "classes", "ms", "MB", "GB/s", "copy", "twice", "Burn"
        );
        for shape in SHAPES {
            let [rows, classes] = shape;
            if (quick && rows * classes > 1 << 20) || !(gpu || operations::is_for_cpu(shape)) {
                continue;
            }
            for operation in operations::of_rows(&bench.device, shape) {
                bench.say(&operation, shape);
            }
        }
        for parties in PARTIES {
            let shapes = if quick {
                vec![[500, 10]]
            } else if gpu && is_in_software(&bench.device) {
                vec![ENSEMBLE]
            } else {
                operations::ensembles(parties)
            };
            for shape in shapes {
                for operation in operations::of_parties(&bench.device, parties, shape) {
                    bench.say(&operation, shape);
                }
            }
        }
    }
}

/// Whether a GPU is a driver in software.
fn is_in_software(device: &Device) -> bool {
    #[cfg(feature = "gpu")]
    {
        device.identity().is_none_or(|identity| identity.physical.is_none())
    }
    #[cfg(not(feature = "gpu"))]
    {
        let _ = device;
        false
    }
}

impl Bench {
    /// A copy of so many values in a GPU's memory.
    #[cfg(feature = "gpu")]
    fn copying(&self, values: usize) -> Run {
        let from = operations::logits(&self.device, 1, values, burn::tensor::DType::F32);
        Box::new(move || Box::new(copying::copy(from.clone())))
    }

    fn say(&self, operation: &Operation, [rows, classes]: [usize; 2]) {
        let (seconds, _) = self.time(&operation.own);
        let (burn, _) = self.time(&operation.burn);
        let rate = operation.bytes as f64 / seconds;
        let twice = operation.bytes_read_twice.filter(|_| self.gpu);
        let twice = twice.map_or_else(
            || "-".to_owned(),
            |bytes| format!("{:.2}", bytes as f64 / seconds / self.copy),
        );
        println!(
            "{:>24} {rows:>9} x {classes:<7} {:>9.3} {:>9.1} {:>9.1} {:>7.2} {twice:>7} {:>7.1}",
            operation.name,
            seconds * 1e3,
            operation.bytes as f64 / 1e6,
            rate / 1e9,
            rate / self.copy,
            burn / seconds
        );
    }

    /// The shortest time of a run, in seconds, and whose clock says so.
    fn time(&self, run: &Run) -> (f64, &'static str) {
        // The first one compiles.
        self.once(run, 1);
        let (first, _) = self.once(run, 1);
        // As many at a time as take a tenth of a second, so that a launch's own cost is not counted.
        let count = if self.gpu {
            (0.1 / first).clamp(1.0, 100.0) as usize
        } else {
            1
        };
        let rounds = (0..self.rounds).map(|_| self.once(run, count));
        rounds
            .reduce(|best, round| if round.0 < best.0 { round } else { best })
            .expect("there is a round")
    }

    /// Seconds of a run among so many of them, and whose clock says so.
    #[expect(clippy::disallowed_methods, reason = "a benchmark reads the machine's clock")]
    fn once(&self, run: &Run, count: usize) -> (f64, &'static str) {
        #[cfg(feature = "gpu")]
        if let Some(seconds) = self.on_device(run, count) {
            return (seconds / count as f64, "device");
        }
        let start = Instant::now();
        self.repeat(run, count);
        self.device.sync().expect("the device works");
        (start.elapsed().as_secs_f64() / count as f64, "machine")
    }

    fn repeat(&self, run: &Run, count: usize) {
        for _ in 0..count {
            let kept = run();
            // What is dropped while it waits to be fused with what follows is not computed, and waits for others.
            if self.gpu && cfg!(feature = "fusion") {
                self.device.flush().expect("the device works");
            }
            drop(kept);
        }
    }

    /// Seconds of so many runs by the device's own clock, where it has one: between stamps that it writes itself.
    #[cfg(feature = "gpu")]
    fn on_device(&self, run: &Run, count: usize) -> Option<f64> {
        if !self.gpu {
            return None;
        }
        self.device.sync().expect("the device works");
        let runs = || self.repeat(run, count);
        // With what is still waiting at the end.
        let all = burn::tensor::ProfileOptions::default().flush();
        let ((), window) = self.device.profile_with(all, runs).expect("the device works");
        let by_device = window.timing_method() == cubecl::profile::TimingMethod::Device;
        let ticks = cubecl::future::block_on(window.resolve())?;
        by_device.then(|| ticks.duration().as_secs_f64())
    }
}
