//! The folder of a log: one process at a time, one format.
//!
//! Comes in: a folder. Goes out: a lock that lasts until it is dropped or the process ends, and a
//! folder that is marked as this version's, or a refusal. A crash while the mark is made leaves a
//! folder that is made again.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::Path;

use crate::error::{Cause, LogError};

const VERSION: u32 = 1;
const FORMAT: &str = "fedstill log ";

/// The lock of a folder, held until it is dropped.
#[derive(Debug)]
pub(super) struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing would do, were it not for a child process that is just being started and still
        // has a copy of the handle. If this fails, it is closed all the same.
        let _ = self.0.unlock();
    }
}

/// Locks the folder for this process.
pub(super) fn lock(folder: &Path) -> Result<Lock, LogError> {
    let path = folder.join("LOCK");
    let open = OpenOptions::new().append(true).create(true).open(&path);
    let file = open.map_err(|e| LogError::io("opening", &path, e))?;
    match file.try_lock() {
        Ok(()) => Ok(Lock(file)),
        Err(TryLockError::WouldBlock) => Err(Cause::InUse(folder.to_owned()).into()),
        Err(TryLockError::Error(e)) => Err(LogError::io("locking", &path, e)),
    }
}

/// Refuses a folder of another version, or of something else; marks an empty one as this version.
pub(super) fn check_format(folder: &Path) -> Result<(), LogError> {
    let path = folder.join("FORMAT");
    let failed = |e| LogError::io("reading", &path, e);
    let mut found = String::new();
    match File::open(&path) {
        Ok(file) => {
            file.take(100).read_to_string(&mut found).map_err(failed)?;
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            for other in std::fs::read_dir(folder).map_err(failed)? {
                let name = other.map_err(failed)?.file_name();
                // A crash while the folder was made leaves no more than these.
                if name != "LOCK" && name != "FORMAT.new" {
                    let path = folder.to_owned();
                    return Err(Cause::NotALog { path }.into());
                }
            }
            let failed = |e| LogError::io("writing", &path, e);
            let new = folder.join("FORMAT.new");
            let mut file = File::create(&new).map_err(failed)?;
            writeln!(file, "{FORMAT}{VERSION}").map_err(failed)?;
            file.sync_all().map_err(failed)?;
            std::fs::rename(&new, &path).map_err(failed)?;
            return sync(folder);
        }
        Err(e) => return Err(failed(e)),
    }
    if found.trim_end() == format!("{FORMAT}{VERSION}") {
        return Ok(());
    }
    Err(Cause::Version {
        path: folder.to_owned(),
        found: found.trim_end().trim_start_matches(FORMAT).to_owned(),
        expected: VERSION,
    }
    .into())
}

/// Makes the names of new files durable.
pub(super) fn sync(folder: &Path) -> Result<(), LogError> {
    if cfg!(unix) {
        let synced = File::open(folder).and_then(|folder| folder.sync_all());
        synced.map_err(|e| LogError::io("writing", folder, e))?;
    }
    Ok(())
}
