//! `FedAvg`: federated averaging (McMahan et al. 2017, arXiv:1602.05629, algorithm 1), an architecture at a time. And
//! `FedProx` (Li et al. 2020, arXiv:1812.06127, equation 2), which is the same with a proximal term in local training.
//!
//! ```text
//! round 0   initial (new weights, once an architecture) ──> evaluate
//! round r   train (from the architecture's prototype, private labels) ──> evaluate_personal
//!             ──> average (by samples, once an architecture) ──> evaluate
//! ```
//!
//! Local training is the paper's for its convolutional network: SGD without momentum, 5 epochs in batches of 10; the
//! learning rate, which the paper chooses for every experiment, is the 0.1 of FedDF's experiments (Lin et al. 2020,
//! section 4.1). Optimizers begin anew in every round. `FedProx` weighs its term by 0.01, the middle of the values that its
//! paper tunes over. Buffers of batch norm are averaged like weights.

use super::{LOCAL, local, plain};
use fedstill_schemas::pipeline::{By, Disclosure, Pipeline, Rule, Stage, Start, Step, Who};

/// What it is, in a line.
pub(super) const ABOUT: &str =
    "The mean of the weights of each architecture's parties, by samples (McMahan et al. 2017, arXiv:1602.05629)";
/// What `fedprox` is, in a line.
pub(super) const ABOUT_PROX: &str = "FedAvg with a proximal term in local training (Li et al. 2020, arXiv:1812.06127)";

pub(super) fn pipeline() -> Pipeline {
    Pipeline {
        name: "fedavg".to_owned(),
        discloses: vec![Disclosure::Weights, Disclosure::Prototypes, Disclosure::Reports],
        warmup: warmup(),
        round: vec![
            local(Start::Prototype, 5, 10),
            personal(),
            average(),
            plain(Stage::Evaluate, Who::Architectures),
        ],
    }
}

pub(super) fn prox() -> Pipeline {
    let mut pipeline = pipeline();
    "fedprox".clone_into(&mut pipeline.name);
    let training = pipeline.round.iter_mut().filter(|step| step.name == LOCAL);
    for fit in training.filter_map(|step| step.fit.as_mut()) {
        fit.proximal = 0.01;
    }
    pipeline
}

/// Round 0 of algorithms that average weights: prototypes that nobody has trained.
pub(super) fn warmup() -> Vec<Step> {
    let initial = Step {
        name: "initial".to_owned(),
        start: Start::Fresh,
        ..plain(Stage::Pretrain, Who::Architectures)
    };
    vec![initial, plain(Stage::Evaluate, Who::Architectures)]
}

/// Scores of what a party has trained, before it is averaged.
pub(super) fn personal() -> Step {
    Step {
        name: "evaluate_personal".to_owned(),
        ..plain(Stage::Evaluate, Who::Selected)
    }
}

pub(super) fn average() -> Step {
    Step {
        rule: Some(Rule::Weights(By::Samples)),
        ..plain(Stage::Average, Who::Architectures)
    }
}
