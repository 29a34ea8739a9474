//! What happens in a round: the stages, the worker that feeds them, and what starts, counts and closes phases.
//!
//! ```text
//! trigger ──> plan ──> tasks ──> worker (pretrain, train, predict, aggregate, join, distill, average, evaluate, archive)
//!                        ^                     │ answers
//!                        └────── advance <─────┘
//! ```
//!
//! Delivery is at least once on the log and once in effect: a task's result is a create-once object named by the
//! task's identity, every decision is a create-once object, and the first one wins. Kill -9 at any instruction costs
//! time only.

pub mod advance;
mod aggregate;
pub mod aggregation;
mod archive;
mod average;
mod combination;
pub mod context;
mod cost;
mod crossing;
pub mod decisions;
pub mod error;
mod evaluate;
pub mod execute;
pub mod faults;
pub mod federation;
mod fit;
mod join;
pub mod learn;
mod misfortune;
pub mod phase;
pub mod plan;
pub mod pool;
mod predict;
mod queue;
pub mod replay;
pub mod resume;
mod rewind;
pub mod rounds;
pub mod selection;
pub mod service;
mod signed;
#[cfg(test)]
mod simulation;
pub mod store;
mod teachers;
pub mod telemetry;
pub mod tensors;
mod trigger;
mod usage;
mod votes;
pub mod worker;

pub use archive::trigger_message;
pub use context::Context;
pub use error::StageError;
pub use federation::{Federation, Progress};
pub use misfortune::{Forecast, Outlook};
pub use store::Store;
pub use usage::peak_memory;
