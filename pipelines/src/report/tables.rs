//! The tables: by party and architecture, and by seed.

use super::summary::Summary;
use crate::figures::Columns;
use crate::figures::numbers::{cell, number, signed};
use crate::reached::{Method, Owner, Slots, deviation, mean, worst_of};
use std::collections::BTreeMap;

/// A table of more slots than these has a row an architecture.
const MOST_ROWS: usize = 40;

/// One slot's accuracies: before, after and gain of the pipeline that leads, where one does, then the others' last.
type Values = Vec<Option<f64>>;

/// The accuracies of each slot, their mean and the lowest.
pub(super) fn by_slot(summary: &Summary) -> String {
    let mut tracks = summary.methods.iter().map(|method| &method.main);
    let Some(first) = tracks.find(|track| track.last().is_some()) else {
        return String::new();
    };
    let (main, others) = match summary.methods.split_first() {
        Some((main, others)) if summary.leads => (Some(&main.main), others),
        _ => (None, &summary.methods[..]),
    };
    let ends: Option<(Slots, Slots)> = main.map(|main| {
        let after = main.last().filter(|last| *last > 0).map(|last| main.slots(last));
        (main.slots(0), after.unwrap_or_default())
    });
    let lasts: Vec<(Option<Owner>, Slots)> = others
        .iter()
        .map(|method| {
            let track = &method.main;
            let slots = track.last().map(|last| track.slots(last));
            (track.owner(), slots.unwrap_or_default())
        })
        .collect();

    let owner = first.owner().unwrap_or(Owner::Parties);
    let mut slots = first.slots(0);
    slots.extend(first.slots(first.last().unwrap_or(0)));
    let rows: Vec<(u32, &str, Values)> = slots
        .iter()
        .map(|(slot, score)| {
            let own = |slots: &Slots| slots.get(slot).map(|score| score.accuracy);
            let mut values = match &ends {
                Some((before, after)) => vec![own(before), own(after), None],
                None => Vec::new(),
            };
            for (other, slots) in &lasts {
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
        Owner::Architectures | Owner::Ensemble => vec!["architecture"],
    };
    let labels = headers.len();
    if ends.is_some() {
        headers.extend(["before", "after", "gain"]);
    }
    headers.extend(others.iter().map(|method| method.label.as_str()));
    let mut table = Columns::new(labels, &headers);
    let shown = |values: Values| -> Vec<String> {
        let gain = ends.as_ref().map(|_| values[1].zip(values[0]));
        let mut cells: Vec<String> = values.into_iter().map(|value| cell(value, number)).collect();
        if let Some(gain) = gain {
            cells[2] = cell(gain.map(|(after, before)| after - before), signed);
        }
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
            let skipped = usize::from(owner != Owner::Parties);
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
    // What of the others stands in a row is of the row's party or architecture too.
    let worst = worst_of([Some(owner)]);
    let lowest = |values: &[f64]| values.iter().copied().reduce(f64::min);
    table.row(&[format!("{worst}{of}")], shown(over(&all, lowest)));
    table.text()
}

/// Each seed's mean over slots after the last round, and by how much the pipeline that leads is ahead, paired by seed.
pub(super) fn by_seed(summary: &Summary) -> String {
    let mut headers = vec![""];
    headers.extend(summary.methods.iter().map(|method| method.label.as_str()));
    let mut table = Columns::new(1, &headers);
    let seeds = summary.seeds();
    let ends = |method: &Method| -> Vec<f64> { seeds.iter().filter_map(|seed| method.end(*seed)).collect() };
    let mut row = |label: String, format: fn(f64) -> String, value: &dyn Fn(&Method) -> Option<f64>| {
        let cells = summary.methods.iter().map(|method| cell(value(method), format));
        table.row(&[label], cells.collect());
    };
    for seed in &seeds {
        row(format!("mean, seed {seed}"), number, &|method: &Method| {
            method.end(*seed)
        });
    }
    row("mean over seeds".to_owned(), number, &|method: &Method| {
        mean(&ends(method))
    });
    row("  standard deviation".to_owned(), number, &|method: &Method| {
        deviation(&ends(method))
    });
    let worst = |method: &Method| method.main.worsts().last().map(|(_, worst)| worst.mean);
    row(format!("{}, mean", summary.worst()), number, &worst);
    if let Some((main, [_, ..])) = summary.methods.split_first()
        && summary.leads
    {
        let leads = |method: &Method| -> Vec<f64> {
            let lead = |seed: &u64| Some(main.end(*seed)? - method.end(*seed)?);
            let other = !std::ptr::eq(method, main);
            seeds.iter().filter_map(lead).filter(|_| other).collect()
        };
        row(format!("{} minus it", main.label), signed, &|method: &Method| {
            mean(&leads(method))
        });
        row("  standard deviation".to_owned(), number, &|method: &Method| {
            deviation(&leads(method))
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
