//! `FedDF`: ensemble distillation for robust model fusion (Lin et al. 2020, arXiv:2006.07242, algorithms 1 and 3), as in
//! serverless functions (arXiv:2402.07295): one distillation an architecture, in parallel.
//!
//! ```text
//! round 0   initial (new weights, once an architecture) ──> evaluate
//! round r   train (from the architecture's prototype, private labels) ──> predict ──> evaluate_personal
//!             ──> aggregate (mean of raw logits of all parties of all architectures) ──> join ──> evaluate_ensemble
//!             ──> average (by samples, once an architecture) ──> distill (KL to the mean) ──> evaluate
//! ```
//!
//! Local training is the paper's for residual networks: SGD 0.1 without momentum or decay, 40 epochs, of 0.4 of the parties in
//! each round (`active = 0.4`), in the batches of 64 that the authors' code is told to take. Where it is compared with
//! `fedavg`, which has the epochs and batches of its own paper, a table `[steps.train]` sets both alike.
//!
//! Distillation is the paper's: Adam 1e-3 with cosine annealing over at most 10,000 steps in batches of 128, looked at
//! every 100 steps on validation rows that the server holds, stopped after ten looks without improvement; the best look's
//! weights are restored, the average's own where no look was better. Temperature 1, and the divergence's mean per row. The
//! authors' code takes the mean over teachers of the divergence by default, which is `rule = "mean_probability"`, and
//! weighs parties alike in the average, which is `rule = { weights = "parties" }`. It clips the gradients of the distillation,
//! which is `clip = 5.0`, and can drop teachers that are no better than chance, or far below the others, which is
//! `drop_worst = true` of `aggregate`, and of `average`.
//!
//! Parties predict on the alignment set by themselves: up to float16 on the wire, the numbers that the server would compute
//! from their weights.

use super::fedavg::{average, personal, warmup};
use super::{learning, local, plain, term};
use fedstill_schemas::fit::{EarlyStop, Fit, Loss, Optimizer, Per, Schedule, Watch};
use fedstill_schemas::pipeline::{Disclosure, On, Pipeline, Rule, Stage, Start, Step, Target, Who};

/// What it is, in a line.
pub(super) const ABOUT: &str = "FedAvg, and then each architecture's mean learns the mean of all parties' logits on public \
                                rows (Lin et al. 2020, arXiv:2006.07242; serverless: arXiv:2402.07295)";

pub(super) fn pipeline() -> Pipeline {
    let ensemble = Step {
        name: "evaluate_ensemble".to_owned(),
        ..plain(Stage::Evaluate, Who::Server)
    };
    Pipeline {
        name: "feddf".to_owned(),
        discloses: vec![
            Disclosure::Weights,
            Disclosure::Predictions,
            Disclosure::Prototypes,
            Disclosure::ValidationRows,
            Disclosure::Reports,
        ],
        warmup: warmup(),
        round: vec![
            local(Start::Prototype, 40, 64),
            plain(Stage::Predict, Who::Selected),
            personal(),
            Step {
                rule: Some(Rule::Mean),
                ..plain(Stage::Aggregate, Who::Partitions)
            },
            plain(Stage::Join, Who::Server),
            ensemble,
            average(),
            distill(),
            plain(Stage::Evaluate, Who::Architectures),
        ],
    }
}

fn distill() -> Step {
    let divergence = Loss::Kl {
        t: 1.0,
        times_t2: false,
        per: Per::Batch,
    };
    let fit = Fit {
        steps: Some(10_000),
        schedule: Schedule::Cosine,
        ..Fit::new(
            1,
            128,
            Optimizer::adam(1e-3),
            Some(EarlyStop {
                watch: Watch::Validation,
                every: Some(100),
                ..EarlyStop::after(10, 0.0)
            }),
        )
    };
    learning(
        "distill",
        Stage::Distill,
        Who::Architectures,
        Start::Own,
        term(On::Alignment, Target::Consensus, divergence),
        fit,
    )
}
