//! A cluster that authenticates: each principal has the rights that `deploy/acls` gives it, and no others.

use crate::deployment::{Deployment, good};
use crate::federation::{finish, write};
use crate::parties::{ALL, Party, RUN, divide, run_file};
use fedstill_log::kafka::Settings;
use fedstill_log::{ErrorKind, Kafka, Log, Message, SystemClock};
use fedstill_schemas::names;
use fedstill_schemas::task::{Reference, Task};
use fedstill_test_servers::kafka::Cluster;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

const ADMIN: (&str, &str) = Cluster::USERS[0];
const WORKER: (&str, &str) = Cluster::USERS[1];
const PARTIES: [(&str, &str); 2] = [Cluster::USERS[2], Cluster::USERS[3]];

/// What an operator runs.
fn grant(deployment: &Deployment, arguments: &[&str]) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/acls");
    let mut command = Command::new(script);
    command
        .args(arguments)
        .args(["--bootstrap-server", &deployment.cluster.bootstrap()])
        .arg("--command-config")
        .arg(deployment.cluster.admin_configuration())
        .envs(deployment.cluster.tool_environment());
    let output = command
        .env("KAFKA_ACLS", "java org.apache.kafka.tools.AclCommand")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn client(deployment: &Deployment, (user, password): (&str, &str)) -> Kafka {
    let mut settings = Settings::new(&deployment.cluster.bootstrap());
    for (name, value) in [
        ("security.protocol", "SASL_PLAINTEXT"),
        ("sasl.mechanism", "PLAIN"),
        ("sasl.username", user),
        ("sasl.password", password),
        ("message.timeout.ms", "3000"),
    ] {
        settings.properties.insert(name.to_owned(), value.to_owned());
    }
    Kafka::new(settings, Arc::new(SystemClock::new())).unwrap()
}

#[test]
fn a_partys_principal_can_take_part_and_can_do_nothing_else() {
    if std::env::var_os("FEDSTILL_LONG").is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let simulated = write(folder.path(), &[]);
    let out = folder.path().join("runs");
    finish(&simulated, &out, &[]);
    let rows = divide(&out, folder.path());
    let Some(mut deployment) = Deployment::secured("rights of principals", folder.path(), ADMIN) else {
        return;
    };
    good(&deployment.does(&["topics", "create"]));
    grant(&deployment, &["workers", WORKER.0]);
    for (slot, (user, _)) in PARTIES.iter().enumerate() {
        grant(&deployment, &["party", &format!("clinic-{slot}"), user]);
        // A second time nothing changes.
        grant(&deployment, &["party", &format!("clinic-{slot}"), user]);
    }
    deployment.login(WORKER);
    deployment.work(&["--jobs", "1"]);
    let mut parties: Vec<Party> = (0..2)
        .map(|slot| Party::new(&deployment, folder.path(), slot, &rows[slot], ALL))
        .collect();
    let file = run_file(folder.path(), &parties, "[close]\nquorum = 1.0\ndeadline = \"5m\"\n");
    for (party, user) in parties.iter_mut().zip(PARTIES) {
        deployment.login(user);
        party.start(&deployment);
    }
    deployment.login(WORKER);
    good(&deployment.does(&["submit", file.to_str().unwrap()]));
    let watched = good(&deployment.does(&["watch", RUN]));
    assert!(
        watched.contains("round 2: digest, revisit, evaluate by 2 of 2"),
        "{watched}"
    );

    let party = client(&deployment, PARTIES[0]);
    let own = [names::LOGITS, names::PARTY_ANSWERS, names::DEAD];
    for topic in names::topics() {
        let message = Message {
            topic: topic.to_owned(),
            partition: 0,
            key: "x".into(),
            headers: Vec::new(),
            value: "forged".into(),
        };
        let written = party.append(&[message]);
        if own.contains(&topic) {
            written.unwrap_or_else(|error| panic!("{topic}: {error}"));
        } else {
            let error = written.expect_err(topic);
            assert_eq!(error.kind(), ErrorKind::Fatal, "{topic}: {error}");
        }
    }
    // Of others' tasks it reads references; of a worker's nothing.
    let mut tasks = 0;
    for topic in names::party_topics() {
        for partition in 0..party.partitions(topic).unwrap() {
            let mut reader = party.read(topic, partition, 0).unwrap();
            for record in reader.next(1 << 24).unwrap() {
                let task: Task = serde_json::from_slice(&record.value).expect("a task, which names what it reads");
                let said: serde_json::Value = serde_json::from_slice(&record.value).unwrap();
                let fields = "at members phase reads resolved stage step subject version";
                assert!(
                    said.as_object()
                        .unwrap()
                        .keys()
                        .all(|name| fields.contains(name.as_str())),
                    "{said}"
                );
                let names = |reference: &Reference| serde_json::to_string(reference).unwrap().len();
                assert!(task.reads.values().all(|reference| names(reference) < 400), "{said}");
                tasks += 1;
            }
        }
    }
    assert!(tasks > 10);
    party
        .read("fedstill.pretrain", 0, 0)
        .map(drop)
        .expect_err("a worker's tasks");
    // Groups of workers and of other parties are closed to it.
    for group in [
        "fedstill.workers",
        "fedstill.plan",
        "fedstill.advance",
        "fedstill.party.clinic-1",
    ] {
        let mut member = party.subscribe(group, &["fedstill.party.train"]).unwrap();
        let refused = (0..100).find_map(|_| member.poll(Duration::from_millis(100)).err());
        let error = refused.expect(group);
        assert_eq!(error.kind(), ErrorKind::Fatal, "{group}: {error}");
    }
}
