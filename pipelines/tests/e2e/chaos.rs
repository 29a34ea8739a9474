//! A deployment in trouble: workers, parties and brokers die, workers hang, the store goes away, a party is cut off; and
//! the run ends with the bits of one machine.
//!
//! The schedule follows from a seed. `tests/chaos` runs it in full; by default it is short.

use crate::deployment::{DEADLINE, Deployment, good};
use crate::federation::{assert_same, files, finish, write};
use crate::parties::{ALL, Party, RUN, assert_same_weights, divide, everything, kafka, metrics, run_file};
use fedstill_log::Kafka;
use fedstill_schemas::events::{Answer, Closed, Outcome};
use fedstill_schemas::names;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

/// What happens to a deployment while a run goes on.
struct Chaos {
    seed: u64,
    brokers: usize,
    workers: usize,
    rounds: u32,
    /// Kills of random workers and parties.
    kills: u32,
    /// Every so many kills, a broker dies too.
    broker_every: Option<u32>,
    /// Every so many kills, a worker sleeps past its session and wakes up again.
    sleep_every: Option<u32>,
    /// Every so many kills, the store is away for seconds.
    outage_every: u32,
    /// Every so many kills, a party's way to the brokers is cut for seconds.
    cut_every: u32,
}

/// What happened.
#[derive(Debug, Default)]
struct Happened {
    kills: u32,
    parties: u32,
    brokers: u32,
    sleeps: u32,
    outages: u32,
    cuts: u32,
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
    /// Lets it happen to a run whose parties are processes of their own; fails where it does not end with what simulated
    /// parties come to on one machine, bit for bit, or where a member is missing, or a group keeps lag.
    fn run(&self, what: &str) -> Option<Happened> {
        let folder = tempfile::tempdir().unwrap();
        let rounds = format!("rounds = {}", self.rounds);
        let small = ("[\"mlp[32]\", \"cnn[4]\"]", "[\"mlp[8]\"]");
        let simulated = write(folder.path(), &[DEADLINE, ("rounds = 2", &rounds), small]);
        let out = folder.path().join("runs");
        finish(&simulated, &out, &[]);
        let rows = divide(&out, folder.path());

        let mut deployment = Deployment::with_wires(what, folder.path(), self.brokers)?;
        good(&deployment.does(&["topics", "create"]));
        for _ in 0..self.workers {
            deployment.work(&["--jobs", "1"]);
        }
        let mut parties: Vec<Party> = (0..3)
            .map(|slot| Party::new(&deployment, folder.path(), slot, &rows[slot], ALL))
            .collect();
        parties[0].second_way = true;
        for party in &mut parties {
            party.start(&deployment);
        }
        let file = run_file(folder.path(), &parties, "[close]\nquorum = 1.0\ndeadline = \"5m\"\n");
        let text = std::fs::read_to_string(&file).unwrap();
        let text = text.replace("rounds = 2", &rounds);
        let text = text.replace("mlp[32]", "mlp[8]").replace("cnn[4]", "mlp[8]");
        std::fs::write(&file, text).unwrap();
        good(&deployment.does(&["submit", file.to_str().unwrap()]));
        let mut watch = deployment
            .command()
            .args(["watch", RUN])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let happened = self.disturb(&mut deployment, &mut parties, &mut watch);
        let ended = watch.wait().unwrap();
        let case = format!("seed {}: {happened:?}", self.seed);
        assert!(ended.success(), "{case}");
        // Read back from the store: the scores of every round, and who was in every phase.
        deployment.fetch();
        let scores = metrics(&deployment.path().join("results"));
        assert_eq!(scores.len(), self.rounds as usize + 1, "{case}");
        assert_same(&metrics(&out.join("results")), &scores, &case);
        // Who counts in each chunk, and who does not.
        let consensus = |results: &Path| files(&results.join("consensus").join(format!("run={RUN}")));
        let counted = consensus(&deployment.path().join("results"));
        assert_same(&consensus(&out.join("results")), &counted, &case);
        assert_same_weights(&out, &parties, &case);
        let chunks = said_once(&kafka(&deployment));
        assert_eq!(chunks, self.rounds as usize, "{case}: one chunk a round");
        let phases = closed_phases(&deployment.path().join("store").join(RUN));
        assert!(
            phases.len() > 4 * self.rounds as usize,
            "{case}: {} phases",
            phases.len()
        );
        for (name, closed) in phases {
            assert!(closed.missing.is_empty(), "{case}: {name}: {:?}", closed.missing);
        }
        let lag = (0..60).find(|_| {
            sleep(Duration::from_secs(1));
            deployment.lag().is_empty()
        });
        assert!(lag.is_some(), "lag is left: {:?}", deployment.lag());
        Some(happened)
    }

    fn disturb(&self, deployment: &mut Deployment, parties: &mut [Party], watch: &mut std::process::Child) -> Happened {
        let mut random = Random(self.seed);
        let mut happened = Happened::default();
        let mut down: Option<usize> = None;
        let mut slept = None;

        while happened.kills < self.kills && watch.try_wait().unwrap().is_none() {
            sleep(Duration::from_millis(200 + random.below(2_500)));
            // Once for each number of kills.
            let is_new = slept != Some(happened.kills);
            let every = |period: u32, kills: u32| is_new && kills % period == period - 1;
            if let Some(broker) = down.take() {
                deployment.cluster.start_broker(broker);
            }
            if self.broker_every.is_some_and(|period| every(period, happened.kills)) {
                let broker = random.below(self.brokers as u64) as usize;
                deployment.cluster.kill(broker);
                down = Some(broker);
                happened.brokers += 1;
            }
            if every(self.outage_every, happened.kills)
                && let Some(wire) = &deployment.wire
            {
                wire.cut();
                sleep(Duration::from_millis(500 + random.below(4_000)));
                wire.mend();
                happened.outages += 1;
            }
            if every(self.cut_every, happened.kills) {
                deployment.cluster.cut_second_way(true);
                sleep(Duration::from_millis(500 + random.below(6_000)));
                deployment.cluster.cut_second_way(false);
                happened.cuts += 1;
            }
            if self.sleep_every.is_some_and(|period| every(period, happened.kills)) {
                // Past its session: others take over, and it wakes up as a zombie.
                let process = deployment.workers[random.below(self.workers as u64) as usize].id();
                signal("STOP", process);
                sleep(Duration::from_secs(8));
                signal("CONT", process);
                happened.sleeps += 1;
                // No death, and the next event is another one.
                slept = Some(happened.kills);
                continue;
            }
            let victim = random.below((self.workers + parties.len()) as u64) as usize;
            if let Some(party) = victim.checked_sub(self.workers) {
                parties[party].kill();
                parties[party].start(deployment);
                happened.parties += 1;
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

/// Fails where the log holds two different things that one party, or one task, said; the number of chunks of which it
/// holds a consensus and the predictions of all three parties. Whoever died may have said the same again.
fn said_once(log: &Kafka) -> usize {
    let mut said = BTreeMap::<String, BTreeSet<Vec<u8>>>::new();
    let mut say = |who: String, what: &[u8]| said.entry(who).or_default().insert(what.to_vec());
    let mut chunks = BTreeMap::<Vec<u8>, usize>::new();
    for record in everything(log, names::LOGITS) {
        let party = String::from_utf8_lossy(record.header("ce_subject").unwrap());
        if say(format!("predictions {:?} {party}", record.key), &record.value) {
            *chunks.entry(record.key.to_vec()).or_default() += 1;
        }
    }
    assert!(chunks.values().all(|parties| *parties == 3), "{chunks:?}");
    let mut agreed = BTreeSet::new();
    for record in everything(log, names::CONSENSUS) {
        say(format!("consensus {:?}", record.key), &record.value);
        agreed.insert(record.key.to_vec());
    }
    for record in [names::ANSWERS, names::PARTY_ANSWERS]
        .map(|topic| everything(log, topic))
        .concat()
    {
        let answer: Answer = serde_json::from_slice(&record.value).unwrap();
        let Outcome::Done { result, .. } = &answer.outcome else {
            panic!("{answer:?}");
        };
        let who = format!(
            "answer {:?} {} {} {}",
            answer.at, answer.phase, answer.step, answer.subject
        );
        say(who, &serde_json::to_vec(result).unwrap());
    }
    for (who, what) in &said {
        assert_eq!(what.len(), 1, "{who} is said in {} ways", what.len());
    }
    assert_eq!(agreed.len(), chunks.len());
    agreed.len()
}

/// What closed each phase of a run, by the name of its object.
fn closed_phases(store: &Path) -> Vec<(String, Closed)> {
    let objects = files(store).into_iter();
    let closed = objects.filter(|(name, _)| name.rsplit('/').next().is_some_and(|name| name.starts_with("closed-")));
    closed
        .map(|(name, bytes)| (name, serde_json::from_slice(&bytes).unwrap()))
        .collect()
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
        // Longer than its troubles take on a fast machine.
        rounds: 24,
        kills: 10,
        broker_every: None,
        sleep_every: Some(5),
        outage_every: 4,
        cut_every: 3,
    };
    if let Some(happened) = chaos.run("chaos on Apache Kafka") {
        let proves = happened.kills >= 5 && happened.sleeps > 0 && happened.outages > 0 && happened.cuts > 0;
        assert!(proves, "{happened:?}: the run was over too soon to prove anything");
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
        sleep_every: Some(15),
        outage_every: 20,
        cut_every: 20,
    };
    if let Some(happened) = chaos.run("chaos on three brokers") {
        println!("{happened:?}");
        let proves = happened.kills >= 200 && happened.brokers >= 15;
        let proves = proves && happened.sleeps >= 10 && happened.outages >= 8 && happened.cuts >= 8;
        assert!(proves, "{happened:?}: the run was over too soon");
    }
}
