//! Test and public rows that parties train on, as both are drawn from one file: each set is a draw of its own, so that `rows`
//! makes no two of them disjoint. In words for people.
//!
//! In: a run file with its data. Out: a line for each set that has such rows. They are counted where one set's rows are the
//! other's, as each seed draws them and with the rows that no party has left out, and else told by what the file says.

use crate::resolve::Resolved;
use fedstill_learner::{Dataset, Division, draw};
use fedstill_schemas::data::{Columns, DataSet, Labels};
use fedstill_schemas::resolved::ResolvedRun;
use fedstill_schemas::run_file::Source;

/// A line for the test set, and one for the public set.
pub(super) fn warnings(resolved: &Resolved) -> Vec<String> {
    let data = &resolved.file.data;
    let test = shared(resolved, "test", Some(&data.test)).map(|rows| {
        format!(
            "warning: {rows}: scores are higher than on rows that nobody trained on; test on a file of other rows, as each \
             set is drawn for itself, whatever its `rows`"
        )
    });
    let labelled = match data.labels {
        Labels::Shared => ", with their labels where labels = \"shared\"",
        Labels::Union | Labels::Private => "",
    };
    let public = shared(resolved, "public", data.public.as_ref()).map(|rows| {
        format!(
            "warning: {rows}: parties' own rows are the public set, which everyone has{labelled}, and what the exchange \
             brings is not told from what they train on; take a public set of other rows, as each set is drawn for itself, \
             whatever its `rows`"
        )
    });
    test.into_iter().chain(public).collect()
}

/// How many rows of a set parties train on; `None` where that is none, or their rows are their own and known to nobody.
fn shared(resolved: &Resolved, name: &str, source: Option<&Source>) -> Option<String> {
    let (private, source) = (resolved.file.data.private.file()?, source?);
    let first = &resolved.jobs.first()?.resolved;
    let set = set_of(first, name)?;
    let same = set.sha256 == first.private.sha256;
    if !same && private.url != source.url {
        return None;
    }
    if same || are_alike(&private.columns, &source.columns) && set.rows == first.private.rows {
        let data = resolved
            .data
            .iter()
            .find(|data| data.digest() == first.private.sha256)?;
        let seeds = resolved.jobs.iter().map(|job| &job.resolved);
        let seeds = seeds.filter(|run| run.pipeline.name == first.pipeline.name);
        let most = seeds.map(|run| (common(data, run, name), run.seed)).max()?;
        let (count, seed) = most;
        let with_seed = match resolved.file.seeds[..] {
            [_] => String::new(),
            _ => format!(" with seed {seed}"),
        };
        (count > 0).then(|| format!("parties train on {count} of the {} {name} rows{with_seed}", set.take))
    } else if may_meet(&private.columns, &source.columns) {
        Some(format!(
            "parties may train on {name} rows, as both are of {}",
            source.url
        ))
    } else {
        None
    }
}

fn set_of<'a>(run: &'a ResolvedRun, name: &str) -> Option<&'a DataSet> {
    match name {
        "test" => Some(&run.test),
        _ => run.public.as_ref(),
    }
}

/// How many of a set's rows some party has, where both sets are all rows of one file.
fn common(data: &Dataset, run: &ResolvedRun, name: &str) -> usize {
    let (Ok((_, parties)), Some(set)) = (Division::of(run).rows(data.known()), set_of(run, name)) else {
        return 0;
    };
    let mut held = vec![false; run.private.rows as usize];
    for row in parties.iter().flatten() {
        held[*row as usize] = true;
    }
    let drawn = draw(run.seed, name, 0, set.rows, set.take).into_iter();
    drawn.filter(|row| held.get(*row as usize) == Some(&true)).count()
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

    const PRIVATE: &str = "private   = { url = \"data/letters.parquet\", rows = 1000 }";
    const PUBLIC: &str = "public    = { url = \"data/mnist.parquet\", rows = 3000 }";
    const TEST: &str = "test      = { url = \"data/letters-test.parquet\" }";

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
        std::fs::write(&file, text.replace("\"data/", &format!("\"{data}/"))).unwrap();
        warnings(&resolve(&file, &Registry::default()).unwrap())
    }

    #[test]
    fn sets_of_other_rows_are_not_doubted() {
        assert!(said(&[]).is_empty());
    }

    #[test]
    fn test_rows_that_parties_train_on_are_counted() {
        let lines = said(&[(TEST, "test = { url = \"data/letters.parquet\" }")]);
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(
            lines[0].starts_with("warning: parties train on 1000 of the 7800 test rows: scores are higher"),
            "{lines:?}"
        );
        // Drawn for themselves, they meet whatever `rows` says.
        let both = [
            (
                TEST,
                "test = { url = \"data/letters.parquet\", rows = 6000, label = \"label\" }",
            ),
            ("seeds     = [0]", "seeds     = [0, 1]"),
        ];
        let lines = said(&both);
        assert!(
            lines[0].contains(" of the 6000 test rows with seed ") && !lines[0].contains(" train on 1000 of"),
            "{lines:?}"
        );
    }

    #[test]
    fn public_rows_that_are_the_parties_own_are_told_with_whose_labels_they_have() {
        let public = (PUBLIC, "public = { url = \"data/letters.parquet\" }");
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
            TEST,
            "test = { url = \"data/letters-test.parquet\", classes = [0, 1, 2] }",
        );
        let lines = said(&[(PRIVATE, private.as_str()), (PUBLIC, public.as_str()), test]);
        assert!(lines.is_empty(), "{lines:?}");
        let meeting = of("public", "[2, 3]");
        let lines = said(&[(PRIVATE, private.as_str()), (PUBLIC, meeting.as_str()), test]);
        assert!(
            lines[0].starts_with("warning: parties may train on public rows, as both are of "),
            "{lines:?}"
        );
    }

    #[test]
    fn rows_that_no_party_has_are_none_of_theirs() {
        // Ten parties hold a class of 300 rows each; the sixteen other classes are left out.
        let lines = said(&[
            (TEST, "test = { url = \"data/letters.parquet\" }"),
            ("rows = 1000", "rows = 7800"),
            ("{ kind = \"iid\" }", "{ kind = \"classes\", per_party = 1 }"),
        ]);
        assert!(
            lines[0].starts_with("warning: parties train on 3000 of the 7800 test rows"),
            "{lines:?}"
        );
    }
}
