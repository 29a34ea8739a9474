//! The report of a run file: what its runs reached.
//!
//! ```text
//! results (Parquet) ──reached──> summary ──> text (tables, notes, chart)
//!                                    └─────> a picture (SVG)
//! ```
//!
//! The first pipeline of the list is the one that the run file names; the others are its baselines. Without the run file all
//! are alike. Runs that have not ended, or not started, are shown as far as they are.

mod chart;
mod divided;
mod summary;
mod tables;
mod text;

#[cfg(test)]
mod tests;

pub(crate) use divided::divided;
pub(crate) use summary::load;
