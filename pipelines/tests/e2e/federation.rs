//! Small federations on the data that ships, run by the real command, and what they leave behind.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The command under test: the one that was built, or the one that `FEDSTILL_TEST_COMMAND` names.
pub(crate) fn fedstill() -> Command {
    let other = std::env::var_os("FEDSTILL_TEST_COMMAND");
    let mut command = Command::new(other.as_deref().unwrap_or(env!("CARGO_BIN_EXE_fedstill").as_ref()));
    command.env_remove("FEDSTILL_CRASH").env("NO_COLOR", "1");
    command
}

/// A run file: FedMD between three parties, with what `changes` replace.
pub(crate) fn run_file(changes: &[(&str, &str)]) -> String {
    let data = format!("{}/examples/data", env!("CARGO_MANIFEST_DIR"));
    let mut text = format!(
        r#"name = "tiny"
pipeline = "fedmd"
rounds = 2
[data]
private = {{ url = "{data}/letters.parquet", rows = 90 }}
public = {{ url = "{data}/mnist.parquet", rows = 120 }}
test = {{ url = "{data}/letters-test.parquet" }}
labels = "union"
partition = {{ kind = "iid" }}
[parties]
count = 3
architectures = ["mlp[32]", "cnn[4]"]
[steps.pretrain]
epochs = 1
stop = false
[steps.transfer]
epochs = 2
stop = false
[steps.revisit]
epochs = 1
batch = 16
"#
    );
    for (from, to) in changes {
        assert!(text.contains(from), "the run file has no '{from}'");
        text = text.replacen(from, to, 1);
    }
    text
}

/// Writes a run file into a folder.
pub(crate) fn write(folder: &Path, changes: &[(&str, &str)]) -> PathBuf {
    let path = folder.join("run.toml");
    std::fs::write(&path, run_file(changes)).unwrap();
    path
}

/// `fedstill run`, with more arguments.
pub(crate) fn run(file: &Path, out: &Path, more: &[&str]) -> Output {
    let mut command = fedstill();
    command.arg("run").arg(file).arg("--out").arg(out).args(more);
    command.output().unwrap()
}

/// `fedstill run` to its end.
pub(crate) fn finish(file: &Path, out: &Path, more: &[&str]) {
    let output = run(file, out, more);
    assert!(output.status.success(), "{}", said(&output));
}

/// What a command said.
pub(crate) fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Every file below a folder, by its path there.
pub(crate) fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().display().to_string();
                found.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    found
}

/// What must not differ: results, parts and manifests of a run, its parties' parts, and its metrics and consensus. Plans
/// and closed phases name offsets and times, and are left out; so is a file (`#`) that a kill left half written aside, and the
/// archive's own result, which a run that has its last manifest and tables does not wait for.
pub(crate) fn bits(out: &Path, run: &str) -> BTreeMap<String, Vec<u8>> {
    let mut bits = BTreeMap::new();
    let mut take = |folder: PathBuf, prefix: &str| {
        for (name, bytes) in files(&folder) {
            let file = name.rsplit('/').next().unwrap_or_default().to_owned();
            if !file.starts_with("closed-")
                && !file.starts_with("plan-")
                && !file.contains('#')
                && !name.contains("/archive/")
            {
                bits.insert(format!("{prefix}/{name}"), bytes);
            }
        }
    };
    take(out.join(run).join("store"), "store");
    take(out.join(run).join("parties"), "parties");
    for table in ["metrics", "consensus"] {
        take(out.join("results").join(table).join(format!("run={run}")), table);
    }
    assert!(bits.keys().any(|name| name.starts_with("metrics/round=0")));
    bits
}

/// Fails with the names of what differs.
pub(crate) fn assert_same(left: &BTreeMap<String, Vec<u8>>, right: &BTreeMap<String, Vec<u8>>, what: &str) {
    let differing: Vec<&String> = left
        .keys()
        .chain(right.keys())
        .filter(|name| left.get(*name) != right.get(*name))
        .collect();
    assert!(
        differing.is_empty(),
        "{what}: {} objects differ, first {:?}",
        differing.len(),
        &differing[..differing.len().min(5)]
    );
}

/// Names what this machine cannot test, in the file that `FEDSTILL_SKIPPED` names: `tests/run` shows it.
pub(crate) fn skipped(what: &str) {
    if let Some(path) = std::env::var_os("FEDSTILL_SKIPPED") {
        let mut file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .unwrap();
        file.write_all(format!("{what}\n").as_bytes()).unwrap();
    }
}

/// Whether the long tests are asked for.
pub(crate) fn long() -> bool {
    std::env::var_os("FEDSTILL_LONG").is_some()
}
