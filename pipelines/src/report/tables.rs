//! The tables: by party and architecture, and by seed.

use super::axis::{number, signed};
use super::summary::{Owner, Slots, Summary, Track, deviation, mean};
use std::collections::BTreeMap;
use std::fmt::Write;

/// A table of more slots than these has a row an architecture.
const MOST_ROWS: usize = 40;

/// One slot's accuracies: before, after, gain, then the baselines' last.
type Values = Vec<Option<f64>>;

/// The accuracies of each slot, their mean and the lowest.
pub(super) fn by_slot(summary: &Summary) -> String {
    let (Some(main), Some(first)) = (
        summary.tracks.first(),
        summary.tracks.iter().find(|track| track.last().is_some()),
    ) else {
        return String::new();
    };
    let before = main.slots(0);
    let after = main.last().filter(|last| *last > 0).map(|last| main.slots(last));
    let after = after.unwrap_or_default();
    let baselines: Vec<(Option<Owner>, Slots)> = summary.tracks[1..]
        .iter()
        .map(|track| {
            (
                track.owner,
                track.last().map(|last| track.slots(last)).unwrap_or_default(),
            )
        })
        .collect();

    let owner = first.owner.unwrap_or(Owner::Parties);
    let mut slots = first.slots(0);
    slots.extend(first.slots(first.last().unwrap_or(0)));
    let rows: Vec<(u32, &str, Values)> = slots
        .iter()
        .map(|(slot, score)| {
            let own = |slots: &Slots| slots.get(slot).map(|score| score.accuracy);
            let mut values = vec![own(&before), own(&after), None];
            for (other, slots) in &baselines {
                values.push(if other.is_none_or(|other| other == owner) {
                    own(slots)
                } else {
                    of_architecture(slots, &score.architecture)
                });
            }
            (*slot, score.architecture.as_str(), values)
        })
        .collect();

    let mut headers = match owner {
        Owner::Parties if rows.len() > MOST_ROWS => vec!["architecture", "parties"],
        Owner::Parties => vec!["party", "architecture"],
        Owner::Server => vec!["architecture"],
    };
    let labels = headers.len();
    headers.extend(["before", "after", "gain"]);
    headers.extend(summary.tracks[1..].iter().map(|track| track.pipeline.as_str()));
    let mut table = Table::new(labels, &headers);
    let shown = |values: Values| -> Vec<String> {
        let gain = values[1].zip(values[0]).map(|(after, before)| after - before);
        let mut cells: Vec<String> = values.into_iter().map(|value| cell(value, number)).collect();
        cells[2] = cell(gain, signed);
        cells
    };
    if owner == Owner::Parties && rows.len() > MOST_ROWS {
        let mut groups: BTreeMap<&str, Vec<&Values>> = BTreeMap::new();
        for (_, architecture, values) in &rows {
            groups.entry(architecture).or_default().push(values);
        }
        for (architecture, members) in groups {
            let labels = [architecture.to_owned(), members.len().to_string()];
            table.row(&labels, shown(over(&members, mean)));
        }
    } else {
        for (slot, architecture, values) in &rows {
            let labels = [format!("party-{slot}"), (*architecture).to_owned()];
            let skipped = usize::from(owner == Owner::Server);
            table.row(&labels[skipped..], shown(values.clone()));
        }
    }
    // Those that every column has: otherwise a party that drops out would move the mean by being gone.
    let columns = rows.first().map_or(0, |(.., values)| values.len());
    let used: Vec<usize> = (0..columns)
        .filter(|column| rows.iter().any(|(.., values)| values[*column].is_some()))
        .collect();
    let complete = |values: &&Values| used.iter().all(|column| values[*column].is_some());
    let all: Vec<&Values> = rows.iter().map(|(.., values)| values).filter(complete).collect();
    let of = match all.len() {
        some if some == rows.len() => String::new(),
        some => format!(" of the {some} in every column"),
    };
    table.rule();
    table.row(&[format!("mean{of}")], shown(over(&all, mean)));
    let worst = match owner {
        Owner::Parties => "worst party",
        Owner::Server => "worst",
    };
    let lowest = |values: &[f64]| values.iter().copied().reduce(f64::min);
    table.row(&[format!("{worst}{of}")], shown(over(&all, lowest)));
    table.text()
}

/// Each seed's mean over slots after the last round, and by how much the first pipeline leads, paired by seed.
pub(super) fn by_seed(summary: &Summary) -> String {
    let mut headers = vec![""];
    headers.extend(summary.tracks.iter().map(|track| track.pipeline.as_str()));
    let mut table = Table::new(1, &headers);
    let seeds = summary.seeds();
    let end = |track: &Track, seed| track.seed(seed).and_then(|run| run.mean(run.last()?));
    let ends = |track: &Track| -> Vec<f64> { seeds.iter().filter_map(|seed| end(track, *seed)).collect() };
    let mut row = |label: String, format: fn(f64) -> String, value: &dyn Fn(&Track) -> Option<f64>| {
        let cells = summary.tracks.iter().map(|track| cell(value(track), format));
        table.row(&[label], cells.collect());
    };
    for seed in &seeds {
        row(format!("mean, seed {seed}"), number, &|track| end(track, *seed));
    }
    row("mean over seeds".to_owned(), number, &|track| mean(&ends(track)));
    row("  standard deviation".to_owned(), number, &|track| {
        deviation(&ends(track))
    });
    let worst = |track: &Track| track.worsts().last().map(|(_, worst)| worst.mean);
    row("worst of each seed, mean".to_owned(), number, &worst);
    if let Some((main, [_, ..])) = summary.tracks.split_first() {
        let leads = |track: &Track| -> Vec<f64> {
            let lead = |seed: &u64| Some(end(main, *seed)? - end(track, *seed)?);
            let other = !std::ptr::eq(track, main);
            seeds.iter().filter_map(lead).filter(|_| other).collect()
        };
        row(format!("{} minus it", main.pipeline), signed, &|track| {
            mean(&leads(track))
        });
        row("  standard deviation".to_owned(), number, &|track| {
            deviation(&leads(track))
        });
    }
    table.text()
}

/// The mean of the slots of an architecture: what a party's model compares with where the server's are scored, and the
/// other way round.
fn of_architecture(slots: &Slots, architecture: &str) -> Option<f64> {
    let same = slots.values().filter(|score| score.architecture == architecture);
    mean(&same.map(|score| score.accuracy).collect::<Vec<_>>())
}

/// A column's values become one.
fn over(rows: &[&Values], one: impl Fn(&[f64]) -> Option<f64>) -> Values {
    let columns = rows.first().map_or(0, |values| values.len());
    let values = |column: usize| rows.iter().filter_map(|row| row[column]).collect::<Vec<_>>();
    (0..columns).map(|column| one(&values(column))).collect()
}

fn cell(value: Option<f64>, format: fn(f64) -> String) -> String {
    value.map_or_else(|| "–".to_owned(), format)
}

/// Columns in line: labels to the left, numbers to the right.
struct Table {
    labels: usize,
    /// An empty row is a rule.
    rows: Vec<Vec<String>>,
}

impl Table {
    fn new(labels: usize, headers: &[&str]) -> Self {
        let headers = headers.iter().map(ToString::to_string).collect();
        Self {
            labels,
            rows: vec![headers, Vec::new()],
        }
    }

    fn row(&mut self, labels: &[String], cells: Vec<String>) {
        let mut row = labels.to_vec();
        row.resize(self.labels, String::new());
        row.extend(cells);
        self.rows.push(row);
    }

    fn rule(&mut self) {
        self.rows.push(Vec::new());
    }

    fn text(&self) -> String {
        let columns = self.rows[0].len();
        let length = |row: &Vec<String>, column: usize| row.get(column).map_or(0, |cell| cell.chars().count());
        let widths: Vec<usize> = (0..columns)
            .map(|column| self.rows.iter().map(|row| length(row, column)).max().unwrap_or(0))
            .collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                let (gap, width) = (if column == 0 { "" } else { "  " }, widths[column]);
                let _ = if column < self.labels {
                    write!(line, "{gap}{cell:<width$}")
                } else {
                    write!(line, "{gap}{cell:>width$}")
                };
            }
            if row.is_empty() {
                line = "─".repeat(widths.iter().sum::<usize>() + 2 * (columns - 1));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}
