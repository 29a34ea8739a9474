//! How fast the embedded log appends and reads, against a plain file in the same run.
//!
//! ```text
//! cargo run --release -p fedstill-log --example bench_log [folder]
//! ```
//!
//! Both write batches of 4 MiB with one fsync each, then read everything back from the page cache,
//! handing out 1 MiB of owned records at a time. The best of five rounds counts: others use the
//! disk as well. The last part shows group commit: threads that append one record each.

use std::error::Error;
use std::fs::File;
use std::hint::black_box;
use std::io::{BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fedstill_log::{Cleanup, Clock, Embedded, Log, Message, SystemClock};

const BATCH: usize = 4 << 20;
/// What either reads at once.
const READ: usize = 1 << 20;
const ROUNDS: usize = 5;
const TOPIC: &str = "bench";

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let folder = std::env::args_os()
        .nth(1)
        .map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = tempfile::tempdir_in(folder)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    println!(
        "{:>10} {:>8} {:>14} {:>14} {:>7}",
        "record", "", "plain file", "log", "ratio"
    );
    for (bytes, count) in [(1 << 20, 256), (1 << 10, 256 << 10)] {
        let values: Vec<Bytes> = (0..count).map(|i| noise(i, bytes)).collect();
        let mut best = [[Duration::MAX; 2]; 2];
        for round in 0..ROUNDS {
            let path = folder.path().join(format!("{bytes}-{round}"));
            std::fs::create_dir_all(&path)?;
            let rows = [plain(&path, &values, &*clock)?, log(&path, &values, &clock)?];
            for (best, row) in best.iter_mut().flatten().zip(rows.into_iter().flatten()) {
                *best = (*best).min(row);
            }
            std::fs::remove_dir_all(&path)?;
        }
        let [plain, log] = best;
        for (what, plain, log) in [("append", plain[0], log[0]), ("read", plain[1], log[1])] {
            let [plain, log] = [plain, log].map(|took| count as f64 / took.as_secs_f64());
            let show = |rate: f64| {
                if bytes >= 1 << 20 {
                    format!("{:.0} MB/s", rate * bytes as f64 / 1e6)
                } else {
                    format!("{rate:.0} /s")
                }
            };
            let (ratio, plain, log) = (log / plain, show(plain), show(log));
            println!("{bytes:>10} {what:>8} {plain:>14} {log:>14} {ratio:>7.2}");
        }
    }
    group_commit(folder.path(), &clock)
}

/// Bytes that do not compress.
fn noise(seed: usize, bytes: usize) -> Bytes {
    let mut x = seed as u64 * 2_654_435_761 + 1;
    let word = |_| {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x.to_le_bytes()
    };
    (0..bytes / 8).flat_map(word).collect()
}

fn batches(values: &[Bytes]) -> std::slice::Chunks<'_, Bytes> {
    values.chunks((BATCH / values[0].len()).max(1))
}

/// Appends and reads records with a length before each; how long either took.
fn plain(folder: &Path, values: &[Bytes], clock: &dyn Clock) -> Outcome<[Duration; 2]> {
    let path = folder.join("plain");
    let start = clock.monotonic();
    let mut file = File::create(&path)?;
    let mut buffer = Vec::new();
    for batch in batches(values) {
        buffer.clear();
        for value in batch {
            buffer.extend_from_slice(&(value.len() as u32).to_le_bytes());
            buffer.extend_from_slice(value);
        }
        file.write_all(&buffer)?;
        file.sync_data()?;
    }
    let appended = clock.monotonic();
    let mut reader = BufReader::with_capacity(READ, File::open(&path)?);
    for batch in values.chunks((READ / values[0].len()).max(1)) {
        let mut records = Vec::with_capacity(batch.len());
        for _ in batch {
            let mut length = [0; 4];
            reader.read_exact(&mut length)?;
            let mut value = vec![0; u32::from_le_bytes(length) as usize];
            reader.read_exact(&mut value)?;
            records.push(value);
        }
        black_box(&records);
    }
    Ok([
        appended.saturating_sub(start),
        clock.monotonic().saturating_sub(appended),
    ])
}

fn log(folder: &Path, values: &[Bytes], clock: &Arc<dyn Clock>) -> Outcome<[Duration; 2]> {
    let log = Embedded::open(folder.join("log"), Arc::clone(clock))?;
    log.ensure_topic(TOPIC, 1, Cleanup::Delete)?;
    let start = clock.monotonic();
    for batch in batches(values) {
        let messages: Vec<Message> = batch.iter().cloned().map(message).collect();
        log.append(&messages)?;
    }
    let appended = clock.monotonic();
    let mut reader = log.read(TOPIC, 0, 0)?;
    let mut seen = 0;
    while seen < values.len() {
        let records = reader.next(READ)?;
        seen += records.len();
        black_box(&records);
    }
    Ok([
        appended.saturating_sub(start),
        clock.monotonic().saturating_sub(appended),
    ])
}

fn message(value: Bytes) -> Message {
    Message {
        topic: TOPIC.to_owned(),
        partition: 0,
        key: Bytes::from_static(b"key"),
        headers: Vec::new(),
        value,
    }
}

/// Appends of one record each, from one thread and from sixteen.
fn group_commit(folder: &Path, clock: &Arc<dyn Clock>) -> Outcome<()> {
    const EACH: usize = 200;
    let log = Embedded::open(folder.join("group"), Arc::clone(clock))?;
    log.ensure_topic(TOPIC, 1, Cleanup::Delete)?;
    let value = noise(1, 1 << 10);
    for threads in [1, 16] {
        let start = clock.monotonic();
        std::thread::scope(|scope| {
            let write = || (0..EACH).try_for_each(|_| log.append(&[message(value.clone())]).map(drop));
            let threads: Vec<_> = (0..threads).map(|_| scope.spawn(write)).collect();
            threads.into_iter().try_for_each(|thread| match thread.join() {
                Ok(outcome) => outcome,
                Err(panic) => std::panic::resume_unwind(panic),
            })
        })?;
        let rate = (threads * EACH) as f64 / clock.monotonic().saturating_sub(start).as_secs_f64();
        println!("{threads:>3} threads, an fsync before each answer: {rate:.0} appends/s");
    }
    Ok(())
}
