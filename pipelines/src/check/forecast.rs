//! What is known of a run's rounds before they are run, as its seed decides it: parties that fail, are offline or are slow
//! on purpose, and architectures that nobody of a round has; and whether a file's pipelines select the same. In words for
//! people; a line is a warning where it says so.

use crate::estimate::{self, counted};
use crate::resolve::Job;
use fedstill_schemas::events::Close;
use fedstill_schemas::pipeline::Selection;
use fedstill_schemas::resolved::ResolvedRun;
use fedstill_stages::plan::ATTEMPTS;
use fedstill_stages::{Forecast, Outlook};
use std::collections::{BTreeMap, BTreeSet};

/// Stretches of rounds that a line names.
const NAMED: usize = 12;

/// What is known of the rounds of a pipeline's runs, which differ in their seeds alone: round 1 to the last.
pub(super) fn of_rounds(jobs: &[&Job], rounds: u32, close: Close) -> Vec<String> {
    let mut lines: Vec<String> = jobs
        .first()
        .and_then(|job| unknown(&job.resolved))
        .into_iter()
        .collect();
    for job in jobs {
        let run = &job.resolved;
        let seed = if jobs.len() > 1 {
            format!("seed {}: ", run.seed)
        } else {
            String::new()
        };
        let known = misfortunes(run, rounds, close)
            .into_iter()
            .chain(left_out(run, rounds, close))
            .chain(waited_for(job, rounds, close));
        lines.extend(known.map(|line| format!("{seed}{line}")));
    }
    lines
}

/// How long rounds wait for parties that never answer, where there are any and a deadline ends it.
fn waited_for(job: &Job, rounds: u32, close: Close) -> Option<String> {
    let seconds = estimate::waits(job, &(0..=rounds), close);
    (seconds > 0.0).then(|| {
        format!(
            "deadlines that pass for parties that are offline: {} in all",
            estimate::duration(seconds)
        )
    })
}

/// Why a file's pipelines do not compare party by party, where those that select by what their own rounds took and missed
/// are several.
pub(super) fn selected_apart<'a>(runs: impl Iterator<Item = &'a ResolvedRun>) -> Option<String> {
    let by_history = |run: &&ResolvedRun| {
        let few = matches!(run.selection, Selection::Fedlesscan { active } if (active as usize) < run.parties.len());
        few && run.pipeline.selects()
    };
    let names: BTreeSet<&str> = runs.filter(by_history).map(|run| run.pipeline.name.as_str()).collect();
    let names: Vec<&str> = names.into_iter().collect();
    (names.len() > 1).then(|| {
        format!(
            "warning: {} may select different parties: selection = \"fedlesscan\" goes by what each pipeline's own rounds \
             took and missed",
            names.join(" and ")
        )
    })
}

/// What follows from rounds that are not run yet.
fn unknown(run: &ResolvedRun) -> Option<String> {
    let Selection::Fedlesscan { active } = run.selection else {
        return None;
    };
    let left_out = (run.parties.len() as u32).saturating_sub(active) as usize;
    let architectures = run.architectures().into_iter();
    let few = architectures.filter(|own| run.parties.iter().filter(|other| other == own).count() <= left_out);
    let few: Vec<String> = few.map(ToString::to_string).collect();
    (run.pipeline.averages() && !few.is_empty()).then(|| {
        format!(
            "warning: rounds may select nobody with {}, and its model stays as it was there; selection = \"round_robin\" \
             has one of each architecture",
            few.join(" or ")
        )
    })
}

/// What goes wrong on purpose, rounds of the same kind together.
fn misfortunes(run: &ResolvedRun, rounds: u32, close: Close) -> Vec<String> {
    let outlook = Outlook::new(run, close);
    let mut kinds: Vec<(String, Vec<u32>)> = Vec::new();
    for round in 1..=rounds {
        let Some(first) = outlook.of(round, 0) else { continue };
        let holds = |attempt: &u32| outlook.of(round, *attempt).is_some_and(|again| again.holds());
        let mends = if first.holds() { None } else { (1..ATTEMPTS).find(holds) };
        let kind = said(&first, close, mends);
        match kinds.iter_mut().find(|(other, _)| *other == kind) {
            Some((_, rounds)) => rounds.push(round),
            None => kinds.push((kind, vec![round])),
        }
    }
    let line = |(kind, rounds): (String, Vec<u32>)| match kind.strip_prefix("warning: ") {
        Some(warning) => format!("warning: {}: {warning}", in_words(&rounds)),
        None => format!("{}: {kind}", in_words(&rounds)),
    };
    kinds.into_iter().map(line).collect()
}

/// A round's first attempt, in words; `mends` is the attempt that holds where the first does not.
fn said(first: &Forecast, close: Close, mends: Option<u32>) -> String {
    let wrong = [
        (first.failing, "fails", "fail"),
        (first.offline, "is offline", "are offline"),
        (first.slow, "is slow", "are slow"),
    ];
    let wrong = wrong.into_iter().filter(|(count, ..)| *count > 0).enumerate();
    let wrong: Vec<String> = wrong
        .map(|(place, (count, one, many))| {
            let of = if place == 0 {
                format!(" of {}", counted(first.parties, "party"))
            } else {
                String::new()
            };
            format!("{count}{of} {}", if count == 1 { one } else { many })
        })
        .collect();
    let wrong = if wrong.is_empty() {
        format!("nothing goes wrong with {}", counted(first.parties, "party"))
    } else {
        wrong.join(", ")
    };
    let needed = first.needed;
    if first.holds() {
        let late = close.deadline_ms.is_some() && first.answers() - first.slow < needed;
        let only = if late { " only if slow ones are in time" } else { "" };
        return format!("{wrong}; quorum {needed} holds{only}");
    }
    let missed = format!("warning: {wrong}; quorum {needed} is missed");
    match mends {
        Some(1) => format!("{missed}, and holds when the round is tried again"),
        Some(_) => format!("{missed}, and holds when the round is tried a third time"),
        None => format!("{missed} in every attempt: the run ends there"),
    }
}

/// Rounds in which an architecture has no party, of a pipeline that averages each architecture's models: nobody
/// with it is selected, or nobody of those who are answers, in the first attempt that has its quorum.
fn left_out(run: &ResolvedRun, rounds: u32, close: Close) -> Vec<String> {
    if !run.pipeline.averages() {
        return Vec::new();
    }
    let outlook = Outlook::new(run, close);
    let architectures = run.architectures();
    let own: Vec<Option<usize>> = run
        .parties
        .iter()
        .map(|party| architectures.iter().position(|architecture| *architecture == party))
        .collect();
    let of = |slots: &[u32]| -> BTreeSet<usize> { slots.iter().filter_map(|slot| own[*slot as usize]).collect() };
    let mut unselected: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
    let mut silent: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
    for round in 1..=rounds {
        let Some(selected) = outlook.selected(round) else {
            continue;
        };
        let selected = of(&selected);
        for architecture in (0..architectures.len()).filter(|index| !selected.contains(index)) {
            unselected.entry(architecture).or_default().push(round);
        }
        let holds = |attempt: &u32| outlook.of(round, *attempt).is_none_or(|forecast| forecast.holds());
        let attempt = (0..ATTEMPTS).find(holds);
        // Where none holds the run ends.
        let Some(answering) = attempt.and_then(|attempt| outlook.answering(round, attempt)) else {
            continue;
        };
        for architecture in selected.difference(&of(&answering)) {
            silent.entry(*architecture).or_default().push(round);
        }
    }
    let warning = |architecture: usize, rounds: &[u32], before: &str, after: &str| {
        format!(
            "warning: {}: {before} with {} {after}, and its model stays as it was",
            in_words(rounds),
            architectures[architecture]
        )
    };
    let unselected = unselected
        .iter()
        .map(|(architecture, rounds)| warning(*architecture, rounds, "nobody", "is selected"));
    let silent = silent
        .iter()
        .map(|(architecture, rounds)| warning(*architecture, rounds, "everyone selected", "fails or is offline"));
    unselected.chain(silent).collect()
}

/// "round 3", or "rounds 1, 3 to 5": of rounds in their order.
fn in_words(rounds: &[u32]) -> String {
    let mut stretches: Vec<(u32, u32)> = Vec::new();
    for round in rounds {
        match stretches.last_mut() {
            Some((_, last)) if *last + 1 == *round => *last = *round,
            _ => stretches.push((*round, *round)),
        }
    }
    let named = stretches.iter().take(NAMED).map(|(first, last)| match last - first {
        0 => first.to_string(),
        1 => format!("{first}, {last}"),
        _ => format!("{first} to {last}"),
    });
    let named: Vec<String> = named.collect();
    let more: u32 = stretches.iter().skip(NAMED).map(|(first, last)| last - first + 1).sum();
    let more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    let noun = if rounds.len() == 1 { "round" } else { "rounds" };
    format!("{noun} {}{more}", named.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::tests::run;
    use fedstill_schemas::pipeline::Who;
    use fedstill_schemas::resolved::{Fail, Offline, Simulate, Slow};

    const CLOSE: Close = Close {
        quorum: 0.6,
        deadline_ms: None,
    };

    /// Ten parties, all of them active, of which six fail half the time.
    fn failing(seed: u64) -> Job {
        let mut resolved = run();
        resolved.selection = Selection::All;
        resolved.simulate = Simulate {
            fail: Some(Fail {
                parties: 6,
                probability: 0.5,
            }),
            ..Simulate::default()
        };
        resolved.seed = seed;
        Job {
            id: format!("a-b-{seed}"),
            resolved,
        }
    }

    #[test]
    fn rounds_that_fail_alike_are_one_line_and_one_that_misses_its_quorum_is_a_warning() {
        let job = failing(0);
        assert_eq!(
            of_rounds(&[&job], 8, CLOSE),
            [
                "rounds 1, 3 to 5: 3 of 10 parties fail; quorum 6 holds",
                "rounds 2, 7: 4 of 10 parties fail; quorum 6 holds",
                "warning: round 6: 5 of 10 parties fail; quorum 6 is missed, and holds when the round is tried again",
                "round 8: 2 of 10 parties fail; quorum 6 holds",
            ]
        );
        assert!(of_rounds(&[&job], 0, CLOSE).is_empty());
        let mut always = failing(0);
        always.resolved.simulate.fail = Some(Fail {
            parties: 5,
            probability: 1.0,
        });
        assert_eq!(
            of_rounds(&[&always], 2, CLOSE),
            ["warning: rounds 1, 2: 5 of 10 parties fail; quorum 6 is missed in every attempt: the run ends there"]
        );
    }

    #[test]
    fn every_seed_has_lines_of_its_own() {
        let (one, other) = (failing(0), failing(1));
        let lines = of_rounds(&[&one, &other], 1, CLOSE);
        assert_eq!(lines[0], "seed 0: round 1: 3 of 10 parties fail; quorum 6 holds");
        assert!(lines.len() == 2 && lines[1].contains("seed 1: "), "{lines:?}");
    }

    #[test]
    fn slow_parties_may_be_too_late_where_there_is_a_deadline() {
        let mut job = failing(0);
        job.resolved.simulate = Simulate {
            slow: Some(Slow {
                parties: 5,
                factor: 2.0,
            }),
            ..Simulate::default()
        };
        let holds = "round 1: 5 of 10 parties are slow; quorum 6 holds";
        assert_eq!(of_rounds(&[&job], 1, CLOSE), [holds]);
        let hurried = Close {
            deadline_ms: Some(1000),
            ..CLOSE
        };
        assert_eq!(
            of_rounds(&[&job], 1, hurried),
            [format!("{holds} only if slow ones are in time")]
        );
    }

    #[test]
    fn deadlines_that_parties_who_are_offline_let_pass_are_added_up() {
        let mut job = failing(0);
        job.resolved.simulate = Simulate {
            offline: Some(Offline { parties: 1 }),
            ..Simulate::default()
        };
        let patient = Close {
            deadline_ms: Some(30_000),
            ..CLOSE
        };
        let rounds = "rounds 1 to 4: 1 of 10 parties is offline; quorum 6 holds";
        assert_eq!(
            of_rounds(&[&job], 4, patient),
            [rounds, "deadlines that pass for parties that are offline: 2 min in all"]
        );
        assert_eq!(of_rounds(&[&job], 4, CLOSE), [rounds]);
    }

    #[test]
    fn rounds_without_a_party_of_an_architecture_are_named_where_models_are_averaged() {
        let mut job = failing(0);
        let run = &mut job.resolved;
        run.simulate = Simulate::default();
        run.parties = (0..6)
            .map(|slot| format!("mlp[{}]", slot % 2).parse().unwrap())
            .collect();
        let lines = |job: &Job| of_rounds(&[job], 8, CLOSE);
        let selecting = |selection| {
            let mut job = job.clone();
            job.resolved.selection = selection;
            job
        };
        // The seed's draws: 1 2, 0 4, 1 3, 1 3, 3 4, 0 4, 3 5, 0 5.
        let random = selecting(Selection::Random { active: 2 });
        assert_eq!(
            lines(&random),
            [
                "warning: rounds 3, 4, 7: nobody with mlp[0] is selected, and its model stays as it was",
                "warning: rounds 2, 6: nobody with mlp[1] is selected, and its model stays as it was",
            ]
        );
        let mut unaveraged = random.clone();
        unaveraged.resolved.pipeline.round.retain(|step| step.rule.is_none());
        assert!(lines(&unaveraged).is_empty());
        for active in [2, 3] {
            let scanned = lines(&selecting(Selection::Fedlesscan { active }));
            assert!(
                scanned.len() == 1 && scanned[0].contains("rounds may select nobody with mlp[0] or mlp[1]"),
                "{scanned:?}"
            );
        }
        for sure in [
            Selection::All,
            Selection::RoundRobin { active: 2 },
            // Two parties are left out, and each architecture has three.
            Selection::Fedlesscan { active: 4 },
        ] {
            assert!(lines(&selecting(sure)).is_empty(), "{sure:?}");
        }
    }

    #[test]
    fn rounds_in_which_nobody_of_an_architecture_answers_are_named_where_models_are_averaged() {
        let mut job = failing(0);
        let run = &mut job.resolved;
        run.parties = (0..6)
            .map(|slot| format!("mlp[{}]", slot % 2).parse().unwrap())
            .collect();
        // One of six is there, and so one of two architectures.
        run.simulate.fail = None;
        run.simulate.offline = Some(Offline { parties: 5 });
        let lines = |job: &Job, quorum| {
            let close = Close { quorum, ..CLOSE };
            let mut lines = of_rounds(&[job], 8, close);
            lines.retain(|line| line.contains("everyone selected with"));
            lines
        };
        let gone = lines(&job, 0.1);
        let named = ["mlp[0]", "mlp[1]"].map(|architecture| {
            format!(
                "warning: rounds 1 to 8: everyone selected with {architecture} fails or is offline, and its model stays as \
                 it was"
            )
        });
        assert!(gone.len() == 1 && named.contains(&gone[0]), "{gone:?}");
        // The run ends before anything is averaged.
        assert!(lines(&job, 0.5).is_empty());
        // As many that always fail are named alike.
        let simulate = &mut job.resolved.simulate;
        simulate.offline = None;
        simulate.fail = Some(Fail {
            parties: 5,
            probability: 1.0,
        });
        let failed = lines(&job, 0.1);
        assert!(failed.len() == 1 && named.contains(&failed[0]), "{failed:?}");
        job.resolved.pipeline.round.retain(|step| step.rule.is_none());
        assert!(lines(&job, 0.1).is_empty());
    }

    #[test]
    fn pipelines_that_select_by_their_own_rounds_are_said_not_to_select_alike() {
        let named = |name: &str, selection| {
            let mut run = failing(0).resolved;
            name.clone_into(&mut run.pipeline.name);
            run.selection = selection;
            run
        };
        let said = |runs: &[ResolvedRun]| selected_apart(runs.iter());
        let scan = Selection::Fedlesscan { active: 4 };
        let (one, other) = (named("b", scan), named("standalone", scan));
        let warned = said(&[one.clone(), other.clone()]).unwrap();
        assert!(
            warned.starts_with("warning: b and standalone may select different parties"),
            "{warned}"
        );
        // Its seeds are compared with nothing.
        assert_eq!(said(&[one.clone(), one.clone()]), None);
        let mut all = other;
        all.pipeline.round.retain(|step| step.who != Who::Selected);
        assert_eq!(said(&[one, all]), None, "one selects, and the other takes everyone");
        for sure in [
            Selection::All,
            Selection::Random { active: 4 },
            Selection::RoundRobin { active: 4 },
            Selection::Fedlesscan { active: 10 },
        ] {
            assert_eq!(said(&[named("b", sure), named("standalone", sure)]), None, "{sure:?}");
        }
    }

    #[test]
    fn many_rounds_are_a_short_line() {
        assert_eq!(in_words(&[3]), "round 3");
        assert_eq!(in_words(&[1, 2, 4, 5, 6]), "rounds 1, 2, 4 to 6");
        let odd: Vec<u32> = (0..100).map(|round| 2 * round + 1).collect();
        assert_eq!(
            in_words(&odd),
            "rounds 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23 and 88 more"
        );
    }
}
