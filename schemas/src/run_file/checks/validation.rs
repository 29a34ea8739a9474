//! The rows that the server stops its training by, or judges parties' models by, against the steps that would.

use super::{Problem, RunFile, Validation, users};
use crate::pipeline::{Pipeline, Step, Who};

/// A step of the server stops, or drops the worst, by rows that the file does not name.
pub(super) fn is_missing(file: &RunFile, pipelines: &[Pipeline]) -> Option<Problem> {
    if file.data.validation.is_some() {
        return None;
    }
    if let Some(users) = users(pipelines, |step| step.stops_by_validation() && !is_of_parties(step)) {
        return Some(file.complain(
            "data",
            format!("'validation' is missing in data, but {users} stops by validation rows"),
            "add validation = { rows = 500 }, or let the step stop otherwise, as by stop = false",
        ));
    }
    let users = users(pipelines, |step| step.drop_worst)?;
    Some(file.complain(
        "data",
        format!("'validation' is missing in data, but {users} drops the worst by validation rows"),
        "add validation = { rows = 500 }, or remove drop_worst",
    ))
}

/// Rows are set apart, and nobody looks at them.
pub(super) fn changes_nothing(file: &RunFile, pipelines: &[Pipeline]) -> Option<Problem> {
    let unused = file.data.validation.is_some() && !pipelines.iter().any(Pipeline::reads_validation);
    unused.then(|| {
        file.complain(
            "data.validation",
            "'data.validation' would change nothing: no step stops by validation rows, or drops the worst by them",
            "remove it, or let a step of the server stop by it: stop = { patience = 3, watch = \"validation\" }",
        )
    })
}

/// The worst are to be dropped, of models that no server of the file's pipelines sees.
pub(super) fn nobody_is_judged(file: &RunFile, pipelines: &[Pipeline]) -> Option<Problem> {
    let dropping = |name: &str| {
        let mut steps = pipelines.iter().flat_map(Pipeline::all_steps);
        steps.any(|step| step.name == name && step.drop_worst)
    };
    let mut settings = file.steps.iter();
    let (name, _) = settings.find(|(name, settings)| settings.drop_worst == Some(true) && !dropping(name))?;
    let all: Vec<&str> = file.pipelines().collect();
    Some(file.complain(
        &format!("steps.{name}.drop_worst"),
        format!(
            "'steps.{name}.drop_worst' would change nothing: the server of {} does not see the models of parties",
            all.join(", ")
        ),
        "remove it, or choose a pipeline that discloses weights, as feddf does",
    ))
}

/// The server holds the rows, and no party ever sees them.
pub(super) fn is_not_with_the_party(file: &RunFile, pipelines: &[Pipeline]) -> Option<Problem> {
    let watches = |step: &&Step| step.stops_by_validation() && is_of_parties(step);
    pipelines.iter().find_map(|pipeline| {
        let step = pipeline.all_steps().find(watches)?;
        Some(file.complain(
            &format!("steps.{}.stop.watch", step.name),
            format!(
                "parties do step '{}' of {}, and validation rows are with the server",
                step.name, pipeline.name
            ),
            "write watch = \"held_out\", a fifth of the party's own rows",
        ))
    })
}

/// Of parties that keep their rows to themselves nothing can be cut off.
pub(super) fn is_of_rows_that_nobody_has(file: &RunFile) -> Option<Problem> {
    let own = !file.parties.identities.is_empty();
    (own && matches!(file.data.validation, Some(Validation::Private { .. }))).then(|| {
        file.complain(
            "data.validation",
            "parties with keys have private rows of their own, of which the server can hold none",
            "name a file of its own, as in validation = { url = \"data/validation.parquet\" }",
        )
    })
}

fn is_of_parties(step: &Step) -> bool {
    matches!(step.who, Who::Parties | Who::Selected)
}
