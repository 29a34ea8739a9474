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

pub(crate) fn adam(epochs: u32, batch: u32) -> Fit {
    Fit {
        epochs,
        batch,
        optimizer: Optimizer::adam(1e-3),
        stop: None,
    }
}

pub(crate) fn labels<'a>(data: &'a Dataset, rows: &'a [u32]) -> TermData<'a> {
    TermData {
        data,
        rows,
        target: TargetData::Labels { offset: 0 },
        loss: Loss::CrossEntropy,
        weight: 1.0,
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
        },
        start: None,
        optimizer: None,
        terms,
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
