//! The report as text: the tables, which runs are unfinished, who was late, refused or never selected, and the chart.

use super::summary::Summary;
use super::{chart, tables};
use crate::estimate::counted;
use crate::figures::{costs_by_step, unfinished};
use crate::reached::{Method, Run};
use std::collections::BTreeSet;
use std::fmt::Write;

/// The most lines on who was late or refused.
const MOST_TROUBLES: usize = 20;
/// The most parties that are named of those that a run never selected, and the most runs that name some.
const MOST_UNSELECTED: usize = 20;

impl Summary {
    /// The tables, the notes and the chart, for a terminal of `width` columns.
    pub(crate) fn text(&self, width: usize, colours: bool) -> String {
        let costs = costs_by_step(&self.methods, &self.providers);
        let mut parts = vec![costs, unfinished(&self.methods), self.troubles(), self.never_selected()];
        if !self.is_empty() {
            parts.insert(0, format!("{}\n{}", self.title(), tables::by_slot(self)));
            if self.seeds().len() > 1 {
                parts.insert(1, format!("by seed, after the last round\n\n{}", tables::by_seed(self)));
            }
            parts.push(chart::draw(self, width, colours));
        }
        parts.retain(|part| !part.is_empty());
        parts.join("\n")
    }

    fn title(&self) -> String {
        let mut title = format!("{}: accuracy on the test set", self.name);
        let counted = self.counted_seeds();
        if counted.len() > 1 {
            let _ = write!(title, ", means over seeds {}", listed(&counted));
        } else if self.seeds().len() > 1 {
            let _ = write!(title, ", seed {} alone", listed(&counted));
        }
        let last = |method: &Method| {
            let own: BTreeSet<u64> = method.counted().map(|run| run.seed).collect();
            let of = if own == counted {
                String::new()
            } else {
                let noun = if own.len() == 1 { "seed" } else { "seeds" };
                format!(" ({noun} {} alone)", listed(&own))
            };
            match method.main.last() {
                Some(0) => format!("{} not beyond round 0{of}", method.label),
                Some(last) => format!("{} after round {last}{of}", method.label),
                None if method.lost_scores() => format!("{} without its scores", method.label),
                None => format!("{} not started", method.label),
            }
        };
        if !self.leads {
            let all: Vec<String> = self.methods.iter().map(last).collect();
            return format!("{title}\n{}\n", all.join(", "));
        }
        title += "\nbefore: round 0, without collaboration; after: ";
        title += &self.methods.first().map_or_else(String::new, last);
        let baselines: Vec<String> = self.methods.iter().skip(1).map(last).collect();
        if !baselines.is_empty() {
            let _ = write!(title, "\nbaselines: {}", baselines.join(", "));
        }
        title + "\n"
    }

    /// Who was late or refused, in the order of the runs and their rounds.
    fn troubles(&self) -> String {
        let mut notes = Vec::new();
        for method in &self.methods {
            for run in &method.runs {
                for trouble in &run.troubles {
                    let (pipeline, seed, round) = (&method.label, run.seed, trouble.round);
                    let who = printable(&trouble.who);
                    notes.push(format!("  {pipeline}, seed {seed}, round {round}: {who}\n"));
                }
            }
        }
        if notes.is_empty() {
            return String::new();
        }
        let more = notes.len().saturating_sub(MOST_TROUBLES);
        notes.truncate(MOST_TROUBLES);
        if more > 0 {
            notes.push(format!(
                "  and {more} more, in the columns `stragglers` and `refused` of `rounds`\n"
            ));
        }
        format!("late or refused:\n{}", notes.concat())
    }

    /// Whom no round of a run selected, in the order of the runs.
    fn never_selected(&self) -> String {
        let mut notes = Vec::new();
        for method in &self.methods {
            let never =
                |run: &Run| unselected(run).map(|who| format!("  {}, seed {}: {who}\n", method.label, run.seed));
            notes.extend(method.runs.iter().filter_map(never));
        }
        if notes.is_empty() {
            return String::new();
        }
        let more = notes.len().saturating_sub(MOST_UNSELECTED);
        notes.truncate(MOST_UNSELECTED);
        if more > 0 {
            notes.push(format!(
                "  and {}, by the column `selected` of `rounds`\n",
                counted(more, "more run")
            ));
        }
        format!("never selected:\n{}", notes.concat())
    }
}

/// Whom no round of a run selected; `None` where that is nobody.
fn unselected(run: &Run) -> Option<String> {
    let never = run.never_selected();
    let named = never.iter().take(MOST_UNSELECTED).map(ToString::to_string);
    let named = named.collect::<Vec<_>>().join(", ");
    match never.len() {
        0 => None,
        all if all > MOST_UNSELECTED => Some(format!("{named} and {} more", all - MOST_UNSELECTED)),
        _ => Some(named),
    }
}

fn listed(seeds: &BTreeSet<u64>) -> String {
    let seeds: Vec<String> = seeds.iter().map(ToString::to_string).collect();
    seeds.join(", ")
}

/// What others wrote, with nothing in it that a terminal obeys.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use crate::reached::Shown;
    use crate::reached::samples::{Results, Value, shown};
    use crate::report::load;
    use fedstill_schemas::results;

    #[test]
    fn runs_beyond_those_that_are_named_are_counted() {
        let results = Results::new();
        let runs: Vec<Shown> = (0..22).map(|seed| shown("fedavg", seed)).collect();
        let row = vec![
            ("parties", Value::Number(3.0)),
            ("selected", Value::Text("party-0; party-1".to_owned())),
        ];
        for run in &runs {
            results.run(run, 1, 0.01);
            results.write(results::ROUNDS, run, 1, std::slice::from_ref(&row));
        }
        for (count, more) in [(21, "1 more run"), (22, "2 more runs")] {
            let text = load(results.0.path(), &runs[..count]).expect("results").text(80, false);
            let expected =
                format!("\n  fedavg, seed 19: party-2\n  and {more}, by the column `selected` of `rounds`\n");
            assert!(text.contains(&expected), "{text}");
        }
    }
}
