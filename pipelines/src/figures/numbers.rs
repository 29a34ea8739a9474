//! Numbers as tables and axes show them. What is shown as zero has no sign, on whichever side of it the value is.

use crate::reached::Spread;

/// An accuracy: `.598`.
pub(crate) fn number(value: f64) -> String {
    let text = unsigned_zero(format!("{value:.3}"));
    match text.strip_prefix("-0.") {
        Some(digits) => format!("-.{digits}"),
        None => text.strip_prefix('0').map(ToOwned::to_owned).unwrap_or(text),
    }
}

/// A difference of accuracies: `+.098`.
pub(crate) fn signed(value: f64) -> String {
    let text = number(value);
    if text.starts_with('-') || text == ".000" {
        text
    } else {
        format!("+{text}")
    }
}

/// An amount by three figures or more, without exponents: `1234`, `12.3`, `0.00123`.
pub(crate) fn amount(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let decimals = (2 - value.abs().log10().floor() as i32).clamp(0, 12) as usize;
    unsigned_zero(format!("{value:.decimals$}"))
}

/// A number as it is written, without the minus where no digit of it is left.
fn unsigned_zero(text: String) -> String {
    match text.strip_prefix('-') {
        Some(digits) if digits.bytes().all(|digit| matches!(digit, b'0' | b'.')) => digits.to_owned(),
        _ => text,
    }
}

/// A mean over seeds and, in a column of its own, its standard deviation: `.598` and `± .012`.
pub(crate) fn over_seeds(spread: Option<Spread>, mean: fn(f64) -> String, deviation: fn(f64) -> String) -> [String; 2] {
    let own = spread.and_then(|spread| spread.deviation);
    [
        cell(spread.map(|spread| spread.mean), mean),
        own.map_or_else(String::new, |own| format!("± {}", deviation(own))),
    ]
}

/// What a table shows of a value that may not be there.
pub(crate) fn cell(value: Option<f64>, format: fn(f64) -> String) -> String {
    value.map_or_else(|| "–".to_owned(), format)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accuracies_have_three_decimals() {
        let numbers = [0.5984, 0.0, 1.0, -0.012, -0.0001].map(number);
        assert_eq!(numbers, [".598", ".000", "1.000", "-.012", ".000"]);
        assert_eq!(
            [0.0984, 0.0, -0.5, -0.0001].map(signed),
            ["+.098", ".000", "-.500", ".000"]
        );
    }

    #[test]
    fn what_is_shown_as_zero_has_no_sign_whatever_shows_it() {
        for zero in [0.0, -0.0, 0.0004, -0.0004] {
            assert_eq!([number(zero), signed(zero)], [".000", ".000"], "{zero}");
        }
        assert_eq!([0.0006, -0.0006].map(signed), ["+.001", "-.001"]);
        assert_eq!([-1.0, -0.9996].map(number), ["-1.000", "-1.000"]);
        assert_eq!([-0.0, -1e-30, -0.5].map(amount), ["0", "0.000000000000", "-0.500"]);
    }

    #[test]
    fn amounts_keep_three_figures_whatever_their_size() {
        let amounts = [0.0, 123_456.7, 999.7, 12.34, 0.001_234_5, 1e-30].map(amount);
        assert_eq!(amounts, ["0", "123457", "1000", "12.3", "0.00123", "0.000000000000"]);
    }

    #[test]
    fn one_seed_has_no_deviation() {
        let cells = |values: &[f64]| over_seeds(Spread::of(values), number, number);
        assert_eq!(cells(&[0.5, 0.6]), [".550", "± .071"]);
        assert_eq!(cells(&[0.5]), [".500", ""]);
        assert_eq!(cells(&[]), ["–", ""]);
    }
}
