//! Against Burn's own convolution, which knows nothing of this one.

use super::*;
use crate::tests::{assert_near, devices, some, vector};
use burn::tensor::Device;
use burn::tensor::module;
use burn::tensor::ops::ConvOptions;

/// What comes out, and the gradients of its sum weighted by some values.
fn all(
    [input, weight]: [Tensor<4>; 2],
    bias: Option<Tensor<1>>,
    conv: impl Fn(Tensor<4>, Tensor<4>, Option<Tensor<1>>) -> Tensor<4>,
) -> Vec<Vec<f32>> {
    let [input, weight] = [input, weight].map(|tensor| tensor.autodiff().require_grad());
    let bias = bias.map(|bias| bias.autodiff().require_grad());
    let out = conv(input.clone(), weight.clone(), bias.clone());
    let weights = some(out.dims(), 5, &out.device().inner());
    let gradients = (out.clone() * weights.autodiff()).sum().backward();
    let mut found = vec![vector(out.inner())];
    found.extend([input, weight].map(|tensor| vector(tensor.grad(&gradients).unwrap())));
    found.extend(bias.map(|bias| vector(bias.grad(&gradients).unwrap())));
    found
}

#[test]
fn values_and_gradients_are_those_of_burns_own() {
    // Images, channels, height, width; outputs, kernel; stride, padding.
    let cases = [
        ([3, 2, 9, 7], [4, 3, 3], [1, 1]),
        ([2, 1, 12, 12], [3, 5, 5], [1, 0]),
        ([5, 3, 8, 8], [2, 3, 3], [2, 1]),
        ([4, 3, 7, 7], [5, 1, 1], [2, 0]),
        ([2, 4, 30, 30], [3, 1, 1], [1, 0]),
        ([40, 3, 4, 4], [6, 3, 3], [1, 1]),
        ([3, 2, 6, 6], [2, 5, 3], [3, 2]),
        ([1, 1, 2, 2], [1, 3, 3], [1, 1]),
        ([2, 2, 3, 5], [2, 3, 5], [1, 0]),
        ([2, 1, 5, 5], [2, 2, 2], [2, 3]),
    ];
    for (name, device) in devices() {
        for (images, [outputs, kernel_height, kernel_width], [stride, padding]) in cases {
            for is_biased in [true, false] {
                let what =
                    format!("{images:?} {outputs}x{kernel_height}x{kernel_width} {stride} {padding} on the {name}");
                let weight = [outputs, images[1], kernel_height, kernel_width];
                let tensors = || [some(images, 0, &device), some(weight, 11, &device)];
                let bias = || is_biased.then(|| some([outputs], 3, &device));
                let options = ConvOptions::new([stride; 2], [padding; 2], [1, 1], 1);
                let burns = all(tensors(), bias(), |input, weight, bias| {
                    module::conv2d(input, weight, bias, options.clone())
                });
                let window = Window { stride, padding };
                let found = all(tensors(), bias(), |input, weight, bias| {
                    conv2d(input, weight, bias, window)
                });
                assert_near(&found, &burns, &what);
            }
        }
    }
}

#[test]
fn views_are_read_in_their_order() {
    let device = Device::flex();
    let window = Window { stride: 1, padding: 1 };
    let (input, weight) = (some([2, 3, 5, 6], 0, &device), some([4, 3, 3, 3], 1, &device));
    let turned = |tensor: Tensor<4>| tensor.swap_dims(2, 3);
    let found = conv2d(turned(input.clone()), turned(weight.clone()), None, window);
    let expected = turned(conv2d(input, weight, None, window));
    assert_near(&[vector(found)], &[vector(expected)], "turned round");
}

#[test]
fn the_number_of_images_changes_no_bit_of_what_comes_of_each() {
    let device = Device::flex();
    let window = Window { stride: 1, padding: 1 };
    let (input, weight) = (some([9, 3, 28, 28], 0, &device), some([4, 3, 3, 3], 1, &device));
    let all = vector(conv2d(input.clone(), weight.clone(), None, window));
    let one = vector(conv2d(input.narrow(0, 4, 1), weight, None, window));
    assert_eq!(all[4 * one.len()..][..one.len()], one);
}

#[test]
#[should_panic(expected = "does not fit")]
fn a_kernel_larger_than_the_images_is_refused() {
    let device = Device::flex();
    let window = Window { stride: 1, padding: 0 };
    let _ = conv2d(
        some([1, 1, 2, 2], 0, &device),
        some([1, 1, 3, 3], 0, &device),
        None,
        window,
    );
}
