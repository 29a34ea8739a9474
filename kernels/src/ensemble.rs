//! What several parties predict, combined: the mean of their logits or of their probabilities, sharpened or not.
//!
//! Parties are added a few at a time, always in the order given: all of them need not be in memory at once. Beside each sum goes
//! what rounding took from it: however many parties there are, and however they are cut into parts, the average is as exact.

use crate::OperandError;
use crate::cpu;
#[cfg(feature = "gpu")]
use crate::cube;
use crate::flex::{floats, tensor};
use crate::operands::Operation;
use crate::row_loss::values;
use crate::softmax::softmax;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{DType, Device, Tensor, TensorData};

const OPERATION: Operation = Operation("ensemble");

/// What is averaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Averaged {
    /// The predictions as they are: logits as a rule. What a party that counts masks (minus infinity) is masked in the average; NaN,
    /// and infinities of both signs, make it no number. Each prediction times its weight, and their sum, have to be within float32.
    Values,
    /// The softmax of each row, in which a masked class has no probability.
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

impl Sharpening {
    /// The temperature of the softmax that sharpens, where one does.
    fn temperature(self) -> Result<Option<f64>, OperandError> {
        match self {
            Self::None => Ok(None),
            Self::Era(temperature) => OPERATION.temperature(temperature).map(|_| Some(temperature)),
            // p^b over its sum is the softmax of b ln p; of logits, of their own probabilities.
            Self::Power(power) => match OPERATION.temperature(power.recip()) {
                Ok(_) => Ok(Some(power.recip())),
                Err(_) => Err(OperandError::Power {
                    operation: OPERATION.0,
                    power: power.to_string(),
                }),
            },
        }
    }
}

/// An average on its way.
#[derive(Clone, Debug)]
pub struct Ensemble {
    averaged: Averaged,
    /// `rows x 2 x classes`: sums, and what rounding took from them.
    sums: Tensor<3>,
    totals: Option<Totals>,
}

/// What the weights sum to, known to the host.
#[derive(Clone, Debug)]
struct Totals {
    /// `(rows or 1) x (classes or 1)`.
    dims: [usize; 2],
    values: Vec<f64>,
}

impl Totals {
    /// What an average is divided by: positive and finite.
    fn divisor(&self) -> Result<Vec<f32>, OperandError> {
        let values: Vec<f32> = self.values.iter().map(|total| *total as f32).collect();
        if values.iter().any(|total| !(total.is_finite() && *total > 0.0)) {
            return Err(OPERATION.bad_weights());
        }
        Ok(values)
    }
}

/// Weights have the shape that follows from the predictions, lie on their device, and can be read there: all before the first of
/// them is moved or cast.
fn fits<const D: usize>(
    operand: &'static str,
    expected: &[usize],
    weights: &Tensor<D>,
    device: &Device,
) -> Result<(), OperandError> {
    OPERATION.shape(operand, expected, &weights.dims())?;
    OPERATION.device(operand, device, &weights.device())?;
    OPERATION.holdable(operand, expected, device)?;
    OPERATION.weight(operand, weights)
}

/// Predictions of some parties with their weights, both checked.
struct Weighed {
    predictions: Tensor<3>,
    /// `parties x (rows or 1) x (classes or 1)` in float32.
    weights: Tensor<3>,
    totals: Totals,
}

impl Ensemble {
    /// The average of nobody yet, on a device. Of no rows, no rows come out.
    ///
    /// # Errors
    /// [`OperandError`] where there are no classes, or a GPU cannot count so many elements, or hold two floats for each of them in a
    /// buffer.
    pub fn new(rows: usize, classes: usize, averaged: Averaged, device: &Device) -> Result<Self, OperandError> {
        OPERATION.has_classes("the average", [rows, classes])?;
        // Constants: nobody learns through an ensemble.
        let device = device.clone().inner();
        OPERATION.countable("the average", &[rows, classes], &device)?;
        OPERATION.countable("sums with what rounding takes from them", &[rows, 2, classes], &device)?;
        OPERATION.holdable("sums with what rounding takes from them", &[rows, 2, classes], &device)?;
        Ok(Self {
            averaged,
            sums: Tensor::zeros([rows, 2, classes], (&device, DType::F32)),
            totals: None,
        })
    }

    /// Adds predictions: `parties x rows x classes` in float32 or float16 on the ensemble's device, with weights of the same form
    /// every time. Weights other than equal ones are read, which waits for them to be computed.
    ///
    /// # Errors
    /// [`OperandError`] where shapes, types or devices do not fit, weights are negative or not finite, or a GPU cannot count the
    /// elements of so many parties at once or hold their weights in a buffer; nothing is added then.
    pub fn add(&mut self, predictions: Tensor<3>, weights: &Weights) -> Result<(), OperandError> {
        if let Some(weighed) = self.checked(predictions, weights)? {
            self.launch(weighed);
        }
        Ok(())
    }

    /// What is to be added, if anything.
    fn checked(&self, predictions: Tensor<3>, weights: &Weights) -> Result<Option<Weighed>, OperandError> {
        let [rows, _, classes] = self.sums.dims();
        let parties = predictions.dims()[0];
        let device = self.sums.device();
        OPERATION.shape("a prediction", &[parties, rows, classes], &predictions.dims())?;
        OPERATION.device("a prediction", &device, &predictions.device())?;
        OPERATION.float("a prediction", &predictions)?;
        OPERATION.countable("predictions of all parties", &predictions.dims(), &device)?;
        if parties == 0 {
            return Ok(None);
        }
        let own: Option<Tensor<3>> = match weights {
            Weights::Equal => None,
            Weights::Party(weights) => {
                fits("a party's weight", &[parties], weights, &device)?;
                Some(weights.clone().reshape([parties, 1, 1]))
            }
            Weights::PartyClass(weights) => {
                fits("a party's weight of each class", &[parties, classes], weights, &device)?;
                Some(weights.clone().reshape([parties, 1, classes]))
            }
            Weights::PartyRow(weights) => {
                fits("a party's weight of each row", &[parties, rows], weights, &device)?;
                // Of no rows there is nothing to weigh.
                (rows > 0).then(|| weights.clone().reshape([parties, rows, 1]))
            }
        };
        let (weights, totals) = match own {
            Some(weights) => {
                let weights = weights.inner().cast(DType::F32);
                let [_, rows, classes] = weights.dims();
                let mut values = vec![0.0; rows * classes];
                for party in OPERATION
                    .read("a party's weight", &weights)?
                    .chunks_exact(rows * classes)
                {
                    for (total, weight) in values.iter_mut().zip(party) {
                        *total += f64::from(*weight);
                    }
                }
                let dims = [rows, classes];
                (weights, Totals { dims, values })
            }
            // Known: reading them back would keep the host waiting for the device.
            None => (
                Tensor::ones([parties, 1, 1], (&device, DType::F32)),
                Totals {
                    dims: [1, 1],
                    values: vec![parties as f64],
                },
            ),
        };
        if let Some(before) = &self.totals {
            OPERATION.shape("what all weights sum to", &before.dims, &totals.dims)?;
        }
        Ok(Some(Weighed {
            predictions: predictions.inner(),
            weights,
            totals,
        }))
    }

    fn launch(&mut self, weighed: Weighed) {
        let nothing = Tensor::zeros([0, 0, 0], (&self.sums.device(), DType::F32));
        let sums = std::mem::replace(&mut self.sums, nothing);
        self.sums = Tensor::from_dispatch(<Dispatch as EnsembleOps>::add_predictions(
            sums.into_dispatch(),
            weighed.predictions.into_dispatch(),
            weighed.weights.into_dispatch(),
            self.averaged == Averaged::Probabilities,
        ));
        match &mut self.totals {
            Some(before) => {
                for (total, added) in before.values.iter_mut().zip(weighed.totals.values) {
                    *total += added;
                }
            }
            None => self.totals = Some(weighed.totals),
        }
    }

    /// The average, sharpened: `rows x classes` in float32.
    ///
    /// # Errors
    /// [`OperandError`] where nobody was added, a sum of weights is not positive and finite, or the sharpening's
    /// temperature or power is not within 1e-9 and 1e9.
    pub fn finish(self, sharpening: Sharpening) -> Result<Tensor<2>, OperandError> {
        let totals = self.totals.ok_or(OperandError::Nobody { operation: OPERATION.0 })?;
        let divisor = totals.divisor()?;
        let temperature = sharpening.temperature()?;
        let device = self.sums.device();
        let divisor = Tensor::<2>::from_data(TensorData::new(divisor, totals.dims), (&device, DType::F32));
        let average: Tensor<2> = Tensor::from_dispatch(<Dispatch as EnsembleOps>::mean_of_sums(
            self.sums.into_dispatch(),
            divisor.into_dispatch(),
        ));
        let Some(temperature) = temperature else {
            return Ok(average);
        };
        if self.averaged == Averaged::Probabilities && matches!(sharpening, Sharpening::Power(_)) {
            // A shading language need not say that the logarithm of 0 is minus infinity.
            let none = average.clone().lower_equal_elem(0.0_f32);
            return softmax(average.log().mask_fill(none, f32::NEG_INFINITY), temperature);
        }
        softmax(average, temperature)
    }
}

/// The average of all parties at once.
///
/// # Errors
/// As [`Ensemble`]'s methods, all before anything is computed.
pub fn ensemble(
    predictions: Tensor<3>,
    weights: &Weights,
    averaged: Averaged,
    sharpening: Sharpening,
) -> Result<Tensor<2>, OperandError> {
    let [_, rows, classes] = predictions.dims();
    sharpening.temperature()?;
    let mut sum = Ensemble::new(rows, classes, averaged, &predictions.device())?;
    if let Some(weighed) = sum.checked(predictions, weights)? {
        weighed.totals.divisor()?;
        sum.launch(weighed);
    }
    sum.finish(sharpening)
}

#[backend_extension(Flex, Cube: cfg(feature = "gpu"), Fusion: cfg(feature = "fusion"))]
pub(crate) trait EnsembleOps: Backend {
    /// `sums` (`rows x 2 x classes`: sums, and what rounding took from them) and the weighted predictions of each party, in order.
    #[fusion(dtype = sums, shape = sums)]
    fn add_predictions(
        sums: FloatTensor<Self>,
        predictions: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        probabilities: bool,
    ) -> FloatTensor<Self>;
    /// The sums over `divisor` (`(rows or 1) x (classes or 1)`): `rows x classes`.
    #[fusion(dtype = sums, shape = burn::tensor::Shape::new([sums[0], sums[2]]))]
    fn mean_of_sums(sums: FloatTensor<Self>, divisor: FloatTensor<Self>) -> FloatTensor<Self>;
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

    fn mean_of_sums(sums: FloatTensor<Self>, divisor: FloatTensor<Self>) -> FloatTensor<Self> {
        let (dims, divisor_dims) = (sums.shape().to_vec(), divisor.shape().to_vec());
        let (rows, classes) = (dims[0], dims[2]);
        let [sums, divisor] = [sums, divisor].map(|tensor| tensor.to_contiguous());
        let mut means = vec![0.0; rows * classes];
        cpu::ensemble::mean(
            floats(&sums),
            floats(&divisor),
            [divisor_dims[0], divisor_dims[1]],
            classes,
            &mut means,
        );
        tensor(means, &[rows, classes])
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

    fn mean_of_sums(sums: FloatTensor<Self>, divisor: FloatTensor<Self>) -> FloatTensor<Self> {
        cube::ensemble::mean(sums, divisor)
    }
}
