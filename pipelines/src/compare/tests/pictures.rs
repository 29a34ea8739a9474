//! The pictures of a comparison.

use super::{ASKED, compared, three_seeds};
use crate::compare::Asked;
use crate::figures::Rasteriser;
use crate::reached::samples::Results;

#[test]
fn the_pictures_have_a_labelled_line_a_method_in_both_formats() {
    let results = Results::new();
    let comparison = compared(&results, &three_seeds(&results), &ASKED).expect("a comparison");
    let rasteriser = Rasteriser::new();
    for (picture, name) in [
        (comparison.accuracy_picture(), "round"),
        (comparison.cost_picture(), "price of all rounds so far"),
    ] {
        let document = roxmltree::Document::parse(&picture).expect("well-formed XML");
        let root = document.root_element();
        let lines = document.descendants().filter(|node| {
            let points = node.attribute("points").unwrap_or_default();
            node.attribute("stroke-width") == Some("3") && points.split_whitespace().count() == 6
        });
        let strokes: Vec<Option<&str>> = lines.map(|line| line.attribute("stroke")).collect();
        assert_eq!(strokes, [Some("#D55E00"), Some("#0072B2")], "{name}");
        let texts: Vec<&str> = document
            .descendants()
            .filter_map(|node| node.text())
            .map(str::trim)
            .collect();
        let up = "accuracy on the test set 'global'";
        for text in ["quick-start", "fedmd", "standalone", "range of seeds", name, up] {
            assert!(texts.contains(&text), "{text} is not in {texts:?}");
        }
        let size = |side: &str| root.attribute(side).and_then(|side| side.parse::<u32>().ok());
        let png = rasteriser.png(&picture).expect("pixels");
        assert_eq!(png[..8], *b"\x89PNG\r\n\x1a\n");
        let pixels = resvg::tiny_skia::Pixmap::decode_png(&png).expect("a PNG");
        assert_eq!(Some(pixels.width()), size("width").map(|width| 3 * width));
        assert_eq!(Some(pixels.height()), size("height").map(|height| 3 * height));
        // The first method's line is in it.
        let blue = pixels.pixels().iter();
        assert!(
            blue.filter(|at| (at.red(), at.green(), at.blue()) == (0, 114, 178))
                .count()
                > 1000
        );
    }
    assert_eq!(comparison.cost_picture(), comparison.cost_picture());
}

#[test]
fn the_picture_of_costs_names_whose_prices_they_are() {
    let results = Results::new();
    let runs = three_seeds(&results);
    let mut comparison = compared(&results, &runs, &ASKED).expect("a comparison");
    comparison.providers = ["aws-lambda", "openfaas"].map(ToOwned::to_owned).into();
    let picture = comparison.cost_picture();
    assert!(
        picture.contains("\nprice of all rounds so far in USD (aws-lambda and openfaas)\n"),
        "{picture}"
    );
    assert!(!comparison.accuracy_picture().contains("aws-lambda"));
    assert!(comparison.text().contains("  price USD\n"), "{}", comparison.text());
    // Whose table is not known has no known currency.
    comparison.providers = ["ours".to_owned()].into();
    let picture = comparison.cost_picture();
    assert!(picture.contains("\nprice of all rounds so far (ours)\n"), "{picture}");
}

#[test]
fn both_pictures_mark_the_target_that_is_asked_for() {
    let results = Results::new();
    let runs = three_seeds(&results);
    for (target, marked) in [(Some(0.55), true), (None, false)] {
        let asked = Asked { target, ..ASKED };
        let comparison = compared(&results, &runs, &asked).expect("a comparison");
        for picture in [comparison.accuracy_picture(), comparison.cost_picture()] {
            assert_eq!(picture.contains("\ntarget .550\n"), marked, "{picture}");
        }
    }
}
