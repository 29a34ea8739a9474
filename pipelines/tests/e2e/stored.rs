//! What a run left behind, on one machine or in a deployment, read as its stages read it.

use crate::federation::files;
use crate::parties::everything;
use arrow_array::{Array, Float64Array, RecordBatch, StringArray, UInt32Array, UInt64Array};
use fedstill_log::{Embedded, Record, SystemClock};
use fedstill_schemas::events::Closed;
use fedstill_schemas::names;
use fedstill_schemas::pipeline::Stage;
use fedstill_schemas::plan::{Draws, Manifest, Plan};
use fedstill_schemas::resolved::ResolvedRun;
use fedstill_schemas::task::{Attempt, Part, Place, Reference, Subject, Task, TaskResult};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A run whose rounds all ended in their first attempt, and that nobody works on.
pub(crate) struct Stored {
    /// Where its results are, and on one machine all that it has.
    out: PathBuf,
    run: String,
    shared: PathBuf,
}

/// A result, and who made it when.
pub(crate) struct Made {
    pub(crate) round: u32,
    pub(crate) step: String,
    pub(crate) subject: Subject,
    pub(crate) result: TaskResult,
}

impl Made {
    /// Whether a party made it, and not the server.
    pub(crate) fn is_of_party(&self) -> bool {
        matches!(self.subject, Subject::Party(_))
    }
}

impl Stored {
    pub(crate) fn new(out: &Path, run: &str) -> Self {
        Self {
            out: out.to_owned(),
            run: run.to_owned(),
            shared: out.join(run).join("store"),
        }
    }

    /// A run of a deployment, by the folder of its stores: its shared store and its results, without log and parties.
    pub(crate) fn deployed(folder: &Path, run: &str) -> Self {
        Self {
            out: folder.to_owned(),
            run: run.to_owned(),
            shared: folder.join("store"),
        }
    }

    /// The folder of the shared store.
    pub(crate) fn shared(&self) -> PathBuf {
        self.shared.clone()
    }

    fn read(&self, object: &str) -> Option<Vec<u8>> {
        std::fs::read(self.shared.join(object)).ok()
    }

    fn json<T: DeserializeOwned>(&self, object: &str) -> T {
        let bytes = self.read(object).unwrap_or_else(|| panic!("there is no {object}"));
        serde_json::from_slice(&bytes).unwrap()
    }

    fn at(&self, round: u32) -> Attempt {
        Attempt {
            run: self.run.clone(),
            round,
            attempt: 0,
        }
    }

    pub(crate) fn resolved(&self) -> ResolvedRun {
        self.json(&names::run_object(&self.run))
    }

    pub(crate) fn plan(&self, round: u32) -> Plan {
        self.json(&names::plan_object(&self.at(round)))
    }

    /// The rows that the run uses: those of parties and server are the same in all rounds.
    pub(crate) fn draws(&self) -> Draws {
        self.json(&names::part_object(&self.run, &self.plan(0).draws))
    }

    pub(crate) fn manifest(&self, round: u32) -> Manifest {
        self.json(&names::manifest_object(&self.run, round))
    }

    /// What closed the phases of a round, in order.
    pub(crate) fn closed(&self, round: u32) -> Vec<Closed> {
        let object = |phase| self.read(&names::closed_object(&self.at(round), phase));
        let objects = (0..).map_while(object);
        objects.map(|bytes| serde_json::from_slice(&bytes).unwrap()).collect()
    }

    pub(crate) fn result(&self, made: &Reference) -> TaskResult {
        self.json(&names::result_object(
            &self.run,
            made.round,
            &made.step,
            made.subject,
            made.task,
        ))
    }

    /// Every result, by round, step and subject.
    pub(crate) fn results(&self) -> Vec<Made> {
        let made = |(name, bytes): (String, Vec<u8>)| {
            let folders: Vec<&str> = name.split('/').collect();
            let [round, step, file] = folders[..] else { return None };
            let (subject, _) = file.rsplit_once('-').filter(|_| !file.contains('#'))?;
            Some(Made {
                round: round.parse().unwrap(),
                step: step.to_owned(),
                subject: subject.parse().unwrap(),
                result: serde_json::from_slice(&bytes).unwrap(),
            })
        };
        let made: Vec<Made> = files(&self.shared().join(&self.run))
            .into_iter()
            .filter_map(made)
            .collect();
        assert!(!made.is_empty(), "{} has results", self.run);
        made
    }

    /// The results of a step in a round, by subject.
    pub(crate) fn results_of(&self, round: u32, step: &str) -> Vec<Made> {
        let mut made = self.results();
        made.retain(|made| made.round == round && made.step == step);
        made
    }

    /// What a part holds, wherever it lies.
    pub(crate) fn part(&self, part: &Part) -> Vec<u8> {
        let object = names::part_object(&self.run, part);
        let store = match part.place {
            Place::Shared => self.shared(),
            Place::Party(slot) => self.out.join(&self.run).join("parties").join(slot.to_string()),
        };
        std::fs::read(store.join(object)).unwrap()
    }

    /// Everything on the log.
    pub(crate) fn records(&self) -> Vec<Record> {
        let folder = self.out.join(&self.run).join("log");
        let log = Embedded::open(folder, Arc::new(SystemClock::new())).unwrap();
        let topics = names::topics().into_iter();
        topics.flat_map(|topic| everything(&log, topic)).collect()
    }

    /// The rows of a result table.
    pub(crate) fn table(&self, table: &str, round: u32) -> RecordBatch {
        let file = self
            .out
            .join("results")
            .join(names::result_file(table, &self.run, round));
        let file = std::fs::File::open(file).unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build();
        reader.unwrap().next().expect("a table with rows").unwrap()
    }
}

/// The tasks among records.
pub(crate) fn tasks(records: &[Record]) -> Vec<Task> {
    let topics = Stage::ALL.map(names::stage_topic);
    let tasks = records.iter().filter(|record| topics.contains(&&*record.topic));
    tasks
        .map(|record| serde_json::from_slice(&record.value).unwrap())
        .collect()
}

/// A column of texts.
pub(crate) fn texts(rows: &RecordBatch, column: &str) -> Vec<String> {
    let column = rows.column_by_name(column).unwrap().as_any();
    let column = column.downcast_ref::<StringArray>().unwrap();
    column.iter().map(|text| text.unwrap().to_owned()).collect()
}

/// A column of whole numbers.
pub(crate) fn wholes(rows: &RecordBatch, column: &str) -> Vec<u32> {
    let column = rows.column_by_name(column).unwrap().as_any();
    column.downcast_ref::<UInt32Array>().unwrap().values().to_vec()
}

/// A column of large whole numbers.
pub(crate) fn whole64s(rows: &RecordBatch, column: &str) -> Vec<u64> {
    let column = rows.column_by_name(column).unwrap().as_any();
    column.downcast_ref::<UInt64Array>().unwrap().values().to_vec()
}

/// A column of numbers.
pub(crate) fn reals(rows: &RecordBatch, column: &str) -> Vec<f64> {
    let column = rows.column_by_name(column).unwrap().as_any();
    column.downcast_ref::<Float64Array>().unwrap().values().to_vec()
}
