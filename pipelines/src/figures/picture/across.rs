//! The axis of a picture from left to right: rounds, or amounts.

use super::fine;
use crate::figures::axis;

/// The axis from left to right; accuracy goes up.
#[derive(Debug)]
pub(crate) struct Across {
    pub(super) name: String,
    /// Its right end; it begins at 0.
    end: f64,
    pub(super) marks: Vec<(f64, String)>,
}

impl Across {
    pub(crate) fn rounds(last: u32) -> Self {
        let marks = axis::rounds(last, 20).into_iter();
        Self {
            name: "round".to_owned(),
            end: f64::from(last.max(1)),
            marks: marks.map(|round| (f64::from(round), round.to_string())).collect(),
        }
    }

    /// An axis that ends where the largest amount is.
    pub(crate) fn amounts(name: String, largest: f64) -> Self {
        Self {
            name,
            end: if largest > 0.0 { largest } else { 1.0 },
            marks: axis::amounts(largest, 6),
        }
    }

    /// Where a value is, as the plot counts.
    pub(super) fn place(&self, value: f64) -> i32 {
        fine(value / self.end)
    }

    /// The label of the mark at a place.
    pub(super) fn label(&self, place: i32) -> String {
        let mut marks = self.marks.iter();
        let found = marks.find(|(value, _)| self.place(*value) == place);
        found.map_or_else(String::new, |(_, label)| label.clone())
    }
}
