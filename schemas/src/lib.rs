//! The shared words of fedstill: run file, pipelines, tasks and events, predictions in Arrow, names of topics, keys
//! and objects, schemas of the results. No I/O, no tensors.

pub mod architecture;
pub mod data;
pub mod digest;
pub mod fit;
pub mod pipeline;

pub use architecture::Architecture;
pub use digest::{Digest, canonical_json};
