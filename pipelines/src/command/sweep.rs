//! `fedstill sweep`: what is said before, and in the end.

use super::report::{division, tables};
use super::{FAILED, INTERRUPTED, PLACED, STOPPED, UNUSABLE};
use super::{asked_to_stop, complain, failed, print, unusable};
use crate::folder::{self, out_option};
use crate::run::{Runner, failures};
use crate::sweep::{Overview, Point, Side, Unusable, list, missing, plan, points, side_by_side, warnings_of_data};
use crate::{run_file_report, tell};
use fedstill_learner::Registry;
use fedstill_log::{Clock, SystemClock};
use fedstill_schemas::run_file::shell_word;
use fedstill_stages::tensors::Tensors;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Runs what is missing of a sweep file; with `dry_run`, says what that is.
pub(super) fn start(file: &Path, out: &Path, side: Side, dry_run: bool, registry: Registry) -> ExitCode {
    let points = match points(file, &registry) {
        Ok(points) => points,
        Err(why) => return refused(file, why),
    };
    let mut jobs = points.iter().flat_map(|point| &point.resolved.jobs);
    if jobs.any(|job| job.resolved.is_placed()) {
        return unusable(PLACED);
    }
    let missing = match missing(&points, out) {
        Ok(missing) => missing,
        Err(error) => return failed(&error),
    };
    if !missing.is_empty() {
        for warning in warnings_of_data(&points) {
            tell::line(&warning);
        }
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    if dry_run {
        print(&list(&points));
        print(&plan(&points, &missing, side, &registry, &*clock, (file, out)));
        return ExitCode::SUCCESS;
    }
    let interrupted = asked_to_stop();
    let asked = || interrupted.load(Ordering::Relaxed);
    tell::write(&plan(&points, &missing, side, &registry, &*clock, (file, out)));
    let data = points.iter().flat_map(|point| point.resolved.data.iter().cloned());
    let runner = Runner {
        out,
        learner: Arc::new(Tensors::new(registry, data)),
        threads: side.threads,
        clock,
        interrupted: &asked,
    };
    let all = points.iter().map(|point| point.resolved.jobs.len()).sum();
    let overview = Arc::new(Overview::new(all, &missing));
    let outcome = side_by_side(&runner, &missing, side.jobs, &overview);
    overview.end();
    for (run, reason) in &outcome.failed {
        complain(&format!("{run}: {reason}"));
    }
    draw_divisions(&points, out);
    if outcome.left > 0 {
        tell::line(STOPPED);
        return ExitCode::from(INTERRUPTED);
    }
    if !outcome.failed.is_empty() {
        let failed: Vec<String> = outcome.failed.into_iter().map(|(run, _)| run).collect();
        let mut simulated = missing.iter().filter(|run| !run.job.resolved.simulate.is_nothing());
        let simulates = simulated.any(|run| failed.contains(&run.job.id));
        tell::line(&failures(&failed, all, simulates));
        return ExitCode::from(FAILED);
    }
    print(&format!("results  {}\n", tables(&folder::results(out))));
    let named = shell_word(&file.display().to_string());
    let asked = format!("{named}{}", out_option(out));
    print(&format!(
        "report   fedstill report {asked}\ncompare  fedstill compare {asked}\n"
    ));
    ExitCode::SUCCESS
}

/// Draws how the rows of each point are divided, and says where: known whatever became of the runs, stopped and failed ones
/// included.
fn draw_divisions(points: &[Point], out: &Path) {
    // Where no run came to make the folder, there is nothing to go beside.
    if !out.is_dir() {
        return;
    }
    let drawn = points.iter().filter_map(|point| division(&point.resolved, out)).count();
    if drawn > 0 {
        print(&format!("division {}\n", out.join("<point>-division.svg").display()));
    }
}

/// Says what is wrong with a sweep file.
pub(super) fn refused(file: &Path, why: Unusable) -> ExitCode {
    match why {
        Unusable::Unreadable(error) => complain(&format!(
            "cannot read {}: {error}; a sweep file names a run file and a grid, as in run = \"run.toml\" and [grid] with \
             \"steps.revisit.epochs\" = [1, 4]",
            file.display()
        )),
        Unusable::Problems(files) => {
            for wrong in files {
                let colours = run_file_report::colours();
                let shown = run_file_report::render(&wrong.path, &wrong.text, &wrong.problems, colours);
                tell::write(&shown);
            }
        }
    }
    ExitCode::from(UNUSABLE)
}
