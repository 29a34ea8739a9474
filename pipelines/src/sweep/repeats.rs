//! Runs of a sweep in which the grid changes nothing but the name: `standalone` learns from nobody's predictions, and computes
//! the same whatever a grid says of distillation.
//!
//! They are run all the same, as a comparison pairs each point's methods with the baseline of the point's own name. In: the
//! points, and the runs that are not finished. Out: what is said before they start.

use super::Point;
use super::runs::Missing;
use crate::estimate::counted;
use crate::resolve::Resolved;
use fedstill_schemas::Digest;
use std::collections::{BTreeMap, BTreeSet};

/// A line about runs that compute what another one does, and how to do without them; nothing where there are none.
pub(super) fn note(points: &[Point], missing: &[Missing<'_>]) -> String {
    let repeats = repeats(points, missing);
    let Some((pipeline, _)) = repeats.first_key_value() else {
        return String::new();
    };
    let all: usize = repeats.values().sum();
    let each: Vec<String> = repeats
        .iter()
        .map(|(pipeline, count)| format!("{pipeline} ({count})"))
        .collect();
    format!(
        "{} would compute what a run of another point does, as the grid changes nothing there but the name: {}; to run a \
         baseline once, leave it out of `baselines`, `fedstill run` a copy of the run file that has it and another name, and \
         compare with `--baseline NAME/{pipeline}`\n",
        counted(all, "run"),
        each.join(", ")
    )
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
        let folder = tempfile::tempdir().unwrap();
        let data = format!("{}/examples/data", env!("CARGO_MANIFEST_DIR"));
        let run = include_str!("../../examples/quickstart.toml").replace("\"data/", &format!("\"{data}/"));
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
        let said = note(&points, &missing);
        assert!(said.starts_with("2 runs would compute what"), "{said}");
        assert!(said.contains(": standalone (2); to run a baseline once"), "{said}");
        assert!(said.ends_with("`--baseline NAME/standalone`\n"), "{said}");
        // What is finished is not run again.
        assert_eq!(note(&points, &[]), "");
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
