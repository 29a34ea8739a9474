//! Apache Kafka itself, from its Maven artifacts: brokers that are controllers too (KRaft).

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use crate::identity::{AUDIENCE, Identity};
use crate::process::{Process, free_port};
use crate::proxy::Proxy;
use crate::{Missing, cache};

/// How long a broker may take to start.
const PATIENCE: Duration = Duration::from_mins(2);
const PAUSE: Duration = Duration::from_millis(100);
/// Of the brokers' key store.
const KEYS_PASSWORD: &str = "broker-secret";
/// The cluster's id, 16 bytes in base64.
const CLUSTER: &str = "ZmVkc3RpbGwtdGVzdC0wMQ";

/// What a cluster is like.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Brokers, each a controller too.
    pub brokers: usize,
    /// Whether clients must authenticate (user and password are in [`Cluster::USERS`]) and have rights.
    pub secured: bool,
    /// Whether there is a second way to the brokers, which can be cut; of a cluster that is not secured.
    pub second_way: bool,
    /// Whether clients must encrypt; of a cluster that is not secured. Its certificate is [`Cluster::certificate`].
    pub tls: bool,
}

/// A running cluster. Dropping it ends the brokers.
#[derive(Debug)]
pub struct Cluster {
    folder: tempfile::TempDir,
    brokers: Vec<Broker>,
    jars: PathBuf,
    secured: bool,
    identity: Option<Identity>,
}

#[derive(Debug)]
struct Broker {
    port: u16,
    /// The second way to it.
    wire: Option<Proxy>,
    process: Option<Process>,
}

impl Cluster {
    /// Users of a secured cluster with their passwords, which are their secrets at [`Cluster::token_endpoint`] too. The
    /// first may do everything, `worker` authenticates by SCRAM too; the others have the rights that a test grants them.
    pub const USERS: [(&str, &str); 4] = [
        ("admin", "admin-secret"),
        ("worker", "worker-secret"),
        ("party-0", "party-0-secret"),
        ("party-1", "party-1-secret"),
    ];

    /// Starts a cluster and waits until it answers.
    ///
    /// # Errors
    /// What is missing on this machine.
    ///
    /// # Panics
    /// Where a broker does not start; its output is shown.
    pub fn start(options: Options) -> Result<Self, Missing> {
        let jars = std::env::var_os("FEDSTILL_TEST_KAFKA_JARS").map_or_else(|| cache().join("kafka"), PathBuf::from);
        if !jars.join("kafka_2.13-4.3.1.jar").is_file() {
            return Err(Missing(
                "the jars of Apache Kafka are not there; `tests/run --setup` fetches them by Maven".to_owned(),
            ));
        }
        if Command::new("java").arg("-version").output().is_err() {
            return Err(Missing(
                "there is no Java; apt-get install default-jre-headless".to_owned(),
            ));
        }
        let folder = tempfile::tempdir().expect("a folder");
        let ports: Vec<(u16, u16)> = (0..options.brokers).map(|_| (free_port(), free_port())).collect();
        let voters: Vec<String> = ports
            .iter()
            .enumerate()
            .map(|(index, (_, controller))| format!("{}@127.0.0.1:{controller}", index + 1))
            .collect();
        let mut cluster = Self {
            folder,
            brokers: Vec::new(),
            jars,
            secured: options.secured,
            identity: options.secured.then(|| Identity::start(&Self::USERS)),
        };
        if let Some(identity) = &cluster.identity {
            fs::write(cluster.token_keys(), &identity.keys).expect("keys are written");
        }
        if options.tls {
            cluster.make_certificate();
        }
        for (index, (port, controller)) in ports.iter().enumerate() {
            // Brokers talk to each other in the clear.
            let inner = if options.tls { free_port() } else { *port };
            let mut properties = properties(
                index + 1,
                options,
                &voters.join(","),
                (inner, *controller),
                &cluster.folder.path().join(format!("data-{index}")),
            );
            if options.secured {
                properties.push_str(&secured(&cluster.token_keys()));
            }
            if options.tls {
                let store = cluster.keys().display().to_string();
                properties = with_listener(&properties, "SSL", "SSL", *port, *port);
                let keys = format!(
                    "ssl.keystore.type=PKCS12\nssl.keystore.location={store}\nssl.keystore.password={KEYS_PASSWORD}\n"
                );
                properties.push_str(&keys);
            }
            let wire = options.second_way.then(|| {
                let inner = free_port();
                let wire = Proxy::start(inner);
                properties = with_listener(&properties, "SECOND", "PLAINTEXT", inner, wire.port());
                wire
            });
            fs::write(cluster.properties(index), properties).expect("properties are written");
            cluster.brokers.push(Broker {
                port: *port,
                wire,
                process: None,
            });
        }
        // Formatting is a start of Java each: all at once.
        thread::scope(|scope| {
            for index in 0..options.brokers {
                let cluster = &cluster;
                scope.spawn(move || cluster.format(index));
            }
        });
        for index in 0..options.brokers {
            cluster.start_broker(index);
        }
        cluster.await_ready();
        Ok(cluster)
    }

    /// One broker without authentication for all tests of a process; the running cluster that `FEDSTILL_TEST_KAFKA`
    /// names, where it does.
    ///
    /// # Errors
    /// What is missing on this machine.
    pub fn shared() -> Result<String, Missing> {
        static SHARED: OnceLock<Result<Cluster, Missing>> = OnceLock::new();
        if let Ok(running) = std::env::var("FEDSTILL_TEST_KAFKA") {
            return Ok(running);
        }
        let one = Options {
            brokers: 1,
            ..Options::default()
        };
        let cluster = SHARED.get_or_init(|| Self::start(one)).as_ref();
        cluster.map(Self::bootstrap).map_err(Clone::clone)
    }

    /// The addresses of the brokers.
    pub fn bootstrap(&self) -> String {
        let all: Vec<String> = self.brokers.iter().map(|b| format!("127.0.0.1:{}", b.port)).collect();
        all.join(",")
    }

    /// Bytes of a topic's records on the disk of the first broker.
    ///
    /// # Panics
    /// Where its folder cannot be read.
    pub fn bytes_of(&self, topic: &str) -> u64 {
        let data = self.folder.path().join("data-0");
        let folders = fs::read_dir(data).expect("a broker's data").flatten();
        let own = folders.filter(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            name.rsplit_once('-').is_some_and(|(of, _)| of == topic)
        });
        let files = own.flat_map(|entry| fs::read_dir(entry.path()).into_iter().flatten().flatten());
        let segments = files.filter(|entry| entry.path().extension().is_some_and(|end| end == "log"));
        segments.filter_map(|entry| Some(entry.metadata().ok()?.len())).sum()
    }

    /// The addresses of the brokers by the second way.
    pub fn second_way(&self) -> String {
        let wires = self.brokers.iter().filter_map(|broker| broker.wire.as_ref());
        let all: Vec<String> = wires.map(|wire| format!("127.0.0.1:{}", wire.port())).collect();
        all.join(",")
    }

    /// Cuts the second way, or mends it.
    pub fn cut_second_way(&self, cut: bool) {
        for wire in self.brokers.iter().filter_map(|broker| broker.wire.as_ref()) {
            if cut {
                wire.cut();
            } else {
                wire.mend();
            }
        }
    }

    /// Kills a broker as a power cut would.
    pub fn kill(&mut self, index: usize) {
        if let Some(process) = self.brokers[index].process.take() {
            process.signal("KILL");
        }
    }

    /// Starts a broker that was killed.
    pub fn start_broker(&mut self, index: usize) {
        let mut command: Vec<String> = ["java", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
            .map(str::to_owned)
            .to_vec();
        command.extend(self.java());
        if self.secured {
            // A broker reads keys only where it is allowed to.
            let allowed = "-Dorg.apache.kafka.sasl.oauthbearer.allowed";
            let keys = self.token_keys();
            command.push(format!("{allowed}.urls=file://{}", keys.display()));
            command.push(format!("{allowed}.files={}", keys.display()));
        }
        command.extend(["kafka.Kafka".to_owned(), self.properties(index).display().to_string()]);
        let process = Process::start(&command, &self.output(index)).expect("java starts");
        self.brokers[index].process = Some(process);
    }

    /// Runs one of Kafka's tools (`org.apache.kafka.tools.TopicCommand`) against the cluster, as its administrator, and
    /// returns what it prints.
    ///
    /// # Panics
    /// Where the tool fails; its output is shown.
    pub fn tool(&self, class: &str, arguments: &[&str]) -> String {
        let mut command = Command::new("java");
        command
            .args(self.java())
            .arg(class)
            .args(["--bootstrap-server", &self.bootstrap()]);
        if self.secured {
            command.arg("--command-config").arg(self.admin_configuration());
        }
        let output = command.args(arguments).output().expect("java runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "{class} {arguments:?}: {text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        text
    }

    /// A file by which one of Kafka's tools is the administrator of a secured cluster.
    ///
    /// # Panics
    /// Where it cannot be written.
    pub fn admin_configuration(&self) -> PathBuf {
        let (user, password) = Self::USERS[0];
        let file = self.folder.path().join("admin.conf");
        let text = format!(
            "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=PLAIN\nsasl.jaas.config=org.apache.kafka.common.\
             security.plain.PlainLoginModule required username=\"{user}\" password=\"{password}\";\n"
        );
        fs::write(&file, text).expect("the tool's configuration is written");
        file
    }

    /// The variables by which `java CLASS` finds Kafka's tools.
    pub fn tool_environment(&self) -> [(String, String); 1] {
        [("CLASSPATH".to_owned(), format!("{}/*", self.jars.display()))]
    }

    /// Where users of a secured cluster get tokens.
    pub fn token_endpoint(&self) -> Option<&str> {
        self.identity.as_ref().map(|identity| identity.endpoint.as_str())
    }

    /// The keys by which brokers check tokens.
    fn token_keys(&self) -> PathBuf {
        self.folder.path().join("token-keys.json")
    }

    /// The certificate that clients of a cluster with TLS are to trust, in PEM.
    pub fn certificate(&self) -> PathBuf {
        self.folder.path().join("broker.pem")
    }

    fn keys(&self) -> PathBuf {
        self.folder.path().join("broker.p12")
    }

    /// Makes a key and a certificate that it signs itself, by Java's own tool.
    fn make_certificate(&self) {
        let keytool = |arguments: &[&str]| {
            let mut command = Command::new("keytool");
            command.args(arguments).arg("-keystore").arg(self.keys());
            let output = command
                .args(["-storepass", KEYS_PASSWORD])
                .output()
                .expect("keytool runs");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        };
        keytool(&[
            "-genkeypair",
            "-alias",
            "broker",
            "-keyalg",
            "RSA",
            "-storetype",
            "PKCS12",
            "-dname",
            "CN=127.0.0.1",
            "-ext",
            "SAN=IP:127.0.0.1",
        ]);
        let file = self.certificate().display().to_string();
        keytool(&["-exportcert", "-rfc", "-alias", "broker", "-file", &file]);
    }

    fn java(&self) -> [String; 3] {
        let log = Path::new(env!("CARGO_MANIFEST_DIR")).join("kafka/log4j2.yaml");
        [
            "-cp".to_owned(),
            format!("{}/*", self.jars.display()),
            format!("-Dlog4j2.configurationFile={}", log.display()),
        ]
    }

    fn properties(&self, index: usize) -> PathBuf {
        self.folder.path().join(format!("{index}.properties"))
    }

    fn output(&self, index: usize) -> PathBuf {
        self.folder.path().join(format!("{index}.log"))
    }

    fn format(&self, index: usize) {
        let mut command = Command::new("java");
        command
            .args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"])
            .args(self.java())
            .args(["kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c"])
            .arg(self.properties(index));
        if self.secured {
            let (user, password) = Self::USERS[1];
            command.args([
                "--add-scram",
                &format!("SCRAM-SHA-256=[name={user},password={password}]"),
            ]);
        }
        let output = command.output().expect("java runs");
        assert!(
            output.status.success(),
            "formatting: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// Waits until every broker takes connections and topics can be listed.
    fn await_ready(&self) {
        let tries = PATIENCE.as_millis() / PAUSE.as_millis();
        for (index, broker) in self.brokers.iter().enumerate() {
            let open = (0..tries).any(|_| {
                thread::sleep(PAUSE);
                let runs = broker.process.as_ref().is_some_and(Process::runs);
                assert!(
                    runs,
                    "a broker ended: {}",
                    fs::read_to_string(self.output(index)).unwrap_or_default()
                );
                TcpStream::connect(("127.0.0.1", broker.port)).is_ok()
            });
            assert!(
                open,
                "no broker within {PATIENCE:?}: {}",
                fs::read_to_string(self.output(index)).unwrap_or_default()
            );
        }
    }
}

/// Adds a listener. A broker tells its clients to come back by the way that they came.
fn with_listener(properties: &str, name: &str, protocol: &str, port: u16, advertised: u16) -> String {
    let add = |line: &str| match line.split_once('=') {
        Some(("listeners", _)) => format!("{line},{name}://127.0.0.1:{port}"),
        Some(("advertised.listeners", _)) => format!("{line},{name}://127.0.0.1:{advertised}"),
        Some(("listener.security.protocol.map", _)) => format!("{line},{name}:{protocol}"),
        _ => line.to_owned(),
    };
    properties.lines().map(|line| add(line) + "\n").collect()
}

fn properties(id: usize, options: Options, voters: &str, (port, controller): (u16, u16), data: &Path) -> String {
    let replicas = options.brokers.min(3);
    let protocol = if options.secured { "SASL_PLAINTEXT" } else { "PLAINTEXT" };
    let mut text = format!(
        "process.roles=broker,controller\n\
         node.id={id}\n\
         controller.quorum.voters={voters}\n\
         listeners={protocol}://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
         advertised.listeners={protocol}://127.0.0.1:{port}\n\
         controller.listener.names=CONTROLLER\n\
         listener.security.protocol.map={protocol}:{protocol},CONTROLLER:PLAINTEXT\n\
         inter.broker.listener.name={protocol}\n\
         log.dirs={}\n\
         offsets.topic.replication.factor={replicas}\n\
         offsets.topic.num.partitions=4\n\
         transaction.state.log.replication.factor={replicas}\n\
         transaction.state.log.min.isr=1\n\
         share.coordinator.state.topic.replication.factor={replicas}\n\
         share.coordinator.state.topic.min.isr=1\n\
         default.replication.factor={replicas}\n\
         group.initial.rebalance.delay.ms=0\n\
         group.min.session.timeout.ms=1000\n\
         auto.create.topics.enable=false\n",
        data.display()
    );
    if options.brokers > 2 {
        text.push_str("min.insync.replicas=2\n");
    }
    text
}

/// Properties of a broker whose clients authenticate, and have the rights that they are granted.
fn secured(token_keys: &Path) -> String {
    let users = Cluster::USERS.map(|(user, password)| format!("user_{user}=\"{password}\""));
    let users = users.join(" ");
    let (admin, password) = Cluster::USERS[0];
    let keys = token_keys.display();
    format!(
        "sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,OAUTHBEARER\n\
         sasl.mechanism.inter.broker.protocol=PLAIN\n\
         listener.name.sasl_plaintext.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.\
         PlainLoginModule required username=\"{admin}\" password=\"{password}\" {users};\n\
         listener.name.sasl_plaintext.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.\
         ScramLoginModule required;\n\
         listener.name.sasl_plaintext.oauthbearer.sasl.jaas.config=org.apache.kafka.common.security.oauthbearer.\
         OAuthBearerLoginModule required;\n\
         listener.name.sasl_plaintext.oauthbearer.sasl.server.callback.handler.class=org.apache.kafka.common.security.\
         oauthbearer.OAuthBearerValidatorCallbackHandler\n\
         listener.name.sasl_plaintext.oauthbearer.sasl.oauthbearer.jwks.endpoint.url=file://{keys}\n\
         listener.name.sasl_plaintext.oauthbearer.sasl.oauthbearer.expected.audience={AUDIENCE}\n\
         authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n\
         super.users=User:{admin};User:ANONYMOUS\n\
         allow.everyone.if.no.acl.found=false\n"
    )
}
