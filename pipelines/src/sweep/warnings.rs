//! What is said of the data of a sweep's points before they start: each warning once, with the first point that has it.

use super::Point;
use crate::check;
use crate::estimate::counted;

/// The most warnings that are said.
const MOST: usize = 10;

/// A line a warning that `check` has of the data of some point.
pub(crate) fn of_data(points: &[Point]) -> Vec<String> {
    let each = points.iter().map(|Point { resolved, .. }| {
        let name = resolved.file.name.as_str();
        (name, check::of_data(resolved))
    });
    told(each)
}

/// Every warning once, in the order of the points, with the first of them and how many others have it.
fn told<'a>(points: impl Iterator<Item = (&'a str, Vec<String>)>) -> Vec<String> {
    let mut distinct: Vec<(String, &str, usize)> = Vec::new();
    for (name, warnings) in points {
        for warning in warnings {
            match distinct.iter_mut().find(|(other, ..)| *other == warning) {
                Some((.., others)) => *others += 1,
                None => distinct.push((warning, name, 0)),
            }
        }
    }
    let more = distinct.len().saturating_sub(MOST);
    let mut lines: Vec<String> = distinct
        .into_iter()
        .take(MOST)
        .map(|(warning, name, others)| match others {
            0 => format!("{warning} (at {name})"),
            _ => format!("{warning} (at {name} and {})", counted(others, "other point")),
        })
        .collect();
    if more > 0 {
        lines.push(format!("and {}", counted(more, "more warning")));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_is_said_once_with_the_first_point_that_has_it() {
        let warning = |text: &str| text.to_owned();
        let points = [
            ("a", vec![warning("one")]),
            ("b", vec![warning("two"), warning("one")]),
            ("c", vec![warning("one")]),
        ];
        assert_eq!(
            told(points.into_iter()),
            ["one (at a and 2 other points)", "two (at b)"]
        );
        let many = (0..12).map(|index| ("a", vec![format!("warning {index}")]));
        let lines = told(many);
        assert_eq!(lines.len(), MOST + 1);
        assert_eq!(lines[MOST], "and 2 more warnings");
    }
}
