//! Rows that are in two sets, where both are drawn from one file: test and public rows that parties train on, and test rows
//! that are public ones from which models learn. Each set is a draw of its own, so that `rows` makes no two of them disjoint.
//! In words for people.
//!
//! In: a run file with its data. Out: a line for each pair of sets that has such rows. They are counted where one set's rows
//! are the other's, as each seed draws them and with the rows that no party has left out, and else told by what the files say.

use crate::resolve::Resolved;
use fedstill_learner::{Division, draw};
use fedstill_schemas::data::{Columns, DataSet, Labels};
use fedstill_schemas::pipeline::{On, Target};
use fedstill_schemas::resolved::ResolvedRun;
use fedstill_schemas::run_file::Source;
use std::path::Path;

/// The sets, by their keys in a run file, which are those of their draws too.
const PRIVATE: &str = "private";
const PUBLIC: &str = "public";
const TEST: &str = "test";

/// A line for test rows that parties have, one for public rows that they have, and one for test rows that are public.
pub(super) fn warnings(resolved: &Resolved) -> Vec<String> {
    let test = shared(resolved, PRIVATE, TEST).map(|rows| {
        format!(
            "warning: parties {rows}: scores are higher than on rows that nobody trained on; test on a file of other rows, as \
             each set is drawn for itself, whatever its `rows`"
        )
    });
    let labelled = match resolved.file.data.labels {
        Labels::Shared => ", with their labels where labels = \"shared\"",
        Labels::Union | Labels::Private => "",
    };
    let public = shared(resolved, PRIVATE, PUBLIC).map(|rows| {
        format!(
            "warning: parties {rows}: parties' own rows are the public set, which everyone has{labelled}, and what the \
             exchange brings is not told from what they train on; take a public set of other rows, as each set is drawn for \
             itself, whatever its `rows`"
        )
    });
    let learned = learned(resolved).and_then(|how| Some((how, shared(resolved, PUBLIC, TEST)?)));
    let learned = learned.map(|(how, rows)| {
        format!(
            "warning: models {rows}: they learn from public rows {how}, and scores are not those on rows that nobody trained \
             on; test on a file of other rows, as each set is drawn for itself, whatever its `rows`"
        )
    });
    test.into_iter().chain(public).chain(learned).collect()
}

/// How some pipeline of the file learns from public rows; `None` where none learns more than what its models say themselves.
fn learned(resolved: &Resolved) -> Option<&'static str> {
    let jobs = resolved.jobs.iter();
    let terms = jobs.flat_map(|job| job.resolved.pipeline.all_steps().flat_map(|step| &step.terms));
    let targets: Vec<Target> = terms
        .filter(|term| term.on != On::Private)
        .map(|term| term.target)
        .collect();
    if targets.contains(&Target::Labels) {
        Some("with their labels")
    } else if targets.contains(&Target::Consensus) {
        Some("by their consensus")
    } else {
        None
    }
}

/// That so many rows of `one` are trained on as those of `other`; `None` where that is none, or one of them is no set that
/// all can read.
fn shared(resolved: &Resolved, other: &str, one: &str) -> Option<String> {
    let (with, source) = (source_of(resolved, other)?, source_of(resolved, one)?);
    let first = &resolved.jobs.first()?.resolved;
    let (others, set) = (set_of(first, other)?, set_of(first, one)?);
    let same = set.sha256 == others.sha256;
    // What both call alike is read alike: with the same columns, other rows have another digest.
    if !same && (with.columns == source.columns || !are_one_file(&resolved.folder, with, source)) {
        return None;
    }
    if same || are_alike(&with.columns, &source.columns) && set.rows == others.rows {
        let seeds = resolved.jobs.iter().map(|job| &job.resolved);
        let seeds = seeds.filter(|run| run.pipeline.name == first.pipeline.name);
        let counts: Vec<(usize, u64)> = seeds.map(|run| (common(resolved, run, other, one), run.seed)).collect();
        let (count, seed) = *counts.iter().max()?;
        let with_seed = if counts.iter().all(|(other, _)| *other == count) {
            String::new()
        } else {
            format!(" with seed {seed}")
        };
        (count > 0).then(|| format!("train on {count} of the {} {one} rows{with_seed}", set.take))
    } else if may_meet(&with.columns, &source.columns) {
        let why = if with.url == source.url {
            format!("both are of {}", source.url)
        } else {
            format!("{} and {} are one file", with.url, source.url)
        };
        Some(format!("may train on {one} rows, as {why}"))
    } else {
        None
    }
}

/// The file of a set, where the run file names one.
fn source_of<'a>(resolved: &'a Resolved, name: &str) -> Option<&'a Source> {
    let data = &resolved.file.data;
    match name {
        PRIVATE => data.private.file(),
        PUBLIC => data.public.as_ref(),
        _ => Some(&data.test),
    }
}

fn set_of<'a>(run: &'a ResolvedRun, name: &str) -> Option<&'a DataSet> {
    match name {
        PRIVATE => Some(&run.private),
        PUBLIC => run.public.as_ref(),
        _ => Some(&run.test),
    }
}

/// Whether both name one file, however it is spelled, or files of the same bytes.
fn are_one_file(folder: &Path, one: &Source, other: &Source) -> bool {
    if one.url == other.url {
        return true;
    }
    let (one, other) = (one.path(folder), other.path(folder));
    let length = |path: &Path| std::fs::metadata(path).ok().map(|about| about.len());
    let found = |path: &Path| std::fs::canonicalize(path).ok();
    if found(&one).is_some_and(|path| found(&other) == Some(path)) {
        return true;
    }
    // Files of one length are copies, or few: only those are read.
    let bytes = |path: &Path| std::fs::read(path).ok();
    length(&one).is_some()
        && length(&one) == length(&other)
        && bytes(&one).is_some_and(|all| bytes(&other) == Some(all))
}

/// How many of the rows in use of `one` are in use in `other` too, where both sets are all rows of one file.
fn common(resolved: &Resolved, run: &ResolvedRun, other: &str, one: &str) -> usize {
    let (Some(others), Some(own)) = (used(resolved, run, other), used(resolved, run, one)) else {
        return 0;
    };
    let mut held = vec![false; set_of(run, other).map_or(0, |set| set.rows as usize)];
    for row in others {
        held[row as usize] = true;
    }
    own.iter().filter(|row| held.get(**row as usize) == Some(&true)).count()
}

/// The rows of a set that are in use, by their places in it: of the private ones those that some party has. `None` where
/// they cannot be divided so.
fn used(resolved: &Resolved, run: &ResolvedRun, name: &str) -> Option<Vec<u32>> {
    let set = set_of(run, name)?;
    if name != PRIVATE {
        return Some(draw(run.seed, name, 0, set.rows, set.take));
    }
    let data = resolved.data.iter().find(|data| data.digest() == set.sha256)?;
    let (_, parties) = Division::of(run).rows(data.known()).ok()?;
    Some(parties.concat())
}

/// Whether both sets have the rows of one file in the same places: images, with the same labels left out.
fn are_alike(one: &Columns, other: &Columns) -> bool {
    one.classes == other.classes && one.text.is_none() && other.text.is_none()
}

/// Whether some row of a file may be in both sets, by the labels that they use.
fn may_meet(one: &Columns, other: &Columns) -> bool {
    let all = one.classes.is_empty() || other.classes.is_empty() || one.label != other.label;
    let mut labels = one.classes.iter().flatten();
    all || labels.any(|label| other.classes.iter().flatten().any(|there| there == label))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolve::resolve;
    use fedstill_learner::Registry;

    const PRIVATE_LINE: &str = "private   = { url = \"data/letters.parquet\", rows = 1000 }";
    const PUBLIC_LINE: &str = "public    = { url = \"data/mnist.parquet\", rows = 3000 }";
    const TEST_LINE: &str = "test      = { url = \"data/letters-test.parquet\" }";

    /// What is said of the quickstart with those changes.
    fn said(changes: &[(&str, &str)]) -> Vec<String> {
        let mut text = include_str!("../../examples/quickstart.toml").to_owned();
        for (from, to) in changes {
            assert!(text.contains(from), "{from}");
            text = text.replace(from, to);
        }
        let data = format!("{}/examples/data", env!("CARGO_MANIFEST_DIR"));
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("run.toml");
        std::fs::copy(format!("{data}/letters.parquet"), folder.path().join("copy.parquet")).unwrap();
        let text = text.replace("\"data/", &format!("\"{data}/"));
        let text = text.replace("\"spelled/", &format!("\"{data}/../data/"));
        std::fs::write(&file, text).unwrap();
        warnings(&resolve(&file, &Registry::default()).unwrap())
    }

    #[test]
    fn sets_of_other_rows_are_not_doubted() {
        assert!(said(&[]).is_empty());
    }

    #[test]
    fn test_rows_that_parties_train_on_are_counted() {
        let lines = said(&[(TEST_LINE, "test = { url = \"data/letters.parquet\" }")]);
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(
            lines[0].starts_with("warning: parties train on 1000 of the 7800 test rows: scores are higher"),
            "{lines:?}"
        );
        // Drawn for themselves, they meet whatever `rows` says.
        let both = [
            (
                TEST_LINE,
                "test = { url = \"data/letters.parquet\", rows = 6000, label = \"label\" }",
            ),
            ("seeds     = [0]", "seeds     = [0, 1, 2]"),
        ];
        let lines = said(&both);
        assert!(
            lines[0].contains(" of the 6000 test rows with seed ") && !lines[0].contains(" train on 1000 of"),
            "{lines:?}"
        );
    }

    #[test]
    fn a_seed_is_named_only_where_seeds_differ() {
        let lines = said(&[
            (TEST_LINE, "test = { url = \"data/letters.parquet\" }"),
            ("seeds     = [0]", "seeds     = [0, 1]"),
        ]);
        assert!(
            lines[0].starts_with("warning: parties train on 1000 of the 7800 test rows: scores"),
            "{lines:?}"
        );
    }

    #[test]
    fn rows_that_the_server_holds_are_none_of_the_parties() {
        let held = format!("{PRIVATE_LINE}\nvalidation = {{ rows = 100 }}");
        let text = include_str!("../../examples/quickstart.toml");
        let lines = said(&[
            ("\"fedmd\"", "\"feddf\""),
            ("\"standalone\", \"self_digest\"", "\"standalone\""),
            ("\"union\"", "\"private\""),
            (&text[text.find("[steps.pretrain]").unwrap()..], ""),
            (TEST_LINE, "test = { url = \"data/letters.parquet\" }"),
            (PRIVATE_LINE, held.as_str()),
        ]);
        assert!(
            lines[0].starts_with("warning: parties train on 900 of the 7800 test rows"),
            "{lines:?}"
        );
    }

    #[test]
    fn test_rows_that_are_public_are_told_where_models_learn_from_those() {
        let public = (PUBLIC_LINE, "public = { url = \"data/letters-test.parquet\" }");
        let shared = ("\"union\"", "\"shared\"");
        let lines = said(&[public, shared]);
        assert_eq!(lines.len(), 1, "{lines:?}");
        let (before, after) = lines[0].split_once(" of the ").unwrap();
        let count = before.strip_prefix("warning: models train on ").unwrap();
        assert!(
            after.starts_with(&format!(
                "{count} test rows: they learn from public rows with their labels, "
            )),
            "{lines:?}"
        );
        // Nobody learns from public rows that no step of the file names.
        let alone = [
            ("\"fedmd\"", "\"fedavg\""),
            ("\"standalone\", \"self_digest\"", "\"standalone\""),
        ];
        let text = include_str!("../../examples/quickstart.toml");
        let steps = &text[text.find("[steps.pretrain]").unwrap()..];
        let lines = said(&[(steps, ""), public, shared, alone[0], alone[1]]);
        assert!(lines.is_empty(), "{lines:?}");
    }

    #[test]
    fn a_file_that_is_spelled_otherwise_or_copied_is_the_same_file() {
        for other in ["spelled/letters.parquet", "copy.parquet"] {
            let public = format!("public = {{ url = \"{other}\", classes = [2, 3] }}");
            let private = "private = { url = \"data/letters.parquet\", classes = [0, 1, 2] }";
            let test = "test = { url = \"data/letters-test.parquet\", classes = [0, 1, 2] }";
            let lines = said(&[
                (PUBLIC_LINE, public.as_str()),
                (PRIVATE_LINE, private),
                (TEST_LINE, test),
            ]);
            assert_eq!(lines.len(), 1, "{other}: {lines:?}");
            assert!(
                lines[0].starts_with("warning: parties may train on public rows, as ")
                    && lines[0].contains("letters.parquet and ")
                    && lines[0].contains(" are one file: "),
                "{other}: {lines:?}"
            );
        }
    }

    #[test]
    fn public_rows_that_are_the_parties_own_are_told_with_whose_labels_they_have() {
        let public = (PUBLIC_LINE, "public = { url = \"data/letters.parquet\" }");
        let lines = said(&[public, ("\"union\"", "\"shared\"")]);
        assert_eq!(lines.len(), 1, "{lines:?}");
        for part in [
            "warning: parties train on 1000 of the 7800 public rows: parties' own rows are the public set",
            "with their labels where labels = \"shared\"",
        ] {
            assert!(lines[0].contains(part), "{lines:?}");
        }
        let lines = said(&[public]);
        assert!(!lines[0].contains("\"shared\""), "{lines:?}");
    }

    #[test]
    fn sets_of_one_file_with_other_labels_are_disjoint() {
        let of =
            |key: &str, classes: &str| format!("{key} = {{ url = \"data/letters.parquet\", classes = {classes} }}");
        let (private, public) = (of("private", "[0, 1, 2]"), of("public", "[3, 4]"));
        let test = (
            TEST_LINE,
            "test = { url = \"data/letters-test.parquet\", classes = [0, 1, 2] }",
        );
        let lines = said(&[(PRIVATE_LINE, private.as_str()), (PUBLIC_LINE, public.as_str()), test]);
        assert!(lines.is_empty(), "{lines:?}");
        let meeting = of("public", "[2, 3]");
        let lines = said(&[(PRIVATE_LINE, private.as_str()), (PUBLIC_LINE, meeting.as_str()), test]);
        assert!(
            lines[0].starts_with("warning: parties may train on public rows, as both are of "),
            "{lines:?}"
        );
    }

    #[test]
    fn rows_that_no_party_has_are_none_of_theirs() {
        // Ten parties hold a class of 300 rows each; the sixteen other classes are left out.
        let lines = said(&[
            (TEST_LINE, "test = { url = \"data/letters.parquet\" }"),
            ("rows = 1000", "rows = 7800"),
            ("{ kind = \"iid\" }", "{ kind = \"classes\", per_party = 1 }"),
        ]);
        assert!(
            lines[0].starts_with("warning: parties train on 3000 of the 7800 test rows"),
            "{lines:?}"
        );
    }
}
