//! Batch norm of images and its gradient: each value is read twice and written once, and nothing is copied.

#![expect(
    clippy::inline_always,
    reason = "instructions are chosen for a whole loop, and only for what is compiled into it"
)]

use super::lanes::sum;

/// Values of `images x channels x area`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    pub(crate) channels: usize,
    /// Height times width.
    pub(crate) area: usize,
}

impl Sizes {
    /// The planes of images, each with its channel.
    fn planes<'a>(&self, values: &'a [f32]) -> impl Iterator<Item = (usize, &'a [f32])> {
        let channels = self.channels;
        let planes = values.chunks_exact(self.area.max(1)).enumerate();
        planes.map(move |(plane, values)| (plane % channels, values))
    }

    /// Values of a channel.
    fn count(&self, values: &[f32]) -> f64 {
        values.len() as f64 / self.channels as f64
    }
}

/// Values normalised by their channel's statistics, and these: mean and biased variance.
pub(crate) struct Normalized {
    pub(crate) values: Vec<f32>,
    pub(crate) mean: Vec<f32>,
    pub(crate) variance: Vec<f32>,
}

/// `(value - mean) / sqrt(variance + epsilon) * weight + bias`.
pub(crate) fn forward(sizes: Sizes, values: &[f32], weight: &[f32], bias: &[f32], epsilon: f64) -> Normalized {
    pulp::Arch::new().dispatch(Forward {
        sizes,
        values,
        weight,
        bias,
        epsilon,
    })
}

struct Forward<'a> {
    sizes: Sizes,
    values: &'a [f32],
    weight: &'a [f32],
    bias: &'a [f32],
    epsilon: f64,
}

impl pulp::WithSimd for Forward<'_> {
    type Output = Normalized;

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) -> Normalized {
        let Self {
            sizes,
            values,
            weight,
            bias,
            epsilon,
        } = self;
        let count = sizes.count(values);
        let mut sums = vec![0.0_f64; sizes.channels];
        for (channel, plane) in sizes.planes(values) {
            sums[channel] += f64::from(sum(plane));
        }
        let mean: Vec<f32> = sums.iter().map(|sum| (sum / count) as f32).collect();
        let mut squares = vec![0.0_f64; sizes.channels];
        let mut distances = vec![0.0; sizes.area];
        for (channel, plane) in sizes.planes(values) {
            for (distance, value) in distances.iter_mut().zip(plane) {
                *distance = (*value - mean[channel]) * (*value - mean[channel]);
            }
            squares[channel] += f64::from(sum(&distances));
        }
        let variance: Vec<f32> = squares.iter().map(|sum| (sum / count) as f32).collect();
        let mut normalized = Vec::with_capacity(values.len());
        for (channel, plane) in sizes.planes(values) {
            let scale = weight[channel] * reciprocal(variance[channel], epsilon);
            let (mean, bias) = (mean[channel], bias[channel]);
            normalized.extend(plane.iter().map(|value| (*value - mean) * scale + bias));
        }
        Normalized {
            values: normalized,
            mean,
            variance,
        }
    }
}

/// `1 / sqrt(variance + epsilon)`.
fn reciprocal(variance: f32, epsilon: f64) -> f32 {
    (1.0 / (f64::from(variance) + epsilon).sqrt()) as f32
}

/// Gradients with respect to values, weight and bias.
pub(crate) struct Gradients {
    pub(crate) values: Vec<f32>,
    pub(crate) weight: Vec<f32>,
    pub(crate) bias: Vec<f32>,
}

/// What the backward pass needs.
#[derive(Clone, Copy)]
pub(crate) struct Backward<'a> {
    pub(crate) sizes: Sizes,
    pub(crate) values: &'a [f32],
    pub(crate) weight: &'a [f32],
    pub(crate) mean: &'a [f32],
    pub(crate) variance: &'a [f32],
    pub(crate) epsilon: f64,
    /// With respect to what came out.
    pub(crate) gradient: &'a [f32],
}

/// The gradients (Ioffe and Szegedy 2015, arXiv:1502.03167, section 3).
pub(crate) fn backward(backward: Backward<'_>) -> Gradients {
    pulp::Arch::new().dispatch(backward)
}

impl pulp::WithSimd for Backward<'_> {
    type Output = Gradients;

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) -> Gradients {
        let Self {
            sizes,
            values,
            gradient,
            ..
        } = self;
        let count = sizes.count(values);
        let (mut of_bias, mut of_weight) = (vec![0.0_f64; sizes.channels], vec![0.0_f64; sizes.channels]);
        let mut products = vec![0.0; sizes.area];
        let both = || sizes.planes(values).zip(gradient.chunks_exact(sizes.area.max(1)));
        for ((channel, plane), gradient) in both() {
            let mean = self.mean[channel];
            for ((product, value), gradient) in products.iter_mut().zip(plane).zip(gradient) {
                *product = (*value - mean) * *gradient;
            }
            of_bias[channel] += f64::from(sum(gradient));
            of_weight[channel] += f64::from(sum(&products));
        }
        // Of each value: `scale * (gradient - mean of gradients - normalised value * mean of their products)`.
        let parts: Vec<[f32; 3]> = (0..sizes.channels)
            .map(|channel| {
                let spread = reciprocal(self.variance[channel], self.epsilon);
                of_weight[channel] *= f64::from(spread);
                let scale = self.weight[channel] * spread;
                let slope = (of_weight[channel] / count) as f32 * spread;
                [scale, slope, (of_bias[channel] / count) as f32]
            })
            .collect();
        let mut result = Vec::with_capacity(values.len());
        for ((channel, plane), gradient) in both() {
            let ([scale, slope, shift], mean) = (parts[channel], self.mean[channel]);
            let values = plane.iter().zip(gradient);
            result.extend(values.map(|(value, gradient)| scale * (*gradient - shift - (*value - mean) * slope)));
        }
        let narrow = |sums: Vec<f64>| sums.into_iter().map(|sum| sum as f32).collect();
        Gradients {
            values: result,
            weight: narrow(of_weight),
            bias: narrow(of_bias),
        }
    }
}
