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
mod tests {
    use super::*;

    const DIGIT: Shape = Shape {
        channels: 1,
        height: 28,
        width: 28,
    };

    fn refused(architecture: &str, shape: Shape) -> String {
        let built = Registry::default().build(&architecture.parse().unwrap(), shape, 10);
        built.err().expect(architecture).to_string()
    }

    #[test]
    fn a_family_that_is_not_there_has_a_nearest_one() {
        let text = refused("lenett", DIGIT);
        assert!(
            text.contains("did you mean 'lenet'") && text.contains("cnn, fedmd, lenet, mcmahan, mlp"),
            "{text}"
        );
    }

    #[test]
    fn wrong_sizes_are_refused_with_what_the_family_takes() {
        assert!(refused("lenet[5]", DIGIT).contains("no sizes"));
        assert!(refused("cnn", DIGIT).contains("cnn[16,32]"));
        assert!(refused("cnn[4,0]", DIGIT).contains("cnn[16,32]"));
        assert!(refused("mlp", DIGIT).contains("mlp[200]"));
        assert!(refused("mlp[0]", DIGIT).contains("mlp[200]"));
        assert!(refused("2nn[200]", DIGIT).contains("write 2nn"));
        assert!(refused("mcmahan[32]", DIGIT).contains("write mcmahan"));
        for name in [
            "fedmd",
            "fedmd[10]",
            "fedmd[8,0;0.2]",
            "fedmd[8;0.2]",
            "fedmd[8,8,8,8;0.2]",
        ] {
            let text = refused(name, DIGIT);
            assert!(
                text.contains("two or three convolutions") && text.contains("fedmd[64,128,256;0.2]"),
                "{text}"
            );
        }
        assert!(refused("resnet[19]", DIGIT).contains("resnet[8], resnet[18] or resnet[20]"));
        assert!(refused("resnetgn[8,16]", DIGIT).contains("resnetgn[8], resnetgn[18] or resnetgn[20]"));
        assert!(refused("charlstm[3]", DIGIT).contains("charlstm[1] or charlstm[2]"));
        assert!(refused("charlstm[1]", DIGIT).contains("not images of 1x28x28"));
        assert!(refused("mlp[4294967295]", DIGIT).contains("at most 65536"));
    }

    #[test]
    fn a_dropout_rate_is_asked_for_where_a_family_takes_one_and_refused_elsewhere() {
        for family in Registry::default().families() {
            let text = refused(&format!("{family}[0;0.25]"), DIGIT);
            let told = text.contains("takes no dropout rate, leave out ;0.25");
            assert_eq!(told, family != "fedmd", "{text}");
        }
        let of_default = |name: &str| -> String {
            let text = refused(name, DIGIT);
            assert!(text.contains("the public code has by default"), "{text}");
            text
        };
        assert!(of_default("fedmd[8,9]").contains("as in fedmd[8,9;0.2]"));
        assert!(of_default("fedmd[7,8,9]").contains("as in fedmd[7,8,9;0.2]"));
        for (number, written) in networks::PUBLISHED.into_iter().enumerate() {
            let text = refused(&format!("fedmd[{number}]"), DIGIT);
            assert!(
                text.contains(&format!("write {written} for that of FedMD's party {number}")),
                "{text}"
            );
        }
        // A family of one's own says whether it takes one.
        let perceptron = |_: &Architecture, shape, classes| {
            networks::mlp(&"mlp[9]".parse().expect("an architecture"), shape, classes)
        };
        let registry = Registry::default()
            .with("plain", perceptron)
            .with_dropout("dropping", perceptron);
        let built = |name: &str| registry.build(&name.parse().unwrap(), DIGIT, 3).is_ok();
        assert!(built("plain") && !built("plain[1;0.5]"));
        assert!(built("dropping") && built("dropping[1;0.5]"));
    }

    #[test]
    fn an_architecture_that_predicts_once_a_row_is_refused_where_every_position_has_a_label() {
        let shape = Shape {
            channels: 1,
            height: 1,
            width: 80,
        };
        let registry = Registry::default();
        let refused = |name: &str, labels_per| {
            let architecture = name.parse().unwrap();
            let model = Model {
                architecture: &architecture,
                shape,
                classes: 82,
                labels_per,
            };
            let refused = registry.network(&model).err();
            refused.map_or_else(String::new, |error| error.to_string())
        };
        for name in ["mlp[8]", "2nn"] {
            let text = refused(name, LabelsPer::Position);
            assert!(
                text.contains(name) && text.contains("predicts once a row") && text.contains("charlstm[1]"),
                "{text}"
            );
            assert_eq!(refused(name, LabelsPer::Window), "");
        }
        assert_eq!(refused("charlstm[2]", LabelsPer::Position), "");
        assert!(refused("charlstm[3]", LabelsPer::Position).contains("charlstm[1] or charlstm[2]"));
    }

    #[test]
    fn small_images_are_refused_with_the_least_size() {
        let small = |side| Shape {
            channels: 1,
            height: side,
            width: side,
        };
        assert!(refused("cnn[4,4,4,4]", small(8)).contains("16x16"));
        assert!(refused("lenet", small(8)).contains("12x12"));
        assert!(refused("mcmahan", small(3)).contains("4x4"));
        assert!(refused("fedmd[4,4,4;0.2]", small(11)).contains("12x12"));
        assert!(refused("fedmd[4,4;0.2]", small(2)).contains("3x3"));
        assert!(refused("resnet[18]", small(7)).contains("8x8"));
        assert!(
            Registry::default()
                .build(&"lenet".parse().unwrap(), small(12), 10)
                .is_ok()
        );
        assert!(
            Registry::default()
                .build(&"cnn[4,4,4]".parse().unwrap(), small(8), 10)
                .is_ok()
        );
    }

    #[test]
    fn a_family_is_added_without_a_fork() {
        let registry = Registry::default().with("deep", |_, shape, classes| {
            networks::mlp(&"mlp[9,9,9]".parse().expect("an architecture"), shape, classes)
        });
        let own = [
            "2nn", "charlstm", "cnn", "deep", "fedmd", "lenet", "mcmahan", "mlp", "resnet", "resnetgn",
        ];
        assert_eq!(registry.families(), own);
        assert_eq!(
            registry
                .build(&"deep".parse().unwrap(), DIGIT, 3)
                .unwrap()
                .parameters()
                .len(),
            8
        );
    }
}
