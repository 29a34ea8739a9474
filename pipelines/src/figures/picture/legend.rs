//! What is drawn beside the means, in a line above the plot.

use super::{Area, INK, LEFT, LEGEND, LEGEND_LINE, LETTER, Line, Picture, SAMPLE, font};
use crate::figures::numbers::number;
use plotters::element::DashedPathElement;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// What stands before a name.
#[derive(Clone, Copy)]
enum Sample {
    Mean,
    Worst,
    Band,
    Target,
}

impl Picture {
    /// Draws it; says where it ends.
    pub(super) fn legend(&self, area: &Area<'_>) -> Result<i32, DrawingAreaErrorKind<std::io::Error>> {
        let mut entries: Vec<(String, Sample)> = Vec::new();
        if self.lines.iter().any(|line| !line.mean.is_empty()) {
            entries.push(("mean".to_owned(), Sample::Mean));
        }
        if self.lines.iter().any(|line| !line.worst.is_empty()) {
            entries.push((self.worst.to_owned(), Sample::Worst));
        }
        if self.lines.iter().any(Line::has_band) {
            entries.push(("range of seeds".to_owned(), Sample::Band));
        }
        if let Some(target) = self.target {
            entries.push((format!("target {}", number(target)), Sample::Target));
        }
        let mut x = LEFT;
        for (name, sample) in entries {
            let ends = [(x, LEGEND), (x + SAMPLE, LEGEND)];
            match sample {
                Sample::Mean => {
                    area.draw(&PathElement::new(ends, INK.stroke_width(3)))?;
                    area.draw(&Circle::new((x + SAMPLE / 2, LEGEND), 3, INK.filled()))?;
                }
                Sample::Worst => area.draw(&DashedPathElement::new(ends, 5, 4, INK.stroke_width(1)))?,
                Sample::Band => {
                    let corners = [(x, LEGEND - 7), (x + SAMPLE, LEGEND + 7)];
                    area.draw(&Rectangle::new(corners, INK.mix(0.18).filled()))?;
                }
                Sample::Target => area.draw(&PathElement::new(ends, INK.stroke_width(1)))?,
            }
            let text = font(17).pos(Pos::new(HPos::Left, VPos::Center));
            area.draw_text(&name, &text, (x + SAMPLE + 8, LEGEND))?;
            x += SAMPLE + 8 + LETTER * name.chars().count() as i32 + 20;
        }
        Ok(LEGEND + LEGEND_LINE)
    }
}
