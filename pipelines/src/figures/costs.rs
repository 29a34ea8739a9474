//! What the steps of each method took, and the sums.

use super::Columns;
use super::numbers::{amount, cell};
use crate::reached::{Cost, Method, mean};
use fedstill_schemas::prices::{CURRENCY, Prices};
use std::collections::BTreeSet;

/// A heading, which names the providers whose prices these are, and a row a method and step, and one for each method's sum:
/// means over seeds. Nothing where no task took any time.
pub(crate) fn by_step(methods: &[Method], providers: &BTreeSet<String>) -> String {
    let price = price_header(providers);
    let headers = [
        "method",
        "step",
        "tasks",
        "busy s",
        "share",
        "cpu s",
        "GB-s",
        price.as_str(),
    ];
    let mut columns = Columns::new(2, &headers);
    let mut measured = false;
    for method in methods {
        let sums = method.sums();
        let all = over(&sums, |cost| cost.busy_seconds).unwrap_or(0.0);
        if all <= 0.0 {
            continue;
        }
        if measured {
            columns.rule();
        }
        measured = true;
        for (index, (step, costs)) in method.costs().iter().enumerate() {
            let label = if index == 0 { &method.label[..] } else { "" };
            columns.row(&[label.to_owned(), (*step).to_owned()], cells(costs, all));
        }
        columns.row(&[String::new(), "all".to_owned()], cells(&sums, all));
    }
    if !measured {
        return String::new();
    }
    let mut heading = "time and cost by step, all rounds".to_owned();
    if methods.iter().any(|method| method.counted().count() > 1) {
        heading.push_str(", means over seeds");
    }
    if !providers.is_empty() {
        let providers: Vec<&str> = providers.iter().map(String::as_str).collect();
        heading.push_str("; prices of ");
        heading.push_str(&providers.join(" and "));
    }
    format!("{heading}\n\n{}", columns.text())
}

/// The currency of these providers' prices, where the table that ships has them all: results name their providers, and no
/// currency, and that of a user's table is not known here.
pub(crate) fn currency(providers: &BTreeSet<String>) -> Option<&'static str> {
    let shipped = Prices::shipped().providers;
    let ships = |name: &String| shipped.iter().any(|provider| provider.name == *name);
    (!providers.is_empty() && providers.iter().all(ships)).then_some(CURRENCY)
}

/// The header of a column of prices.
pub(crate) fn price_header(providers: &BTreeSet<String>) -> String {
    currency(providers).map_or_else(|| "price".to_owned(), |currency| format!("price {currency}"))
}

/// The cells of a row; `all` are the busy seconds of all steps.
fn cells(costs: &[Cost], all: f64) -> Vec<String> {
    let share = over(costs, |cost| cost.busy_seconds).map(|busy| busy / all);
    let shown = |of: fn(&Cost) -> f64| cell(over(costs, of), amount);
    vec![
        cell(over(costs, |cost| cost.tasks as f64), |tasks| format!("{tasks:.0}")),
        shown(|cost| cost.busy_seconds),
        cell(share, |share| format!("{:.1} %", share * 100.0)),
        shown(|cost| cost.cpu_seconds),
        shown(|cost| cost.gb_seconds),
        shown(|cost| cost.price),
    ]
}

fn over(costs: &[Cost], of: fn(&Cost) -> f64) -> Option<f64> {
    mean(&costs.iter().map(of).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reached::samples::{Results, shown, worked};
    use crate::reached::{Shown, load};
    use fedstill_schemas::results;

    #[test]
    fn costs_say_whose_prices_they_are_and_are_left_out_where_nothing_took_time() {
        let results = Results::new();
        let runs: [Shown; 2] = [shown("fedmd", 0), shown("fedmd", 1)];
        for run in &runs {
            results.run(run, 0, 0.01);
        }
        let methods = || load(results.0.path(), &runs, None).expect("results").methods;
        let providers = BTreeSet::from(["aws-lambda".to_owned(), "openfaas".to_owned()]);
        assert_eq!(by_step(&methods(), &providers), "");
        for (run, milliseconds) in runs.iter().zip([1000, 2000]) {
            results.write(results::STEPS, run, 0, &[worked("train", "party-0", milliseconds)]);
        }
        let text = by_step(&methods(), &providers);
        let heading = "time and cost by step, all rounds, means over seeds; prices of aws-lambda and openfaas\n\n";
        assert!(text.starts_with(heading), "{text}");
        assert!(
            text.contains("\nfedmd   train      1    1.50  100.0 %   1.50  3.00    0.00150\n"),
            "{text}"
        );
        assert!(
            text.contains("\nmethod  step   tasks  busy s    share  cpu s  GB-s  price USD\n"),
            "{text}"
        );
    }

    #[test]
    fn a_currency_is_named_where_the_table_that_ships_has_every_provider() {
        let of = |names: &[&str]| price_header(&names.iter().map(ToString::to_string).collect());
        assert_eq!(of(&["aws-lambda"]), "price USD");
        assert_eq!(of(&["aws-lambda", "google-cloud-functions", "openfaas"]), "price USD");
        assert_eq!(of(&["aws-lambda", "ours"]), "price");
        assert_eq!(of(&[]), "price");
    }
}
