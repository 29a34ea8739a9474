//! Accuracy over rounds, and over what it cost: a line a method, its mean over seeds.

use super::Comparison;
use crate::figures::{Across, Line, Picture, currency};
use crate::reached::{Method, Spread};

impl Comparison {
    /// Mean accuracy by round, as SVG.
    pub(crate) fn accuracy_picture(&self) -> String {
        let last = self.methods.iter().filter_map(|method| method.main.last()).max();
        self.picture(Across::rounds(last.unwrap_or(0)), |method| {
            let means = method.main.means().into_iter();
            means.map(|(round, mean)| (f64::from(round), mean)).collect()
        })
    }

    /// Mean accuracy by what the tasks of all rounds up to there cost, as SVG. The axis names the providers, and the
    /// currency where it is known.
    pub(crate) fn cost_picture(&self) -> String {
        let prices = |method: &Method| method.by_round(|run, round| Some(run.cost(round).price));
        let largest = self.methods.iter().flat_map(prices).map(|(_, price)| price.mean);
        let largest = largest.fold(0.0, f64::max);
        let providers: Vec<&str> = self.providers.iter().map(String::as_str).collect();
        let mut name = "price of all rounds so far".to_owned();
        if let Some(currency) = currency(&self.providers) {
            name = format!("{name} in {currency}");
        }
        if !providers.is_empty() {
            name = format!("{name} ({})", providers.join(" and "));
        }
        self.picture(Across::amounts(name, largest), |method| {
            let prices = prices(method).into_iter().map(|(_, price)| price.mean);
            let means = method.main.means().into_iter().map(|(_, mean)| mean);
            prices.zip(means).collect()
        })
    }

    fn picture(&self, across: Across, mean: impl Fn(&Method) -> Vec<(f64, Spread)>) -> String {
        let line = |method: &Method| Line {
            name: method.name.clone(),
            pipeline: method.pipeline.clone(),
            mean: mean(method),
            worst: Vec::new(),
        };
        Picture {
            across,
            test_set: self.test_set.clone(),
            lines: self.methods.iter().map(line).collect(),
            worst: "worst",
            target: self.target,
        }
        .svg()
    }
}
