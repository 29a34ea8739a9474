//! How the lines of a picture are told apart: a colour a pipeline, and dashes by the run name. Pure.

use crate::algorithms;
use plotters::style::RGBColor;
use std::collections::BTreeSet;

/// Okabe and Ito's colours, which colour-blind readers tell apart, the darker ones first; grey in place of yellow, which is
/// hard to see on white.
const COLOURS: [RGBColor; 8] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(0, 0, 0),
    RGBColor(130, 130, 130),
];

/// Pixels of a dash and of the gap after it; the first is a line without gaps.
const DASHES: [Option<(i32, i32)>; 6] = [
    None,
    Some((14, 5)),
    Some((6, 4)),
    Some((3, 6)),
    Some((20, 12)),
    Some((8, 12)),
];

/// What a line is drawn with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pen {
    pub(super) colour: RGBColor,
    /// Pixels of a dash and of the gap after it; none of a line without gaps.
    pub(super) dash: Option<(i32, i32)>,
}

/// A pen a line, each of a run name and a pipeline, in the same order. Colours go by pipeline, first those that ship, in
/// the order in which `fedstill pipelines` lists them, then others by name; dashes by the run names in order, and other
/// ones where there are more pipelines than colours. So the order of the lines changes nothing.
pub(super) fn pens(lines: &[(&str, &str)]) -> Vec<Pen> {
    let shipped = algorithms::all();
    let rank = |pipeline: &str| {
        shipped
            .iter()
            .position(|one| one.name == pipeline)
            .unwrap_or(shipped.len())
    };
    let names: BTreeSet<&str> = lines.iter().map(|(name, _)| *name).collect();
    let pipelines: BTreeSet<(usize, &str)> = lines.iter().map(|(_, pipeline)| (rank(pipeline), *pipeline)).collect();
    let pen = |(name, pipeline): &(&str, &str)| {
        let colour = pipelines.iter().take_while(|(_, other)| other != pipeline).count();
        let name = names.iter().take_while(|other| *other != name).count();
        let dash = name + names.len() * (colour / COLOURS.len());
        Pen {
            colour: COLOURS[colour % COLOURS.len()],
            dash: DASHES[dash % DASHES.len()],
        }
    };
    lines.iter().map(pen).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every pipeline of every run name.
    fn grid<'a>(names: &[&'a str], pipelines: &[&'a str]) -> Vec<(&'a str, &'a str)> {
        let of = |name: &&'a str| pipelines.iter().map(|pipeline| (*name, *pipeline)).collect::<Vec<_>>();
        names.iter().flat_map(of).collect()
    }

    fn are_apart(pens: &[Pen]) -> bool {
        let same = |at: usize| pens[..at].contains(&pens[at]);
        !(0..pens.len()).any(same)
    }

    #[test]
    fn pipelines_differ_by_colour_and_run_names_by_dash() {
        for lines in [
            grid(
                &["a", "b"],
                &["fedmd", "feddf", "fedavg", "standalone", "fedmd_standalone"],
            ),
            grid(&["a", "b", "c", "d"], &["fedmd", "feddf", "fedavg", "standalone"]),
        ] {
            let pens = pens(&lines);
            assert!(are_apart(&pens), "{pens:?}");
            for (one, (name, pipeline)) in pens.iter().zip(&lines) {
                for (other, (its_name, its_pipeline)) in pens.iter().zip(&lines) {
                    assert_eq!(one.colour == other.colour, pipeline == its_pipeline);
                    assert_eq!(one.dash == other.dash, name == its_name);
                }
            }
        }
    }

    #[test]
    fn of_one_run_name_the_first_eight_pipelines_have_no_gaps_and_all_are_told_apart() {
        let pipelines = ["p0", "p1", "p2", "p3", "p4", "p5", "p6", "p7", "p8", "p9", "pa", "pb"];
        let pens = pens(&grid(&["quick-start"], &pipelines));
        assert!(are_apart(&pens), "{pens:?}");
        assert!(pens[..8].iter().all(|pen| pen.dash.is_none()), "{pens:?}");
        assert!(pens[8..].iter().all(|pen| pen.dash.is_some()), "{pens:?}");
        // More pipelines than colours of several run names, too.
        assert!(are_apart(&super::pens(&grid(&["a", "b"], &pipelines))));
    }

    #[test]
    fn the_order_of_the_methods_changes_no_pen() {
        let of_file = grid(
            &["b", "a"],
            &["fedmd", "mine", "standalone", "fedavg", "fedmd_standalone"],
        );
        let mut by_name = of_file.clone();
        by_name.sort_unstable();
        let pen = |lines: &[(&str, &str)], line: &(&str, &str)| {
            let at = lines.iter().position(|other| other == line).unwrap();
            pens(lines)[at]
        };
        for line in &of_file {
            assert_eq!(pen(&of_file, line), pen(&by_name, line), "{line:?}");
        }
        // Those that ship come first, as `fedstill pipelines` lists them.
        let colour = |pipeline| pen(&by_name, &("a", pipeline)).colour;
        let first = ["fedmd", "fedavg", "standalone", "fedmd_standalone", "mine"].map(colour);
        assert_eq!(first, COLOURS[..5]);
    }
}
