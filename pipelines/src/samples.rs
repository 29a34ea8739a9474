//! A resolved run with nothing set, for tests that say what of it matters to them.

use fedstill_schemas::Digest;
use fedstill_schemas::data::{DataSet, Labels, Partition, Shape};
use fedstill_schemas::pipeline::{Pipeline, Selection};
use fedstill_schemas::resolved::{Precision, ResolvedRun, Simulate, VERSION};

/// So many rows of two classes.
pub(crate) fn set(rows: u32) -> DataSet {
    let shape = Shape {
        channels: 1,
        height: 2,
        width: 2,
    };
    DataSet::whole(Digest::of(b"set"), rows, 2, shape)
}

/// A run of no steps and no parties on a hundred rows.
pub(crate) fn resolved() -> ResolvedRun {
    ResolvedRun {
        version: VERSION,
        pipeline: Pipeline {
            name: "fedmd".to_owned(),
            discloses: Vec::new(),
            warmup: Vec::new(),
            round: Vec::new(),
        },
        seed: 0,
        parties: Vec::new(),
        identities: Vec::new(),
        private: set(100),
        public: None,
        test: set(100),
        labels: Labels::Shared,
        partition: Partition::Iid,
        alignment: 0,
        precision: Precision::Float16,
        selection: Selection::All,
        validation: None,
        simulate: Simulate::default(),
    }
}
