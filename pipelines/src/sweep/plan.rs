//! What a sweep would do: its points, and what the runs that are not finished will take.

use super::runs::Missing;
use super::{Point, Side, repeats};
use crate::estimate::{self, Rates, counted};
use fedstill_learner::Registry;
use fedstill_log::Clock;
use std::fmt::Write;
use std::num::NonZeroUsize;
use std::path::Path;

/// A line a point: its name and its values.
pub(crate) fn list(points: &[Point]) -> String {
    let name = |point: &Point| point.resolved.file.name.len();
    let widest = points.iter().map(name).max().unwrap_or(0);
    let mut text = String::new();
    for Point { values, resolved } in points {
        let line = format!("{:<widest$}  {values}", resolved.file.name);
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

/// How many points and runs there are, and what is left: time by a short trial of each network, disk space, and runs that
/// could be done without. `file` and `out` are the sweep file and the folder of its runs.
pub(crate) fn plan(
    points: &[Point],
    missing: &[Missing<'_>],
    side: Side,
    registry: &Registry,
    clock: &dyn Clock,
    (file, out): (&Path, &Path),
) -> String {
    let runs: usize = points.iter().map(|point| point.resolved.jobs.len()).sum();
    let all = format!("{}, {}", counted(points.len(), "point"), counted(runs, "run"));
    let finished = runs - missing.len();
    if missing.is_empty() {
        return format!("{all}, all finished\n");
    }
    let left = if finished == 0 {
        String::new()
    } else {
        format!(", {finished} of them finished")
    };
    let begun = missing.iter().any(|run| run.from > 0) || finished > 0;
    let mut rates = Rates::new();
    for run in missing {
        estimate::measure(&mut rates, run.resolved, registry, clock);
    }
    let rounds = |run: &Missing<'_>| run.from..=run.resolved.file.rounds;
    let seconds = |run: &Missing<'_>| estimate::seconds(run.job, &rounds(run), &rates);
    let disk = |run: &Missing<'_>| estimate::disk(run.job, &rounds(run), registry);
    let waits = |run: &Missing<'_>| estimate::waits(run.job, &rounds(run), run.resolved.close);
    let runs: Vec<(f64, f64)> = missing.iter().map(|run| (seconds(run), waits(run))).collect();
    let processors = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let at_once = side.jobs.min(missing.len());
    format!(
        "{all}{left}; {}about {} with {} at once on {} each, {} on disk\n{}",
        if begun { "what is left takes " } else { "" },
        estimate::duration(duration(&runs, at_once, side.threads, processors)),
        counted(at_once, "run"),
        counted(side.threads, "thread"),
        estimate::bytes(missing.iter().map(disk).sum()),
        repeats::note(points, missing, file, out),
    )
}

/// Seconds that runs take, given the seconds of one thread that each takes, and those in which it waits for a deadline
/// whatever the machine: all threads share the processors, and no run is faster than its own threads.
fn duration(runs: &[(f64, f64)], at_once: usize, threads: usize, processors: usize) -> f64 {
    let threads = threads.min(processors);
    let worked: f64 = runs.iter().map(|(work, _)| work).sum();
    let waited: f64 = runs.iter().map(|(_, wait)| wait).sum();
    let together = worked / (at_once * threads).clamp(1, processors) as f64 + waited / at_once.max(1) as f64;
    let alone = runs.iter().map(|(work, wait)| work / threads as f64 + wait);
    let longest = alone.fold(0.0, f64::max);
    together.max(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_share_the_processors_and_the_longest_sets_the_end() {
        let even = [(10.0, 0.0); 8];
        assert_eq!(duration(&even, 1, 1, 4), 80.0);
        assert_eq!(duration(&even, 4, 1, 4), 20.0);
        assert_eq!(duration(&even, 8, 1, 4), 20.0);
        assert_eq!(duration(&even, 2, 2, 4), 20.0);
        assert_eq!(duration(&even, 2, 9, 4), 20.0);
        assert_eq!(duration(&[(10.0, 0.0), (100.0, 0.0)], 2, 1, 4), 100.0);
        assert_eq!(duration(&[], 0, 1, 1), 0.0);
    }

    #[test]
    fn deadlines_are_waited_for_however_many_processors_there_are() {
        let waiting = [(10.0, 60.0); 4];
        assert_eq!(duration(&waiting, 1, 4, 4), 250.0);
        assert_eq!(duration(&waiting, 2, 1, 4), 140.0);
        assert_eq!(duration(&waiting, 4, 1, 4), 70.0);
    }
}
