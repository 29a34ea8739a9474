//! What an earlier schema version wrote is read, and said again with the same bytes: digests of tasks and objects hold
//! across releases. `testdata/version-<n>` has records and objects of a run by the first release of that version; none
//! of them is ever written anew.

use crate::canonical_json;
use crate::events::{Answer, Closed, Decision, Trigger};
use crate::plan::{Manifest, Plan};
use crate::predictions::decode;
use crate::resolved::{ResolvedRun, VERSION};
use crate::task::{Task, TaskResult};
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};

fn folder(version: u32) -> PathBuf {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    data.join(format!("version-{version}"))
}

fn reads<T: Serialize + DeserializeOwned>(folder: &Path, prefix: &str) {
    let mut found = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.starts_with(prefix) {
            let text = std::fs::read_to_string(&path).unwrap();
            let value: T = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(canonical_json(&value), text.trim_end(), "{name}");
            found += 1;
        }
    }
    assert!(found > 0, "{prefix} in {}", folder.display());
}

#[test]
fn what_this_and_the_previous_schema_version_wrote_is_read_and_means_the_same() {
    for version in VERSION.saturating_sub(1).max(1)..=VERSION {
        let folder = folder(version);
        reads::<ResolvedRun>(&folder, "run.");
        reads::<Plan>(&folder, "plan.");
        reads::<Closed>(&folder, "closed.");
        reads::<Manifest>(&folder, "manifest");
        reads::<TaskResult>(&folder, "result-");
        reads::<Trigger>(&folder, "trigger");
        reads::<Task>(&folder, "task.");
        reads::<Answer>(&folder, "answer");
        reads::<Decision>(&folder, "decision-");
        for name in ["predictions.arrow", "consensus.arrow"] {
            let bytes = Bytes::from(std::fs::read(folder.join(name)).unwrap());
            let decoded = decode(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(!decoded.values.is_empty(), "{name}");
        }
    }
}

#[test]
fn usage_of_a_release_that_did_not_say_its_name_is_read() {
    let text = std::fs::read_to_string(folder(1).join("answer.json")).unwrap();
    let mut answer: serde_json::Value = serde_json::from_str(&text).unwrap();
    let usage = answer["outcome"]["usage"].as_object_mut().unwrap();
    assert!(usage.remove("release").is_some());
    assert!(serde_json::from_value::<Answer>(answer).is_ok());
}
