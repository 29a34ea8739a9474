//! `aggregate`: the consensus of the chunks of one partition of the predictions.
//!
//! In: the members of the predicting phase, and the range of the partition from the plan's offset to the closed
//! phase's. Out: one consensus a chunk, in the store and on `fedstill.consensus`. Each member's first valid record of
//! each chunk counts, whatever lies between. A member without a usable record abstains; a chunk with fewer usable members
//! than the quorum fails the attempt. Where the step drops the worst, their records are passed over: they are among the
//! members that the quorum asks for, and named with those that abstain.
//!
//! Sums are exact and made as the log is read, so that order changes no bit. Memory: the sums of the partition's chunks,
//! and two reads of the log. Where the learner has a processor for so large a head ([`Learner::combiner`]), that combines
//! the members instead, in the order of their slots: the same members give the same bits on it, whatever the order of their
//! records. Records come in any order, so that a chunk's members are held until the last one is read; as many chunks as
//! [`HELD`] allows, and one at least, whatever the number of its members. What is left is read from the log again: mostly
//! nothing is, and otherwise that takes time and no memory.
//!
//! [`Learner::combiner`]: crate::learn::Learner::combiner

use crate::aggregation::Summable;
use crate::average;
use crate::combination::Combination;
use crate::context::{Context, pinned};
use crate::error::StageError;
use crate::execute::{Inputs, Output};
use crate::fit::consensus_part;
use crate::rounds::Planned;
use crate::signed::{self, Said};
use crate::teachers;
use crate::votes::{Votes, choice};
use fedstill_learner::Processor;
use fedstill_log::{Message, Record};
use fedstill_schemas::envelope::{self, Kind};
use fedstill_schemas::events::Closed;
use fedstill_schemas::names;
use fedstill_schemas::plan::Chunk;
use fedstill_schemas::predictions::{self, Identity};
use fedstill_schemas::resolved::Precision;
use fedstill_schemas::task::{ChunkReport, Place, Report, Subject, TaskResult};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::panic::resume_unwind;

/// Bytes read from the log at a time.
const READ: usize = 1 << 20;

/// Bytes of members' predictions that a task holds for a processor, where one chunk has no more: one read is enough for
/// dozens of parties, and every compute thread of a worker of a few gigabytes may hold as much.
const HELD: usize = 256 << 20;

/// Parties that a message for people names one by one.
const NAMED: usize = 10;

/// A chunk on its way to its consensus.
struct Sum<'a> {
    chunk: u32,
    /// The row of each prediction, in order.
    samples: Vec<u32>,
    combination: Combination<'a>,
    votes: Votes,
    /// Usable members of the records that were read last, and their slots.
    usable: Vec<Summable>,
    slots: Vec<u32>,
    counted: BTreeSet<u32>,
    refused: BTreeMap<u32, String>,
}

pub(crate) fn run(context: &Context, inputs: &Inputs<'_>) -> Result<Output, StageError> {
    let processor = context.learner.combiner(inputs.planned.run.head());
    aggregate(context, inputs, processor, HELD)
}

/// By exact sums, or by a processor with so many bytes of predictions held.
fn aggregate(
    context: &Context,
    inputs: &Inputs<'_>,
    processor: Option<&Processor>,
    held: usize,
) -> Result<Output, StageError> {
    let task = inputs.task;
    let planned = &inputs.planned;
    let Subject::Partition(partition) = task.subject else {
        return Err(StageError::Reject(format!(
            "{} is not a partition of the predictions",
            task.subject
        )));
    };
    let own = inputs.step()?;
    let rule = own
        .rule
        .as_ref()
        .ok_or_else(|| StageError::Reject("its step has no rule by which predictions are combined".to_owned()))?;
    if let Some(weights) = rule.slots()
        && weights.len() != planned.run.parties.len()
    {
        return Err(StageError::Reject(format!(
            "its rule lists {} weights, and the run has {} parties",
            weights.len(),
            planned.run.parties.len()
        )));
    }
    // A processor takes members that count alike.
    let processor = processor.filter(|_| rule.slots().is_none());
    let (phase, step) = planned
        .predicting(task.phase)
        .ok_or_else(|| StageError::Reject("no phase before it predicts".to_owned()))?;
    let closed = context.closed(&task.at, phase)?;
    let mut members = members(&closed);
    let mut dropped = BTreeMap::new();
    if own.drop_worst {
        dropped = teachers::dropped(context, inputs)?;
        dropped.retain(|party, _| matches!(party, Subject::Party(slot) if members.remove(slot)));
    }
    let draws = context.draws(planned)?;
    let classes = planned.run.head();
    let bounds = |offsets: &[u64]| offsets.get(partition as usize).copied();
    let (Some(start), Some(end)) = (bounds(&planned.plan.logits_start), bounds(&closed.logits_end)) else {
        return Err(StageError::Reject(format!("partition {partition} is not in the plan")));
    };
    let chunks: Vec<(u32, Chunk)> = (0..)
        .zip(planned.plan.chunks.iter().copied())
        .filter(|(_, slice)| slice.partition == partition)
        .collect();
    let at_a_time = processor.map_or(chunks.len().max(1), |_| {
        let rows = chunks.iter().map(|(_, slice)| slice.rows).max().unwrap_or(0);
        let predictions = rows as usize * planned.run.labels_per_row() as usize;
        fitting(held, members.len(), predictions * classes as usize)
    });
    let needed = planned.plan.close.needed(planned.run.parties.len());
    let mut parts = BTreeMap::new();
    let mut reports = Vec::new();
    for chunks in chunks.chunks(at_a_time) {
        let sums = chunks.iter().map(|(chunk, slice)| {
            let samples = planned.run.samples(&draws.alignment[slice.range()]);
            let predictions = samples.len();
            let sum = Sum {
                chunk: *chunk,
                samples,
                combination: Combination::new(rule, predictions, classes as usize, processor),
                votes: Votes::new(predictions, classes as usize),
                usable: Vec::new(),
                slots: Vec::new(),
                counted: BTreeSet::new(),
                refused: BTreeMap::new(),
            };
            (names::chunk_key(&task.at, step, *chunk), sum)
        });
        let mut sums: BTreeMap<String, Sum<'_>> = sums.collect();
        read(context, partition, start..end, &mut sums, |sum, record| {
            take(sum, record, planned, step, &members)
        })?;
        for (_, mut sum) in sums {
            let (chunk, samples) = (sum.chunk, std::mem::take(&mut sum.samples));
            let (report, values) = finish(sum, classes, &members, &dropped, needed)?;
            let identity = Identity {
                at: task.at.clone(),
                step: task.step.clone(),
                chunk,
                slot: None,
            };
            let message = predictions::encode(&identity, &samples, classes, &values, Precision::Float32)
                .map_err(|error| StageError::Reject(format!("consensus of chunk {chunk}: {error}")))?;
            parts.insert(consensus_part(chunk), (Place::Shared, message));
            reports.push(report);
        }
    }
    reports.sort_by_key(|report| report.chunk);
    Ok(Output {
        parts,
        kept: BTreeMap::new(),
        report: Report::Consensus { chunks: reports },
    })
}

/// How many chunks of so many values are held at a time: as many as fit, and one at least.
fn fitting(held: usize, members: usize, values: usize) -> usize {
    // A member may send float32, whatever the run says.
    let chunk = members * values * size_of::<f32>();
    held.checked_div(chunk).unwrap_or(1).max(1)
}

/// Reads a range of a partition of the predictions, and adds what `take` finds usable to the sums of its chunks. What is of
/// these chunks and cannot be used is dead-lettered.
fn read(
    context: &Context,
    partition: u32,
    range: Range<u64>,
    sums: &mut BTreeMap<String, Sum<'_>>,
    take: impl Fn(&mut Sum<'_>, &Record) -> Result<(), String>,
) -> Result<(), StageError> {
    let Range { start, end } = range;
    let kept_from = context.log.offsets(names::LOGITS, partition)?.start;
    if kept_from > start {
        let reason = format!(
            "records {start} to {kept_from} of {}-{partition} are gone by retention: raise it",
            names::LOGITS
        );
        return Err(StageError::Reject(reason));
    }
    let mut reader = context.log.read(names::LOGITS, partition, start)?;
    let mut position = start;
    let mut ahead = (position < end).then(|| reader.next(READ));
    while let Some(records) = ahead {
        let records = records?;
        if records.is_empty() {
            let reason = format!(
                "{}-{partition} ends at {position}, before the closed phase's {end}",
                names::LOGITS
            );
            return Err(StageError::Retry(reason));
        }
        position = records.last().map_or(end, |record| record.offset + 1);
        // The next read runs beside the sums, which ask nothing of the log: what is asked of it keeps its order.
        let unusable;
        (unusable, ahead) = std::thread::scope(|scope| {
            let reading = (position < end).then(|| scope.spawn(|| reader.next(READ)));
            let unusable = add(sums, &records[..], end, &take);
            let read = reading.map(|reading| reading.join().unwrap_or_else(|panic| resume_unwind(panic)));
            (unusable, read)
        });
        for (record, reason) in unusable {
            context.dead_letter(record, &reason)?;
        }
    }
    Ok(())
}

/// Adds what `take` finds usable of records before `end` to the sums of their chunks; the others, with their reasons.
fn add<'a>(
    sums: &mut BTreeMap<String, Sum<'_>>,
    records: &'a [Record],
    end: u64,
    take: impl Fn(&mut Sum<'_>, &Record) -> Result<(), String>,
) -> Vec<(&'a Record, String)> {
    let mut unusable = Vec::new();
    for record in records.iter().take_while(|record| record.offset < end) {
        // Other runs share the topic: what is not of these chunks is passed over by its key.
        let Some(sum) = std::str::from_utf8(&record.key).ok().and_then(|key| sums.get_mut(key)) else {
            continue;
        };
        if let Err(reason) = take(sum, record) {
            unusable.push((record, reason));
        }
    }
    for sum in sums.values_mut() {
        sum.combination.add(&sum.slots, &sum.usable);
        sum.votes.add(&sum.usable);
        sum.usable.clear();
        sum.slots.clear();
    }
    unusable
}

fn members(closed: &Closed) -> BTreeSet<u32> {
    let slots = closed.members.keys().filter_map(|subject| match subject {
        Subject::Party(slot) => Some(*slot),
        _ => None,
    });
    slots.collect()
}

/// Takes a record in for its chunk, or says why it cannot be used.
fn take(
    sum: &mut Sum<'_>,
    record: &Record,
    planned: &Planned,
    step: &str,
    members: &BTreeSet<u32>,
) -> Result<(), String> {
    let (at, classes) = (planned.at(), planned.run.head());
    let subject = record
        .header("ce_subject")
        .and_then(|subject| std::str::from_utf8(subject).ok());
    let Some(Subject::Party(claimed)) = subject.and_then(|subject| subject.parse().ok()) else {
        return Err("its ce_subject names no party".to_owned());
    };
    let said = Said {
        at,
        step,
        chunk: Some(sum.chunk),
        slot: claimed,
    };
    let checked = signed::check(&planned.run, record, said);
    if !members.contains(&claimed) || sum.counted.contains(&claimed) {
        // Late, or a repeat: passed over. What somebody else said in a party's name is not.
        return checked;
    }
    let used = checked
        .and_then(|()| predictions::decode(&record.value).map_err(|error| error.to_string()))
        .and_then(|found| {
            let said = &found.identity;
            let same = said.at == *at && said.step == step && said.chunk == sum.chunk && said.slot == Some(claimed);
            if !same {
                return Err(
                    "it is another party's, or of another round, step or chunk, than its envelope says".to_owned(),
                );
            }
            found.check(&sum.samples, classes).map_err(|error| error.to_string())?;
            Summable::check(found.values, sum.samples.len() * classes as usize).map_err(|error| error.to_string())
        });
    match used {
        Ok(usable) => {
            sum.usable.push(usable);
            sum.slots.push(claimed);
            sum.counted.insert(claimed);
            sum.refused.remove(&claimed);
            Ok(())
        }
        Err(reason) => {
            sum.refused.entry(claimed).or_insert_with(|| reason.clone());
            Err(reason)
        }
    }
}

/// The consensus of a chunk and how it came about. Who was dropped could have been used.
fn finish(
    sum: Sum<'_>,
    classes: u32,
    members: &BTreeSet<u32>,
    dropped: &BTreeMap<Subject, String>,
    needed: usize,
) -> Result<(ChunkReport, Vec<f32>), StageError> {
    let chunk = sum.chunk;
    let mut abstentions: BTreeMap<Subject, String> = members
        .difference(&sum.counted)
        .map(|slot| {
            let absent = || "its predictions are not on the log".to_owned();
            (
                Subject::Party(*slot),
                sum.refused.get(slot).cloned().unwrap_or_else(absent),
            )
        })
        .collect();
    abstentions.extend(dropped.iter().map(|(who, reason)| (*who, reason.clone())));
    let enough = sum.counted.len() + dropped.len() >= needed;
    let consensus = if enough { sum.combination.finish()? } else { None };
    let Some(values) = consensus else {
        let mut who: Vec<String> = abstentions
            .iter()
            .take(NAMED)
            .map(|(who, reason)| format!("{who} ({reason})"))
            .collect();
        if abstentions.len() > NAMED {
            who.push(format!("and {} more", abstentions.len() - NAMED));
        }
        let needs = if enough && !sum.counted.is_empty() {
            "one that has a weight in its rule".to_owned()
        } else {
            needed.to_string()
        };
        let counted = sum.counted.len();
        let parties = if counted == 1 { "party" } else { "parties" };
        let mut reason = format!("chunk {chunk} has predictions of {counted} {parties} and needs {needs}");
        if !who.is_empty() {
            reason.push_str("; without: ");
            reason.push_str(&who.join(", "));
        }
        return Err(StageError::Reject(reason));
    };
    let classes = classes as usize;
    let rows = values.chunks_exact(classes);
    let count = rows.len().max(1) as f64;
    let agreeing: u32 = sum
        .votes
        .rows()
        .zip(rows.clone())
        .map(|(votes, row)| votes[choice(row)])
        .sum();
    let report = ChunkReport {
        chunk,
        entropy: rows.map(entropy).sum::<f64>() / count,
        agreement: f64::from(agreeing) / (count * sum.counted.len() as f64),
        members: sum.counted.into_iter().collect(),
        abstentions,
    };
    Ok((report, values))
}

/// Entropy of a row's softmax, in nats; `exp` and `log` from one implementation on every machine.
fn entropy(row: &[f32]) -> f64 {
    let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let (mut sum, mut weighted) = (0.0, 0.0);
    for value in row {
        let x = f64::from(*value) - f64::from(most);
        let e = libm::exp(x);
        sum += e;
        weighted += x * e;
    }
    libm::log(sum) - weighted / sum
}

/// Bytes of the values that went into a consensus, and of the models that were judged for it.
pub(crate) fn bytes_in(context: &Context, inputs: &Inputs<'_>, result: &TaskResult) -> Result<u64, StageError> {
    let Report::Consensus { chunks } = &result.report else {
        return Ok(0);
    };
    let judged = if inputs.step()?.drop_worst {
        average::bytes_in(context, inputs)?
    } else {
        0
    };
    let run = &inputs.planned.run;
    let row = u64::from(run.labels_per_row()) * u64::from(run.head()) * run.precision.bytes() as u64;
    let of = |report: &ChunkReport| {
        let slice = inputs.planned.plan.chunks.get(report.chunk as usize);
        slice.map_or(0, |slice| u64::from(slice.rows) * row * report.members.len() as u64)
    };
    Ok(judged + chunks.iter().map(of).sum::<u64>())
}

pub(crate) fn publish(context: &Context, inputs: &Inputs<'_>, result: &TaskResult) -> Result<Vec<Message>, StageError> {
    let task = inputs.task;
    let Report::Consensus { chunks } = &result.report else {
        return Err(StageError::Reject("its result is not a consensus".to_owned()));
    };
    let partitions = pinned(&inputs.planned.plan, names::CONSENSUS)?;
    let messages = chunks.iter().map(|report| {
        let part = result.parts.get(&consensus_part(report.chunk));
        let part = part.ok_or_else(|| StageError::Reject(format!("its result lacks chunk {}", report.chunk)))?;
        let key = names::chunk_key(&task.at, &task.step, report.chunk);
        Ok(Message {
            topic: names::CONSENSUS.to_owned(),
            partition: names::partition(&key, partitions),
            headers: envelope::headers(Kind::Consensus, &task.at, &key, &task.subject.to_string()),
            key: key.into(),
            value: context.store.get_part(&task.at.run, part)?,
        })
    });
    messages.collect()
}

#[cfg(test)]
mod tests;
