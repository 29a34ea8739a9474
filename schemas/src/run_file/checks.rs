//! Fields of a run file against each other, and against what its pipelines do.

mod positions;
mod rounds;
mod temperature;
mod validation;

use super::problem::Problem;
use super::spelling::parties;
use super::{Catalog, RunFile, Source, Validation};
use crate::data::{Labels, Partition};
use crate::pipeline::{On, Pipeline, Rule, Stage, Step, Target, Who};

/// All problems of a file whose fields are valid one by one, in the order of the text. A key that changes nothing of the
/// file's own pipelines is none where it does of pipelines that run elsewhere alone.
pub(super) fn run(file: &RunFile, catalog: &Catalog<'_>, elsewhere: &[Pipeline]) -> Vec<Problem> {
    let pipelines = file.asked(catalog.pipelines);
    let mut all = pipelines.clone();
    all.extend(elsewhere.iter().map(|pipeline| file.settled(pipeline)));
    let mut problems: Vec<Problem> = [
        baseline_is_the_pipeline(file),
        baseline_is_of_what_is_not_compared(file, catalog),
        public_is_missing(file, &pipelines),
        public_labels_are_needed(file, &pipelines),
        alignment_exceeds_public(file),
        augmentation_changes_nothing(file, &all),
        too_few_private_rows(file),
        owners_do_not_fit(file),
        positions::do_not_fit(file),
        parties_and_their_rows_do_not_fit(file),
        too_many_architectures(file),
        optimizers_share_no_state(file, &pipelines),
        weights_are_of_other_parties(file, &pipelines),
        nobody_with_a_weight_may_be_selected(file, &pipelines),
        temperature::changes_nothing(file, &all),
        validation::is_missing(file, &pipelines),
        validation::changes_nothing(file, &all),
        validation::nobody_is_judged(file, &all),
        validation::is_not_with_the_party(file, &pipelines),
        validation::is_of_rows_that_nobody_has(file),
        rounds::all_are_selected(file),
        rounds::selection_changes_nothing(file, &all, catalog),
        rounds::quorum_exceeds_active(file, &pipelines),
        rounds::architectures_exceed_active(file, &pipelines),
        rounds::simulated_parties_do_not_fit(file),
        rounds::answers_cannot_reach_the_quorum(file),
    ]
    .into_iter()
    .flatten()
    .collect();
    problems.sort_by_key(|problem| problem.span.start);
    problems
}

fn baseline_is_the_pipeline(file: &RunFile) -> Option<Problem> {
    let index = file.baselines.iter().position(|name| *name == file.pipeline)?;
    Some(file.complain(
        &format!("baselines[{index}]"),
        format!("'{}' is the file's pipeline and cannot be its baseline", file.pipeline),
        "remove it from baselines",
    ))
}

/// A baseline that is made of another pipeline than the file's stands beside that one.
fn baseline_is_of_what_is_not_compared(file: &RunFile, catalog: &Catalog<'_>) -> Option<Problem> {
    let missing = |name: &String| {
        let (of, _) = name.rsplit_once('_').filter(|_| catalog.pipeline(name).is_none())?;
        let is_there = file.pipelines().any(|there| there == of);
        (!is_there).then(|| of.to_owned())
    };
    let mut baselines = file.baselines.iter().enumerate();
    let (index, of) = baselines.find_map(|(index, name)| Some((index, missing(name)?)))?;
    Some(file.complain(
        &format!("baselines[{index}]"),
        format!(
            "'{}' is made of the steps of '{of}', which the file does not run",
            file.baselines[index]
        ),
        format!("add \"{of}\" to baselines"),
    ))
}

fn public_is_missing(file: &RunFile, pipelines: &[Pipeline]) -> Option<Problem> {
    if file.data.public.is_some() {
        return None;
    }
    if let Some(users) = users(pipelines, reads_public) {
        return Some(file.complain(
            "data",
            format!("'public' is missing in data, but {users} needs a public set"),
            "add public = { url = \"data/mnist.parquet\" }",
        ));
    }
    file.data.alignment?;
    Some(file.complain(
        "data.alignment",
        "'data.alignment' is a number of public rows, but the file has no public set",
        "remove it, or add public = { url = \"data/mnist.parquet\" } to [data]",
    ))
}

fn public_labels_are_needed(file: &RunFile, pipelines: &[Pipeline]) -> Option<Problem> {
    if file.data.labels != Labels::Private {
        return None;
    }
    let users = users(pipelines, trains_on_public_labels)?;
    Some(file.complain(
        "data.labels",
        format!("labels = \"private\" uses no public labels, but {users} trains on them"),
        "write labels = \"union\" or labels = \"shared\", or choose pipelines that use no public labels",
    ))
}

fn alignment_exceeds_public(file: &RunFile) -> Option<Problem> {
    let alignment = file.data.alignment?;
    let rows = file.data.public.as_ref()?.rows?;
    (alignment > rows).then(|| {
        file.complain(
            "data.alignment",
            format!("an alignment set of {alignment} rows cannot be drawn from {rows} public rows"),
            format!("write alignment = {rows} or less, or raise rows of data.public"),
        )
    })
}

/// Rows of the alignment set are predicted on by all and never changed, and so are rows without labels.
fn augmentation_changes_nothing(file: &RunFile, pipelines: &[Pipeline]) -> Option<Problem> {
    let augmented = file
        .data
        .public
        .as_ref()
        .is_some_and(|public| !public.augment.is_empty());
    let changes = |step: &Step| {
        step.terms
            .iter()
            .any(|term| term.on == On::Public && term.target == Target::Labels)
    };
    (augmented && users(pipelines, changes).is_none()).then(|| {
        file.complain(
            "data.public.augment",
            "'data.public.augment' would change nothing: no step trains on public rows by their labels, and the alignment \
             set is never augmented",
            "remove it",
        )
    })
}

fn too_few_private_rows(file: &RunFile) -> Option<Problem> {
    let rows = file.data.private.file()?.rows?;
    let count = file.parties.count;
    let held = file.data.held_back();
    if u64::from(rows) < u64::from(held) + u64::from(count) {
        let needed = u64::from(held) + u64::from(count);
        let (without, lower) = match held {
            0 => (String::new(), String::new()),
            held => (
                format!(", without the {held} of data.validation,"),
                " or data.validation.rows".to_owned(),
            ),
        };
        let left = rows.saturating_sub(held);
        return Some(file.complain(
            "data.private.rows",
            match left {
                1 => format!(
                    "1 private row{without} is too few for {}: each needs at least one",
                    parties(count)
                ),
                _ => format!(
                    "{left} private rows{without} are too few for {}: each needs at least one",
                    parties(count)
                ),
            },
            format!("write rows = {needed} or more, or lower parties.count{lower}"),
        ));
    }
    let rows = rows - held;
    let (Partition::LogNormal { min, .. } | Partition::Dirichlet { min, .. } | Partition::Natural { min }) =
        file.data.partition
    else {
        return None;
    };
    let needed = u64::from(min) * u64::from(count);
    (needed > rows.into()).then(|| {
        file.complain(
            "data.partition.min",
            match count {
                1 => format!("1 party with at least {min} rows needs as many private rows, but there are {rows}"),
                _ => format!(
                    "{count} parties with at least {min} rows each need {needed} private rows, but there are {rows}"
                ),
            },
            format!(
                "write min = {} or less, raise rows of data.private, or lower parties.count",
                rows / count
            ),
        )
    })
}

/// The natural partition needs to know whose rows are whose, and texts are put together by their owners; nothing else asks
/// for them.
fn owners_do_not_fit(file: &RunFile) -> Option<Problem> {
    let natural = matches!(file.data.partition, Partition::Natural { .. });
    let private = file.data.private.file();
    if natural && private.is_some_and(|private| private.columns.owner.is_none()) {
        return Some(file.complain(
            "data.partition",
            "the partition 'natural' makes owners of rows parties, and data.private does not name a column of owners",
            "add the column's name to data.private, as in owner = \"client\"",
        ));
    }
    let unasked = |source: &Source| source.columns.owner.is_some() && source.columns.text.is_none();
    let mut sources = sources(file).filter(|(key, _)| !natural || *key != "data.private");
    let (key, _) = sources.find(|(_, source)| unasked(source))?;
    Some(file.complain(
        &format!("{key}.owner"),
        format!("'{key}.owner' would change nothing: only the partition 'natural' and texts ask whose rows are whose"),
        "remove it",
    ))
}

/// The files of the data sets, each by its key.
fn sources(file: &RunFile) -> impl Iterator<Item = (&'static str, &Source)> {
    let validation = match &file.data.validation {
        Some(Validation::Set(source)) => Some(source),
        _ => None,
    };
    let sources = [
        ("data.private", file.data.private.file()),
        ("data.public", file.data.public.as_ref()),
        ("data.test", Some(&file.data.test)),
        ("data.validation", validation),
    ];
    sources.into_iter().filter_map(|(key, source)| Some((key, source?)))
}

/// Real parties have rows of their own, simulated ones share a file.
fn parties_and_their_rows_do_not_fit(file: &RunFile) -> Option<Problem> {
    match (file.data.private.file(), file.parties.identities.is_empty()) {
        (Some(_), false) => Some(file.complain(
            "data.private",
            "parties with keys have private rows of their own, which no file here can name",
            "say what they are like, as in private = { classes = 26, shape = [1, 28, 28] }",
        )),
        (None, true) => Some(file.complain(
            "data.private",
            "simulated parties need a file of private rows",
            "write private = { url = \"data/letters.parquet\" }, or name parties with keys in [[party]] tables",
        )),
        _ => None,
    }
}

fn too_many_architectures(file: &RunFile) -> Option<Problem> {
    let count = file.parties.count as usize;
    let listed = file.parties.architectures.len();
    let first = file.parties.architectures.get(count)?;
    Some(file.complain(
        &format!("parties.architectures[{count}]"),
        format!(
            "{listed} architectures for {}: no party would have {first}",
            parties(file.parties.count)
        ),
        match count {
            1 => format!("write count = {listed} or more, or list 1 architecture"),
            _ => format!("write count = {listed} or more, or list {count} architectures or fewer"),
        },
    ))
}

/// Steps of one pipeline that continue each other's optimizer state need optimizers with the same kind of state.
fn optimizers_share_no_state(file: &RunFile, pipelines: &[Pipeline]) -> Option<Problem> {
    let changed = |name: &str| file.steps.get(name).and_then(|settings| settings.optimizer.as_ref());
    let state = |step: &Step| {
        let fit = step.fit.as_ref()?;
        Some(changed(&step.name).unwrap_or(&fit.optimizer).state())
    };
    let steps = || {
        pipelines
            .iter()
            .flat_map(|pipeline| pipeline.all_steps().map(|step| (pipeline.name.as_str(), step)))
    };
    steps()
        .filter(|(_, step)| step.keep.is_some() && changed(&step.name).is_some())
        .find_map(|(pipeline, step)| {
            let mut others = steps().filter(|(of, other)| *of == pipeline && other.keep == step.keep);
            let (_, other) = others.find(|(_, other)| state(other) != state(step))?;
            let (here, there) = (state(step)?, state(other)?);
            Some(file.complain(
                &format!("steps.{}.optimizer", step.name),
                format!(
                    "'{}' and '{}' of {pipeline} continue one optimizer state, and this makes one {here}, the other {there}",
                    step.name, other.name
                ),
                format!("set steps.{}.optimizer to the same kind", other.name),
            ))
        })
}

/// A dotted key, or another one where the file does not write it: the pipeline may have it in a file of its own.
fn written_or<'k>(file: &RunFile, key: &'k str, otherwise: &'k str) -> &'k str {
    if file.places.has(key) { key } else { otherwise }
}

/// A rule lists what parties count by, and there are more of them, or fewer.
fn weights_are_of_other_parties(file: &RunFile, pipelines: &[Pipeline]) -> Option<Problem> {
    let count = file.parties.count as usize;
    let mut steps = pipelines.iter().flat_map(Pipeline::all_steps);
    let (name, listed) = steps.find_map(|step| {
        let listed = step.rule.as_ref().and_then(Rule::slots)?.len();
        (listed != count).then_some((&step.name, listed))
    })?;
    let written = format!("steps.{name}.rule.weights");
    let key = written_or(file, &written, "parties.count");
    Some(file.complain(
        key,
        format!(
            "the rule of step '{name}' lists {listed} weights, and there {} {}",
            if count == 1 { "is" } else { "are" },
            parties(file.parties.count)
        ),
        format!("list {count} weights, one a party, in the order of their slots"),
    ))
}

/// So many parties have weight 0 that a round may select no other: its attempts would all fail, with the same parties.
fn nobody_with_a_weight_may_be_selected(file: &RunFile, pipelines: &[Pipeline]) -> Option<Problem> {
    let count = file.parties.count;
    let active = file.parties.selection.active(count);
    let selects = |pipeline: &&Pipeline| {
        let mut steps = pipeline.all_steps();
        steps.any(|step| step.stage == Stage::Predict && step.who == Who::Selected)
    };
    let mut steps = pipelines.iter().filter(selects).flat_map(Pipeline::all_steps);
    let (name, without) = steps.find_map(|step| {
        let listed = step.rule.as_ref().and_then(Rule::slots)?;
        let without = listed.iter().filter(|weight| **weight <= 0.0).count();
        // Weights of other parties are another mistake.
        (listed.len() == count as usize && without >= active as usize).then_some((&step.name, without))
    })?;
    let written = format!("steps.{name}.rule.weights");
    let key = written_or(file, &written, "parties.active");
    Some(file.complain(
        key,
        format!(
            "{without} of {} {} weight 0 in the rule of step '{name}', and a round of {active} may select {} alone",
            parties(count),
            if without == 1 { "has" } else { "have" },
            if without == 1 { "it" } else { "these" }
        ),
        format!(
            "give {} of them a weight above 0, or raise parties.active so that more than {without} take part in a round",
            without + 1 - active as usize
        ),
    ))
}

/// "step 'pretrain' of fedmd, step 'digest' of feddf": of each pipeline the first step that it is true of; `None`
/// where there is none.
fn users(pipelines: &[Pipeline], is_true: fn(&Step) -> bool) -> Option<String> {
    let users: Vec<String> = pipelines
        .iter()
        .filter_map(|pipeline| {
            let step = pipeline.all_steps().find(|step| is_true(step))?;
            Some(format!("step '{}' of {}", step.name, pipeline.name))
        })
        .collect();
    (!users.is_empty()).then(|| users.join(", "))
}

fn reads_public(step: &Step) -> bool {
    // Predictions and what is made of them are always about the alignment set.
    matches!(step.stage, Stage::Predict | Stage::Aggregate | Stage::Join)
        || step.terms.iter().any(|term| on_public_rows(term.on))
}

fn trains_on_public_labels(step: &Step) -> bool {
    step.terms
        .iter()
        .any(|term| on_public_rows(term.on) && term.target == Target::Labels)
}

fn on_public_rows(on: On) -> bool {
    matches!(on, On::Public | On::Alignment)
}
