//! Tasks and what they make. A task's identity is the sha256 of what it is and what it reads; its result is one small
//! create-once object that names its parts. No clock, no trace: the same task has the same bytes everywhere.

use crate::digest::Digest;
use crate::pipeline::Stage;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// What a task is about: the owner of a model, or a piece of the server's work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subject {
    /// The party of that slot.
    Party(u32),
    /// The architecture of that index in the run.
    Architecture(u32),
    /// A partition of the predictions.
    Partition(u32),
    /// The server.
    Server,
}

/// The text names no subject.
#[derive(Debug, thiserror::Error)]
#[error("'{0}' is not a subject: expected party-N, architecture-N, partition-N or server")]
pub struct NotASubject(String);

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Party(slot) => write!(f, "party-{slot}"),
            Self::Architecture(index) => write!(f, "architecture-{index}"),
            Self::Partition(index) => write!(f, "partition-{index}"),
            Self::Server => f.write_str("server"),
        }
    }
}

impl FromStr for Subject {
    type Err = NotASubject;

    fn from_str(text: &str) -> Result<Self, NotASubject> {
        let refuse = || NotASubject(text.to_owned());
        if text == "server" {
            return Ok(Self::Server);
        }
        let (kind, index) = text.rsplit_once('-').ok_or_else(refuse)?;
        let index = index.parse().map_err(|_| refuse())?;
        match kind {
            "party" => Ok(Self::Party(index)),
            "architecture" => Ok(Self::Architecture(index)),
            "partition" => Ok(Self::Partition(index)),
            _ => Err(refuse()),
        }
    }
}

impl Serialize for Subject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Subject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// An attempt at a round of a run. Ordered: a later attempt at a round follows an earlier one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Attempt {
    /// The run's id.
    pub run: String,
    /// The round.
    pub round: u32,
    /// Which try it is, from 0.
    pub attempt: u32,
}

impl Attempt {
    /// Its place within the run.
    pub fn at(&self) -> (u32, u32) {
        (self.round, self.attempt)
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} round {} attempt {}", self.run, self.round, self.attempt)
    }
}

/// A result that exists, by the step and subject that made it and the sha256 of its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Reference {
    /// Round in which it was made.
    pub round: u32,
    /// Step that made it.
    pub step: String,
    /// Subject that it belongs to.
    pub subject: Subject,
    /// Digest of the task that made it.
    pub task: Digest,
    /// sha256 of the result object.
    pub sha256: Digest,
}

/// One unit of work, and the results that it reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// Schema version.
    pub version: u32,
    /// Run, round and attempt.
    pub at: Attempt,
    /// sha256 of the resolved run.
    pub resolved: Digest,
    /// Index of its phase in the round.
    pub phase: u32,
    /// The step.
    pub step: String,
    /// The step's stage.
    pub stage: Stage,
    /// What it is about.
    pub subject: Subject,
    /// The results that it reads, by what they are to it (`model`, `consensus`, a member).
    pub reads: BTreeMap<String, Reference>,
    /// What stands for the members' results, of a task that reads all of them: they are as many as there are parties, and
    /// the closed phases name them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub members: Option<Digest>,
}

/// What of a task makes its identity.
#[derive(Serialize)]
struct Identity<'a> {
    version: u32,
    resolved: Digest,
    round: u32,
    attempt: u32,
    step: &'a str,
    subject: Subject,
    reads: BTreeMap<&'a str, Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    members: Option<Digest>,
}

impl Task {
    /// Its identity: sha256 of the canonical JSON of resolved run, round, attempt, step, subject and the sha256 of
    /// everything that it reads.
    pub fn digest(&self) -> Digest {
        let reads = self
            .reads
            .iter()
            .map(|(name, reference)| (name.as_str(), reference.sha256))
            .collect();
        Digest::of_json(&Identity {
            version: self.version,
            resolved: self.resolved,
            round: self.at.round,
            attempt: self.at.attempt,
            step: &self.step,
            subject: self.subject,
            reads,
            members: self.members,
        })
    }
}

/// Whose store a part lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// The run's store, which every worker reads.
    Shared,
    /// The store of the party of that slot, which nobody else reads.
    Party(u32),
}

/// An object named by its own sha256.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// sha256 of its bytes.
    pub sha256: Digest,
    /// Its size.
    pub bytes: u64,
    /// Where it lies.
    pub place: Place,
}

/// What a task made. Only this object means that the task's work *exists*.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskResult {
    /// Schema version.
    pub version: u32,
    /// Digest of the task.
    pub task: Digest,
    /// Its parts by name: `weights`, `optimizer.<name>`, `predictions.<chunk>`, `consensus.<chunk>`.
    pub parts: BTreeMap<String, Part>,
    /// What it found out.
    pub report: Report,
}

/// What a task found out, by kind of task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Report {
    /// A fit.
    Fit {
        /// Mean loss of the last epoch.
        loss: f64,
        /// Epochs trained.
        epochs: u32,
        /// Steps of the optimizer.
        steps: u64,
        /// Rows it trained on.
        rows: u32,
    },
    /// Predictions.
    Predictions {
        /// Rows predicted: windows of text, where each has a prediction at every position.
        rows: u32,
        /// Bytes of the messages.
        bytes: u64,
    },
    /// Scores on the test sets.
    Scores(Scores),
    /// Weights that were not trained: new ones, or those that a party took as they are.
    Initial,
    /// A mean of weights.
    Average {
        /// Parties whose weights entered.
        members: u32,
        /// Private rows that they trained on, together.
        rows: u64,
    },
    /// The consensus, by chunk.
    Consensus {
        /// One entry a chunk.
        chunks: Vec<ChunkReport>,
    },
    /// The archive of a round.
    Archived {
        /// sha256 of the manifest.
        manifest: Digest,
    },
}

/// A model's scores on a test set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scores {
    /// The test set's name.
    pub test_set: String,
    /// The party whose test set it is; none of one that is everybody's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub party: Option<u32>,
    /// Rows whose largest logit over the whole head is their label's, over all rows.
    pub accuracy: f64,
    /// Mean over classes of the accuracy on the class.
    pub balanced_accuracy: f64,
    /// Mean cross entropy.
    pub loss: f64,
    /// Rows; of windows of text with a label at every position, their labels, each of which counts like a row.
    pub samples: u32,
    /// The same on further test sets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<Scores>,
}

/// How one chunk of the consensus came about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChunkReport {
    /// The chunk.
    pub chunk: u32,
    /// Slots whose predictions entered.
    pub members: Vec<u32>,
    /// Members whose predictions did not, as they were unusable, or among the worst where the step drops those, with the
    /// reason. By subject: the keys of a map within a tagged enum are read back as text only.
    pub abstentions: BTreeMap<Subject, String>,
    /// Mean entropy of the softmax of the consensus, in nats.
    pub entropy: f64,
    /// Mean fraction of members whose largest logit is the consensus' largest; every member alike, whatever it counts by in
    /// the consensus.
    pub agreement: f64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolved::VERSION;

    fn task() -> Task {
        Task {
            version: VERSION,
            at: Attempt {
                run: "a-fedmd-0".into(),
                round: 1,
                attempt: 0,
            },
            resolved: Digest::of(b"run"),
            phase: 0,
            step: "predict".into(),
            stage: Stage::Predict,
            subject: Subject::Party(3),
            reads: BTreeMap::from([(
                "model".to_owned(),
                Reference {
                    round: 0,
                    step: "transfer".into(),
                    subject: Subject::Party(3),
                    task: Digest::of(b"task"),
                    sha256: Digest::of(b"result"),
                },
            )]),
            members: None,
        }
    }

    #[test]
    fn a_tasks_identity_is_what_it_is_and_what_it_reads() {
        let base = task().digest();
        let changed = |change: fn(&mut Task)| {
            let mut task = task();
            change(&mut task);
            task.digest()
        };
        assert_ne!(base, changed(|t| t.at.round = 2));
        assert_ne!(base, changed(|t| t.at.attempt = 1));
        assert_ne!(base, changed(|t| t.step = "digest".into()));
        assert_ne!(base, changed(|t| t.subject = Subject::Party(4)));
        assert_ne!(base, changed(|t| t.resolved = Digest::of(b"other")));
        assert_ne!(
            base,
            changed(|t| t.reads.get_mut("model").unwrap().sha256 = Digest::of(b"other"))
        );
        assert_eq!(
            base,
            changed(|t| t.at.run = "b-fedmd-0".into()),
            "a run's name decides no bits"
        );
    }

    #[test]
    fn a_result_with_abstentions_survives_its_json() {
        let result = TaskResult {
            version: VERSION,
            task: task().digest(),
            parts: BTreeMap::new(),
            report: Report::Consensus {
                chunks: vec![ChunkReport {
                    chunk: 0,
                    members: vec![0, 2],
                    abstentions: BTreeMap::from([(Subject::Party(1), "NaN".to_owned())]),
                    entropy: 0.5,
                    agreement: 1.0,
                }],
            },
        };
        let text = crate::canonical_json(&result);
        assert_eq!(serde_json::from_str::<TaskResult>(&text).unwrap(), result);
    }

    #[test]
    fn a_task_survives_its_json_and_unknown_fields_are_refused() {
        let text = serde_json::to_string(&task()).unwrap();
        assert_eq!(serde_json::from_str::<Task>(&text).unwrap(), task());
        for subject in ["party-0", "architecture-12", "partition-3", "server"] {
            assert_eq!(subject.parse::<Subject>().unwrap().to_string(), subject);
        }
        assert!("party-x".parse::<Subject>().is_err());
    }
}
