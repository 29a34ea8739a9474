//! `fedstill check`: what a run file would do, without doing it.

mod classes;
mod forecast;
mod overlap;
mod steps;
#[cfg(test)]
mod tests;
mod unlike;

use crate::estimate::{self, bytes, counted};
use crate::resolve::{Job, Resolved};
use fedstill_learner::{Model, Registry};
use fedstill_schemas::data::LabelsPer;
use fedstill_schemas::pipeline::{Disclosure, Pipeline, Selection, Stage, Who};
use fedstill_schemas::plan::chunk_rows;
use fedstill_schemas::resolved::{ResolvedRun, Validation};
use std::fmt::Write;
use std::num::NonZeroUsize;
use steps::does;

/// The plan of every pipeline of the file; seeds differ in nothing that is shown but in what is known of rounds.
pub(crate) fn plan(resolved: &Resolved, registry: &Registry) -> String {
    let file = &resolved.file;
    let seeds: Vec<String> = file.seeds.iter().map(u64::to_string).collect();
    let mut out = format!(
        "{}: {}, {}, seed{} {}\n",
        file.name,
        counted(file.parties.count, "party"),
        counted(file.rounds, "round"),
        if seeds.len() == 1 { "" } else { "s" },
        seeds.join(", ")
    );
    let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let _ = writeln!(
        out,
        "memory: about {} on {}, by a trial of every architecture",
        bytes(estimate::memory(resolved, registry, threads)),
        counted(threads, "thread")
    );
    if let Some(warning) = forecast::selected_apart(resolved.jobs.iter().map(|job| &job.resolved)) {
        let _ = writeln!(out, "{warning}");
    }
    let mut warnings = unlike::warnings(&pipelines(resolved));
    warnings.extend(of_data(resolved));
    for warning in warnings {
        let _ = writeln!(out, "{warning}");
    }
    for name in file.pipelines() {
        let jobs = resolved.jobs.iter().filter(|job| job.resolved.pipeline.name == name);
        let jobs: Vec<&Job> = jobs.collect();
        if let Some(first) = jobs.first() {
            out.push('\n');
            let mut known = steps_by_seed(&jobs);
            known.extend(forecast::of_rounds(&jobs, file.rounds, resolved.close));
            out.push_str(&of_job(first, file.rounds, &known, registry));
        }
    }
    out
}

/// Lines about data with which scores are not what they are taken for, as `run` and `sweep` say them too before they start.
pub(crate) fn of_data(resolved: &Resolved) -> Vec<String> {
    let first = resolved.jobs.first();
    let mut warnings = first.map_or_else(Vec::new, |job| classes::warnings(&job.resolved, &pipelines(resolved)));
    warnings.extend(overlap::warnings(resolved));
    warnings
}

/// The pipelines of a file, each once.
fn pipelines(resolved: &Resolved) -> Vec<&Pipeline> {
    let mut pipelines: Vec<&Pipeline> = Vec::new();
    for job in &resolved.jobs {
        if pipelines.iter().all(|other| other.name != job.resolved.pipeline.name) {
            pipelines.push(&job.resolved.pipeline);
        }
    }
    pipelines
}

/// What steps take with each seed, of those that say how many steps of the optimizer they take, and do not take as many with
/// every seed.
fn steps_by_seed(jobs: &[&Job]) -> Vec<String> {
    let Some(first) = jobs.first() else {
        return Vec::new();
    };
    let pipeline = &first.resolved.pipeline;
    let names = [(0, &pipeline.warmup), (1, &pipeline.round)];
    let names = names
        .into_iter()
        .flat_map(|(round, steps)| steps.iter().map(move |step| (round, &step.name)));
    names
        .filter_map(|(round, name)| {
            let taken = jobs.iter().map(|job| {
                let step = job.resolved.pipeline.step(round, name)?;
                Some((job.resolved.seed, step.fit.as_ref()?.steps?))
            });
            let taken: Vec<(u64, u32)> = taken.collect::<Option<_>>()?;
            let differ = taken.iter().any(|(_, steps)| *steps != taken[0].1);
            let of_seed = |(seed, steps): &(u64, u32)| format!("{steps} with seed {seed}");
            let all: Vec<String> = taken.iter().map(of_seed).collect();
            differ.then(|| format!("steps of the optimizer in {name}: {}", all.join(", ")))
        })
        .collect()
}

/// The plan of a run; `known` are lines about its rounds.
fn of_job(job: &Job, rounds: u32, known: &[String], registry: &Registry) -> String {
    let run = &job.resolved;
    let mut out = String::new();
    let mut line = |text: String| {
        out.push_str(&text);
        out.push('\n');
    };
    line(format!("{} ({})", run.pipeline.name, job.id));
    let names = run.pipeline.all_steps().map(|step| step.name.len()).max().unwrap_or(0);
    let whos = run.pipeline.all_steps().map(|step| who(job, step.who).len());
    let whos = whos.max().unwrap_or(0);
    for (title, steps) in [("round 0", &run.pipeline.warmup), ("each round", &run.pipeline.round)] {
        line(format!("  {title}"));
        for step in steps {
            let text = format!(
                "    {:<names$}  {:<whos$}  {}",
                step.name,
                who(job, step.who),
                does(step, steps)
            );
            line(text.trim_end().to_owned());
        }
    }
    if let Some(selected) = selected(run) {
        line(format!("  selected: {selected}"));
    }
    if let Some(simulated) = simulated(run) {
        line(format!("  simulated: {simulated}"));
    }
    if !known.is_empty() {
        line("  what is known of rounds".to_owned());
    }
    for of_rounds in known {
        line(format!("    {of_rounds}"));
    }
    line("  what leaves whom".to_owned());
    for disclosure in &run.pipeline.discloses {
        line(format!("    {disclosure}"));
    }
    line("  who holds what".to_owned());
    line(format!("    each party: {}", of_party(run).join(", ")));
    let of_server = of_server(run);
    if !of_server.is_empty() {
        line(format!("    server: {}", of_server.join(", ")));
    }
    let predicting = estimate::predicting(job);
    if predicting > 0 {
        let (up, down) = estimate::wire(job);
        let down = if run.pipeline.discloses.contains(&Disclosure::Consensus) {
            format!(", {} down to each", bytes(down))
        } else {
            String::new()
        };
        line(format!(
            "  payload a round: {} up from each party ({} together){down}; chunks of {}",
            bytes(up),
            bytes(up * predicting),
            counted(chunk_rows(run).min(run.alignment), "row")
        ));
    }
    let weights = estimate::weights(job, registry);
    if weights > 0 {
        line(format!(
            "  weights a round: {0} up from the parties together, {0} of prototypes down to them",
            bytes(weights)
        ));
    }
    line(format!(
        "  data: {}, {} public, {} in each alignment set, {} to test on; head of {} classes{}",
        if run.is_placed() {
            "private rows of each party's own".to_owned()
        } else {
            format!("{} private rows", run.divided())
        },
        run.public.as_ref().map_or(0, |set| set.take),
        run.alignment,
        run.test.take,
        run.head(),
        if run.labels_per() == LabelsPer::Position {
            format!(" at each of {} of a row", counted(run.labels_per_row(), "position"))
        } else {
            String::new()
        }
    ));
    if let Some(validation) = validation(run) {
        line(format!("  validation: {validation}"));
    }
    if let Some(augmented) = augmented(run) {
        line(format!("  augmented in training: {augmented}"));
    }
    let models: Vec<String> = run
        .architectures()
        .into_iter()
        .map(|architecture| {
            let model = Model {
                architecture,
                shape: run.private.shape,
                classes: run.head(),
                labels_per: run.labels_per(),
            };
            let parameters = fedstill_learner::parameters(registry, &model).unwrap_or(0);
            format!("{architecture} {parameters}")
        })
        .collect();
    line(format!("  parameters: {}", models.join(", ")));
    line(format!(
        "  disk: about {}",
        bytes(estimate::disk(job, &(0..=rounds), registry))
    ));
    out
}

/// Who takes part in a round, where that is not everyone.
fn selected(run: &ResolvedRun) -> Option<String> {
    let how = match run.selection {
        Selection::All => return None,
        Selection::Random { .. } => "by a seeded draw",
        Selection::RoundRobin { .. } => "the architectures in turn, and within each by a seeded draw",
        Selection::Fedlesscan { .. } => "the architectures in turn, by training times and missed rounds",
    };
    let parties = run.parties.len() as u32;
    Some(format!(
        "{} of {} in each round, {how}",
        run.selection.active(parties),
        counted(parties, "party")
    ))
}

/// What goes wrong with parties.
fn simulated(run: &ResolvedRun) -> Option<String> {
    let simulate = run.simulate;
    let parties = |count| counted(count, "party");
    let slow = simulate
        .slow
        .map(|slow| format!("{} {} times as slow", parties(slow.parties), slow.factor));
    let fail = simulate.fail.map(|fail| {
        let (failing, probability) = (parties(fail.parties), fail.probability);
        format!("{failing} failing with probability {probability} in each attempt at a round after round 0")
    });
    let offline = simulate
        .offline
        .map(|offline| format!("{} offline after round 0", parties(offline.parties)));
    let all: Vec<String> = [slow, fail, offline].into_iter().flatten().collect();
    (!all.is_empty()).then(|| all.join(", "))
}

/// What lies with each party.
fn of_party(run: &ResolvedRun) -> Vec<&'static str> {
    let mut held = vec!["its private rows"];
    if makes_models(run, &[Who::Parties, Who::Selected]) && !run.pipeline.discloses.contains(&Disclosure::Weights) {
        held.push("its model");
    }
    held
}

/// What lies with the server.
fn of_server(run: &ResolvedRun) -> Vec<String> {
    let pipeline = &run.pipeline;
    let discloses = |what| pipeline.discloses.contains(&what);
    let aggregates = pipeline.all_steps().any(|step| step.stage == Stage::Aggregate);
    let validation = run.validation.as_ref().map_or(0, Validation::rows);
    let all = [
        (
            discloses(Disclosure::PrivateRows),
            "the private rows of all parties".to_owned(),
        ),
        (
            makes_models(run, &[Who::Architectures]),
            "a model of each architecture".to_owned(),
        ),
        (
            discloses(Disclosure::Weights),
            "the models that parties train".to_owned(),
        ),
        (aggregates, "predictions and their consensus".to_owned()),
        (pipeline.reads_validation(), counted(validation, "validation row")),
        (discloses(Disclosure::Reports), "the parties' reports".to_owned()),
    ];
    all.into_iter()
        .filter(|(held, _)| *held)
        .map(|(_, what)| what)
        .collect()
}

/// Whether steps of those subjects make models.
fn makes_models(run: &ResolvedRun, subjects: &[Who]) -> bool {
    let mut steps = run.pipeline.all_steps();
    steps.any(|step| step.stage.makes_model() && subjects.contains(&step.who))
}

/// The rows that training stops by, or that parties' models are judged by.
fn validation(run: &ResolvedRun) -> Option<String> {
    let validation = run.validation.as_ref()?;
    let rows = validation.rows();
    Some(match validation {
        Validation::Set { .. } => format!("{} of a set of their own, with the server", counted(rows, "row")),
        Validation::Private { .. } if run.pipeline.reads_validation() => {
            format!("{rows} of the private rows, with the server and divided among nobody")
        }
        Validation::Private { .. } => {
            format!("{rows} of the private rows are set apart, as another pipeline of the file looks at them")
        }
    })
}

/// Which rows are changed in training, and how.
fn augmented(run: &ResolvedRun) -> Option<String> {
    let sets = [("private", Some(&run.private)), ("public", run.public.as_ref())];
    let sets = sets.into_iter().filter_map(|(name, set)| {
        let changes: Vec<&str> = set?.augment.iter().map(|change| change.name()).collect();
        (!changes.is_empty()).then(|| format!("{name} rows ({})", changes.join(", ")))
    });
    let sets: Vec<String> = sets.collect();
    (!sets.is_empty()).then(|| sets.join(", "))
}

fn who(job: &Job, who: Who) -> String {
    let run = &job.resolved;
    match who {
        Who::Parties => format!("each of {}", counted(run.parties.len(), "party")),
        Who::Selected => {
            let parties = run.parties.len() as u32;
            let active = run.selection.active(parties);
            let all = format!("each of {}", counted(parties, "party"));
            if active == parties {
                all
            } else {
                format!("{active} of {}", counted(parties, "party"))
            }
        }
        Who::Architectures => format!("server, {}", counted(run.architectures().len(), "architecture")),
        Who::Partitions => "server, by partition".to_owned(),
        Who::Server => "server".to_owned(),
    }
}
