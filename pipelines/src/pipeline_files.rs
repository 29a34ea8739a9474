//! Pipelines of a person's own: the files that a run file names, or the grid of a sweep file, read and checked before the run
//! file is.
//!
//! ```text
//! run file, grid ──> paths that end in .toml ──> pipelines, beside those that ship ──> the catalog that a run file is read by
//! ```

use crate::algorithms;
use crate::resolve::Unresolved;
use fedstill_schemas::pipeline::Pipeline;
use fedstill_schemas::run_file::{Catalog, FileKind, RunFile, SweepFile, quoted};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The pipelines that a run file can name.
#[derive(Debug)]
pub(crate) struct Pipelines {
    /// Those that ship, and those of the run file's files.
    pub(crate) all: Vec<Pipeline>,
    /// As [`Catalog`] has them: the name of the pipeline in each file, or why it cannot be used.
    files: BTreeMap<String, Result<String, String>>,
    /// The files that were read, wherever they are named, each with the name of its pipeline.
    read: Vec<(PathBuf, String)>,
}

impl Pipelines {
    /// Reads the files that the text of a run file names, relative to its folder.
    ///
    /// # Errors
    /// What is wrong in the first file with mistakes. A file that cannot be read, or whose name is taken, is the run
    /// file's mistake: the catalog says so.
    pub(crate) fn load(run_file: &str, folder: &Path) -> Result<Self, Unresolved> {
        let mut pipelines = Self {
            all: algorithms::all(),
            files: BTreeMap::new(),
            read: Vec::new(),
        };
        for path in RunFile::pipeline_files(run_file) {
            let usable = pipelines.read(&path, folder)?;
            pipelines.files.insert(path, usable);
        }
        Ok(pipelines)
    }

    /// Reads the files that the grid of a sweep file names too, relative to the sweep file's folder.
    ///
    /// # Errors
    /// As of a run file.
    pub(crate) fn load_grid(&mut self, sweep: &SweepFile, folder: &Path) -> Result<(), Unresolved> {
        for path in sweep.pipeline_files() {
            let usable = self.read(&path, folder)?;
            self.files.insert(SweepFile::catalogued(&path), usable);
        }
        Ok(())
    }

    /// Reads a file: the name of its pipeline, or why it cannot be used.
    fn read(&mut self, path: &str, folder: &Path) -> Result<Result<String, String>, Unresolved> {
        let file = folder.join(path);
        let text = match std::fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) => return Ok(Err(format!("cannot read {}: {error}", quoted(path)))),
        };
        if let Some(kind) = FileKind::of(&text).filter(|kind| *kind != FileKind::Pipeline) {
            return Ok(Err(format!(
                "{} is {kind}, and not {}",
                quoted(path),
                FileKind::Pipeline
            )));
        }
        // A run file and a sweep file may both name it, each by its own path.
        let same = file.canonicalize().unwrap_or_else(|_| file.clone());
        if let Some((_, name)) = self.read.iter().find(|(read, _)| *read == same) {
            return Ok(Ok(name.clone()));
        }
        let pipeline = Pipeline::parse(&text).map_err(|problems| Unresolved::Problems(file, text, problems))?;
        let name = pipeline.name.clone();
        if self.all.iter().any(|other| other.name == name) {
            return Ok(Err(format!(
                "the pipeline in {} has the name of another one: {}",
                quoted(path),
                quoted(&name)
            )));
        }
        self.all.push(pipeline);
        self.read.push((same, name.clone()));
        Ok(Ok(name))
    }

    /// What the run file is read by.
    pub(crate) fn catalog<'a>(&'a self, families: &'a [&'a str]) -> Catalog<'a> {
        Catalog {
            pipelines: &self.all,
            files: &self.files,
            families,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolve::{Resolved, resolve};
    use fedstill_learner::Registry;

    const EXAMPLE: &str = include_str!("../examples/fedmd_kl.toml");

    /// Resolves the quickstart with that pipeline and those files beside it.
    fn resolved(pipeline: &str, files: &[(&str, &str)]) -> Result<Resolved, Unresolved> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let data = format!("{}/examples/data", env!("CARGO_MANIFEST_DIR"));
        let text = include_str!("../examples/quickstart.toml").replace("\"data/", &format!("\"{data}/"));
        let file = folder.path().join("run.toml");
        std::fs::write(&file, text.replace("= \"fedmd\"", &format!("= \"{pipeline}\""))).unwrap();
        resolve(&file, &Registry::default())
    }

    /// The one problem that is found: its file's name, its line there, and what it says.
    fn problem(pipeline: &str, files: &[(&str, &str)]) -> (String, u32, String) {
        let Err(Unresolved::Problems(file, _, problems)) = resolved(pipeline, files) else {
            panic!("{pipeline} has no problem");
        };
        let [problem] = &problems[..] else {
            panic!("{problems:?}");
        };
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        (name, problem.line, problem.to_string())
    }

    #[test]
    fn a_pipeline_in_a_file_is_run_under_its_name() {
        let resolved = resolved("mine.toml", &[("mine.toml", EXAMPLE)]).unwrap();
        let ids: Vec<&str> = resolved.jobs.iter().map(|job| job.id.as_str()).collect();
        assert_eq!(
            ids,
            [
                "quickstart-fedmd_kl-0",
                "quickstart-standalone-0",
                "quickstart-self_digest-0"
            ]
        );
        let run = &resolved.jobs[0].resolved.pipeline;
        let digest = run.step(1, "digest").and_then(|step| step.fit.as_ref()).unwrap();
        assert_eq!(digest.batch, 128, "what the run file says about its steps holds");
    }

    #[test]
    fn a_mistake_in_a_pipeline_s_file_is_shown_there() {
        let broken = EXAMPLE.replace("target = \"consensus\"", "target = \"consenus\"");
        let line = EXAMPLE
            .lines()
            .position(|line| line.contains("\"consensus\"") && line.contains("terms"));
        let (file, at, said) = problem("mine.toml", &[("mine.toml", &broken)]);
        assert_eq!((file.as_str(), Some(at as usize - 1)), ("mine.toml", line), "{said}");
        assert!(said.contains("did you mean 'consensus'?"), "{said}");
        let (file, _, said) = problem("mine.toml", &[("mine.toml", &EXAMPLE.replace("\"predictions\", ", ""))]);
        assert_eq!(file, "mine.toml");
        assert!(said.contains("what 'discloses' does not name"), "{said}");
    }

    #[test]
    fn a_file_that_cannot_be_used_is_the_run_file_s_mistake() {
        let taken = EXAMPLE.replace("\"fedmd_kl\"", "\"standalone\"");
        for (pipeline, files, expected) in [
            ("none.toml", vec![], "cannot read 'none.toml'"),
            (
                "mine.toml",
                vec![("mine.toml", taken.as_str())],
                "has the name of another one: 'standalone'",
            ),
            (
                "mine.toml",
                vec![("mine.toml", "run = \"run.toml\"")],
                "'mine.toml' is a sweep file, and not a pipeline's file",
            ),
        ] {
            let (file, line, said) = problem(pipeline, &files);
            assert_eq!((file.as_str(), line), ("run.toml", 5), "{said}");
            assert!(
                said.contains(expected) && said.contains("relative to the run file"),
                "{said}"
            );
        }
    }

    #[test]
    fn the_documented_example_is_the_file_that_ships() {
        let page = include_str!("../../docs/pipelines.md");
        assert!(page.contains(EXAMPLE), "docs/pipelines.md shows another fedmd_kl.toml");
    }
}
