//! Arrow schemas of the four result tables, and of what a comparison of runs makes of them. Scalar columns only, so that
//! DuckDB, Polars, DataFusion and pyarrow read them without options; run and round are the hive partitions of the result
//! tables' folders.

use arrow_schema::{DataType, Field, Schema};
use std::sync::Arc;

/// Scores: one row a model slot and test set, round 0 included.
pub const METRICS: &str = "metrics";
/// Costs: one row a task.
pub const STEPS: &str = "steps";
/// Aggregation: one row a chunk.
pub const CONSENSUS: &str = "consensus";
/// One row a round.
pub const ROUNDS: &str = "rounds";

/// Key of each file's metadata: the numerics classes of the machines that did the round's tasks.
pub const NUMERICS: &str = "fedstill.numerics";
/// Key of each file's metadata: the releases that took part in the round.
pub const RELEASE: &str = "fedstill.release";
/// Key of the metadata of [`STEPS`]: the provider whose prices its costs are by.
pub const PROVIDER: &str = "fedstill.provider";

/// All tables.
pub const TABLES: [&str; 4] = [METRICS, STEPS, CONSENSUS, ROUNDS];

/// The schema of a table of [`TABLES`].
pub fn schema(table: &str) -> Arc<Schema> {
    use DataType::{Float64, Int64, UInt32, UInt64, Utf8};
    let fields: &[(&str, DataType)] = match table {
        METRICS => &[
            ("pipeline", Utf8),
            ("seed", UInt64),
            ("step", Utf8),
            ("slot", UInt32),
            ("architecture", Utf8),
            ("test_set", Utf8),
            ("accuracy", Float64),
            ("balanced_accuracy", Float64),
            ("loss", Float64),
            ("samples", UInt32),
        ],
        STEPS => &[
            ("pipeline", Utf8),
            ("seed", UInt64),
            ("attempt", UInt32),
            ("step", Utf8),
            ("stage", Utf8),
            ("subject", Utf8),
            ("architecture", Utf8),
            ("queued_ms", Int64),
            ("started_ms", Int64),
            ("ended_ms", Int64),
            ("cpu_seconds", Float64),
            ("bytes_in", UInt64),
            ("bytes_out", UInt64),
            // What of it crossed: from a party to the server, and from the server to the party.
            ("bytes_up", UInt64),
            ("bytes_down", UInt64),
            ("gb_seconds", Float64),
            ("price", Float64),
        ],
        CONSENSUS => &[
            ("pipeline", Utf8),
            ("seed", UInt64),
            ("chunk", UInt32),
            ("members", UInt32),
            ("abstentions", UInt32),
            ("abstained", Utf8),
            ("late", UInt32),
            ("entropy", Float64),
            ("agreement", Float64),
        ],
        _ => &[
            ("pipeline", Utf8),
            ("seed", UInt64),
            ("attempt", UInt32),
            ("duration_seconds", Float64),
            // How many the run has.
            ("parties", UInt32),
            // Those that the round selected, `party-0; party-3`: of a round that leaves nobody out, as round 0, empty.
            ("selected", Utf8),
            ("quorum", UInt32),
            ("members", UInt32),
            ("stragglers", Utf8),
            ("refused", Utf8),
            ("bytes_tasks", UInt64),
            ("bytes_answers", UInt64),
            ("bytes_logits", UInt64),
            ("bytes_consensus", UInt64),
            ("peak_memory", UInt64),
        ],
    };
    let fields: Vec<Field> = fields
        .iter()
        .map(|(name, kind)| Field::new(*name, kind.clone(), false))
        .collect();
    Arc::new(Schema::new(fields))
}

/// The schema of a comparison: one row a method, step, round and measure. A method is a pipeline of a run name.
pub fn comparison() -> Arc<Schema> {
    use DataType::{Float64, UInt32, Utf8};
    Arc::new(Schema::new(vec![
        Field::new("name", Utf8, false),
        Field::new("pipeline", Utf8, false),
        // Of all steps together where empty.
        Field::new("step", Utf8, false),
        // Of all rounds together where null.
        Field::new("round", UInt32, true),
        Field::new("measure", Utf8, false),
        // The mean over seeds; the standard deviation of the sample, null of one seed; the lowest and the highest seed's.
        Field::new("value", Float64, false),
        Field::new("deviation", Float64, true),
        Field::new("low", Float64, false),
        Field::new("high", Float64, false),
        Field::new("seeds", UInt32, false),
    ]))
}
