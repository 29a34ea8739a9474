//! An S3 server: moto, from the virtual environment that `tests/run` makes. In memory; conditional puts have one winner.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::http::{self, Answer};
use crate::process::{Process, free_port};
use crate::proxy::Proxy;
use crate::{Missing, cache};

const PATIENCE: u32 = 300;
const PAUSE: Duration = Duration::from_millis(100);

/// A running server with one bucket. Dropping it ends it.
#[derive(Debug)]
pub struct S3 {
    _process: Option<Process>,
    _folder: tempfile::TempDir,
    endpoint: String,
}

impl S3 {
    /// The bucket that is there.
    pub const BUCKET: &str = "fedstill";

    /// Starts a server and waits until it answers; the running one that `FEDSTILL_TEST_S3` names, where it does.
    ///
    /// # Errors
    /// What is missing on this machine.
    ///
    /// # Panics
    /// Where it does not start.
    pub fn start() -> Result<Self, Missing> {
        let folder = tempfile::tempdir().expect("a folder");
        if let Ok(endpoint) = std::env::var("FEDSTILL_TEST_S3") {
            return Ok(Self {
                _process: None,
                _folder: folder,
                endpoint,
            });
        }
        let python = python();
        let server = python.with_file_name("moto_server");
        if !server.is_file() {
            return Err(Missing(
                "moto is not there; `tests/run --setup` installs it from PyPI".to_owned(),
            ));
        }
        let port = free_port();
        let command = [
            python.display().to_string(),
            server.display().to_string(),
            "-H".to_owned(),
            "127.0.0.1".to_owned(),
            "-p".to_owned(),
            port.to_string(),
        ];
        let process = Process::start(&command, &folder.path().join("log")).expect("python starts");
        let answered = (0..PATIENCE).any(|_| {
            thread::sleep(PAUSE);
            make_bucket(port).is_some_and(|answer| answer.starts_with("HTTP/1.1 200"))
        });
        assert!(
            answered,
            "the S3 server does not answer: {}",
            std::fs::read_to_string(folder.path().join("log")).unwrap_or_default()
        );
        Ok(Self {
            _process: Some(process),
            _folder: folder,
            endpoint: format!("http://127.0.0.1:{port}"),
        })
    }

    /// Copies all objects below a prefix into a folder.
    ///
    /// # Panics
    /// Where the server does not give them.
    pub fn download(&self, prefix: &str, folder: &Path) {
        const SCRIPT: &str = "
import boto3, pathlib, sys
endpoint, bucket, prefix, folder = sys.argv[1:]
s3 = boto3.client('s3', endpoint_url=endpoint, region_name='us-east-1', aws_access_key_id='test', aws_secret_access_key='test')
for page in s3.get_paginator('list_objects_v2').paginate(Bucket=bucket, Prefix=prefix + '/'):
    for entry in page.get('Contents', []):
        path = pathlib.Path(folder, entry['Key'][len(prefix) + 1:])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(s3.get_object(Bucket=bucket, Key=entry['Key'])['Body'].read())
";
        let status = Command::new(python())
            .args(["-c", SCRIPT, &self.endpoint, Self::BUCKET, prefix])
            .arg(folder)
            .status();
        assert!(status.expect("python runs").success(), "objects are copied");
    }

    /// A wire to it that can be cut; `None` of a server that is not on this machine.
    pub fn wire(&self) -> Option<Proxy> {
        let port = self.endpoint.strip_prefix("http://127.0.0.1:")?;
        Some(Proxy::start(port.parse().ok()?))
    }

    /// The variables of the environment by which a client reaches it.
    pub fn environment(&self) -> Vec<(String, String)> {
        environment(&self.endpoint)
    }
}

/// The same of a server that does all that it is asked, and keeps no condition: what a store must not be.
pub fn overwriting() -> Vec<(String, String)> {
    let endpoint = http::serve(|_| Answer {
        status: 200,
        content_type: "text/plain",
        body: Vec::new(),
    });
    environment(&endpoint)
}

fn environment(endpoint: &str) -> Vec<(String, String)> {
    [
        ("AWS_ENDPOINT", endpoint),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_REGION", "us-east-1"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec()
}

/// The interpreter of the virtual environment that `tests/run` makes.
fn python() -> PathBuf {
    let venv = std::env::var_os("FEDSTILL_TEST_VENV").map_or_else(|| cache().join("venv"), PathBuf::from);
    venv.join("bin/python")
}

fn make_bucket(port: u16) -> Option<String> {
    let mut connection = TcpStream::connect(("127.0.0.1", port)).ok()?;
    let request = format!(
        "PUT /{} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        S3::BUCKET
    );
    connection.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).ok()?;
    Some(answer)
}
