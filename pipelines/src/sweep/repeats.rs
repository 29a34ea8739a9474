//! Runs of a sweep in which the grid changes nothing but the name: `standalone` learns from nobody's predictions, and computes
//! the same whatever a grid says of distillation.
//!
//! They are run all the same, as a comparison pairs each point's methods with the baseline of the point's own name. In: the
//! points, the runs that are not finished, and how the sweep is named on the command line. Out: what is said before they start.

use super::Point;
use super::runs::Missing;
use crate::estimate::counted;
use crate::folder::out_option;
use crate::resolve::Resolved;
use fedstill_schemas::Digest;
use fedstill_schemas::run_file::shell_word;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;

/// A line about runs that compute what another one does, and how to do without those of baselines; nothing where there are
/// none. `file` and `out` are the sweep file and the folder of its runs.
pub(super) fn note(points: &[Point], missing: &[Missing<'_>], file: &Path, out: &Path) -> String {
    let repeats = repeats(points, missing);
    if repeats.is_empty() {
        return String::new();
    }
    let all: usize = repeats.values().sum();
    let each: Vec<String> = repeats
        .iter()
        .map(|(pipeline, count)| format!("{pipeline} ({count})"))
        .collect();
    let mut note = format!(
        "{} would compute what a run of another point does, as the grid changes nothing there but the name: {}",
        counted(all, "run"),
        each.join(", ")
    );
    let baselines = repeats.keys().copied();
    let baselines: Vec<&str> = baselines.filter(|pipeline| is_one_baseline(points, pipeline)).collect();
    if let [first, ..] = baselines[..] {
        let (file, out) = (shell_word(&file.display().to_string()), out_option(out));
        let _ = write!(
            note,
            "; to run {} once, leave it out of `baselines`, `fedstill run` a copy of the run file that has it, with the \
             settings of a point, the seeds of the sweep and another NAME, and compare with `fedstill compare {file} NAME \
             --baseline NAME/{first}{out}` (the copy's own pipeline is run too)",
            baselines.join(" or ")
        );
    }
    note.push('\n');
    note
}

/// Whether a pipeline is a baseline at every point, and the same one with each seed: a single run name then has the baseline of
/// all points.
fn is_one_baseline(points: &[Point], pipeline: &str) -> bool {
    let is_baseline = |point: &Point| point.resolved.file.baselines.iter().any(|name| name == pipeline);
    let [first, ..] = points else { return false };
    let same_prices = |point: &Point| point.resolved.prices == first.resolved.prices;
    if !points.iter().all(|point| is_baseline(point) && same_prices(point)) {
        return false;
    }
    let mut distinct: BTreeMap<u64, BTreeSet<Digest>> = BTreeMap::new();
    for Point { resolved, .. } in points {
        let jobs = resolved.jobs.iter();
        for job in jobs.filter(|job| job.resolved.pipeline.name == pipeline) {
            let what = Digest::of_json(&(&job.resolved, &resolved.close, resolved.file.rounds));
            distinct.entry(job.resolved.seed).or_default().insert(what);
        }
    }
    distinct.values().all(|runs| runs.len() == 1)
}

/// How many of the runs that are not finished compute what a run of an earlier point does, by their pipelines.
fn repeats<'a>(points: &'a [Point], missing: &[Missing<'_>]) -> BTreeMap<&'a str, usize> {
    let left: BTreeSet<&str> = missing.iter().map(|run| run.job.id.as_str()).collect();
    // By all that their results follow from, which the resolved run alone is not: a deadline may close without somebody.
    let mut earlier: BTreeMap<(Digest, u32), Vec<&Resolved>> = BTreeMap::new();
    let mut repeats: BTreeMap<&str, usize> = BTreeMap::new();
    for Point { resolved, .. } in points {
        for job in &resolved.jobs {
            let what = Digest::of_json(&(&job.resolved, &resolved.close));
            let alike = earlier.entry((what, resolved.file.rounds)).or_default();
            // Other prices are other results, though nothing is learned otherwise.
            if !alike.iter().any(|other| other.prices == resolved.prices) {
                alike.push(resolved);
            } else if left.contains(job.id.as_str()) {
                *repeats.entry(job.resolved.pipeline.name.as_str()).or_default() += 1;
            }
        }
    }
    repeats
}

#[cfg(test)]
mod tests {
    use super::super::{missing, points};
    use super::*;
    use fedstill_learner::Registry;

    /// The points of a sweep over the quickstart, whose baselines are `standalone` and `self_digest`.
    fn swept(grid: &str) -> Vec<Point> {
        swept_with(&[], grid)
    }

    /// The same with what is replaced in the quickstart.
    fn swept_with(changes: &[(&str, &str)], grid: &str) -> Vec<Point> {
        let folder = tempfile::tempdir().unwrap();
        let data = format!("{}/examples/data", env!("CARGO_MANIFEST_DIR"));
        let mut run = include_str!("../../examples/quickstart.toml").replace("\"data/", &format!("\"{data}/"));
        for (from, to) in changes {
            assert!(run.contains(from), "{from}");
            run = run.replace(from, to);
        }
        std::fs::write(folder.path().join("run.toml"), run).unwrap();
        let file = folder.path().join("sweep.toml");
        std::fs::write(&file, format!("run = \"run.toml\"\n[grid]\n{grid}")).unwrap();
        points(&file, &Registry::default()).unwrap()
    }

    /// Which of their runs would be repeated where none is finished.
    fn repeated(points: &[Point]) -> Vec<(&str, usize)> {
        let out = tempfile::tempdir().unwrap();
        let missing = missing(points, out.path()).unwrap();
        repeats(points, &missing).into_iter().collect()
    }

    #[test]
    fn runs_that_lack_what_a_grid_changes_are_told_and_those_that_have_it_are_not() {
        let points = swept("\"steps.digest.epochs\" = [1, 2, 3]");
        assert_eq!(repeated(&points), [("standalone", 2)]);
        let out = tempfile::tempdir().unwrap();
        let missing = missing(&points, out.path()).unwrap();
        let said = |missing: &[Missing<'_>]| note(&points, missing, Path::new("my sweep.toml"), Path::new("elsewhere"));
        let told = said(&missing);
        assert!(told.starts_with("2 runs would compute what"), "{told}");
        assert!(told.contains(": standalone (2); to run standalone once"), "{told}");
        let command = "`fedstill compare \"my sweep.toml\" NAME --baseline NAME/standalone --out elsewhere`";
        assert!(told.contains(command) && told.ends_with('\n'), "{told}");
        // What is finished is not run again.
        assert_eq!(said(&[]), "");
    }

    #[test]
    fn only_a_baseline_that_is_one_for_all_points_is_advised_to_be_run_once() {
        let told = |points: &[Point]| {
            let out = tempfile::tempdir().unwrap();
            let missing = missing(points, out.path()).unwrap();
            note(points, &missing, Path::new("sweep.toml"), out.path())
        };
        // FedDF has no digest, and is no baseline; `standalone` is of FedMD's steps at two points, and of FedDF's at two.
        let changes = [
            ("\"union\"", "\"shared\""),
            (", \"self_digest\"]", "]"),
            ("[parties]", "validation = { rows = 100 }\n[parties]"),
        ];
        let pipelines = "pipeline = [\"fedmd\", \"feddf\"]\n\"steps.digest.epochs\" = [1, 2]";
        let points = swept_with(&changes, pipelines);
        assert_eq!(repeated(&points), [("feddf", 1), ("standalone", 2)]);
        let said = told(&points);
        assert!(said.ends_with("the name: feddf (1), standalone (2)\n"), "{said}");
        // Of other rows it is another one.
        let points = swept("\"data.private.rows\" = [900, 1000]\n\"steps.digest.epochs\" = [1, 2]");
        let said = told(&points);
        assert!(said.ends_with("the name: standalone (2)\n"), "{said}");
        // Some points do not have it, and FedMD is the same with it and without.
        let points = swept("baselines = [[\"standalone\"], []]\n\"steps.digest.epochs\" = [1, 2]");
        let said = told(&points);
        assert!(said.ends_with("the name: fedmd (2), standalone (1)\n"), "{said}");
    }

    #[test]
    fn runs_with_other_rounds_quorums_or_rows_are_none_of_another_point() {
        for grid in [
            "rounds = [1, 2]",
            "\"close.quorum\" = [0.5, 1.0]",
            "\"data.private.rows\" = [900, 1000]",
        ] {
            let points = swept(grid);
            assert!(repeated(&points).is_empty(), "{grid}");
        }
    }

    #[test]
    fn of_two_keys_the_one_that_changes_a_run_counts() {
        let points = swept("\"steps.digest.epochs\" = [1, 2]\n\"steps.revisit.epochs\" = [1, 2]");
        assert_eq!(repeated(&points), [("standalone", 2)]);
    }
}
