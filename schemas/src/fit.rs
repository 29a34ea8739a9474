//! How a step trains: epochs, batch, optimizer, loss, early stopping.

use serde::{Deserialize, Serialize};

/// Settings of a step that changes weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fit {
    /// Passes over the step's rows; with early stopping the most there are.
    pub epochs: u32,
    /// Rows a step of the optimizer. A short last batch is used, a batch of one row dropped.
    pub batch: u32,
    /// The optimizer and its constants.
    pub optimizer: Optimizer,
    /// Early stopping; `None` trains all epochs.
    pub stop: Option<EarlyStop>,
}

/// An optimizer and its constants, with PyTorch's meaning and defaults.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Optimizer {
    /// Kingma and Ba 2015, arXiv:1412.6980, algorithm 1.
    Adam {
        /// Learning rate.
        lr: f64,
        /// Decay of the first moment.
        #[serde(default = "beta_1")]
        beta_1: f64,
        /// Decay of the second moment.
        #[serde(default = "beta_2")]
        beta_2: f64,
        /// Added to the root of the second moment.
        #[serde(default = "epsilon")]
        epsilon: f64,
        /// L2 penalty, added to the gradient.
        #[serde(default)]
        weight_decay: f64,
    },
    /// Stochastic gradient descent with momentum (Sutskever et al. 2013), no dampening, no Nesterov step.
    Sgd {
        /// Learning rate.
        lr: f64,
        /// Momentum; 0 for none.
        #[serde(default)]
        momentum: f64,
        /// L2 penalty, added to the gradient.
        #[serde(default)]
        weight_decay: f64,
    },
}

fn beta_1() -> f64 {
    0.9
}
fn beta_2() -> f64 {
    0.999
}
fn epsilon() -> f64 {
    1e-8
}

impl Optimizer {
    /// What its state consists of: another optimizer can continue the state if it says the same.
    pub fn state(&self) -> &'static str {
        match self {
            Self::Adam { .. } => "Adam",
            Self::Sgd { momentum, .. } if *momentum > 0.0 => "SGD with momentum",
            Self::Sgd { .. } => "SGD without momentum",
        }
    }

    /// Adam with its published constants.
    pub fn adam(lr: f64) -> Self {
        Self::Adam {
            lr,
            beta_1: beta_1(),
            beta_2: beta_2(),
            epsilon: epsilon(),
            weight_decay: 0.0,
        }
    }
}

/// Early stopping on the loss of a seeded fifth of the step's own rows, which is not trained on;
/// weights, buffers and optimizer of the best epoch are restored together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EarlyStop {
    /// Epochs without improvement before training stops.
    pub patience: u32,
    /// The least decrease of the loss that counts as improvement.
    #[serde(default)]
    pub min_delta: f64,
}

/// What a term compares the model's logits with its target by. Means are over the batch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Loss {
    /// Cross entropy with a label.
    CrossEntropy,
    /// `KL(softmax(target / t) || softmax(logits / t))` (Hinton, Vinyals and Dean 2015, arXiv:1503.02531).
    Kl {
        /// Temperature.
        t: f64,
        /// Multiply by t squared, so that gradients keep their size.
        times_t2: bool,
        /// What the sum is divided by.
        per: Per,
    },
    /// Mean absolute error, over all elements.
    Mae,
    /// Mean squared error, over all elements.
    Mse,
}

/// What the sum of a divergence is divided by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Per {
    /// The rows of the batch (PyTorch's `batchmean`).
    Batch,
    /// Rows times classes (PyTorch's `mean`).
    Element,
}
