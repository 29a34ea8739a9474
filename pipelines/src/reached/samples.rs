//! Result tables as `archive` writes them, for tests.

use super::Shown;
use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, UInt32Array, UInt64Array};
use arrow_schema::{DataType, Schema};
use fedstill_schemas::{names, results};
use parquet::arrow::ArrowWriter;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;

const ARCHITECTURES: [&str; 2] = ["lenet", "cnn[16,32]"];

/// A row's values that are not zero or empty.
pub(crate) type Row = Vec<(&'static str, Value)>;

#[derive(Clone)]
pub(crate) enum Value {
    Text(String),
    Number(f64),
}

pub(crate) struct Results(pub(crate) TempDir);

impl Results {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    pub(crate) fn file(&self, table: &str, run: &str, round: u32) -> PathBuf {
        self.0.path().join(names::result_file(table, run, round))
    }

    pub(crate) fn write(&self, table: &'static str, shown: &Shown, round: u32, rows: &[Row]) {
        self.write_without(&[], table, shown, round, rows);
    }

    /// The same without some columns, as an earlier release had written it.
    pub(crate) fn write_without(&self, columns: &[&str], table: &'static str, shown: &Shown, round: u32, rows: &[Row]) {
        let whole = results::schema(table);
        let kept = whole
            .fields()
            .iter()
            .filter(|field| !columns.contains(&field.name().as_str()));
        let schema = Arc::new(Schema::new(kept.cloned().collect::<Vec<_>>()));
        let own = [
            ("pipeline", Value::Text(shown.pipeline.clone())),
            ("seed", Value::Number(shown.seed as f64)),
        ];
        let find = |row: &Row, name: &str| {
            let mut values = own.iter().chain(row);
            values
                .find(|(column, _)| *column == name)
                .map(|(_, value)| value.clone())
        };
        let number = |row: &Row, name: &str| match find(row, name) {
            Some(Value::Number(number)) => number,
            _ => 0.0,
        };
        let text = |row: &Row, name: &str| match find(row, name) {
            Some(Value::Text(text)) => text,
            _ => String::new(),
        };
        let column = |name: &str, kind: &DataType| -> ArrayRef {
            let numbers = rows.iter().map(|row| number(row, name));
            match kind {
                DataType::Utf8 => Arc::new(StringArray::from_iter_values(rows.iter().map(|row| text(row, name)))),
                DataType::UInt32 => Arc::new(UInt32Array::from_iter_values(numbers.map(|number| number as u32))),
                DataType::UInt64 => Arc::new(UInt64Array::from_iter_values(numbers.map(|number| number as u64))),
                DataType::Int64 => Arc::new(Int64Array::from_iter_values(numbers.map(|number| number as i64))),
                _ => Arc::new(Float64Array::from_iter_values(numbers)),
            }
        };
        let columns = schema
            .fields()
            .iter()
            .map(|field| column(field.name(), field.data_type()));
        let batch = RecordBatch::try_new(Arc::clone(&schema), columns.collect()).expect("a table");
        let mut writer = ArrowWriter::try_new(Vec::new(), schema, None).expect("a writer");
        writer.write(&batch).expect("rows");
        let path = self.file(table, &shown.run, round);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, writer.into_inner().expect("a file")).expect("a file");
    }

    pub(crate) fn scores(&self, shown: &Shown, round: u32, subject: &str, accuracies: &[f64]) {
        let (metrics, steps) = scored("evaluate", "global", subject, accuracies);
        self.write(results::METRICS, shown, round, &metrics);
        self.write(results::STEPS, shown, round, &steps);
        self.write(results::ROUNDS, shown, round, &[Vec::new()]);
    }

    /// Rounds of three parties whose accuracy starts at .490, .500, .510 and grows by `gain` a round.
    pub(crate) fn run(&self, shown: &Shown, rounds: u32, gain: f64) {
        for round in 0..=rounds {
            let grown = f64::from(round) * gain + shown.seed as f64 * 0.004;
            self.scores(shown, round, "party", &[0.49 + grown, 0.5 + grown, 0.51 + grown]);
        }
    }

    /// FedMD, standalone and self_digest of the seeds, finished.
    pub(crate) fn comparison(&self, seeds: &[u64]) -> Vec<Shown> {
        let mut all = Vec::new();
        for (pipeline, gain) in [("fedmd", 0.02), ("standalone", 0.007), ("self_digest", 0.01)] {
            for seed in seeds {
                let shown = shown(pipeline, *seed);
                // Seeds differ a little in what they gain.
                self.run(&shown, 5, gain + *seed as f64 * 0.001 * (gain / 0.02));
                all.push(shown);
            }
        }
        all
    }
}

/// Rows of `metrics` and `steps` of a step that scores these slots.
pub(crate) fn scored(step: &str, test_set: &str, subject: &str, accuracies: &[f64]) -> (Vec<Row>, Vec<Row>) {
    let text = |text: &str| Value::Text(text.to_owned());
    let rows = accuracies.iter().enumerate().map(|(slot, accuracy)| {
        let metrics = vec![
            ("step", text(step)),
            ("slot", Value::Number(slot as f64)),
            ("architecture", text(ARCHITECTURES[slot % 2])),
            ("test_set", text(test_set)),
            ("accuracy", Value::Number(*accuracy)),
        ];
        let subject = match subject {
            "server" => subject.to_owned(),
            several => format!("{several}-{slot}"),
        };
        let steps = vec![("step", text(step)), ("subject", Value::Text(subject))];
        (metrics, steps)
    });
    rows.unzip()
}

/// A row of `steps`: a task that kept a processor busy all the time.
pub(crate) fn worked(step: &str, subject: &str, milliseconds: u32) -> Row {
    let seconds = f64::from(milliseconds) / 1000.0;
    vec![
        ("step", Value::Text(step.to_owned())),
        ("subject", Value::Text(subject.to_owned())),
        ("started_ms", Value::Number(1_000_000.0)),
        ("ended_ms", Value::Number(1_000_000.0 + f64::from(milliseconds))),
        ("cpu_seconds", Value::Number(seconds)),
        ("gb_seconds", Value::Number(2.0 * seconds)),
        ("price", Value::Number(seconds / 1000.0)),
        ("bytes_in", Value::Number(100.0)),
        ("bytes_out", Value::Number(10.0)),
    ]
}

/// The same of a party's task that sends and fetches so many bytes.
pub(crate) fn crossed(mut worked: Row, up: u32, down: u32) -> Row {
    worked.push(("bytes_up", Value::Number(f64::from(up))));
    worked.push(("bytes_down", Value::Number(f64::from(down))));
    worked
}

pub(crate) fn shown(pipeline: &str, seed: u64) -> Shown {
    named("quick-start", pipeline, seed)
}

/// A run of another run file.
pub(crate) fn named(name: &str, pipeline: &str, seed: u64) -> Shown {
    Shown {
        run: names::run_id(name, pipeline, seed),
        pipeline: pipeline.to_owned(),
        seed,
        rounds: Some(5),
        done: None,
    }
}
