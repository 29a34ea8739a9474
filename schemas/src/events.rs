//! What is said on the log besides tasks and predictions: triggers, answers and decisions. Bodies are JSON.

use crate::resolved::ResolvedRun;
use crate::task::{Attempt, Reference, Subject};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// Starts a round. People write the first one of a run, `archive` the next ones up to `through`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trigger {
    /// Schema version.
    pub version: u32,
    /// Run, round and attempt.
    pub at: Attempt,
    /// The last round of the run.
    pub through: u32,
    /// The resolved run.
    pub resolved: ResolvedRun,
    /// When phases close without everyone.
    pub close: Close,
    /// The attempt at the round before whose `archive` wrote it, to go on by itself: such a trigger does not revive a
    /// run that was stopped in that attempt. `None`: a person wrote it.
    #[serde(default)]
    pub after: Option<u32>,
}

/// When a phase closes without everyone.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Close {
    /// Fraction of a phase's parties that must answer; fewer fail the attempt.
    pub quorum: f64,
    /// Milliseconds after a phase opened; `None` waits for everyone.
    pub deadline_ms: Option<u64>,
}

impl Close {
    /// How many of `cohort` parties must answer: at least one.
    pub fn needed(&self, cohort: usize) -> usize {
        // Tiny slack, so that 0.7 * 10 is 7 in spite of binary fractions.
        ((self.quorum * cohort as f64 - 1e-9).ceil() as usize).clamp(1, cohort.max(1))
    }
}

/// Every task ends in one, in the partition of its phase.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// Schema version.
    pub version: u32,
    /// Run, round and attempt.
    pub at: Attempt,
    /// Index of the phase.
    pub phase: u32,
    /// The step.
    pub step: String,
    /// Whose task it was.
    pub subject: Subject,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Outcome {
    /// The result exists.
    Done {
        /// The result.
        result: Reference,
        /// What it cost.
        usage: Usage,
    },
    /// It cannot be done.
    Failed {
        /// Why, for people.
        reason: String,
    },
}

/// What a task cost. Differs from execution to execution, and so is no part of a result.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Usage {
    /// When the task was published, in Unix milliseconds of the log.
    pub queued_ms: i64,
    /// When work on it began.
    pub started_ms: i64,
    /// When its result existed.
    pub ended_ms: i64,
    /// Processor seconds.
    pub cpu_seconds: f64,
    /// Bytes read from log and store.
    pub bytes_in: u64,
    /// Bytes put and published.
    pub bytes_out: u64,
    /// Bytes that a party sent to the server: predictions, and weights where others read them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub bytes_up: u64,
    /// Bytes that a party fetched from the server: weights to start from, and the consensus.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub bytes_down: u64,
    /// Peak resident memory of the process so far, in bytes.
    pub peak_memory: u64,
    /// The numerics class of the machine that did it.
    pub numerics: String,
    /// The release that did it; empty from one that did not say.
    #[serde(default)]
    pub release: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

/// What everyone must agree on. The record of a decision follows the create-once object that made it, where there is one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Decision {
    /// Tasks of the phase may exist from here on.
    Open {
        /// Run, round and attempt.
        at: Attempt,
        /// Index of the phase.
        phase: u32,
    },
    /// The phase's members are known: [`Closed`] in the store.
    Closed {
        /// Run, round and attempt.
        at: Attempt,
        /// Index of the phase.
        phase: u32,
    },
    /// Nothing at or below this round and attempt goes on.
    Ended {
        /// The last round and attempt that it cuts off.
        at: Attempt,
        /// Why.
        why: Ending,
    },
}

impl Decision {
    /// Run, round and attempt that it is about.
    pub fn at(&self) -> &Attempt {
        match self {
            Self::Open { at, .. } | Self::Closed { at, .. } | Self::Ended { at, .. } => at,
        }
    }
}

/// Why a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "snake_case", deny_unknown_fields)]
pub enum Ending {
    /// All rounds have manifests.
    Finished,
    /// A phase closed below quorum, or without what follows needs.
    Failed {
        /// The step that failed.
        step: String,
        /// Who was missing, and why.
        missing: BTreeMap<Subject, Missing>,
    },
    /// Somebody stopped it.
    Stopped,
}

/// The create-once object that closes a phase: who is in, with what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Closed {
    /// Schema version.
    pub version: u32,
    /// Run, round and attempt.
    pub at: Attempt,
    /// Index of the phase.
    pub phase: u32,
    /// Whether enough answered.
    pub enough: bool,
    /// Who answered the phase's last step, with the results of all its steps in order.
    pub members: BTreeMap<Subject, Vec<Done>>,
    /// Who is not in, and why.
    pub missing: BTreeMap<Subject, Missing>,
    /// End offset of each partition of the predictions, queried after the decision.
    pub logits_end: Vec<u64>,
    /// Bytes of the phase's own records, by topic.
    pub wire_bytes: BTreeMap<String, u64>,
}

/// Why a subject is not in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Missing {
    /// It has not answered by the deadline.
    Late,
    /// It has answered that it cannot.
    Failed {
        /// Why, for people.
        reason: String,
    },
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Late => f.write_str("it did not answer by the deadline"),
            Self::Failed { reason } => f.write_str(reason),
        }
    }
}

/// A step that a member has done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Done {
    /// The result.
    pub result: Reference,
    /// What it cost.
    pub usage: Usage,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quorum_is_rounded_up_and_never_nobody() {
        let close = |quorum| Close {
            quorum,
            deadline_ms: None,
        };
        assert_eq!(close(0.5).needed(10), 5);
        assert_eq!(close(0.5).needed(3), 2);
        assert_eq!(close(0.7).needed(10), 7);
        assert_eq!(close(0.01).needed(10), 1);
        assert_eq!(close(1.0).needed(10), 10);
    }
}
