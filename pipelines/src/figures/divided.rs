//! Which classes each party's rows have, as a picture: a circle a party and class, its area in proportion to the rows; and
//! beside them, on a scale of its own, the test set. Equal divisions give equal bytes.

use super::picture::{GRID, INK, font};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// The distance of two circles' middles, and what is left between the largest ones.
const STEP: i32 = 22;
const GAP: i32 = 2;
/// Room for the title and what the axes say.
const ABOVE: i32 = 44;
const BESIDE: i32 = 70;
const BELOW: i32 = 76;
const RIGHT: i32 = 20;
/// The narrowest picture: the title must have its place.
const NARROWEST: i32 = 420;
/// Parties and classes that are drawn: a picture of more says nothing.
const MOST: usize = 100;
/// The colour of what is no party's.
const OTHER: RGBColor = RGBColor(130, 130, 130);
/// What a letter of the legend takes.
const LETTER: i32 = 8;

type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;

/// Rows of each party by class.
#[derive(Debug)]
pub(crate) struct Divided {
    pub(crate) title: String,
    /// What is counted: rows, or labels where a row has several.
    pub(crate) counted: &'static str,
    /// `parties x classes`.
    pub(crate) rows: Vec<Vec<u32>>,
    /// Rows of the test set by class.
    pub(crate) test: Vec<u32>,
}

impl Divided {
    pub(crate) fn svg(&self) -> String {
        // The test set stands a column apart.
        let columns = self.rows.len().min(MOST) as i32 + 2;
        let classes = self.classes() as i32;
        let width = (BESIDE + columns * STEP + RIGHT).max(NARROWEST);
        let size = (width as u32, (ABOVE + classes * STEP + BELOW) as u32);
        let mut picture = String::new();
        let area = SVGBackend::with_string(&mut picture, size).into_drawing_area();
        self.draw(&area, width).expect("a string takes what is written");
        drop(area);
        picture
    }

    fn classes(&self) -> usize {
        let rows = self.rows.iter().chain([&self.test]);
        rows.map(Vec::len).max().unwrap_or(0).min(MOST)
    }

    fn draw(&self, area: &DrawingArea<SVGBackend<'_>, Shift>, width: i32) -> Drawn {
        area.fill(&WHITE)?;
        let at = |horizontal| Pos::new(horizontal, VPos::Center);
        area.draw_text(&self.title, &font(18).pos(at(HPos::Center)), (width / 2, ABOVE / 2))?;
        let parties = self.rows.len().min(MOST);
        let (right, bottom) = (BESIDE + parties as i32 * STEP, ABOVE + self.classes() as i32 * STEP);
        let middle = |index: usize| index as i32 * STEP + STEP / 2;
        let small = font(13);
        for class in 0..self.classes() {
            let y = ABOVE + middle(class);
            area.draw(&PathElement::new([(BESIDE, y), (right, y)], GRID))?;
            area.draw(&PathElement::new([(right + STEP, y), (right + 2 * STEP, y)], GRID))?;
            if class % 5 == 0 || self.classes() <= 12 {
                area.draw_text(&class.to_string(), &small.pos(at(HPos::Right)), (BESIDE - 8, y))?;
            }
        }
        let most = self.rows.iter().flatten().copied().max().unwrap_or(0).max(1);
        for (party, rows) in self.rows.iter().take(MOST).enumerate() {
            let x = BESIDE + middle(party);
            if party % 5 == 0 || parties <= 20 {
                area.draw_text(&party.to_string(), &small.pos(at(HPos::Center)), (x, bottom + 12))?;
            }
            for (class, count) in rows.iter().take(MOST).enumerate().filter(|(_, count)| **count > 0) {
                area.draw(&circle((x, ABOVE + middle(class)), *count, most, INK))?;
            }
        }
        let most_tested = self.test.iter().copied().max().unwrap_or(0).max(1);
        let x = right + STEP + STEP / 2;
        for (class, count) in self.test.iter().take(MOST).enumerate().filter(|(_, count)| **count > 0) {
            area.draw(&circle((x, ABOVE + middle(class)), *count, most_tested, OTHER))?;
        }
        area.draw_text("test", &small.pos(at(HPos::Center)), (x, bottom + 12))?;
        let left = small.pos(at(HPos::Left));
        area.draw_text("class", &left, (12, ABOVE / 2 + 12))?;
        // How many rows some circles are.
        let said = format!("party; circles are {}:", self.counted);
        area.draw_text(&said, &left, (BESIDE, bottom + 36))?;
        let mut x = BESIDE + said.len() as i32 * LETTER;
        let mut samples = vec![most, most / 4, most / 16];
        samples.retain(|count| *count > 0);
        for count in samples {
            area.draw(&circle((x, bottom + 36), count, most, INK))?;
            let label = count.to_string();
            area.draw_text(&label, &left, (x + STEP / 2 + 2, bottom + 36))?;
            x += STEP + 2 + (label.len() as i32 + 1) * LETTER;
        }
        let tested = format!(
            "test: the test set 'global', its largest circle is {most_tested} {}",
            self.counted
        );
        area.draw_text(&tested, &left, (BESIDE, bottom + 58))?;
        area.present()
    }
}

/// A circle whose area is to the largest one's as `count` to `most`.
fn circle(middle: (i32, i32), count: u32, most: u32, colour: RGBColor) -> Circle<(i32, i32), i32> {
    let largest = f64::from(STEP - GAP) / 2.0;
    let radius = largest * (f64::from(count) / f64::from(most)).sqrt();
    Circle::new(middle, radius.max(1.0) as i32, colour.mix(0.8).filled())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_circle_a_party_and_class_that_has_rows_and_a_legend_says_how_many() {
        let divided = Divided {
            title: "rows of each party".to_owned(),
            counted: "rows",
            rows: vec![vec![4, 0, 1], vec![0, 16, 0]],
            test: vec![400, 100, 0],
        };
        let svg = divided.svg();
        let document = roxmltree::Document::parse(&svg).unwrap();
        let radii: Vec<&str> = document
            .descendants()
            .filter(|node| node.has_tag_name("circle"))
            .filter_map(|node| node.attribute("r"))
            .collect();
        let (parties, rest) = radii.split_at(3);
        assert_eq!(
            parties,
            ["5", "2", "10"],
            "areas go with rows: a quarter and a sixteenth"
        );
        let (test, legend) = rest.split_at(2);
        assert_eq!(test, ["10", "5"], "of the test set by its own scale");
        assert_eq!(legend, ["10", "5", "2"]);
        let texts: Vec<&str> = document
            .descendants()
            .filter_map(|node| node.text())
            .map(str::trim)
            .collect();
        for text in [
            "16",
            "4",
            "1",
            "party; circles are rows:",
            "test",
            "test: the test set 'global', its largest circle is 400 rows",
        ] {
            assert!(texts.contains(&text), "{text} is not in {texts:?}");
        }
        assert_eq!(svg, divided.svg());
    }
}
