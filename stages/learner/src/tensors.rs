//! The named tensors of one model.

use crate::error::LearnError;
use crate::random::Stream;
use crate::registry::{Init, Parameter};
use crate::safetensors_file::{self, Stored};
use burn::tensor::{Device, Tensor, TensorData};
use std::collections::BTreeMap;

/// The values of a model's parameters and buffers, by name. A copy is independent: changing one changes no other.
///
/// Values are kept flat, so that one type holds tensors of every rank, and given out in their shape.
#[derive(Clone)]
pub struct Tensors {
    entries: Vec<Entry>,
}

#[derive(Clone)]
struct Entry {
    parameter: Parameter,
    value: Value,
}

#[derive(Clone)]
#[expect(
    clippy::large_enum_variant,
    reason = "a model has few counters, and most values are tensors"
)]
enum Value {
    Floats(Tensor<1>),
    Count(i64),
}

impl std::fmt::Debug for Tensors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(self.entries.iter().map(|entry| &entry.parameter))
            .finish()
    }
}

impl Tensors {
    /// New values, each parameter from a stream of its own name.
    pub(crate) fn initial(parameters: Vec<Parameter>, stream: &Stream, device: &Device) -> Self {
        let entries = parameters.into_iter().map(|parameter| {
            let len = parameter.len();
            let drawn = |draw: &dyn Fn(&mut Stream) -> f64| {
                let mut stream = stream.fork(&parameter.name);
                let draws = (0..len).map(|_| draw(&mut stream) as f32).collect();
                Value::Floats(flat(draws, device))
            };
            let value = match parameter.init {
                Init::Uniform { bound } => drawn(&|stream| bound * (2.0 * stream.uniform() - 1.0)),
                Init::Normal { std } => drawn(&|stream| std * stream.normal()),
                Init::Constant(constant) => Value::Floats(flat(vec![constant; len], device)),
                Init::Counter => Value::Count(0),
            };
            Entry { parameter, value }
        });
        Self {
            entries: entries.collect(),
        }
    }

    /// The values that a file holds.
    pub(crate) fn read(parameters: Vec<Parameter>, bytes: &[u8], device: &Device) -> Result<Self, LearnError> {
        let refuse = |reason| LearnError::OtherWeights {
            what: "weights",
            reason,
        };
        let mut stored = safetensors_file::read(bytes).map_err(refuse)?;
        let entries = parameters
            .into_iter()
            .map(|parameter| {
                let name = &parameter.name;
                let value = match (stored.remove(name), parameter.init) {
                    (None, _) => return Err(refuse(format!("'{name}' is missing"))),
                    (Some(Stored::Count(count)), Init::Counter) => Value::Count(count),
                    (
                        Some(Stored::Floats(shape, values)),
                        Init::Uniform { .. } | Init::Normal { .. } | Init::Constant(_),
                    ) if shape == parameter.shape => Value::Floats(flat(values, device)),
                    (Some(Stored::Floats(shape, _)), _) => {
                        let reason = format!("'{name}' has shape {shape:?} instead of {:?}", parameter.shape);
                        return Err(refuse(reason));
                    }
                    (Some(Stored::Count(_)), _) => return Err(refuse(format!("'{name}' is a counter"))),
                };
                Ok(Entry { parameter, value })
            })
            .collect::<Result<_, _>>()?;
        match stored.keys().next() {
            Some(name) => Err(refuse(format!("the model has no '{name}'"))),
            None => Ok(Self { entries }),
        }
    }

    /// A safetensors file of all values, in PyTorch's names and layouts.
    pub(crate) fn write(&self) -> Vec<u8> {
        let stored: BTreeMap<String, Stored> = self
            .entries
            .iter()
            .map(|entry| {
                let stored = match &entry.value {
                    Value::Floats(tensor) => {
                        Stored::Floats(entry.parameter.shape.clone(), values(tensor.clone().inner()))
                    }
                    Value::Count(count) => Stored::Count(*count),
                };
                (entry.parameter.name.clone(), stored)
            })
            .collect();
        safetensors_file::write(&stored)
    }

    /// The tensor of that name, in its shape.
    ///
    /// # Panics
    /// If the network names no such tensor among its parameters, or one of another rank: a mistake in a family's code.
    pub fn get<const D: usize>(&self, name: &str) -> Tensor<D> {
        let entry = self.entries.iter().find(|entry| entry.parameter.name == name);
        let entry = entry.unwrap_or_else(|| panic!("the network has no parameter '{name}'"));
        let shape: [usize; D] = entry
            .parameter
            .shape
            .as_slice()
            .try_into()
            .unwrap_or_else(|_| panic!("'{name}' has shape {:?}, not {D} dimensions", entry.parameter.shape));
        match &entry.value {
            Value::Floats(tensor) => tensor.clone().reshape(shape),
            Value::Count(_) => panic!("'{name}' is a counter, not a tensor"),
        }
    }

    /// Marks the trained parameters as those that gradients are wanted of.
    pub(crate) fn tracked(mut self) -> Self {
        for entry in &mut self.entries {
            if let Value::Floats(tensor) = &mut entry.value {
                *tensor = tensor.clone().autodiff().set_require_grad(entry.parameter.trainable);
            }
        }
        self
    }

    /// The same values, for evaluation: nothing is recorded.
    pub(crate) fn plain(&self) -> Self {
        let mut plain = self.clone();
        for entry in &mut plain.entries {
            if let Value::Floats(tensor) = &mut entry.value {
                *tensor = tensor.clone().inner();
            }
        }
        plain
    }

    /// Names, shapes and values of the trained parameters.
    pub(crate) fn trained(&mut self) -> impl Iterator<Item = (&Parameter, &mut Tensor<1>)> {
        self.entries.iter_mut().filter_map(|entry| match &mut entry.value {
            Value::Floats(tensor) if entry.parameter.trainable => Some((&entry.parameter, tensor)),
            _ => None,
        })
    }

    /// Puts another value in a buffer.
    pub(crate) fn set_buffer(&mut self, name: &str, value: Tensor<1>) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.parameter.name == name) {
            entry.value = Value::Floats(value);
        }
    }

    /// Adds one to a counter.
    pub(crate) fn count(&mut self, name: &str) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.parameter.name == name)
            && let Value::Count(count) = &mut entry.value
        {
            *count += 1;
        }
    }

    /// Whether all values are finite.
    pub(crate) fn finite(&self) -> bool {
        self.entries.iter().all(|entry| match &entry.value {
            Value::Floats(tensor) => values(tensor.clone().inner()).iter().all(|value| value.is_finite()),
            Value::Count(_) => true,
        })
    }
}

/// A tensor of one dimension.
pub(crate) fn flat(values: Vec<f32>, device: &Device) -> Tensor<1> {
    let len = values.len();
    Tensor::from_data(TensorData::new(values, [len]), device)
}

/// The values of a tensor, row-major.
pub(crate) fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor
        .try_into_vec_as::<f32>()
        .expect("networks and losses compute in float32 on the CPU")
}
