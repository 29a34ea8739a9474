//! What a whole run costs beyond its arithmetic: threads that idle although a task is ready, and memory.
//!
//! ```text
//! cargo run --release -p fedstill --example bench_runs [--quick] [fedstill]
//! ```
//!
//! Runs the built command (by default `target/release/fedstill`) on the quickstart without its baselines, on one compute
//! thread and on two, then on 10 and on 200 parties of `mlp[32]`. Run files and what they make lie in a temporary folder.
//! Idle time comes from the table `steps`, peak memory from `/proc` (nothing is shown where there is none).

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use fedstill_log::{Clock, SystemClock};
use fedstill_schemas::names;
use fedstill_schemas::results;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::error::Error;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

const QUICKSTART: &str = include_str!("quickstart.toml");
/// Name and pipeline of its run.
const RUN: (&str, &str) = ("quickstart", "fedmd");
/// How often a running command's memory is looked at; the figure itself is the system's peak.
const LOOK: Duration = Duration::from_millis(5);

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let command = arguments.iter().find(|argument| *argument != "--quick");
    let folder = tempfile::tempdir()?;
    let bench = Bench {
        command: command.map_or_else(|| PathBuf::from("target/release/fedstill"), PathBuf::from),
        folder: folder.path(),
        clock: SystemClock::new(),
    };
    let rounds = if quick { 1 } else { 5 };
    let quickstart = quickstart(rounds, quick)?;
    let one = bench.run("one-thread", &quickstart, 1)?;
    let two = bench.run("two-threads", &quickstart, 2)?;
    let idle = Idle::of(&spans(&two.out, rounds)?, 2);
    println!("quickstart, {rounds} rounds, no baselines");
    println!(
        "{:>5.2}    times as fast on 2 threads as on 1  (at least 1.7)",
        one.seconds / two.seconds
    );
    println!(
        "{:>5.2} %  of the wall time idle while a task is ready, both threads together  (at most 5)",
        100.0 * idle.ready / idle.wall
    );
    println!(
        "{:>5.2} %  of the wall time idle while none is ready, both threads together",
        100.0 * idle.empty / idle.wall
    );
    println!("{:>5.0} MiB peak memory on 1 thread", mebibytes(one.memory));
    println!(
        "{:>5.0} MiB peak memory on 2 threads  (under 400)",
        mebibytes(two.memory)
    );

    let few = bench.run("parties-10", &small(10)?, 2)?;
    let many = bench.run("parties-200", &small(200)?, 2)?;
    println!("mlp[32], 1 round");
    println!("{:>5.0} MiB peak memory with 10 parties", mebibytes(few.memory));
    println!("{:>5.0} MiB peak memory with 200 parties", mebibytes(many.memory));
    println!(
        "{:>5.0} MiB more with 200 than with 10  (at most 100)",
        mebibytes(many.memory) - mebibytes(few.memory)
    );
    Ok(())
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// The quickstart without baselines, and with a tenth of the rows and fewer epochs where it is only tried.
fn quickstart(rounds: u32, quick: bool) -> Outcome<String> {
    let data = format!("{}/", data()?);
    let mut changed = String::new();
    for line in QUICKSTART.lines() {
        let key = line.split_once('=').map_or("", |(key, _)| key.trim());
        let line = match key {
            "baselines" => continue,
            "rounds" => format!("rounds = {rounds}"),
            "epochs" if quick => "epochs = 1".to_owned(),
            "private" | "public" if quick => line.replace("data/", &data).replace("000 }", "00 }"),
            _ => line.replace("data/", &data),
        };
        changed.push_str(&line);
        changed.push('\n');
    }
    Ok(changed)
}

/// The folder of the examples' data.
fn data() -> Outcome<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data");
    let text = folder.to_str().ok_or("the folder of the data is no UTF-8")?;
    Ok(text.replace('\\', "/"))
}

/// As little work as possible for so many parties: the same data, divided more finely.
fn small(parties: u32) -> Outcome<String> {
    let data = data()?;
    Ok(format!(
        r#"
name     = "{name}"
pipeline = "{pipeline}"
rounds   = 1
seeds    = [0]

[data]
private   = {{ url = "{data}/letters.parquet", rows = 1000 }}
public    = {{ url = "{data}/mnist.parquet", rows = 1000 }}
test      = {{ url = "{data}/letters-test.parquet" }}
labels    = "union"
partition = {{ kind = "iid" }}

[parties]
count         = {parties}
architectures = ["mlp[32]"]

[steps]
pretrain = {{ epochs = 1, batch = 32, stop = false }}
transfer = {{ epochs = 1, batch = 32, stop = false }}
digest   = {{ epochs = 1, batch = 128 }}
revisit  = {{ epochs = 1, batch = 32 }}
"#,
        name = RUN.0,
        pipeline = RUN.1,
    ))
}

struct Bench<'a> {
    command: PathBuf,
    folder: &'a Path,
    clock: SystemClock,
}

/// A run that has ended.
struct Ended {
    out: PathBuf,
    seconds: f64,
    /// Peak resident memory in bytes.
    memory: u64,
}

impl Bench<'_> {
    /// Runs a run file to its end in a new folder.
    fn run(&self, name: &str, text: &str, threads: u32) -> Outcome<Ended> {
        let file = self.folder.join(format!("{name}.toml"));
        std::fs::write(&file, text)?;
        let out = self.folder.join(name);
        let errors = self.folder.join(format!("{name}.log"));
        let start = self.clock.monotonic();
        let mut child = Command::new(&self.command)
            .arg("run")
            .arg(&file)
            .arg("--out")
            .arg(&out)
            .args(["--threads", &threads.to_string()])
            .stdout(Stdio::null())
            .stderr(File::create(&errors)?)
            .spawn()
            .map_err(|error| format!("cannot start {}: {error}; build it first", self.command.display()))?;
        let mut memory = 0;
        let status = loop {
            memory = peak_memory(child.id()).unwrap_or(memory);
            if let Some(status) = child.try_wait()? {
                break status;
            }
            std::thread::sleep(LOOK);
        };
        let seconds = self.clock.monotonic().saturating_sub(start).as_secs_f64();
        if !status.success() {
            let said = std::fs::read_to_string(&errors)?;
            return Err(format!("the run '{name}' ended with {status}:\n{said}").into());
        }
        Ok(Ended { out, seconds, memory })
    }
}

/// Peak resident memory of a process in bytes; `None` once it has ended.
fn peak_memory(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kilobytes * 1024)
}

/// When a task was published, begun and done, in milliseconds.
#[derive(Clone, Copy)]
struct Span {
    queued: i64,
    started: i64,
    ended: i64,
}

/// All tasks of a run that its table `steps` has: all but the archives, while which nothing else is ready.
fn spans(out: &Path, rounds: u32) -> Outcome<Vec<Span>> {
    let run = names::run_id(RUN.0, RUN.1, 0);
    let mut spans = Vec::new();
    for round in 0..=rounds {
        let path = out
            .join("results")
            .join(names::result_file(results::STEPS, &run, round));
        for batch in ParquetRecordBatchReaderBuilder::try_new(File::open(path)?)?.build()? {
            let batch = batch?;
            let column = |name: &str| {
                let found = batch.column_by_name(name);
                let values = found.and_then(|column| column.as_primitive_opt::<Int64Type>());
                values.ok_or_else(|| format!("the table has no column '{name}' of milliseconds"))
            };
            let (queued, started, ended) = (column("queued_ms")?, column("started_ms")?, column("ended_ms")?);
            spans.extend((0..batch.num_rows()).map(|row| Span {
                queued: queued.value(row),
                started: started.value(row),
                ended: ended.value(row),
            }));
        }
    }
    Ok(spans)
}

/// Thread time that nothing was done in, in milliseconds.
#[derive(Debug, Default)]
struct Idle {
    /// From the first task's publication to the last one's end.
    wall: f64,
    /// While a task was published and not begun.
    ready: f64,
    /// While there was none.
    empty: f64,
}

impl Idle {
    fn of(spans: &[Span], threads: i64) -> Self {
        // What changes at an instant: tasks that are ready, and tasks that run.
        let mut changes: Vec<(i64, i64, i64)> = spans
            .iter()
            .flat_map(|span| {
                let (queued, ended) = (span.queued.min(span.started), span.ended.max(span.started));
                [(queued, 1, 0), (span.started, -1, 1), (ended, 0, -1)]
            })
            .collect();
        changes.sort_unstable();
        let mut idle = Self::default();
        let (mut ready, mut running) = (0, 0);
        for pair in changes.windows(2) {
            let [(now, more_ready, more_running), (next, ..)] = pair else {
                continue;
            };
            ready += more_ready;
            running += more_running;
            let lasts = (next - now) as f64;
            let free = (threads - running).max(0);
            idle.wall += lasts;
            idle.ready += free.min(ready) as f64 * lasts;
            idle.empty += (free - free.min(ready)) as f64 * lasts;
        }
        idle
    }
}
