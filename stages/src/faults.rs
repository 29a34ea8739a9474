//! Named instants between a worker's effects, at which tests end the process (or, in a simulation, the worker).

use std::fmt;
use std::sync::Arc;

/// Every instant that can be named.
pub const POINTS: [&str; 20] = [
    "plan:after-draws",
    "plan:after-plan",
    "plan:after-open",
    "plan:after-tasks",
    "plan:before-commit",
    "task:taken",
    "task:computed",
    "task:after-part",
    "task:after-result",
    "task:after-publish",
    "task:after-answer",
    "task:before-commit",
    "archive:after-manifest",
    "archive:after-tables",
    "advance:before-close",
    "advance:after-close",
    "advance:after-open",
    "advance:after-tasks",
    "advance:after-closed",
    "advance:before-commit",
];

/// What to do at a named instant; nothing by default.
#[derive(Clone, Default)]
pub struct Faults(Option<Arc<dyn Fn(&'static str) + Send + Sync>>);

impl Faults {
    /// Calls `at` at every instant; what it does not return from did not happen.
    pub fn new(at: impl Fn(&'static str) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(at)))
    }

    /// The instant `point` of [`POINTS`] has come.
    pub fn hit(&self, point: &'static str) {
        debug_assert!(POINTS.contains(&point), "{point} is not in POINTS");
        if let Some(at) = &self.0 {
            at(point);
        }
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Faults").field(&self.0.is_some()).finish()
    }
}
