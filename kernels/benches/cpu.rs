//! The operations on the CPU with criterion, each beside the same in Burn's own operations and beside a copy of memory.
//!
//! ```text
//! cargo bench -p fedstill-kernels --bench cpu [-- KL]
//! ```
//!
//! Throughputs are of the bytes that must move, so that they compare with the copy's. The two largest shapes take minutes and up
//! to some 17 GB of memory: they are measured where `FEDSTILL_LARGE` is set. The threads are those of the pool
//! (`RAYON_NUM_THREADS`). `bench_kernels` prints the same in one table with more forms of each operation, and measures GPUs too.

#[path = "../examples/bench_kernels/operations.rs"]
#[expect(dead_code, reason = "what the table of `bench_kernels` has beside these")]
mod operations;
#[path = "../examples/bench_kernels/parties.rs"]
#[expect(dead_code, reason = "what the table of `bench_kernels` has beside these")]
mod parties;

use burn::tensor::Device;
use criterion::{BenchmarkId, Criterion, Throughput};
use operations::{Operation, SHAPES};
use parties::{ENSEMBLE, PARTIES};
use std::time::Duration;

/// Values of float32 that are copied: more than caches hold.
const COPIED: usize = 1 << 26;

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    let device = Device::flex();
    let copy = operations::copy(COPIED);
    let mut group = criterion.benchmark_group("copy");
    group.throughput(Throughput::BytesDecimal(8 * COPIED as u64));
    group.bench_function("float32", |bencher| bencher.iter(&copy));
    group.finish();
    drop(copy);
    for shape in SHAPES.into_iter().filter(|shape| operations::is_for_cpu(*shape)) {
        measure(&mut criterion, shape, operations::of_rows(&device, shape));
    }
    for count in PARTIES {
        measure(&mut criterion, ENSEMBLE, parties::of_parties(&device, count, ENSEMBLE));
    }
    criterion.final_summary();
}

fn measure(criterion: &mut Criterion, [rows, classes]: [usize; 2], operations: Vec<Operation>) {
    for operation in operations {
        let mut group = criterion.benchmark_group(&operation.name);
        group.throughput(Throughput::BytesDecimal(operation.bytes as u64));
        let shape = format!("{rows}x{classes}");
        group.bench_function(BenchmarkId::new("own", &shape), |bencher| bencher.iter(&operation.own));
        group.bench_function(BenchmarkId::new("Burn", &shape), |bencher| {
            bencher.iter(&operation.burn);
        });
        group.finish();
    }
}
