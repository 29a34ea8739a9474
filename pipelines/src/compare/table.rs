//! The comparison as one Parquet table, in long form: one row a method, step, round and measure, as
//! [`results::comparison`] has it.
//!
//! | measure | step | of |
//! |---|---|---|
//! | `accuracy` | that scores | the last evaluations: mean |
//! | `worst_party`, `worst_architecture` | that scores | the last evaluations: lowest slot, by whose models they are |
//! | `difference` | that scores | `accuracy` minus the baseline's, paired by seed: `seeds` are pairs |
//! | `round_accuracy`, `round_worst_party`, `round_worst_architecture` | that scores | one round |
//! | `round_bytes`, `round_gb_seconds`, `round_price` | empty | all rounds up to that one |
//! | `rounds_to_target`, `bytes_to_target`, `gb_seconds_to_target`, `price_to_target` | main one that scores | the seeds that reach the target |
//! | `tasks`, `busy_seconds`, `cpu_seconds`, `gb_seconds`, `price`, `bytes_in`, `bytes_out` | that works; empty: all | all rounds |
//! | `bytes` | empty | all rounds |
//!
//! Of seeds whose results say otherwise whose models they are, the worst is `worst_model` and `round_worst_model`; where
//! no results say it, there is none. `bytes` are those that cross between parties and server, `bytes_in` and `bytes_out`
//! those that tasks read and made.

use super::Comparison;
use crate::reached::{Cost, Method, Run, Spread};
use arrow_array::{ArrayRef, Float64Array, RecordBatch, StringArray, UInt32Array};
use fedstill_schemas::results;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use std::sync::Arc;

/// A row, but for its method.
struct Row<'a> {
    method: &'a Method,
    step: &'a str,
    round: Option<u32>,
    measure: &'static str,
    spread: Spread,
}

/// A measure of what tasks took.
type OfCost = (&'static str, fn(&Cost) -> f64);

const OF_COST: [OfCost; 7] = [
    ("tasks", |cost| cost.tasks as f64),
    ("busy_seconds", |cost| cost.busy_seconds),
    ("cpu_seconds", |cost| cost.cpu_seconds),
    ("gb_seconds", |cost| cost.gb_seconds),
    ("price", |cost| cost.price),
    ("bytes_in", |cost| cost.bytes_in as f64),
    ("bytes_out", |cost| cost.bytes_out as f64),
];

/// A measure of a run up to a round.
type UpTo = (&'static str, fn(&Run, u32) -> Option<f64>);

const UP_TO: [UpTo; 3] = [
    ("round_bytes", |run, round| run.bytes(round).map(|bytes| bytes as f64)),
    ("round_gb_seconds", |run, round| Some(run.cost(round).gb_seconds)),
    ("round_price", |run, round| Some(run.cost(round).price)),
];

impl Comparison {
    /// The file. What was asked for is in its metadata: `fedstill.evaluations`, `fedstill.test_set`, `fedstill.baseline`,
    /// and `fedstill.target` if there is one.
    pub(crate) fn parquet(&self) -> Vec<u8> {
        let rows = self.table();
        let text =
            |of: fn(&Row<'_>) -> String| -> ArrayRef { Arc::new(StringArray::from_iter_values(rows.iter().map(of))) };
        let real =
            |of: fn(&Row<'_>) -> f64| -> ArrayRef { Arc::new(Float64Array::from_iter_values(rows.iter().map(of))) };
        let columns: Vec<ArrayRef> = vec![
            text(|row| row.method.name.clone()),
            text(|row| row.method.pipeline.clone()),
            text(|row| row.step.to_owned()),
            Arc::new(rows.iter().map(|row| row.round).collect::<UInt32Array>()),
            text(|row| row.measure.to_owned()),
            real(|row| row.spread.mean),
            Arc::new(rows.iter().map(|row| row.spread.deviation).collect::<Float64Array>()),
            real(|row| row.spread.low),
            real(|row| row.spread.high),
            Arc::new(UInt32Array::from_iter_values(
                rows.iter().map(|row| row.spread.seeds as u32),
            )),
        ];
        let schema = results::comparison();
        let batch = RecordBatch::try_new(Arc::clone(&schema), columns).expect("columns as the schema has them");
        let mut asked = vec![
            ("fedstill.evaluations", self.evaluations.to_string()),
            ("fedstill.test_set", self.test_set.clone()),
            ("fedstill.baseline", self.baselines.name.clone()),
        ];
        asked.extend(self.target.map(|target| ("fedstill.target", target.to_string())));
        let asked = asked
            .into_iter()
            .map(|(key, value)| KeyValue::new(key.to_owned(), value));
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_created_by("fedstill".to_owned())
            .set_key_value_metadata(Some(asked.collect()))
            .build();
        let written = ArrowWriter::try_new(Vec::new(), schema, Some(properties)).and_then(|mut writer| {
            writer.write(&batch)?;
            writer.into_inner()
        });
        written.expect("memory takes what is written")
    }

    fn table(&self) -> Vec<Row<'_>> {
        let mut rows = Vec::new();
        for scored in self.scored() {
            let [worst, round_worst] = scored.worst_measures();
            let spreads = [
                ("accuracy", scored.accuracy),
                (worst, scored.worst),
                ("difference", scored.difference),
            ];
            let (method, step) = (scored.method, scored.track.step.as_str());
            push(&mut rows, method, step, None, spreads);
            for (round, mean) in scored.track.means() {
                push(&mut rows, method, step, Some(round), [("round_accuracy", Some(mean))]);
            }
            for (round, lowest) in scored.worst.map_or_else(Vec::new, |_| scored.track.worsts()) {
                push(&mut rows, method, step, Some(round), [(round_worst, Some(lowest))]);
            }
        }
        for reached in self.to_target() {
            let spreads = [
                ("rounds_to_target", reached.rounds),
                ("bytes_to_target", reached.bytes),
                ("gb_seconds_to_target", reached.gb_seconds),
                ("price_to_target", reached.price),
            ];
            push(&mut rows, reached.method, &reached.method.main.step, None, spreads);
        }
        for method in &self.methods {
            for (measure, value) in UP_TO {
                for (round, spread) in method.by_round(value) {
                    push(&mut rows, method, "", Some(round), [(measure, Some(spread))]);
                }
            }
            for (step, costs) in method.costs() {
                push(&mut rows, method, step, None, of_costs(&costs));
            }
            push(&mut rows, method, "", None, of_costs(&method.sums()));
            let bytes = method
                .counted()
                .map(|run| run.bytes(u32::MAX).map(|bytes| bytes as f64));
            let bytes: Option<Vec<f64>> = bytes.collect();
            let bytes = bytes.and_then(|bytes| Spread::of(&bytes));
            push(&mut rows, method, "", None, [("bytes", bytes)]);
        }
        rows
    }
}

fn of_costs(costs: &[Cost]) -> [(&'static str, Option<Spread>); 7] {
    OF_COST.map(|(measure, of)| {
        let values: Vec<f64> = costs.iter().map(of).collect();
        (measure, Spread::of(&values))
    })
}

/// Adds a row of each measure that there is.
fn push<'a>(
    rows: &mut Vec<Row<'a>>,
    method: &'a Method,
    step: &'a str,
    round: Option<u32>,
    spreads: impl IntoIterator<Item = (&'static str, Option<Spread>)>,
) {
    for (measure, spread) in spreads {
        rows.extend(spread.map(|spread| Row {
            method,
            step,
            round,
            measure,
            spread,
        }));
    }
}
