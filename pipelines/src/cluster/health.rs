//! `GET /healthz` and `GET /readyz`, for whoever runs the container: 200 or 503, with the reason as text.

use fedstill_log::Clock;
use fedstill_stages::service::Health;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// How long a question may take to arrive, and how long it may be.
const PATIENCE: Duration = Duration::from_secs(2);
const LONGEST: u64 = 8 << 10;

/// Answers on an address for as long as the process lives.
///
/// # Errors
/// An address that cannot be listened on.
pub(super) fn answer(address: &str, health: Arc<Health>, clock: Arc<dyn Clock>) -> Result<(), String> {
    let listener = TcpListener::bind(address)
        .map_err(|error| format!("cannot listen on {address} ({error}): choose another address with --health"))?;
    let work = move || {
        for connection in listener.incoming().flatten() {
            // Whoever asked and went away has no answer to get.
            let _ = reply(connection, &health, &*clock);
        }
    };
    std::thread::Builder::new()
        .name("health".to_owned())
        .spawn(work)
        .map(drop)
        .map_err(|error| format!("cannot start a thread: {error}"))
}

fn reply(mut connection: TcpStream, health: &Health, clock: &dyn Clock) -> std::io::Result<()> {
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.set_write_timeout(Some(PATIENCE))?;
    let mut lines = BufReader::new(connection.try_clone()?.take(LONGEST)).lines();
    let asked = lines.next().transpose()?.unwrap_or_default();
    // The headers, so that the connection is not cut off while they arrive.
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let (status, text) = match asked.split(' ').nth(1) {
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
