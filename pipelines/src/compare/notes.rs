//! What is said below the tables: what the numbers do not show by themselves. Pure.

use super::Comparison;
use super::baseline::Baselines;
use super::measures::Scored;
use crate::estimate::counted;
use crate::reached::{Method, Owner};
use fedstill_schemas::resolved::ResolvedRun;
use fedstill_schemas::task::Subject;
use fedstill_stages::tensors::LOCAL_TEST;
use std::collections::{BTreeMap, BTreeSet};

/// The most names of parties in a note.
const MOST_NAMES: usize = 10;

impl Comparison {
    /// A line a note: means of fewer evaluations than asked for, methods, seeds and run names without a pair, seeds of an
    /// earlier release, bytes that results do not say, pairs of other data, and who was late or refused.
    pub(super) fn remarks(&self, scored: &[Scored<'_>]) -> Vec<String> {
        let mut remarks: Vec<String> = self
            .names()
            .iter()
            .filter_map(|name| self.fewer(name, scored))
            .collect();
        remarks.extend(self.unequal());
        for row in scored.iter().filter(|row| row.unpaired > 0) {
            let (seeds, lacks) = (counted(row.unpaired, "seed"), &self.baselines.name);
            let remark = format!(
                "{}: {seeds} that {lacks} lacks, left out of the difference",
                row.method.label
            );
            // A method's other steps have the same seeds.
            if !remarks.contains(&remark) {
                remarks.push(remark);
            }
        }
        for remark in scored.iter().filter_map(|row| self.earlier(row)) {
            if !remarks.contains(&remark) {
                remarks.push(remark);
            }
        }
        remarks.extend(self.without_bytes());
        remarks.extend(self.lacking());
        remarks.extend(self.other_data.iter().cloned());
        remarks.extend(self.methods.iter().filter_map(troubles));
        remarks
    }

    /// Of how many evaluations the means of a run name are, where they are fewer than asked for.
    fn fewer(&self, name: &str, scored: &[Scored<'_>]) -> Option<String> {
        let rows = || scored.iter().filter(move |row| row.method.name == name);
        let evaluations = |row: &Scored<'_>| {
            let curves = row.track.counted();
            let fewest = curves.map(|curve| curve.last_evaluations(self.evaluations).len()).min();
            fewest.filter(|fewest| *fewest < self.evaluations)
        };
        let counts: BTreeSet<usize> = rows().filter_map(evaluations).collect();
        let (fewest, most) = (counts.first()?, counts.last()?);
        let of = if fewest == most {
            counted(fewest, "evaluation")
        } else {
            format!("{fewest} to {}", counted(most, "evaluation"))
        };
        let all = rows().all(|row| evaluations(row).is_some());
        let means = if all { "means" } else { "some means" };
        let goes_on = rows().any(|row| row.method.short_of().is_some());
        let yet = if goes_on { "; there are no more yet" } else { "" };
        Some(format!("{name}: {means} of {of}{yet}"))
    }

    /// Which methods are not as far as what they are compared with, or further.
    fn unequal(&self) -> Vec<String> {
        let methods = self.methods.iter().enumerate();
        let unequal = methods.filter_map(|(at, method)| {
            let other = self.baseline(at)?;
            let (own, its) = (method.main.last()?, other.main.last()?);
            (own != its).then(|| {
                let (rounds, other) = (counted(own, "round"), &other.label);
                format!(
                    "{}: {rounds} where {other} has {its}, and so no difference",
                    method.label
                )
            })
        });
        unequal.collect()
    }

    /// Which seeds have one score a model of the server on the parties' own test sets, and not one a party: a release wrote
    /// them that scored such a model on the mean of its parties' proportions.
    fn earlier(&self, row: &Scored<'_>) -> Option<String> {
        if self.test_set != LOCAL_TEST {
            return None;
        }
        let seeds = |of_parties: bool| {
            let curves = row.track.counted().filter(move |curve| {
                let owner = curve.owner;
                owner.is_some_and(|owner| (owner == Owner::Parties) == of_parties)
            });
            curves.map(|curve| curve.seed.to_string()).collect::<Vec<_>>()
        };
        let earlier = seeds(false);
        if earlier.is_empty() {
            return None;
        }
        let of = of_earlier_release(&earlier);
        // Whose the worst then is, the table says: of no party.
        let how = if seeds(true).is_empty() {
            "a model of the server has one score, in the mean of its parties' proportions"
        } else if earlier.len() == 1 {
            "its models are scored otherwise"
        } else {
            "their models are scored otherwise"
        };
        Some(format!("{}: {of}: on '{LOCAL_TEST}' {how}", row.method.label))
    }

    /// Which seeds do not say the bytes that a target took, so that there is a dash for all: a release wrote them that did
    /// not count what crosses.
    fn without_bytes(&self) -> Vec<String> {
        let rows = self.to_target().into_iter();
        let notes = rows
            .filter(|row| row.reached > 0 && row.bytes.is_none())
            .filter_map(|row| {
                let runs = row.method.counted().filter(|run| run.lacks_bytes());
                let seeds: Vec<String> = runs.map(|run| run.seed.to_string()).collect();
                (!seeds.is_empty()).then(|| {
                    let of = of_earlier_release(&seeds);
                    format!(
                        "{}: {of}, without `bytes_up` and `bytes_down` in `steps`: no bytes",
                        row.method.label
                    )
                })
            });
        notes.collect()
    }

    /// Which run names have no baseline yet, and which have none at all, and how to compare these all the same.
    fn lacking(&self) -> Vec<String> {
        let name = &self.baselines.name;
        let lacking = self.baselines.lacking.iter().map(String::as_str);
        let (to_come, none): (Vec<&str>, Vec<&str>) = lacking.partition(|lacking| self.to_come.contains(*lacking));
        let mut notes = Vec::new();
        if !to_come.is_empty() {
            let names = to_come.join(", ");
            notes.push(format!("{names}: {name} is still to come, and so no difference yet"));
        }
        let own = match none.len() {
            0 => return notes,
            1 => "its own",
            _ => "their own",
        };
        if let Some(other) = self.methods.iter().find(|method| method.pipeline == *name) {
            notes.push(format!(
                "{}: no {name} of {own}, and so no difference; --baseline {} compares all methods with that one",
                none.join(", "),
                other.label
            ));
        }
        notes
    }
}

/// Seeds, at least one, as a part of a sentence.
fn of_earlier_release(seeds: &[String]) -> String {
    let (noun, are) = match seeds.len() {
        1 => ("seed", "is"),
        _ => ("seeds", "are"),
    };
    format!("{noun} {} {are} of an earlier release", seeds.join(", "))
}

/// Which methods have other data than their baseline in a seed that both have. Nothing of runs whose folders are not there:
/// then nobody knows.
pub(super) fn other_data(
    methods: &[Method],
    baselines: &Baselines,
    kept: &BTreeMap<String, ResolvedRun>,
) -> Vec<String> {
    let mut notes = Vec::new();
    for (at, method) in methods.iter().enumerate() {
        let Some(other) = baselines.of[at].filter(|other| *other != at) else {
            continue;
        };
        let other = &methods[other];
        let mut differ: BTreeSet<&str> = BTreeSet::new();
        for run in method.counted() {
            let pair = other.counted().find(|pair| pair.seed == run.seed);
            let pair = pair.and_then(|pair| kept.get(&pair.id));
            if let Some((own, its)) = kept.get(&run.id).zip(pair) {
                differ.extend(unlike(own, its));
            }
        }
        if !differ.is_empty() {
            let differ = Vec::from_iter(differ).join(", ");
            notes.push(format!(
                "{}: {} has other data ({differ}), and the difference is of that too",
                method.label, other.label
            ));
        }
    }
    notes
}

/// What of the data that methods share in a comparison differs between two runs.
fn unlike(one: &ResolvedRun, other: &ResolvedRun) -> impl Iterator<Item = &'static str> {
    let rows = |run: &ResolvedRun| (run.private.sha256, run.private.take, run.held_back());
    let tested = |run: &ResolvedRun| (run.test.sha256, run.test.take);
    let differ = [
        ("parties", one.parties != other.parties),
        ("partition", one.partition != other.partition),
        ("private data", rows(one) != rows(other)),
        ("test data", tested(one) != tested(other)),
    ];
    differ.into_iter().filter(|(_, differ)| *differ).map(|(what, _)| what)
}

/// In how many rounds of a method somebody was late or refused, and who.
fn troubles(method: &Method) -> Option<String> {
    let troubles = || {
        let runs = method.runs.iter();
        runs.flat_map(|run| run.troubles.iter().map(move |trouble| (run.seed, trouble)))
    };
    let rounds: BTreeSet<(u64, u32)> = troubles().map(|(seed, trouble)| (seed, trouble.round)).collect();
    if rounds.is_empty() {
        return None;
    }
    // Each with its reason, which `report` shows.
    let named = |one: &str| one.split_once(": ")?.0.parse::<Subject>().ok();
    let who: BTreeSet<Subject> = troubles()
        .flat_map(|(_, trouble)| trouble.who.split("; ").filter_map(named))
        .collect();
    let more = who.len().saturating_sub(MOST_NAMES);
    let mut names: Vec<String> = who.iter().take(MOST_NAMES).map(ToString::to_string).collect();
    if more > 0 {
        names.push(format!("and {more} more"));
    }
    let who = if names.is_empty() {
        String::new()
    } else {
        format!(" ({})", names.join(", "))
    };
    let rounds = counted(rounds.len(), "round");
    Some(format!(
        "{}: somebody was late or refused in {rounds}{who}",
        method.label
    ))
}
