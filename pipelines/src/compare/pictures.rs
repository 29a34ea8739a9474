//! Accuracy over rounds, and over what it cost: a line a method, its mean over seeds.

use super::Comparison;
use crate::figures::{Across, Line, Picture};
use crate::reached::{Method, Spread};

/// The letters of the title; what is longer is cut.
const LONGEST_TITLE: usize = 70;

impl Comparison {
    /// Mean accuracy by round, as SVG.
    pub(crate) fn accuracy_picture(&self) -> String {
        let last = self.methods.iter().filter_map(|method| method.main.last()).max();
        self.picture(Across::rounds(last.unwrap_or(0)), |method| {
            let means = method.main.means().into_iter();
            means.map(|(round, mean)| (f64::from(round), mean)).collect()
        })
    }

    /// Mean accuracy by what the tasks of all rounds up to there cost, as SVG. The axis names the provider, whose table of
    /// prices has one currency.
    pub(crate) fn cost_picture(&self) -> String {
        let prices = |method: &Method| method.by_round(|run, round| Some(run.cost(round).price));
        let largest = self.methods.iter().flat_map(prices).map(|(_, price)| price.mean);
        let largest = largest.fold(0.0, f64::max);
        let providers: Vec<&str> = self.providers.iter().map(String::as_str).collect();
        let by = match providers.as_slice() {
            [] => String::new(),
            some => format!(", by the prices of {}", some.join(" and ")),
        };
        let name = format!("price of all rounds so far{by}");
        self.picture(Across::amounts(name, largest), |method| {
            let prices = prices(method).into_iter().map(|(_, price)| price.mean);
            let means = method.main.means().into_iter().map(|(_, mean)| mean);
            prices.zip(means).collect()
        })
    }

    fn picture(&self, across: Across, mean: impl Fn(&Method) -> Vec<(f64, Spread)>) -> String {
        let line = |method: &Method| Line {
            label: method.label.clone(),
            mean: mean(method),
            worst: Vec::new(),
        };
        Picture {
            title: self.name().chars().take(LONGEST_TITLE).collect(),
            across,
            lines: self.methods.iter().map(line).collect(),
            worst: "worst",
        }
        .svg()
    }
}
