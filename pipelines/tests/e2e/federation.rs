//! Small federations on the data that ships, run by the real command, and what they leave behind.

use fedstill_schemas::fit::Fit;
use fedstill_schemas::pipeline::{On, Pipeline, Stage, Target};
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
    let text = format!(
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
    changed(text, changes)
}

/// A run file in which the first place of each is replaced.
pub(crate) fn changed(mut text: String, changes: &[(&str, &str)]) -> String {
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

/// The pipeline of that name.
pub(crate) fn pipeline(name: &str) -> Pipeline {
    let mut all = ::fedstill::algorithms::all().into_iter();
    all.find(|pipeline| pipeline.name == name)
        .unwrap_or_else(|| panic!("there is no pipeline {name}"))
}

/// Writes a run file for a pipeline into a folder: as little as its steps need, for four parties of two architectures,
/// with what `changes` replace. 90 private rows are 23 or 22 for a party.
pub(crate) fn write_for(pipeline: &Pipeline, folder: &Path, changes: &[(&str, &str)]) -> PathBuf {
    let data = format!("{}/examples/data", env!("CARGO_MANIFEST_DIR"));
    let terms = || pipeline.all_steps().flat_map(|step| &step.terms);
    let reads_public =
        terms().any(|term| term.on != On::Private) || pipeline.all_steps().any(|step| step.stage == Stage::Predict);
    let learns_public = terms().any(|term| term.on != On::Private && term.target == Target::Labels);
    let mut fits = BTreeMap::new();
    for step in pipeline.all_steps() {
        if let Some(fit) = &step.fit {
            fits.insert(step.name.as_str(), fit);
        }
    }
    let public = format!("public = {{ url = \"{data}/mnist.parquet\", rows = 120 }}\n");
    let validation = fits.values().any(|fit| watches_validation(fit));
    let steps: Vec<String> = fits.iter().map(|(name, fit)| few_steps(name, fit)).collect();
    let text = format!(
        r#"name = "tiny"
pipeline = "{name}"
rounds = 2
[data]
private = {{ url = "{data}/letters.parquet", rows = 90 }}
{public}{validation}test = {{ url = "{data}/letters-test.parquet" }}
labels = "{labels}"
partition = {{ kind = "iid" }}
[parties]
count = 4
architectures = ["cnn[4]", "mlp[32]"]
{steps}"#,
        name = pipeline.name,
        public = if reads_public { public.as_str() } else { "" },
        validation = if validation { "validation = { rows = 20 }\n" } else { "" },
        labels = if learns_public { "union" } else { "private" },
        steps = steps.concat(),
    );
    let path = folder.join("run.toml");
    std::fs::write(&path, changed(text, changes)).unwrap();
    path
}

/// Whether a step is stopped by rows that the server holds.
fn watches_validation(fit: &Fit) -> bool {
    fit.stop.as_ref().is_some_and(|stop| !stop.watch.is_held_out())
}

/// Settings of a step that does as little as it can, and stops by what it stops by.
fn few_steps(name: &str, fit: &Fit) -> String {
    let settings = if watches_validation(fit) {
        "steps = 20\nbatch = 16\nstop = { patience = 2, watch = \"validation\", every = 5 }"
    } else {
        "epochs = 1\nbatch = 16\nstop = false"
    };
    format!("[steps.{name}]\n{settings}\n")
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
