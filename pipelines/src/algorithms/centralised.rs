//! What all private data in one place would reach: local steps, once an architecture, on the rows of all parties. A
//! simulation: it discloses private rows by definition. As the baseline of a run file it is made of the local steps of the
//! file's pipeline ([`Pipeline::baseline`]); this one, for a file that is about it alone, is of FedMD's.
//!
//! ```text
//! round 0   pretrain ──> transfer (rows of all parties) ──> evaluate
//! round r   revisit (rows of all parties) ──> evaluate
//! ```
//!
//! Of each step on private rows it takes as many steps of the optimizer as all parties together: a run says how many, once
//! the rows are divided.

use super::fedmd;
use fedstill_schemas::pipeline::{CENTRALISED, Pipeline};

/// What it is, in a line.
pub(super) const ABOUT: &str = "All private rows in one place, the most there is to gain: the local steps of the run file's \
                                pipeline, each by as many steps of the optimizer as all parties take together (after the \
                                pooled data of Li and Wang 2019, arXiv:1910.03581); by itself, and below, FedMD's";

pub(super) fn pipeline() -> Pipeline {
    let pooled = fedmd::pipeline().baseline(CENTRALISED);
    pooled.expect("FedMD trains on private rows")
}
