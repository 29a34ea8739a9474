//! The axes of both charts: round numbers around the values, whole rounds.

/// Steps of accuracy between two marks, in thousandths. The smallest keeps noise from looking like a difference.
const STEPS: [u32; 6] = [5, 10, 20, 50, 100, 200];
/// The most steps on the axis of accuracy.
const INTERVALS: u32 = 6;

/// An axis of accuracy, in thousandths: from `low` to `high`, both marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Accuracy {
    pub(super) low: u32,
    pub(super) high: u32,
    pub(super) step: u32,
}

impl Accuracy {
    /// The shortest axis that holds all values, which are between 0 and 1.
    pub(super) fn around(values: impl IntoIterator<Item = f64>) -> Self {
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

    /// How many steps it has.
    pub(super) fn intervals(self) -> u32 {
        (self.high - self.low) / self.step
    }

    /// The marks, from the lowest.
    pub(super) fn marks(self) -> impl Iterator<Item = f64> {
        (0..=self.intervals()).map(move |mark| f64::from(self.low + mark * self.step) / 1000.0)
    }

    /// Where a value is: 0 at the low end, 1 at the high end.
    pub(super) fn place(self, value: f64) -> f64 {
        (value * 1000.0 - f64::from(self.low)) / f64::from(self.high - self.low)
    }
}

/// The rounds that get a mark: whole ones from 0, at most `most` of them.
pub(super) fn rounds(last: u32, most: u32) -> Vec<u32> {
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

/// An accuracy as the tables and axes show it: `.598`.
pub(super) fn number(value: f64) -> String {
    let text = format!("{value:.3}");
    match text.strip_prefix("-0.") {
        Some("000") => ".000".to_owned(),
        Some(digits) => format!("-.{digits}"),
        None => text.strip_prefix('0').map(ToOwned::to_owned).unwrap_or(text),
    }
}

/// A difference of accuracies: `+.098`.
pub(super) fn signed(value: f64) -> String {
    let text = number(value);
    if text.starts_with('-') || text == ".000" {
        text
    } else {
        format!("+{text}")
    }
}
