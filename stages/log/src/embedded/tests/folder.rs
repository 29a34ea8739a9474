//! The folder: who may open it, and what it may be.

use std::path::Path;
use std::process::Command;

use super::super::segment;
use super::{append, commit, committed, ensure, message, open, read_all, try_open};
use crate::error::ErrorKind;
use crate::log::Log;

/// The message of a refusal, which must name the folder.
fn refusal(folder: &Path, kind: ErrorKind) -> String {
    let error = try_open(folder, 1000).expect_err("refused");
    assert_eq!(error.kind(), kind);
    let message = error.to_string();
    assert!(message.contains(&*folder.to_string_lossy()), "{message}");
    message
}

#[test]
fn one_owner_at_a_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = open(folder.path(), 1000);
    let again = log.clone();
    assert!(refusal(folder.path(), ErrorKind::Fatal).contains("in use"));
    drop(log);
    refusal(folder.path(), ErrorKind::Fatal);
    drop(again);
    open(folder.path(), 1000);
}

#[test]
fn another_process_is_refused() {
    const ENV: &str = "FEDSTILL_LOG_SECOND_PROCESS";
    if let Some(folder) = std::env::var_os(ENV) {
        assert!(refusal(Path::new(&folder), ErrorKind::Fatal).contains("in use"));
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let _log = open(folder.path(), 1000);
    let child = std::env::current_exe().and_then(|this| {
        Command::new(this)
            .args(["--exact", "embedded::tests::folder::another_process_is_refused"])
            .env(ENV, folder.path())
            .status()
    });
    assert!(child.expect("a child runs").success());
}

#[test]
fn another_version_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    drop(open(folder.path(), 1000));
    std::fs::write(folder.path().join("FORMAT"), "fedstill log 2\n").expect("written");
    assert!(refusal(folder.path(), ErrorKind::Fatal).contains("format version 2"));
}

#[test]
fn a_folder_of_something_else_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("thesis.tex"), "text").expect("written");
    assert!(refusal(folder.path(), ErrorKind::Fatal).contains("not a log"));
}

#[cfg(target_os = "linux")]
#[test]
fn a_read_only_folder_is_refused() {
    // Nobody may make a folder there, not even root, whom permissions do not stop.
    assert!(refusal(Path::new("/sys/fedstill"), ErrorKind::Fatal).contains("read-only"));
}

/// A process whose files may not grow over a limit gets the same error from a write as one with a
/// full disk, and from the same place.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_loses_nothing() {
    const ENV: &str = "FEDSTILL_LOG_FULL_DISK";
    if let Some(folder) = std::env::var_os(ENV) {
        let log = open(Path::new(&folder), 1 << 30);
        ensure(&log, 1);
        let mut acknowledged = 0;
        let error = loop {
            match log.append(&[message(0, vec![acknowledged; 1 << 20])]) {
                Ok(_) => acknowledged += 1,
                Err(error) => break error,
            }
        };
        assert!(acknowledged > 2);
        assert!(error.to_string().contains("disk full"), "{error}");
        assert_eq!(error.kind(), ErrorKind::Fatal, "a person must free space");
        append(&log, 0, "small enough");
        drop(log);
        let log = open(Path::new(&folder), 1 << 30);
        let records = read_all(&log, 0);
        assert_eq!(records.len(), usize::from(acknowledged) + 1);
        for (i, record) in records[..usize::from(acknowledged)].iter().enumerate() {
            assert!(record.value == vec![i as u8; 1 << 20]);
        }
        assert_eq!(&*records[usize::from(acknowledged)].value, b"small enough");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let child = std::env::current_exe().and_then(|this| {
        Command::new("sh")
            .args(["-c", "trap '' XFSZ; ulimit -f 16000; exec \"$0\" \"$@\""])
            .arg(this)
            .args(["--exact", "embedded::tests::folder::a_full_disk_loses_nothing"])
            .env(ENV, folder.path())
            .status()
    });
    assert!(child.expect("a child runs").success());
}

#[test]
fn the_index_is_made_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = open(folder.path(), 1000);
    ensure(&log, 2);
    for i in 0..100 {
        append(&log, i % 2, vec![i as u8; 100]);
    }
    commit(&log, 0, 7);
    let before = [0, 1].map(|partition| read_all(&log, partition));
    drop(log);
    assert!(
        segment::path(folder.path(), 5).exists(),
        "the records fill many segments"
    );
    let index = folder.path().join("index.redb");
    for damage in 0..3 {
        match damage {
            0 => std::fs::remove_file(&index).expect("removed"),
            1 => std::fs::write(&index, "garbage").expect("written"),
            _ => std::fs::write(&index, vec![0; 1 << 20]).expect("written"),
        }
        let log = open(folder.path(), 1000);
        assert_eq!([0, 1].map(|partition| read_all(&log, partition)), before);
        assert_eq!(committed(&log, 0), 7);
    }
}
