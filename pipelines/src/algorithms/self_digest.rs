//! What FedMD's extra steps on public data are worth by themselves: the same steps, with a party's own logits as target.
//!
//! ```text
//! round 0   pretrain ──> transfer ──> evaluate
//! round r   digest (MAE to the party's own logits) ──> revisit ──> evaluate
//! ```

use super::{digest, plain, revisit, transfer_learning};
use fedstill_schemas::pipeline::{Disclosure, Pipeline, Stage, Target, Who};

/// What it is, in a line.
pub(super) const ABOUT: &str = "FedMD's public steps towards a party's own logits: what they are worth by themselves (a control \
                                of fedstill's own, of the steps of Li and Wang 2019, arXiv:1910.03581)";

pub(super) fn pipeline() -> Pipeline {
    Pipeline {
        name: "self_digest".to_owned(),
        discloses: vec![Disclosure::Reports],
        warmup: transfer_learning(Who::Parties),
        round: vec![
            digest(Target::Own),
            revisit(Who::Selected),
            plain(Stage::Evaluate, Who::Selected),
        ],
    }
}
