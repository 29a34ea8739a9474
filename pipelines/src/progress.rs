//! Rounds, steps and parties as they go: a bar where a person watches, plain lines where not.

use crate::resolve::Job;
use crate::{estimate, tell};
use fedstill_schemas::events::Closed;
use fedstill_schemas::task::{Attempt, Subject, Task};
use fedstill_stages::StageError;
use fedstill_stages::context::Observer;
use fedstill_stages::rounds::Round;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::io::IsTerminal;

/// A bar of so many tasks; hidden where lines are plain.
pub(crate) fn bar(plain: bool, tasks: u64) -> ProgressBar {
    let target = if plain {
        ProgressDrawTarget::hidden()
    } else {
        ProgressDrawTarget::stderr()
    };
    let bar = ProgressBar::with_draw_target(Some(tasks), target);
    let template = "{prefix:<28} {bar:24} {percent:>3} %  {elapsed_precise}  {wide_msg}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

/// Tasks of a run of so many rounds.
pub(crate) fn tasks(job: &Job, rounds: u32) -> u64 {
    (0..=rounds).map(|round| estimate::tasks(job, round)).sum()
}

/// Tasks that are done when a phase of a round opens. Rounds and phases that were done before an interruption count at
/// once.
pub(crate) fn tasks_before(job: &Job, round: &Round) -> u64 {
    let before: u64 = (0..round.planned.at().round)
        .map(|round| estimate::tasks(job, round))
        .sum();
    let phases = round.planned.phases.iter().zip(&round.closed);
    let closed: usize = phases
        .map(|(phase, closed)| phase.steps.len() * closed.members.len())
        .sum();
    before + closed as u64
}

/// Who of a run is missing, as its phases close: each once in an attempt at a round, with what it was missing for first.
#[derive(Debug, Default)]
pub(crate) struct MissingOnes(Mutex<(Option<Attempt>, BTreeSet<Subject>)>);

impl MissingOnes {
    /// Who is missing in a closed phase and was not in one before it, a line each.
    pub(crate) fn lines(&self, closed: &Closed) -> Vec<String> {
        let mut told = self.0.lock();
        if told.0.as_ref() != Some(&closed.at) {
            *told = (Some(closed.at.clone()), BTreeSet::new());
        }
        let (run, round) = (&closed.at.run, closed.at.round);
        let new = closed.missing.iter().filter(|(subject, _)| told.1.insert(**subject));
        new.map(|(subject, reason)| format!("{run} round {round}: without {subject}: {reason}"))
            .collect()
    }
}

/// Whether a task's end brings its run forward: what is tried again, was cut off, or is never answered, does not.
pub(crate) fn counts(error: Option<&StageError>) -> bool {
    !matches!(
        error,
        Some(StageError::Retry(_) | StageError::Cancelled | StageError::Offline)
    )
}

/// Shows a run's progress.
#[derive(Debug)]
pub(crate) struct Display {
    bar: ProgressBar,
    plain: bool,
    job: Job,
    rounds: u32,
    state: Mutex<State>,
    missing: MissingOnes,
}

#[derive(Debug, Default)]
struct State {
    round: u32,
    /// The open phase's steps in order: tasks that are done, of how many.
    steps: Vec<(String, usize, usize)>,
}

impl Display {
    /// The display of a run of so many rounds.
    pub(crate) fn new(job: &Job, rounds: u32) -> Self {
        let plain = !std::io::stderr().is_terminal();
        let bar = bar(plain, tasks(job, rounds));
        bar.set_prefix(job.id.clone());
        Self {
            bar,
            plain,
            job: job.clone(),
            rounds,
            state: Mutex::default(),
            missing: MissingOnes::default(),
        }
    }

    /// Leaves the bar as it is, or takes it away when the run is done.
    pub(crate) fn end(&self, done: bool) {
        if done {
            self.bar.finish_with_message("done");
        } else {
            self.bar.abandon();
        }
    }

    fn show(&self, state: &State) {
        let steps: Vec<String> = state
            .steps
            .iter()
            .map(|(step, done, all)| format!("{step} {done}/{all}"))
            .collect();
        self.bar
            .set_message(format!("round {}/{}  {}", state.round, self.rounds, steps.join("  ")));
    }
}

impl Observer for Display {
    fn opened(&self, round: &Round, members: usize) {
        let mut state = self.state.lock();
        state.round = round.planned.at().round;
        let steps = &round.planned.phases[round.phase() as usize].steps;
        state.steps = steps.iter().map(|step| (step.clone(), 0, members)).collect();
        self.bar.set_position(tasks_before(&self.job, round));
        self.show(&state);
    }

    fn finished(&self, task: &Task, error: Option<&StageError>) {
        if !counts(error) {
            return;
        }
        let mut state = self.state.lock();
        if let Some((_, done, all)) = state.steps.iter_mut().find(|(step, ..)| *step == task.step) {
            *done = (*done + 1).min(*all);
        }
        self.bar.inc(1);
        self.show(&state);
    }

    fn closed(&self, closed: &Closed) {
        for line in self.missing.lines(closed) {
            if self.plain {
                tell::line(&line);
            } else {
                self.bar.println(line);
            }
        }
        if self.plain {
            let steps = self.job.resolved.pipeline.steps(closed.at.round);
            let names = closed.members.values().next().map_or(Vec::new(), |done| {
                done.iter().map(|done| done.result.step.clone()).collect()
            });
            let known = names.iter().any(|name| steps.iter().any(|step| step.name == *name));
            if known {
                tell::line(&format!(
                    "{} round {}/{}: {} ({})",
                    closed.at.run,
                    closed.at.round,
                    self.rounds,
                    names.join(", "),
                    closed.members.len()
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fedstill_schemas::events::Missing;
    use fedstill_schemas::resolved::VERSION;
    use std::collections::BTreeMap;

    fn closed(round: u32, phase: u32, missing: &[(u32, Missing)]) -> Closed {
        let missing = missing.iter().cloned();
        Closed {
            version: VERSION,
            at: Attempt {
                run: "a-fedmd-0".to_owned(),
                round,
                attempt: 0,
            },
            phase,
            enough: true,
            members: BTreeMap::new(),
            missing: missing.map(|(slot, why)| (Subject::Party(slot), why)).collect(),
            logits_end: Vec::new(),
            wire_bytes: BTreeMap::new(),
        }
    }

    #[test]
    fn who_is_late_and_then_refused_is_told_once_a_round() {
        let told = MissingOnes::default();
        let refused = Missing::Failed {
            reason: "digest: simulated failure".to_owned(),
        };
        let first = told.lines(&closed(1, 0, &[(2, Missing::Late)]));
        assert_eq!(
            first,
            ["a-fedmd-0 round 1: without party-2: it did not answer by the deadline"]
        );
        let later = told.lines(&closed(1, 3, &[(0, refused.clone()), (2, refused.clone())]));
        assert_eq!(later, ["a-fedmd-0 round 1: without party-0: digest: simulated failure"]);
        assert_eq!(told.lines(&closed(2, 0, &[(2, refused)])).len(), 1, "another round");
    }
}
