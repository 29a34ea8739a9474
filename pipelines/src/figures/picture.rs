//! Mean accuracy of some methods as a picture: a line a method, with its name beside the plot. It brings its own white
//! ground, so that it reads the same on a dark page. Lines that leave the axis are cut at the plot's edge, and small print
//! says how many points are outside. Equal results give equal bytes.

mod across;
mod legend;
#[cfg(test)]
mod tests;

pub(crate) use across::Across;

use super::axis::Accuracy;
use super::clip::{Heights, Point, crossings, held, is_within, parts};
use super::labels::apart;
use super::names;
use super::numbers::number;
use super::pens::{Pen, pens};
use crate::estimate::counted;
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
/// The room for small print at the bottom, where there is any.
const SMALL: i32 = 18;
/// Half the width of the mark where a line goes over the plot's edge, and its height.
const MARK: Point = (5, 8);
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
/// Where in the picture a point of the plot is.
type Placing<'a> = &'a dyn Fn(Point) -> Point;

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
    /// A mean accuracy that is marked by a line across the plot.
    pub(crate) target: Option<f64>,
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

impl Line {
    fn has_band(&self) -> bool {
        self.mean.iter().any(|(_, spread)| spread.low < spread.high)
    }
}

impl Picture {
    pub(crate) fn svg(&self) -> String {
        let mut picture = String::new();
        let keys = self.keys();
        let scale = self.scale();
        let small = self.outside(scale);
        let labels = LEGEND + LEGEND_LINE + LABEL_LINE * self.lines.len() as i32 + BELOW + EDGE;
        let labels = labels + small.as_ref().map_or(0, |_| SMALL);
        let width = WIDTH + LETTER * (longest(&keys) - names::LONGEST as i32).max(0);
        let size = (width as u32, HEIGHT.max(labels) as u32);
        let area = SVGBackend::with_string(&mut picture, size).into_drawing_area();
        let drawn = self.draw(&area, &keys, scale, small.as_deref());
        drawn.expect("a string takes what is written");
        drop(area);
        picture
    }

    fn draw(&self, area: &Area<'_>, keys: &[Key], scale: Accuracy, small: Option<&str>) -> Drawn {
        let (width, height) = area.dim_in_pixel();
        area.fill(&WHITE)?;
        let middle = Pos::new(HPos::Center, VPos::Center);
        let title = font(22).pos(middle);
        area.draw_text(&self.title(), &title, (width as i32 / 2, TITLE))?;
        let top = self.legend(area)?;
        let mut bottom = EDGE;
        if let Some(small) = small {
            let text = font(14).pos(Pos::new(HPos::Left, VPos::Center));
            area.draw_text(small, &text, (LEFT, height as i32 - EDGE - SMALL / 2))?;
            bottom += SMALL;
        }
        let names = LETTER * longest(keys);
        let plot = area.margin(top, bottom, EDGE, BEND + sample(keys) + names + EDGE);
        self.plot(area, &plot, keys, scale)?;
        area.present()
    }

    /// The axis of accuracy.
    fn scale(&self) -> Accuracy {
        Accuracy::of_lines(&self.ranges(), self.target)
    }

    /// The lowest and the highest value at each point of each line, of means and of dashed lines.
    fn ranges(&self) -> Vec<Vec<(f64, f64)>> {
        let means = self.lines.iter().map(|line| {
            let points = line.mean.iter();
            points
                .map(|(_, spread)| (spread.low, spread.high))
                .collect::<Vec<(f64, f64)>>()
        });
        let worsts = self.lines.iter().map(|line| {
            let points = line.worst.iter();
            points.map(|(_, worst)| (*worst, *worst)).collect::<Vec<(f64, f64)>>()
        });
        means.chain(worsts).collect()
    }

    /// Small print on the points that are not in the plot, or whose lowest or highest seed is not; none where all are.
    fn outside(&self, scale: Accuracy) -> Option<String> {
        let is_outside = |value: &f64| !is_within((0, fine(*value)), heights(scale));
        let ranges = self.ranges().into_iter().flatten();
        let outside: Vec<Vec<f64>> = ranges
            .map(|(low, high)| [low, high].into_iter().filter(is_outside).collect::<Vec<f64>>())
            .filter(|values| !values.is_empty())
            .collect();
        let values = || outside.iter().flatten().copied();
        let [low, high] = [values().reduce(f64::min)?, values().reduce(f64::max)?].map(number);
        let at = if low == high {
            format!("at {low}")
        } else {
            format!("from {low} to {high}")
        };
        Some(format!("outside the plot: {}, {at}", counted(outside.len(), "point")))
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

    fn plot(&self, whole: &Area<'_>, area: &Area<'_>, keys: &[Key], scale: Accuracy) -> Drawn {
        let marks: Vec<i32> = scale.marks().map(fine).collect();
        let [low, high] = heights(scale);
        let up = (low..high).with_key_points(marks);
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
        let place = |point: Point| chart.backend_coord(&point);
        if let Some(target) = self.target.map(fine) {
            let ends = [place((0, target)), place((fine(1.0), target))];
            whole.draw(&PathElement::new(ends, INK.stroke_width(1)))?;
        }
        self.bands(whole, keys, [low, high], &place)?;
        let ends = self.means(whole, keys, [low, high], &place)?;
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

    /// The lines with their keys, in the order in which they are drawn: the first one last, to be seen where lines meet.
    fn keyed<'a>(&'a self, keys: &'a [Key]) -> impl Iterator<Item = (&'a Line, &'a Key)> {
        self.lines.iter().zip(keys).rev()
    }

    /// A line's points as the plot counts, at one of the figures over seeds.
    fn points(&self, line: &Line, of: fn(&Spread) -> f64) -> Vec<Point> {
        let point = |(across, spread): &(f64, Spread)| (self.across.place(*across), fine(of(spread)));
        line.mean.iter().map(point).collect()
    }

    /// What is behind the means: the bands, and the dashed lines of the lowest slots.
    fn bands(&self, area: &Area<'_>, keys: &[Key], heights: Heights, place: Placing<'_>) -> Drawn {
        for (line, key) in self.keyed(keys) {
            if line.has_band() {
                let mut band = held(&self.points(line, |spread| spread.high), heights);
                let lowest = held(&self.points(line, |spread| spread.low), heights);
                band.extend(lowest.into_iter().rev());
                let band: Vec<Point> = band.into_iter().map(place).collect();
                area.draw(&Polygon::new(band, style(key.pen, Look::Band)))?;
            }
        }
        for (line, key) in self.keyed(keys) {
            let worst = line.worst.iter();
            let worst: Vec<Point> = worst
                .map(|(at, worst)| (self.across.place(*at), fine(*worst)))
                .collect();
            for part in parts(&worst, heights) {
                let part: Vec<Point> = part.into_iter().map(place).collect();
                area.draw(&DashedPathElement::new(part, 5, 4, style(key.pen, Look::Worst)))?;
            }
            marks(area, &crossings(&worst, heights), key.pen, heights, place)?;
        }
        Ok(())
    }

    /// The means; says where each ends in the picture, in the order of the lines.
    fn means<'a>(
        &'a self,
        area: &Area<'_>,
        keys: &'a [Key],
        heights: Heights,
        place: Placing<'_>,
    ) -> Result<Vec<(&'a Key, Point)>, DrawingAreaErrorKind<std::io::Error>> {
        let mut ends = Vec::new();
        for (line, key) in self.keyed(keys) {
            let mean = self.points(line, |spread| spread.mean);
            let Some(end) = mean.last() else { continue };
            ends.push((key, place(*end)));
            for part in parts(&mean, heights) {
                stroke(area, part.into_iter().map(place).collect(), key.pen)?;
            }
            // On every point of a dashed line they would fill its gaps.
            let has_dot = |at: usize| key.pen.dash.is_none() || at == 0 || at + 1 == mean.len();
            let dots = mean.iter().enumerate().filter(|(at, _)| has_dot(*at));
            for (_, point) in dots.filter(|(_, point)| is_within(**point, heights)) {
                area.draw(&Circle::new(place(*point), 3, key.pen.colour.filled()))?;
            }
            marks(area, &crossings(&mean, heights), key.pen, heights, place)?;
        }
        ends.reverse();
        Ok(ends)
    }
}

/// Where the heights of an axis' ends are, as the plot counts.
fn heights(scale: Accuracy) -> Heights {
    [scale.low, scale.high].map(|end| fine(f64::from(end) / 1000.0))
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
    stroke(area, vec![(x, y), (x + sample, y)], key.pen)?;
    let text = font(17).pos(Pos::new(HPos::Left, VPos::Center));
    area.draw_text(&key.label, &text, (x + sample + 6, y))
}

/// A line of means, with the dashes of its pen.
fn stroke(area: &Area<'_>, points: Vec<Point>, pen: Pen) -> Drawn {
    let drawn_with = style(pen, Look::Mean);
    if let Some((dash, gap)) = pen.dash {
        area.draw(&DashedPathElement::new(points, dash, gap, drawn_with))
    } else {
        area.draw(&PathElement::new(points, drawn_with))
    }
}

/// Marks that point out of the plot where a line goes over its edge.
fn marks(area: &Area<'_>, crossings: &[Point], pen: Pen, heights: Heights, place: Placing<'_>) -> Drawn {
    for crossing in crossings {
        let (x, y) = place(*crossing);
        let inwards = if crossing.1 == heights[0] { -MARK.1 } else { MARK.1 };
        let corners = vec![(x - MARK.0, y + inwards), (x + MARK.0, y + inwards), (x, y)];
        area.draw(&Polygon::new(corners, pen.colour.filled()))?;
    }
    Ok(())
}

fn style(pen: Pen, look: Look) -> ShapeStyle {
    match look {
        Look::Mean => pen.colour.stroke_width(3),
        Look::Worst => pen.colour.stroke_width(1),
        Look::Band => pen.colour.mix(0.15).filled(),
        Look::Leader => pen.colour.mix(0.4).stroke_width(1),
    }
}
