//! What a party counts by, as it stands in files: a word, or a list of numbers.

use super::By;
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

const SAMPLES: &str = "samples";
const PARTIES: &str = "parties";

/// The least weight above 0, over the largest one: 2^-30. Sums round weights to multiples of 2^-40 of the largest, so that
/// what is less would count by another number than is written, or by none.
const LEAST: f64 = 1.0 / (1u64 << 30) as f64;

impl By {
    /// Whether these are weights that parties can count by: finite, none below 0, one above it, and none that is too small
    /// ([`By::too_small`]).
    pub fn are_weights(slots: &[f64]) -> bool {
        are_numbers(slots) && slots.iter().any(|weight| *weight > 0.0) && Self::too_small(slots).is_none()
    }

    /// The first weight above 0 that is less than 2^-30 of the largest; `None` where there is none, or where they are no
    /// numbers that parties could count by.
    pub fn too_small(slots: &[f64]) -> Option<f64> {
        let largest = slots.iter().copied().fold(0.0, f64::max);
        let small = |weight: &f64| *weight > 0.0 && *weight / largest < LEAST;
        are_numbers(slots).then(|| slots.iter().copied().find(small)).flatten()
    }
}

fn are_numbers(slots: &[f64]) -> bool {
    slots.iter().all(|weight| weight.is_finite() && *weight >= 0.0)
}

impl Serialize for By {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Samples => serializer.serialize_str(SAMPLES),
            Self::Parties => serializer.serialize_str(PARTIES),
            Self::Slots(weights) => serializer.collect_seq(weights),
        }
    }
}

impl<'de> Deserialize<'de> for By {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = By;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{SAMPLES}\", \"{PARTIES}\" or a list of numbers")
    }

    fn visit_str<E: Error>(self, word: &str) -> Result<By, E> {
        match word {
            SAMPLES => Ok(By::Samples),
            PARTIES => Ok(By::Parties),
            _ => Err(E::unknown_variant(word, &[SAMPLES, PARTIES])),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<By, A::Error> {
        let mut weights = Vec::new();
        while let Some(weight) = list.next_element()? {
            weights.push(weight);
        }
        Ok(By::Slots(weights))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Rule;
    use super::*;

    #[test]
    fn words_and_numbers_survive_their_files() {
        for (by, json) in [
            (By::Samples, "{\"weights\":\"samples\"}"),
            (By::Parties, "{\"weights\":\"parties\"}"),
            (By::Slots(vec![1.0, 0.0, 0.5]), "{\"weights\":[1.0,0.0,0.5]}"),
        ] {
            let rule = Rule::Weights(by);
            assert_eq!(crate::canonical_json(&rule), json);
            assert_eq!(serde_json::from_str::<Rule>(json).unwrap(), rule);
        }
        let whole: Rule = serde_json::from_str("{\"weights\":[1,0,0.5]}").unwrap();
        assert_eq!(whole, Rule::Weights(By::Slots(vec![1.0, 0.0, 0.5])));
        for (json, why) in [
            ("{\"weights\":\"rows\"}", "unknown variant `rows`"),
            ("{\"weights\":3}", "or a list of numbers"),
        ] {
            let error = serde_json::from_str::<Rule>(json).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn weights_are_finite_none_below_0_one_above_and_none_far_below_the_largest() {
        for good in [
            &[1.0][..],
            &[0.0, 0.5],
            &[3.0, 0.0, 3e-9],
            &[3e-300, 1e-301],
            &[1e308, 1e308],
            &[1.0, LEAST],
        ] {
            assert!(By::are_weights(good), "{good:?}");
        }
        for bad in [
            &[0.0; 0][..],
            &[0.0, 0.0],
            &[1.0, -0.5],
            &[1.0, f64::NAN],
            &[f64::INFINITY],
            &[3.0, 0.0, 1e-300],
            &[1.0, LEAST / 2.0],
        ] {
            assert!(!By::are_weights(bad), "{bad:?}");
        }
        assert_eq!(By::too_small(&[3.0, 0.0, 1e-300, 1e-301]), Some(1e-300));
        for no_numbers in [&[f64::INFINITY, 1.0][..], &[-1.0, 1e-300, 1.0]] {
            assert_eq!(By::too_small(no_numbers), None, "{no_numbers:?}");
        }
    }
}
