//! The axes of charts and pictures: round numbers around accuracies, whole rounds, round amounts.

/// Steps of accuracy between two marks, in thousandths. The smallest keeps noise from looking like a difference.
const STEPS: [u32; 6] = [5, 10, 20, 50, 100, 200];
/// The most steps on the axis of accuracy.
const INTERVALS: u32 = 6;
/// Points of the first half of lines are left outside where values so many times as far apart as those of the second half
/// have no place with them.
const FINER: f64 = 3.0;
/// The least that the second halves count as far apart: what is closer is not worth more of the picture.
const CLOSE: f64 = 0.02;
/// The fewest points of a line that are never left outside, if it has so many.
const FEWEST: usize = 3;

/// An axis of accuracy, in thousandths: from `low` to `high`, both marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Accuracy {
    pub(crate) low: u32,
    pub(crate) high: u32,
    pub(crate) step: u32,
}

impl Accuracy {
    /// The shortest axis that holds all values, which are between 0 and 1.
    pub(crate) fn around(values: impl IntoIterator<Item = f64>) -> Self {
        let (low, high) = values.into_iter().fold((1.0_f64, 0.0_f64), |(low, high), value| {
            (low.min(value), high.max(value))
        });
        // A value that is a mark but for its last bit stays on it.
        let (low, high) = (low.min(high) * 1000.0 + 1e-6, high * 1000.0 - 1e-6);
        let (low, high) = (low.floor() as u32, high.ceil() as u32);
        let fitting = STEPS.into_iter().map(|step| {
            let low = low / step * step;
            let high = high.next_multiple_of(step).max(low + step);
            let below = high.saturating_sub(1000);
            Self {
                low: low - below,
                high: high - below,
                step,
            }
        });
        let short = |axis: &Self| (axis.high - axis.low) / axis.step <= INTERVALS;
        fitting.into_iter().find(short).unwrap_or(Self {
            low: 0,
            high: 1000,
            step: 200,
        })
    }

    /// The axis of lines, each of the lowest and highest value at its points from left to right. It holds the `target`, the
    /// second half of every line, and its last three points. Where these take less than a third of what all points would,
    /// as models that nobody has trained do at first, the fewest points at the beginning of every line are left outside
    /// with which the rest takes at most three times as much as the second halves do.
    pub(crate) fn of_lines(lines: &[Vec<(f64, f64)>], target: Option<f64>) -> Self {
        let held = |left_out: usize| {
            let own = move |line: &Vec<(f64, f64)>| left_out.min(line.len() / 2).min(line.len().saturating_sub(FEWEST));
            let points = lines.iter().flat_map(move |line| &line[own(line)..]);
            points.flat_map(|(low, high)| [*low, *high]).chain(target)
        };
        let apart = |left_out: usize| {
            let (low, high) = held(left_out).fold((1.0_f64, 0.0_f64), |(low, high), value| {
                (low.min(value), high.max(value))
            });
            high - low
        };
        let longest = lines.iter().map(Vec::len).max().unwrap_or(0);
        let most = FINER * apart(longest).max(CLOSE);
        let left_out = (0..longest).find(|left_out| apart(*left_out) <= most);
        Self::around(held(left_out.unwrap_or(0)))
    }

    /// How many steps it has.
    pub(crate) fn intervals(self) -> u32 {
        (self.high - self.low) / self.step
    }

    /// The marks, from the lowest.
    pub(crate) fn marks(self) -> impl Iterator<Item = f64> {
        (0..=self.intervals()).map(move |mark| f64::from(self.low + mark * self.step) / 1000.0)
    }

    /// Where a value is: 0 at the low end, 1 at the high end.
    pub(crate) fn place(self, value: f64) -> f64 {
        (value * 1000.0 - f64::from(self.low)) / f64::from(self.high - self.low)
    }
}

/// The rounds that get a mark: whole ones from 0, at most `most` of them.
pub(crate) fn rounds(last: u32, most: u32) -> Vec<u32> {
    let mut step = 1;
    for factor in [2, 5, 10].into_iter().cycle() {
        if last / step < most {
            break;
        }
        let scale = 10_u32.pow(step.ilog10());
        step = scale.saturating_mul(factor);
    }
    (0..=last).step_by(step as usize).collect()
}

/// The amounts that get a mark, from 0 to at most `end`, and their labels: 1, 2 or 5 times a power of ten apart, at most
/// `most` of them above 0. None where there is next to nothing up to `end`.
pub(crate) fn amounts(end: f64, most: u32) -> Vec<(f64, String)> {
    if !end.is_finite() || end < 1e-12 {
        return Vec::new();
    }
    let least = end / f64::from(most.max(1));
    let mut power = least.log10().floor() as i32;
    let mut factors = [1.0, 2.0, 5.0, 10.0].into_iter();
    // The last factor is always enough, but for the last bit of a logarithm.
    let mut factor = factors
        .find(|factor| factor * 10.0_f64.powi(power) >= least * (1.0 - 1e-9))
        .unwrap_or(10.0);
    if factor >= 10.0 {
        (factor, power) = (1.0, power + 1);
    }
    let decimals = power.min(0).unsigned_abs() as usize;
    let step = factor * 10.0_f64.powi(power);
    let count = (end / step * (1.0 + 1e-9)).floor() as u32;
    let mark = |index: u32| {
        let value = f64::from(index) * step;
        let label = if index == 0 {
            "0".to_owned()
        } else {
            format!("{value:.decimals$}")
        };
        (value, label)
    };
    (0..=count).map(mark).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_holds_its_values_and_is_short() {
        let around = |low: f64, high: f64| {
            let axis = Accuracy::around([low, high]);
            (axis.low, axis.high, axis.step)
        };
        assert_eq!(around(0.5, 0.6), (500, 600, 20));
        assert_eq!(around(0.49 + 0.01, 0.1 + 0.2), (300, 500, 50));
        assert_eq!(around(0.5, 0.5), (500, 505, 5));
        assert_eq!(around(0.0, 0.0), (0, 5, 5));
        assert_eq!(around(1.0, 1.0), (995, 1000, 5));
        assert_eq!(around(0.0, 1.0), (0, 1000, 200));
        for low in 0..=100 {
            for high in low..=100 {
                let (low, high) = (f64::from(low) / 100.0, f64::from(high) / 100.0);
                let axis = Accuracy::around([low, high]);
                assert!(axis.place(low) > -1e-9 && axis.place(high) < 1.0 + 1e-9, "{axis:?}");
                assert!(axis.intervals() <= 6 && axis.high <= 1000, "{axis:?}");
            }
        }
    }

    fn ends(lines: &[Vec<(f64, f64)>], target: Option<f64>) -> (u32, u32) {
        let axis = Accuracy::of_lines(lines, target);
        (axis.low, axis.high)
    }

    /// A line of one seed.
    fn line(values: &[f64]) -> Vec<(f64, f64)> {
        values.iter().map(|value| (*value, *value)).collect()
    }

    #[test]
    fn models_that_nobody_has_trained_do_not_flatten_the_lines_of_later_rounds() {
        let untrained = line(&[
            0.02, 0.935, 0.960, 0.966, 0.970, 0.972, 0.974, 0.976, 0.978, 0.979, 0.980,
        ]);
        let pretrained = line(&[
            0.945, 0.955, 0.958, 0.960, 0.961, 0.962, 0.963, 0.964, 0.965, 0.965, 0.965,
        ]);
        assert_eq!(ends(&[untrained.clone(), pretrained.clone()], None), (930, 980));
        // Of many rounds more than the first: no more than makes the axis three times as fine.
        let risen = |round: i32| 0.97 - 0.9 * 0.8_f64.powi(round);
        let slow: Vec<f64> = (0..=100).map(risen).collect();
        let (low, high) = ends(&[line(&slow)], None);
        assert_eq!((low, high), (920, 970));
        // A target that is asked for has its place.
        assert_eq!(ends(&[untrained.clone(), pretrained], Some(0.9)).0, 900);
        assert_eq!(ends(&[untrained], Some(0.5)).0, 0);
    }

    #[test]
    fn an_axis_leaves_nothing_outside_where_that_would_show_little_more() {
        // Lines that rise all the time, or end far apart.
        assert_eq!(ends(&[line(&[0.1, 0.2, 0.3, 0.4, 0.5, 0.6])], None), (100, 600));
        let apart = [line(&[0.0, 0.8, 0.9, 0.9, 0.9]), line(&[0.0, 0.3, 0.4, 0.4, 0.4])];
        assert_eq!(ends(&apart, None).0, 0);
        // What falls late is what is to be seen.
        assert_eq!(ends(&[line(&[0.9, 0.9, 0.9, 0.9, 0.1])], None).0, 0);
        // Three points are no more than a line has to have.
        assert_eq!(ends(&[line(&[0.1, 0.9, 0.9])], None).0, 0);
        assert_eq!(ends(&[line(&[0.1, 0.9, 0.9, 0.9])], None), (900, 905));
        assert_eq!(ends(&[line(&[0.5]), Vec::new()], None), (500, 505));
        // A band's lowest seed counts as its mean does.
        let band = vec![(0.1, 0.2), (0.3, 0.5), (0.4, 0.5), (0.4, 0.5), (0.3, 0.5)];
        assert_eq!(ends(&[band], None).0, 100);
    }

    #[test]
    fn marks_are_whole_rounds() {
        assert_eq!(rounds(0, 10), [0]);
        assert_eq!(rounds(5, 10), [0, 1, 2, 3, 4, 5]);
        assert_eq!(rounds(12, 10), [0, 2, 4, 6, 8, 10, 12]);
        assert_eq!(rounds(100, 10), [0, 20, 40, 60, 80, 100]);
    }

    #[test]
    fn marks_of_amounts_are_round_and_few() {
        let labels = |end: f64| -> Vec<String> { amounts(end, 5).into_iter().map(|(_, label)| label).collect() };
        assert_eq!(labels(0.0013), ["0", "0.0005", "0.0010"]);
        assert_eq!(labels(1.0), ["0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(labels(430.0), ["0", "100", "200", "300", "400"]);
        assert_eq!(labels(2500.0), ["0", "500", "1000", "1500", "2000", "2500"]);
        assert!(labels(0.0).is_empty() && labels(f64::NAN).is_empty());
        for exponent in -9..9 {
            for tenths in 10..100 {
                let end = f64::from(tenths) / 10.0 * 10.0_f64.powi(exponent);
                let marks = amounts(end, 5);
                assert!((2..=6).contains(&marks.len()), "{end}: {marks:?}");
                assert!(
                    marks.iter().all(|(mark, _)| *mark <= end * (1.0 + 1e-6)),
                    "{end}: {marks:?}"
                );
            }
        }
    }
}
