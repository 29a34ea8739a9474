//! How a step trains: epochs, batch, optimizer, loss, early stopping.

use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;

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
    /// Steps of the optimizer, over as many epochs as that takes; `None` for `epochs` of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<u32>,
    /// How the learning rate changes over the steps.
    #[serde(default, skip_serializing_if = "Schedule::is_constant")]
    pub schedule: Schedule,
    /// The weight of half the squared distance to the weights that the step started from, added to the loss (FedProx, Li et
    /// al. 2020, arXiv:1812.06127, equation 2); 0 for none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub proximal: f64,
    /// The weight of the sum of squares of the head's weights, without its bias, added to the loss (Keras' `l2`; 0.001 in
    /// FedMD's public code, and nothing in its paper); 0 for none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub head_l2: f64,
    /// The greatest length of a step's gradient, that of all weights together and of the summands above too: a longer one
    /// is scaled to it, as by PyTorch's `clip_grad_norm_` (Pascanu, Mikolov and Bengio 2013, arXiv:1211.5063, algorithm 1;
    /// 5 in FedDF's released code); `None` for any length.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip: Option<f64>,
}

impl Fit {
    /// Trains for so many epochs, with a constant learning rate, on the terms alone.
    pub fn new(epochs: u32, batch: u32, optimizer: Optimizer, stop: Option<EarlyStop>) -> Self {
        Self {
            epochs,
            batch,
            optimizer,
            stop,
            steps: None,
            schedule: Schedule::Constant,
            proximal: 0.0,
            head_l2: 0.0,
            clip: None,
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_zero(value: &f64) -> bool {
    *value == 0.0
}

/// How a learning rate changes over the steps of a fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// Not at all.
    #[default]
    Constant,
    /// From the whole to nothing along half a cosine over all steps, early stopping or not (Loshchilov and Hutter 2017,
    /// arXiv:1608.03983, equation 5 without restarts; PyTorch's `CosineAnnealingLR`).
    Cosine,
}

impl Schedule {
    /// Whether it changes nothing.
    pub fn is_constant(&self) -> bool {
        *self == Self::Constant
    }
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

/// Early stopping by what a look at rows that are not trained on says; weights, buffers and optimizer of the best look are
/// restored together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EarlyStop {
    /// Looks without improvement before training stops.
    pub patience: u32,
    /// The least improvement that counts as one.
    #[serde(default)]
    pub min_delta: f64,
    /// What is looked at.
    #[serde(default, skip_serializing_if = "Watch::is_held_out")]
    pub watch: Watch,
    /// Steps of the optimizer between two looks; `None` for an epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<u32>,
}

impl EarlyStop {
    /// Stops by the loss on held out rows, looked at after every epoch.
    pub fn after(patience: u32, min_delta: f64) -> Self {
        Self {
            patience,
            min_delta,
            watch: Watch::HeldOut,
            every: None,
        }
    }
}

/// What early stopping looks at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Watch {
    /// The loss on a seeded fifth of the step's own rows, which is not trained on.
    #[default]
    HeldOut,
    /// The accuracy on the validation rows that the server holds, before the first step too: where no look is better than
    /// the start, the start is what the step makes (FedDF, Lin et al. 2020, arXiv:2006.07242, section 4.1).
    Validation,
}

impl Watch {
    /// Whether it is the step's own rows.
    pub fn is_held_out(&self) -> bool {
        *self == Self::HeldOut
    }
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
        #[serde(default)]
        per: Per,
    },
    /// Mean absolute error, over all elements.
    Mae,
    /// Mean squared error, over all elements.
    Mse,
}

impl Loss {
    /// The temperatures that [`Self::Kl`] may have.
    pub const TEMPERATURES: RangeInclusive<f64> = 1e-9..=1e9;
}

/// What the sum of a divergence is divided by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Per {
    /// The rows of the batch (PyTorch's `batchmean`).
    #[default]
    Batch,
    /// Rows times classes (PyTorch's `mean`).
    Element,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fit_says_what_it_said_before_there_were_settings_that_it_does_not_use() {
        let fit = Fit::new(1, 8, Optimizer::adam(0.5), None);
        let text = "{\"epochs\":1,\"batch\":8,\"optimizer\":{\"kind\":\"adam\",\"lr\":0.5,\"beta_1\":0.9,\"beta_2\":0.999,\
                    \"epsilon\":1e-8,\"weight_decay\":0.0},\"stop\":null}";
        assert_eq!(serde_json::to_string(&fit).unwrap(), text);
        assert_eq!(serde_json::from_str::<Fit>(text).unwrap(), fit);
        let penalised = Fit { head_l2: 0.001, ..fit };
        let text = serde_json::to_string(&penalised).unwrap();
        assert!(text.contains("\"head_l2\":0.001"), "{text}");
        assert_eq!(serde_json::from_str::<Fit>(&text).unwrap(), penalised);
    }
}
