//! Durations as a person writes them: a whole number and its unit, as in `90s` or `10m`.

use std::time::Duration;

/// A text that is no usable duration, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotADuration {
    #[error("a whole number is expected before its unit")]
    Number,
    #[error("its unit is missing")]
    NoUnit,
    #[error("its unit is none of ms, s, m, h, d")]
    Unit,
    #[error("it is zero")]
    Zero,
    #[error("it is too long")]
    TooLong,
}

/// Reads `<whole number><unit>`, with the units ms, s, m, h and d.
pub(super) fn parse(text: &str) -> Result<Duration, NotADuration> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err(NotADuration::Number);
    }
    let millis: u64 = match unit.trim() {
        "ms" => 1,
        "s" => 1000,
        "m" => 60 * 1000,
        "h" => 3600 * 1000,
        "d" => 24 * 3600 * 1000,
        "" => return Err(NotADuration::NoUnit),
        unit if unit.starts_with(['.', ',']) => return Err(NotADuration::Number),
        _ => return Err(NotADuration::Unit),
    };
    // A log's clock counts signed milliseconds.
    let total = number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(millis))
        .filter(|total| i64::try_from(*total).is_ok())
        .ok_or(NotADuration::TooLong)?;
    match total {
        0 => Err(NotADuration::Zero),
        total => Ok(Duration::from_millis(total)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_whole_number_and_a_unit() {
        for (text, seconds) in [("90s", 90), ("10m", 600), ("2h", 7200), ("1d", 86400), (" 5 m ", 300)] {
            assert_eq!(parse(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(parse("250ms"), Ok(Duration::from_millis(250)));
    }

    #[test]
    fn anything_else_says_why_not() {
        for (text, why) in [
            ("", NotADuration::Number),
            ("m", NotADuration::Number),
            ("-5m", NotADuration::Number),
            ("1.5h", NotADuration::Number),
            ("10", NotADuration::NoUnit),
            ("10min", NotADuration::Unit),
            ("10M", NotADuration::Unit),
            ("1h30m", NotADuration::Unit),
            ("0s", NotADuration::Zero),
            ("99999999999999999999s", NotADuration::TooLong),
            ("999999999999d", NotADuration::TooLong),
        ] {
            assert_eq!(parse(text), Err(why), "{text}");
        }
    }
}
