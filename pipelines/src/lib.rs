//! The algorithms of fedstill as data, and the `fedstill` command.
//!
//! ```text
//! run file ──> resolve (data by content, defaults filled in) ──> one run a pipeline and seed ──> results in Parquet
//! ```

// `eprintln!` panics where nobody reads the standard error any more: `tell` does not.
#![deny(clippy::print_stderr)]

pub mod algorithms;
mod check;
mod cluster;
mod command;
mod compare;
mod estimate;
mod figures;
mod folder;
mod pipeline_files;
mod prices;
mod progress;
mod reached;
mod report;
mod resolve;
mod run;
mod run_file_report;
#[cfg(test)]
mod samples;
mod sweep;
mod tell;

pub use command::main;
