//! Which runs a name means: the run of that id, or all runs of a name, or all of a name and pipeline.

use super::NoComparison;
use crate::reached::{self, Shown};
use fedstill_schemas::run_file::nearest;
use std::collections::BTreeSet;
use std::path::Path;

/// The most names in a message.
const MOST_NAMES: usize = 8;

/// The runs of that name that have results, in the order of their pipelines and seeds: the one whose id it is; else those
/// of `<name>-<pipeline>-<seed>` for which it is the name, or name and pipeline. `done` are runs that have done rounds by
/// their folders: those whose scores are gone are among them.
///
/// # Errors
/// No such run; a table that cannot be read, or that these runs did not write.
pub(crate) fn named(results: &Path, done: Vec<Shown>, asked: &str) -> Result<Vec<Shown>, NoComparison> {
    let ids = reached::ids(results)?;
    let exact = ids.contains(asked) || done.iter().any(|shown| shown.run == asked);
    let mut found = Vec::new();
    for id in &ids {
        let may_be = if exact {
            id == asked
        } else {
            id.strip_prefix(asked).is_some_and(|rest| rest.starts_with('-'))
        };
        if may_be && let Some(shown) = reached::shown(results, id)? {
            found.push(shown);
        }
    }
    for shown in done {
        if !found.iter().any(|other| other.run == shown.run) && (!exact || shown.run == asked) {
            found.push(shown);
        }
    }
    found.retain(|shown| exact || is_meant(asked, shown));
    if found.is_empty() {
        return Err(NoComparison::Unknown {
            asked: asked.to_owned(),
            folder: results.to_owned(),
            fix: fix(asked, &ids),
        });
    }
    found.sort_by(|one, other| (&one.pipeline, one.seed).cmp(&(&other.pipeline, other.seed)));
    Ok(found)
}

/// Whether it is the run's name, or its name and pipeline: its id without the seed.
fn is_meant(asked: &str, shown: &Shown) -> bool {
    asked == shown.name() || shown.run.rsplit_once('-').is_some_and(|(method, _)| asked == method)
}

fn fix(asked: &str, ids: &BTreeSet<String>) -> String {
    if ids.is_empty() {
        return "there are none; `fedstill run` makes them, and --out says in which folder they are".to_owned();
    }
    let mut valid = Vec::new();
    let mut names = BTreeSet::new();
    for id in ids {
        // An id ends in its pipeline, which has no hyphen, and its seed.
        let method = id.rsplit_once('-').map_or(id.as_str(), |(method, _)| method);
        let name = method.rsplit_once('-').map_or(method, |(name, _)| name);
        valid.extend([id.as_str(), method, name]);
        names.insert(name);
    }
    valid.retain(|name| *name != asked);
    match nearest(asked, valid) {
        Some(name) => format!("did you mean '{name}'?"),
        None => there_are(names.into_iter()),
    }
}

/// The fix for a name that is none of the valid ones.
pub(super) fn suggestion<'a>(asked: &str, valid: impl Iterator<Item = &'a str>) -> String {
    let valid: BTreeSet<&str> = valid.collect();
    match nearest(asked, valid.iter().copied()) {
        Some(name) => format!("did you mean '{name}'?"),
        None => there_are(valid.into_iter()),
    }
}

fn there_are<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    let more = names.len().saturating_sub(MOST_NAMES);
    let names: Vec<&str> = names.take(MOST_NAMES).collect();
    let more = match more {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("there are {}{more}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reached::samples::{Results, named as run};

    fn found(results: &Results, asked: &str) -> Vec<String> {
        let found = named(results.0.path(), Vec::new(), asked).expect("runs");
        found.into_iter().map(|shown| shown.run).collect()
    }

    fn results() -> Results {
        let results = Results::new();
        for (name, pipeline, seed) in [
            ("alpha", "fedmd", 10),
            ("alpha", "fedmd", 2),
            ("alpha", "self_digest", 2),
            ("alpha-1", "fedmd", 2),
            ("beta", "standalone", 0),
        ] {
            results.run(&run(name, pipeline, seed), 1, 0.01);
        }
        results
    }

    #[test]
    fn a_name_means_all_its_runs_and_an_id_one() {
        let results = results();
        let all = ["alpha-fedmd-2", "alpha-fedmd-10", "alpha-self_digest-2"];
        assert_eq!(found(&results, "alpha"), all);
        assert_eq!(found(&results, "alpha-fedmd"), all[..2]);
        assert_eq!(found(&results, "alpha-fedmd-10"), all[1..2]);
        assert_eq!(found(&results, "alpha-1"), ["alpha-1-fedmd-2"]);
        let shown = &named(results.0.path(), Vec::new(), "beta").expect("a run")[0];
        assert_eq!(
            (&shown.pipeline[..], shown.seed, shown.name()),
            ("standalone", 0, "beta")
        );
    }

    #[test]
    fn a_run_whose_scores_are_gone_is_found_by_its_folder() {
        let results = results();
        let done = || {
            let runs = [
                run("alpha", "fedmd", 2),
                run("alpha", "feddf", 0),
                run("alpha-1", "feddf", 0),
            ];
            runs.map(|shown| Shown { done: Some(5), ..shown }).to_vec()
        };
        let found = |asked: &str| -> Vec<String> {
            let found = named(results.0.path(), done(), asked).expect("runs");
            found.into_iter().map(|shown| shown.run).collect()
        };
        let all = [
            "alpha-feddf-0",
            "alpha-fedmd-2",
            "alpha-fedmd-10",
            "alpha-self_digest-2",
        ];
        assert_eq!(found("alpha"), all);
        assert_eq!(found("alpha-feddf"), all[..1]);
        assert_eq!(found("alpha-feddf-0"), all[..1]);
        assert_eq!(found("alpha-fedmd-2"), all[1..2]);
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_nearest() {
        let results = results();
        let refused = |asked| {
            let found = named(results.0.path(), Vec::new(), asked);
            found.expect_err("no run").to_string()
        };
        assert!(
            refused("alhpa").ends_with("did you mean 'alpha'?"),
            "{}",
            refused("alhpa")
        );
        assert!(refused("alpha-fedmd-3").contains("did you mean 'alpha-fedmd-2'?"));
        assert!(refused("beta-standalon").contains("did you mean 'beta-standalone'?"));
        let other = refused("something-else");
        assert!(other.ends_with("there are alpha, alpha-1, beta"), "{other}");
        let none = named(Results::new().0.path(), Vec::new(), "alpha");
        let none = none.expect_err("no run").to_string();
        assert!(none.contains("there are none; `fedstill run`"), "{none}");
    }
}
