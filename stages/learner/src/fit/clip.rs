//! A bound on how far a step goes: the gradient of all parameters together is scaled to a length where it is longer.

use crate::error::LearnError;
use crate::tensors::values;
use burn::tensor::Tensor;

/// The greatest length of a gradient.
pub(super) struct Clip {
    longest: f64,
}

/// Added to the length that is divided by, as in PyTorch's `clip_grad_norm_`.
const EPSILON: f64 = 1e-6;

/// Squares that are summed on their device. Fewer than what the CPU's backend sums in parallel, where the order of the
/// threads would show in the bits.
const BLOCK: usize = 1 << 20;

impl Clip {
    /// To that length; `None` where any will do.
    ///
    /// # Errors
    /// [`LearnError::Setting`] where the length is not positive and finite.
    pub(super) fn new(longest: Option<f64>) -> Result<Option<Self>, LearnError> {
        match longest {
            Some(clip) if !(clip.is_finite() && clip > 0.0) => Err(LearnError::Setting {
                setting: "clip",
                must: "positive",
                value: clip.to_string(),
            }),
            longest => Ok(longest.map(|longest| Self { longest })),
        }
    }

    /// What the gradients of all parameters are multiplied by, the same for each; `None` where they are short enough.
    ///
    /// Squares are summed block by block, and those sums in float64 in the order of the parameters.
    pub(super) fn factor<'a>(&self, gradients: impl Iterator<Item = &'a Tensor<1>>) -> Option<f64> {
        let sums: Vec<Tensor<1>> = gradients
            .flat_map(|gradient| (gradient.clone() * gradient.clone()).split(BLOCK, 0))
            .map(Tensor::sum)
            .collect();
        if sums.is_empty() {
            return None;
        }
        // All in one: a device is waited for once.
        let squared: f64 = values(Tensor::cat(sums, 0)).into_iter().map(f64::from).sum();
        let factor = self.longest / (squared.sqrt() + EPSILON);
        (factor < 1.0).then_some(factor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensors::flat;
    use burn::tensor::Device;

    fn factor(longest: f64, gradients: &[Vec<f32>]) -> Option<f64> {
        let gradients: Vec<Tensor<1>> = gradients
            .iter()
            .map(|values| flat(values.clone(), &Device::flex()))
            .collect();
        Clip { longest }.factor(gradients.iter())
    }

    #[test]
    fn gradients_are_measured_together_and_scaled_to_the_length() {
        let of_length_13 = [vec![3.0, -4.0], vec![12.0]];
        assert_eq!(factor(6.5, &of_length_13), Some(6.5 / (13.0 + 1e-6)));
        assert_eq!(factor(13.5, &of_length_13), None);
        // PyTorch's formula falls a little short of the length itself.
        assert_eq!(factor(13.0, &of_length_13), Some(13.0 / (13.0 + 1e-6)));
        assert_eq!(factor(1e-3, &[]), None);
        assert_eq!(factor(1e-3, &[vec![0.0; 3]]), None);
    }

    #[test]
    fn every_value_of_a_gradient_of_many_blocks_counts() {
        let len = 2 * BLOCK + 5;
        let found = factor(1.0, &[vec![1.0; len], vec![2.0]]).unwrap();
        let expected = 1.0 / (((len + 4) as f64).sqrt() + 1e-6);
        assert!((found - expected).abs() < 1e-9 * expected, "{found} {expected}");
    }

    #[test]
    fn what_is_no_length_is_refused_and_nothing_is_no_bound() {
        for wrong in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(Clip::new(Some(wrong)).is_err(), "{wrong}");
        }
        assert!(Clip::new(None).unwrap().is_none());
        assert!(Clip::new(Some(5.0)).unwrap().is_some());
    }
}
