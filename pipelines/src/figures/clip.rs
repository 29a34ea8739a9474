//! Lines that leave the plot at its top or bottom. Pure: points in, points out.

use std::mem;

/// How far across, and how high.
pub(super) type Point = (i32, i32);

/// The heights of the plot's bottom and top.
pub(super) type Heights = [i32; 2];

pub(super) fn is_within(point: Point, [low, high]: Heights) -> bool {
    (low..=high).contains(&point.1)
}

/// The parts of a line that are in the plot. Where it is cut, a part ends on the plot's edge.
pub(super) fn parts(line: &[Point], heights: Heights) -> Vec<Vec<Point>> {
    let mut parts = Vec::new();
    let mut part = Vec::new();
    for point in cut(line, heights) {
        if is_within(point, heights) {
            part.push(point);
        } else if !part.is_empty() {
            parts.push(mem::take(&mut part));
        }
    }
    if !part.is_empty() {
        parts.push(part);
    }
    parts
}

/// Where a line goes over the edge, in either direction.
pub(super) fn crossings(line: &[Point], heights: Heights) -> Vec<Point> {
    let cut = cut(line, heights);
    let over = cut.windows(2).filter_map(|two| {
        let (from, to) = (two[0], two[1]);
        match (is_within(from, heights), is_within(to, heights)) {
            (true, false) => Some(from),
            (false, true) => Some(to),
            _ => None,
        }
    });
    let mut crossings: Vec<Point> = over.collect();
    crossings.dedup();
    crossings
}

/// A line that stays on the edge where it would leave the plot: a side of a band.
pub(super) fn held(line: &[Point], heights: Heights) -> Vec<Point> {
    let [low, high] = heights;
    let cut = cut(line, heights).into_iter();
    cut.map(|(across, up)| (across, up.clamp(low, high))).collect()
}

/// The line with a point more wherever it goes over an edge between two of its own.
fn cut(line: &[Point], [low, high]: Heights) -> Vec<Point> {
    let mut points: Vec<Point> = Vec::with_capacity(line.len());
    for to in line {
        if let Some(from) = points.last().copied() {
            let edges = if from.1 < to.1 { [low, high] } else { [high, low] };
            points.extend(edges.into_iter().filter_map(|edge| between(from, *to, edge)));
        }
        points.push(*to);
    }
    points
}

/// Where a straight line is at a height that is between those of its ends.
fn between(from: Point, to: Point, height: i32) -> Option<Point> {
    if height <= from.1.min(to.1) || height >= from.1.max(to.1) {
        return None;
    }
    let way = f64::from(height - from.1) / f64::from(to.1 - from.1);
    let across = f64::from(from.0) + way * f64::from(to.0 - from.0);
    Some((across.round() as i32, height))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEIGHTS: Heights = [100, 200];

    #[test]
    fn a_line_within_the_plot_is_one_part_as_it_is() {
        let line = [(0, 100), (10, 150), (20, 200)];
        assert_eq!(parts(&line, HEIGHTS), [line.to_vec()]);
        assert_eq!(held(&line, HEIGHTS), line);
        assert!(crossings(&line, HEIGHTS).is_empty());
        assert!(parts(&[], HEIGHTS).is_empty());
    }

    #[test]
    fn a_line_that_leaves_the_plot_ends_on_its_edge_and_begins_there_again() {
        let line = [(0, 0), (10, 200), (20, 100), (30, 50), (40, 150), (50, 250)];
        let expected = [
            vec![(5, 100), (10, 200), (20, 100)],
            vec![(35, 100), (40, 150), (45, 200)],
        ];
        assert_eq!(parts(&line, HEIGHTS), expected);
        assert_eq!(crossings(&line, HEIGHTS), [(5, 100), (20, 100), (35, 100), (45, 200)]);
        // From below to above without a point between.
        assert_eq!(parts(&[(0, 0), (30, 300)], HEIGHTS), [[(10, 100), (20, 200)]]);
        assert_eq!(parts(&[(0, 300), (30, 0)], HEIGHTS), [[(10, 200), (20, 100)]]);
    }

    #[test]
    fn a_band_stays_on_the_edge_where_it_would_leave() {
        let side = [(0, 0), (10, 200), (20, 400)];
        assert_eq!(held(&side, HEIGHTS), [(0, 100), (5, 100), (10, 200), (20, 200)]);
    }
}
