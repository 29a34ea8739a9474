//! Names of architectures: a family and its size, as a person writes them (`lenet`, `cnn[16,32]`, `fedmd[128,256;0.2]`).

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// A model family and its size. Which families exist and which numbers they take, the learner's registry says.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Architecture {
    family: String,
    sizes: Vec<u32>,
    /// The dropout rate in thousandths: however it is written, one rate is one architecture.
    thousandths: Option<u16>,
}

/// How an architecture is written, for errors.
pub const FORM: &str = "write a family, or a family with its sizes, as in lenet, cnn[16,32] or mlp[200], and of fedmd a \
                        dropout rate too, as in fedmd[128,256;0.2]: below 1, of three decimals at most";

/// The text is not `family`, `family[size,size,..]` or `family[size,size,..;dropout]`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not an architecture: {form}", form = FORM)]
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

    /// The probability that a value is dropped, as written after the sizes: from 0 to below 1, the `f64` next to the decimal;
    /// `None` where none is written.
    pub fn dropout(&self) -> Option<f64> {
        self.thousandths.map(|rate| f64::from(rate) / 1000.0)
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.family)?;
        if self.sizes.is_empty() {
            return Ok(());
        }
        let sizes: Vec<String> = self.sizes.iter().map(u32::to_string).collect();
        write!(f, "[{}", sizes.join(","))?;
        if let Some(rate) = self.dropout() {
            write!(f, ";{rate}")?;
        }
        f.write_str("]")
    }
}

impl FromStr for Architecture {
    type Err = NotAnArchitecture;

    fn from_str(text: &str) -> Result<Self, NotAnArchitecture> {
        let refuse = || NotAnArchitecture(text.to_owned());
        let (family, sizes, thousandths) = match text.split_once('[') {
            None => (text, Vec::new(), None),
            Some((family, rest)) => {
                let inner = rest.strip_suffix(']').ok_or_else(refuse)?;
                let (sizes, rate) = match inner.split_once(';') {
                    None => (inner, None),
                    Some((sizes, rate)) => (sizes, Some(thousandths(rate.trim()).ok_or_else(refuse)?)),
                };
                let sizes = sizes
                    .split(',')
                    .map(|size| size.trim().parse().map_err(|_| refuse()))
                    .collect::<Result<Vec<u32>, _>>()?;
                (family, sizes, rate)
            }
        };
        let valid = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
        if family.is_empty() || !family.chars().all(valid) {
            return Err(refuse());
        }
        Ok(Self {
            family: family.to_owned(),
            sizes,
            thousandths,
        })
    }
}

/// A decimal from 0 to below 1, as `0.2`, `.2` or `0.200`, in thousandths; `None` of any other text.
fn thousandths(rate: &str) -> Option<u16> {
    let (whole, decimals) = rate.split_once('.').unwrap_or((rate, ""));
    if !matches!(whole, "" | "0") || (whole.is_empty() && decimals.is_empty()) {
        return None;
    }
    let decimals = decimals.trim_end_matches('0');
    if decimals.len() > 3 || !decimals.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    format!("{decimals:0<3}").parse().ok()
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
        for text in [
            "lenet",
            "cnn[16,32]",
            "mlp[200]",
            "2nn",
            "fedmd[128,256;0.2]",
            "fedmd[1,2,3;0]",
            "fedmd[8;0.125]",
        ] {
            assert_eq!(text.parse::<Architecture>().unwrap().to_string(), text);
        }
        assert_eq!("cnn[16, 32]".parse::<Architecture>().unwrap().sizes(), [16, 32]);
        for text in ["", "cnn[", "cnn[]", "cnn[-1]", "cnn[a]", "CNN[1]", "cnn[1]x"] {
            assert!(text.parse::<Architecture>().is_err(), "{text}");
        }
    }

    #[test]
    fn one_dropout_rate_is_one_architecture_however_it_is_written() {
        let architecture = |text: &str| text.parse::<Architecture>().unwrap();
        let plain = architecture("fedmd[128,256;0.2]");
        assert_eq!((plain.sizes(), plain.dropout()), (&[128, 256][..], Some(0.2)));
        for text in [
            "fedmd[128,256;.2]",
            "fedmd[128,256;0.20]",
            "fedmd[128,256;0.2000]",
            "fedmd[128, 256; 0.2]",
        ] {
            assert_eq!(architecture(text), plain, "{text}");
            assert_eq!(architecture(text).to_string(), "fedmd[128,256;0.2]", "{text}");
        }
        assert_eq!(architecture("fedmd[8;0.0]").to_string(), "fedmd[8;0]");
        assert_ne!(architecture("fedmd[8;0]"), architecture("fedmd[8]"));
        // The same number as a literal, of every rate that there is.
        for rate in 0..1000 {
            let written = format!("0.{rate:03}");
            let named = architecture(&format!("fedmd[8;{written}]"));
            assert_eq!(named.dropout(), written.parse::<f64>().ok());
            assert_eq!(architecture(&named.to_string()), named);
        }
    }

    #[test]
    fn what_is_no_dropout_rate_is_refused_with_how_one_is_written() {
        for rate in [
            "", ".", "1", "1.0", "-0.2", "+.2", "0.+2", "0.0001", "0.2345", "2e-1", "0,2", "0.2;0.3", "a", "00.2",
        ] {
            let refused = format!("fedmd[128,256;{rate}]").parse::<Architecture>().unwrap_err();
            let text = refused.to_string();
            assert!(text.contains("fedmd[128,256;0.2]: below 1"), "{text}");
        }
        for text in ["fedmd;0.2", "fedmd[;0.2]", "fedmd[1,;0.2]", "fedmd[0.2;1,2]"] {
            assert!(text.parse::<Architecture>().is_err(), "{text}");
        }
    }
}
