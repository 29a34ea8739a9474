//! What functions as a service bill for tasks: a table that ships, `prices.toml`, and that a user can replace.
//!
//! Prices change no result: they are no part of a run's identity, and the tables of results name the provider whose
//! prices they took.

use crate::pipeline::Stage;
use std::collections::BTreeMap;

/// The provider where none is named and the table has several.
pub const DEFAULT_PROVIDER: &str = "aws-lambda";

/// The currency of the table that ships: US dollars.
pub const CURRENCY: &str = "USD";

const SHIPPED: &str = include_str!("prices.toml");

/// A table of prices.
#[derive(Clone, Debug, PartialEq)]
pub struct Prices {
    /// The providers: at least one, with distinct names.
    pub providers: Vec<Provider>,
}

/// What a provider bills. All prices are in one currency, US dollars in the table that ships.
#[derive(Clone, Debug, PartialEq)]
pub struct Provider {
    /// Its name.
    pub name: String,
    /// What a function has.
    pub size: Size,
    /// What a function of a stage has, where that is something else.
    pub sizes: BTreeMap<Stage, Size>,
    /// Price of a GB-second.
    pub gb_second: f64,
    /// Price of a GHz-second.
    pub ghz_second: f64,
    /// Price of a call.
    pub request: f64,
    /// Durations are rounded up to a multiple of so many milliseconds; above 0.
    pub granularity_ms: u32,
    /// No duration is billed as fewer milliseconds.
    pub minimum_ms: u32,
}

/// What a function has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Size {
    /// Memory in GB.
    pub memory_gb: f64,
    /// Processor in GHz; 0 where it is not billed.
    pub ghz: f64,
}

impl Prices {
    /// The table that ships.
    ///
    /// # Panics
    /// Never: a test reads it.
    pub fn shipped() -> Self {
        Self::parse(SHIPPED).expect("the table that ships is valid")
    }
}

impl Provider {
    /// What a function of a stage has.
    pub fn size(&self, stage: Stage) -> Size {
        self.sizes.get(&stage).copied().unwrap_or(self.size)
    }
}

impl Default for Provider {
    /// [`DEFAULT_PROVIDER`] of the table that ships.
    fn default() -> Self {
        let shipped = Prices::shipped();
        shipped
            .provider(None)
            .cloned()
            .expect("the table that ships has its default")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_that_ships_has_its_providers_and_its_default() {
        let names: Vec<String> = Prices::shipped().providers.into_iter().map(|one| one.name).collect();
        assert_eq!(names, ["aws-lambda", "google-cloud-functions", "openfaas"]);
        assert_eq!(Provider::default().name, DEFAULT_PROVIDER);
    }

    #[test]
    fn a_stage_has_its_own_size_or_the_provider_s() {
        let size = |memory_gb| Size { memory_gb, ghz: 0.0 };
        let provider = Provider {
            size: size(2.0),
            sizes: BTreeMap::from([(Stage::Aggregate, size(0.5))]),
            ..Provider::default()
        };
        assert_eq!(provider.size(Stage::Aggregate), size(0.5));
        assert_eq!(provider.size(Stage::Train), size(2.0));
    }
}
