//! A federation in one process, with compute threads: what `fedstill run` drives.

use super::learner::{Bad, Synthetic};
use super::objects::Objects;
use super::scenario::{RUN, Scenario};
use crate::context::Context;
use crate::error::StageError;
use crate::federation::{Federation, Progress, make_topics};
use crate::plan::Planner;
use fedstill_log::{Clock, Embedded, ManualClock};
use fedstill_schemas::events::{Ending, Trigger};
use fedstill_schemas::names;
use fedstill_schemas::plan::Manifest;
use fedstill_schemas::task::Subject;
use std::sync::Arc;

/// A run's folder, which survives its federations.
struct Local {
    clock: Arc<ManualClock>,
    log: Embedded,
    objects: Objects,
    scenario: Scenario,
}

impl Local {
    fn new(scenario: Scenario) -> Self {
        let clock = Arc::new(ManualClock::new(0));
        Self {
            log: Embedded::in_memory(Arc::clone(&clock) as Arc<dyn Clock>),
            clock,
            objects: Objects::new(scenario.parties),
            scenario,
        }
    }

    fn context(&self) -> Arc<Context> {
        let learner = Synthetic {
            bad: self.scenario.bad.clone(),
        };
        Arc::new(Context::new(
            Arc::new(self.log.clone()),
            self.objects.plain(),
            Arc::new(learner),
        ))
    }

    fn run(&self, trigger: &Trigger) -> Result<Progress, StageError> {
        Federation::start(self.context(), 2)?.run(trigger, &*self.clock, &|| false)
    }

    /// Has a trigger planned, and no more.
    fn plan(&self, trigger: &Trigger) {
        let context = self.context();
        let message = crate::trigger_message(&context, trigger).unwrap();
        context.log.append(&[message]).unwrap();
        let mut planner = Planner::new(context).unwrap();
        while planner.tick(std::time::Duration::ZERO).unwrap() {}
    }

    fn has_manifest(&self, round: u32) -> bool {
        let path = names::manifest_object(RUN, round);
        self.objects.plain().get_json::<Manifest>(&path).unwrap().is_some()
    }
}

#[test]
fn a_longer_run_goes_on_where_a_shorter_one_is_or_was() {
    let local = Local::new(Scenario::calm(true));
    // Interrupted after its plan, which says that round 1 is the last.
    make_topics(&local.log, crate::federation::PARTITIONS).unwrap();
    assert_eq!(local.run(&local.scenario.trigger(0, 0, 0)).unwrap(), Progress::Finished);
    local.plan(&local.scenario.trigger(1, 0, 1));
    assert_eq!(local.run(&local.scenario.trigger(0, 0, 3)).unwrap(), Progress::Finished);
    assert!(local.has_manifest(3) && !local.has_manifest(4));
    assert_eq!(local.run(&local.scenario.trigger(0, 0, 3)).unwrap(), Progress::Finished);
}

#[test]
fn a_shorter_run_ends_where_it_is_asked_to_though_its_plan_goes_on() {
    let local = Local::new(Scenario::calm(true));
    make_topics(&local.log, crate::federation::PARTITIONS).unwrap();
    // Interrupted after a plan that says that round 9 is the last.
    local.plan(&local.scenario.trigger(0, 0, 9));
    assert_eq!(local.run(&local.scenario.trigger(0, 0, 2)).unwrap(), Progress::Finished);
    assert!(local.has_manifest(2) && !local.has_manifest(4));
    assert_eq!(local.run(&local.scenario.trigger(0, 0, 5)).unwrap(), Progress::Finished);
    assert!(local.has_manifest(5) && !local.has_manifest(7));
}

#[test]
fn a_run_that_cannot_start_says_why() {
    let local = Local::new(Scenario::calm(true));
    assert_eq!(local.run(&local.scenario.trigger(0, 0, 0)).unwrap(), Progress::Finished);
    let mut other = local.scenario.trigger(0, 0, 1);
    other.resolved.seed += 1;
    match local.run(&other) {
        Err(StageError::Reject(reason)) => assert!(reason.starts_with("run id taken"), "{reason}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_task_that_panics_fails_its_round_by_name_and_three_times_are_enough() {
    let mut scenario = Scenario::calm(true);
    scenario
        .bad
        .insert((0, "transfer".to_owned(), Subject::Party(2)), Bad::Panics);
    let local = Local::new(scenario);
    for attempt in 0..3 {
        let progress = local.run(&local.scenario.trigger(0, 0, 1)).unwrap();
        let Progress::Ended {
            at,
            why: Ending::Failed { missing, .. },
        } = progress
        else {
            panic!("{progress}");
        };
        assert_eq!(at, (0, attempt));
        assert!(
            missing[&Subject::Party(2)]
                .to_string()
                .contains("it panicked: it fails on purpose"),
            "{missing:?}"
        );
    }
    match local.run(&local.scenario.trigger(0, 0, 1)) {
        Err(StageError::Reject(reason)) => assert!(reason.contains("3 times at most"), "{reason}"),
        other => panic!("{other:?}"),
    }
}
