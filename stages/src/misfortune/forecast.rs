//! What the seed says of rounds before they are run: how many of their parties fail, are offline or are slow, and whether
//! enough are left for the quorum.
//!
//! In: the resolved run, and when its phases close. Out: counts, and slots. A party that lacks what a later phase needs is
//! not among them, nor who is late: that is known when the round is run.

use super::{drawn, fails};
use crate::selection::select;
use fedstill_schemas::events::Close;
use fedstill_schemas::pipeline::{Selection, Who};
use fedstill_schemas::plan::phases;
use fedstill_schemas::resolved::{ResolvedRun, Simulate};
use std::collections::{BTreeMap, BTreeSet};

/// What an attempt at a round comes to, in its phase of parties with the fewest answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forecast {
    /// Parties of the phase.
    pub parties: u32,
    /// Those of them that fail.
    pub failing: u32,
    /// Those that never answer.
    pub offline: u32,
    /// Those that answer, and take longer.
    pub slow: u32,
    /// Answers that the quorum needs.
    pub needed: u32,
}

impl Forecast {
    /// Parties that answer, at some time.
    pub fn answers(&self) -> u32 {
        self.parties - self.failing - self.offline
    }

    /// Whether they are enough.
    pub fn holds(&self) -> bool {
        self.answers() >= self.needed
    }
}

/// A run's parties with what is simulated of them.
#[derive(Debug)]
pub struct Outlook<'a> {
    run: &'a ResolvedRun,
    close: Close,
    slow: BTreeSet<u32>,
    failing: BTreeSet<u32>,
    offline: BTreeSet<u32>,
}

impl<'a> Outlook<'a> {
    /// That of a run whose phases close so.
    pub fn new(run: &'a ResolvedRun, close: Close) -> Self {
        let Simulate { slow, fail, offline } = run.simulate;
        let of = |purpose: &str, parties: Option<u32>| -> BTreeSet<u32> {
            parties.map_or_else(BTreeSet::new, |count| drawn(run, purpose, count).into_iter().collect())
        };
        Self {
            run,
            close,
            slow: of("slow", slow.map(|slow| slow.parties)),
            failing: of("fail", fail.map(|fail| fail.parties)),
            offline: of("offline", offline.map(|offline| offline.parties)),
        }
    }

    /// What an attempt at a round comes to. `None` where nothing goes wrong on purpose: in round 0, and in a run that
    /// simulates nothing; and where nobody knows yet whom the round selects, as by training times.
    pub fn of(&self, round: u32, attempt: u32) -> Option<Forecast> {
        let run = self.run;
        if round == 0 || run.is_placed() || run.simulate.is_nothing() {
            return None;
        }
        let (everyone, selected) = (self.everyone(), self.selected(round)?);
        let phases = phases(&run.pipeline, round).into_iter();
        let forecasts = phases.filter(|phase| phase.who.is_parties()).map(|phase| {
            let cohort = if phase.who == Who::Selected {
                &selected
            } else {
                &everyone
            };
            self.of_cohort(cohort, (round, attempt))
        });
        forecasts.min_by_key(Forecast::answers)
    }

    /// The slots that a round selects; `None` where that follows from the rounds before.
    pub fn selected(&self, round: u32) -> Option<Vec<u32>> {
        let run = self.run;
        if let Selection::Fedlesscan { active } = run.selection
            && (active as usize) < run.parties.len()
            && run.pipeline.selects()
        {
            return None;
        }
        Some(select(run, round, &BTreeMap::new()).unwrap_or_else(|| self.everyone()))
    }

    /// Those of the selected slots that answer in an attempt at a round, at some time; `None` where nobody knows yet whom it
    /// selects.
    pub fn answering(&self, round: u32, attempt: u32) -> Option<Vec<u32>> {
        let mut slots = self.selected(round)?;
        if round > 0 && !self.run.is_placed() {
            slots.retain(|slot| !self.offline.contains(slot) && !self.is_failing(*slot, (round, attempt)));
        }
        Some(slots)
    }

    fn everyone(&self) -> Vec<u32> {
        (0..self.run.parties.len() as u32).collect()
    }

    /// Whether a party fails in an attempt at a round, unless it is offline.
    fn is_failing(&self, slot: u32, at: (u32, u32)) -> bool {
        let fail = self.run.simulate.fail.filter(|_| self.failing.contains(&slot));
        fail.is_some_and(|fail| fails(self.run, fail, at, slot))
    }

    fn of_cohort(&self, cohort: &[u32], at: (u32, u32)) -> Forecast {
        let (mut failing, mut offline, mut slow) = (0, 0, 0);
        for slot in cohort {
            if self.offline.contains(slot) {
                offline += 1;
            } else if self.is_failing(*slot, at) {
                failing += 1;
            } else if self.slow.contains(slot) {
                slow += 1;
            }
        }
        Forecast {
            parties: cohort.len() as u32,
            failing,
            offline,
            slow,
            needed: self.close.needed(self.run.parties.len()) as u32,
        }
    }
}
