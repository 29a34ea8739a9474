//! Real servers for tests, on loopback and free ports, in folders that go with them. They end with the process that
//! started them, however it ends.
//!
//! What they need is set up by `tests/run --setup`; where it is missing, starting one says what, and the test is named
//! as skipped by [`skip`].

mod http;
mod identity;
pub mod kafka;
pub mod otlp;
mod process;
pub mod proxy;
pub mod s3;

pub use process::free_port;

use std::io::Write;
use std::path::PathBuf;

/// Why a server cannot run here, for people.
#[derive(Clone, Debug)]
pub struct Missing(pub String);

/// Names tests as skipped: a line in the file that `FEDSTILL_SKIPPED` names, and one for whoever watches.
pub fn skip(what: &str, missing: &Missing) {
    eprintln!("skipped: {what}: {}", missing.0);
    let Ok(file) = std::env::var("FEDSTILL_SKIPPED") else {
        return;
    };
    let added = std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(file)
        .and_then(|mut file| writeln!(file, "{what}: {}", missing.0));
    assert!(added.is_ok(), "the list of skipped tests is writable");
}

/// Where `tests/run --setup` keeps what it made.
fn cache() -> PathBuf {
    let own = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let target = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target");
    own.or_else(home).unwrap_or_else(target).join("fedstill")
}
