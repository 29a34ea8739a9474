use super::*;
use serde::Deserialize;

/// A deployment's stores on an S3 server, where one can run.
#[cfg(feature = "cloud")]
fn on_s3() -> Option<(Store, fedstill_test_servers::s3::S3)> {
    use fedstill_test_servers::s3::S3;
    match S3::start() {
        Ok(server) => {
            let url = format!("s3://{}/deep/prefix", S3::BUCKET);
            Some((Store::deployed(&url, &server.environment()).unwrap(), server))
        }
        Err(missing) => {
            fedstill_test_servers::skip("stores on S3", &missing);
            None
        }
    }
}

fn stores() -> Vec<(Store, Option<tempfile::TempDir>)> {
    let folder = tempfile::tempdir().unwrap();
    let local = Store::local(folder.path(), &folder.path().join("results"), 2).unwrap();
    vec![(Store::in_memory(2), None), (local, Some(folder))]
}

#[test]
fn the_first_writer_of_a_create_once_object_wins() {
    for (store, _folder) in stores() {
        the_first_writer_wins(&store);
    }
}

fn the_first_writer_wins(store: &Store) {
    assert_eq!(store.get("r/run.json").unwrap(), None);
    assert_eq!(store.create("r/run.json", "one".into()).unwrap(), Created::New);
    assert_eq!(
        store.create("r/run.json", "two".into()).unwrap(),
        Created::Exists("one".into())
    );
    assert_eq!(store.get("r/run.json").unwrap().unwrap(), "one");
}

#[test]
fn one_of_many_concurrent_writers_wins_and_all_learn_its_bytes() {
    for (store, _folder) in stores() {
        one_of_many_wins(&store);
    }
}

fn one_of_many_wins(store: &Store) {
    let wins = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..16)
            .map(|i| scope.spawn(move || store.create("r/x", format!("{i}").into()).unwrap()))
            .collect();
        writers.into_iter().map(|w| w.join().unwrap()).collect::<Vec<_>>()
    });
    let there = store.get("r/x").unwrap().unwrap();
    assert_eq!(wins.iter().filter(|w| **w == Created::New).count(), 1);
    assert_eq!(
        wins.iter().filter(|w| **w == Created::Exists(there.clone())).count(),
        15
    );
}

#[test]
fn a_part_is_kept_at_its_place_and_checked_when_read() {
    for (store, folder) in stores() {
        let part = store.put_part("r", Place::Party(1), "weights".into()).unwrap();
        assert_eq!(store.put_part("r", Place::Party(1), "weights".into()).unwrap(), part);
        assert_eq!(store.get_part("r", &part).unwrap(), "weights");
        let elsewhere = Part {
            place: Place::Party(0),
            ..part
        };
        assert!(matches!(
            store.get_part("r", &elsewhere),
            Err(StoreError::Missing { .. })
        ));
        assert!(matches!(
            store.put_part("r", Place::Party(9), "x".into()),
            Err(StoreError::Missing { .. })
        ));
        if let Some(folder) = folder {
            let file = folder.path().join("parties/1").join(names::part_object("r", &part));
            std::fs::write(file, "weighty").unwrap();
            assert!(matches!(store.get_part("r", &part), Err(StoreError::Damaged { .. })));
            store.put_part("r", Place::Party(1), "weights".into()).unwrap();
            assert_eq!(store.get_part("r", &part).unwrap(), "weights");
        }
    }
}

#[test]
fn what_a_newer_release_wrote_is_refused_and_damage_is_named_with_its_file() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Object {
        version: u32,
        new: Option<bool>,
    }
    let folder = tempfile::tempdir().unwrap();
    let store = Store::local(folder.path(), &folder.path().join("results"), 0).unwrap();
    let newer = Object {
        version: VERSION + 1,
        new: Some(true),
    };
    store.create_json("r/newer.json", newer).unwrap();
    let error = store.get_json::<Object>("r/newer.json").unwrap_err();
    assert!(matches!(error, StoreError::Unusable { .. }) && error.to_string().contains("newer release"));
    store.create("r/cut.json", "{\"version\": 1".into()).unwrap();
    let error = store.get_json::<Object>("r/cut.json").unwrap_err().to_string();
    let file = folder.path().join("store/r/cut.json");
    assert!(
        error.contains(&file.display().to_string()) && error.contains("restore"),
        "{error}"
    );
}

#[test]
fn names_with_equals_signs_are_kept_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::local(folder.path(), &folder.path().join("results"), 0).unwrap();
    store
        .put_result_file(&names::result_file("metrics", "a-fedmd-0", 3), "x".into())
        .unwrap();
    assert!(
        folder
            .path()
            .join("results/metrics/run=a-fedmd-0/round=3/part-0.parquet")
            .is_file()
    );
}

#[cfg(feature = "cloud")]
#[test]
fn a_bucket_keeps_what_a_folder_keeps() {
    let Some((store, _server)) = on_s3() else { return };
    store.check_create_once().unwrap();
    the_first_writer_wins(&store);
    one_of_many_wins(&store);
    let part = store.put_part("r", Place::Party(7), "weights".into()).unwrap();
    assert_eq!(store.put_part("r", Place::Party(7), "weights".into()).unwrap(), part);
    assert_eq!(store.get_part("r", &part).unwrap(), "weights");
    let elsewhere = Part {
        place: Place::Party(8),
        ..part
    };
    assert!(matches!(
        store.get_part("r", &elsewhere),
        Err(StoreError::Missing { .. })
    ));
    let set = Digest::of(b"set");
    assert_eq!(store.get_data(set).unwrap(), None);
    store.put_data(set, true, "rows".into()).unwrap();
    assert_eq!(store.get_data(set).unwrap().unwrap(), "rows");
    assert!(
        store.get(&names::data_object(set)).unwrap().is_none(),
        "private rows are not in the shared store"
    );
    store
        .put_result_file("metrics/run=r/round=0/part-0.parquet", "x".into())
        .unwrap();
    assert!(store.has_result_file("metrics/run=r/round=0/part-0.parquet").unwrap());
}

#[cfg(feature = "cloud")]
#[test]
fn a_store_that_overwrites_is_refused_before_any_work() {
    let environment = fedstill_test_servers::s3::overwriting();
    let store = Store::deployed("s3://fedstill/x", &environment).unwrap();
    let error = store.check_create_once().unwrap_err();
    assert!(matches!(error, StoreError::Unusable { .. }), "{error}");
    assert!(
        error.to_string().contains("choose one with conditional puts"),
        "{error}"
    );
}

#[cfg(feature = "cloud")]
#[test]
fn a_partys_own_store_has_credentials_of_its_own() {
    let (Some((_, shared)), Some((_, own))) = (on_s3(), on_s3()) else {
        return;
    };
    let mut environment = shared.environment();
    environment.extend(
        own.environment()
            .into_iter()
            .map(|(name, value)| (format!("FEDSTILL_OWN_{name}"), value)),
    );
    let party = Store::of_party("s3://fedstill/deployment", "s3://fedstill/own", &environment).unwrap();
    let part = party.put_part("r", Place::Party(3), "weights".into()).unwrap();
    party.create("r/run.json", "{}".into()).unwrap();
    let seen = |server: &fedstill_test_servers::s3::S3, what: &str, path: &str| {
        let store = Store::deployed(&format!("s3://fedstill/{what}"), &server.environment()).unwrap();
        store.get_url(&format!("{}{path}", store.url())).unwrap().is_some()
    };
    assert!(seen(&shared, "deployment", "r/run.json") && !seen(&own, "deployment", "r/run.json"));
    let here = Store::of_party("s3://fedstill/x", "s3://fedstill/own", &own.environment()).unwrap();
    assert_eq!(
        here.get_part("r", &part).unwrap(),
        "weights",
        "on the party's own server"
    );
    let there = Store::of_party("s3://fedstill/x", "s3://fedstill/own", &shared.environment()).unwrap();
    assert!(
        matches!(there.get_part("r", &part), Err(StoreError::Missing { .. })),
        "and on no other"
    );
}

#[cfg(feature = "cloud")]
#[test]
fn a_bucket_that_is_away_is_named_and_tried_again() {
    let Some((store, server)) = on_s3() else { return };
    store.create("r/run.json", "one".into()).unwrap();
    drop(server);
    let error = store.get("r/run.json").unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
    assert!(
        error.to_string().contains("s3://fedstill/deep/prefix/store/r/run.json"),
        "{error}"
    );
}

#[test]
fn an_object_that_is_far_too_large_is_refused_unread() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::local(folder.path(), &folder.path().join("results"), 0).unwrap();
    store.create("a/b.json", "{}".into()).unwrap();
    let file = folder.path().join("store/a/huge.json");
    std::fs::File::create(&file).unwrap().set_len(LARGEST + 1).unwrap();
    assert!(store.get("a/b.json").unwrap().is_some());
    let error = store.get("a/huge.json").unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
}
