//! An open phase, as `advance` sees it: answers are folded in, and what follows is decided. Pure: the same answers in
//! the order of their partition give the same decisions.

use crate::context::shortened;
use crate::rounds::Round;
use fedstill_schemas::events::{Answer, Closed, Done, Missing, Outcome};
use fedstill_schemas::names;
use fedstill_schemas::resolved::VERSION;
use fedstill_schemas::task::{Subject, Task};
use std::collections::{BTreeMap, BTreeSet};

/// What became of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Folded {
    /// It counts.
    Counted,
    /// A step that is answered already: it changes nothing.
    Repeat,
    /// It answers no task of this phase.
    Unknown(String),
}

/// A phase whose members are not decided yet.
#[derive(Debug)]
pub struct OpenPhase {
    round: Round,
    members: BTreeMap<Subject, Member>,
    opened_ms: i64,
    wire_bytes: BTreeMap<String, u64>,
    /// Who is in, where that was decided before: the phase is done again.
    decided: Option<BTreeSet<Subject>>,
}

#[derive(Debug)]
struct Member {
    /// Its next task; `None` when it has done all steps or failed.
    next: Option<Task>,
    /// Whether `next` was published in this assignment.
    handed: bool,
    done: Vec<Done>,
    failed: Option<String>,
}

impl OpenPhase {
    /// The phase that follows `round`'s closed ones; its first tasks are published by whoever opens it.
    pub fn new(round: Round, opened_ms: i64) -> Self {
        let cohort = round.cohort();
        // Whoever opens the phase publishes these: they are the phase's bytes all the same.
        let mut wire_bytes = BTreeMap::new();
        for task in cohort.values() {
            let bytes = fedstill_schemas::canonical_json(task).len() as u64;
            *wire_bytes.entry(names::stage_topic(task.stage).to_owned()).or_default() += bytes;
        }
        let members = cohort.into_iter().map(|(subject, task)| {
            let member = Member {
                next: Some(task),
                handed: true,
                done: Vec::new(),
                failed: None,
            };
            (subject, member)
        });
        Self {
            members: members.collect(),
            round,
            opened_ms,
            wire_bytes,
            decided: None,
        }
    }

    /// The same, with the members that it had when it was first done.
    #[must_use]
    pub fn decided(mut self, closed: &Closed) -> Self {
        self.decided = Some(closed.members.keys().copied().collect());
        self
    }

    fn is_decided_out(&self, subject: Subject) -> bool {
        self.decided.as_ref().is_some_and(|members| !members.contains(&subject))
    }

    /// What the phase builds on.
    pub fn round(&self) -> &Round {
        &self.round
    }

    /// Takes an answer in. The first answer of a subject and step counts.
    pub fn fold(&mut self, answer: &Answer) -> Folded {
        let Some(member) = self.members.get_mut(&answer.subject) else {
            return Folded::Unknown(format!("{} is not in the phase's cohort", answer.subject));
        };
        let steps = &self.round.planned.phases[self.round.phase() as usize].steps;
        let Some(place) = steps.iter().position(|step| *step == answer.step) else {
            return Folded::Unknown(format!("the phase has no step '{}'", answer.step));
        };
        if place < member.done.len() || member.failed.is_some() {
            return Folded::Repeat;
        }
        let Some(task) = member.next.as_ref().filter(|task| task.step == answer.step) else {
            return Folded::Unknown(format!("'{}' comes before the steps that it needs", answer.step));
        };
        match &answer.outcome {
            Outcome::Failed { reason } => {
                member.failed = Some(format!("{}: {}", answer.step, shortened(reason)));
                member.next = None;
            }
            Outcome::Done { result, usage } => {
                let expected = task.digest();
                if result.task != expected || result.step != answer.step || result.subject != answer.subject {
                    return Folded::Unknown(format!("it answers another task than {}", expected.short()));
                }
                member.done.push(Done {
                    result: result.clone(),
                    usage: usage.clone(),
                });
                member.next = self.round.task(answer.subject, &member.done);
                member.handed = false;
                if member.next.is_none() && member.done.len() < steps.len() {
                    member.failed = Some(format!("{}: its inputs do not exist", steps[member.done.len()]));
                }
            }
        }
        Folded::Counted
    }

    /// Counts bytes that the phase put on the log.
    pub fn count_bytes(&mut self, topic: &str, bytes: u64) {
        *self.wire_bytes.entry(topic.to_owned()).or_default() += bytes;
    }

    /// Next tasks of members that have no answer to them and have not been handed out in this assignment.
    pub fn due(&self) -> Vec<Task> {
        let members = self.members.values().filter(|member| !member.handed);
        members.filter_map(|member| member.next.clone()).collect()
    }

    /// What was due has been published.
    pub fn handed_out(&mut self) {
        for member in self.members.values_mut() {
            member.handed = true;
        }
    }

    /// Whether everyone has answered the last step, or failed; of a phase that is done again, everyone who is in.
    pub fn complete(&self) -> bool {
        let mut members = self.members.iter();
        members.all(|(subject, member)| member.next.is_none() || self.is_decided_out(*subject))
    }

    /// Whether its time is over at `now_ms`; never where the run has no deadline.
    pub fn overdue(&self, now_ms: i64) -> bool {
        let deadline = self.round.planned.plan.close.deadline_ms;
        deadline.is_some_and(|deadline| now_ms >= self.opened_ms.saturating_add_unsigned(deadline))
    }

    /// When it opened, in Unix milliseconds of the log.
    pub fn opened_ms(&self) -> i64 {
        self.opened_ms
    }

    /// When its round began, as far as the closed phases tell.
    pub fn round_opened_ms(&self) -> i64 {
        self.round.began_ms().unwrap_or(self.opened_ms).min(self.opened_ms)
    }

    /// Who has answered the last step so far, and of how many.
    pub fn progress(&self) -> (usize, usize) {
        let done = self.members.values().filter(|member| member.next.is_none()).count();
        (done, self.members.len())
    }

    /// The decision: who is in, who is not and why, and whether they are enough.
    pub fn close(&self, logits_end: Vec<u64>) -> Closed {
        let steps = self.round.planned.phases[self.round.phase() as usize].steps.len();
        let mut members = BTreeMap::new();
        let mut missing = BTreeMap::new();
        for (subject, member) in &self.members {
            if member.done.len() == steps && !self.is_decided_out(*subject) {
                members.insert(*subject, member.done.clone());
            } else {
                let failed = member.failed.clone();
                missing.insert(
                    *subject,
                    failed.map_or(Missing::Late, |reason| Missing::Failed { reason }),
                );
            }
        }
        let needed = self.round.planned.needed(self.round.phase(), self.members.len());
        Closed {
            version: VERSION,
            at: self.round.planned.at().clone(),
            phase: self.round.phase(),
            enough: members.len() >= needed,
            members,
            missing,
            logits_end,
            wire_bytes: self.wire_bytes.clone(),
        }
    }

    /// The key of its records.
    pub fn key(&self) -> String {
        names::phase_key(self.round.planned.at(), self.round.phase())
    }
}

#[cfg(test)]
mod tests;
