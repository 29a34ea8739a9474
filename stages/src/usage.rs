//! What a task costs: wall time by the log's clock, processor time of its thread, peak memory of the process.

use fedstill_schemas::events::Usage;
use rustix::time::{ClockId, clock_gettime};

/// Running costs of a task. The whole task runs on the thread that starts the meter.
#[derive(Debug)]
pub(crate) struct Meter {
    started_ms: i64,
    cpu_seconds: f64,
}

impl Meter {
    /// Starts at `now_ms` of the log's clock.
    pub(crate) fn start(now_ms: i64) -> Self {
        Self {
            started_ms: now_ms,
            cpu_seconds: thread_cpu_seconds(),
        }
    }

    /// What it cost until `now_ms`, without what only the caller knows.
    pub(crate) fn stop(&self, queued_ms: i64, now_ms: i64) -> Usage {
        Usage {
            queued_ms,
            started_ms: self.started_ms,
            ended_ms: now_ms,
            cpu_seconds: thread_cpu_seconds() - self.cpu_seconds,
            peak_memory: peak_memory(),
            ..Usage::default()
        }
    }
}

fn thread_cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

/// Peak resident memory of this process in bytes; 0 where the system does not tell.
pub fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}
