//! Small data and jobs for tests.

use crate::{Dataset, FitJob, Fitted, LearnError, Model, Registry, Stream, TargetData, TermData, fit};
use fedstill_schemas::Architecture;
use fedstill_schemas::data::Shape;
use fedstill_schemas::fit::{Fit, Loss, Optimizer};

pub(crate) const SHAPE: Shape = Shape {
    channels: 1,
    height: 12,
    width: 12,
};

pub(crate) fn architecture(text: &str) -> Architecture {
    text.parse().unwrap()
}

pub(crate) fn all_rows(data: &Dataset) -> Vec<u32> {
    (0..data.rows()).collect()
}

/// Images of `classes` patterns under noise: what a linear model can learn.
pub(crate) fn patterns(shape: Shape, rows: u32, classes: u32) -> Dataset {
    let mut stream = Stream::new(5, 0, "patterns", "");
    let patterns: Vec<Vec<f64>> = (0..classes)
        .map(|_| (0..shape.len()).map(|_| 128.0 + 25.0 * stream.normal()).collect())
        .collect();
    let labels: Vec<u32> = (0..rows).map(|row| row % classes).collect();
    let pixels = |label: &u32| patterns[*label as usize].clone();
    let images = labels
        .iter()
        .flat_map(pixels)
        .map(|pixel| (pixel + 25.0 * stream.normal()) as u8)
        .collect();
    Dataset::from_rows(shape, classes, images, labels)
}

/// Windows of text in which every token belongs to the window's class, one of three for each.
pub(crate) fn windows(length: u32, rows: u32, classes: u32) -> Dataset {
    let mut stream = Stream::new(5, 0, "windows", "");
    let labels: Vec<u32> = (0..rows).map(|row| row % classes).collect();
    let mut tokens = Vec::new();
    for label in &labels {
        for _ in 0..length {
            tokens.push((label + classes * stream.below(3)) as u8);
        }
    }
    Dataset::from_windows(length, 82, classes, tokens, labels)
}

/// Windows of text with a label at every position: three tokens in turn, one way or the other. From the second position on a
/// window shows what follows.
pub(crate) fn positions(length: u32, rows: u32) -> Dataset {
    let mut stream = Stream::new(5, 0, "positions", "");
    let (mut tokens, mut labels) = (Vec::new(), Vec::new());
    for _ in 0..rows {
        let (first, step) = (stream.below(3), 1 + stream.below(2));
        for place in 0..length {
            tokens.push(((first + place * step) % 3) as u8);
            labels.push((first + (place + 1) * step) % 3);
        }
    }
    Dataset::from_positions(length, 82, 3, tokens, labels)
}

pub(crate) fn adam(epochs: u32, batch: u32) -> Fit {
    Fit::new(epochs, batch, Optimizer::adam(1e-3), None)
}

pub(crate) fn labels<'a>(data: &'a Dataset, rows: &'a [u32]) -> TermData<'a> {
    TermData {
        data,
        rows,
        target: TargetData::Labels { offset: 0 },
        loss: Loss::CrossEntropy,
        weight: 1.0,
        augment: &[],
    }
}

/// A job of a model with as many classes as the first term's data.
pub(crate) fn job<'a>(architecture: &'a Architecture, terms: Vec<TermData<'a>>, settings: &'a Fit) -> FitJob<'a> {
    let data = terms[0].data;
    FitJob {
        model: Model {
            architecture,
            shape: data.shape(),
            classes: data.classes(),
            labels_per: data.labels_per(),
        },
        start: None,
        optimizer: None,
        terms,
        validation: None,
        settings,
        seed: 1,
        round: 2,
        step: "revisit",
        subject: "3",
        cancel: &|| false,
    }
}

pub(crate) fn run(job: &FitJob<'_>) -> Result<Fitted, LearnError> {
    fit(&Registry::default(), job)
}

/// A PNG file of 8-bit samples, so many a pixel.
pub(crate) fn png_file(width: u32, height: u32, samples: usize, values: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, width, height);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_color(match samples {
        1 => png::ColorType::Grayscale,
        2 => png::ColorType::GrayscaleAlpha,
        3 => png::ColorType::Rgb,
        _ => png::ColorType::Rgba,
    });
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(values).unwrap();
    writer.finish().unwrap();
    file
}

/// A JPEG file, as near to grey or RGB values as JPEG comes.
pub(crate) fn jpeg_file(width: u32, height: u32, samples: usize, values: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    let colours = if samples == 1 {
        jpeg_encoder::ColorType::Luma
    } else {
        jpeg_encoder::ColorType::Rgb
    };
    let encoder = jpeg_encoder::Encoder::new(&mut file, 100);
    encoder.encode(values, width as u16, height as u16, colours).unwrap();
    file
}

/// A lossless WebP file of RGB or RGBA values.
pub(crate) fn webp_file(width: u32, height: u32, samples: usize, values: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    let colours = if samples == 3 {
        image_webp::ColorType::Rgb8
    } else {
        image_webp::ColorType::Rgba8
    };
    let encoder = image_webp::WebPEncoder::new(&mut file);
    encoder.encode(values, width, height, colours).unwrap();
    file
}
