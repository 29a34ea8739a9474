//! FedMD: heterogeneous federated learning by model distillation (Li and Wang 2019, arXiv:1910.03581).
//!
//! ```text
//! round 0   pretrain (public labels, once an architecture) ──> transfer (private labels) ──> evaluate
//! round r   predict (raw logits on the alignment set) ──> aggregate (mean) ──> join
//!             ──> digest (MAE to the mean) ──> revisit (private labels) ──> evaluate
//! ```
//!
//! Settings are those of the authors' released configuration for CIFAR (Adam 1e-3 throughout, digest and private
//! training with Adam states of their own that persist across rounds). Its L2 penalty on the last layer's weights, of which
//! the paper has nothing, is `head_l2 = 0.001` of every step that trains. Early stopping watches a fifth of a step's own
//! rows; the released code watches the test set. Pretraining runs once an architecture: its parties would compute the
//! same weights. In the consensus every party counts alike, as in that code and in most of the paper's experiments; the
//! paper's weights c_k, by which it lets two weak models count less on CIFAR, are `rule = { weights = [..] }` of `aggregate`.

use super::{digest, plain, revisit, transfer_learning};
use fedstill_schemas::pipeline::{Disclosure, Pipeline, Rule, Stage, Step, Target, Who};

/// What it is, in a line.
pub(super) const ABOUT: &str =
    "Every party learns the mean of everyone's logits on public rows (Li and Wang 2019, arXiv:1910.03581)";

pub(super) fn pipeline() -> Pipeline {
    Pipeline {
        name: "fedmd".to_owned(),
        discloses: vec![Disclosure::Predictions, Disclosure::Consensus, Disclosure::Reports],
        warmup: transfer_learning(Who::Parties),
        round: vec![
            plain(Stage::Predict, Who::Selected),
            Step {
                rule: Some(Rule::Mean),
                ..plain(Stage::Aggregate, Who::Partitions)
            },
            plain(Stage::Join, Who::Server),
            digest(Target::Consensus),
            revisit(Who::Selected),
            plain(Stage::Evaluate, Who::Selected),
        ],
    }
}
