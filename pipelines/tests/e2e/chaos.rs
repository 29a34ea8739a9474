//! A deployment in trouble: processes die and hang, brokers die, and the run ends with the bits of one machine.
//!
//! The schedule follows from a seed. `tests/chaos` runs it in full; by default it is short.

use crate::deployment::{DEADLINE, Deployment, good};
use crate::federation::{assert_same, bits, finish, write};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

/// What happens to a deployment while a run goes on.
struct Chaos {
    seed: u64,
    brokers: usize,
    workers: usize,
    rounds: u32,
    /// Kills of random workers.
    kills: u32,
    /// Every so many kills of workers, a broker dies too.
    broker_every: Option<u32>,
    /// Every so many kills, a worker sleeps past its session and wakes up again.
    sleep_every: Option<u32>,
}

/// What happened.
#[derive(Debug, Default)]
struct Happened {
    kills: u32,
    brokers: u32,
    sleeps: u32,
}

/// Whole numbers from a seed (SplitMix64, Steele et al. 2014).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }
}

fn signal(name: &str, process: u32) {
    let sent = Command::new("kill").args(["-s", name, &process.to_string()]).status();
    assert!(sent.expect("kill runs").success());
}

impl Chaos {
    /// Lets it happen; fails where the run does not end with the bits of one machine, or a group keeps lag.
    fn run(&self, what: &str) -> Option<Happened> {
        let folder = tempfile::tempdir().unwrap();
        let rounds = format!("rounds = {}", self.rounds);
        let small = ("[\"mlp[32]\", \"cnn[4]\"]", "[\"mlp[8]\"]");
        let file = write(folder.path(), &[DEADLINE, ("rounds = 2", &rounds), small]);
        let out = folder.path().join("runs");
        finish(&file, &out, &[]);
        let expected = bits(&out, "tiny-fedmd-0");

        let mut deployment = Deployment::start(what, folder.path(), self.brokers)?;
        good(&deployment.does(&["topics", "create"]));
        for _ in 0..self.workers {
            deployment.work(&["--jobs", "1"]);
        }
        good(&deployment.does(&["submit", file.to_str().unwrap()]));
        let mut watch = deployment
            .command()
            .args(["watch", "tiny-fedmd-0"])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let happened = self.disturb(&mut deployment, &mut watch);
        let ended = watch.wait().unwrap();
        assert!(ended.success(), "seed {}: {happened:?}", self.seed);
        assert_same(
            &expected,
            &deployment.bits("tiny-fedmd-0"),
            &format!("seed {}: {happened:?}", self.seed),
        );
        let lag = (0..60).find(|_| {
            sleep(Duration::from_secs(1));
            deployment.lag().is_empty()
        });
        assert!(lag.is_some(), "lag is left: {:?}", deployment.lag());
        Some(happened)
    }

    fn disturb(&self, deployment: &mut Deployment, watch: &mut std::process::Child) -> Happened {
        let mut random = Random(self.seed);
        let mut happened = Happened::default();
        let mut down: Option<usize> = None;
        let every = |period: Option<u32>, kills: u32| period.is_some_and(|period| kills % period == period - 1);
        while happened.kills < self.kills && watch.try_wait().unwrap().is_none() {
            sleep(Duration::from_millis(200 + random.below(2_500)));
            if let Some(broker) = down.take() {
                deployment.cluster.start_broker(broker);
            }
            if every(self.broker_every, happened.kills) {
                let broker = random.below(self.brokers as u64) as usize;
                deployment.cluster.kill(broker);
                down = Some(broker);
                happened.brokers += 1;
            }
            let victim = random.below(self.workers as u64) as usize;
            if every(self.sleep_every, happened.kills) {
                // Past its session: others take over, and it wakes up as a zombie.
                let process = deployment.workers[victim].id();
                signal("STOP", process);
                sleep(Duration::from_secs(8));
                signal("CONT", process);
                happened.sleeps += 1;
            } else {
                let mut dead = deployment.workers.swap_remove(victim);
                dead.kill().unwrap();
                dead.wait().unwrap();
                deployment.work(&["--jobs", "1"]);
            }
            happened.kills += 1;
        }
        if let Some(broker) = down {
            deployment.cluster.start_broker(broker);
        }
        happened
    }
}

fn long() -> bool {
    std::env::var_os("FEDSTILL_LONG").is_some()
}

#[test]
fn a_run_whose_workers_die_and_hang_ends_with_the_bits_of_one_machine() {
    if !long() {
        return;
    }
    let chaos = Chaos {
        seed: 1,
        brokers: 1,
        workers: 3,
        rounds: 8,
        kills: 10,
        broker_every: None,
        sleep_every: Some(5),
    };
    if let Some(happened) = chaos.run("chaos on Apache Kafka") {
        assert!(
            happened.kills >= 5,
            "{happened:?}: the run was over too soon to prove anything"
        );
    }
}

#[test]
fn a_run_through_hundreds_of_deaths_of_workers_and_brokers_ends_with_the_bits_of_one_machine() {
    let Ok(seed) = std::env::var("FEDSTILL_CHAOS") else {
        return;
    };
    let chaos = Chaos {
        seed: seed.parse().expect("FEDSTILL_CHAOS is a seed, a whole number"),
        brokers: 3,
        workers: 4,
        rounds: 100,
        kills: 200,
        broker_every: Some(10),
        sleep_every: Some(25),
    };
    if let Some(happened) = chaos.run("chaos on three brokers") {
        println!("{happened:?}");
        assert!(happened.kills >= 200, "{happened:?}: the run was over too soon");
    }
}
