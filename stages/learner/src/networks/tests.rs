//! The networks' gradients against finite differences, and batch norm's statistics by hand.

use crate::mode::Mode;
use crate::random::Stream;
use crate::registry::Registry;
use crate::safetensors_file::{Stored, read, write};
use crate::tensors::{Tensors, values};
use crate::testing::{SHAPE, architecture, patterns};
use burn::tensor::{Device, Tensor, TensorData};

/// A smooth function of the logits that depends on all of them.
fn objective(logits: Tensor<2>) -> Tensor<1> {
    let [rows, classes] = logits.dims();
    let weights: Vec<f32> = (0..rows * classes).map(|i| ((i * 7 % 11) as f32 - 5.0) / 5.0).collect();
    let weights = Tensor::<2>::from_data(TensorData::new(weights, [rows, classes]), &Device::flex());
    (logits * weights).sum()
}

#[test]
fn gradients_agree_with_finite_differences() {
    let device = Device::flex();
    let data = patterns(SHAPE, 6, 3);
    for name in ["lenet", "cnn[2,3]", "mlp[5,4]"] {
        let network = Registry::default().build(&architecture(name), SHAPE, 3).unwrap();
        let start = Tensors::initial(network.parameters(), &Stream::new(3, 0, "init", name), &device);
        // The same masks every time.
        let value = |tensors: &Tensors| {
            let mut mode = Mode::training(Stream::new(1, 1, "masks", ""));
            objective(network.forward(tensors, data.images(0..6_u32, &device), &mut mode))
        };
        let mut tracked = start.clone().tracked();
        let mut gradients = value(&tracked).backward();
        for (parameter, tensor) in tracked.trained() {
            let gradient = values(
                tensor
                    .grad_remove(&mut gradients)
                    .expect("every parameter has a gradient"),
            );
            let largest = gradient.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
            // Convolution biases before batch norm change nothing: their gradients are rounding.
            if largest < 1e-4 {
                assert!(
                    name.starts_with("cnn") && parameter.name.contains("conv"),
                    "{name} {}",
                    parameter.name
                );
                continue;
            }
            let most = gradient.iter().position(|value| value.abs() == largest).unwrap();
            let moved = |by: f32| {
                let mut file = read(&start.write()).unwrap();
                if let Some(Stored::Floats(_, values)) = file.get_mut(&parameter.name) {
                    values[most] += by;
                }
                let tensors = Tensors::read(network.parameters(), &write(&file), &device).unwrap();
                f64::from(values(value(&tensors))[0])
            };
            let step = 1e-3;
            let slope = (moved(step) - moved(-step)) / f64::from(2.0 * step);
            let error = (slope - f64::from(gradient[most])).abs();
            assert!(
                error < 0.03 * f64::from(largest) + 2e-3,
                "{name} {}: {slope} {}",
                parameter.name,
                gradient[most]
            );
        }
    }
}

#[test]
fn batch_norm_normalises_by_the_biased_and_keeps_the_unbiased_variance() {
    let device = Device::flex();
    let network = Registry::default().build(&architecture("cnn[1]"), SHAPE, 2).unwrap();
    let mut tensors = Tensors::initial(network.parameters(), &Stream::new(3, 0, "init", ""), &device);
    // Values 1 to 8: mean 4.5, squared deviations 42, biased variance 5.25, unbiased 6.
    let input: Vec<f32> = (1..9).map(|value| value as f32).collect();
    let input = || Tensor::<4>::from_data(TensorData::new(input.clone(), [2, 1, 2, 2]), &device);
    let mut mode = Mode::training(Stream::new(1, 1, "", ""));
    let output = values(mode.batch_norm(&tensors, "bn1", input()));
    mode.settle(&mut tensors);
    for (i, value) in output.iter().enumerate() {
        let expected = (i as f32 + 1.0 - 4.5) / (5.25_f32 + 1e-5).sqrt();
        assert!((value - expected).abs() < 1e-6, "{value} {expected}");
    }
    let mean: Tensor<1> = tensors.get("bn1.running_mean");
    let variance: Tensor<1> = tensors.get("bn1.running_var");
    let (mean, variance) = (values(mean)[0], values(variance)[0]);
    assert!(
        (mean - 0.45).abs() < 1e-6 && (variance - (0.9 + 0.6)).abs() < 1e-6,
        "{mean} {variance}"
    );
    let file = read(&tensors.write()).unwrap();
    assert_eq!(file["bn1.num_batches_tracked"], Stored::Count(1));
    // Evaluation uses them and leaves them alone.
    let output = values(Mode::evaluation().batch_norm(&tensors, "bn1", input()));
    assert!((output[0] - (1.0 - 0.45) / (1.5_f32 + 1e-5).sqrt()).abs() < 1e-6);
}

#[test]
fn names_are_those_of_plain_pytorch_modules() {
    let names = |text: &str| {
        let network = Registry::default().build(&architecture(text), SHAPE, 7).unwrap();
        let parameters = network.parameters().into_iter();
        parameters
            .map(|parameter| format!("{} {:?}", parameter.name, parameter.shape))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        names("mlp[5]"),
        [
            "fc1.weight [5, 144]",
            "fc1.bias [5]",
            "fc2.weight [7, 5]",
            "fc2.bias [7]"
        ]
    );
    assert_eq!(
        names("lenet"),
        [
            "conv1.weight [6, 1, 5, 5]",
            "conv1.bias [6]",
            "conv2.weight [16, 6, 5, 5]",
            "conv2.bias [16]",
            "fc1.weight [120, 16]",
            "fc1.bias [120]",
            "fc2.weight [84, 120]",
            "fc2.bias [84]",
            "fc3.weight [7, 84]",
            "fc3.bias [7]",
        ]
    );
    assert_eq!(
        names("cnn[4]"),
        [
            "conv1.weight [4, 1, 3, 3]",
            "conv1.bias [4]",
            "bn1.weight [4]",
            "bn1.bias [4]",
            "bn1.running_mean [4]",
            "bn1.running_var [4]",
            "bn1.num_batches_tracked []",
            "fc.weight [7, 144]",
            "fc.bias [7]",
        ]
    );
}

#[test]
fn sizes_and_costs_are_those_of_the_architecture() {
    let digits = fedstill_schemas::data::Shape {
        channels: 1,
        height: 28,
        width: 28,
    };
    let lenet = architecture("lenet");
    let model = crate::Model {
        architecture: &lenet,
        shape: digits,
        classes: 10,
    };
    let registry = Registry::default();
    assert_eq!(crate::parameters(&registry, &model).unwrap(), 61_706);
    // 25 * 6 * 784 + 150 * 16 * 100 + 400 * 120 + 120 * 84 + 84 * 10
    assert_eq!(crate::cost(&registry, &model).unwrap(), 416_520.0);
}

#[test]
fn first_values_fill_pytorchs_range() {
    let network = Registry::default().build(&architecture("lenet"), SHAPE, 7).unwrap();
    let stream = Stream::new(3, 0, "init", "lenet");
    let tensors = Tensors::initial(network.parameters(), &stream, &Device::flex());
    for (name, fan_in) in [("conv2", 150.0_f32), ("fc1", 16.0), ("fc2", 120.0)] {
        let bound = fan_in.sqrt().recip();
        let largest = read(&tensors.write())
            .unwrap()
            .into_iter()
            .filter(|(key, _)| key.starts_with(name))
            .map(|(_, tensor)| match tensor {
                Stored::Floats(_, values) => values.iter().fold(0.0_f32, |most, value| most.max(value.abs())),
                Stored::Count(_) => 0.0,
            });
        for largest in largest {
            assert!(largest <= bound && largest > 0.9 * bound, "{name}: {largest} {bound}");
        }
    }
}
