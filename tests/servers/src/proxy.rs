//! A wire that can be cut: a port that passes bytes on to another one.

use std::collections::BTreeMap;
use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// A port of loopback before another one, for as long as the process lives.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    wire: Arc<Wire>,
}

#[derive(Debug, Default)]
struct Wire {
    cut: AtomicBool,
    /// Both ends of what is connected, by a number.
    ends: Mutex<BTreeMap<u64, [TcpStream; 2]>>,
    connected: AtomicU64,
}

impl Proxy {
    /// Starts one before a port.
    ///
    /// # Panics
    /// Where the system gives no port.
    pub fn start(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("its number").port();
        let wire = Arc::new(Wire::default());
        let own = Arc::clone(&wire);
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                // Who is refused, by the wire or by the other end, sees the connection close.
                let _ = own.connect(connection, to);
            }
        });
        Self { port, wire }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Cuts the wire: what is connected is torn, and nothing new gets through.
    ///
    /// # Panics
    /// Never in practice.
    pub fn cut(&self) {
        self.wire.cut.store(true, Ordering::SeqCst);
        self.wire.tear();
    }

    /// Mends the wire.
    pub fn mend(&self) {
        self.wire.cut.store(false, Ordering::SeqCst);
    }
}

impl Wire {
    fn connect(self: &Arc<Self>, near: TcpStream, to: u16) -> io::Result<()> {
        if self.cut.load(Ordering::SeqCst) {
            return near.shutdown(Shutdown::Both);
        }
        let far = TcpStream::connect(("127.0.0.1", to))?;
        near.set_nodelay(true)?;
        far.set_nodelay(true)?;
        let number = self.connected.fetch_add(1, Ordering::Relaxed);
        let ends = [near.try_clone()?, far.try_clone()?];
        self.ends.lock().expect("nobody panics").insert(number, ends);
        for (mut from, mut to) in [(near.try_clone()?, far.try_clone()?), (far, near)] {
            let wire = Arc::clone(self);
            thread::spawn(move || {
                let _ = io::copy(&mut from, &mut to);
                let _ = to.shutdown(Shutdown::Both);
                wire.ends.lock().expect("nobody panics").remove(&number);
            });
        }
        // It may have been cut meanwhile.
        if self.cut.load(Ordering::SeqCst) {
            self.tear();
        }
        Ok(())
    }

    fn tear(&self) {
        let ends = std::mem::take(&mut *self.ends.lock().expect("nobody panics"));
        for end in ends.into_values().flatten() {
            let _ = end.shutdown(Shutdown::Both);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    #[test]
    fn bytes_pass_until_it_is_cut_and_again_when_it_is_mended() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            for mut connection in listener.incoming().flatten() {
                thread::spawn(move || {
                    let mut byte = [0];
                    while connection.read_exact(&mut byte).is_ok() {
                        connection.write_all(&byte).unwrap();
                    }
                });
            }
        });
        let proxy = Proxy::start(port);
        let say = |connection: &mut TcpStream| {
            let mut byte = [0];
            connection.write_all(&[7])?;
            connection.read_exact(&mut byte)?;
            io::Result::Ok(byte[0])
        };
        let mut connection = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
        assert_eq!(say(&mut connection).unwrap(), 7);
        proxy.cut();
        assert!(say(&mut connection).is_err());
        let mut refused = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
        assert!(say(&mut refused).is_err());
        proxy.mend();
        let mut connection = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
        assert_eq!(say(&mut connection).unwrap(), 7);
    }
}
