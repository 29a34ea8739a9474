//! Pipelines and settings that keep every promise, each with what an undisturbed run of it leaves behind.

use crate::deployment::DEADLINE;
use crate::federation::{assert_same, bits, finish, pipeline, write_for};
use crate::text;
use fedstill_schemas::names;
use fedstill_schemas::pipeline::{CENTRALISED, Pipeline, STANDALONE};
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// What is replaced in a run file.
pub(crate) type Changes<'a> = &'a [(&'a str, &'a str)];

/// A pipeline with settings, and what an undisturbed run of it leaves behind.
pub(crate) struct Case {
    pub(crate) pipeline: Pipeline,
    write: fn(&Pipeline, &Path, Changes<'_>) -> PathBuf,
    settings: Changes<'static>,
    pub(crate) run: String,
    pub(crate) expected: BTreeMap<String, Vec<u8>>,
}

/// Parties count by weights of their own.
const WEIGHTED: Changes<'_> = &[
    ("name = \"tiny\"", "name = \"weighted\""),
    (
        "[parties]",
        "[steps.aggregate]\nrule = { weights = [1.0, 0.3, 2.0, 1.0] }\n[parties]",
    ),
];

/// Gradients are clipped, and who does worst on validation rows is left out.
const STRICT: Changes<'_> = &[
    ("name = \"tiny\"", "name = \"strict\""),
    (
        "[parties]",
        "[steps.aggregate]\ndrop_worst = true\n[steps.average]\ndrop_worst = true\n[parties]",
    ),
    ("[steps.train]\n", "[steps.train]\nclip = 0.5\n"),
];

/// Text with a label at every position.
const POSITIONS: Changes<'_> = &[
    ("name = \"text\"", "name = \"positions\""),
    ("rounds = 1", "rounds = 2"),
];

/// Three of four parties by FedLesScan, one of whom fails in each round, so that histories have to come through everything:
/// who failed in round 1 sits out round 2, and would not if its history were lost. Training times of simulated parties are
/// the work that they did, and not what a clock says, so that bits are the same here too. The deadline is for deployments:
/// who fails answers, and nobody waits for it.
const SCANNED: Changes<'_> = &[
    ("name = \"tiny\"", "name = \"scanned\""),
    ("count = 4", "count = 4\nactive = 0.75\nselection = \"fedlesscan\""),
    (
        "[parties]",
        "[close]\nquorum = 0.25\ndeadline = \"5m\"\n[simulate]\nfail = { parties = 3, probability = 0.6 }\n[parties]",
    ),
];

/// The same by a seeded draw, which knows nothing of the rounds before: failures and parties left out, without histories.
const DRAWN: Changes<'_> = &[
    ("name = \"tiny\"", "name = \"drawn\""),
    ("count = 4", "count = 4\nactive = 0.75\nselection = \"random\""),
    (
        "[parties]",
        "[close]\nquorum = 0.25\ndeadline = \"5m\"\n[simulate]\nfail = { parties = 3, probability = 0.6 }\n[parties]",
    ),
];

/// One party of each architecture in turn, and in round 2 one that is slow: how long it waits depends on the machine and on
/// when it is killed, and no bit does.
const IN_TURN: Changes<'_> = &[
    ("name = \"tiny\"", "name = \"in-turn\""),
    ("count = 4", "count = 4\nactive = 0.5\nselection = \"round_robin\""),
    (
        "[parties]",
        "[close]\nquorum = 0.25\ndeadline = \"5m\"\n[simulate]\nslow = { parties = 2, factor = 3.0 }\n[parties]",
    ),
];

/// Writes a run file as [`write_for`] does, for a pipeline that has no name of its own, as a baseline that is made of another
/// one: from its file.
fn write_file_for(pipeline: &Pipeline, folder: &Path, changes: Changes<'_>) -> PathBuf {
    std::fs::write(folder.join("own.toml"), pipeline.to_toml()).unwrap();
    let named = format!("pipeline = \"{}\"", pipeline.name);
    let from_file = [(named.as_str(), "pipeline = \"own.toml\"")];
    write_for(pipeline, folder, &[&from_file, changes].concat())
}

/// Every pipeline that there is as it comes, and some with settings, selections and misfortunes; baselines that are made of
/// FedDF's steps.
pub(crate) fn cases() -> &'static [Case] {
    static CASES: LazyLock<Vec<Case>> = LazyLock::new(|| {
        let all = ::fedstill::algorithms::all().into_iter();
        let mut cases: Vec<Case> = all.map(|own| Case::new("tiny", own, write_for, &[])).collect();
        cases.push(Case::new("weighted", pipeline("fedmd"), write_for, WEIGHTED));
        cases.push(Case::new("strict", pipeline("feddf"), write_for, STRICT));
        for name in [STANDALONE, CENTRALISED] {
            let mut derived = pipeline("feddf").baseline(name).unwrap();
            derived.name = format!("feddf_{name}");
            cases.push(Case::new("tiny", derived, write_file_for, &[]));
        }
        cases.push(Case::new("positions", pipeline("feddf"), text::write_for, POSITIONS));
        cases.push(Case::new("scanned", pipeline("feddf"), write_for, SCANNED));
        cases.push(Case::new("drawn", pipeline("fedavg"), write_for, DRAWN));
        cases.push(Case::new("in-turn", pipeline("fedprox"), write_for, IN_TURN));
        cases
    });
    &CASES
}

impl Case {
    fn new(
        name: &str,
        pipeline: Pipeline,
        write: fn(&Pipeline, &Path, Changes<'_>) -> PathBuf,
        settings: Changes<'static>,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut case = Self {
            run: names::run_id(name, &pipeline.name, 0),
            pipeline,
            write,
            settings,
            expected: BTreeMap::new(),
        };
        let out = folder.path().join("runs");
        finish(&case.file(folder.path(), &[]), &out, &["--threads", "2"]);
        case.expected = bits(&out, &case.run);
        case
    }

    /// Writes a run file for it, with its settings and then with what `changes` replace.
    pub(crate) fn file(&self, folder: &Path, changes: Changes<'_>) -> PathBuf {
        (self.write)(&self.pipeline, folder, &[self.settings, changes].concat())
    }

    /// The same for a deployment, which must have a deadline.
    pub(crate) fn deployed(&self, folder: &Path) -> PathBuf {
        let has_its_own = self.settings.iter().any(|(_, to)| to.contains("[close]"));
        let changes: Changes<'_> = if has_its_own { &[] } else { &[DEADLINE] };
        self.file(folder, changes)
    }

    /// An object of its undisturbed run.
    pub(crate) fn object<T: DeserializeOwned>(&self, name: &str) -> T {
        serde_json::from_slice(&self.expected[&format!("store/{name}")]).unwrap()
    }

    /// The slots that its undisturbed run trained in a round.
    pub(crate) fn trained(&self, round: u32) -> BTreeSet<u32> {
        let parties = format!("store/{}/{round}/train/party-", self.run);
        let results = self.expected.keys().filter_map(|name| name.strip_prefix(&parties));
        let slots = results.filter_map(|result| result.split_once('-'));
        slots.map(|(slot, _)| slot.parse().unwrap()).collect()
    }

    /// Fails where what a run of it left behind is not what the undisturbed one did.
    pub(crate) fn assert_same(&self, out: &Path, what: &str) {
        assert_same(&self.expected, &bits(out, &self.run), &format!("{}: {what}", self.run));
    }
}
