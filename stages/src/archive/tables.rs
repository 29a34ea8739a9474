//! The rows of a round in the four result tables.
//!
//! ```text
//! closed phases, results and manifest of a round ──> columns ──> Parquet (store)
//! ```
//!
//! In: a round whose manifest is there, and the prices of this process. Out: a file a table; what names and bytes they have
//! follows from these alone. After a crash some of the four may be there: writing them all again changes nothing.

use crate::advance;
use crate::context::Context;
use crate::cost;
use crate::error::StageError;
use crate::execute::read_result;
use crate::rounds::Round;
use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, UInt32Array, UInt64Array};
use bytes::Bytes;
use fedstill_schemas::events::{Closed, Done, Missing};
use fedstill_schemas::names;
use fedstill_schemas::pipeline::Stage;
use fedstill_schemas::plan::Manifest;
use fedstill_schemas::prices::Provider;
use fedstill_schemas::results;
use fedstill_schemas::task::{Reference, Report, Subject, TaskResult};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

type Columns = Vec<ArrayRef>;

/// Writes the four tables of a round that has its manifest.
///
/// # Errors
/// A store that does not answer, or lacks what the manifest names.
pub(super) fn write(context: &Context, round: &Round, manifest: &Manifest) -> Result<(), StageError> {
    let all = |of: fn(&Done) -> &str| every(done(round).map(|(_, done)| of(done)));
    let origin = [
        KeyValue::new(results::NUMERICS.to_owned(), all(|done| &done.usage.numerics)),
        KeyValue::new(results::RELEASE.to_owned(), all(|done| &done.usage.release)),
    ];
    let provider = KeyValue::new(results::PROVIDER.to_owned(), context.prices.name.clone());
    for (table, columns) in tables(context, round, manifest)? {
        let file = names::result_file(table, &manifest.at.run, manifest.at.round);
        let mut metadata = origin.to_vec();
        if table == results::STEPS {
            metadata.push(provider.clone());
        }
        let bytes = parquet(table, columns, metadata)?;
        context.store.put_result_file(&file, bytes)?;
    }
    Ok(())
}

/// Every text that there is, once.
fn every<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    let every: BTreeSet<&str> = texts.filter(|text| !text.is_empty()).collect();
    Vec::from_iter(every).join("; ")
}

fn tables(context: &Context, round: &Round, manifest: &Manifest) -> Result<Vec<(&'static str, Columns)>, StageError> {
    Ok(vec![
        (results::METRICS, metrics(context, round, manifest)?),
        (results::STEPS, steps(round, &context.prices)),
        (results::CONSENSUS, consensus(context, round)?),
        (results::ROUNDS, rounds(context, round)?),
    ])
}

/// A result; `None` of one that a party with a worker of its own wrote and nobody can read: its row is missing, and the
/// others are there.
fn read_said(context: &Context, round: &Round, reference: &Reference) -> Result<Option<TaskResult>, StageError> {
    let said = round.planned.run.identity(reference.subject);
    match (read_result(context, &round.planned.at().run, reference), said) {
        (Err(StageError::Reject(reason) | StageError::Stop(reason)), Some(party)) => {
            tracing::warn!(party = party.id, reason, "its result cannot be read");
            Ok(None)
        }
        (read, _) => read.map(Some),
    }
}

fn metrics(context: &Context, round: &Round, manifest: &Manifest) -> Result<Columns, StageError> {
    let run = &round.planned.run;
    let mut rows = Vec::new();
    for (subject, reference) in &manifest.scores {
        let result = read_said(context, round, reference)?;
        if let Some(Report::Scores(scores)) = result.map(|result| result.report) {
            let all = std::iter::once(&scores).chain(&scores.others);
            rows.extend(all.map(|scores| {
                // The server's models have a row of each party on whose test set they are scored.
                let whose = match (subject, scores.party) {
                    (Subject::Party(_), _) | (_, None) => *subject,
                    (_, Some(party)) => Subject::Party(party),
                };
                (whose, reference.step.clone(), scores.clone())
            }));
        }
    }
    let n = rows.len();
    Ok(vec![
        text(std::iter::repeat_n(&run.pipeline.name, n)),
        whole64(std::iter::repeat_n(run.seed, n)),
        text(rows.iter().map(|(_, step, _)| step)),
        whole(rows.iter().map(|(subject, ..)| slot(*subject))),
        text(rows.iter().map(|(subject, ..)| architecture(round, *subject))),
        text(rows.iter().map(|(.., scores)| &scores.test_set)),
        real(rows.iter().map(|(.., scores)| scores.accuracy)),
        real(rows.iter().map(|(.., scores)| scores.balanced_accuracy)),
        real(rows.iter().map(|(.., scores)| scores.loss)),
        whole(rows.iter().map(|(.., scores)| scores.samples)),
    ])
}

fn steps(round: &Round, prices: &Provider) -> Columns {
    let run = &round.planned.run;
    let rows: Vec<(Subject, &Done)> = done(round).collect();
    let stage = |done: &Done| {
        let step = round.planned.step(&done.result.step);
        step.map_or(Stage::Archive, |step| step.stage)
    };
    let ms = |done: &Done| (done.usage.ended_ms - done.usage.started_ms).max(0) as u64;
    let n = rows.len();
    vec![
        text(std::iter::repeat_n(&run.pipeline.name, n)),
        whole64(std::iter::repeat_n(run.seed, n)),
        whole(std::iter::repeat_n(round.planned.at().attempt, n)),
        text(rows.iter().map(|(_, done)| &done.result.step)),
        text(rows.iter().map(|(_, done)| stage(done).name())),
        text(rows.iter().map(|(subject, _)| subject.to_string())),
        text(rows.iter().map(|(subject, _)| architecture(round, *subject))),
        Arc::new(Int64Array::from_iter_values(
            rows.iter().map(|(_, done)| done.usage.queued_ms),
        )),
        Arc::new(Int64Array::from_iter_values(
            rows.iter().map(|(_, done)| done.usage.started_ms),
        )),
        Arc::new(Int64Array::from_iter_values(
            rows.iter().map(|(_, done)| done.usage.ended_ms),
        )),
        real(rows.iter().map(|(_, done)| done.usage.cpu_seconds)),
        whole64(rows.iter().map(|(_, done)| done.usage.bytes_in)),
        whole64(rows.iter().map(|(_, done)| done.usage.bytes_out)),
        whole64(rows.iter().map(|(_, done)| done.usage.bytes_up)),
        whole64(rows.iter().map(|(_, done)| done.usage.bytes_down)),
        real(
            rows.iter()
                .map(|(_, done)| cost::gb_seconds(prices, stage(done), ms(done))),
        ),
        real(rows.iter().map(|(_, done)| cost::price(prices, stage(done), ms(done)))),
    ]
}

fn consensus(context: &Context, round: &Round) -> Result<Columns, StageError> {
    let run = &round.planned.run;
    let mut chunks = Vec::new();
    for (_, done) in done(round) {
        if round
            .planned
            .step(&done.result.step)
            .is_some_and(|step| step.stage == Stage::Aggregate)
        {
            let result = read_result(context, &round.planned.at().run, &done.result)?;
            if let Report::Consensus { chunks: some } = result.report {
                chunks.extend(some);
            }
        }
    }
    chunks.sort_by_key(|report| report.chunk);
    let late = late(round);
    let n = chunks.len();
    Ok(vec![
        text(std::iter::repeat_n(&run.pipeline.name, n)),
        whole64(std::iter::repeat_n(run.seed, n)),
        whole(chunks.iter().map(|chunk| chunk.chunk)),
        whole(chunks.iter().map(|chunk| chunk.members.len() as u32)),
        whole(chunks.iter().map(|chunk| chunk.abstentions.len() as u32)),
        text(chunks.iter().map(|chunk| {
            let who = chunk.abstentions.iter().map(|(who, reason)| format!("{who}: {reason}"));
            who.collect::<Vec<_>>().join("; ")
        })),
        whole(std::iter::repeat_n(late, n)),
        real(chunks.iter().map(|chunk| chunk.entropy)),
        real(chunks.iter().map(|chunk| chunk.agreement)),
    ])
}

/// Members of the predicting phase's cohort that did not answer by the deadline.
fn late(round: &Round) -> u32 {
    let predicting = round.planned.predicting(round.phase());
    let closed = predicting.map(|(phase, _)| &round.closed[phase as usize]);
    let late = |closed: &Arc<Closed>| closed.missing.values().filter(|why| **why == Missing::Late).count();
    closed.map_or(0, |closed| late(closed) as u32)
}

/// Who was missing in phases of a round: who was late, and who failed. Whoever was both, or more than once, is named once,
/// where it was missing first, with every reason.
fn missed<'a>(phases: impl Iterator<Item = &'a BTreeMap<Subject, Missing>>) -> [Vec<String>; 2] {
    let mut missed: BTreeMap<Subject, (bool, Vec<String>)> = BTreeMap::new();
    for (subject, why) in phases.flatten() {
        let (_, reasons) = missed
            .entry(*subject)
            .or_insert_with(|| (*why == Missing::Late, Vec::new()));
        let reason = why.to_string();
        if !reasons.contains(&reason) {
            reasons.push(reason);
        }
    }
    let (late, failed): (Vec<_>, Vec<_>) = missed.into_iter().partition(|(_, (late, _))| *late);
    [late, failed].map(|list| {
        let named = list
            .into_iter()
            .map(|(subject, (_, reasons))| format!("{subject}: {}", reasons.join(", then ")));
        named.collect()
    })
}

fn rounds(context: &Context, round: &Round) -> Result<Columns, StageError> {
    let run = &round.planned.run;
    let usages: Vec<_> = done(round).map(|(_, done)| &done.usage).collect();
    let first = usages.iter().map(|usage| usage.queued_ms).min().unwrap_or(0);
    let last = usages.iter().map(|usage| usage.ended_ms).max().unwrap_or(0);
    let [stragglers, refused] = missed(round.closed.iter().map(|closed| &closed.missing));
    let mut members: Option<usize> = None;
    let mut bytes: BTreeMap<&str, u64> = BTreeMap::new();
    for closed in &round.closed {
        let parties = closed
            .members
            .keys()
            .filter(|subject| matches!(subject, Subject::Party(_)))
            .count();
        if parties > 0 {
            members = Some(members.map_or(parties, |fewest| fewest.min(parties)));
        }
        for (topic, count) in &closed.wire_bytes {
            let kind = if advance::TOPICS.contains(&topic.as_str()) {
                "answers"
            } else {
                "tasks"
            };
            *bytes.entry(kind).or_default() += count;
        }
    }
    for (_, done) in done(round) {
        let stage = round.planned.step(&done.result.step).map(|step| step.stage);
        let kind = match stage {
            Some(Stage::Predict) => "logits",
            Some(Stage::Aggregate) => "consensus",
            _ => continue,
        };
        let Some(result) = read_said(context, round, &done.result)? else {
            continue;
        };
        *bytes.entry(kind).or_default() += result.parts.values().map(|part| part.bytes).sum::<u64>();
    }
    let of = |kind: &str| whole64([bytes.get(kind).copied().unwrap_or(0)]);
    let slots = round.planned.plan.selected.iter().flatten();
    let selected: Vec<String> = slots.map(|slot| Subject::Party(*slot).to_string()).collect();
    Ok(vec![
        text([&run.pipeline.name]),
        whole64([run.seed]),
        whole([round.planned.at().attempt]),
        real([(last - first) as f64 / 1000.0]),
        whole([run.parties.len() as u32]),
        text([selected.join("; ")]),
        whole([round.planned.plan.close.needed(run.parties.len()) as u32]),
        whole([members.unwrap_or(0) as u32]),
        text([stragglers.join("; ")]),
        text([refused.join("; ")]),
        of("tasks"),
        of("answers"),
        of("logits"),
        of("consensus"),
        whole64([usages.iter().map(|usage| usage.peak_memory).max().unwrap_or(0)]),
    ])
}

fn done(round: &Round) -> impl Iterator<Item = (Subject, &Done)> {
    round
        .closed
        .iter()
        .flat_map(|closed| closed.members.iter())
        .flat_map(|(subject, done)| done.iter().map(|done| (*subject, done)))
}

fn slot(subject: Subject) -> u32 {
    match subject {
        Subject::Party(index) | Subject::Architecture(index) | Subject::Partition(index) => index,
        Subject::Server => 0,
    }
}

fn architecture(round: &Round, subject: Subject) -> String {
    let index = round.planned.architecture(subject);
    let name = index.and_then(|index| {
        round
            .planned
            .run
            .architectures()
            .get(index as usize)
            .map(ToString::to_string)
    });
    name.unwrap_or_default()
}

fn text<T: AsRef<str>>(values: impl IntoIterator<Item = T>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

fn whole(values: impl IntoIterator<Item = u32>) -> ArrayRef {
    Arc::new(UInt32Array::from_iter_values(values))
}

fn whole64(values: impl IntoIterator<Item = u64>) -> ArrayRef {
    Arc::new(UInt64Array::from_iter_values(values))
}

fn real(values: impl IntoIterator<Item = f64>) -> ArrayRef {
    Arc::new(Float64Array::from_iter_values(values))
}

fn parquet(table: &str, columns: Columns, metadata: Vec<KeyValue>) -> Result<Bytes, StageError> {
    let failed = |error: &dyn std::fmt::Display| StageError::Reject(format!("table {table}: {error}"));
    let schema = results::schema(table);
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns).map_err(|error| failed(&error))?;
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_created_by("fedstill".to_owned())
        .set_key_value_metadata(Some(metadata))
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), schema, Some(properties)).map_err(|error| failed(&error))?;
    writer.write(&batch).map_err(|error| failed(&error))?;
    writer.into_inner().map(Bytes::from).map_err(|error| failed(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_late_and_failed_in_one_round_is_named_once_with_both_reasons() {
        let failed = |reason: &str| Missing::Failed {
            reason: reason.to_owned(),
        };
        let [one, two, three] = [1, 2, 3].map(Subject::Party);
        let phases = [
            BTreeMap::from([
                (one, Missing::Late),
                (two, failed("predict: NaN")),
                (three, Missing::Late),
            ]),
            BTreeMap::from([
                (one, failed("digest: simulated failure")),
                (two, failed("predict: NaN")),
            ]),
            BTreeMap::from([(two, Missing::Late), (three, Missing::Late)]),
        ];
        let late = "it did not answer by the deadline";
        assert_eq!(
            missed(phases.iter()),
            [
                vec![
                    format!("party-1: {late}, then digest: simulated failure"),
                    format!("party-3: {late}")
                ],
                vec![format!("party-2: predict: NaN, then {late}")],
            ]
        );
    }

    #[test]
    fn every_release_that_took_part_is_named_once() {
        assert_eq!(every(["0.2.0", "0.1.0", "", "0.2.0"].into_iter()), "0.1.0; 0.2.0");
    }
}
