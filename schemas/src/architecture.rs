//! Names of architectures: a family and its size, as a person writes them (`lenet`, `cnn[16,32]`, `mlp[200,200]`).

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// A model family and its size. Which families exist and which numbers they take, the learner's registry says.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Architecture {
    family: String,
    sizes: Vec<u32>,
}

/// The text is not `family` or `family[size,size,..]`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' is not an architecture: write a family, or a family with its sizes, as in lenet, cnn[16,32] or mlp[200]"
)]
pub struct NotAnArchitecture(pub String);

impl Architecture {
    /// The family: `cnn`.
    pub fn family(&self) -> &str {
        &self.family
    }

    /// The numbers between the brackets: `[16, 32]`; empty where none are written.
    pub fn sizes(&self) -> &[u32] {
        &self.sizes
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.family)?;
        if self.sizes.is_empty() {
            return Ok(());
        }
        let sizes: Vec<String> = self.sizes.iter().map(u32::to_string).collect();
        write!(f, "[{}]", sizes.join(","))
    }
}

impl FromStr for Architecture {
    type Err = NotAnArchitecture;

    fn from_str(text: &str) -> Result<Self, NotAnArchitecture> {
        let refuse = || NotAnArchitecture(text.to_owned());
        let (family, sizes) = match text.split_once('[') {
            None => (text, Vec::new()),
            Some((family, rest)) => {
                let inner = rest.strip_suffix(']').ok_or_else(refuse)?;
                let sizes = inner
                    .split(',')
                    .map(|size| size.trim().parse().map_err(|_| refuse()))
                    .collect::<Result<Vec<u32>, _>>()?;
                (family, sizes)
            }
        };
        let valid = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
        if family.is_empty() || !family.chars().all(valid) {
            return Err(refuse());
        }
        Ok(Self {
            family: family.to_owned(),
            sizes,
        })
    }
}

impl Serialize for Architecture {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Architecture {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn architectures_are_read_and_written_alike() {
        for text in ["lenet", "cnn[16,32]", "mlp[200]", "2nn", "fedmd[0]"] {
            assert_eq!(text.parse::<Architecture>().unwrap().to_string(), text);
        }
        assert_eq!("cnn[16, 32]".parse::<Architecture>().unwrap().sizes(), [16, 32]);
        for text in ["", "cnn[", "cnn[]", "cnn[-1]", "cnn[a]", "CNN[1]", "cnn[1]x"] {
            assert!(text.parse::<Architecture>().is_err(), "{text}");
        }
    }
}
