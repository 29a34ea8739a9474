//! The comparison as text: accuracies, what the target took, time and cost by step, and notes.

use super::Comparison;
use super::measures::{Scored, ToTarget};
use crate::estimate;
use crate::figures::numbers::{amount, number, over_seeds, signed};
use crate::figures::{Columns, costs_by_step, price_header};
use std::fmt::Write;

impl Comparison {
    /// The tables and notes, for a terminal.
    pub(crate) fn text(&self) -> String {
        let scored = self.scored();
        let mut parts = vec![format!("{}\n{}", self.title(), self.accuracies(&scored))];
        if let Some(target) = self.target {
            let target = number(target);
            parts.push(format!(
                "up to the first round with a mean accuracy of {target}; means over the seeds that have one\n\n{}",
                taken(&self.to_target(), &price_header(&self.providers))
            ));
        }
        parts.push(costs_by_step(&self.methods, &self.providers));
        let mut notes = self.unfinished.clone();
        for remark in self.remarks(&scored) {
            let _ = writeln!(notes, "{remark}");
        }
        parts.push(notes);
        parts.retain(|part| !part.is_empty());
        parts.join("\n")
    }

    fn title(&self) -> String {
        let of = match self.evaluations {
            1 => "of the last evaluation".to_owned(),
            some => format!("of the last {some} evaluations"),
        };
        format!(
            "{}: accuracy on the test set '{}'\nmean {of}, over slots, then over seeds; ±: standard deviation over seeds\n\
             pairs: seeds that the difference is of; worst: the lowest of so many parties or architectures\n",
            self.name(),
            self.test_set
        )
    }

    fn accuracies(&self, scored: &[Scored<'_>]) -> String {
        let minus = format!("minus {}", self.baselines.name);
        let headers = [
            "method",
            "seeds",
            "rounds",
            "mean",
            "",
            minus.as_str(),
            "",
            "pairs",
            "worst",
            "",
            "of",
        ];
        let mut columns = Columns::new(1, &headers);
        for row in scored {
            let mut rounds = row.track.last().unwrap_or(0).to_string();
            if let Some(wanted) = row.method.short_of() {
                let _ = write!(rounds, " of {wanted}");
            }
            let mut cells = vec![row.track.counted().count().to_string(), rounds];
            cells.extend(over_seeds(row.accuracy, number, number));
            cells.extend(over_seeds(row.difference, signed, number));
            cells.push(row.difference.map_or_else(String::new, |pairs| pairs.seeds.to_string()));
            cells.extend(over_seeds(row.worst, number, number));
            cells.push(row.worst_of());
            columns.row(std::slice::from_ref(&row.label), cells);
        }
        columns.text()
    }
}

/// What each method took to the target; `price` heads the column of prices.
fn taken(rows: &[ToTarget<'_>], price: &str) -> String {
    let headers = ["method", "seeds", "rounds", "", "bytes", "", "GB-s", "", price, ""];
    let mut columns = Columns::new(1, &headers);
    for row in rows {
        let so_far = row.method.short_of().map_or("", |_| " so far");
        let mut cells = vec![format!("{} of {}{so_far}", row.reached, row.of)];
        cells.extend(over_seeds(row.rounds, rounds, rounds));
        cells.extend(over_seeds(row.bytes, bytes, bytes));
        cells.extend(over_seeds(row.gb_seconds, amount, amount));
        cells.extend(over_seeds(row.price, amount, amount));
        columns.row(std::slice::from_ref(&row.method.label), cells);
    }
    columns.text()
}

/// Rounds, whole where they are.
fn rounds(value: f64) -> String {
    if value.fract() == 0.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.1}")
    }
}

fn bytes(value: f64) -> String {
    estimate::bytes(value.round() as u64)
}
