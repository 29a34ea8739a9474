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
use std::collections::{BTreeMap, BTreeSet};
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
        let mut pipelines = Self::shipped();
        pipelines.add(RunFile::pipeline_files(run_file), folder)?;
        Ok(pipelines)
    }

    /// Reads those files and the ones that the grid of a sweep file names, relative to the folder `beside`. A pipeline in whose
    /// place the grid puts others is read last, for who names it otherwise: its own name is free for theirs.
    ///
    /// # Errors
    /// As of a run file, of the files that some point reads.
    pub(crate) fn load_with_grid(
        run_file: &str,
        folder: &Path,
        sweep: &SweepFile,
        beside: &Path,
    ) -> Result<Self, Unresolved> {
        let mut pipelines = Self::shipped();
        pipelines.add(sweep.kept_pipeline_files(run_file), folder)?;
        for path in sweep.pipeline_files() {
            let usable = pipelines.read(&path, beside)?;
            pipelines.files.insert(SweepFile::catalogued(&path), usable);
        }
        for path in RunFile::pipeline_files(run_file) {
            if !pipelines.files.contains_key(&path) {
                // No point reads it by its path, and so its mistakes keep none from being run.
                let usable = pipelines.read(&path, folder);
                let usable = usable.unwrap_or_else(|_| Err(format!("there are mistakes in {}", quoted(&path))));
                pipelines.files.insert(path, usable);
            }
        }
        Ok(pipelines)
    }

    /// Those that ship.
    fn shipped() -> Self {
        Self {
            all: algorithms::all(),
            files: BTreeMap::new(),
            read: Vec::new(),
        }
    }

    /// Reads those of a run file's files that were not read before.
    fn add(&mut self, paths: BTreeSet<String>, folder: &Path) -> Result<(), Unresolved> {
        for path in paths {
            if !self.files.contains_key(&path) {
                let usable = self.read(&path, folder)?;
                self.files.insert(path, usable);
            }
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
    use crate::resolve::{Job, Resolved, resolve};
    use crate::sweep::{Unusable, points};
    use fedstill_learner::Registry;
    use fedstill_schemas::fit::Loss;

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

    /// The runs of a sweep over a run file whose pipeline is in `mine.toml`, with another one of that name in `other.toml`: each
    /// run's id and the temperature of its digest.
    fn swept(changes: [(&str, &str); 1], grid: &str) -> Result<Vec<(String, f64)>, Unusable> {
        swept_with(EXAMPLE, changes, grid)
    }

    /// The same with that text in `mine.toml`.
    fn swept_with(mine: &str, changes: [(&str, &str); 1], grid: &str) -> Result<Vec<(String, f64)>, Unusable> {
        let folder = tempfile::tempdir().unwrap();
        let other = EXAMPLE.replace("t = 3.0", "t = 7.0");
        for (name, text) in [("mine.toml", mine), ("other.toml", other.as_str())] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let data = format!("{}/examples/data", env!("CARGO_MANIFEST_DIR"));
        let mut text = include_str!("../examples/quickstart.toml").replace("\"data/", &format!("\"{data}/"));
        for (from, to) in [("= \"fedmd\"", "= \"mine.toml\"")].into_iter().chain(changes) {
            assert!(text.contains(from), "{from}");
            text = text.replace(from, to);
        }
        std::fs::write(folder.path().join("run.toml"), text).unwrap();
        let file = folder.path().join("sweep.toml");
        std::fs::write(&file, format!("run = \"run.toml\"\n[grid]\npipeline = {grid}")).unwrap();
        let temperature = |job: &Job| {
            let digest = job.resolved.pipeline.step(1, "digest").unwrap();
            match digest.terms[0].loss {
                Loss::Kl { t, .. } => t,
                _ => 0.0,
            }
        };
        let points = points(&file, &Registry::default())?;
        let jobs = points.iter().flat_map(|point| &point.resolved.jobs);
        Ok(jobs.map(|job| (job.id.clone(), temperature(job))).collect())
    }

    const NO_BASELINES: (&str, &str) = ("[\"standalone\", \"self_digest\"]", "[]");

    #[test]
    fn a_pipeline_of_a_grid_may_have_the_name_of_the_one_in_whose_place_it_is() {
        let runs = swept([NO_BASELINES], "[\"other.toml\", \"fedmd\"]").unwrap();
        let expected = [
            ("quickstart-pipeline-other-toml-fedmd_kl-0".to_owned(), 7.0),
            ("quickstart-pipeline-fedmd-fedmd-0".to_owned(), 0.0),
        ];
        assert_eq!(runs, expected);
        // The run file's own is there for who names it otherwise.
        let named = (NO_BASELINES.0, "[\"fedmd_kl\"]");
        let runs = swept([named], "[\"fedmd\"]").unwrap();
        assert_eq!(runs[1], ("quickstart-pipeline-fedmd-fedmd_kl-0".to_owned(), 3.0));
    }

    #[test]
    fn a_mistake_in_a_file_stops_a_sweep_only_where_some_point_reads_it() {
        let faulty = EXAMPLE.replace("target = \"consensus\"", "target = \"consenus\"");
        for mine in ["[[this is no TOML", faulty.as_str()] {
            let runs = swept_with(mine, [NO_BASELINES], "[\"other.toml\", \"fedmd\"]").unwrap();
            assert_eq!(runs.len(), 2);
            let compared = (NO_BASELINES.0, "[\"mine.toml\"]");
            let Err(Unusable::Problems(wrong)) = swept_with(mine, [compared], "[\"fedmd\"]") else {
                panic!("what every point is compared with has mistakes");
            };
            assert!(wrong[0].path.ends_with("mine.toml"), "{wrong:?}");
        }
    }

    #[test]
    fn a_pipeline_of_a_grid_cannot_have_the_name_of_one_that_is_compared_with() {
        let compared = (NO_BASELINES.0, "[\"mine.toml\"]");
        let Err(Unusable::Problems(wrong)) = swept([compared], "[\"other.toml\", \"fedmd\"]") else {
            panic!("both are run under one name");
        };
        let said = wrong[0].problems[0].to_string();
        assert!(
            said.contains("'other.toml' has the name of another one: 'fedmd_kl'"),
            "{said}"
        );
    }

    #[test]
    fn the_documented_example_is_the_file_that_ships() {
        let page = include_str!("../../docs/pipelines.md");
        assert!(page.contains(EXAMPLE), "docs/pipelines.md shows another fedmd_kl.toml");
    }
}
