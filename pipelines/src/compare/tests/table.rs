//! The Parquet table of a comparison.

use super::{ASKED, compared, three_seeds};
use crate::compare::Asked;
use crate::reached::samples::Results;
use arrow_array::{Array, Float64Array, RecordBatch, StringArray, UInt32Array};
use bytes::Bytes;
use fedstill_schemas::results as tables;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

/// A column of the Parquet table.
fn column<'a, T: 'static>(table: &'a RecordBatch, name: &str) -> &'a T {
    let column = table.column_by_name(name).expect("a column");
    column.as_any().downcast_ref().expect("its type")
}

#[test]
fn the_table_has_a_row_a_method_step_round_and_measure() {
    let results = Results::new();
    let asked = Asked {
        target: Some(0.601),
        ..ASKED
    };
    let comparison = compared(&results, &three_seeds(&results), &asked).expect("a comparison");
    let file = Bytes::from(comparison.parquet());
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("Parquet");
    let metadata = reader
        .metadata()
        .file_metadata()
        .key_value_metadata()
        .expect("metadata");
    let value = |key: &str| {
        metadata
            .iter()
            .find(|entry| entry.key == key)
            .and_then(|entry| entry.value.clone())
    };
    assert_eq!(value("fedstill.evaluations").as_deref(), Some("5"));
    assert_eq!(value("fedstill.baseline").as_deref(), Some("standalone"));
    assert_eq!(value("fedstill.target").as_deref(), Some("0.601"));
    let batches: Vec<RecordBatch> = reader
        .build()
        .expect("a reader")
        .map(|batch| batch.expect("rows"))
        .collect();
    let [table] = &batches[..] else {
        panic!("{} batches", batches.len());
    };
    assert_eq!(table.schema().fields(), tables::comparison().fields());
    let texts = |name| column::<StringArray>(table, name);
    let (pipelines, steps, measures) = (texts("pipeline"), texts("step"), texts("measure"));
    let rounds = column::<UInt32Array>(table, "round");
    let row = |pipeline: &str, step: &str, round: Option<u32>, measure: &str| {
        let found: Vec<usize> = (0..table.num_rows())
            .filter(|at| pipelines.value(*at) == pipeline && steps.value(*at) == step)
            .filter(|at| measures.value(*at) == measure)
            .filter(|at| rounds.is_valid(*at).then(|| rounds.value(*at)) == round)
            .collect();
        let [at] = found[..] else {
            panic!("{} rows of {pipeline}, {step}, {round:?}, {measure}", found.len());
        };
        let deviations = column::<Float64Array>(table, "deviation");
        let thousandths = |value: f64| (value * 1000.0).round() as i64;
        let value = thousandths(column::<Float64Array>(table, "value").value(at));
        let deviation = deviations.is_valid(at).then(|| thousandths(deviations.value(at)));
        (value, deviation, column::<UInt32Array>(table, "seeds").value(at))
    };
    assert_eq!(row("fedmd", "evaluate", None, "accuracy"), (576, Some(16), 3));
    assert_eq!(row("fedmd", "evaluate", None, "worst_party"), (556, Some(16), 3));
    assert_eq!(row("fedmd", "evaluate", None, "difference"), (36, Some(6), 3));
    assert_eq!(row("fedmd", "evaluate", Some(0), "round_accuracy"), (510, Some(10), 3));
    assert_eq!(
        row("fedmd", "evaluate", Some(0), "round_worst_party"),
        (490, Some(10), 3)
    );
    assert_eq!(row("fedmd", "evaluate", None, "rounds_to_target"), (4500, Some(707), 2));
    assert_eq!(row("standalone", "", Some(1), "round_bytes"), (2_000_000, Some(0), 3));
    assert_eq!(row("standalone", "train", None, "tasks"), (12_000, Some(0), 3));
    assert_eq!(row("standalone", "train", None, "bytes_in"), (1_200_000, Some(0), 3));
    assert_eq!(row("standalone", "", None, "busy_seconds"), (4200, Some(0), 3));
    assert_eq!(row("standalone", "", None, "bytes"), (6_000_000, Some(0), 3));
    let of_target = (0..table.num_rows()).filter(|at| measures.value(*at).ends_with("_to_target"));
    assert_eq!(of_target.count(), 4, "standalone never has it");
    assert_eq!(comparison.parquet(), comparison.parquet());
}
