//! No private row and no weight of a party in the log or the shared store of a FedMD run.

use crate::federation::{files, finish, write};
use fedstill_learner::Dataset;
use fedstill_log::{Embedded, Log, SystemClock};
use fedstill_schemas::data::Columns;
use fedstill_schemas::plan::{Draws, Plan};
use fedstill_schemas::predictions::{Values, decode};
use fedstill_schemas::task::TaskResult;
use fedstill_schemas::{Digest, names};
use half::f16;
use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

/// Bytes of a needle: what would leak of a row or a tensor.
const NEEDLE: usize = 32;
const RUN: &str = "tiny-fedmd-0";

/// Everything that others can read of a run: every record and object, and what Arrow messages hold, decoded.
fn public_bytes(out: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found: Vec<(String, Vec<u8>)> = files(&out.join(RUN).join("store")).into_iter().collect();
    let log = Embedded::open(out.join(RUN).join("log"), Arc::new(SystemClock::new())).unwrap();
    for topic in names::topics() {
        for partition in 0..log.partitions(topic).unwrap() {
            let mut reader = log.read(topic, partition, 0).unwrap();
            loop {
                let records = reader.next(1 << 20).unwrap();
                if records.is_empty() {
                    break;
                }
                for record in records {
                    let name = format!("{topic}/{partition}/{}", record.offset);
                    let headers: Vec<u8> = record.headers.iter().flat_map(|(_, value)| value.to_vec()).collect();
                    found.push((format!("{name} headers"), headers));
                    found.push((format!("{name} key"), record.key.to_vec()));
                    found.push((name, record.value.to_vec()));
                }
            }
        }
    }
    let decoded: Vec<(String, Vec<u8>)> = found
        .iter()
        .filter_map(|(name, bytes)| {
            let predictions = decode(&bytes.clone().into()).ok()?;
            let values = match &predictions.values {
                Values::Float16(values) => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
                Values::Float32(values) => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            };
            Some((format!("{name} decoded"), values))
        })
        .collect();
    assert!(decoded.len() > 3, "predictions and consensus were decoded");
    found.extend(decoded);
    found
}

/// Windows that are not one value over and over, as a row's border is.
fn telling(bytes: &[u8]) -> impl Iterator<Item = [u8; NEEDLE]> {
    bytes.chunks_exact(NEEDLE).filter_map(|window| {
        let distinct: HashSet<u8> = window.iter().copied().collect();
        (distinct.len() >= 8).then(|| window.try_into().unwrap())
    })
}

fn in_float32_and_float16(values: impl Iterator<Item = f32> + Clone) -> [Vec<u8>; 2] {
    [
        values.clone().flat_map(f32::to_le_bytes).collect(),
        values.flat_map(|value| f16::from_f32(value).to_le_bytes()).collect(),
    ]
}

/// Private rows that parties hold, raw and normalised.
fn rows(out: &Path) -> HashSet<[u8; NEEDLE]> {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data/letters.parquet");
    let data = Dataset::open(&data, &Columns::default()).unwrap();
    let store = out.join(RUN).join("store");
    let plan: Plan = serde_json::from_slice(&std::fs::read(store.join(RUN).join("0/plan-0.json")).unwrap()).unwrap();
    let draws: Draws =
        serde_json::from_slice(&std::fs::read(store.join(names::part_object(RUN, &plan.draws))).unwrap()).unwrap();
    let mut needles = HashSet::new();
    for row in draws.private.concat() {
        let image = data.image(row);
        needles.extend(telling(image));
        let normalised = image.iter().map(|pixel| (f32::from(*pixel) / 255.0 - 0.5) / 0.5);
        for bytes in in_float32_and_float16(normalised) {
            needles.extend(telling(&bytes));
        }
    }
    needles
}

/// Weights of parties, in float32 and float16, less what pretraining on public data made.
fn weights(out: &Path) -> HashSet<[u8; NEEDLE]> {
    let of = |bytes: &[u8]| {
        let mut needles = HashSet::new();
        if let Ok(tensors) = safetensors::SafeTensors::deserialize(bytes) {
            for (_, tensor) in tensors
                .iter()
                .filter(|(_, tensor)| tensor.dtype() == safetensors::Dtype::F32)
            {
                let values = tensor
                    .data()
                    .chunks_exact(4)
                    .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
                for bytes in in_float32_and_float16(values) {
                    needles.extend(telling(&bytes));
                }
            }
        }
        needles
    };
    let mut needles: HashSet<_> = files(&out.join(RUN).join("parties"))
        .values()
        .flat_map(|bytes| of(bytes))
        .collect();
    // Only what pretraining's results name: whatever else lies in the shared store is searched, not excused.
    let store = out.join(RUN).join("store").join(RUN);
    for result in files(&store.join("0/pretrain")).values() {
        let result: TaskResult = serde_json::from_slice(result).unwrap();
        for part in result.parts.values() {
            let bytes = std::fs::read(store.join("parts").join(part.sha256.to_string())).unwrap();
            for public in of(&bytes) {
                needles.remove(&public);
            }
        }
    }
    needles
}

/// The first object that holds a needle at any byte.
fn leak<'a>(objects: &'a [(String, Vec<u8>)], needles: &HashSet<[u8; NEEDLE]>) -> Option<&'a str> {
    let holds = |bytes: &[u8]| bytes.windows(NEEDLE).any(|window| needles.contains(window));
    objects
        .iter()
        .find(|(_, bytes)| holds(bytes))
        .map(|(name, _)| name.as_str())
}

#[test]
fn nothing_private_is_in_the_log_or_the_shared_store_of_a_fedmd_run() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), &[]);
    let out = folder.path().join("runs");
    finish(&file, &out, &[]);
    let (rows, weights) = (rows(&out), weights(&out));
    assert!(
        rows.len() > 1000 && weights.len() > 1000,
        "{} {}",
        rows.len(),
        weights.len()
    );
    let mut objects = public_bytes(&out);
    assert_eq!(leak(&objects, &rows), None, "private rows");
    assert_eq!(leak(&objects, &weights), None, "a party's weights");

    // The search finds what is planted, wherever it starts.
    for needles in [&rows, &weights] {
        let mut planted = b"{\"x\":".to_vec();
        planted.extend(needles.iter().next().unwrap());
        objects.push(("planted".to_owned(), planted));
        assert_eq!(leak(&objects, needles), Some("planted"));
        objects.pop();
    }
}

#[test]
fn a_partys_weights_put_into_the_shared_store_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), &[("rounds = 2", "rounds = 1")]);
    let out = folder.path().join("runs");
    finish(&file, &out, &[]);
    let parties = files(&out.join(RUN).join("parties"));
    let (_, part) = parties.iter().max_by_key(|(_, bytes)| bytes.len()).unwrap();
    // As a stage would that mistakes the place of its parts: under the name of its own bytes.
    let name = Digest::of(part).to_string();
    std::fs::write(out.join(RUN).join("store").join(RUN).join("parts").join(name), part).unwrap();
    let weights = weights(&out);
    assert!(leak(&public_bytes(&out), &weights).is_some());
}
