//! Families of architectures by name, and what a network is.
//!
//! A Rust user adds a family without a fork: implement [`Network`] and hand its constructor to [`Registry::with`].

use crate::Model;
use crate::dataset::Values;
use crate::error::LearnError;
use crate::mode::Mode;
use crate::networks;
use crate::processor::Processor;
use crate::tensors::Tensors;
use burn::tensor::Tensor;
use fedstill_schemas::Architecture;
use fedstill_schemas::data::{LabelsPer, Shape};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// A model: names, shapes and first values of its tensors, and the function that they parametrise.
pub trait Network: Send + Sync {
    /// Its parameters and buffers, in order, under the names that a PyTorch module of this architecture gives them.
    fn parameters(&self) -> Vec<Parameter>;

    /// What its rows are: images, where a network does not say otherwise.
    fn reads(&self) -> Values {
        Values::Pixels
    }

    /// Logits (`rows x classes`) of images (`rows x channels x height x width`, normalised), or of windows of text (`rows x
    /// 1 x 1 x length`, each value the number of a token). What differs between training and evaluation, `mode` does.
    fn forward(&self, tensors: &Tensors, images: Tensor<4>, mode: &mut Mode) -> Tensor<2>;

    /// The same network, of the same parameters, with its head at every position of a window of text: `forward` then gives
    /// `rows * length x classes` logits, window after window. `None` of a network that predicts once a row.
    fn at_every_position(self: Box<Self>) -> Option<Box<dyn Network>> {
        None
    }

    /// The name of its head's weight, which the setting `head_l2` is about: that of the last linear layer, one of its trained
    /// parameters, of shape `classes x inputs`.
    fn head(&self) -> String;

    /// Multiply-adds of one row's forward pass, roughly.
    fn multiply_adds(&self) -> f64;
}

/// A named tensor of a network, before it has values.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// Its name: `conv1.weight`.
    pub name: String,
    /// Its shape, in PyTorch's layout.
    pub shape: Vec<usize>,
    /// Its first values.
    pub init: Init,
    /// Whether the optimizer changes it; buffers are not trained.
    pub trainable: bool,
}

impl Parameter {
    /// Values in the tensor.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether the tensor has no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The first values of a parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// Uniform between `-bound` and `bound`.
    Uniform {
        /// The largest value.
        bound: f64,
    },
    /// Normal with mean 0.
    Normal {
        /// The standard deviation.
        std: f64,
    },
    /// All alike.
    Constant(f32),
    /// A whole number that starts at 0: batch norm's `num_batches_tracked`.
    Counter,
}

/// Makes a network of a size, for rows of a shape and a number of classes.
type Constructor = dyn Fn(&Architecture, Shape, u32) -> Result<Box<dyn Network>, LearnError> + Send + Sync;

/// A family of architectures.
#[derive(Clone)]
struct Family {
    constructor: Arc<Constructor>,
    /// Whether its names may have a dropout rate.
    takes_dropout: bool,
}

/// The families that a process knows, and what it computes them on. [`Registry::default`] has those of this crate, on the CPU:
/// `2nn`, `charlstm`, `cnn`, `fedmd`, `lenet`, `mcmahan`, `mlp`, `resnet` and `resnetgn`.
#[derive(Clone)]
pub struct Registry {
    families: BTreeMap<String, Family>,
    processor: Processor,
}

impl Default for Registry {
    fn default() -> Self {
        Self {
            families: BTreeMap::new(),
            processor: Processor::default(),
        }
        .with("lenet", networks::lenet)
        .with("cnn", networks::cnn)
        .with("mlp", networks::mlp)
        .with("2nn", networks::two_nn)
        .with("mcmahan", networks::mcmahan)
        .with_dropout("fedmd", networks::fedmd)
        .with("resnet", networks::resnet)
        .with("resnetgn", networks::resnetgn)
        .with("charlstm", networks::charlstm)
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.families.keys()).finish()
    }
}

impl Registry {
    /// The same families on a processor.
    #[must_use]
    pub fn on(mut self, processor: Processor) -> Self {
        self.processor = processor;
        self
    }

    /// What models are computed on.
    pub fn processor(&self) -> &Processor {
        &self.processor
    }

    /// The same registry with one more family, or another constructor for one that it has. Its names have no dropout rate:
    /// one is refused.
    #[must_use]
    pub fn with(
        self,
        family: &str,
        constructor: impl Fn(&Architecture, Shape, u32) -> Result<Box<dyn Network>, LearnError> + Send + Sync + 'static,
    ) -> Self {
        self.insert(family, Arc::new(constructor), false)
    }

    /// The same as [`Registry::with`], for a family whose names may have a dropout rate, as `fedmd[128,256;0.2]` does: the
    /// constructor reads it, and refuses a name without one where it needs it.
    #[must_use]
    pub fn with_dropout(
        self,
        family: &str,
        constructor: impl Fn(&Architecture, Shape, u32) -> Result<Box<dyn Network>, LearnError> + Send + Sync + 'static,
    ) -> Self {
        self.insert(family, Arc::new(constructor), true)
    }

    fn insert(mut self, family: &str, constructor: Arc<Constructor>, takes_dropout: bool) -> Self {
        let entry = Family {
            constructor,
            takes_dropout,
        };
        self.families.insert(family.to_owned(), entry);
        self
    }

    /// The names of the families, sorted.
    pub fn families(&self) -> Vec<&str> {
        self.families.keys().map(String::as_str).collect()
    }

    /// The network of a model, which predicts once a row or at every position of it.
    ///
    /// # Errors
    /// As [`Registry::build`], and [`LearnError::NoPositions`].
    pub fn network(&self, model: &Model<'_>) -> Result<Box<dyn Network>, LearnError> {
        let network = self.build(model.architecture, model.shape, model.classes)?;
        match model.labels_per {
            LabelsPer::Window => Ok(network),
            LabelsPer::Position => network.at_every_position().ok_or_else(|| LearnError::NoPositions {
                architecture: model.architecture.to_string(),
            }),
        }
    }

    /// The network of that architecture for rows of `shape` and a head of `classes`, which predicts once a row.
    ///
    /// # Errors
    /// [`LearnError`] where there is no such family, its sizes are others, it takes no dropout rate and has one or the other
    /// way round, or the rows are too small for it or no text.
    pub fn build(
        &self,
        architecture: &Architecture,
        shape: Shape,
        classes: u32,
    ) -> Result<Box<dyn Network>, LearnError> {
        // Far above what anybody trains here, far below what memory and file formats can hold.
        const WIDEST: u32 = 1 << 16;
        if architecture.sizes().iter().any(|size| *size > WIDEST) {
            return Err(networks::wrong_sizes(architecture, "write sizes of at most 65536"));
        }
        let family = architecture.family();
        let Some(Family {
            constructor,
            takes_dropout,
        }) = self.families.get(family)
        else {
            let distance = |known: &&str| strsim::damerau_levenshtein(family, known);
            return Err(LearnError::UnknownFamily {
                family: family.to_owned(),
                nearest: self
                    .families()
                    .into_iter()
                    .min_by_key(distance)
                    .unwrap_or("")
                    .to_owned(),
                known: self.families().join(", "),
            });
        };
        if let Some(rate) = architecture.dropout()
            && !takes_dropout
        {
            let wants = format!("{family} takes no dropout rate, leave out ;{rate}");
            return Err(networks::wrong_sizes(architecture, &wants));
        }
        if classes == 0 || shape.is_empty() {
            let value = format!(
                "{classes} classes of {}x{}x{}",
                shape.channels, shape.height, shape.width
            );
            return Err(LearnError::Setting {
                setting: "the data",
                must: "images with pixels and classes",
                value,
            });
        }
        let network = constructor(architecture, shape, classes)?;
        // What a worker cannot hold must not end it.
        const MOST: usize = 1 << 28;
        let parameters = network.parameters();
        let values = parameters.iter().map(|parameter| {
            let sides = parameter.shape.iter();
            sides.fold(1_usize, |values, side| values.saturating_mul(*side))
        });
        let values = values.fold(0_usize, usize::saturating_add);
        if values > MOST {
            return Err(LearnError::TooLarge {
                architecture: architecture.to_string(),
                values,
                most: MOST,
            });
        }
        Ok(network)
    }
}

#[cfg(test)]
mod tests;
