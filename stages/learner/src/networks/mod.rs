//! The built-in families, one file each.

mod charlstm;
mod cnn;
mod fedmd;
mod lenet;
mod mcmahan;
mod mlp;
mod resnet;
mod two_nn;

pub(crate) use charlstm::charlstm;
pub(crate) use cnn::cnn;
pub use fedmd::FEDMD_PARTIES;
pub(crate) use fedmd::fedmd;
pub(crate) use lenet::lenet;
pub(crate) use mcmahan::mcmahan;
pub(crate) use mlp::mlp;
pub(crate) use resnet::{resnet, resnetgn};
pub(crate) use two_nn::two_nn;

use crate::error::LearnError;
use fedstill_schemas::Architecture;
use fedstill_schemas::data::Shape;

/// Refuses images below `least` pixels in height or width.
fn large_enough(architecture: &Architecture, shape: Shape, least: u32) -> Result<(), LearnError> {
    if shape.height.min(shape.width) >= least {
        return Ok(());
    }
    Err(LearnError::ImageTooSmall {
        architecture: architecture.to_string(),
        least,
        height: shape.height,
        width: shape.width,
    })
}

pub(crate) fn wrong_sizes(architecture: &Architecture, wants: &str) -> LearnError {
    LearnError::WrongSizes {
        architecture: architecture.to_string(),
        wants: wants.to_owned(),
    }
}

#[cfg(test)]
mod tests;
