use super::*;
use fedstill_log::{Cleanup, Clock, Embedded, ManualClock, Message};
use std::time::Duration;

struct Said {
    clock: Arc<ManualClock>,
    log: Arc<Embedded>,
}

fn at(round: u32, attempt: u32) -> Attempt {
    Attempt {
        run: "r".to_owned(),
        round,
        attempt,
    }
}

impl Said {
    fn nothing() -> Self {
        let clock = Arc::new(ManualClock::new(1000));
        let log = Embedded::in_memory(Arc::clone(&clock) as Arc<dyn Clock>);
        log.ensure_topic(names::DECISIONS, 2, Cleanup::Compact).unwrap();
        Self {
            clock,
            log: Arc::new(log),
        }
    }

    fn say(&self, decision: &Decision) {
        self.write(serde_json::to_string(decision).unwrap());
        self.clock.advance(Duration::from_secs(1));
    }

    fn write(&self, value: String) {
        let message = Message {
            topic: names::DECISIONS.to_owned(),
            partition: 1,
            key: "k".into(),
            headers: Vec::new(),
            value: value.into(),
        };
        self.log.append(&[message]).unwrap();
    }

    fn read(&self) -> Decisions {
        Decisions::read(Arc::clone(&self.log) as Arc<dyn Log>).unwrap()
    }
}

fn open(round: u32, phase: u32) -> Decision {
    Decision::Open {
        at: at(round, 0),
        phase,
    }
}

#[test]
fn a_phase_that_is_opened_twice_opened_the_first_time() {
    let said = Said::nothing();
    said.say(&open(1, 0));
    said.say(&open(1, 0));
    let decisions = said.read();
    let opened: Vec<_> = decisions.open().values().map(|opened| opened.opened_ms).collect();
    assert_eq!(opened, [1000]);
}

#[test]
fn a_closed_phase_stays_closed_and_is_over() {
    let said = Said::nothing();
    said.say(&open(1, 0));
    let mut decisions = said.read();
    assert!(!decisions.is_over(&at(1, 0), 0));
    said.say(&Decision::Closed { at: at(1, 0), phase: 0 });
    said.say(&open(1, 0));
    said.write("no decision".to_owned());
    said.say(&open(1, 1));
    decisions.refresh().unwrap();
    assert!(decisions.is_over(&at(1, 0), 0) && !decisions.is_over(&at(1, 0), 1));
    assert_eq!(decisions.open().keys().collect::<Vec<_>>(), ["r/1/0/1"]);
}

#[test]
fn an_end_cuts_off_what_is_at_or_below_it_and_no_more() {
    let said = Said::nothing();
    let ended = |round, why| Decision::Ended { at: at(round, 1), why };
    for round in 0..4 {
        said.say(&open(round, 0));
    }
    said.say(&ended(2, Ending::Stopped));
    // An older one comes late.
    said.say(&ended(1, Ending::Finished));
    said.say(&open(1, 3));
    let decisions = said.read();
    assert_eq!(decisions.open().keys().collect::<Vec<_>>(), ["r/3/0/0"]);
    assert!(decisions.is_cut(&at(2, 0)) && decisions.is_cut(&at(2, 1)));
    assert!(!decisions.is_cut(&at(2, 2)) && !decisions.is_cut(&at(3, 0)));
    assert_eq!(decisions.ended("r"), Some(&((2, 1), Ending::Stopped)));
    assert_eq!(decisions.ended("other"), None);
}
