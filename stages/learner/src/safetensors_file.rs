//! Named tensors as bytes: safetensors, the same bytes for the same tensors.
//!
//! Tensors are ordered by type and name, and there is no free metadata: neither order of creation nor time shows.

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use std::collections::BTreeMap;

/// A tensor on its way to or from a file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Stored {
    /// float32 of a shape.
    Floats(Vec<usize>, Vec<f32>),
    /// One int64 without dimensions, as PyTorch keeps counters.
    Count(i64),
}

/// The bytes of a file with these tensors.
pub(crate) fn write(tensors: &BTreeMap<String, Stored>) -> Vec<u8> {
    let raw: Vec<(&String, Dtype, Vec<usize>, Vec<u8>)> = tensors
        .iter()
        .map(|(name, tensor)| match tensor {
            Stored::Floats(shape, values) => {
                let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
                (name, Dtype::F32, shape.clone(), bytes)
            }
            Stored::Count(count) => (name, Dtype::I64, Vec::new(), count.to_le_bytes().to_vec()),
        })
        .collect();
    let views = raw.iter().map(|(name, dtype, shape, bytes)| {
        let view = TensorView::new(*dtype, shape.clone(), bytes);
        (name, view.expect("a tensor's bytes have the length of its shape"))
    });
    safetensors::serialize(views, None).expect("names, types and shapes always have a header")
}

/// The tensors of a file, or what is wrong with it.
pub(crate) fn read(bytes: &[u8]) -> Result<BTreeMap<String, Stored>, String> {
    let file = SafeTensors::deserialize(bytes).map_err(|error| format!("not a safetensors file ({error})"))?;
    file.iter()
        .map(|(name, view)| {
            let tensor = match (view.dtype(), view.shape()) {
                (Dtype::F32, shape) => {
                    let chunks = view.data().as_chunks::<4>().0;
                    Stored::Floats(
                        shape.to_vec(),
                        chunks.iter().map(|four| f32::from_le_bytes(*four)).collect(),
                    )
                }
                (Dtype::I64, []) => {
                    let count = view.data().try_into().map_err(|_| format!("'{name}' has no value"))?;
                    Stored::Count(i64::from_le_bytes(count))
                }
                (dtype, shape) => return Err(format!("'{name}' is {dtype:?} {shape:?}, not float32")),
            };
            Ok((name.to_owned(), tensor))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_survive_and_bytes_do_not_depend_on_order() {
        let floats = |values: &[f32]| Stored::Floats(vec![values.len()], values.to_vec());
        let forward = [
            ("a", floats(&[1.0, -0.0])),
            ("b", Stored::Count(3)),
            ("c", floats(&[f32::MIN_POSITIVE])),
        ];
        let mut backward = forward.clone();
        backward.reverse();
        let map = |list: [(&str, Stored); 3]| list.map(|(name, tensor)| (name.to_owned(), tensor)).into();
        let bytes = write(&map(forward.clone()));
        assert_eq!(bytes, write(&map(backward)));
        assert_eq!(read(&bytes).unwrap(), map(forward));
        assert!(read(&bytes[..20]).unwrap_err().contains("safetensors"));
    }
}
