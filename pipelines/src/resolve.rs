//! From a run file to resolved runs: data sets are opened and named by their content, defaults filled in, and everything
//! that can be known to fail is refused before anything is written.

mod budget;
mod checks;
#[cfg(test)]
mod tests;

use crate::pipeline_files::Pipelines;
use crate::prices;
use fedstill_learner::{DataError, Dataset, Division, Registry};
use fedstill_schemas::Digest;
use fedstill_schemas::data::{Augmentation, Columns, DataSet, LabelsPer, Shape};
use fedstill_schemas::events::{Close, Trigger};
use fedstill_schemas::names;
use fedstill_schemas::pipeline::{Pipeline, Selection};
use fedstill_schemas::prices::Provider;
use fedstill_schemas::resolved::{ResolvedRun, VERSION, Validation};
use fedstill_schemas::run_file::{self, ALIGNMENT, Private, Problem, RunFile, Source};
use fedstill_schemas::task::Attempt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One pipeline and seed of a run file.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    /// The run's id.
    pub(crate) id: String,
    /// What it is.
    pub(crate) resolved: ResolvedRun,
}

/// A run file with its data.
#[derive(Debug)]
pub(crate) struct Resolved {
    /// What was asked for.
    pub(crate) file: RunFile,
    /// One job a pipeline and seed: for each seed the file's pipeline first, then its baselines.
    pub(crate) jobs: Vec<Job>,
    /// When phases close.
    pub(crate) close: Close,
    /// By whose prices tasks are billed.
    pub(crate) prices: Arc<Provider>,
    /// Every data set that the jobs name.
    pub(crate) data: Vec<Arc<Dataset>>,
    /// What the paths of the file are relative to.
    pub(crate) folder: PathBuf,
}

/// Why a run file cannot be resolved.
#[derive(Debug)]
pub(crate) enum Unresolved {
    /// The file cannot be read.
    Unreadable(PathBuf, std::io::Error),
    /// It, or a pipeline's file that it names, has mistakes: which one, its text, and their places there.
    Problems(PathBuf, String, Vec<Problem>),
}

/// A run file that was read, with its pipelines and without its data.
#[derive(Debug)]
pub(crate) struct Parsed {
    text: String,
    /// What was asked for.
    pub(crate) file: RunFile,
    pipelines: Pipelines,
}

/// Reads a run file and all that it names.
pub(crate) fn resolve(path: &Path, registry: &Registry) -> Result<Resolved, Unresolved> {
    let Parsed { text, file, pipelines } = parse(path, registry)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    with_data(file, folder, &pipelines.all, registry, &mut Opened::default())
        .map_err(|problems| Unresolved::Problems(path.to_owned(), text, problems))
}

/// Reads a run file and its pipelines alone.
pub(crate) fn parse(path: &Path, registry: &Registry) -> Result<Parsed, Unresolved> {
    let text = std::fs::read_to_string(path).map_err(|error| Unresolved::Unreadable(path.to_owned(), error))?;
    if let Some(problem) = RunFile::mistaken(&text, &path.display().to_string()) {
        return Err(Unresolved::Problems(path.to_owned(), text, vec![problem]));
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    let pipelines = Pipelines::load(&text, folder)?;
    let families = registry.families();
    let parsed = RunFile::parse(&text, &pipelines.catalog(&families));
    match parsed {
        Ok(file) => Ok(Parsed { text, file, pipelines }),
        Err(problems) => Err(Unresolved::Problems(path.to_owned(), text, problems)),
    }
}

impl Parsed {
    /// What the file asks of a run that has begun, without its data: all but the rows themselves, which count as those that
    /// the run has. `None` for a pipeline that the file does not have.
    pub(crate) fn asked_of(&self, there: &ResolvedRun) -> Option<ResolvedRun> {
        let file = &self.file;
        let pipelines = file.asked(&self.pipelines.all);
        let pipeline = pipelines.iter().find(|own| own.name == there.pipeline.name)?;
        // A set that the run lacks differs, whatever it is.
        let of = |source: &Source, set: Option<&DataSet>| {
            let set = set.unwrap_or(&there.private).clone();
            DataSet {
                take: source.rows.unwrap_or(set.rows),
                columns: source.columns.clone(),
                augment: source.augment.clone(),
                ..set
            }
        };
        let private = match &file.data.private {
            Private::Divided(source) => of(source, Some(&there.private)),
            Private::Own {
                classes,
                shape,
                labels_per,
                augment,
            } => unknown(*classes, *shape, *labels_per, augment),
        };
        let held = match &there.validation {
            Some(Validation::Set { set }) => Some(&**set),
            Some(Validation::Private { .. }) | None => None,
        };
        let validation = match &file.data.validation {
            Some(run_file::Validation::Set(source)) => Some(of(source, held)),
            Some(run_file::Validation::Private { .. }) | None => None,
        };
        let sets = Sets {
            private,
            public: file
                .data
                .public
                .as_ref()
                .map(|source| of(source, there.public.as_ref())),
            test: of(&file.data.test, Some(&there.test)),
            validation,
        };
        let pipeline = budget::counted_as(pipeline, &there.pipeline);
        Some(resolved_run(file, &pipeline, there.seed, &sets))
    }
}

/// Data sets that are open, by file and columns: a file that several run files name is read once, and held once.
#[derive(Debug, Default)]
pub(crate) struct Opened(Vec<(PathBuf, Columns, Arc<Dataset>)>);

impl Opened {
    fn open(&mut self, path: PathBuf, columns: &Columns) -> Result<Arc<Dataset>, DataError> {
        let open = self.0.iter().find(|(file, read, _)| *file == path && read == columns);
        if let Some((_, _, data)) = open {
            return Ok(Arc::clone(data));
        }
        let data = Arc::new(Dataset::open(&path, columns)?);
        self.0.push((path, columns.clone(), Arc::clone(&data)));
        Ok(data)
    }
}

impl Resolved {
    /// The trigger by which a run of the file begins.
    pub(crate) fn first_trigger(&self, job: &Job) -> Trigger {
        Trigger {
            version: VERSION,
            at: Attempt {
                run: job.id.clone(),
                round: 0,
                attempt: 0,
            },
            through: self.file.rounds,
            resolved: job.resolved.clone(),
            close: self.close,
            after: None,
        }
    }
}

/// The data sets of a file, as its runs name them.
#[derive(Debug)]
struct Sets {
    private: DataSet,
    public: Option<DataSet>,
    test: DataSet,
    /// Of its own; validation rows may be private ones instead.
    validation: Option<DataSet>,
}

/// Opens what a run file names, relative to a folder, and checks one against the other.
///
/// # Errors
/// The problems found; at least one.
pub(crate) fn with_data(
    file: RunFile,
    folder: &Path,
    pipelines: &[Pipeline],
    registry: &Registry,
    data: &mut Opened,
) -> Result<Resolved, Vec<Problem>> {
    let prices = prices::provider(&file.deployment.cost, folder)
        .map_err(|bad| vec![file.complain(&format!("cost.{}", bad.key), bad.message, bad.help)])?;
    let mut problems = Vec::new();
    let mut open = |key: &str, source: &Source| -> Option<(Arc<Dataset>, DataSet)> {
        let opened = data.open(source.path(folder), &source.columns);
        let opened = opened.map_err(|error| unusable(&file, key, &error));
        let checked = opened.and_then(|data| {
            let set = described(&file, key, source, &data)?;
            Ok((data, set))
        });
        checked.map_err(|problem| problems.push(problem)).ok()
    };
    let private = match &file.data.private {
        Private::Divided(source) => open("private", source).map(|(data, set)| (Some(data), set)),
        Private::Own {
            classes,
            shape,
            labels_per,
            augment,
        } => Some((None, unknown(*classes, *shape, *labels_per, augment))),
    };
    let public = file.data.public.as_ref().and_then(|source| open("public", source));
    let test = open("test", &file.data.test);
    let validation = match &file.data.validation {
        Some(run_file::Validation::Set(source)) => open("validation", source),
        Some(run_file::Validation::Private { .. }) | None => None,
    };
    let (Some((private_rows, private)), Some((test_rows, test))) = (private, test) else {
        return Err(problems);
    };
    if !problems.is_empty() {
        return Err(problems);
    }
    let (public_rows, public) = public.unzip();
    let (validation_rows, validation) = validation.unzip();
    let sets = Sets {
        private,
        public,
        test,
        validation,
    };
    let pipelines = file.asked(pipelines);
    let divided = private_rows.clone();
    let opened = [private_rows, public_rows, Some(test_rows), validation_rows];
    let data: Vec<Arc<Dataset>> = opened.into_iter().flatten().collect();
    checks::check(&file, &pipelines, registry, &sets, &data, divided.as_deref())?;
    let close = Close {
        quorum: file.close.quorum,
        deadline_ms: file.close.deadline.map(|deadline| deadline.as_millis() as u64),
    };
    Ok(Resolved {
        jobs: jobs(&file, &pipelines, &sets, divided.as_deref()),
        close,
        prices,
        data,
        folder: folder.to_owned(),
        file,
    })
}

/// Rows that each party has for itself: nothing is known of them but what they are like.
fn unknown(classes: u32, shape: Shape, labels_per: LabelsPer, augment: &[Augmentation]) -> DataSet {
    DataSet {
        columns: Columns {
            labels_per,
            ..Columns::default()
        },
        augment: augment.to_vec(),
        ..DataSet::whole(Digest::of(b""), 0, classes, shape)
    }
}

fn unusable(file: &RunFile, key: &str, error: &DataError) -> Problem {
    let help = match error {
        DataError::Open { .. } | DataError::NotParquet { .. } => {
            "paths are relative to the run file; a data set is a Parquet file with a column of images and one of labels, or \
             with one of texts"
        }
        DataError::NoSuchLabel { .. } => {
            "list labels that rows have, or leave `classes` out to use all labels as they are"
        }
        _ => "a data set is a Parquet file with a column of images and one of labels, or with one of texts",
    };
    file.complain(&format!("data.{key}.{}", error.key()), error.to_string(), help)
}

fn described(file: &RunFile, key: &str, source: &Source, data: &Dataset) -> Result<DataSet, Problem> {
    let rows = data.rows();
    let take = source.rows.unwrap_or(rows);
    if take > rows {
        let message = format!("{take} rows are asked for, and {} has {rows}", source.url);
        return Err(file.complain(&format!("data.{key}.rows"), message, format!("ask for {rows} at most")));
    }
    Ok(DataSet {
        take,
        columns: source.columns.clone(),
        augment: source.augment.clone(),
        ..DataSet::whole(data.digest(), rows, data.classes(), data.shape())
    })
}

/// Rows of each round's alignment set.
fn alignment(file: &RunFile, public: &DataSet) -> u32 {
    file.data.alignment.unwrap_or(ALIGNMENT).min(public.take)
}

/// How the private rows are divided with a seed.
fn division<'a>(file: &'a RunFile, set: &'a DataSet, seed: u64) -> Division<'a> {
    Division {
        set,
        held_back: file.data.held_back(),
        partition: &file.data.partition,
        parties: file.parties.count,
        seed,
    }
}

/// A job a seed and pipeline, of pipelines that are settled. `divided` are the rows that are divided among parties, where
/// they have none of their own.
fn jobs(file: &RunFile, pipelines: &[Pipeline], sets: &Sets, divided: Option<&Dataset>) -> Vec<Job> {
    let divided = divided.filter(|_| pipelines.iter().any(budget::is_shared));
    let active = file.parties.selection.active(file.parties.count);
    let mut jobs = Vec::new();
    for seed in &file.seeds {
        let rows = |data: &Dataset| division(file, &sets.private, *seed).rows(data.known()).ok();
        let rows: Option<Vec<usize>> = divided
            .and_then(rows)
            .map(|(_, parties)| parties.iter().map(Vec::len).collect());
        for pipeline in pipelines {
            let resolved = match &rows {
                Some(rows) => {
                    let pipeline = budget::of_all_parties(pipeline, made_of(pipeline, pipelines), rows, active);
                    resolved_run(file, &pipeline, *seed, sets)
                }
                None => resolved_run(file, pipeline, *seed, sets),
            };
            jobs.push(Job {
                id: names::run_id(&file.name, &pipeline.name, *seed),
                resolved,
            });
        }
    }
    jobs
}

/// The pipeline of a file whose steps a baseline is made of: the one that its name begins with, or else the file's own.
fn made_of<'a>(baseline: &Pipeline, pipelines: &'a [Pipeline]) -> &'a Pipeline {
    let named = baseline.name.rsplit_once('_').and_then(|(of, _)| {
        let mut all = pipelines.iter();
        all.find(|pipeline| pipeline.name == of)
    });
    named.unwrap_or(&pipelines[0])
}

fn resolved_run(file: &RunFile, pipeline: &Pipeline, seed: u64, sets: &Sets) -> ResolvedRun {
    ResolvedRun {
        version: VERSION,
        pipeline: pipeline.clone(),
        seed,
        parties: (0..file.parties.count)
            .map(|slot| file.parties.architecture(slot).clone())
            .collect(),
        identities: file.parties.identities.clone(),
        private: sets.private.clone(),
        public: sets.public.clone(),
        test: sets.test.clone(),
        labels: file.data.labels,
        partition: file.data.partition.clone(),
        alignment: sets.public.as_ref().map_or(0, |set| alignment(file, set)),
        precision: file.predictions,
        selection: if pipeline.selects() {
            file.parties.selection
        } else {
            Selection::All
        },
        validation: validation(file, pipeline, sets),
        simulate: file.simulate,
    }
}

/// The validation rows of a run. Private ones are cut off before the rows are divided, and so for every pipeline of the
/// file: parties have the same rows in all of them.
fn validation(file: &RunFile, pipeline: &Pipeline, sets: &Sets) -> Option<Validation> {
    match (&file.data.validation, &sets.validation) {
        (Some(run_file::Validation::Private { rows }), _) => Some(Validation::Private { rows: *rows }),
        (_, Some(set)) if pipeline.reads_validation() => Some(Validation::Set {
            set: Box::new(set.clone()),
        }),
        _ => None,
    }
}
