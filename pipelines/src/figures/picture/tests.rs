//! What is in the SVG.

use super::*;
use roxmltree::{Document, Node};
use std::collections::BTreeSet;

/// A line that begins at 0 and ends there, at that accuracy, by six points.
fn line(name: &str, pipeline: &str, end: f64, accuracy: f64) -> Line {
    let spread = |accuracy: f64| Spread::of(&[accuracy]).expect("a value");
    let point = |at: i32| {
        let part = f64::from(at) / 5.0;
        (end * part, spread(0.1 + (accuracy - 0.1) * part))
    };
    Line {
        name: name.to_owned(),
        pipeline: pipeline.to_owned(),
        mean: (0..=5).map(point).collect(),
        worst: Vec::new(),
    }
}

fn drawn(lines: Vec<Line>) -> String {
    let picture = Picture {
        across: Across::amounts("price".to_owned(), 1.0),
        test_set: "local".to_owned(),
        lines,
        worst: "worst",
    };
    picture.svg()
}

/// A line of each pipeline of each run name, at accuracies of its own.
fn grid(names: &[&str], pipelines: &[&str]) -> Vec<Line> {
    let mut lines = Vec::new();
    for name in names {
        for pipeline in pipelines {
            let accuracy = 0.5 + 0.01 * lines.len() as f64;
            lines.push(line(name, pipeline, 1.0, accuracy));
        }
    }
    lines
}

fn number_of(node: &Node<'_, '_>, name: &str) -> i32 {
    let value = node.attribute(name).and_then(|value| value.parse().ok());
    value.unwrap_or_else(|| panic!("no number {name}"))
}

/// The places of a polyline's points from the left.
fn across(node: &Node<'_, '_>) -> Vec<i32> {
    let points = node.attribute("points").unwrap_or_default().split_whitespace();
    let place = |point: &str| point.split(',').next().and_then(|x| x.parse().ok());
    points.filter_map(place).collect()
}

/// The right end of the plot: of the lines of its grid.
fn edge(document: &Document<'_>) -> i32 {
    let lines = document.descendants().filter(|node| node.tag_name().name() == "line");
    lines.map(|node| number_of(&node, "x2")).max().expect("a grid")
}

/// The labels beside the plot, each with its height.
fn labels(document: &Document<'_>) -> Vec<(String, i32)> {
    let edge = edge(document);
    let texts = document.descendants().filter(|node| node.tag_name().name() == "text");
    let labels = texts.filter(|node| number_of(node, "x") > edge);
    labels
        .map(|node| {
            let text = node.text().unwrap_or_default().trim().to_owned();
            (text, number_of(&node, "y"))
        })
        .collect()
}

#[test]
fn nothing_in_the_plot_leads_from_a_line_that_ends_early_to_its_label() {
    let ends = [("fedmd", 1.0, 0.50), ("standalone", 0.2, 0.50), ("feddf", 0.6, 0.51)];
    let lines = ends.map(|(pipeline, end, accuracy)| line("quick", pipeline, end, accuracy));
    let svg = drawn(lines.into());
    let document = Document::parse(&svg).expect("well-formed XML");
    let edge = edge(&document);
    let leaders: Vec<Vec<i32>> = document
        .descendants()
        .filter(|node| node.attribute("opacity") == Some("0.4"))
        .map(|node| across(&node))
        .collect();
    assert_eq!(leaders.len(), 1, "only one ends where the plot does: {leaders:?}");
    assert!(leaders[0].iter().all(|x| *x >= edge - EDGE), "{leaders:?}, {edge}");
    let named: BTreeSet<String> = labels(&document).into_iter().map(|(label, _)| label).collect();
    let expected = ["fedmd", "standalone", "feddf"].map(ToOwned::to_owned);
    assert_eq!(named, BTreeSet::from(expected));
}

#[test]
fn the_lines_of_a_sweep_are_labelled_apart_and_only_the_first_run_name_has_no_gaps() {
    let pipelines = ["fedmd", "feddf", "fedavg", "standalone", "self_digest"];
    for (names, pipelines) in [
        (&["t-alpha0p1", "t-alpha100"][..], &pipelines[..]),
        (
            &["t-alpha0p1", "t-alpha1", "t-alpha10", "t-alpha100"][..],
            &pipelines[..4],
        ),
    ] {
        let svg = drawn(grid(names, pipelines));
        let document = Document::parse(&svg).expect("well-formed XML");
        let thick = || {
            document
                .descendants()
                .filter(|node| node.attribute("stroke-width") == Some("3") && node.tag_name().name() == "polyline")
        };
        let whole: Vec<Node<'_, '_>> = thick().filter(|node| across(node).len() == 6).collect();
        let colours: BTreeSet<&str> = whole.iter().filter_map(|node| node.attribute("stroke")).collect();
        assert_eq!((whole.len(), colours.len()), (pipelines.len(), pipelines.len()));
        let dashes = thick().filter(|node| across(node).len() < 6).count();
        assert!(dashes > 10 * pipelines.len() * (names.len() - 1), "{dashes} dashes");
        let labels: BTreeSet<String> = labels(&document).into_iter().map(|(label, _)| label).collect();
        assert_eq!(labels.len(), names.len() * pipelines.len(), "{labels:?}");
    }
}

#[test]
fn a_picture_of_many_lines_is_higher_so_that_no_label_covers_another() {
    let names = ["a", "b", "c", "d", "e", "f"];
    let svg = drawn(grid(&names, &["fedmd", "feddf", "fedavg", "standalone", "self_digest"]));
    let document = Document::parse(&svg).expect("well-formed XML");
    let height = number_of(&document.root_element(), "height");
    assert!(height > HEIGHT, "{height}");
    let mut heights: Vec<i32> = labels(&document).into_iter().map(|(_, y)| y).collect();
    heights.sort_unstable();
    assert_eq!(heights.len(), 30);
    assert!(
        heights.windows(2).all(|two| two[1] - two[0] >= LABEL_LINE),
        "{heights:?}"
    );
    assert!(heights[0] > LEGEND && heights[29] < height - BELOW, "{heights:?}");
}

#[test]
fn a_picture_of_longer_labels_is_wider_and_its_plot_is_not_narrower() {
    let svg_of = |pipelines: &[&str]| drawn(grid(&["quick"], pipelines));
    let longer = [
        "a_pipeline_of_ones_own_one_of_a_kind_and_long",
        "a_pipeline_of_ones_own_two_of_a_kind_and_long",
    ];
    let [cut, whole] = [&longer[..1], &longer[..]].map(svg_of);
    let [cut, whole] = [&cut, &whole].map(|svg| Document::parse(svg).expect("well-formed XML"));
    let width = |document: &Document<'_>| number_of(&document.root_element(), "width");
    assert_eq!(width(&cut), WIDTH);
    assert!(width(&whole) > WIDTH, "{}", width(&whole));
    assert_eq!(edge(&whole), edge(&cut));
    let labels: BTreeSet<String> = labels(&whole).into_iter().map(|(label, _)| label).collect();
    assert_eq!(labels.len(), 2, "{labels:?}");
}

#[test]
fn the_axis_names_the_test_set() {
    let svg = drawn(vec![line("quick", "fedmd", 1.0, 0.5)]);
    let document = Document::parse(&svg).expect("well-formed XML");
    let mut texts = document.descendants().filter_map(|node| node.text());
    assert!(texts.any(|text| text.trim() == "accuracy on the test set 'local'"));
}
