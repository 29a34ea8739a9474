//! The networks' gradients against finite differences, norms and pooling by hand, names, sizes and first values.

use super::fedmd::mean_of_squares;
use crate::Model;
use crate::layers::GroupNorm;
use crate::mode::Mode;
use crate::random::Stream;
use crate::registry::{Network, Parameter, Registry};
use crate::safetensors_file::{Stored, read, write};
use crate::tensors::{Tensors, values};
use crate::testing::{SHAPE, architecture, patterns, windows};
use burn::tensor::{Device, Tensor, TensorData};
use fedstill_schemas::data::{LabelsPer, Shape};
use std::collections::BTreeSet;

const DIGIT: Shape = Shape {
    channels: 1,
    height: 28,
    width: 28,
};
/// CIFAR's.
const COLOUR: Shape = Shape {
    channels: 3,
    height: 32,
    width: 32,
};
/// LEAF's Shakespeare.
const WINDOW: Shape = Shape {
    channels: 1,
    height: 1,
    width: 80,
};

fn network(text: &str, shape: Shape, classes: u32, labels_per: LabelsPer) -> Box<dyn Network> {
    let architecture = architecture(text);
    let model = Model {
        architecture: &architecture,
        shape,
        classes,
        labels_per,
    };
    Registry::default().network(&model).unwrap()
}

fn parameters(text: &str, shape: Shape) -> Vec<Parameter> {
    let network = Registry::default().build(&architecture(text), shape, 7).unwrap();
    network.parameters()
}

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
    let once = [
        "lenet",
        "cnn[2,3]",
        "mlp[5,4]",
        "2nn",
        "mcmahan",
        "fedmd[128,256;0.2]",
        "fedmd[64,128,192;0.2]",
        "resnet[8]",
        "resnetgn[8]",
        "charlstm[1]",
        "charlstm[2]",
    ];
    let once = once.map(|name| (name, LabelsPer::Window));
    let everywhere = ["charlstm[1]", "charlstm[2]"].map(|name| (name, LabelsPer::Position));
    for (name, labels_per) in once.into_iter().chain(everywhere) {
        let data = if name.starts_with("charlstm") {
            windows(5, 6, 3)
        } else {
            patterns(SHAPE, 6, 3)
        };
        let network = network(name, data.shape(), 3, labels_per);
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
                    (name.starts_with("cnn") || name.starts_with("fedmd")) && parameter.name.contains("conv"),
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
fn every_position_of_a_window_is_predicted_as_that_of_a_window_which_ends_there() {
    let device = Device::flex();
    let (rows, length, classes) = (4, 6, 3);
    let data = windows(length as u32, rows as u32, classes as u32);
    for name in ["charlstm[1]", "charlstm[2]"] {
        let [once, everywhere] =
            LabelsPer::ALL.map(|labels_per| network(name, data.shape(), classes as u32, labels_per));
        assert_eq!(once.parameters(), everywhere.parameters());
        let tensors = Tensors::initial(once.parameters(), &Stream::new(3, 0, "init", name), &device);
        let images = || data.images(0..rows as u32, &device);
        let logits = everywhere.forward(&tensors, images(), &mut Mode::evaluation());
        assert_eq!(logits.dims(), [rows * length, classes]);
        let logits = values(logits);
        for end in 1..=length {
            let windows = images().narrow(3, 0, end);
            let last = values(once.forward(&tensors, windows, &mut Mode::evaluation()));
            for (row, expected) in last.chunks(classes).enumerate() {
                let found = &logits[(row * length + end - 1) * classes..][..classes];
                for (found, expected) in found.iter().zip(expected) {
                    assert!(
                        (found - expected).abs() < 1e-6,
                        "{name} {row} {end}: {found} {expected}"
                    );
                }
            }
        }
        // Positions differ: nothing would be compared otherwise.
        assert!((logits[0] - logits[classes]).abs() > 1e-4, "{name}");
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
fn group_norm_normalises_the_groups_of_each_image() {
    let device = Device::flex();
    let norm = GroupNorm {
        name: "bn1".to_owned(),
        groups: 2,
        channels: 4,
    };
    let tensors = Tensors::initial(norm.parameters(), &Stream::new(3, 0, "init", ""), &device);
    // Means 2.5 and 6, biased variances 1.25 and 1.
    let input = vec![1.0_f32, 2.0, 3.0, 4.0, 5.0, 5.0, 7.0, 7.0];
    let images = Tensor::<4>::from_data(TensorData::new(input.clone(), [1, 4, 1, 2]), &device);
    let output = values(norm.forward(&tensors, images));
    for (i, (value, input)) in output.iter().zip(input).enumerate() {
        let (mean, variance) = if i < 4 { (2.5, 1.25_f32) } else { (6.0, 1.0) };
        let expected = (input - mean) / (variance + 1e-5).sqrt();
        assert!((value - expected).abs() < 1e-6, "{value} {expected}");
    }

    let data = patterns(SHAPE, 6, 3);
    let network = Registry::default()
        .build(&architecture("resnetgn[8]"), SHAPE, 3)
        .unwrap();
    let tensors = Tensors::initial(network.parameters(), &Stream::new(3, 0, "init", ""), &device);
    let logits = |mut mode: Mode| values(network.forward(&tensors, data.images(0..6_u32, &device), &mut mode));
    let training = logits(Mode::training(Stream::new(1, 1, "", "")));
    assert_eq!(training, logits(Mode::evaluation()));
}

#[test]
fn means_of_squares_leave_out_what_is_outside() {
    let device = Device::flex();
    let input: Vec<f32> = (1..7).map(|value| value as f32).collect();
    let maps = Tensor::<4>::from_data(TensorData::new(input, [1, 1, 2, 3]), &device);
    let output = mean_of_squares(maps);
    assert_eq!(output.dims(), [1, 1, 2, 3]);
    assert_eq!(values(output), [3.0, 4.0, 4.5, 4.5, 5.5, 6.0]);
}

#[test]
fn names_are_those_of_plain_pytorch_modules() {
    let all = |text: &str, shape| -> Vec<String> {
        let described = |parameter: Parameter| format!("{} {:?}", parameter.name, parameter.shape);
        parameters(text, shape).into_iter().map(described).collect()
    };
    let names = |text: &str| all(text, SHAPE);
    let weights = |text: &str| -> Vec<String> {
        let is_weight = |name: &String| name.contains("weight");
        names(text).into_iter().filter(is_weight).collect()
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
    assert_eq!(names("2nn"), names("mlp[200,200]"));
    assert_eq!(
        weights("mcmahan"),
        [
            "conv1.weight [32, 1, 5, 5]",
            "conv2.weight [64, 32, 5, 5]",
            "fc1.weight [512, 576]",
            "fc2.weight [7, 512]",
        ]
    );
    assert_eq!(
        weights("fedmd[128,256;0.2]"),
        [
            "conv1.weight [128, 1, 3, 3]",
            "bn1.weight [128]",
            "conv2.weight [256, 128, 3, 3]",
            "bn2.weight [256]",
            "fc.weight [7, 6400]",
        ]
    );
    assert_eq!(
        weights("fedmd[128,128,192;0.3]"),
        [
            "conv1.weight [128, 1, 3, 3]",
            "bn1.weight [128]",
            "conv2.weight [128, 128, 2, 2]",
            "bn2.weight [128]",
            "conv3.weight [192, 128, 3, 3]",
            "bn3.weight [192]",
            "fc.weight [7, 192]",
        ]
    );
    assert!(
        !names("fedmd[128,128,192;0.3]")
            .iter()
            .any(|name| name.starts_with("fc.bias"))
    );
    assert_eq!(
        weights("resnet[8]"),
        [
            "conv1.weight [16, 1, 3, 3]",
            "bn1.weight [16]",
            "layer1.0.conv1.weight [16, 16, 3, 3]",
            "layer1.0.bn1.weight [16]",
            "layer1.0.conv2.weight [16, 16, 3, 3]",
            "layer1.0.bn2.weight [16]",
            "layer2.0.conv1.weight [32, 16, 3, 3]",
            "layer2.0.bn1.weight [32]",
            "layer2.0.conv2.weight [32, 32, 3, 3]",
            "layer2.0.bn2.weight [32]",
            "layer2.0.downsample.0.weight [32, 16, 1, 1]",
            "layer2.0.downsample.1.weight [32]",
            "layer3.0.conv1.weight [64, 32, 3, 3]",
            "layer3.0.bn1.weight [64]",
            "layer3.0.conv2.weight [64, 64, 3, 3]",
            "layer3.0.bn2.weight [64]",
            "layer3.0.downsample.0.weight [64, 32, 1, 1]",
            "layer3.0.downsample.1.weight [64]",
            "fc.weight [7, 64]",
        ]
    );
    assert_eq!(weights("resnetgn[8]"), weights("resnet[8]"));
    assert!(names("resnet[18]").contains(&"layer4.1.bn2.running_var [512]".to_owned()));
    assert!(!names("resnetgn[18]").iter().any(|name| name.contains("running")));
    assert_eq!(
        all("charlstm[2]", WINDOW),
        [
            "embedding.weight [82, 8]",
            "lstm.weight_ih_l0 [1024, 8]",
            "lstm.weight_hh_l0 [1024, 256]",
            "lstm.bias_ih_l0 [1024]",
            "lstm.bias_hh_l0 [1024]",
            "lstm.weight_ih_l1 [1024, 256]",
            "lstm.weight_hh_l1 [1024, 256]",
            "lstm.bias_ih_l1 [1024]",
            "lstm.bias_hh_l1 [1024]",
            "fc.weight [7, 256]",
            "fc.bias [7]",
        ]
    );
}

#[test]
fn every_head_is_the_last_matrix_that_is_trained_with_a_row_a_class() {
    const CLASSES: u32 = 7;
    let names = [
        "lenet",
        "cnn[2,3]",
        "mlp[5,4]",
        "2nn",
        "mcmahan",
        "fedmd[4,5;0.2]",
        "fedmd[4,5,6;0.2]",
        "resnet[8]",
        "resnet[18]",
        "resnet[20]",
        "resnetgn[8]",
        "resnetgn[18]",
        "resnetgn[20]",
        "charlstm[1]",
        "charlstm[2]",
    ];
    // A family that is added needs a name here.
    let families = BTreeSet::from(names.map(|name| name.split('[').next().unwrap_or(name)));
    let registry = Registry::default();
    assert_eq!(families.into_iter().collect::<Vec<_>>(), registry.families());
    for name in names {
        let of_text = name.starts_with("charlstm");
        let shape = if of_text { WINDOW } else { SHAPE };
        for labels_per in LabelsPer::ALL {
            if labels_per == LabelsPer::Position && !of_text {
                continue;
            }
            let network = network(name, shape, CLASSES, labels_per);
            let parameters = network.parameters();
            let last = parameters.iter().rfind(|parameter| parameter.shape.len() > 1).unwrap();
            assert_eq!(network.head(), last.name, "{name}");
            assert!(last.trainable, "{name}");
            assert_eq!((last.shape.len(), last.shape[0]), (2, CLASSES as usize), "{name}");
            let named = parameters.iter().filter(|parameter| parameter.name == last.name);
            assert_eq!(named.count(), 1, "{name}");
        }
    }
}

#[test]
fn sizes_and_costs_are_those_of_the_architecture() {
    let registry = Registry::default();
    for (name, shape, classes, parameters, cost) in [
        // 25 * 6 * 784 + 150 * 16 * 100 + 400 * 120 + 120 * 84 + 84 * 10
        ("lenet", DIGIT, 10, 61_706, 416_520.0),
        // The parameters that McMahan et al. give for MNIST.
        ("2nn", DIGIT, 10, 199_210, 198_800.0),
        ("mcmahan", DIGIT, 10, 1_663_370, 12_273_152.0),
        // Ten classes of CIFAR-10 and six of CIFAR-100; those of MNIST and six letters.
        ("fedmd[128,256;0.2]", COLOUR, 16, 1_221_120, 70_815_744.0),
        ("fedmd[256,512;0.4]", COLOUR, 16, 3_032_064, 274_341_888.0),
        ("fedmd[128,128,192;0.3]", COLOUR, 16, 319_168, 22_334_464.0),
        ("fedmd[128,256;0.2]", DIGIT, 16, 989_440, 51_435_520.0),
        ("fedmd[128,128,192;0.3]", DIGIT, 16, 316_864, 15_766_528.0),
        // ResNet-18 with this stem is well known to have 11.17 million parameters and 0.56 billion multiply-adds.
        ("resnet[8]", COLOUR, 10, 78_042, 12_501_632.0),
        ("resnet[18]", COLOUR, 10, 11_173_962, 555_422_720.0),
        ("resnet[20]", COLOUR, 10, 272_474, 40_813_184.0),
        ("resnetgn[20]", COLOUR, 10, 272_474, 40_813_184.0),
        ("charlstm[1]", WINDOW, 82, 294_114, 21_647_872.0),
        ("charlstm[2]", WINDOW, 82, 820_450, 63_590_912.0),
    ] {
        let architecture = architecture(name);
        let model = Model {
            architecture: &architecture,
            shape,
            classes,
            labels_per: LabelsPer::Window,
        };
        assert_eq!(crate::parameters(&registry, &model).unwrap(), parameters, "{name}");
        assert_eq!(crate::cost(&registry, &model).unwrap(), cost, "{name}");
    }
    // 79 more heads of 256 * 82.
    let everywhere = network("charlstm[1]", WINDOW, 82, LabelsPer::Position);
    assert_eq!(everywhere.multiply_adds(), 23_306_240.0);
}

#[test]
fn normal_first_values_have_the_deviation_of_pytorchs() {
    for (name, shape, tensor, std) in [
        // 2 / (64 * 3 * 3)
        ("resnet[8]", SHAPE, "layer3.0.conv2.weight", (1.0_f64 / 288.0).sqrt()),
        // 2 / (64 * 1 * 1)
        (
            "resnet[8]",
            SHAPE,
            "layer3.0.downsample.0.weight",
            (1.0_f64 / 32.0).sqrt(),
        ),
        ("charlstm[1]", WINDOW, "embedding.weight", 1.0),
    ] {
        let stream = Stream::new(3, 0, "init", name);
        let tensors = Tensors::initial(parameters(name, shape), &stream, &Device::flex());
        let file = read(&tensors.write()).unwrap();
        let Stored::Floats(_, values) = &file[tensor] else {
            panic!("{tensor} is a counter");
        };
        let squares: f64 = values.iter().map(|value| f64::from(*value).powi(2)).sum();
        let found = (squares / values.len() as f64).sqrt();
        // 656 values of an embedding: the deviation of their deviation is 3 %.
        assert!((found / std - 1.0).abs() < 0.12, "{name} {tensor}: {found} {std}");
    }
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
