//! How fast `aggregate` takes predictions from the log, against reading the same records and doing nothing.
//!
//! ```text
//! cargo run --release -p fedstill-stages --example bench_aggregate [--quick] [folder]
//! ```
//!
//! 1,000 parties have predicted 5,000 rows of 10 classes in float16; their records are in an embedded log on disk, their
//! results in a store. `aggregate` is the time of the tasks of all partitions until their consensus is known: reading what
//! a task names, reading and checking its records, summing, dividing. `whole task` is what a worker waits for: also
//! putting the consensus, with fsync, and reading it back to publish it. All read from the page cache, in turns; reading
//! uses one thread, as it does inside `aggregate`, where another sums beside it.

mod round;

use fedstill_log::{Clock, Embedded, Log, SystemClock};
use fedstill_schemas::names;
use fedstill_stages::federation::PARTITIONS;
use round::{Bench, CLASSES, Outcome, ROWS};
use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Arc;

/// What is read at once without summing; `aggregate` reads as much.
const READ: usize = 1 << 20;
const REPEATS: usize = 5;

fn main() -> Outcome<()> {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let folder = arguments.iter().find(|argument| *argument != "--quick");
    let folder = tempfile::tempdir_in(folder.map_or_else(std::env::temp_dir, PathBuf::from))?;
    let parties = if quick { 100 } else { 1000 };

    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let log: Arc<dyn Log> = Arc::new(Embedded::open(folder.path().join("log"), Arc::clone(&clock))?);
    let bench = Bench::prepare(folder.path(), log, parties, clock)?;
    println!(
        "{parties} parties x {ROWS} rows x {CLASSES} classes in float16, {:.0} MB of records",
        bench.bytes as f64 / 1e6
    );
    println!(
        "{:>8} {:>12} {:>12} {:>12} {:>7} {:>7}",
        "", "read", "aggregate", "whole task", "ratio", "whole"
    );
    let mut rows = Vec::new();
    for repeat in 1..=REPEATS {
        let read = read(&bench)?;
        let (computed, whole) = bench.aggregate()?;
        let row = [read, computed, whole, computed / read, whole / read];
        show(&repeat.to_string(), &row);
        rows.push(row);
    }
    let median = std::array::from_fn(|column| {
        let mut values: Vec<f64> = rows.iter().map(|row| row[column]).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    });
    show("median", &median);
    println!("the ratio of aggregate to read should be at least 0.33");
    Ok(())
}

fn show(name: &str, [read, computed, whole, ratio, whole_ratio]: &[f64; 5]) {
    println!("{name:>8} {read:>7.0} MB/s {computed:>7.0} MB/s {whole:>7.0} MB/s {ratio:>7.2} {whole_ratio:>7.2}");
}

/// Reads every record of every partition; MB/s.
fn read(bench: &Bench) -> Outcome<f64> {
    let start = bench.clock.monotonic();
    for partition in 0..PARTITIONS {
        let end = bench.log.offsets(names::LOGITS, partition)?.end;
        let mut reader = bench.log.read(names::LOGITS, partition, 0)?;
        let mut position = 0;
        while position < end {
            let records = reader.next(READ)?;
            position = records.last().map_or(end, |record| record.offset + 1);
            black_box(&records);
        }
    }
    Ok(bench.rate(bench.clock.monotonic().saturating_sub(start)))
}
