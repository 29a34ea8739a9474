//! What a party counts by, as it stands in files: a word, or a list of numbers.

use super::By;
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

const SAMPLES: &str = "samples";
const PARTIES: &str = "parties";

impl By {
    /// Whether these are weights that parties can count by: finite, none below 0, one above it.
    pub fn are_weights(slots: &[f64]) -> bool {
        let valid = slots.iter().all(|weight| weight.is_finite() && *weight >= 0.0);
        valid && slots.iter().any(|weight| *weight > 0.0)
    }
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
    fn weights_are_finite_none_below_0_and_one_above() {
        for good in [&[1.0][..], &[0.0, 0.5], &[3.0, 0.0, 1e-300]] {
            assert!(By::are_weights(good), "{good:?}");
        }
        for bad in [
            &[0.0; 0][..],
            &[0.0, 0.0],
            &[1.0, -0.5],
            &[1.0, f64::NAN],
            &[f64::INFINITY],
        ] {
            assert!(!By::are_weights(bad), "{bad:?}");
        }
    }
}
