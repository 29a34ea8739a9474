//! A file that is given as one of another kind: one problem that says what it is and what it is for, instead of one for each
//! of its keys.
//!
//! In: the text of a file, its path as a person wrote it, and what it was given as. Out: the problem, where its top level has
//! keys that files of one other kind alone have. Nothing is read from disk.

use super::problem::Problem;
use super::spelling::{quoted, shell_word};
use super::{Places, RunFile, SweepFile};
use std::ffi::OsStr;
use std::fmt;
use std::ops::Range;
use std::path::Path;
use toml::de::DeTable;

/// The kinds of TOML files that are easily taken for each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// What [`RunFile::parse`] reads.
    Run,
    /// What [`SweepFile::parse`] reads.
    Sweep,
    /// What [`Pipeline::parse`](crate::pipeline::Pipeline::parse) reads.
    Pipeline,
    /// What [`PartyFile::parse`](super::PartyFile::parse) reads.
    Party,
    /// What [`Deployment::parse`](super::Deployment::parse) reads, in a file that has nothing else.
    Deployment,
}

impl FileKind {
    /// The kind that a text's keys are of; `None` where they are of none, or of several, or where it is not TOML.
    pub fn of(text: &str) -> Option<Self> {
        let document = DeTable::parse(text).ok()?;
        kind(document.get_ref()).map(|(kind, _)| kind)
    }

    /// What a file of this kind is for, by the command or the key that takes it.
    fn use_of(self, path: &str) -> String {
        let (word, name) = (shell_word(path), file_name(path));
        match self {
            Self::Run => {
                format!("`fedstill run {word}` runs it; a sweep file names it, relative to itself, as run = {name:?}")
            }
            Self::Sweep => format!(
                "`fedstill sweep {word}` runs it, `fedstill sweep {word} --dry-run` lists its points, and `fedstill report \
                 {word}` and `fedstill compare {word}` show what they reached"
            ),
            Self::Pipeline => format!("name it in a run file, relative to that file, as pipeline = {name:?}"),
            Self::Party => format!("`fedstill party run {word}` works for the party"),
            Self::Deployment => format!(
                "name it beside a run file, as in `fedstill submit --config {word} run.toml`; `fedstill worker` and \
                 `fedstill watch` take it alike"
            ),
        }
    }
}

impl fmt::Display for FileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Run => "a run file",
            Self::Sweep => "a sweep file",
            Self::Pipeline => "a pipeline's file",
            Self::Party => "a party's file",
            Self::Deployment => "a deployment's file",
        })
    }
}

/// The name of a file without its folders: relative to what, only who names it knows.
fn file_name(path: &str) -> &str {
    let name = Path::new(path).file_name().and_then(OsStr::to_str);
    name.unwrap_or(path)
}

/// Where the first of these keys stands.
fn first(document: &DeTable<'_>, keys: &[&str]) -> Option<Range<usize>> {
    let found = keys.iter().filter_map(|key| document.get_key_value(*key));
    found.map(|(key, _)| key.span()).min_by_key(|span| span.start)
}

/// Where the first key stands that only a run file, a sweep file, a pipeline's file, a party's file has. Keys that several
/// kinds have, and those that a slip of the pen makes of each other, as `round` of `rounds`, say nothing.
fn signs(document: &DeTable<'_>) -> [Option<Range<usize>>; 4] {
    let lists = ["warmup", "round"].into_iter().filter(|key| {
        let value = document.get(*key);
        value.is_some_and(|value| value.get_ref().is_array())
    });
    let of_pipeline: Vec<&str> = std::iter::once("discloses").chain(lists).collect();
    [
        first(document, &["pipeline", "data", "parties", "party"]),
        first(document, &["run", "grid"]),
        first(document, &of_pipeline),
        first(document, &["key", "allow", "own"]),
    ]
}

/// Where the first table of a deployment stands, in a file that has no others: run files and parties' files have them too.
fn deployment(document: &DeTable<'_>) -> Option<Range<usize>> {
    let alone = document.iter().all(|(key, _)| {
        let name: &str = key.get_ref();
        ["log", "store", "cost"].contains(&name)
    });
    first(document, &["log", "store"]).filter(|_| alone)
}

/// The kind that the keys are of, and where that shows.
fn kind(document: &DeTable<'_>) -> Option<(FileKind, Range<usize>)> {
    match signs(document) {
        [Some(at), None, None, None] => Some((FileKind::Run, at)),
        [None, Some(at), None, None] => Some((FileKind::Sweep, at)),
        [None, None, Some(at), None] => Some((FileKind::Pipeline, at)),
        [None, None, None, Some(at)] => Some((FileKind::Party, at)),
        [None, None, None, None] => deployment(document).map(|at| (FileKind::Deployment, at)),
        _ => None,
    }
}

/// The problem of a file that is not what it was given as.
fn mistaken(text: &str, path: &str, given_as: FileKind) -> Option<Problem> {
    let document = DeTable::parse(text).ok()?;
    let document = document.get_ref();
    let (span, message, help) = match (kind(document), signs(document)) {
        (Some((kind, span)), _) if kind != given_as => {
            (span, format!("this is {kind}, and not {given_as}"), kind.use_of(path))
        }
        (None, [Some(_), Some(span), None, None]) if !document.contains_key("run") => (
            span,
            "a run file has no grid".to_owned(),
            format!(
                "put the grid into a sweep file, which names this one, relative to itself, as run = {:?}; `fedstill sweep` \
                 runs every point of it",
                file_name(path)
            ),
        ),
        _ => return None,
    };
    Some(Places::new(text).problem(span, message, Some(help)))
}

impl RunFile {
    /// The problem of a file that was given as a run file and is of another kind, or has a sweep file's grid in it; `path` is
    /// where it lies, as a person wrote it.
    pub fn mistaken(text: &str, path: &str) -> Option<Problem> {
        mistaken(text, path, FileKind::Run)
    }
}

impl SweepFile {
    /// The problem of a file that was given as a sweep file and is of another kind, or a run file with a grid in it; `path`
    /// is where it lies, as a person wrote it.
    pub fn mistaken(text: &str, path: &str) -> Option<Problem> {
        mistaken(text, path, FileKind::Sweep)
    }

    /// The problem of this file where what it names as its run file, with that text, is of another kind.
    pub fn mistaken_run(&self, run: &str) -> Option<Problem> {
        let kind = FileKind::of(run).filter(|kind| *kind != FileKind::Run)?;
        Some(self.complain_of_run(
            format!("{} is {kind}, and not {}", quoted(&self.run), FileKind::Run),
            "name a run file, relative to this file",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: &str = "name = \"a\"\npipeline = \"fedmd\"\nrounds = 1\n[data]\n[parties]\n";
    const SWEEP: &str = "seeds = [1]\nrun = \"run.toml\"\n[grid]\nrounds = [1]\n";
    const PIPELINE: &str =
        "name = \"mine\"\ndiscloses = []\n[[warmup]]\nname = \"initial\"\n[[round]]\nname = \"train\"\n";

    const PARTY: &str = "id = \"a\"\nkey = \"a.key\"\nallow = []\n[own]\ndata = \"d.parquet\"\n[log]\n[store]\n";
    const DEPLOYMENT: &str = "[cost]\nprovider = \"x\"\n[log]\nbrokers = \"k:9092\"\n[store]\nurl = \"s3://b\"\n";

    /// Line, message and help.
    fn said(problem: Option<Problem>) -> (u32, String, String) {
        let problem = problem.unwrap();
        (problem.line, problem.message, problem.help.unwrap())
    }

    #[test]
    fn a_sweep_file_given_as_a_run_file_is_one_problem_with_its_command() {
        for (text, at) in [(SWEEP, 2), ("[grid]\nrounds = [1]", 1), ("run = \"run.toml\"", 1)] {
            let (line, message, help) = said(RunFile::mistaken(text, "a/s.toml"));
            assert_eq!(
                (line, message.as_str()),
                (at, "this is a sweep file, and not a run file")
            );
            assert!(help.starts_with("`fedstill sweep a/s.toml` runs it"), "{help}");
            assert!(help.contains("`fedstill sweep a/s.toml --dry-run`"), "{help}");
        }
        let (_, _, help) = said(RunFile::mistaken(SWEEP, "my files/s.toml"));
        assert!(
            help.starts_with("`fedstill sweep \"my files/s.toml\"` runs it"),
            "{help}"
        );
        assert_eq!(SweepFile::mistaken(SWEEP, "s.toml"), None);
    }

    #[test]
    fn a_run_file_given_as_a_sweep_file_is_one_problem_with_its_command() {
        let (line, message, help) = said(SweepFile::mistaken(RUN, "a/r.toml"));
        assert_eq!(
            (line, message.as_str()),
            (2, "this is a run file, and not a sweep file")
        );
        assert!(help.starts_with("`fedstill run a/r.toml` runs it"), "{help}");
        assert!(help.ends_with("relative to itself, as run = \"r.toml\""), "{help}");
        assert_eq!(RunFile::mistaken(RUN, "r.toml"), None);
    }

    #[test]
    fn a_pipeline_s_file_given_as_either_says_where_it_is_named() {
        for text in [PIPELINE, "[[round]]\nname = \"train\"", "discloses = []", "warmup = []"] {
            for (problem, given_as) in [
                (RunFile::mistaken(text, "sub/p.toml"), "a run file"),
                (SweepFile::mistaken(text, "sub/p.toml"), "a sweep file"),
            ] {
                let (_, message, help) = said(problem);
                assert_eq!(message, format!("this is a pipeline's file, and not {given_as}"));
                assert!(
                    help.ends_with("relative to that file, as pipeline = \"p.toml\""),
                    "{help}"
                );
            }
        }
    }

    #[test]
    fn a_party_s_and_a_deployment_s_file_given_as_either_are_one_problem_with_their_command() {
        for (text, at, kind, command) in [
            (PARTY, 2, "a party's file", "`fedstill party run a/f.toml`"),
            (
                "[own]\nstore = \"s\"",
                1,
                "a party's file",
                "`fedstill party run a/f.toml`",
            ),
            (
                DEPLOYMENT,
                3,
                "a deployment's file",
                "`fedstill submit --config a/f.toml run.toml`",
            ),
            (
                "[store]",
                1,
                "a deployment's file",
                "`fedstill submit --config a/f.toml run.toml`",
            ),
        ] {
            for (problem, given_as) in [
                (RunFile::mistaken(text, "a/f.toml"), "a run file"),
                (SweepFile::mistaken(text, "a/f.toml"), "a sweep file"),
            ] {
                let (line, message, help) = said(problem);
                assert_eq!((line, message), (at, format!("this is {kind}, and not {given_as}")));
                assert!(help.contains(command), "{help}");
            }
        }
    }

    #[test]
    fn a_run_file_with_a_deployment_s_tables_stays_one() {
        let tables = &DEPLOYMENT[DEPLOYMENT.find("[log]").unwrap()..];
        for text in [format!("{RUN}{tables}"), format!("name = \"a\"\nrounds = 1\n{tables}")] {
            assert_eq!(RunFile::mistaken(&text, "r.toml"), None, "{text}");
        }
        assert_eq!(RunFile::mistaken("[cost]\nprovider = \"x\"", "r.toml"), None);
    }

    #[test]
    fn a_grid_in_a_run_file_is_one_problem_at_the_grid() {
        let text = format!("{RUN}[grid]\nrounds = [1]\n");
        for problem in [RunFile::mistaken(&text, "r.toml"), SweepFile::mistaken(&text, "r.toml")] {
            let (line, message, help) = said(problem);
            assert_eq!((line, message.as_str()), (6, "a run file has no grid"));
            assert!(help.contains("run = \"r.toml\""), "{help}");
        }
    }

    #[test]
    fn a_slip_of_the_pen_makes_no_file_one_of_another_kind() {
        for slip in [
            "round = 5\n",
            "warmup = true\n",
            "discloses = [\"reports\"]\n",
            "run = \"other.toml\"\n",
            "key = \"a.key\"\n",
        ] {
            let text = format!("{slip}{RUN}");
            assert_eq!(RunFile::mistaken(&text, "r.toml"), None, "{slip}");
        }
        for text in ["", "round = 5", "rounds = 5", "this is not TOML", "rum = \"run.toml\""] {
            assert_eq!(RunFile::mistaken(text, "r.toml"), None, "{text}");
            assert_eq!(SweepFile::mistaken(text, "r.toml"), None, "{text}");
        }
    }

    #[test]
    fn a_sweep_over_what_is_no_run_file_is_a_problem_of_the_sweep_file() {
        let sweep = SweepFile::parse(SWEEP).unwrap();
        assert_eq!(sweep.mistaken_run(RUN), None);
        for (text, kind) in [
            (SWEEP, "a sweep file"),
            (PIPELINE, "a pipeline's file"),
            (PARTY, "a party's file"),
            (DEPLOYMENT, "a deployment's file"),
        ] {
            let (line, message, _) = said(sweep.mistaken_run(text));
            assert_eq!(
                (line, message),
                (2, format!("'run.toml' is {kind}, and not a run file"))
            );
        }
    }

    #[test]
    fn a_kind_is_what_its_keys_say_where_they_agree() {
        assert_eq!(FileKind::of(RUN), Some(FileKind::Run));
        assert_eq!(FileKind::of(SWEEP), Some(FileKind::Sweep));
        assert_eq!(FileKind::of(PIPELINE), Some(FileKind::Pipeline));
        assert_eq!(FileKind::of(PARTY), Some(FileKind::Party));
        assert_eq!(FileKind::of(DEPLOYMENT), Some(FileKind::Deployment));
        assert_eq!(FileKind::of(&format!("{PIPELINE}[data]\n")), None);
        assert_eq!(FileKind::of(&format!("{PARTY}[data]\n")), None);
        assert_eq!(FileKind::of(""), None);
    }
}
