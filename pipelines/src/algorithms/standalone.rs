//! What a party reaches alone: local steps, and no exchange. As the baseline of a run file it is made of the local steps of
//! the file's pipeline ([`Pipeline::baseline`]); this one, for a file that is about it alone, is of FedMD's.
//!
//! ```text
//! round 0   pretrain ──> transfer ──> evaluate
//! round r   revisit ──> evaluate
//! ```

use super::fedmd;
use fedstill_schemas::pipeline::{Pipeline, STANDALONE};

/// What it is, in a line.
pub(super) const ABOUT: &str = "What a party reaches alone: the local steps of the run file's pipeline without exchange, the \
                                comparison of Li and Wang 2019, arXiv:1910.03581; by itself, and below, FedMD's";

pub(super) fn pipeline() -> Pipeline {
    let alone = fedmd::pipeline().baseline(STANDALONE);
    alone.expect("FedMD trains on private rows")
}
