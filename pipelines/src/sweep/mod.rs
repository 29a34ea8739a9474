//! `fedstill sweep`: a run file at every point of a grid, several runs side by side.
//!
//! ```text
//! sweep file ─┬─> points (a run file each) ──> resolve ──> runs, one a point, pipeline and seed
//! run file ───┘                                              │ those that are not finished
//!                      threads of this process, `jobs` of them <─┘ ──> folders and results as of `fedstill run`
//! ```
//! Runs know nothing of each other: each has its folder, log and store, and the results that it would have alone. So a
//! sweep that was stopped, or killed, goes on as its runs do.

mod overview;
mod plan;
mod points;
mod repeats;
mod runs;
mod warnings;

pub(crate) use overview::Overview;
pub(crate) use plan::{list, plan};
pub(crate) use points::{Point, Unusable, points};
pub(crate) use runs::{missing, side_by_side};
pub(crate) use warnings::of_data as warnings_of_data;

/// How runs share the machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Side {
    /// Runs at once.
    pub(crate) jobs: usize,
    /// Compute threads of each.
    pub(crate) threads: usize,
}
