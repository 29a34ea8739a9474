//! What several parties predict, combined: the mean of their logits or of their probabilities, sharpened or not.
//!
//! Parties are added a few at a time, always in the order given: all of them need not be in memory at once.

use crate::OperandError;
use crate::cpu;
#[cfg(feature = "gpu")]
use crate::cube;
use crate::operands::Operation;
use crate::row_loss::values;
use crate::softmax::softmax;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{DType, Device, Tensor};

const OPERATION: Operation = Operation("ensemble");

/// What is averaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Averaged {
    /// The predictions as they are: logits as a rule.
    Values,
    /// The softmax of each row.
    Probabilities,
}

/// What is made of the average.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sharpening {
    /// Nothing.
    None,
    /// Entropy reduction aggregation: the softmax of the average divided by this temperature, below 1 as a rule (Itahara et
    /// al. 2020, arXiv:2008.06180, equation 12).
    Era(f64),
    /// Each probability to this power, normalised: above 1 it sharpens.
    Power(f64),
}

/// How much each prediction counts.
#[derive(Clone, Debug)]
pub enum Weights {
    /// All the same.
    Equal,
    /// One a party: `parties` values.
    Party(Tensor<1>),
    /// One a party and class: `parties x classes`.
    PartyClass(Tensor<2>),
    /// One a party and row: `parties x rows`.
    PartyRow(Tensor<2>),
}

/// An average on its way.
#[derive(Clone, Debug)]
pub struct Ensemble {
    averaged: Averaged,
    /// `rows x classes`.
    sums: Tensor<2>,
    /// Sums of the weights: `(rows or 1) x (classes or 1)`.
    weights: Option<Tensor<2>>,
}

impl Ensemble {
    /// The average of nobody yet, on a device. Of no rows, no rows come out.
    ///
    /// # Errors
    /// [`OperandError::NoClasses`].
    pub fn new(rows: usize, classes: usize, averaged: Averaged, device: &Device) -> Result<Self, OperandError> {
        OPERATION.has_classes([rows, classes])?;
        Ok(Self {
            averaged,
            sums: Tensor::zeros([rows, classes], (device, DType::F32)),
            weights: None,
        })
    }

    /// Adds predictions: `parties x rows x classes` in float32 or float16, with weights of the same form every time.
    ///
    /// # Errors
    /// [`OperandError`] where shapes or types do not fit.
    pub fn add(&mut self, predictions: Tensor<3>, weights: &Weights) -> Result<(), OperandError> {
        let [rows, classes] = self.sums.dims();
        let parties = predictions.dims()[0];
        OPERATION.shape("a prediction", &[parties, rows, classes], &predictions.dims())?;
        OPERATION.float("a prediction", &predictions)?;
        if parties == 0 {
            return Ok(());
        }
        // Constants: nobody learns through an ensemble.
        let predictions = if predictions.is_autodiff() {
            predictions.inner()
        } else {
            predictions
        };
        let device = self.sums.device();
        let equal = || Tensor::<3>::ones([parties, 1, 1], (&device, DType::F32));
        let weights: Tensor<3> = match weights {
            Weights::Equal => equal(),
            Weights::Party(weights) => {
                OPERATION.shape("a party's weight", &[parties], &weights.dims())?;
                weights.clone().reshape([parties, 1, 1])
            }
            Weights::PartyClass(weights) => {
                OPERATION.shape("a party's weight of each class", &[parties, classes], &weights.dims())?;
                weights.clone().reshape([parties, 1, classes])
            }
            Weights::PartyRow(weights) => {
                OPERATION.shape("a party's weight of each row", &[parties, rows], &weights.dims())?;
                // Of no rows there is nothing to weigh.
                if rows == 0 {
                    equal()
                } else {
                    weights.clone().reshape([parties, rows, 1])
                }
            }
        };
        let weights = weights.cast(DType::F32);
        OPERATION.sum(&weights)?;
        let dims = weights.dims();
        if let Some(before) = &self.weights {
            OPERATION.shape("what all weights sum to", &before.dims(), &[dims[1], dims[2]])?;
        }
        let nothing = Tensor::zeros([0, 0], (&device, DType::F32));
        let sums = std::mem::replace(&mut self.sums, nothing);
        self.sums = Tensor::from_dispatch(<Dispatch as EnsembleOps>::add_predictions(
            sums.into_dispatch(),
            predictions.into_dispatch(),
            weights.clone().into_dispatch(),
            self.averaged == Averaged::Probabilities,
        ));
        let added: Tensor<2> = weights.sum_dim(0).reshape([dims[1], dims[2]]);
        self.weights = Some(match self.weights.take() {
            Some(before) => before + added,
            None => added,
        });
        Ok(())
    }

    /// The average, sharpened: `rows x classes` in float32.
    ///
    /// # Errors
    /// [`OperandError`] where nobody was added, a sum of weights is not positive and finite, or the sharpening has no positive
    /// constant.
    pub fn finish(self, sharpening: Sharpening) -> Result<Tensor<2>, OperandError> {
        let weights = self.weights.ok_or(OperandError::Nobody { operation: OPERATION.0 })?;
        let sums: Vec<f32> = weights.clone().try_into_vec_as().unwrap_or_default();
        if sums.iter().any(|sum| !(sum.is_finite() && *sum > 0.0)) {
            return Err(OPERATION.bad_weights());
        }
        let average = self.sums / weights;
        match sharpening {
            Sharpening::None => Ok(average),
            Sharpening::Era(temperature) => softmax(average, temperature),
            // p^b over its sum is the softmax of b ln p; of logits, of their own probabilities.
            Sharpening::Power(exponent) if self.averaged == Averaged::Probabilities => {
                softmax(average.log(), exponent.recip())
            }
            Sharpening::Power(exponent) => softmax(average, exponent.recip()),
        }
    }
}

/// The average of all parties at once.
///
/// # Errors
/// As [`Ensemble`]'s methods.
pub fn ensemble(
    predictions: Tensor<3>,
    weights: &Weights,
    averaged: Averaged,
    sharpening: Sharpening,
) -> Result<Tensor<2>, OperandError> {
    let [_, rows, classes] = predictions.dims();
    let mut sum = Ensemble::new(rows, classes, averaged, &predictions.device())?;
    sum.add(predictions, weights)?;
    sum.finish(sharpening)
}

#[backend_extension(Flex, Cube: cfg(feature = "gpu"), Fusion: cfg(feature = "fusion"))]
pub(crate) trait EnsembleOps: Backend {
    /// `sums` (`rows x classes`) and the weighted predictions of each party, in order.
    #[fusion(dtype = sums, shape = sums)]
    fn add_predictions(
        sums: FloatTensor<Self>,
        predictions: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        probabilities: bool,
    ) -> FloatTensor<Self>;
}

impl EnsembleOps for Flex {
    fn add_predictions(
        sums: FloatTensor<Self>,
        predictions: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        probabilities: bool,
    ) -> FloatTensor<Self> {
        let dims = predictions.shape().to_vec();
        let weight_dims = weights.shape().to_vec();
        let [mut sums, predictions, weights] = [sums, predictions, weights].map(|tensor| tensor.to_contiguous());
        let input = cpu::ensemble::Input {
            predictions: values(&predictions),
            parties: dims[0],
            classes: dims[2],
            weights: weights.as_slice::<f32>().unwrap_or_default(),
            weight_rows: weight_dims[1],
            weight_classes: weight_dims[2],
            probabilities,
        };
        cpu::ensemble::add(&input, sums.storage_mut::<f32>());
        sums
    }
}

#[cfg(feature = "gpu")]
impl EnsembleOps for burn_cubecl::CubeBackend {
    fn add_predictions(
        sums: FloatTensor<Self>,
        predictions: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        probabilities: bool,
    ) -> FloatTensor<Self> {
        cube::ensemble::add(sums, predictions, weights, probabilities)
    }
}
