//! How fast the operations are, beside copying memory and beside the same in Burn's own operations.
//!
//! ```text
//! cargo run --release -p fedstill-kernels --example bench_kernels [--features gpu] [-- [OPTION ..] [cpu] [gpu]]
//! ```
//!
//! A line an operation, shape and type: milliseconds; MB that must move once; GB/s of them; their share of a copy's rate on the
//! same device, measured in the same run, a copy moving twice what it copies; on a GPU the same share (`moved`) of all
//! that the kernels move, where that is more: what is read a second time, where a row's operands exceed the memory of a chip, and
//! sums of parties; and how many times as long Burn's own operations take. The line of a GPU says whether these are fused
//! (`--features fusion`). A copy is a kernel that reads and writes each value there, as cubecl offers no copy from buffer to
//! buffer, and on the CPU one that all threads share.
//!
//! `--quick` measures in small, and `--shape ROWSxCLASSES` the operations on rows of that shape alone, whatever its size.
//!
//! A line ends with `*` where all that it reads and writes is smaller than a cache, from which it then comes in part: 50 MB on a
//! GPU (the second level of an H100), the largest that Linux names on a CPU, or what `--cache` says.
//!
//! The CPU uses the threads of its pool (`RAYON_NUM_THREADS`), and leaves out the two largest shapes, ensembles of many classes or
//! that stream, and float16, masks and weights of all but the smallest shape, unless `FEDSTILL_LARGE` is set; so do GPUs in
//! software, but for the shapes of rows. Each figure is the fastest of several rounds; a GPU is asked for many launches at a time,
//! and timed by its own clock where it has one, by the machine's otherwise.

#[cfg(feature = "gpu")]
mod copying;
mod operations;
mod parties;
mod variants;

use burn::tensor::Device;
use fedstill_kernels::devices;
use operations::{Operation, Run, SHAPES};
use parties::PARTIES;
use std::time::Instant;

/// Bytes of the cache of a GPU: the second level of an H100. Devices do not tell theirs.
const GPU_CACHE: usize = 50_000_000;
/// Bytes of the cache of a CPU that does not tell.
const CPU_CACHE: usize = 32_000_000;
const USAGE: &str = "cpu, gpu, --quick, --shape ROWSxCLASSES, --cache MB";

/// What is asked for.
struct Arguments {
    quick: bool,
    cpu: bool,
    gpu: bool,
    /// Rows and classes of the one shape to measure.
    shape: Option<[usize; 2]>,
    /// Bytes of a cache.
    cache: Option<usize>,
}

impl Arguments {
    fn parse(mut given: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut asked = Self {
            quick: false,
            cpu: false,
            gpu: false,
            shape: None,
            cache: None,
        };
        while let Some(argument) = given.next() {
            match argument.as_str() {
                "--quick" => asked.quick = true,
                "cpu" => asked.cpu = true,
                "gpu" => asked.gpu = true,
                "--shape" => {
                    let shape = given.next();
                    let parts = shape.as_deref().and_then(|text| text.split_once('x'));
                    let sizes = parts.and_then(|(rows, classes)| Some([rows.parse().ok()?, classes.parse().ok()?]));
                    let sizes = sizes.filter(|sizes| !sizes.contains(&0));
                    asked.shape = Some(sizes.ok_or("--shape needs rows and classes behind it, as in 2048x131072")?);
                }
                "--cache" => {
                    let megabytes = given.next().and_then(|value| value.parse::<usize>().ok());
                    let megabytes = megabytes.ok_or("--cache needs a number of MB behind it")?;
                    asked.cache = Some(megabytes.saturating_mul(1_000_000));
                }
                _ => return Err(format!("unknown argument '{argument}' ({USAGE})")),
            }
        }
        Ok(asked)
    }
}

/// Bytes of the largest cache of a CPU, where Linux tells it.
fn cache_of_cpu() -> usize {
    let caches = std::fs::read_dir("/sys/devices/system/cpu/cpu0/cache");
    let sizes = caches.into_iter().flatten().flatten().filter_map(|cache| {
        let size = std::fs::read_to_string(cache.path().join("size")).ok()?;
        let kibibytes: usize = size.trim().strip_suffix('K')?.parse().ok()?;
        Some(kibibytes << 10)
    });
    sizes.max().unwrap_or(CPU_CACHE)
}

fn fail(why: &str, code: i32) -> ! {
    eprintln!("bench_kernels: {why}");
    std::process::exit(code)
}

struct Bench {
    device: Device,
    gpu: bool,
    /// Bytes a second of a copy.
    copy: f64,
    rounds: usize,
    /// Bytes that may stay in a cache.
    cache: usize,
}

fn main() {
    let asked = match Arguments::parse(std::env::args().skip(1)) {
        Ok(asked) => asked,
        Err(why) => fail(&why, 2),
    };
    let quick = asked.quick;
    let mut found = Vec::new();
    // Neither asked for is both, as far as they are there.
    if asked.cpu || !asked.gpu {
        found.push(("cpu".to_owned(), Device::flex(), false));
    }
    if asked.gpu || !asked.cpu {
        let gpus = devices();
        if asked.gpu && gpus.is_empty() {
            fail(
                "there is no GPU: build with --features gpu (or vulkan), and install its Vulkan driver",
                1,
            );
        }
        found.extend(gpus.into_iter().map(|found| (found.name, found.device, true)));
    }
    for (name, device, gpu) in found {
        let mut bench = Bench {
            gpu,
            copy: 1.0,
            rounds: if quick { 2 } else { 5 },
            cache: asked
                .cache
                .unwrap_or_else(|| if gpu { GPU_CACHE } else { cache_of_cpu() }),
            device,
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
            "\n{name}: a copy{} moves {:.1} GB/s; times by the {clock}'s clock{fusion}; * is of less than the {:.1} MB of a cache",
            if gpu { " by a kernel" } else { "" },
            bench.copy / 1e9,
            bench.cache as f64 / 1e6
        );
        println!(
            "{:>28} {:>9} x {:<7} {:>9} {:>9} {:>9} {:>7} {:>7} {:>7}",
            "", "rows", "classes", "ms", "MB", "GB/s", "copy", "moved", "Burn"
        );
        // A GPU measures everything; a driver in software is a CPU.
        let fast = gpu && !is_in_software(&bench.device);
        if let Some(shape) = asked.shape {
            for operation in operations::of_rows(&bench.device, shape) {
                bench.say(&operation, shape);
            }
            continue;
        }
        for shape in SHAPES {
            let [rows, classes] = shape;
            if (quick && rows * classes > 1 << 20) || !(gpu || operations::is_for_cpu(shape)) {
                continue;
            }
            for operation in operations::of_rows(&bench.device, shape) {
                bench.say(&operation, shape);
            }
            if fast || operations::are_variants_for_cpu(shape) {
                for operation in variants::of_rows(&bench.device, shape) {
                    bench.say(&operation, shape);
                }
            }
        }
        for count in PARTIES {
            let shapes = if quick {
                vec![[500, 10]]
            } else {
                parties::ensembles(count, fast || (!gpu && operations::large()))
            };
            for shape in shapes {
                for operation in parties::of_parties(&bench.device, count, shape) {
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
        let moved = operation.bytes_moved.filter(|_| self.gpu);
        let moved = moved.map_or_else(
            || "-".to_owned(),
            |bytes| format!("{:.2}", bytes as f64 / seconds / self.copy),
        );
        let mark = if operation.data < self.cache { " *" } else { "" };
        println!(
            "{:>28} {rows:>9} x {classes:<7} {:>9.3} {:>9.1} {:>9.1} {:>7.2} {moved:>7} {:>7.1}{mark}",
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
