//! The plan of a round's attempt, create-once: all that workers would otherwise have to guess or draw again. And the
//! manifest that the round leaves behind: all state that survives it.

use crate::digest::Digest;
use crate::events::Close;
use crate::pipeline::{Pipeline, Stage, Who};
use crate::resolved::ResolvedRun;
use crate::task::{Attempt, Part, Reference, Subject};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The plan of one attempt at a round.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Schema version.
    pub version: u32,
    /// Run, round and attempt.
    pub at: Attempt,
    /// The last round of the run.
    pub through: u32,
    /// sha256 of the resolved run.
    pub resolved: Digest,
    /// When phases close without everyone.
    pub close: Close,
    /// sha256 of the manifest of the round before; `None` in round 0.
    pub manifest: Option<Digest>,
    /// Row ids of each party in the private set, by slot: a part that holds [`Draws`].
    pub draws: Part,
    /// Slices of the alignment set.
    pub chunks: Vec<Chunk>,
    /// Partitions of each topic, pinned for the round.
    pub partitions: BTreeMap<String, u32>,
    /// End offset of each partition of the predictions when the round was planned.
    pub logits_start: Vec<u64>,
    /// Slots of the parties that take part in the round, in order; `None` for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selected: Option<Vec<u32>>,
}

/// A contiguous slice of the alignment set: the unit of aggregation and parallelism.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chunk {
    /// Its first row in the alignment set.
    pub start: u32,
    /// Its rows; predictions are as many, or as many for each as a window of text has positions.
    pub rows: u32,
    /// The partition of the predictions that it goes to.
    pub partition: u32,
}

impl Chunk {
    /// Its rows as a range of the alignment set.
    pub fn range(&self) -> std::ops::Range<usize> {
        self.start as usize..(self.start + self.rows) as usize
    }
}

/// The rows that a round uses, drawn by `plan` and by nobody else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Draws {
    /// Row ids in the private set, by party.
    pub private: Vec<Vec<u32>>,
    /// Row ids in the public set that the run uses.
    pub public: Vec<u32>,
    /// Row ids in the public set of the round's alignment set, in its order.
    pub alignment: Vec<u32>,
    /// Row ids that the server stops its training by: in the private set, or in the validation set where there is one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub validation: Vec<u32>,
}

/// What survives a round.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Schema version.
    pub version: u32,
    /// Run, round, and the attempt that it comes from.
    pub at: Attempt,
    /// sha256 of the resolved run.
    pub resolved: Digest,
    /// Newest result that made a model, by model slot.
    pub slots: BTreeMap<Subject, Reference>,
    /// The round's scores, by model slot.
    pub scores: BTreeMap<Subject, Reference>,
    /// What selection by training times knows of each party, by slot; empty where the run selects otherwise.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub histories: BTreeMap<u32, History>,
}

/// What FedLesScan's selection knows of a party (Elzohairy et al. 2022, arXiv:2211.05739, section IV).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct History {
    /// Rounds that it was selected in.
    pub selected: u32,
    /// Exponential moving average of its training times, in seconds or in units of work; 0 before the first.
    pub time: f64,
    /// Exponential moving average of the rounds that it was selected in and missed, by their numbers; 0 before the first.
    pub missed: f64,
    /// Rounds that it sits out for its last miss: 1, twice as many for each that follows at once, 0 once it is in again.
    pub back_off: u32,
    /// The first round that it may be selected in again.
    pub resumes: u32,
}

/// The name of the step that ends every round.
pub const ARCHIVE: &str = "archive";

/// Steps that a cohort does without waiting for others in between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phase {
    /// Names of its steps, in order.
    pub steps: Vec<String>,
    /// Stage of each step.
    pub stages: Vec<Stage>,
    /// Whose subjects its cohort is drawn from.
    pub who: Who,
}

/// The phases of a round: consecutive steps of the same subjects, and at last the archive.
pub fn phases(pipeline: &Pipeline, round: u32) -> Vec<Phase> {
    let mut phases: Vec<Phase> = Vec::new();
    for step in pipeline.steps(round) {
        match phases.last_mut() {
            Some(phase) if phase.who == step.who => {
                phase.steps.push(step.name.clone());
                phase.stages.push(step.stage);
            }
            _ => phases.push(Phase {
                steps: vec![step.name.clone()],
                stages: vec![step.stage],
                who: step.who,
            }),
        }
    }
    phases.push(Phase {
        steps: vec![ARCHIVE.to_owned()],
        stages: vec![Stage::Archive],
        who: Who::Server,
    });
    phases
}

/// Rows of a chunk such that a message stays well under a broker's default limit of 1 MB. All predictions on a row are in one
/// chunk: of rows with several there are fewer in it, one at least.
pub fn chunk_rows(run: &ResolvedRun) -> u32 {
    const MESSAGE: usize = 512 * 1024;
    const MOST: usize = 1024;
    // A prediction's values, and the index of its row.
    let prediction = run.head() as usize * run.precision.bytes() + 4;
    let predictions = (MESSAGE / prediction).clamp(1, MOST);
    (predictions / run.labels_per_row() as usize).max(1) as u32
}

/// The slices of an alignment set of `rows` rows over `partitions` partitions of the predictions.
pub fn chunks(rows: u32, chunk_rows: u32, partitions: u32) -> Vec<Chunk> {
    (0..rows.div_ceil(chunk_rows))
        .map(|index| {
            let start = index * chunk_rows;
            Chunk {
                start,
                rows: chunk_rows.min(rows - start),
                partition: index % partitions,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Labels, LabelsPer, Shape};

    #[test]
    fn chunks_cover_the_alignment_set_once() {
        let chunks = chunks(2500, 1024, 2);
        let sizes: Vec<_> = chunks.iter().map(|c| (c.start, c.rows, c.partition)).collect();
        assert_eq!(sizes, [(0, 1024, 0), (1024, 1024, 1), (2048, 452, 0)]);
        assert!(super::chunks(0, 1024, 2).is_empty());
    }

    #[test]
    fn a_chunk_has_no_more_predictions_where_rows_have_several_and_splits_no_row() {
        let mut run: ResolvedRun = serde_json::from_str(include_str!("../testdata/version-1/run.json")).unwrap();
        run.labels = Labels::Private;
        run.private.classes = 82;
        run.private.shape = Shape {
            channels: 1,
            height: 1,
            width: 80,
        };
        assert_eq!(chunk_rows(&run), 1024);
        run.private.columns.labels_per = LabelsPer::Position;
        // 960 predictions in each: 161,280 bytes of float16 and indices.
        assert_eq!(chunk_rows(&run), 12);
        run.private.classes = 8200;
        // 31 predictions would fill the message, and a row has 80.
        assert_eq!(chunk_rows(&run), 1);
        run.private.shape.width = 7;
        assert_eq!(chunk_rows(&run), 4);
    }
}
