//! What holds for all operations, on every device that this build has and this machine offers.

mod cases;
mod checkpointing;
mod empty;
mod ensemble;
mod golden;
mod large;
mod launches;
mod operands;
mod reductions;
mod reference;
mod regress;
mod slopes;
mod softmax;
mod softmax_loss;
mod special;
mod strides;

use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use half::f16;

/// The devices to test on, by name: the CPU, and with the feature `gpu` the best one that wgpu finds, which may be a driver in
/// software. Where there is none, that is said.
pub(crate) fn devices() -> Vec<(&'static str, Device)> {
    #[cfg_attr(not(feature = "gpu"), expect(unused_mut, reason = "there is the CPU alone"))]
    let mut devices = vec![("cpu", Device::flex())];
    #[cfg(feature = "gpu")]
    match crate::devices().into_iter().next() {
        Some(found) => devices.push(("gpu", found.device)),
        None => skip("kernels on a GPU: no driver; apt-get install mesa-vulkan-drivers libvulkan1"),
    }
    devices
}

/// Names tests as skipped, in the file that `FEDSTILL_SKIPPED` names.
fn skip(what: &str) {
    use std::io::Write;

    eprintln!("skipped: {what}");
    if let Ok(file) = std::env::var("FEDSTILL_SKIPPED") {
        let mut file = std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(file)
            .unwrap();
        writeln!(file, "{what}").unwrap();
    }
}

pub(crate) fn vector<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.try_into_vec_as::<f32>().unwrap()
}

fn matrix(values: &[f32], dims: [usize; 2], device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values.to_vec(), dims), device)
}

/// The same in float16, rounded; on a device without float16 the rounded values in float32, and that is said.
fn half_matrix(values: &[f32], dims: [usize; 2], device: &Device) -> Tensor<2> {
    let values: Vec<f16> = values.iter().map(|value| f16::from_f32(*value)).collect();
    if has_halves(device) {
        return Tensor::from_data(TensorData::new(values, dims), (device, DType::F16));
    }
    let values: Vec<f32> = values.iter().map(|value| value.to_f32()).collect();
    matrix(&values, dims, device)
}

/// Whether a device computes in float16; where it does not, that is said once.
fn has_halves(device: &Device) -> bool {
    static SAID: std::sync::Once = std::sync::Once::new();

    let has = device.supports_dtype(DType::F16);
    if !has {
        SAID.call_once(|| skip("kernels in float16: the GPU has none"));
    }
    has
}

fn labels(values: &[usize], device: &Device) -> Tensor<1, Int> {
    let values: Vec<i64> = values.iter().map(|label| *label as i64).collect();
    let rows = values.len();
    Tensor::from_data(TensorData::new(values, [rows]), device)
}

/// The value of a loss and its gradient with respect to the student's logits.
fn both(student: Tensor<2>, loss: impl Fn(Tensor<2>) -> Tensor<1>) -> (Vec<f32>, Vec<f32>) {
    let student = student.autodiff().require_grad();
    let result = loss(student.clone());
    let gradients = result.clone().sum().backward();
    (vector(result.inner()), vector(student.grad(&gradients).unwrap()))
}

/// Values that differ, of either sign, in float32.
pub(crate) fn some<const D: usize>(dims: [usize; D], start: usize, device: &Device) -> Tensor<D> {
    let len: usize = dims.iter().product();
    let value = |i: usize| ((i + start) * 7919 % 10_007) as f32 / 5003.0 - 1.0;
    Tensor::from_data(TensorData::new((0..len).map(value).collect::<Vec<f32>>(), dims), device)
}

/// Fails where a value is further off than rounding explains.
pub(crate) fn assert_near(found: &[Vec<f32>], expected: &[Vec<f32>], what: &str) {
    assert_eq!(found.len(), expected.len());
    for (part, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert_eq!(found.len(), expected.len(), "{what}: {part}");
        let most = expected.iter().fold(1.0_f32, |most, value| most.max(value.abs()));
        let off = found
            .iter()
            .zip(expected)
            .map(|(f, e)| (f - e).abs())
            .fold(0.0, f32::max);
        assert!(off <= 5e-5 * most, "{what}: {part} is {off} off, of {most}");
    }
}
