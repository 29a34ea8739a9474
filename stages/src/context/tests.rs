//! What a party with a worker of its own takes part in.

use super::*;
use crate::tensors::Tensors;
use fedstill_learner::Registry;
use fedstill_log::{Clock, Embedded, ManualClock};
use fedstill_schemas::signature::PartyIdentity;

/// Party 1 of a run, and the run, whose parties have their own workers.
fn placed() -> (Own, ResolvedRun) {
    let key = |slot: u8| PrivateKey::from_bytes(&[slot + 1; 32]);
    let mut run = crate::simulation::resolved();
    let identity = |slot: u8| PartyIdentity {
        id: format!("clinic-{slot}"),
        key: key(slot).public(),
    };
    run.identities = (0..3).map(identity).collect();
    let own = Own {
        id: "clinic-1".to_owned(),
        key: key(1),
        allow: run.pipeline.discloses.iter().copied().collect(),
    };
    (own, run)
}

fn refused(own: &Own, run: &ResolvedRun, slot: u32) -> String {
    match own.may(run, Subject::Party(slot)) {
        Err(StageError::Reject(reason)) => reason,
        other => format!("{other:?}"),
    }
}

#[test]
fn a_party_takes_part_as_itself_where_the_run_discloses_what_it_allows() {
    let (mut own, run) = placed();
    assert_eq!(own.may(&run, Subject::Party(1)), Ok(()));
    assert!(refused(&own, &run, 0).contains("party-0 of this run is not clinic-1"));
    own.allow.remove(&Disclosure::Consensus);
    assert!(refused(&own, &run, 1).contains("add \"consensus\" to allow"));
}

#[test]
fn a_party_refuses_a_run_whose_steps_show_more_than_it_says() {
    let (mut own, mut run) = placed();
    own.allow.remove(&Disclosure::Predictions);
    run.pipeline.discloses.retain(|what| *what != Disclosure::Predictions);
    let reason = refused(&own, &run, 1);
    assert!(
        reason.contains("the run's pipeline cannot be run: discloses: step 'predict' shows"),
        "{reason}"
    );
}

#[test]
fn models_are_validated_beside_each_other_and_once_where_that_is_over() {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(1000));
    let learner = Arc::new(Tensors::new(Registry::default(), []));
    let context = Context::new(Arc::new(Embedded::in_memory(clock)), Store::in_memory(1), learner);
    let [model, other] = [0, 1].map(|slot: u8| Reference {
        round: 1,
        step: "train".to_owned(),
        subject: Subject::Party(slot.into()),
        task: Digest::of(b"task"),
        sha256: Digest::of(&[slot]),
    });
    let right = |right| Ok(Validated { right, rows: 9 });
    // One is validated while the other is: neither waits for it.
    let both = context.validated(&model, || {
        let inner = context.validated(&other, || right(2))?;
        right(1 + inner.right)
    });
    assert_eq!(both, right(3));
    for (model, expected) in [(&model, 3), (&other, 2)] {
        assert_eq!(context.validated(model, || right(7)), right(expected));
    }
}
