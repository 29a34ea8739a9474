//! The same runs on Apache Kafka, by workers that are processes of their own.

use crate::deployment::{DEADLINE, Deployment, good};
use crate::federation::{assert_same, bits, fedstill, files, finish, said, write};
use crate::parties::{ALL, Party, RUN, assert_same_weights_of, divide_run, everything, kafka};
use fedstill_log::{Clock, Log, Message, SystemClock};
use fedstill_schemas::{names, results};
use fedstill_test_servers::s3::S3;
use fedstill_test_servers::{free_port, skip};
use parquet::file::reader::{FileReader, SerializedFileReader};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

#[test]
fn a_run_on_kafka_gives_the_bits_of_one_machine_with_one_worker_three_or_eight() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), &[DEADLINE]);
    let out = folder.path().join("runs");
    finish(&file, &out, &[]);
    let expected = bits(&out, "tiny-fedmd-0");
    let one: &[&[&str]] = &[&["--jobs", "2"]];
    let three: &[&[&str]] = &[&["--jobs", "1"], &["--stages", "plan,advance,join"], &[]];
    let eight: &[&[&str]] = &[one[0]; 8];
    let long = std::env::var_os("FEDSTILL_LONG").is_some();
    let cases = [(one, false), (three, true), (eight, false)];
    for (workers, on_s3) in cases.into_iter().take(if long { 3 } else { 2 }) {
        let own = tempfile::tempdir().unwrap();
        let Some(mut deployment) = Deployment::start("runs on Apache Kafka", own.path(), 1) else {
            return;
        };
        if on_s3 && cfg!(feature = "cloud") {
            match S3::start() {
                Ok(server) => deployment.s3 = Some(server),
                Err(missing) => return skip("runs on S3", &missing),
            }
        }
        good(&deployment.does(&["topics", "create"]));
        // The same command mends and extends: there is nothing to do.
        assert!(good(&deployment.does(&["topics", "create"])).contains("fedstill.logits"));
        for worker in workers {
            deployment.work(worker);
        }
        let file = file.to_str().unwrap();
        assert!(good(&deployment.does(&["submit", file])).contains("tiny-fedmd-0 goes on with round 0"));
        let watched = good(&deployment.does(&["watch", "tiny-fedmd-0"]));
        assert!(
            watched.contains("round 2: digest, revisit, evaluate by 3 of 3"),
            "{watched}"
        );
        assert_same(
            &expected,
            &deployment.bits("tiny-fedmd-0"),
            &format!("{} workers", workers.len()),
        );
        let table = deployment
            .path()
            .join("results/rounds/run=tiny-fedmd-0/round=1/part-0.parquet");
        assert_eq!(releases(&table), env!("CARGO_PKG_VERSION"));
        assert!(good(&deployment.does(&["submit", file])).contains("tiny-fedmd-0 is finished"));
        let replays = own.path().join("replays");
        let replay = ["replay", "tiny-fedmd-0", "--out", replays.to_str().unwrap()];
        let replayed = good(&deployment.does(&replay));
        assert!(
            replayed.starts_with("3 rounds of tiny-fedmd-0 are the same"),
            "{replayed}"
        );
        assert_same(&expected, &bits(&replays, "tiny-fedmd-0"), "the replay");
    }
}

/// The releases that a result table says took part.
fn releases(table: &Path) -> String {
    let reader = SerializedFileReader::new(std::fs::File::open(table).unwrap()).unwrap();
    let said = reader.metadata().file_metadata().key_value_metadata().unwrap();
    let said = said.iter().find(|said| said.key == results::RELEASE).unwrap();
    said.value.clone().unwrap()
}

#[test]
fn the_quickstart_on_kafka_gives_the_bits_of_one_machine() {
    if std::env::var_os("FEDSTILL_LONG").is_none() {
        return;
    }
    const NAME: &str = "quickstart-fedmd-0";
    let folder = tempfile::tempdir().unwrap();
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let quickstart = std::fs::read_to_string(examples.join("quickstart.toml")).unwrap();
    let quickstart = quickstart
        .replace("\"data/", &format!("\"{}/data/", examples.display()))
        .replace("baselines", "# baselines");
    let file = folder.path().join("run.toml");
    std::fs::write(&file, quickstart + "\n[close]\ndeadline = \"10m\"\n").unwrap();
    let out = folder.path().join("runs");
    finish(&file, &out, &[]);
    let full: &[usize] = &[1, 3, 8];
    let counts = std::env::var_os("FEDSTILL_CHAOS").map_or(&full[1..2], |_| full);
    for workers in counts {
        let own = tempfile::tempdir().unwrap();
        let Some(mut deployment) = Deployment::start("the quickstart on Apache Kafka", own.path(), 1) else {
            return;
        };
        good(&deployment.does(&["topics", "create"]));
        for _ in 0..*workers {
            deployment.work(&["--jobs", "1"]);
        }
        good(&deployment.does(&["submit", file.to_str().unwrap()]));
        good(&deployment.does(&["watch", NAME]));
        let what = format!("the quickstart with {workers} workers");
        assert_same(&bits(&out, NAME), &deployment.bits(NAME), &what);
    }
    if counts == full {
        by_processes(NAME, &file, &out);
    }
}

/// The quickstart once more, each of its ten parties a process of its own.
fn by_processes(run: &str, file: &Path, out: &Path) {
    let own = tempfile::tempdir().unwrap();
    let rows = divide_run(run, out, own.path());
    let Some(mut deployment) = Deployment::start("the quickstart's parties on Apache Kafka", own.path(), 1) else {
        return;
    };
    good(&deployment.does(&["topics", "create"]));
    deployment.work(&["--jobs", "1"]);
    let mut parties: Vec<Party> = (0..rows.len())
        .map(|slot| Party::new(&deployment, own.path(), slot, &rows[slot], ALL))
        .collect();
    // Who has which architecture follows from the file, as the run itself says.
    let resolved = std::fs::read(out.join(run).join("store").join(run).join("run.json")).unwrap();
    let resolved: serde_json::Value = serde_json::from_slice(&resolved).unwrap();
    let architectures = resolved["parties"].as_array().unwrap();
    let tables: String = parties
        .iter()
        .zip(architectures)
        .map(|(party, architecture)| party.table.replace("\"lenet\"", &architecture.to_string()))
        .collect();
    let text = std::fs::read_to_string(file).unwrap();
    let mut placed = String::new();
    let mut skips = false;
    for line in text.lines() {
        if line.starts_with('[') {
            skips = line.starts_with("[parties]");
        }
        let private = line.starts_with("private");
        match (skips, private) {
            (true, _) => {}
            (_, true) => placed += "private = { classes = 26, shape = [1, 28, 28] }\n",
            _ => {
                placed += line;
                placed.push('\n');
            }
        }
    }
    let file = own.path().join("placed.toml");
    std::fs::write(&file, placed + &tables).unwrap();
    for party in &mut parties {
        party.start(&deployment);
    }
    good(&deployment.does(&["submit", file.to_str().unwrap()]));
    good(&deployment.does(&["watch", run]));
    let scores = |results: &Path| files(&results.join("metrics").join(format!("run={run}")));
    let deployed = scores(&deployment.path().join("results"));
    assert_eq!(deployed.len(), 6);
    assert_same(
        &scores(&out.join("results")),
        &deployed,
        "the scores of parties of their own",
    );
    assert_same_weights_of(run, out, &parties, "the quickstart's parties");
}

#[test]
fn triggers_of_other_tools_work_a_stopped_run_goes_on_and_a_pruned_one_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), &[DEADLINE]);
    let out = folder.path().join("runs");
    finish(&file, &out, &[]);
    let Some(mut deployment) = Deployment::start("triggers on Apache Kafka", folder.path(), 1) else {
        return;
    };
    let does = |deployment: &Deployment, arguments: &[&str]| good(&deployment.does(arguments));
    does(&deployment, &["topics", "create"]);
    let file = file.to_str().unwrap();
    let printed = does(&deployment, &["submit", "--print", file]);
    let log = kafka(&deployment);
    let write = |value: &serde_json::Value| {
        let message = Message {
            topic: names::ROUNDS.to_owned(),
            partition: 0,
            key: "by hand".into(),
            headers: Vec::new(),
            value: value.to_string().into(),
        };
        log.append(&[message]).unwrap();
    };
    // The data come with a submission; it is stopped before anybody works.
    does(&deployment, &["submit", file]);
    deployment.work(&["--jobs", "1", "--stages", "plan,advance"]);
    let stopped = (0..100).find_map(|_| {
        std::thread::sleep(Duration::from_millis(100));
        let output = deployment.does(&["stop", RUN]);
        output.status.success().then(|| good(&output))
    });
    assert!(stopped.unwrap().contains("round 0 attempt 0 is stopped"));
    let busy = deployment.does(&["prune", "nobody-fedmd-0"]);
    assert!(said(&busy).contains("there is no run"), "{}", said(&busy));

    // By URL, and to be taken up where it is: the next attempt, which has the same bits.
    let mut trigger: serde_json::Value = serde_json::from_str(printed.lines().next().unwrap()).unwrap();
    let resolved = deployment.path().join("store/by-hand/run.json");
    std::fs::create_dir_all(resolved.parent().unwrap()).unwrap();
    std::fs::write(&resolved, trigger["resolved"].to_string()).unwrap();
    let at = |path: &str| format!("file://{}/store/{path}", deployment.path().display());
    for (url, through) in [
        (at("nothing.json"), 2),
        ("file:///etc/passwd".to_owned(), 2),
        (at("by-hand/run.json"), 0),
    ] {
        trigger["resolved"] = url.into();
        trigger["through"] = through.into();
        write(&trigger);
    }
    // What no worker could hold.
    let mut huge: serde_json::Value = serde_json::from_str(printed.lines().next().unwrap()).unwrap();
    huge["resolved"]["private"]["classes"] = 1_000_000_000.into();
    write(&huge);
    // What shows more of parties than it says.
    let mut silent: serde_json::Value = serde_json::from_str(printed.lines().next().unwrap()).unwrap();
    silent["resolved"]["pipeline"]["discloses"] = serde_json::json!([]);
    write(&silent);
    write(&serde_json::json!({"version": 1, "throgh": 3}));
    write(&serde_json::json!({"version": 99}));
    deployment.work(&["--jobs", "2"]);
    let ended = (0..600).any(|_| {
        std::thread::sleep(Duration::from_millis(100));
        said(&deployment.does(&["watch", RUN])).contains("finished with round 0")
    });
    assert!(ended);
    // One step by hand, then the rest.
    trigger.as_object_mut().unwrap().remove("run");
    trigger["at"] = serde_json::json!({"run": RUN, "round": 1, "attempt": 0});
    trigger["through"] = 1.into();
    write(&trigger);
    let ended = (0..600).any(|_| {
        std::thread::sleep(Duration::from_millis(100));
        said(&deployment.does(&["watch", RUN])).contains("finished with round 1")
    });
    assert!(ended);
    does(&deployment, &["submit", file]);
    let watched = does(&deployment, &["watch", RUN]);
    assert!(watched.contains("finished with round 2"), "{watched}");
    let tables = |results: &Path| files(&results.join("metrics").join(format!("run={RUN}")));
    assert_eq!(tables(&deployment.path().join("results")).len(), 3);

    let mut reasons = String::new();
    for partition in 0..log.partitions(names::DEAD).unwrap() {
        let mut reader = log.read(names::DEAD, partition, 0).unwrap();
        for record in reader.next(1 << 20).unwrap() {
            reasons += &String::from_utf8_lossy(record.header("fedstill_reason").unwrap());
            reasons.push('\n');
        }
    }
    for reason in [
        "nothing.json below",
        "/etc/passwd below",
        "1000000000 classes",
        "resolved.pipeline.discloses: step 'predict' shows",
        "`throgh`",
        "schema version 99",
    ] {
        assert!(reasons.contains(reason), "{reason}: {reasons}");
    }

    assert!(does(&deployment, &["prune", RUN]).contains("deleted"));
    let left = files(&deployment.path().join("store").join(RUN));
    assert_eq!(left.keys().collect::<Vec<_>>(), ["pruned.json", "run.json"]);
    assert_eq!(tables(&deployment.path().join("results")).len(), 3, "results stay");
    let refused = deployment.does(&["submit", file]);
    assert!(said(&refused).contains("was pruned"), "{}", said(&refused));
    write(&serde_json::from_str(printed.lines().next().unwrap()).unwrap());
    let refused = (0..100).any(|_| {
        std::thread::sleep(Duration::from_millis(100));
        (0..4).any(|partition| {
            let mut reader = log.read(names::DEAD, partition, 0).unwrap();
            reader.next(1 << 20).unwrap().iter().any(|record| {
                let reason = record.header("fedstill_reason").unwrap_or_default();
                String::from_utf8_lossy(reason).contains("was pruned")
            })
        })
    });
    assert!(refused, "a pruned run's id is not used again");
}

#[test]
fn partitions_that_are_added_during_two_runs_lose_nothing_and_their_replays_are_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), &[DEADLINE, ("rounds = 2", "rounds = 2\nseeds = [0, 1]")]);
    let Some(mut deployment) = Deployment::start("partitions added to Apache Kafka", folder.path(), 1) else {
        return;
    };
    good(&deployment.does(&["topics", "create"]));
    // Consumers see new partitions when they ask again, every five minutes by default.
    deployment.set("FEDSTILL_KAFKA_TOPIC_METADATA_REFRESH_INTERVAL_MS", "500");
    for _ in 0..2 {
        deployment.work(&["--jobs", "1"]);
    }
    good(&deployment.does(&["submit", file.to_str().unwrap()]));
    let begun = deployment.path().join("store").join(RUN).join("0/manifest.json");
    let begun = (0..600).any(|_| {
        std::thread::sleep(Duration::from_millis(20));
        begun.is_file()
    });
    assert!(begun, "round 0 ends");
    deployment.set("FEDSTILL_LOG_PARTITIONS", "7");
    let said = good(&deployment.does(&["topics", "create"]));
    assert!(said.contains('7'), "{said}");
    // One that knows the new counts beside those that know the old ones.
    deployment.work(&["--jobs", "1"]);
    // Both runs go on at once, on the same topics.
    let out = folder.path().join("replays");
    for run in [RUN, "tiny-fedmd-1"] {
        let watched = good(&deployment.does(&["watch", run]));
        assert!(watched.contains("finished with round 2"), "{watched}");
        assert!(!watched.contains("without"), "{watched}");
        let replayed = good(&deployment.does(&["replay", run, "--out", out.to_str().unwrap()]));
        assert!(replayed.starts_with("3 rounds"), "{replayed}");
    }
    assert_eq!(deployment.lag(), Vec::<String>::new());
}

#[test]
fn a_worker_says_whether_it_is_well_and_stops_when_asked() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut deployment) = Deployment::start("the health of workers", folder.path(), 1) else {
        return;
    };
    good(&deployment.does(&["topics", "create"]));
    let address = format!("127.0.0.1:{}", free_port());
    deployment.work(&["--health", &address]);
    let ask = |path: &str| {
        let mut connection = TcpStream::connect(&address).ok()?;
        write!(connection, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").ok()?;
        let mut text = String::new();
        connection.read_to_string(&mut text).ok()?;
        Some(text)
    };
    let ready = (0..300).any(|_| {
        std::thread::sleep(Duration::from_millis(100));
        ask("/readyz").is_some_and(|text| text.starts_with("HTTP/1.1 200"))
    });
    assert!(ready, "{:?}", ask("/readyz"));
    assert!(ask("/healthz").unwrap().ends_with("alive\n"));
    assert!(ask("/").unwrap().starts_with("HTTP/1.1 404"));
    let worker = &mut deployment.workers[0];
    let asked = Command::new("kill").args(["-TERM", &worker.id().to_string()]).status();
    assert!(asked.unwrap().success());
    assert!(worker.wait().unwrap().success(), "it ends by itself");
}

#[test]
fn a_round_that_misses_its_deadline_fails_and_its_next_attempt_has_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), &[DEADLINE]);
    let out = folder.path().join("runs");
    finish(&file, &out, &[]);
    let Some(mut deployment) = Deployment::start("deadlines on Apache Kafka", folder.path(), 1) else {
        return;
    };
    good(&deployment.does(&["topics", "create"]));
    deployment.work(&["--jobs", "1"]);
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("deadline = \"5m\"", "deadline = \"1ms\"")).unwrap();
    let file = file.to_str().unwrap();
    good(&deployment.does(&["submit", file]));
    let watched = deployment.does(&["watch", RUN]);
    assert!(!watched.status.success(), "{}", said(&watched));
    assert!(said(&watched).contains("failed"), "{}", said(&watched));
    // Answers to the first attempt come after its close, and count for nothing.
    std::fs::write(file, text).unwrap();
    assert!(good(&deployment.does(&["submit", file])).contains("round 0"));
    let watched = good(&deployment.does(&["watch", RUN]));
    assert!(watched.contains("finished with round 2"), "{watched}");
    let tables = |results: &Path| files(&results.join("metrics").join(format!("run={RUN}")));
    let deployed = tables(&deployment.path().join("results"));
    assert_same(&tables(&out.join("results")), &deployed, "the second attempt");
}

#[test]
fn a_worker_whose_grace_is_over_leaves_its_task_to_others_and_says_so_in_json() {
    let folder = tempfile::tempdir().unwrap();
    // A pretraining that takes far longer than the grace.
    let long = ("[steps.pretrain]\nepochs = 1", "[steps.pretrain]\nepochs = 100000");
    let one = ("[\"mlp[32]\", \"cnn[4]\"]", "[\"mlp[32]\"]");
    let file = write(folder.path(), &[DEADLINE, long, one]);
    let Some(mut deployment) = Deployment::start("the grace of workers", folder.path(), 1) else {
        return;
    };
    good(&deployment.does(&["topics", "create"]));
    let lines = folder.path().join("lines");
    let mut command = deployment.command();
    command
        .args(["worker", "--jobs", "1", "--grace", "1"])
        .stderr(std::fs::File::create(&lines).unwrap());
    deployment.workers.push(command.spawn().unwrap());
    good(&deployment.does(&["submit", file.to_str().unwrap()]));
    let log = kafka(&deployment);
    let taken = (0..300).any(|_| {
        std::thread::sleep(Duration::from_millis(100));
        let waits = deployment.lag().iter().any(|line| line.contains("fedstill.pretrain"));
        waits && !everything(&log, "fedstill.pretrain").is_empty()
    });
    assert!(taken);
    std::thread::sleep(Duration::from_secs(2));
    let clock = SystemClock::new();
    let began = clock.monotonic();
    let worker = &mut deployment.workers[0];
    let asked = Command::new("kill").args(["-TERM", &worker.id().to_string()]).status();
    assert!(asked.unwrap().success());
    assert!(worker.wait().unwrap().success(), "it ends by itself");
    let took = clock.monotonic().saturating_sub(began);
    assert!(took < Duration::from_secs(20), "{took:?}");
    assert!(everything(&log, names::ANSWERS).is_empty(), "nobody has answered");
    let task = |line: &String| line.contains("fedstill.pretrain");
    assert!(deployment.lag().iter().any(task), "the task waits for others");
    let lines = std::fs::read_to_string(&lines).unwrap();
    let said: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for line in &said {
        assert!(line["timestamp"].is_string() && line["level"].is_string(), "{line}");
    }
    let messages: Vec<_> = said.iter().filter_map(|line| line["message"].as_str()).collect();
    assert!(
        messages.contains(&"working") && messages.contains(&"stopped"),
        "{messages:?}"
    );
}

#[test]
fn what_a_deployment_lacks_is_said_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), &[]);
    let complaint = |command: &mut Command| {
        let output = command.output().unwrap();
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let said = complaint(fedstill().args(["topics", "create"]));
    assert!(said.contains("FEDSTILL_LOG_BROKERS"), "{said}");
    let said = complaint(fedstill().arg("submit").arg(&file));
    assert!(said.contains("[close] with deadline"), "{said}");
    let said = complaint(fedstill().args(["worker", "--stages", "trian"]));
    assert!(said.contains("no stage 'trian'") && said.contains("train"), "{said}");
    let config = folder.path().join("cluster.toml");
    std::fs::write(&config, "[log]\nbrokrs = \"x:1\"\n").unwrap();
    let said = complaint(fedstill().args(["watch", "x", "--config"]).arg(&config));
    assert!(said.contains("did you mean 'brokers'"), "{said}");
}
