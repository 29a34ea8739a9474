//! Parties that run their own workers, with their own data, stores and keys.

use crate::deployment::{DEADLINE, Deployment, good};
use crate::federation::{assert_same, files, finish, write};
use crate::stored::Stored;
use arrow_array::{BinaryArray, Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use bytes::Bytes;
use fedstill_learner::Dataset;
use fedstill_log::kafka::Settings;
use fedstill_log::{Kafka, Log, Message, Record, SystemClock};
use fedstill_schemas::data::Columns;
use fedstill_schemas::names;
use fedstill_schemas::task::Attempt;
use parquet::arrow::ArrowWriter;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::Duration;

pub(crate) const RUN: &str = "tiny-fedmd-0";

/// The rows that each simulated party of the finished tiny run has, as a file of that party's own.
pub(crate) fn divide(out: &Path, folder: &Path) -> Vec<PathBuf> {
    divide_run(RUN, out, folder)
}

/// The same of another run on letters.
pub(crate) fn divide_run(run: &str, out: &Path, folder: &Path) -> Vec<PathBuf> {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data/letters.parquet");
    let data = Dataset::open(&data, &Columns::default()).unwrap();
    let draws = Stored::new(out, run).draws();
    let one = |(slot, rows): (usize, &Vec<u32>)| {
        let schema = Arc::new(Schema::new(vec![
            Field::new("image", DataType::Binary, false),
            Field::new("label", DataType::Int64, false),
        ]));
        let images = rows.iter().map(|row| data.image(*row));
        let labels = rows.iter().map(|row| i64::from(data.labels()[*row as usize]));
        let columns: Vec<arrow_array::ArrayRef> = vec![
            Arc::new(BinaryArray::from_iter_values(images)),
            Arc::new(Int64Array::from_iter_values(labels)),
        ];
        let batch = RecordBatch::try_new(Arc::clone(&schema), columns).unwrap();
        let about = [("shape", "1,28,28"), ("classes", "26")];
        let about = about.map(|(key, value)| KeyValue::new(key.to_owned(), value.to_owned()));
        let properties = WriterProperties::builder()
            .set_key_value_metadata(Some(about.to_vec()))
            .build();
        let path = folder.join(format!("rows-{slot}.parquet"));
        let file = std::fs::File::create(&path).unwrap();
        let mut writer = ArrowWriter::try_new(file, schema, Some(properties)).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        path
    };
    draws.private.iter().enumerate().map(one).collect()
}

pub(crate) struct Party {
    folder: PathBuf,
    /// What it sends to the operator.
    pub(crate) table: String,
    /// Whether it reaches the brokers by their second way.
    pub(crate) second_way: bool,
    process: Option<Child>,
}

impl Party {
    /// As its people would: `party init`, then the names of data and stores.
    pub(crate) fn new(deployment: &Deployment, folder: &Path, slot: usize, rows: &Path, allow: &str) -> Self {
        let folder = folder.join(format!("clinic-{slot}"));
        let id = format!("clinic-{slot}");
        let said = good(&deployment.does(&["party", "init", &id, folder.to_str().unwrap()]));
        let again = deployment.does(&["party", "init", &id, folder.to_str().unwrap()]);
        assert!(!again.status.success(), "a key is never written over");
        let table = said[said.find("[[party]]").unwrap()..].to_owned();
        let file = folder.join("party.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        let text = text
            .replace("rows.parquet", rows.to_str().unwrap())
            .replace("file:///var/lib/fedstill", &format!("file://{}/own", folder.display()))
            .replace("[\"predictions\", \"consensus\", \"reports\"]", allow);
        std::fs::write(&file, text).unwrap();
        Self {
            folder,
            table,
            second_way: false,
            process: None,
        }
    }

    pub(crate) fn start(&mut self, deployment: &Deployment) {
        let mut command = deployment.command();
        command.args(["party", "run"]).arg(self.folder.join("party.toml"));
        if self.second_way {
            command.env("FEDSTILL_LOG_BROKERS", deployment.cluster.second_way());
        }
        self.process = Some(command.stderr(Stdio::null()).spawn().unwrap());
    }

    /// The process, which was started.
    pub(crate) fn process(&mut self) -> &mut Child {
        self.process.as_mut().expect("it was started")
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }
}

impl Drop for Party {
    fn drop(&mut self) {
        self.kill();
    }
}

pub(crate) const ALL: &str = "[\"predictions\", \"consensus\", \"reports\"]";

/// What the operator has of parties, each with its architecture.
pub(crate) fn tables(parties: &[Party], architectures: &[&str]) -> String {
    let parties = parties.iter().zip(architectures);
    let tables = parties.map(|(party, own)| party.table.replace("\"lenet\"", &format!("\"{own}\"")));
    tables.collect()
}

/// A run file with these parties instead of simulated ones.
pub(crate) fn run_file(folder: &Path, parties: &[Party], close: &str) -> PathBuf {
    let data = format!("{}/examples/data", env!("CARGO_MANIFEST_DIR"));
    let simulated = "[parties]\ncount = 3\narchitectures = [\"mlp[32]\", \"cnn[4]\"]\n";
    let tables = tables(parties, &["mlp[32]", "cnn[4]", "mlp[32]"]);
    let private = format!("private = {{ url = \"{data}/letters.parquet\", rows = 90 }}");
    let own = "private = { classes = 26, shape = [1, 28, 28] }";
    write(folder, &[(simulated, &format!("{close}{tables}")), (&private, own)])
}

/// The models of parties of their own are those of simulated ones, bit for bit: each party's store holds the same parts,
/// whose names are the sha256 of what they hold.
pub(crate) fn assert_same_weights(out: &Path, parties: &[Party], what: &str) {
    assert_same_weights_of(RUN, out, parties, what);
}

/// The same of another run than the tiny one.
pub(crate) fn assert_same_weights_of(run: &str, out: &Path, parties: &[Party], what: &str) {
    let parts = |folder: &Path| -> BTreeMap<String, Vec<u8>> {
        let parts = files(folder).into_iter();
        let parts = parts.filter(|(name, _)| name.contains("/parts/") && !name.contains('#'));
        parts.collect()
    };
    for (slot, party) in parties.iter().enumerate() {
        let simulated = parts(&out.join(run).join("parties").join(slot.to_string()));
        let own = parts(&party.folder.join("own").join(slot.to_string()));
        assert!(!simulated.is_empty(), "{what}: party-{slot} has parts");
        assert_same(&simulated, &own, &format!("{what}: the models of party-{slot}"));
    }
}

/// The log of a deployment.
pub(crate) fn kafka(deployment: &Deployment) -> Kafka {
    let settings = Settings::new(&deployment.cluster.bootstrap());
    Kafka::new(settings, Arc::new(SystemClock::new())).unwrap()
}

pub(crate) fn metrics(results: &Path) -> BTreeMap<String, Vec<u8>> {
    files(&results.join("metrics").join(format!("run={RUN}")))
}

pub(crate) fn everything(log: &dyn Log, topic: &str) -> Vec<Record> {
    let mut records = Vec::new();
    for partition in 0..log.partitions(topic).unwrap() {
        let start = log.offsets(topic, partition).unwrap().start;
        let mut reader = log.read(topic, partition, start).unwrap();
        loop {
            let more = reader.next(1 << 20).unwrap();
            if more.is_empty() {
                break;
            }
            records.extend(more);
        }
    }
    records
}

/// A deployment with its topics, a finished run of simulated parties, and their rows as files.
pub(crate) fn prepared(what: &str, folder: &Path) -> Option<(Deployment, PathBuf, Vec<PathBuf>)> {
    let simulated = write(folder, &[DEADLINE]);
    let out = folder.join("runs");
    finish(&simulated, &out, &[]);
    let rows = divide(&out, folder);
    let deployment = Deployment::start(what, folder, 1)?;
    good(&deployment.does(&["topics", "create"]));
    Some((deployment, out, rows))
}

fn again(record: &Record) -> Message {
    Message {
        topic: record.topic.to_string(),
        partition: record.partition,
        key: record.key.clone(),
        headers: record.headers.clone(),
        value: record.value.clone(),
    }
}

#[test]
fn parties_with_their_own_data_learn_what_simulated_ones_do_and_nobody_speaks_for_them() {
    let folder = tempfile::tempdir().unwrap();
    let Some((mut deployment, out, rows)) = prepared("parties on Apache Kafka", folder.path()) else {
        return;
    };
    deployment.work(&["--jobs", "1"]);
    let mut parties: Vec<Party> = (0..3)
        .map(|slot| Party::new(&deployment, folder.path(), slot, &rows[slot], ALL))
        .collect();
    let file = run_file(folder.path(), &parties, "[close]\nquorum = 1.0\ndeadline = \"5m\"\n");
    for party in &mut parties {
        party.start(&deployment);
    }
    good(&deployment.does(&["submit", file.to_str().unwrap()]));
    // One of them dies and comes back.
    std::thread::sleep(Duration::from_secs(2));
    parties[1].kill();
    std::thread::sleep(Duration::from_secs(1));
    parties[1].start(&deployment);
    let watched = good(&deployment.does(&["watch", RUN]));
    assert!(
        watched.contains("round 2: digest, revisit, evaluate by 3 of 3"),
        "{watched}"
    );
    let deployed = metrics(&deployment.path().join("results"));
    assert_eq!(deployed.len(), 3);
    assert_eq!(deployed, metrics(&out.join("results")), "the same scores, bit for bit");

    assert_same_weights(&out, &parties, "parties of their own");

    // Weights are in the parties' own stores, and nowhere else.
    let shared = files(&deployment.path().join("store"));
    for party in &parties {
        let own = files(&party.folder.join("own"));
        assert!(own.keys().any(|name| name.contains("parts/")), "{:?}", own.keys());
        assert!(own.keys().filter(|name| name.contains("parts/")).all(|name| {
            let part = name.rsplit('/').next().unwrap();
            !shared.keys().any(|other| other.ends_with(part))
        }));
    }

    // Words in another's name, and true words elsewhere, go to the dead letters and change nothing.
    let log = kafka(&deployment);
    let answers = everything(&log, names::PARTY_ANSWERS);
    assert!(
        answers
            .iter()
            .all(|answer| answer.header("fedstill_signature").is_some())
    );
    let predictions = everything(&log, names::LOGITS);
    assert!(
        predictions
            .iter()
            .all(|record| record.header("fedstill_signature").is_some())
    );
    assert!(everything(&log, names::DEAD).is_empty());
}

#[test]
fn forged_and_replayed_records_are_dead_letters_and_count_for_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let Some((mut deployment, out, rows)) = prepared("forged records on Apache Kafka", folder.path()) else {
        return;
    };
    // Without the archive no round ends.
    let all_but_archive = "plan,advance,pretrain,train,predict,aggregate,join,distill,evaluate";
    let archive = &["--jobs", "1", "--stages", "archive"];
    deployment.work(&["--jobs", "1", "--stages", "plan,advance,pretrain"]);
    let mut parties: Vec<Party> = (0..3)
        .map(|slot| Party::new(&deployment, folder.path(), slot, &rows[slot], ALL))
        .collect();
    let file = run_file(folder.path(), &parties, "[close]\nquorum = 1.0\ndeadline = \"5m\"\n");
    for party in &mut parties {
        party.start(&deployment);
    }
    good(&deployment.does(&["submit", file.to_str().unwrap()]));
    let log = kafka(&deployment);
    await_some(&log, "fedstill.archive", 1);
    // Party 0 is away while round 1 begins, and somebody speaks in its name.
    parties[0].kill();
    deployment.work(archive);
    let predictions = await_some(&log, names::LOGITS, 2);
    let mut archiving = deployment.workers.pop().unwrap();
    archiving.kill().unwrap();
    archiving.wait().unwrap();
    deployment.work(&["--jobs", "1", "--stages", all_but_archive]);
    let others = predictions.iter().find(|record| is_of(record, "party-1")).unwrap();
    let in_the_name_of = |party: &'static str, record: &Record| {
        let mut message = again(record);
        for (name, value) in &mut message.headers {
            if name == "ce_subject" {
                *value = Bytes::from_static(party.as_bytes());
            }
        }
        message
    };
    let stolen = in_the_name_of("party-0", others);
    let mut unsigned = stolen.clone();
    unsigned.headers.retain(|(name, _)| name != "fedstill_signature");
    // An identical repeat is nothing new; who is no party of the run has nothing to say.
    log.append(&[stolen, unsigned, again(others), in_the_name_of("party-7", others)])
        .unwrap();
    let is_predict = |record: &&Record| String::from_utf8_lossy(&record.value).contains("\"step\":\"predict\"");
    let answer = (0..600).find_map(|_| {
        std::thread::sleep(Duration::from_millis(100));
        let answers = everything(&log, names::PARTY_ANSWERS);
        answers.iter().find(is_predict).cloned()
    });
    let answer = answer.expect("another party's answer");
    let mut forged = in_the_name_of("party-0", &answer);
    let said = String::from_utf8_lossy(&answer.value).into_owned();
    let who = format!(
        "\"subject\":\"{}\"",
        String::from_utf8_lossy(answer.header("ce_subject").unwrap())
    );
    forged.value = said.replace(&who, "\"subject\":\"party-0\"").into();
    let mut replayed = again(&answer);
    replayed.value = said.replace("\"step\":\"predict\"", "\"step\":\"evaluate\"").into();
    log.append(&[forged, replayed, again(&answer)]).unwrap();
    std::thread::sleep(Duration::from_secs(2));
    parties[0].start(&deployment);
    // In round 2 it is away again, and what another party truly said in round 1 is said once more.
    await_some(&log, "fedstill.archive", 2);
    parties[0].kill();
    deployment.work(archive);
    let key = names::chunk_key(&round(2), "predict", 0);
    let partition = (0..600).find_map(|_| {
        std::thread::sleep(Duration::from_millis(100));
        let mut records = everything(&log, names::LOGITS);
        records.retain(|record| record.key == key.as_bytes());
        (records.len() == 2).then(|| records[0].partition)
    });
    let mut earlier = again(others);
    earlier.partition = partition.expect("the others' predictions of round 2");
    earlier.key = key.into();
    log.append(&[earlier]).unwrap();
    parties[0].start(&deployment);
    let watched = good(&deployment.does(&["watch", RUN]));
    assert!(
        watched.contains("round 2: digest, revisit, evaluate by 3 of 3"),
        "{watched}"
    );
    assert_eq!(
        metrics(&deployment.path().join("results")),
        metrics(&out.join("results"))
    );
    assert_same_weights(&out, &parties, "after forgeries");
    let dead = everything(&log, names::DEAD);
    let reasons: Vec<String> = dead
        .iter()
        .filter_map(|record| Some(String::from_utf8_lossy(record.header("fedstill_reason")?).into_owned()))
        .collect();
    let of = |part: &str| reasons.iter().filter(|reason| reason.contains(part)).count();
    assert_eq!(of("its signature is not that of party-0 (clinic-0)"), 2, "{reasons:?}");
    // The answer to another step, and the predictions of another round.
    assert!(
        of("its signature is not that of party-1 (clinic-1)") >= 1,
        "{reasons:?}"
    );
    assert_eq!(of("its signature is not that of"), 4, "{reasons:?}");
    assert_eq!(of("it is not signed, and party-0 (clinic-0) signs"), 1, "{reasons:?}");
    assert_eq!(of("party-7 is no party of the run"), 1, "{reasons:?}");
    assert_eq!(reasons.len(), 6, "{reasons:?}");
}

fn round(round: u32) -> Attempt {
    Attempt {
        run: RUN.to_owned(),
        round,
        attempt: 0,
    }
}

fn is_of(record: &Record, party: &str) -> bool {
    record.header("ce_subject") == Some(party.as_bytes())
}

/// The records of a topic, once there are so many.
fn await_some(log: &Kafka, topic: &str, count: usize) -> Vec<Record> {
    let found = (0..600).find_map(|_| {
        std::thread::sleep(Duration::from_millis(100));
        let records = everything(log, topic);
        (records.len() >= count).then_some(records)
    });
    found.unwrap_or_else(|| panic!("no {count} records in {topic}"))
}

#[test]
fn a_party_refuses_what_it_does_not_allow_and_the_operator_learns_why() {
    let folder = tempfile::tempdir().unwrap();
    let Some((mut deployment, _, rows)) = prepared("allow-lists on Apache Kafka", folder.path()) else {
        return;
    };
    deployment.work(&["--jobs", "1"]);
    let mut parties: Vec<Party> = (0..3)
        .map(|slot| {
            let allow = if slot == 2 { "[\"consensus\", \"reports\"]" } else { ALL };
            Party::new(&deployment, folder.path(), slot, &rows[slot], allow)
        })
        .collect();
    let file = run_file(folder.path(), &parties, "[close]\nquorum = 0.5\ndeadline = \"5m\"\n");
    for party in &mut parties {
        party.start(&deployment);
    }
    good(&deployment.does(&["submit", file.to_str().unwrap()]));
    let watched = good(&deployment.does(&["watch", RUN]));
    assert!(watched.contains("by 2 of 3"), "{watched}");
    assert!(
        watched.contains("without party-2") && watched.contains("add \"predictions\""),
        "{watched}"
    );
}

#[test]
fn a_party_that_was_away_for_two_rounds_comes_back_and_takes_part_again() {
    let folder = tempfile::tempdir().unwrap();
    let Some((mut deployment, _, rows)) = prepared("a party that is away", folder.path()) else {
        return;
    };
    deployment.work(&["--jobs", "1"]);
    let mut parties: Vec<Party> = (0..3)
        .map(|slot| Party::new(&deployment, folder.path(), slot, &rows[slot], ALL))
        .collect();
    let file = run_file(folder.path(), &parties, "[close]\nquorum = 0.6\ndeadline = \"10s\"\n");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("rounds = 2", "rounds = 5")).unwrap();
    for party in &mut parties {
        party.start(&deployment);
    }
    good(&deployment.does(&["submit", file.to_str().unwrap()]));
    let done = |deployment: &Deployment, round: u32| {
        let manifest = deployment.path().join(format!("store/{RUN}/{round}/manifest.json"));
        let done = (0..1800).any(|_| {
            std::thread::sleep(Duration::from_millis(100));
            manifest.is_file()
        });
        assert!(done, "round {round} ends");
    };
    done(&deployment, 0);
    parties[2].kill();
    done(&deployment, 2);
    parties[2].start(&deployment);
    let watched = good(&deployment.does(&["watch", RUN]));
    assert!(watched.contains("finished with round 5"), "{watched}");
    assert!(watched.contains("round 2: predict by 2 of 3"), "{watched}");
    assert!(
        watched.contains("round 5: predict by 3 of 3")
            && watched.contains("round 5: digest, revisit, evaluate by 3 of 3"),
        "{watched}"
    );
    assert_eq!(deployment.lag(), Vec::<String>::new());
}
