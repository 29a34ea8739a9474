//! What a run will take: rows that its tasks train on and predict, bytes that cross and that stay on disk, and, from a
//! short trial of each architecture on this machine, time.

#[cfg(test)]
mod tests;
mod waits;

pub(crate) use waits::waits;

use crate::resolve::{Job, Resolved};
use fedstill_learner::{Dataset, FitJob, Fitted, Model, Registry, TargetData, TermData};
use fedstill_log::Clock;
use fedstill_schemas::Architecture;
use fedstill_schemas::fit::{Fit, Loss, Optimizer, Watch};
use fedstill_schemas::pipeline::{Disclosure, On, Stage, Step, Target, Who};
use fedstill_schemas::plan::{chunk_rows, phases};
use fedstill_schemas::resolved::{ResolvedRun, Validation};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

/// Work of one run, for one subject of one step.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Work {
    /// Rows that go forward and backward; with early stopping, at most.
    pub(crate) trained: u64,
    /// Rows that go forward only.
    pub(crate) predicted: u64,
}

/// Rows that `step` handles for a subject with so many private rows.
pub(crate) fn work(job: &Job, step: &Step, private_rows: u64) -> Work {
    let run = &job.resolved;
    let rows = |on: On| match on {
        On::Private => private_rows,
        On::Public => run.public.as_ref().map_or(0, |set| u64::from(set.take)),
        On::Alignment => u64::from(run.alignment),
    };
    let mut work = Work::default();
    if let Some(fit) = &step.fit {
        for term in &step.terms {
            work.trained += match fit.steps {
                Some(steps) => u64::from(steps) * u64::from(fit.batch).min(rows(term.on)),
                None => rows(term.on) * u64::from(fit.epochs),
            };
            if term.target == Target::Own {
                work.predicted += rows(term.on);
            }
        }
        let validation = u64::from(run.validation.as_ref().map_or(0, Validation::rows));
        let driver = step.terms.first().map_or(0, |term| rows(term.on));
        work.predicted += looks(fit, driver) * validation;
    }
    match step.stage {
        Stage::Predict => work.predicted += u64::from(run.alignment),
        Stage::Evaluate => work.predicted += u64::from(run.test.take),
        _ => {}
    }
    work
}

/// How often a fit looks at validation rows at most: before the first step, and every so many.
fn looks(fit: &Fit, rows: u64) -> u64 {
    let Some(stop) = fit.stop.as_ref().filter(|stop| stop.watch == Watch::Validation) else {
        return 0;
    };
    let epoch = rows.div_ceil(u64::from(fit.batch.max(1))).max(1);
    let steps = fit.steps.map_or(u64::from(fit.epochs) * epoch, u64::from);
    1 + steps / stop.every.map_or(epoch, |every| u64::from(every.max(1)))
}

/// Predictions of a model on the alignment set: one a row, or one at each of its positions.
fn predictions(run: &ResolvedRun) -> u64 {
    u64::from(run.alignment) * u64::from(run.labels_per_row())
}

/// Bytes that one party's predictions take in a round, and what every party reads back.
pub(crate) fn wire(job: &Job) -> (u64, u64) {
    let run = &job.resolved;
    let values = predictions(run) * u64::from(run.head());
    let indices = predictions(run) * 4;
    // Schema, metadata and framing of an Arrow stream, as measured.
    let frames = 1100 * u64::from(run.alignment.div_ceil(chunk_rows(run).max(1)));
    (
        values * run.precision.bytes() as u64 + indices + frames,
        values * 4 + indices + frames,
    )
}

/// How many models predict in a round; 0 where predictions are not exchanged.
pub(crate) fn predicting(job: &Job) -> u64 {
    let mut steps = job.resolved.pipeline.round.iter();
    let predict = steps.find(|step| step.stage == Stage::Predict);
    predict.map_or(0, |step| subjects(&job.resolved, step.who))
}

/// Bytes of the weights that the parties of a round send to the server, together; 0 where weights stay with their parties.
pub(crate) fn weights(job: &Job, registry: &Registry) -> u64 {
    let run = &job.resolved;
    if !run.pipeline.discloses.contains(&Disclosure::Weights) {
        return 0;
    }
    let training = run.pipeline.round.iter().find(|step| step.stage.makes_model());
    training.map_or(0, |step| models(run, step.who, registry))
}

/// Bytes of a model's weights.
fn model_bytes(run: &ResolvedRun, architecture: &Architecture, registry: &Registry) -> u64 {
    fedstill_learner::parameters(registry, &model(run, architecture)).unwrap_or(0) * 4
}

/// Bytes of the weights of all models that a step of those subjects makes.
fn models(run: &ResolvedRun, who: Who, registry: &Registry) -> u64 {
    let bytes = |architecture: &Architecture| model_bytes(run, architecture, registry);
    match who {
        Who::Architectures => run.architectures().into_iter().map(bytes).sum(),
        Who::Parties => run.parties.iter().map(bytes).sum(),
        Who::Selected => {
            let all: u64 = run.parties.iter().map(bytes).sum();
            all.saturating_mul(subjects(run, who)) / run.parties.len().max(1) as u64
        }
        Who::Partitions | Who::Server => 0,
    }
}

/// Which part of the parties takes part in a round.
fn active_share(run: &ResolvedRun) -> f64 {
    subjects(run, Who::Selected) as f64 / run.parties.len().max(1) as f64
}

/// How many subjects a step has.
fn subjects(run: &ResolvedRun, who: Who) -> u64 {
    let parties = run.parties.len() as u32;
    match who {
        Who::Parties => u64::from(parties),
        Who::Selected => u64::from(run.selection.active(parties)),
        Who::Architectures => run.architectures().len() as u64,
        Who::Partitions => {
            let chunks = run.alignment.div_ceil(chunk_rows(run).max(1));
            u64::from(chunks.min(fedstill_stages::federation::PARTITIONS))
        }
        Who::Server => 1,
    }
}

/// Tasks of a round: one a subject and step, and the archive.
pub(crate) fn tasks(job: &Job, round: u32) -> u64 {
    let run = &job.resolved;
    let phases = phases(&run.pipeline, round);
    phases
        .iter()
        .map(|phase| subjects(run, phase.who) * phase.steps.len() as u64)
        .sum()
}

/// Disk that rounds of a run take: weights and optimizer states of every step that makes a model, predictions on log and in
/// stores, results.
pub(crate) fn disk(job: &Job, rounds: &RangeInclusive<u32>, registry: &Registry) -> u64 {
    let run = &job.resolved;
    let of_step = |step: &Step| -> u64 {
        // Adam keeps two moments beside the weights.
        let copies = if step.keep.is_some() { 3 } else { 1 };
        models(run, step.who, registry) * copies
    };
    let making = |steps: &[Step]| -> u64 {
        let steps = steps.iter().filter(|step| step.stage.makes_model());
        steps.map(of_step).sum()
    };
    let crossing = match predicting(job) {
        0 => 0,
        predicting => {
            let (up, down) = wire(job);
            2 * (up * predicting + down)
        }
    };
    let public = run.public.as_ref().map_or(0, |set| set.take);
    let validation = run.validation.as_ref().map_or(0, Validation::rows);
    let rows = [run.divided(), validation, public, run.alignment];
    let draws = 12 * rows.into_iter().map(u64::from).sum::<u64>();
    let (warmup, later) = split(rounds);
    let round = making(&run.pipeline.round) + crossing + draws;
    (u64::from(warmup) * making(&run.pipeline.warmup)).saturating_add(u64::from(later).saturating_mul(round))
}

/// Whether the warm-up is among rounds, and how many others are.
fn split(rounds: &RangeInclusive<u32>) -> (bool, u32) {
    let warmup = rounds.contains(&0);
    let from = (*rounds.start()).max(1);
    let later = rounds.end().checked_sub(from).map_or(0, |more| more.saturating_add(1));
    (warmup, later)
}

/// Bytes of logits that one task of a run holds at a time, at most: those of the test rows, with their sums in float64 and what
/// is made of them, or those of the alignment set, as they are predicted and sent, or learned from.
fn logits(run: &ResolvedRun) -> u64 {
    let scored = u64::from(run.test.take) * u64::from(run.labels_per_row()) * 16;
    scored.max(predictions(run) * 8) * u64::from(run.head())
}

/// Bytes that the process takes at its peak on so many threads: what it has now, what one task of each thread takes, as
/// tried with the largest model and batch and counted in logits, and the sums of the open chunks.
pub(crate) fn memory(resolved: &Resolved, registry: &Registry, threads: usize) -> u64 {
    let before = fedstill_stages::peak_memory();
    let batches = resolved.jobs.iter().flat_map(|job| job.resolved.pipeline.all_steps());
    let largest = batches.filter_map(|step| step.fit.as_ref().map(|fit| fit.batch)).max();
    let settings = trial_settings(largest.unwrap_or(1));
    let sums = |job: &Job| predictions(&job.resolved) * u64::from(job.resolved.head()) * 16;
    if let (Some(job), Some(data)) = (resolved.jobs.first(), resolved.data.first()) {
        let rows: Vec<u32> = (0..settings.batch.max(2).min(data.rows())).collect();
        for architecture in job.resolved.architectures() {
            let model = model(&job.resolved, architecture);
            fedstill_learner::job(|| trial(registry, model, data, &rows, &settings));
        }
    }
    let logits = resolved.jobs.iter().map(|job| logits(&job.resolved)).max();
    let task = fedstill_stages::peak_memory() - before + logits.unwrap_or(0);
    before + task * threads as u64 + resolved.jobs.iter().map(sums).max().unwrap_or(0)
}

fn trial_settings(batch: u32) -> Fit {
    Fit::new(1, batch, Optimizer::adam(1e-3), None)
}

fn model<'a>(run: &ResolvedRun, architecture: &'a Architecture) -> Model<'a> {
    Model {
        architecture,
        shape: run.private.shape,
        classes: run.head(),
        labels_per: run.labels_per(),
    }
}

/// Trains on those rows once, and throws away what it learned but for the weights.
fn trial(registry: &Registry, model: Model<'_>, data: &Dataset, rows: &[u32], settings: &Fit) -> Option<Fitted> {
    let term = TermData {
        data,
        rows,
        target: TargetData::Labels { offset: 0 },
        loss: Loss::CrossEntropy,
        weight: 1.0,
        augment: &[],
    };
    let job = FitJob {
        model,
        start: None,
        optimizer: None,
        terms: vec![term],
        validation: None,
        settings,
        seed: 0,
        round: 0,
        step: "trial",
        subject: "trial",
        cancel: &|| false,
    };
    fedstill_learner::fit(registry, &job).ok()
}

/// Seconds that a row takes, forward and backward, and forward only, by network.
pub(crate) type Rates = BTreeMap<String, (f64, f64)>;

/// An architecture on a run's rows.
fn network(run: &ResolvedRun, architecture: &Architecture) -> String {
    let shape = run.private.shape;
    let (classes, per) = (run.head(), run.labels_per().name());
    format!(
        "{architecture} {}x{}x{} {classes} per {per}",
        shape.channels, shape.height, shape.width
    )
}

/// Tries each architecture on a few rows of this machine, but for those that were tried before.
pub(crate) fn measure(rates: &mut Rates, resolved: &Resolved, registry: &Registry, clock: &dyn Clock) {
    const ROWS: u32 = 256;
    let (Some(job), Some(data)) = (resolved.jobs.first(), resolved.data.first()) else {
        return;
    };
    let run = &job.resolved;
    let rows: Vec<u32> = (0..ROWS.min(data.rows())).collect();
    let settings = trial_settings(32);
    for architecture in run.architectures() {
        let network = network(run, architecture);
        if rates.contains_key(&network) {
            continue;
        }
        let model = model(run, architecture);
        let trial = |rows: &[u32]| trial(registry, model, data, rows, &settings);
        let seconds = |from: Duration| clock.monotonic().saturating_sub(from).as_secs_f64();
        let measured = fedstill_learner::job(|| {
            // The first batches fault memory in: they do not count.
            trial(&rows[..rows.len().min(32)])?;
            let start = clock.monotonic();
            let fitted = trial(&rows)?;
            let train = seconds(start) / rows.len() as f64;
            let start = clock.monotonic();
            fedstill_learner::predict(registry, &model, &fitted.weights, data, &rows).ok()?;
            Some((train, seconds(start) / rows.len() as f64))
        });
        if let Some(measured) = measured {
            rates.insert(network, measured);
        }
    }
}

/// Seconds of one thread that rounds of a run take: at most, where steps stop early.
pub(crate) fn seconds(job: &Job, rounds: &RangeInclusive<u32>, rates: &Rates) -> f64 {
    let run = &job.resolved;
    let of = |architecture: &Architecture, work: Work| {
        let (train, predict) = rates.get(&network(run, architecture)).copied().unwrap_or_default();
        work.trained as f64 * train + work.predicted as f64 * predict
    };
    let parties = run.parties.len().max(1);
    let share = u64::from(run.divided()) / parties as u64;
    let slow = run
        .simulate
        .slow
        .map_or(0.0, |slow| f64::from(slow.parties) * (slow.factor - 1.0));
    let slowed = 1.0 + slow / parties as f64;
    let of_parties = |step: &Step| -> f64 { run.parties.iter().map(|own| of(own, work(job, step, share))).sum() };
    let of_step = |step: &Step| -> f64 {
        match step.who {
            Who::Parties => of_parties(step) * slowed,
            Who::Selected => of_parties(step) * slowed * active_share(run),
            Who::Architectures => {
                let all = u64::from(run.divided());
                run.architectures()
                    .into_iter()
                    .map(|own| of(own, work(job, step, all)))
                    .sum()
            }
            // The ensemble of the parties' models.
            Who::Server if step.stage == Stage::Evaluate => of_parties(step) * active_share(run),
            Who::Partitions | Who::Server => 0.0,
        }
    };
    let of_steps = |steps: &[Step]| -> f64 { steps.iter().map(of_step).sum() };
    let (warmup, later) = split(rounds);
    let warmup = if warmup { of_steps(&run.pipeline.warmup) } else { 0.0 };
    warmup + f64::from(later) * of_steps(&run.pipeline.round)
}

/// So many of something, for people.
pub(crate) fn counted(count: impl Display, noun: &str) -> String {
    let count = count.to_string();
    match (count.as_str(), noun.strip_suffix('y')) {
        ("1", _) => format!("1 {noun}"),
        (_, Some(stem)) => format!("{count} {stem}ies"),
        (_, None) => format!("{count} {noun}s"),
    }
}

/// Bytes for people.
pub(crate) fn bytes(count: u64) -> String {
    indicatif::HumanBytes(count).to_string()
}

/// Seconds for people: two figures are enough for an estimate.
pub(crate) fn duration(seconds: f64) -> String {
    if seconds < 90.0 {
        format!("{:.0} s", seconds.max(1.0))
    } else if seconds < 5400.0 {
        format!("{:.0} min", seconds / 60.0)
    } else {
        format!("{:.1} h", seconds / 3600.0)
    }
}
