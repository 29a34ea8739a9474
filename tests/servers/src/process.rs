//! Processes that end with this one.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A port that nothing listens on now.
///
/// # Panics
/// Where the system gives none.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its number").port()
}

/// A process below a shell that kills it when this process is gone: the shell's input then ends.
#[derive(Debug)]
pub(crate) struct Process {
    shell: Child,
    id: u32,
}

impl Process {
    /// Starts a command whose output goes to a file.
    pub(crate) fn start<S: AsRef<OsStr>>(command: &[S], output: &Path) -> io::Result<Self> {
        const SCRIPT: &str = r#"out=$1; shift; "$@" >>"$out" 2>&1 </dev/null & echo $!; cat >/dev/null; kill -9 $!"#;
        File::options().create(true).append(true).open(output)?;
        let mut shell = Command::new("sh")
            .args(["-c", SCRIPT, "sh"])
            .arg(output)
            .args(command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut line = String::new();
        if let Some(stdout) = shell.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        let id = line.trim().parse().map_err(io::Error::other)?;
        Ok(Self { shell, id })
    }

    /// Whether it still runs.
    pub(crate) fn runs(&self) -> bool {
        Path::new(&format!("/proc/{}", self.id)).exists()
    }

    /// Sends it a signal, by name.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.id.to_string()]).status();
        assert!(sent.is_ok(), "kill runs");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Its input ends, it kills the process and goes.
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}
