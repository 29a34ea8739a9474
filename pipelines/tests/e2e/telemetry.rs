//! What workers tell a collector.

use crate::deployment::good;
use crate::parties::{ALL, Party, RUN, kafka, prepared, run_file};
use bytes::Bytes;
use fedstill_log::{Log, Message};
use fedstill_test_servers::otlp::{Receiver, Span};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

#[test]
fn a_round_is_one_trace_over_all_stages_and_processes_and_metrics_say_how_it_goes() {
    let folder = tempfile::tempdir().unwrap();
    let Some((mut deployment, _, rows)) = prepared("telemetry of workers", folder.path()) else {
        return;
    };
    let receiver = Receiver::start();
    deployment.set("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.endpoint());
    deployment.set("OTEL_METRIC_EXPORT_INTERVAL", "500");
    // Parties of their own, one of which does not answer every task.
    let mut parties: Vec<Party> = (0..3)
        .map(|slot| {
            let allow = if slot == 2 { "[\"consensus\", \"reports\"]" } else { ALL };
            Party::new(&deployment, folder.path(), slot, &rows[slot], allow)
        })
        .collect();
    let file = run_file(folder.path(), &parties, "[close]\nquorum = 0.5\ndeadline = \"5m\"\n");
    for stages in ["plan", "advance", "pretrain"] {
        deployment.work(&["--jobs", "1", "--stages", stages]);
    }
    for party in &mut parties {
        party.start(&deployment);
    }
    good(&deployment.does(&["submit", file.to_str().unwrap()]));
    // Nobody archives yet: a phase stays open for longer than the metrics' interval.
    let told = (0..300).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(100));
        receiver.received().metrics.contains_key("fedstill.phase.cohort")
    });
    assert!(told, "an open phase is told");
    let log = kafka(&deployment);
    log.append(&[Message {
        topic: "fedstill.archive".to_owned(),
        partition: 0,
        key: Bytes::new(),
        headers: Vec::new(),
        value: "no task".into(),
    }])
    .unwrap();
    deployment.work(&["--jobs", "1", "--stages", "aggregate,join,archive"]);
    good(&deployment.does(&["watch", RUN]));
    // Lag is looked at every ten seconds.
    std::thread::sleep(std::time::Duration::from_secs(12));
    // What they hold is sent before they go.
    let all = deployment
        .workers
        .iter_mut()
        .chain(parties.iter_mut().map(Party::process));
    for process in all {
        let asked = Command::new("kill").args(["-TERM", &process.id().to_string()]).status();
        assert!(asked.unwrap().success());
        assert!(process.wait().unwrap().success());
    }
    let received = receiver.received();
    let mut rounds = BTreeMap::<&str, Vec<&Span>>::new();
    for span in &received.spans {
        rounds.entry(&span.trace).or_default().push(span);
    }
    assert_eq!(rounds.len(), 3, "a trace a round: {:?}", rounds.keys());
    let names: BTreeSet<String> = rounds.values().map(|spans| one_tree(spans)).collect();
    assert_eq!(names, ["round 0", "round 1", "round 2"].map(str::to_owned).into());
    for spans in rounds.values() {
        let processes: BTreeSet<&str> = spans.iter().map(|span| span.instance.as_str()).collect();
        // Three workers and two parties; pretraining and the party that refuses are in the first round alone.
        assert!(processes.len() >= 5, "{processes:?}");
    }
    let processes: BTreeSet<&str> = received.spans.iter().map(|span| span.instance.as_str()).collect();
    assert_eq!(processes.len(), 7, "every process tells");
    let round = rounds
        .values()
        .find(|spans| spans.iter().any(|span| span.name == "round 1"));
    let of_round: BTreeSet<&str> = round.unwrap().iter().map(|span| span.name.as_str()).collect();
    for name in [
        "process fedstill.rounds",
        "send fedstill.rounds",
        "phase predict",
        "send fedstill.party.predict",
        "process fedstill.party.predict",
        "send fedstill.logits",
        "process fedstill.aggregate",
        "process fedstill.join",
        "process fedstill.party.distill",
        "process fedstill.party.train",
        "process fedstill.party.evaluate",
        "process fedstill.archive",
        "send fedstill.answers",
        "send fedstill.party.answers",
    ] {
        assert!(of_round.contains(name), "{name}: {of_round:?}");
    }
    for (name, attribute) in [
        ("messaging.client.sent.messages", "messaging.destination.name"),
        ("messaging.client.consumed.messages", "messaging.consumer.group.name"),
        ("messaging.client.operation.duration", "messaging.operation.name"),
        ("messaging.process.duration", "fedstill.stage"),
        ("fedstill.log.io", "network.io.direction"),
        ("fedstill.log.lag", "messaging.destination.partition.id"),
        ("fedstill.task.wait", "fedstill.stage"),
        ("fedstill.tasks.in_flight", ""),
        ("fedstill.phases.open", ""),
        ("fedstill.phase.duration", "fedstill.outcome"),
        ("fedstill.phase.cohort", "fedstill.run"),
        ("fedstill.phase.answered", "fedstill.step"),
        ("fedstill.phase.missing", "fedstill.reason"),
        ("fedstill.dead_letters", "messaging.destination.name"),
    ] {
        let attributes = received.metrics.get(name);
        let attributes = attributes.unwrap_or_else(|| panic!("{name}: {:?}", received.metrics.keys()));
        assert!(
            attribute.is_empty() || attributes.contains(attribute),
            "{name}: {attributes:?}"
        );
    }
    assert!(
        received.logs.iter().any(|line| line == "working"),
        "{:?}",
        received.logs
    );
}

#[test]
fn dashboards_and_alerts_ask_for_metrics_that_there_are() {
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy");
    let read = |file: &str| std::fs::read_to_string(deploy.join(file)).unwrap();
    let source = include_str!("../../../stages/src/telemetry/instruments.rs");
    let named = source
        .split('"')
        .filter(|text| text.starts_with("fedstill.") || text.starts_with("messaging."));
    let known: BTreeSet<String> = named.map(|name| name.replace('.', "_")).collect();
    let mut asked = 0;
    for file in [
        "grafana/dashboards/fedstill.json",
        "grafana/dashboards/rounds.json",
        "prometheus/alerts.yaml",
    ] {
        let text = read(file);
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        for word in words.filter(|word| word.starts_with("fedstill_") || word.starts_with("messaging_")) {
            // As a collector names it for Prometheus: with its unit, and what of a histogram or counter it is.
            let suffixes = ["_bucket", "_sum", "_count", "_total", "_seconds", "_bytes"];
            let plain = suffixes
                .iter()
                .fold(word, |word, suffix| word.strip_suffix(suffix).unwrap_or(word));
            // Whether a worker does advance is an attribute of its process.
            let there = known.contains(plain) || plain == "fedstill_stages";
            assert!(there, "{file} asks for {word}");
            asked += 1;
        }
    }
    assert!(asked > 30, "{asked}");
}

/// Checks that spans of a trace are one tree; the name of its root.
fn one_tree(spans: &[&Span]) -> String {
    let ids: BTreeMap<&str, &Span> = spans.iter().map(|span| (span.id.as_str(), *span)).collect();
    let roots: Vec<&Span> = ids.values().filter(|span| span.parent.is_empty()).copied().collect();
    let names: BTreeSet<_> = spans.iter().map(|span| (&span.name, &span.parent)).collect();
    assert_eq!(roots.len(), 1, "one root: {names:?}");
    for span in spans {
        let mut seen = BTreeSet::new();
        let mut at = *span;
        while !at.parent.is_empty() {
            assert!(seen.insert(&at.id), "{} is its own ancestor", at.name);
            let parent = ids.get(at.parent.as_str());
            at = parent.unwrap_or_else(|| panic!("the parent of {} is there: {:?}", at.name, at.attributes));
        }
    }
    roots[0].name.clone()
}
