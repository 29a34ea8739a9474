//! Files that are not as they were written: a torn end is cut off, damage is an error.

use std::path::{Path, PathBuf};

use super::super::segment;
use super::{append, commit, committed, ensure, open, read_all, try_open};
use crate::record::Record;

/// A log of one segment, and what it held after each write.
struct Written {
    folder: tempfile::TempDir,
    bytes: Vec<u8>,
    /// The length of the segment, the records and the commit after each write.
    states: Vec<(usize, Vec<Record>, u64)>,
}

impl Written {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let log = open(folder.path(), 1 << 20);
        ensure(&log, 1);
        let length = || std::fs::metadata(path(folder.path())).expect("a file").len() as usize;
        let mut states = vec![(length(), Vec::new(), 0)];
        for i in 0..6 {
            append(&log, 0, vec![i as u8; 20 * i]);
            states.push((length(), read_all(&log, 0), 0));
        }
        commit(&log, 0, 4);
        states.push((length(), read_all(&log, 0), 4));
        append(&log, 0, "the last one");
        states.push((length(), read_all(&log, 0), 4));
        drop(log);
        let bytes = std::fs::read(path(folder.path())).expect("a file");
        Self { folder, bytes, states }
    }

    fn write(&self, bytes: &[u8]) {
        std::fs::write(path(self.folder.path()), bytes).expect("written");
    }

    /// The last write that is whole in the first `bytes` bytes.
    fn whole(&self, bytes: usize) -> Option<&(usize, Vec<Record>, u64)> {
        self.states.iter().rev().find(|(length, ..)| *length <= bytes)
    }

    /// Opens the log, expects it to hold what it did then, and to go on from there.
    fn check(&self, then: &(usize, Vec<Record>, u64)) {
        let log = open(self.folder.path(), 1 << 20);
        let (_, records, offset) = then;
        assert_eq!(&read_all(&log, 0), records);
        assert_eq!(committed(&log, 0), *offset);
        assert_eq!(append(&log, 0, "more"), records.len() as u64);
        drop(log);
        let log = open(self.folder.path(), 1 << 20);
        assert_eq!(read_all(&log, 0).len(), records.len() + 1);
    }
}

fn path(folder: &Path) -> PathBuf {
    segment::path(folder, 0)
}

#[test]
fn a_tail_cut_anywhere_is_cut_off() {
    let written = Written::new();
    let first = written.states[0].0;
    for cut in (first..=written.bytes.len()).step_by(7) {
        written.write(&written.bytes[..cut]);
        written.check(written.whole(cut).expect("the topic is there"));
    }
}

#[test]
fn a_last_write_garbled_anywhere_is_cut_off() {
    let written = Written::new();
    let before_last = &written.states[written.states.len() - 2];
    for at in before_last.0..written.bytes.len() {
        let mut bytes = written.bytes.clone();
        bytes[at] ^= 0x41;
        written.write(&bytes);
        written.check(before_last);
    }
}

#[test]
fn a_tail_of_zeroes_or_noise_is_cut_off() {
    let written = Written::new();
    let last = written.states.last().expect("a state");
    for noise in [vec![0; 5000], vec![0xff; 5000], written.bytes[..100].to_vec()] {
        written.write(&[written.bytes.clone(), noise].concat());
        written.check(last);
    }
}

#[test]
fn damage_before_the_last_write_is_an_error() {
    let written = Written::new();
    let before_last = written.states[written.states.len() - 2].0;
    for at in (0..before_last).step_by(5) {
        let mut bytes = written.bytes.clone();
        bytes[at] ^= 0x41;
        written.write(&bytes);
        let error = try_open(written.folder.path(), 1 << 20).expect_err("refused");
        assert!(error.to_string().contains("corrupted"), "{error}");
        let now = std::fs::read(path(written.folder.path())).expect("a file");
        assert!(now == bytes, "nothing is cut off");
    }
}

#[test]
fn damage_in_a_sealed_segment_is_an_error_of_the_read() {
    use crate::log::Log;
    let folder = tempfile::tempdir().expect("a folder");
    let log = open(folder.path(), 500);
    ensure(&log, 1);
    for i in 0..20 {
        append(&log, 0, vec![i; 100]);
    }
    let path = segment::path(folder.path(), 1);
    let mut bytes = std::fs::read(&path).expect("a file");
    let at = bytes.len() - 1;
    bytes[at] ^= 1;
    std::fs::write(&path, bytes).expect("written");
    let mut reader = log.read(super::TOPIC, 0, 0).expect("a reader");
    let mut seen = 0;
    let error = loop {
        match reader.next(1) {
            Ok(records) => {
                assert_eq!(records[0].offset, seen);
                seen += 1;
            }
            Err(error) => break error,
        }
    };
    assert!(error.to_string().contains("corrupted"), "{error}");
    assert!(seen > 3, "what lies before it is readable");
}
