//! Names of a grid's points, and how their values are written.
//!
//! In: keys and values of the grid. Out: `alpha0p1-epochs4`: letters, digits and hyphens alone, as names of runs have. It
//! follows from the keys and the point's own values, whatever stands beside or before them in the file, so that a grid
//! that is given more values has the same names for the points that it had.

use super::fields::LONGEST_NAME;
use crate::digest::Digest;
use toml::de::DeValue;

/// Digits of the digest that tells apart what would have one name.
const MARK: usize = 8;

/// A value on one line of TOML; values that are equal are written alike.
pub(super) fn written(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("{text:?}"),
        DeValue::Integer(number) => i128::from_str_radix(number.as_str(), number.radix())
            .map_or_else(|_| number.to_string(), |number| number.to_string()),
        DeValue::Float(number) => float(number.as_str()),
        DeValue::Boolean(truth) => truth.to_string(),
        DeValue::Datetime(date) => date.to_string(),
        DeValue::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| written(item.get_ref())).collect();
            format!("[{}]", items.join(", "))
        }
        DeValue::Table(entries) => {
            let entries: Vec<String> = entries
                .iter()
                .map(|(key, value)| format!("{} = {}", key.get_ref(), written(value.get_ref())))
                .collect();
            format!("{{ {} }}", entries.join(", "))
        }
    }
}

/// A number with few characters: 0.1, 1e-5.
fn float(text: &str) -> String {
    const LONG: usize = 6;
    let Ok(number) = text.parse::<f64>() else {
        return text.to_owned();
    };
    let plain = number.to_string();
    if plain.len() <= LONG {
        plain
    } else {
        format!("{number:e}")
    }
}

/// A value within a name; a point of a number is a `p`, its sign an `m`.
pub(super) fn word(value: &DeValue<'_>) -> String {
    clean(&raw(value))
}

fn raw(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => text.to_string(),
        DeValue::Integer(_) | DeValue::Float(_) => {
            let number = written(value).replace('.', "p");
            match number.strip_prefix('-') {
                Some(positive) => format!("m{positive}"),
                None => number,
            }
        }
        DeValue::Boolean(_) | DeValue::Datetime(_) => written(value),
        DeValue::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| raw(item.get_ref())).collect();
            items.join("-")
        }
        DeValue::Table(entries) => {
            let entries: Vec<String> = entries
                .iter()
                .map(|(key, value)| format!("{}-{}", key.get_ref(), raw(value.get_ref())))
                .collect();
            entries.join("-")
        }
    }
}

/// What a name may have of a text, with one hyphen for whatever else stands between.
fn clean(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for c in text.to_lowercase().chars() {
        if c.is_ascii_lowercase() || c.is_ascii_digit() {
            clean.push(c);
        } else if !clean.is_empty() && !clean.ends_with('-') {
            clean.push('-');
        }
    }
    clean.truncate(clean.trim_end_matches('-').len());
    clean
}

/// Each key's last part, or as many of its last parts as no other key ends in.
pub(super) fn labels(keys: &[Vec<&str>]) -> Vec<String> {
    let label = |(own, key): (usize, &Vec<&str>)| {
        let differs = |parts: &usize| {
            let mut others = keys.iter().enumerate().filter(|(at, _)| *at != own);
            others.all(|(_, other)| end(other, *parts) != end(key, *parts))
        };
        let parts = (1..=key.len()).find(differs).unwrap_or(key.len());
        clean(&end(key, parts).join("-"))
    };
    keys.iter().enumerate().map(label).collect()
}

/// The last parts of a key; all of them where there are no more.
fn end<'k>(key: &'k [&'k str], parts: usize) -> &'k [&'k str] {
    &key[key.len().saturating_sub(parts)..]
}

/// A label and its value's word: a number follows at once, as in `alpha0p1`, anything else after a hyphen.
pub(super) fn joined(label: &str, word: &str) -> String {
    let follows = label.ends_with(|c: char| c.is_ascii_lowercase()) && word.starts_with(|c: char| c.is_ascii_digit());
    match (label, word) {
        ("", one) | (one, "") => one.to_owned(),
        _ if follows => format!("{label}{word}"),
        _ => format!("{label}-{word}"),
    }
}

/// A few digits that follow from a point's keys and values.
pub(super) fn mark(values: &[(String, String)]) -> String {
    Digest::of_json(&values).to_string()[..MARK].to_owned()
}

/// The name of a point of a run file with that name. Where it would be too long, its end is left out, and `mark` tells it
/// from others.
pub(super) fn full(base: &str, point: &str, mark: &str) -> String {
    let name = if point.is_empty() {
        base.to_owned()
    } else {
        format!("{base}-{point}")
    };
    if name.len() <= LONGEST_NAME {
        return name;
    }
    // Both have ASCII alone.
    let kept = name[..LONGEST_NAME - MARK - 1].trim_end_matches('-');
    format!("{kept}-{mark}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> (String, String) {
        let value = DeValue::parse(text).unwrap();
        (written(value.get_ref()), word(value.get_ref()))
    }

    #[test]
    fn equal_values_are_written_alike_and_become_words() {
        for (text, expected, expected_word) in [
            ("0.1", "0.1", "0p1"),
            ("1e-1", "0.1", "0p1"),
            ("1_000", "1000", "1000"),
            ("1000.0", "1000", "1000"),
            ("0x10", "16", "16"),
            ("1e-8", "1e-8", "1e-8"),
            ("-5", "-5", "m5"),
            ("-0.5", "-0.5", "m0p5"),
            ("true", "true", "true"),
            ("\"self_digest\"", "\"self_digest\"", "self-digest"),
            (
                "[\"lenet\", \"cnn[16,32]\"]",
                "[\"lenet\", \"cnn[16,32]\"]",
                "lenet-cnn-16-32",
            ),
            ("\"fedmd[8,9;0.2]\"", "\"fedmd[8,9;0.2]\"", "fedmd-8-9-0-2"),
            (
                "{ kind = \"sgd\", lr = 0.1 }",
                "{ kind = \"sgd\", lr = 0.1 }",
                "kind-sgd-lr-0p1",
            ),
            (
                "{ lr = 1e-1, kind = 'sgd' }",
                "{ kind = \"sgd\", lr = 0.1 }",
                "kind-sgd-lr-0p1",
            ),
            ("\"Ü!\"", "\"Ü!\"", ""),
        ] {
            assert_eq!(of(text), (expected.to_owned(), expected_word.to_owned()), "{text}");
        }
    }

    #[test]
    fn keys_that_end_alike_say_more_of_themselves() {
        let labels = |keys: &[&str]| {
            let keys: Vec<Vec<&str>> = keys.iter().map(|key| key.split('.').collect()).collect();
            labels(&keys)
        };
        assert_eq!(labels(&["data.partition.alpha", "rounds"]), ["alpha", "rounds"]);
        assert_eq!(
            labels(&["steps.digest.epochs", "steps.revisit.epochs", "steps.revisit.batch"]),
            ["digest-epochs", "revisit-epochs", "batch"]
        );
        assert_eq!(labels(&["a.x.c", "b.x.c", "c"]), ["a-x-c", "b-x-c", "c"]);
        assert_eq!(labels(&["data.partition.per_party"]), ["per-party"]);
    }

    #[test]
    fn numbers_follow_letters_at_once_and_all_else_after_a_hyphen() {
        assert_eq!(joined("alpha", "0p1"), "alpha0p1");
        assert_eq!(joined("beta-1", "0p5"), "beta-1-0p5");
        assert_eq!(joined("labels", "union"), "labels-union");
        assert_eq!(joined("baselines", ""), "baselines");
    }

    #[test]
    fn a_name_that_would_be_too_long_is_cut_and_marked() {
        assert_eq!(full("tiny", "alpha0p1", "12345678"), "tiny-alpha0p1");
        assert_eq!(full("tiny", "", "12345678"), "tiny");
        let base = "b".repeat(48);
        assert_eq!(full(&base, "alpha0p1", "12345678").len(), 57);
        let cut = full(&base, "alpha0p1-epochs4", "12345678");
        assert_eq!(cut, format!("{base}-al-12345678"));
        assert_eq!(cut.len(), LONGEST_NAME);
        assert_eq!(
            full(&"b".repeat(60), "x", "12345678"),
            format!("{}-12345678", "b".repeat(51))
        );
    }

    #[test]
    fn a_mark_follows_from_keys_and_values() {
        let values = |value: &str| [("labels".to_owned(), value.to_owned())];
        assert_eq!(mark(&values("a")).len(), MARK);
        assert_eq!(mark(&values("a")), mark(&values("a")));
        assert_ne!(mark(&values("a")), mark(&values("b")));
    }
}
