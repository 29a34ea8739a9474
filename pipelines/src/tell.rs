//! What a person is told while work goes on, on the standard error. A reader that goes away, as `head` does, or a disk that
//! is full, ends no work: what cannot be said is not said.

use std::io::Write;

/// Says a line.
pub(crate) fn line(text: &str) {
    // At once: another process may write to the same terminal.
    write(&format!("{text}\n"));
}

/// Says text that brings its own ends of lines.
pub(crate) fn write(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}
