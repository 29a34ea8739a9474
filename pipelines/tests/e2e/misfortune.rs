//! Parties that are too slow, fail, are offline or are not selected: rounds end without them, and the results say so.

use crate::federation::{assert_same, bits, fedstill, finish, pipeline, run, said, write, write_for};
use crate::stored::{Stored, texts, wholes};
use fedstill_schemas::task::{Report, Subject};
use fedstill_schemas::{names, results};
use std::collections::BTreeSet;

/// Who was late in a round and who refused, as its results name them.
fn missing(stored: &Stored, round: u32) -> [String; 2] {
    let rows = stored.table(results::ROUNDS, round);
    ["stragglers", "refused"].map(|column| texts(&rows, column).remove(0))
}

/// How many parties were in a round, by its results.
fn members(stored: &Stored, round: u32) -> u32 {
    wholes(&stored.table(results::ROUNDS, round), "members")[0]
}

/// The slots that a round selected, as its results name them; none where it left nobody out.
fn selected(stored: &Stored, round: u32) -> BTreeSet<u32> {
    let named = texts(&stored.table(results::ROUNDS, round), "selected").remove(0);
    let parties = named.split("; ").filter(|party| !party.is_empty());
    let slots = parties.map(|party| match party.parse() {
        Ok(Subject::Party(slot)) => slot,
        other => panic!("{other:?}"),
    });
    slots.collect()
}

/// The parties that were in the phase of a step, by what closed it.
fn slots_of(stored: &Stored, round: u32, step: &str) -> BTreeSet<u32> {
    let closed = stored.closed(round);
    let members = closed.iter().flat_map(|closed| &closed.members);
    let members = members.filter(|(_, done)| done.iter().any(|done| done.result.step == step));
    let slots = members.filter_map(|(subject, _)| match subject {
        Subject::Party(slot) => Some(*slot),
        _ => None,
    });
    slots.collect()
}

/// The slots whose scores the results have of a step.
fn scored(stored: &Stored, round: u32, step: &str) -> BTreeSet<u32> {
    let rows = stored.table(results::METRICS, round);
    let of_step = texts(&rows, "step").into_iter().zip(wholes(&rows, "slot"));
    of_step.filter(|(of, _)| of == step).map(|(_, slot)| slot).collect()
}

#[test]
fn a_party_that_fails_half_the_time_is_named_where_it_did_and_fails_again_in_the_same_rounds() {
    // With this seed it fails in some rounds, and not in all.
    let rounds = ("rounds = 2", "rounds = 3\nseeds = [1]");
    let fails = "[close]\nquorum = 0.5\n[simulate]\nfail = { parties = 1, probability = 0.5 }\n[parties]";
    // Who fails does so at the first step of each phase of parties, and is scored in none.
    for (name, first_steps, scores) in [
        ("fedavg", &["train"][..], "evaluate_personal"),
        ("fedmd", &["predict", "digest"][..], "evaluate"),
    ] {
        let reasons: Vec<String> = first_steps
            .iter()
            .map(|step| format!("{step}: simulated failure"))
            .collect();
        let folder = tempfile::tempdir().unwrap();
        let file = write_for(&pipeline(name), folder.path(), &[rounds, ("[parties]", fails)]);
        let run = names::run_id("tiny", name, 1);
        let outs = ["1", "8"].map(|threads| {
            let out = folder.path().join(threads);
            finish(&file, &out, &["--threads", threads]);
            out
        });
        let [once, again] = &outs;
        assert_same(&bits(once, &run), &bits(again, &run), name);
        let [stored, again] = outs.each_ref().map(|out| Stored::new(out, &run));

        assert_eq!(missing(&stored, 0), ["", ""], "{name}: everybody is well in round 0");
        let mut failed = BTreeSet::new();
        for round in 1..=3 {
            let [late, refused] = missing(&stored, round);
            assert_eq!(late, "", "{name}, round {round}");
            assert_eq!(missing(&again, round), [late, refused.clone()], "{name}, round {round}");
            let slots = slots_of(&stored, round, scores);
            assert_eq!(scored(&stored, round, scores), slots, "{name}, round {round}");
            let Some((party, why)) = refused.split_once(": ") else {
                assert_eq!(refused, "", "{name}, round {round}");
                assert_eq!((members(&stored, round), slots.len()), (4, 4), "{name}, round {round}");
                continue;
            };
            assert_eq!(why, reasons.join(", then "), "{name}, round {round}");
            assert_eq!(members(&stored, round), 3, "{name}, round {round}");
            let Ok(Subject::Party(slot)) = party.parse() else {
                panic!("{name}, round {round}: {refused}");
            };
            let others: BTreeSet<u32> = (0..4).filter(|other| *other != slot).collect();
            for step in first_steps.iter().chain([&scores]) {
                assert_eq!(
                    slots_of(&stored, round, step),
                    others,
                    "{name}, {step} of round {round}"
                );
            }
            let models = [round - 1, round].map(|round| stored.manifest(round).slots);
            let [before, after] = models.each_ref().map(|slots| slots.get(&Subject::Party(slot)));
            assert_eq!(after, before, "{name}, round {round}: its model stays as it was");
            failed.insert((slot, round));
        }
        let parties: BTreeSet<u32> = failed.iter().map(|(slot, _)| *slot).collect();
        assert_eq!(parties.len(), 1, "{name}: it is always the same: {failed:?}");
        assert!((1..3).contains(&failed.len()), "{name}: not always: {failed:?}");
    }
}

#[test]
fn a_round_ends_at_its_deadline_and_names_a_straggler_and_a_party_that_is_offline() {
    let folder = tempfile::tempdir().unwrap();
    let misfortunes = "[close]\nquorum = 0.5\ndeadline = \"5s\"\n[simulate]\nslow = { parties = 1, factor = 1000.0 }\n\
                       offline = { parties = 1 }\n[parties]";
    let changes = [
        ("rounds = 2", "rounds = 1"),
        ("\"cnn[4]\", \"mlp[32]\"", "\"cnn[4]\""),
        // Forty steps take the others a tenth of a second, and a thousand times that far longer than anybody waits.
        ("epochs = 1", "epochs = 20"),
        ("[parties]", misfortunes),
    ];
    let file = write_for(&pipeline("fedavg"), folder.path(), &changes);
    let out = folder.path().join("runs");
    // A thread for each: who is slow keeps one.
    finish(&file, &out, &["--threads", "4"]);
    let stored = Stored::new(&out, "tiny-fedavg-0");

    let [late, refused] = missing(&stored, 1);
    assert_eq!(refused, "");
    let late: BTreeSet<u32> = late
        .split("; ")
        .map(|straggler| match straggler.split_once(": ") {
            Some((party, "it did not answer by the deadline")) => match party.parse() {
                Ok(Subject::Party(slot)) => slot,
                other => panic!("{other:?}"),
            },
            _ => panic!("{late}"),
        })
        .collect();
    assert_eq!(late.len(), 2, "with this seed they are two: {late:?}");
    let others: BTreeSet<u32> = (0..4).filter(|slot| !late.contains(slot)).collect();
    assert_eq!(members(&stored, 1), 2);
    assert_eq!(slots_of(&stored, 1, "evaluate_personal"), others);
    assert_eq!(scored(&stored, 1, "evaluate_personal"), others);
    let average = stored.results_of(1, "average").remove(0).result.report;
    assert!(matches!(average, Report::Average { members: 2, .. }), "{average:?}");
}

#[test]
fn check_warns_where_a_baseline_may_have_other_parties_selected() {
    let folder = tempfile::tempdir().unwrap();
    let text = |selection: &str| {
        let active = format!("count = 4\nactive = 0.5\nselection = \"{selection}\"");
        let baselines = ("rounds = 2", "rounds = 2\nbaselines = [\"standalone\"]");
        let file = write_for(
            &pipeline("fedavg"),
            folder.path(),
            &[baselines, ("count = 4", active.as_str())],
        );
        let output = fedstill().arg("check").arg(&file).output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
        said(&output)
    };
    let warning = "warning: fedavg and standalone may select different parties";
    let [scanned, in_turn] = ["fedlesscan", "round_robin"].map(text);
    assert!(scanned.contains(warning), "{scanned}");
    assert!(!in_turn.contains(warning), "{in_turn}");
}

#[test]
fn a_run_that_fails_keeps_no_other_from_its_end_and_says_what_would_change_its_outcome() {
    let folder = tempfile::tempdir().unwrap();
    // Nobody fails in one place; a party that must not fail nearly always does.
    let changes = [
        ("rounds = 2", "rounds = 1\nbaselines = [\"centralised\"]"),
        (
            "[parties]",
            "[close]\nquorum = 1.0\n[simulate]\nfail = { parties = 1, probability = 0.999999 }\n[parties]",
        ),
    ];
    let file = write(folder.path(), &changes);
    let out = folder.path().join("runs");
    let failed = "1 of 2 runs failed (tiny-fedmd-0); the same command tries a round that failed again, three times at most \
                  in all; after that change the seed, or the quorum or [simulate]";
    for reason in [
        "round 1 failed in its attempt 0",
        "round 1 failed in its attempt 1",
        "round 1 failed in its attempt 2",
        "a round is tried 3 times at most: change the seed",
    ] {
        let output = run(&file, &out, &[]);
        let text = said(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains(&format!("error: tiny-fedmd-0: {reason}")), "{text}");
        assert!(text.contains(failed), "{text}");
        assert!(!bits(&out, "tiny-fedmd-0").contains_key("metrics/round=1/part-0.parquet"));
        assert!(bits(&out, "tiny-centralised-0").contains_key("metrics/round=1/part-0.parquet"));
    }
}

#[test]
fn who_is_never_selected_does_nothing_is_not_missed_and_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let changes = [
        ("\"cnn[4]\", \"mlp[32]\"", "\"mlp[32]\""),
        ("count = 4", "count = 5\nactive = 0.4\nselection = \"random\""),
        ("[parties]", "[close]\nquorum = 0.4\n[parties]"),
    ];
    let file = write_for(&pipeline("fedavg"), folder.path(), &changes);
    let [once, again] = ["1", "8"].map(|threads| {
        let out = folder.path().join(threads);
        finish(&file, &out, &["--threads", threads]);
        out
    });
    let run = "tiny-fedavg-0";
    assert_same(&bits(&once, run), &bits(&again, run), "the same selections");
    let stored = Stored::new(&once, run);
    assert_eq!(selected(&stored, 0), BTreeSet::new(), "round 0 leaves nobody out");
    let mut ever = BTreeSet::new();
    for round in [1, 2] {
        let parties = wholes(&stored.table(results::ROUNDS, round), "parties");
        assert_eq!(parties, [5], "round {round}");
        let selected = selected(&stored, round);
        assert_eq!(selected.len(), 2, "round {round}");
        assert_eq!(missing(&stored, round), ["", ""], "round {round}");
        assert_eq!(members(&stored, round), 2, "round {round}");
        assert_eq!(slots_of(&stored, round, "train"), selected, "round {round}");
        assert_eq!(scored(&stored, round, "evaluate_personal"), selected, "round {round}");
        ever.extend(selected);
    }
    // Two places in two rounds, for five parties.
    let never: Vec<Subject> = (0..5).filter(|slot| !ever.contains(slot)).map(Subject::Party).collect();
    assert!(!never.is_empty());
    let results = stored.results();
    assert!(results.iter().all(|made| !never.contains(&made.subject)));
    let manifest = stored.manifest(2);
    assert!(never.iter().all(|party| !manifest.slots.contains_key(party)));
    let output = fedstill()
        .arg("report")
        .arg(&file)
        .arg("--out")
        .arg(&once)
        .output()
        .unwrap();
    let text = said(&output);
    assert!(output.status.success(), "{text}");
    let never: Vec<String> = never.iter().map(ToString::to_string).collect();
    let named = format!("never selected:\n  fedavg, seed 0: {}\n", never.join(", "));
    assert!(text.contains(&named), "{text}");
}
