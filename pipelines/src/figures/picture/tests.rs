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
    drawn_to(lines, None)
}

fn drawn_to(lines: Vec<Line>, target: Option<f64>) -> String {
    let picture = Picture {
        across: Across::amounts("price".to_owned(), 1.0),
        test_set: "local".to_owned(),
        lines,
        worst: "worst",
        target,
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

/// A line of two seeds whose first model nobody has trained, through eleven points.
fn risen(pipeline: &str, end: f64) -> Line {
    let point = |at: i32| {
        let accuracy = if at == 0 {
            0.02
        } else {
            end - 0.002 * f64::from(10 - at)
        };
        let spread = Spread::of(&[accuracy - 0.002, accuracy + 0.002]).expect("values");
        (f64::from(at) / 10.0, spread)
    };
    Line {
        name: "quick".to_owned(),
        pipeline: pipeline.to_owned(),
        mean: (0..=10).map(point).collect(),
        worst: Vec::new(),
    }
}

/// The heights of the plot's top and bottom: of the lines of its grid.
fn rows(document: &Document<'_>) -> (i32, i32) {
    let lines = document.descendants().filter(|node| node.tag_name().name() == "line");
    let heights: Vec<i32> = lines
        .flat_map(|node| [number_of(&node, "y1"), number_of(&node, "y2")])
        .collect();
    let ends = (heights.iter().min(), heights.iter().max());
    (*ends.0.expect("a grid"), *ends.1.expect("a grid"))
}

/// The texts of a picture.
fn texts<'a>(document: &'a Document<'_>) -> Vec<&'a str> {
    let texts = document.descendants().filter_map(|node| node.text());
    texts.map(str::trim).filter(|text| !text.is_empty()).collect()
}

#[test]
fn lines_that_leave_the_axis_are_cut_at_its_edge_marked_and_counted() {
    let svg = drawn(vec![risen("fedmd", 0.98), risen("fedavg", 0.97)]);
    let document = Document::parse(&svg).expect("well-formed XML");
    let (top, bottom) = rows(&document);
    let left = LEFT;
    let mut in_plot = 0;
    for node in document.descendants() {
        let points = node.attribute("points").unwrap_or_default().split_whitespace();
        let points: Vec<(i32, i32)> = points
            .filter_map(|point| point.split_once(','))
            .filter_map(|(x, y)| Some((x.parse().ok()?, y.parse().ok()?)))
            .collect();
        // Axes, legend and labels are beside it.
        if points.len() > 2 && points.iter().all(|(x, _)| *x >= left) {
            in_plot += 1;
            assert!(points.iter().all(|(_, y)| (top..=bottom).contains(y)), "{points:?}");
        }
    }
    assert!(in_plot >= 4, "{in_plot}");
    let marks: Vec<Node<'_, '_>> = document
        .descendants()
        .filter(|node| node.tag_name().name() == "polygon" && node.attribute("opacity") == Some("1"))
        .collect();
    let fills: BTreeSet<&str> = marks.iter().filter_map(|node| node.attribute("fill")).collect();
    assert_eq!((marks.len(), fills.len()), (2, 2), "one a line");
    let tip = format!(",{bottom} ");
    for mark in marks {
        let points = mark.attribute("points").unwrap_or_default();
        assert!(points.ends_with(&tip), "{points} does not point at {bottom}");
    }
    let texts = texts(&document);
    assert!(
        texts.contains(&"outside the plot: 2 points, from .018 to .022"),
        "{texts:?}"
    );
    assert!(texts.contains(&".980") && !texts.contains(&".000"), "{texts:?}");
    // No point outside has a dot on the edge.
    let dots = document.descendants().filter(|node| {
        let is_dot = node.tag_name().name() == "circle" && number_of(node, "cy") > LEGEND;
        is_dot && number_of(node, "cx") <= left
    });
    assert_eq!(dots.count(), 0);
    // What leaves nothing out says nothing of it.
    let whole = drawn(vec![line("quick", "fedmd", 1.0, 0.5)]);
    assert!(!whole.contains("outside the plot"), "{whole}");
    assert!(!whole.contains("<polygon"), "{whole}");
}

#[test]
fn a_target_is_a_named_line_across_the_plot() {
    let target = |target: Option<f64>| drawn_to(vec![line("quick", "fedmd", 1.0, 0.5)], target);
    let svg = target(Some(0.45));
    let document = Document::parse(&svg).expect("well-formed XML");
    let texts = texts(&document);
    assert!(texts.contains(&"target .450"), "{texts:?}");
    let ((top, bottom), edge) = (rows(&document), edge(&document));
    let across: Vec<Node<'_, '_>> = document
        .descendants()
        .filter(|node| node.attribute("stroke-width") == Some("1") && node.tag_name().name() == "polyline")
        .filter(|node| across(node) == [LEFT, edge])
        .collect();
    // The axis below the plot is another such line.
    let heights: Vec<i32> = across
        .iter()
        .filter_map(|node| node.attribute("points")?.split([',', ' ']).nth(1)?.parse().ok())
        .filter(|y| *y < bottom)
        .collect();
    // The axis is from .1 to .5.
    let expected = bottom - (f64::from(bottom - top) * (0.45 - 0.1) / 0.4).round() as i32;
    assert!(
        heights.len() == 1 && (heights[0] - expected).abs() <= 1,
        "{heights:?}, {expected}"
    );
    // One that no line comes near is in the picture all the same.
    let far = target(Some(0.9));
    assert!(far.contains("\n1.000\n") || far.contains("\n.900\n"), "{far}");
    assert!(!target(None).contains("target"));
}
