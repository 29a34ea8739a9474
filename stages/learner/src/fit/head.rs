//! What holds the weights of a model's head near zero.

use crate::error::LearnError;
use crate::registry::{Network, Parameter};
use burn::tensor::Tensor;

/// The summand `l2 * |w|^2` of the loss, over the weights w of the head, without its bias (Keras' `l2`, which FedMD's public
/// code has on its last layer). Only its gradient is computed: the loss that a job reports is that of its terms.
pub(super) struct HeadPenalty {
    l2: f64,
    /// The name of the head's weight.
    head: String,
}

impl HeadPenalty {
    /// Of that weight, on that network's head; `None` where it weighs nothing.
    ///
    /// # Errors
    /// [`LearnError::Setting`] where `l2` is negative or not finite, or the network trains no tensor of its head's name.
    pub(super) fn new(l2: f64, network: &dyn Network) -> Result<Option<Self>, LearnError> {
        let refuse = |must| {
            Err(LearnError::Setting {
                setting: "head_l2",
                must,
                value: l2.to_string(),
            })
        };
        if !(l2.is_finite() && l2 >= 0.0) {
            return refuse("0 or positive");
        }
        if l2 == 0.0 {
            return Ok(None);
        }
        let head = network.head();
        let is_head = |parameter: &Parameter| parameter.trainable && parameter.name == head;
        if !network.parameters().iter().any(is_head) {
            return refuse("0 with this family, whose head is no tensor that it trains");
        }
        Ok(Some(Self { l2, head }))
    }

    /// A trained parameter's gradient with that of this summand: of the head's weight `2 * l2 * w`, of others nothing.
    pub(super) fn added(&self, name: &str, value: &Tensor<1>, gradient: Tensor<1>) -> Tensor<1> {
        if name == self.head {
            gradient + value.clone().mul_scalar(2.0 * self.l2)
        } else {
            gradient
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensors::{flat, values};
    use burn::tensor::Device;

    #[test]
    fn the_gradient_of_the_head_alone_points_away_from_zero() {
        let flat = |values: [f32; 2]| flat(values.to_vec(), &Device::flex());
        let penalty = HeadPenalty {
            l2: 0.5,
            head: "fc.weight".to_owned(),
        };
        let added = |name| values(penalty.added(name, &flat([1.5, -1.0]), flat([0.25, 0.5])));
        assert_eq!(added("fc.weight"), [1.75, -0.5]);
        for other in ["fc.bias", "fc1.weight"] {
            assert_eq!(added(other), [0.25, 0.5], "{other}");
        }
    }
}
