//! What all private data in one place would reach: FedMD's local steps, once an architecture, on the rows of all
//! parties. A simulation: it discloses private rows by definition.
//!
//! ```text
//! round 0   pretrain ──> transfer (rows of all parties) ──> evaluate
//! round r   revisit (rows of all parties) ──> evaluate
//! ```

use super::{plain, revisit, transfer_learning};
use fedstill_schemas::pipeline::{Disclosure, Pipeline, Stage, Who};

/// What it is, in a line.
pub(super) const ABOUT: &str = "FedMD's local steps on all private rows in one place: the most there is to gain";

pub(super) fn pipeline() -> Pipeline {
    Pipeline {
        name: "centralised".to_owned(),
        discloses: vec![Disclosure::PrivateRows, Disclosure::Reports],
        warmup: transfer_learning(Who::Architectures),
        round: vec![revisit(Who::Architectures), plain(Stage::Evaluate, Who::Architectures)],
    }
}
