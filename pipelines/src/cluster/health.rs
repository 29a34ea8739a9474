//! `GET /healthz` and `GET /readyz`, for whoever runs the container: 200 or 503, with the reason as text.

use fedstill_log::Clock;
use fedstill_stages::service::Health;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// How long a question may take to arrive, and how long it may be.
const PATIENCE: Duration = Duration::from_secs(2);
const LONGEST: usize = 8 << 10;
/// Questions that are answered at once.
const AT_ONCE: usize = 16;

/// Answers on an address for as long as the process lives.
///
/// # Errors
/// An address that cannot be listened on.
pub(super) fn answer(address: &str, health: Arc<Health>, clock: Arc<dyn Clock>) -> Result<(), String> {
    let listener = TcpListener::bind(address)
        .map_err(|error| format!("cannot listen on {address} ({error}): choose another address with --health"))?;
    let answering = Arc::new(AtomicUsize::new(0));
    let work = move || {
        for connection in listener.incoming().flatten() {
            // Slow ones keep nobody waiting, and many of them do no harm.
            if answering.fetch_add(1, Ordering::Relaxed) >= AT_ONCE {
                answering.fetch_sub(1, Ordering::Relaxed);
                continue;
            }
            let (health, clock, answering) = (Arc::clone(&health), Arc::clone(&clock), Arc::clone(&answering));
            std::thread::spawn(move || {
                // Whoever asked and went away has no answer to get.
                let _ = reply(connection, &health, &*clock);
                answering.fetch_sub(1, Ordering::Relaxed);
            });
        }
    };
    std::thread::Builder::new()
        .name("health".to_owned())
        .spawn(work)
        .map(drop)
        .map_err(|error| format!("cannot start a thread: {error}"))
}

fn reply(mut connection: TcpStream, health: &Health, clock: &dyn Clock) -> std::io::Result<()> {
    connection.set_write_timeout(Some(PATIENCE))?;
    let until = clock.monotonic() + PATIENCE;
    let mut question = Vec::new();
    // To the end of the headers, so that the connection is not cut off while they arrive.
    while !question.ends_with(b"\r\n\r\n") && !question.ends_with(b"\n\n") {
        let left = until.saturating_sub(clock.monotonic());
        if left.is_zero() || question.len() >= LONGEST {
            return Ok(());
        }
        connection.set_read_timeout(Some(left))?;
        let mut bytes = [0; 512];
        match connection.read(&mut bytes)? {
            0 => break,
            read => question.extend_from_slice(&bytes[..read]),
        }
    }
    let question = String::from_utf8_lossy(&question);
    let (status, text) = match question.split(' ').nth(1) {
        Some("/healthz") if health.is_alive(clock.monotonic()) => ("200 OK", "alive".to_owned()),
        Some("/healthz") => ("503 Service Unavailable", "a thread hangs".to_owned()),
        Some("/readyz") => match health.trouble() {
            None => ("200 OK", "ready".to_owned()),
            Some(trouble) => ("503 Service Unavailable", trouble),
        },
        _ => ("404 Not Found", "ask for /healthz or /readyz".to_owned()),
    };
    write!(
        connection,
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}\n",
        text.len() + 1
    )
}
