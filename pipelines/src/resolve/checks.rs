//! What a run file asks for, against the data that it names: everything that would make a run fail later.

use super::{Sets, alignment, division};
use crate::estimate::counted;
use fedstill_learner::{Dataset, Model, Registry};
use fedstill_schemas::data::DataSet;
use fedstill_schemas::pipeline::{On, Pipeline, Target};
use fedstill_schemas::run_file::{Problem, RunFile};
use std::sync::Arc;

/// Checks a file with pipelines that are settled. `divided` is the file whose rows are divided among parties, where they
/// have none of their own; `data` are all data sets.
///
/// # Errors
/// The problems of the first check that finds any: the ones after it need what it found out.
pub(super) fn check(
    file: &RunFile,
    pipelines: &[Pipeline],
    registry: &Registry,
    sets: &Sets,
    data: &[Arc<Dataset>],
    divided: Option<&Dataset>,
) -> Result<(), Vec<Problem>> {
    check_settled(file, pipelines)?;
    if let Some(what) = sets.private.too_large() {
        return Err(vec![file.complain(
            "data.private",
            what,
            "check the classes and the shape",
        )]);
    }
    check_sets(file, sets)?;
    check_head(file, pipelines, sets)?;
    check_architectures(file, registry, sets, data)?;
    check_public(file, pipelines, sets)?;
    match divided {
        Some(data) => check_partition(file, pipelines, data, &sets.private),
        None => Ok(()),
    }
}

fn found(problems: Vec<Problem>) -> Result<(), Vec<Problem>> {
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

/// The rules of pipelines, once more where the file changes their steps: `plan` refuses a run that breaks one.
fn check_settled(file: &RunFile, pipelines: &[Pipeline]) -> Result<(), Vec<Problem>> {
    let of = |pipeline: &Pipeline| -> Vec<Problem> {
        let faults = pipeline.check().into_iter();
        faults
            .map(|fault| file.complain(&written(pipeline, &fault.key), fault.message, fault.help))
            .collect()
    };
    found(pipelines.iter().flat_map(of).collect())
}

/// The key of a run file that changes a key of a pipeline: `steps.train.optimizer.lr` for `round[0].fit.optimizer.lr`.
fn written(pipeline: &Pipeline, key: &str) -> String {
    let of_step = || -> Option<String> {
        let (list, rest) = key.split_once('[')?;
        let (index, rest) = rest.split_once(']')?;
        let steps = if list == "warmup" {
            &pipeline.warmup
        } else {
            &pipeline.round
        };
        let step = steps.get(index.parse::<usize>().ok()?)?;
        let rest = rest.strip_prefix(".fit").unwrap_or(rest);
        Some(format!("steps.{}{rest}", step.name))
    };
    of_step().unwrap_or_else(|| "pipeline".to_owned())
}

fn check_sets(file: &RunFile, sets: &Sets) -> Result<(), Vec<Problem>> {
    let mut problems = Vec::new();
    let Sets {
        private,
        public,
        test,
        validation,
    } = sets;
    let others = [
        ("public", public.as_ref()),
        ("test", Some(test)),
        ("validation", validation.as_ref()),
    ];
    for (key, set) in others.into_iter().filter_map(|(key, set)| Some((key, set?))) {
        if set.shape != private.shape {
            let shape = |set: &DataSet| format!("{}x{}x{}", set.shape.channels, set.shape.height, set.shape.width);
            let message = format!("its images are {}, the private ones {}", shape(set), shape(private));
            let help = "use sets with images of one shape (channels x height x width)";
            problems.push(file.complain(&format!("data.{key}.url"), message, help));
        }
        // Its labels are the private ones: they have the same places in the head.
        if key != "public" && set.classes > private.classes {
            let message = format!(
                "the {key} set has labels up to {}, the private set up to {}",
                set.classes - 1,
                private.classes - 1
            );
            let help = format!("use a {key} set with the classes of the private set");
            problems.push(file.complain(&format!("data.{key}.url"), message, help));
        }
    }
    let (parties, held) = (file.parties.count, file.data.held_back());
    if file.data.private.file().is_some() && private.take.saturating_sub(held) < parties {
        let without = match held {
            0 => String::new(),
            held => format!(", {held} of them for validation,"),
        };
        let message = format!(
            "{}{without} are too few for {}",
            counted(private.take, "private row"),
            counted(parties, "party")
        );
        problems.push(file.complain("parties.count", message, "give every party at least two rows"));
    }
    if let (Some(asked), Some(public)) = (file.data.alignment, public)
        && asked > public.take
    {
        let message = format!("{asked} rows are asked for, and {} public rows are in use", public.take);
        problems.push(file.complain("data.alignment", message, format!("ask for {} at most", public.take)));
    }
    found(problems)
}

fn head(file: &RunFile, sets: &Sets) -> u32 {
    let public = sets.public.as_ref().map_or(0, |set| set.classes);
    file.data.labels.head(sets.private.classes, public)
}

/// Every model of a run has the same head, so that any two can be averaged or compared. What it has beyond the private
/// classes must be trained by somebody: else parties and server exchange what nobody ever learned.
fn check_head(file: &RunFile, pipelines: &[Pipeline], sets: &Sets) -> Result<(), Vec<Problem>> {
    let (head, private) = (head(file, sets), sets.private.classes);
    let mut terms = pipelines
        .iter()
        .flat_map(Pipeline::all_steps)
        .flat_map(|step| &step.terms);
    let trained = terms.any(|term| term.on != On::Private && term.target == Target::Labels);
    if head <= private || trained {
        return Ok(());
    }
    let message = format!(
        "every model would have {head} classes, {} of them of the public set, and no step trains on its labels",
        head - private
    );
    let help = "write labels = \"private\": the private classes only";
    Err(vec![file.complain("data.labels", message, help)])
}

fn check_architectures(
    file: &RunFile,
    registry: &Registry,
    sets: &Sets,
    data: &[Arc<Dataset>],
) -> Result<(), Vec<Problem>> {
    let (classes, shape) = (head(file, sets), sets.private.shape);
    let labels_per = sets.private.columns.labels_per;
    let built = file
        .parties
        .architectures
        .iter()
        .enumerate()
        .filter_map(|(index, architecture)| {
            let model = Model {
                architecture,
                shape,
                classes,
                labels_per,
            };
            let mut reads = data.iter().map(|data| fedstill_learner::reads(registry, &model, data));
            let built = fedstill_learner::parameters(registry, &model).map(|_| ());
            let error = built
                .and_then(|()| reads.find(Result::is_err).unwrap_or(Ok(())))
                .err()?;
            let help = format!("rows are {}x{}x{}", shape.channels, shape.height, shape.width);
            Some(file.complain(&format!("parties.architectures[{index}]"), error.to_string(), help))
        });
    found(built.collect())
}

/// Rows that training on them needs: two for a batch, and one more where a fifth is held back to stop early; none where
/// no step trains on them.
fn rows_needed(pipelines: &[Pipeline], on: On) -> usize {
    let training = pipelines
        .iter()
        .flat_map(Pipeline::all_steps)
        .filter(|step| step.terms.iter().any(|term| term.on == on));
    let needed = training.filter_map(|step| {
        let stop = step.fit.as_ref()?.stop.as_ref();
        Some(2 + usize::from(stop.is_some_and(|stop| stop.watch.is_held_out())))
    });
    needed.max().unwrap_or(0)
}

/// Checks that there are public rows, and rows of the alignment set, enough to train on.
fn check_public(file: &RunFile, pipelines: &[Pipeline], sets: &Sets) -> Result<(), Vec<Problem>> {
    let Some(public) = &sets.public else { return Ok(()) };
    let aligned = alignment(file, public);
    let mut problems = Vec::new();
    for (key, on, rows) in [
        ("data.public.rows", On::Public, public.take),
        ("data.alignment", On::Alignment, aligned),
    ] {
        let needed = rows_needed(pipelines, on);
        if (rows as usize) < needed {
            let message = format!("training needs {}, not {rows}", counted(needed, "row"));
            problems.push(file.complain(key, message, format!("ask for {needed} at least, better for hundreds")));
        }
    }
    found(problems)
}

/// Divides the private rows as every seed will, so that what cannot be divided is known now.
fn check_partition(file: &RunFile, pipelines: &[Pipeline], data: &Dataset, set: &DataSet) -> Result<(), Vec<Problem>> {
    let needed = rows_needed(pipelines, On::Private);
    for seed in &file.seeds {
        let message = match division(file, set, *seed).rows(data.known()) {
            Err(error) => error.to_string(),
            Ok((_, parts)) => match parts.iter().position(|rows| rows.len() < needed) {
                None => continue,
                Some(party) => format!(
                    "party-{party} gets {} with seed {seed}, and training needs {needed}",
                    counted(parts[party].len(), "row")
                ),
            },
        };
        let help = "use more private rows, fewer parties, or a more even partition";
        return Err(vec![file.complain("data.partition", message, help)]);
    }
    Ok(())
}
