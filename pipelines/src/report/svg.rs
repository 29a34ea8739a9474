//! Mean accuracy by round as a picture. It brings its own white ground, so that it reads the same on a dark page.

use super::axis::{self, Accuracy};
use super::summary::{Owner, Spread, Summary};
use plotters::coord::Shift;
use plotters::element::DashedPathElement;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

const SIZE: (u32, u32) = (800, 480);
/// Where the title's middle is, and the legend's first line.
const TITLE: i32 = 26;
const LEGEND: i32 = 54;
/// From one line of the legend to the next.
const LEGEND_LINE: i32 = 22;
/// The plot keeps this far from the left and the right of the picture.
const LEFT: i32 = 84;
const RIGHT: i32 = 28;
/// The axes' names keep this far from the edge.
const EDGE: i32 = 10;
/// The length of a line's sample in the legend.
const SAMPLE: i32 = 28;
/// About the width of a letter of the legend: the font is that of whoever looks.
const LETTER: i32 = 8;
/// The plot counts accuracy in whole millionths.
const FINE: f64 = 1e6;
const INK: RGBColor = RGBColor(50, 50, 50);
const GRID: RGBColor = RGBColor(225, 225, 225);
/// Okabe and Ito's colours, which colour-blind readers tell apart, the darker ones first.
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
];

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;

/// How a line of the chart is drawn.
#[derive(Clone, Copy)]
enum Look {
    Mean,
    Worst,
    Band,
}

impl Summary {
    /// A line chart of mean accuracy by round: a line a pipeline, the lowest slot dashed in the same colour, and with
    /// several seeds a band from the lowest to the highest of them. Equal results give equal bytes.
    pub(crate) fn svg(&self) -> String {
        let mut picture = String::new();
        let area = SVGBackend::with_string(&mut picture, SIZE).into_drawing_area();
        self.draw(&area).expect("a string takes what is written");
        drop(area);
        picture
    }

    fn draw(&self, area: &Area<'_>) -> Drawn {
        area.fill(&WHITE)?;
        let middle = Pos::new(HPos::Center, VPos::Center);
        let title = font(22).pos(middle);
        area.draw_text(&self.name, &title, (SIZE.0 as i32 / 2, TITLE))?;
        let below = self.legend(area)?;
        let plot = area.margin(below, EDGE, EDGE, RIGHT);
        self.plot(&plot)?;
        area.present()
    }

    fn plot(&self, area: &Area<'_>) -> Drawn {
        let (means, worsts): (Vec<_>, Vec<_>) = self.tracks.iter().map(|track| (track.means(), track.worsts())).unzip();
        let values = means.iter().flatten().flat_map(|(_, mean)| [mean.low, mean.high]);
        let lowest = worsts.iter().flatten().map(|(_, worst)| worst.mean);
        let scale = Accuracy::around(values.chain(lowest));
        let last = self.last();
        let rounds = axis::rounds(last, 20).into_iter().map(|round| round as i32).collect();
        let marks: Vec<i32> = scale.marks().map(fine).collect();
        let across = (0..last.max(1) as i32).with_key_points(rounds);
        let up = (marks[0]..marks[marks.len() - 1]).with_key_points(marks);
        let mut chart = ChartBuilder::on(area)
            .set_label_area_size(LabelAreaPosition::Left, LEFT - EDGE)
            .set_label_area_size(LabelAreaPosition::Bottom, 50)
            .build_cartesian_2d(across, up)?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID)
            .axis_style(INK)
            .label_style(font(17))
            .axis_desc_style(font(17))
            .x_desc("round")
            .y_desc("accuracy on the test set")
            .y_label_formatter(&|value| axis::number(f64::from(*value) / FINE))
            .draw()?;
        let points = |line: &[(u32, Spread)], of: fn(&Spread) -> f64| -> Vec<(i32, i32)> {
            let point = |(round, spread): &(u32, Spread)| (*round as i32, fine(of(spread)));
            line.iter().map(point).collect()
        };
        // The first pipeline is drawn last: it is the one to see where lines meet.
        for (index, mean) in means.iter().enumerate().rev() {
            if mean.iter().any(|(_, spread)| spread.low < spread.high) {
                let mut band = points(mean, |spread| spread.high);
                band.extend(points(mean, |spread| spread.low).into_iter().rev());
                chart.draw_series([Polygon::new(band, style(index, Look::Band))])?;
            }
        }
        for (index, worst) in worsts.iter().enumerate().rev() {
            let worst = points(worst, |spread| spread.mean);
            let dashes = DashedLineSeries::new(worst, 5, 4, style(index, Look::Worst));
            chart.draw_series(dashes)?;
        }
        for (index, mean) in means.iter().enumerate().rev() {
            let mean = points(mean, |spread| spread.mean);
            let dots = mean.iter().map(|point| Circle::new(*point, 3, colour(index).filled()));
            let dots: Vec<_> = dots.collect();
            chart.draw_series([PathElement::new(mean, style(index, Look::Mean))])?;
            chart.draw_series(dots)?;
        }
        Ok(())
    }

    /// The pipelines, then what else is drawn; says where it ends.
    fn legend(&self, area: &Area<'_>) -> Result<i32, DrawingAreaErrorKind<std::io::Error>> {
        let several = self.seeds().len() > 1;
        let mut entries: Vec<(&str, ShapeStyle)> = Vec::new();
        for (index, track) in self.tracks.iter().enumerate() {
            entries.push((&track.pipeline, style(index, Look::Mean)));
        }
        let parties = self.tracks.iter().any(|track| track.owner != Some(Owner::Server));
        let worst = if parties { "worst party" } else { "worst" };
        entries.push((worst, INK.stroke_width(1)));
        if several {
            entries.push(("range of seeds", INK.mix(0.18).filled()));
        }
        let length = |name: &str| SAMPLE + 8 + LETTER * name.chars().count() as i32 + 20;
        let (mut x, mut y) = (LEFT, LEGEND);
        for (name, style) in entries {
            if x > LEFT && x + length(name) > SIZE.0 as i32 {
                (x, y) = (LEFT, y + LEGEND_LINE);
            }
            let ends = [(x, y), (x + SAMPLE, y)];
            if style.filled {
                area.draw(&Rectangle::new([(x, y - 7), (x + SAMPLE, y + 7)], style))?;
            } else if style.stroke_width == 1 {
                area.draw(&DashedPathElement::new(ends, 5, 4, style))?;
            } else {
                area.draw(&PathElement::new(ends, style))?;
                area.draw(&Circle::new((x + SAMPLE / 2, y), 3, style.color.filled()))?;
            }
            let text = font(17).pos(Pos::new(HPos::Left, VPos::Center));
            area.draw_text(name, &text, (x + SAMPLE + 8, y))?;
            x += length(name);
        }
        Ok(y + LEGEND_LINE)
    }
}

fn fine(value: f64) -> i32 {
    (value * FINE).round() as i32
}

fn font(size: u32) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&INK)
}

fn colour(index: usize) -> RGBColor {
    COLOURS[index % COLOURS.len()]
}

fn style(index: usize, look: Look) -> ShapeStyle {
    match look {
        Look::Mean => colour(index).stroke_width(3),
        Look::Worst => colour(index).stroke_width(1),
        Look::Band => colour(index).mix(0.15).filled(),
    }
}
