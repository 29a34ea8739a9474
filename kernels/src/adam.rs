//! A step of Adam in one pass over memory.
//!
//! As a composition of tensor operations it reads and writes every value a dozen times, which in small dense networks
//! takes as long as their gradients.

use crate::cpu;
use crate::flex::floats;
use crate::operands::Operation;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, Flex, backend_extension};
use burn::tensor::Tensor;

/// The constants of one step of Adam.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamStep {
    /// Learning rate.
    pub lr: f64,
    /// Decay of the first moment.
    pub beta_1: f64,
    /// Decay of the second moment.
    pub beta_2: f64,
    /// Added to the root of the corrected second moment.
    pub epsilon: f64,
    /// L2 penalty, added to the gradient.
    pub weight_decay: f64,
    /// Which step this is, from 1.
    pub step: i64,
}

/// What values are multiplied by in a step.
pub(crate) struct Factors {
    /// The learning rate over the first moment's bias correction.
    pub(crate) step_size: f32,
    /// One over the root of the second moment's bias correction.
    pub(crate) root_correction: f32,
    /// Of the moment so far, and of what is added to it.
    pub(crate) beta_1: [f32; 2],
    pub(crate) beta_2: [f32; 2],
    pub(crate) epsilon: f32,
    pub(crate) decay: f32,
}

impl AdamStep {
    /// In float64, rounded once.
    pub(crate) fn factors(&self) -> Factors {
        let correction = |beta: f64| 1.0 - beta.powi(self.step.clamp(1, i64::from(i32::MAX)) as i32);
        let [beta_1, beta_2] = [self.beta_1, self.beta_2].map(|beta| [beta as f32, (1.0 - beta) as f32]);
        Factors {
            step_size: (self.lr / correction(self.beta_1)) as f32,
            root_correction: correction(self.beta_2).sqrt().recip() as f32,
            beta_1,
            beta_2,
            epsilon: self.epsilon as f32,
            decay: self.weight_decay as f32,
        }
    }
}

/// A parameter and its moments, all of one length.
#[derive(Clone, Debug)]
pub struct AdamState {
    /// The parameter.
    pub parameter: Tensor<1>,
    /// The average of its gradients; 0 before the first step.
    pub first: Tensor<1>,
    /// The average of their squares; 0 before the first step.
    pub second: Tensor<1>,
}

/// What follows from `state` and the parameter's gradient by Kingma and Ba 2015 (arXiv:1412.6980), algorithm 1, with the
/// penalty and the place of epsilon that PyTorch's `Adam` has. Tensors without autodiff; values that nobody else holds
/// are changed where they are.
///
/// # Panics
/// If lengths differ, values are not in float32, or a GPU cannot count so many elements, or hold them in a buffer.
pub fn adam(state: AdamState, gradient: Tensor<1>, step: AdamStep) -> AdamState {
    let [parameter, first, second] = [state.parameter, state.first, state.second];
    assert!(
        [&parameter, &first, &second]
            .iter()
            .all(|tensor| tensor.dims() == gradient.dims()),
        "a parameter, its gradient and its moments have one length"
    );
    let (operation, dims, device) = (Operation("Adam"), gradient.dims(), gradient.device());
    let typed = [&parameter, &first, &second, &gradient]
        .into_iter()
        .zip(["the parameter", "the first moment", "the second moment", "the gradient"])
        .try_for_each(|(tensor, operand)| operation.single(operand, tensor.dtype()));
    let counted = typed.and_then(|()| operation.countable("the parameter", &dims, &device));
    if let Err(error) = counted.and_then(|()| operation.holdable("the parameter", &dims, &device)) {
        panic!("{error}");
    }
    let (parameter, first, second) = <Dispatch as AdamOps>::adam(
        parameter.into_dispatch(),
        first.into_dispatch(),
        second.into_dispatch(),
        gradient.into_dispatch(),
        step,
    );
    let [parameter, first, second] = [parameter, first, second].map(Tensor::from_dispatch);
    AdamState {
        parameter,
        first,
        second,
    }
}

#[backend_extension(Flex, Cube: cfg(feature = "gpu"), Fusion: cfg(feature = "fusion"))]
trait AdamOps: Backend {
    /// Parameter, first and second moment after the step.
    #[fusion(meta = |parameter, _first, _second, _gradient, _step| {
        (parameter.clone(), parameter.clone(), parameter.clone())
    })]
    fn adam(
        parameter: FloatTensor<Self>,
        first: FloatTensor<Self>,
        second: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        step: AdamStep,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
}

impl AdamOps for Flex {
    fn adam(
        parameter: FloatTensor<Self>,
        first: FloatTensor<Self>,
        second: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        step: AdamStep,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let [mut parameter, mut first, mut second, gradient] =
            [parameter, first, second, gradient].map(|tensor| tensor.to_contiguous());
        cpu::adam::step(
            &step.factors(),
            parameter.storage_mut(),
            first.storage_mut(),
            second.storage_mut(),
            floats(&gradient),
        );
        (parameter, first, second)
    }
}

#[cfg(feature = "gpu")]
impl AdamOps for burn_cubecl::CubeBackend {
    fn adam(
        parameter: FloatTensor<Self>,
        first: FloatTensor<Self>,
        second: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        step: AdamStep,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        crate::cube::adam(parameter, first, second, gradient, step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{DType, Device, TensorData};

    const STEP: AdamStep = AdamStep {
        lr: 0.1,
        beta_1: 0.9,
        beta_2: 0.99,
        epsilon: 1e-8,
        weight_decay: 0.1,
        step: 1,
    };

    fn on(device: &Device, values: &[f32]) -> Tensor<1> {
        Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), device)
    }

    fn flat(values: &[f32]) -> Tensor<1> {
        on(&Device::flex(), values)
    }

    fn vector(tensor: Tensor<1>) -> Vec<f32> {
        tensor.try_into_vec_as::<f32>().unwrap()
    }

    #[test]
    fn steps_follow_the_algorithm_in_float64() {
        for (_, device) in crate::tests::devices() {
            steps_on(&device);
        }
    }

    fn steps_on(device: &Device) {
        let start = [1.0_f32, -2.0, 0.0];
        let mut state = AdamState {
            parameter: on(device, &start),
            first: on(device, &[0.0; 3]),
            second: on(device, &[0.0; 3]),
        };
        let mut expected = start.map(|value| (f64::from(value), 0.0, 0.0));
        for (i, gradient) in [[0.5_f32, -1.0, 0.25], [1e-3, 2.0, 0.0], [-0.5, 0.1, 0.1]]
            .iter()
            .enumerate()
        {
            let step = i as i32 + 1;
            state = adam(
                state,
                on(device, gradient),
                AdamStep {
                    step: i64::from(step),
                    ..STEP
                },
            );
            for ((x, m, v), gradient) in expected.iter_mut().zip(gradient) {
                let g = f64::from(*gradient) + 0.1 * *x;
                *m = 0.9 * *m + 0.1 * g;
                *v = 0.99 * *v + 0.01 * g * g;
                let (m, v) = (*m / (1.0 - 0.9_f64.powi(step)), *v / (1.0 - 0.99_f64.powi(step)));
                *x -= 0.1 * m / (v.sqrt() + 1e-8);
            }
            for (found, (x, _, _)) in vector(state.parameter.clone()).iter().zip(&expected) {
                assert!((f64::from(*found) - x).abs() < 1e-6, "step {step}: {found} {x}");
            }
        }
    }

    #[test]
    #[should_panic(expected = "Adam: the gradient")]
    fn another_type_of_floats_is_refused_by_its_name() {
        let state = AdamState {
            parameter: flat(&[1.0]),
            first: flat(&[0.0]),
            second: flat(&[0.0]),
        };
        adam(state, flat(&[1.0]).cast(DType::F16), STEP);
    }

    #[test]
    fn tensors_that_others_hold_are_left_alone() {
        let (one, zero) = (flat(&[1.0]), flat(&[0.0]));
        let state = AdamState {
            parameter: one.clone(),
            first: zero.clone(),
            second: zero.clone(),
        };
        let after = adam(state, flat(&[1.0]), STEP);
        assert_eq!((vector(one), vector(zero)), (vec![1.0], vec![0.0]));
        assert!(vector(after.parameter)[0] < 1.0);
    }
}
