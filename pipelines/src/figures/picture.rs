//! Mean accuracy of some methods as a picture: a line a method, with its name beside the plot. It brings its own white
//! ground, so that it reads the same on a dark page. Equal results give equal bytes.

#[cfg(test)]
mod tests;

use super::axis::{self, Accuracy};
use super::labels::apart;
use super::names;
use super::numbers::number;
use super::pens::{Pen, pens};
use crate::reached::Spread;
use plotters::coord::Shift;
use plotters::element::DashedPathElement;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// A picture whose labels have more letters than [`names::LONGEST`] is wider by them, so that the plot is not narrower.
const WIDTH: i32 = 800;
/// A picture of so many lines that their labels need more is higher.
const HEIGHT: i32 = 480;
/// Where the title's middle is, and the legend's first line.
const TITLE: i32 = 26;
const LEGEND: i32 = 54;
/// From one line of the legend to the next, and from one label to the next.
const LEGEND_LINE: i32 = 22;
const LABEL_LINE: i32 = 18;
/// The plot keeps this far from the left of the picture.
const LEFT: i32 = 84;
/// The axes' names keep this far from the edge.
const EDGE: i32 = 10;
/// The room below the plot, for the axis' numbers and its name.
const BELOW: i32 = 50;
/// From the plot to the labels: the room in which what leads from a line's end to its label bends.
const BEND: i32 = 20;
/// The length of a line's sample in the legend and before a label; of the latter where some are dashed.
const SAMPLE: i32 = 28;
const SHORT_SAMPLE: i32 = 14;
const DASHED_SAMPLE: i32 = 44;
/// About the width of a letter: the font is that of whoever looks.
const LETTER: i32 = 8;
/// The plot counts along both axes in whole millionths.
const FINE: f64 = 1e6;
pub(super) const INK: RGBColor = RGBColor(50, 50, 50);
pub(super) const GRID: RGBColor = RGBColor(225, 225, 225);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;

/// What is drawn.
#[derive(Debug)]
pub(crate) struct Picture {
    pub(crate) across: Across,
    /// What accuracies are on; empty where nothing is scored.
    pub(crate) test_set: String,
    /// The first one is drawn on top.
    pub(crate) lines: Vec<Line>,
    /// What the dashed lines are.
    pub(crate) worst: &'static str,
}

/// The axis from left to right; accuracy goes up.
#[derive(Debug)]
pub(crate) struct Across {
    name: String,
    /// Its right end; it begins at 0.
    end: f64,
    marks: Vec<(f64, String)>,
}

/// A method.
#[derive(Debug)]
pub(crate) struct Line {
    /// The run name.
    pub(crate) name: String,
    pub(crate) pipeline: String,
    /// How far across, and the accuracy there: a line of means, and with several seeds a band from the lowest to the highest.
    pub(crate) mean: Vec<(f64, Spread)>,
    /// A thin dashed line in the same colour.
    pub(crate) worst: Vec<(f64, f64)>,
}

/// What a line is called, and drawn with.
struct Key {
    label: String,
    pen: Pen,
}

/// How something of a method is drawn.
#[derive(Clone, Copy)]
enum Look {
    Mean,
    Worst,
    Band,
    /// From a line's end to its label.
    Leader,
}

impl Across {
    pub(crate) fn rounds(last: u32) -> Self {
        let marks = axis::rounds(last, 20).into_iter();
        Self {
            name: "round".to_owned(),
            end: f64::from(last.max(1)),
            marks: marks.map(|round| (f64::from(round), round.to_string())).collect(),
        }
    }

    /// An axis that ends where the largest amount is.
    pub(crate) fn amounts(name: String, largest: f64) -> Self {
        Self {
            name,
            end: if largest > 0.0 { largest } else { 1.0 },
            marks: axis::amounts(largest, 6),
        }
    }

    fn place(&self, value: f64) -> i32 {
        fine(value / self.end)
    }

    fn label(&self, place: i32) -> String {
        let mut marks = self.marks.iter();
        let found = marks.find(|(value, _)| self.place(*value) == place);
        found.map_or_else(String::new, |(_, label)| label.clone())
    }
}

impl Line {
    fn has_band(&self) -> bool {
        self.mean.iter().any(|(_, spread)| spread.low < spread.high)
    }
}

impl Picture {
    pub(crate) fn svg(&self) -> String {
        let mut picture = String::new();
        let keys = self.keys();
        let labels = LEGEND + LEGEND_LINE + LABEL_LINE * self.lines.len() as i32 + BELOW + EDGE;
        let width = WIDTH + LETTER * (longest(&keys) - names::LONGEST as i32).max(0);
        let size = (width as u32, HEIGHT.max(labels) as u32);
        let area = SVGBackend::with_string(&mut picture, size).into_drawing_area();
        self.draw(&area, width, &keys).expect("a string takes what is written");
        drop(area);
        picture
    }

    fn draw(&self, area: &Area<'_>, width: i32, keys: &[Key]) -> Drawn {
        area.fill(&WHITE)?;
        let middle = Pos::new(HPos::Center, VPos::Center);
        let title = font(22).pos(middle);
        area.draw_text(&self.title(), &title, (width / 2, TITLE))?;
        let below = self.legend(area)?;
        let names = LETTER * longest(keys);
        let plot = area.margin(below, EDGE, EDGE, BEND + sample(keys) + names + EDGE);
        self.plot(area, &plot, keys)?;
        area.present()
    }

    /// The run names.
    fn title(&self) -> String {
        let mut names: Vec<&str> = Vec::new();
        for line in &self.lines {
            if !names.contains(&line.name.as_str()) {
                names.push(&line.name);
            }
        }
        names::title(&names)
    }

    /// A key a line.
    fn keys(&self) -> Vec<Key> {
        let lines = self.lines.iter().map(|line| (&line.name[..], &line.pipeline[..]));
        let lines: Vec<(&str, &str)> = lines.collect();
        let keys = names::labels(&lines).into_iter().zip(pens(&lines));
        keys.map(|(label, pen)| Key { label, pen }).collect()
    }

    fn plot(&self, whole: &Area<'_>, area: &Area<'_>, keys: &[Key]) -> Drawn {
        let values = self.lines.iter().flat_map(|line| &line.mean);
        let values = values.flat_map(|(_, mean)| [mean.low, mean.high]);
        let lowest = self.lines.iter().flat_map(|line| &line.worst).map(|(_, worst)| *worst);
        let scale = Accuracy::around(values.chain(lowest));
        let marks: Vec<i32> = scale.marks().map(fine).collect();
        let up = (marks[0]..marks[marks.len() - 1]).with_key_points(marks);
        let places = self.across.marks.iter().map(|(value, _)| self.across.place(*value));
        let across = (0..fine(1.0)).with_key_points(places.collect());
        let up_name = match self.test_set.as_str() {
            "" => "accuracy".to_owned(),
            test_set => format!("accuracy on the test set '{test_set}'"),
        };
        let mut chart = ChartBuilder::on(area)
            .set_label_area_size(LabelAreaPosition::Left, LEFT - EDGE)
            .set_label_area_size(LabelAreaPosition::Bottom, BELOW)
            .build_cartesian_2d(across, up)?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID)
            .axis_style(INK)
            .label_style(font(17))
            .axis_desc_style(font(17))
            .x_desc(self.across.name.as_str())
            .y_desc(up_name)
            .x_label_formatter(&|place| self.across.label(*place))
            .y_label_formatter(&|value| number(f64::from(*value) / FINE))
            .draw()?;
        let points = |line: &Line, of: fn(&Spread) -> f64| -> Vec<(i32, i32)> {
            let point = |(across, spread): &(f64, Spread)| (self.across.place(*across), fine(of(spread)));
            line.mean.iter().map(point).collect()
        };
        // The first line is drawn last: it is the one to see where lines meet.
        let keyed = || self.lines.iter().zip(keys).rev();
        for (line, key) in keyed() {
            if line.has_band() {
                let mut band = points(line, |spread| spread.high);
                band.extend(points(line, |spread| spread.low).into_iter().rev());
                chart.draw_series([Polygon::new(band, style(key.pen, Look::Band))])?;
            }
        }
        for (line, key) in keyed() {
            let worst = line
                .worst
                .iter()
                .map(|(at, worst)| (self.across.place(*at), fine(*worst)));
            let worst: Vec<(i32, i32)> = worst.collect();
            let dashes = DashedLineSeries::new(worst, 5, 4, style(key.pen, Look::Worst));
            chart.draw_series(dashes)?;
        }
        let mut ends = Vec::new();
        for (line, key) in keyed() {
            let mean = points(line, |spread| spread.mean);
            let Some(end) = mean.last() else { continue };
            ends.push((key, chart.backend_coord(end)));
            // On every point of a dashed line they would fill its gaps.
            let has_dot = |at: usize| key.pen.dash.is_none() || at == 0 || at + 1 == mean.len();
            let dots = mean.iter().enumerate().filter(|(at, _)| has_dot(*at));
            let dots = dots.map(|(_, point)| Circle::new(*point, 3, key.pen.colour.filled()));
            let dots: Vec<_> = dots.collect();
            let drawn_with = style(key.pen, Look::Mean);
            if let Some((dash, gap)) = key.pen.dash {
                chart.draw_series(DashedLineSeries::new(mean, dash, gap, drawn_with))?;
            } else {
                chart.draw_series([PathElement::new(mean, drawn_with)])?;
            }
            chart.draw_series(dots)?;
        }
        ends.reverse();
        let (columns, rows) = chart.plotting_area().get_pixel_range();
        let wanted: Vec<i32> = ends.iter().map(|(_, (_, height))| *height).collect();
        let heights = apart(&wanted, LABEL_LINE, rows.start, rows.end);
        let sample = sample(keys);
        for ((key, end), height) in ends.into_iter().zip(heights) {
            // What leads to a label bends beside the plot. In it, it would look like data: a line that ends before the
            // plot does is told by the sample.
            if end.0 + EDGE >= columns.end {
                let bend = [end, (columns.end, end.1), (columns.end + BEND, height)];
                whole.draw(&PathElement::new(bend, style(key.pen, Look::Leader)))?;
            }
            label(whole, key, sample, (columns.end + BEND, height))?;
        }
        Ok(())
    }

    /// What is drawn beside the means; says where it ends.
    fn legend(&self, area: &Area<'_>) -> Result<i32, DrawingAreaErrorKind<std::io::Error>> {
        let mut entries: Vec<(&str, ShapeStyle)> = Vec::new();
        if self.lines.iter().any(|line| !line.mean.is_empty()) {
            entries.push(("mean", INK.stroke_width(3)));
        }
        if self.lines.iter().any(|line| !line.worst.is_empty()) {
            entries.push((self.worst, INK.stroke_width(1)));
        }
        if self.lines.iter().any(Line::has_band) {
            entries.push(("range of seeds", INK.mix(0.18).filled()));
        }
        let mut x = LEFT;
        for (name, style) in entries {
            let ends = [(x, LEGEND), (x + SAMPLE, LEGEND)];
            if style.filled {
                let corners = [(x, LEGEND - 7), (x + SAMPLE, LEGEND + 7)];
                area.draw(&Rectangle::new(corners, style))?;
            } else if style.stroke_width == 1 {
                area.draw(&DashedPathElement::new(ends, 5, 4, style))?;
            } else {
                area.draw(&PathElement::new(ends, style))?;
                area.draw(&Circle::new((x + SAMPLE / 2, LEGEND), 3, style.color.filled()))?;
            }
            let text = font(17).pos(Pos::new(HPos::Left, VPos::Center));
            area.draw_text(name, &text, (x + SAMPLE + 8, LEGEND))?;
            x += SAMPLE + 8 + LETTER * name.chars().count() as i32 + 20;
        }
        Ok(LEGEND + LEGEND_LINE)
    }
}

fn fine(value: f64) -> i32 {
    (value * FINE).round() as i32
}

pub(super) fn font(size: u32) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&INK)
}

/// The letters of the longest label.
fn longest(keys: &[Key]) -> i32 {
    let letters = keys.iter().map(|key| key.label.chars().count());
    letters.max().unwrap_or(0) as i32
}

/// How long the samples before the labels are: a dashed one must show its dashes.
fn sample(keys: &[Key]) -> i32 {
    if keys.iter().any(|key| key.pen.dash.is_some()) {
        DASHED_SAMPLE
    } else {
        SHORT_SAMPLE
    }
}

/// A line's sample and name beside the plot.
fn label(area: &Area<'_>, key: &Key, sample: i32, (x, y): (i32, i32)) -> Drawn {
    let (ends, drawn_with) = ([(x, y), (x + sample, y)], style(key.pen, Look::Mean));
    if let Some((dash, gap)) = key.pen.dash {
        area.draw(&DashedPathElement::new(ends, dash, gap, drawn_with))?;
    } else {
        area.draw(&PathElement::new(ends, drawn_with))?;
    }
    let text = font(17).pos(Pos::new(HPos::Left, VPos::Center));
    area.draw_text(&key.label, &text, (x + sample + 6, y))
}

fn style(pen: Pen, look: Look) -> ShapeStyle {
    match look {
        Look::Mean => pen.colour.stroke_width(3),
        Look::Worst => pen.colour.stroke_width(1),
        Look::Band => pen.colour.mix(0.15).filled(),
        Look::Leader => pen.colour.mix(0.4).stroke_width(1),
    }
}
