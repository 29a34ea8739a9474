//! The same runs on Apache Kafka, by workers that are processes of their own.

use crate::deployment::{DEADLINE, Deployment, good};
use crate::federation::{assert_same, bits, fedstill, finish, write};
use fedstill_test_servers::s3::S3;
use fedstill_test_servers::{free_port, skip};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

#[test]
fn a_run_on_kafka_gives_the_bits_of_one_machine_with_one_worker_or_three() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), &[DEADLINE]);
    let out = folder.path().join("runs");
    finish(&file, &out, &[]);
    let expected = bits(&out, "tiny-fedmd-0");
    let one: &[&[&str]] = &[&["--jobs", "2"]];
    let three: &[&[&str]] = &[&["--jobs", "1"], &["--stages", "plan,advance,join"], &[]];
    for (workers, on_s3) in [(one, false), (three, true)] {
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
        assert!(good(&deployment.does(&["submit", file])).contains("tiny-fedmd-0 is finished"));
    }
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
