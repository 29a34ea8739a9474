//! Which classes each party's rows have, as a picture: a circle a party and class, its area in proportion to the rows.
//! Equal divisions give equal bytes.

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
const BELOW: i32 = 52;
const RIGHT: i32 = 20;
/// The narrowest picture: the title must have its place.
const NARROWEST: i32 = 420;
/// Parties and classes that are drawn: a picture of more says nothing.
const MOST: usize = 100;

/// Rows of each party by class.
#[derive(Debug)]
pub(crate) struct Divided {
    pub(crate) title: String,
    /// What is counted: rows, or labels where a row has several.
    pub(crate) counted: &'static str,
    /// `parties x classes`.
    pub(crate) rows: Vec<Vec<u32>>,
}

impl Divided {
    pub(crate) fn svg(&self) -> String {
        let parties = self.rows.len().min(MOST) as i32;
        let classes = self.classes() as i32;
        let width = (BESIDE + parties * STEP + RIGHT).max(NARROWEST);
        let size = (width as u32, (ABOVE + classes * STEP + BELOW) as u32);
        let mut picture = String::new();
        let area = SVGBackend::with_string(&mut picture, size).into_drawing_area();
        self.draw(&area, width).expect("a string takes what is written");
        drop(area);
        picture
    }

    fn classes(&self) -> usize {
        self.rows.iter().map(Vec::len).max().unwrap_or(0).min(MOST)
    }

    fn draw(
        &self,
        area: &DrawingArea<SVGBackend<'_>, Shift>,
        width: i32,
    ) -> Result<(), DrawingAreaErrorKind<std::io::Error>> {
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
            if class % 5 == 0 || self.classes() <= 12 {
                area.draw_text(&class.to_string(), &small.pos(at(HPos::Right)), (BESIDE - 8, y))?;
            }
        }
        let most = self.rows.iter().flatten().copied().max().unwrap_or(0).max(1);
        let largest = f64::from(STEP - GAP) / 2.0;
        for (party, rows) in self.rows.iter().take(MOST).enumerate() {
            let x = BESIDE + middle(party);
            if party % 5 == 0 || parties <= 20 {
                area.draw_text(&party.to_string(), &small.pos(at(HPos::Center)), (x, bottom + 12))?;
            }
            for (class, count) in rows.iter().take(MOST).enumerate().filter(|(_, count)| **count > 0) {
                let radius = largest * (f64::from(*count) / f64::from(most)).sqrt();
                let circle = Circle::new(
                    (x, ABOVE + middle(class)),
                    radius.max(1.0) as i32,
                    INK.mix(0.8).filled(),
                );
                area.draw(&circle)?;
            }
        }
        let said = format!("party; the largest circle is {most} {}", self.counted);
        area.draw_text(&said, &small.pos(at(HPos::Left)), (BESIDE, bottom + 34))?;
        area.draw_text("class", &small.pos(at(HPos::Left)), (12, ABOVE / 2 + 12))?;
        area.present()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_circle_a_party_and_class_that_has_rows_and_the_largest_is_named() {
        let divided = Divided {
            title: "rows of each party".to_owned(),
            counted: "rows",
            rows: vec![vec![4, 0, 1], vec![0, 16, 0]],
        };
        let svg = divided.svg();
        let document = roxmltree::Document::parse(&svg).unwrap();
        let radii: Vec<&str> = document
            .descendants()
            .filter(|node| node.has_tag_name("circle"))
            .filter_map(|node| node.attribute("r"))
            .collect();
        assert_eq!(radii, ["5", "2", "10"], "areas go with rows: a quarter and a sixteenth");
        assert!(svg.contains("the largest circle is 16 rows"));
        assert_eq!(svg, divided.svg());
    }
}
