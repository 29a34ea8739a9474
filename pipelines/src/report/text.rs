//! The report as text: the tables, which runs are unfinished, who was late or refused, and the chart.

use super::summary::{Summary, Track};
use super::{chart, tables};
use crate::estimate::counted;
use std::fmt::Write;

/// The most lines on who was late or refused.
const MOST_TROUBLES: usize = 20;

impl Summary {
    /// The tables, the notes and the chart, for a terminal of `width` columns.
    pub(crate) fn text(&self, width: usize, colours: bool) -> String {
        let mut parts = vec![self.unfinished(), self.troubles()];
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
        let seeds: Vec<String> = self.seeds().iter().map(ToString::to_string).collect();
        if seeds.len() > 1 {
            let _ = write!(title, ", means over seeds {}", seeds.join(", "));
        }
        let last = |track: &Track| match track.last() {
            Some(0) => format!("{} not beyond round 0", track.pipeline),
            Some(last) => format!("{} after round {last}", track.pipeline),
            None => format!("{} not started", track.pipeline),
        };
        title += "\nbefore: round 0, without collaboration; after: ";
        title += &self.tracks.first().map_or_else(String::new, last);
        let baselines: Vec<String> = self.tracks.iter().skip(1).map(last).collect();
        if !baselines.is_empty() {
            let _ = write!(title, "\nbaselines: {}", baselines.join(", "));
        }
        title + "\n"
    }

    /// Which runs have fewer rounds than they are to have.
    fn unfinished(&self) -> String {
        let mut notes = String::new();
        let several = self.seeds().len() > 1;
        for track in &self.tracks {
            for run in &track.runs {
                let so_far = match run.last() {
                    None => "not started".to_owned(),
                    Some(last) if last < run.wanted => format!("{last} of {} so far", counted(run.wanted, "round")),
                    Some(last) if run.last() < track.last() => counted(last, "round"),
                    Some(_) => continue,
                };
                let behind = run.last().is_some() && run.last() < track.last();
                let left_out = if behind { "; left out of the means" } else { "" };
                let seed = if several {
                    format!(", seed {}", run.seed)
                } else {
                    String::new()
                };
                let _ = writeln!(notes, "{}{seed}: {so_far}{left_out}", track.pipeline);
            }
        }
        notes
    }

    /// Who was late or refused, in the order of the runs and their rounds.
    fn troubles(&self) -> String {
        let mut notes = Vec::new();
        for track in &self.tracks {
            for run in &track.runs {
                for trouble in &run.troubles {
                    let (pipeline, seed, round) = (&track.pipeline, run.seed, trouble.round);
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
}

/// What others wrote, with nothing in it that a terminal obeys.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}
