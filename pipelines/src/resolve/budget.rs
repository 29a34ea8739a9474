//! How long the server trains where it has the private rows of all parties: so many steps of the optimizer as the parties
//! take together in the same step, so that what one place reaches more than many owes nothing to more work.
//!
//! Epochs over all rows would come near to it and not quite: every party has a last batch of its own.

use fedstill_learner::steps_of;
use fedstill_schemas::pipeline::{On, Pipeline, STANDALONE, Step, Who};

/// A pipeline whose steps of the server on private rows say how many steps of the optimizer they take: what `own`, the
/// pipeline that it is made of, says is each party's. `rows` are those of each party, `active` of which take part in a round;
/// the parties of steps that only some of them do take the mean of all.
pub(super) fn of_all_parties(pipeline: &Pipeline, own: &Pipeline, rows: &[usize], active: u32) -> Pipeline {
    let mut pipeline = pipeline.clone();
    for step in &mut pipeline.warmup {
        let taken = together(step, rows);
        set(step, taken);
    }
    let alone = own.baseline(STANDALONE);
    for step in &mut pipeline.round {
        let parties_do = alone.as_ref().and_then(|alone| alone.step(1, &step.name));
        let mut taken = together(step, rows);
        if parties_do.is_some_and(|step| step.who == Who::Selected) {
            let parties = rows.len().max(1) as u64;
            taken = (taken.saturating_mul(u64::from(active)) + parties / 2) / parties;
        }
        set(step, taken);
    }
    pipeline
}

/// A pipeline whose steps of the server on private rows take as many steps of the optimizer as in `there`, a run's: how many
/// follows from rows, which nobody has read.
pub(super) fn counted_as(pipeline: &Pipeline, there: &Pipeline) -> Pipeline {
    let mut pipeline = pipeline.clone();
    take_over(&mut pipeline.warmup, &there.warmup);
    take_over(&mut pipeline.round, &there.round);
    pipeline
}

fn take_over(steps: &mut [Step], counted: &[Step]) {
    for step in steps.iter_mut().filter(|step| is_of_server(step)) {
        let same = counted.iter().find(|other| other.name == step.name);
        if let (Some(fit), Some(counted)) = (&mut step.fit, same.and_then(|same| same.fit.as_ref())) {
            fit.steps = counted.steps;
        }
    }
}

/// Whether some of its steps are done by the server on private rows.
pub(super) fn is_shared(pipeline: &Pipeline) -> bool {
    pipeline.all_steps().any(is_of_server)
}

/// The rows of the first term are those that epochs are of.
fn is_of_server(step: &Step) -> bool {
    let first = step.terms.first();
    step.who == Who::Architectures && first.is_some_and(|term| term.on == On::Private)
}

/// The steps of the optimizer that all parties take together in a step.
fn together(step: &Step, rows: &[usize]) -> u64 {
    let Some(fit) = &step.fit else { return 0 };
    rows.iter()
        .fold(0, |sum: u64, rows| sum.saturating_add(steps_of(fit, *rows)))
}

fn set(step: &mut Step, taken: u64) {
    if !is_of_server(step) {
        return;
    }
    if let Some(fit) = &mut step.fit {
        fit.steps = Some(u32::try_from(taken.max(1)).unwrap_or(u32::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algorithms;
    use fedstill_schemas::pipeline::CENTRALISED;

    fn pipelines(name: &str) -> [Pipeline; 2] {
        let mut all = algorithms::all().into_iter();
        let own = all.find(|pipeline| pipeline.name == name).unwrap();
        let pooled = own.baseline(CENTRALISED).unwrap();
        [own, pooled]
    }

    fn steps(pipeline: &Pipeline, round: u32, step: &str) -> Option<u32> {
        pipeline
            .step(round, step)
            .and_then(|step| step.fit.as_ref())
            .unwrap()
            .steps
    }

    #[test]
    fn one_place_takes_the_steps_of_every_party() {
        let [fedavg, pooled] = pipelines("fedavg");
        // Five epochs in batches of ten, of which one of a single row is dropped: 2, 1 and 3 an epoch.
        let rows = [20, 11, 25];
        let all = of_all_parties(&pooled, &fedavg, &rows, 3);
        assert_eq!(steps(&all, 1, "train"), Some(5 * (2 + 1 + 3)));
        // What is no step of the server on private rows stays.
        assert_eq!(of_all_parties(&fedavg, &fedavg, &rows, 3), fedavg);
        assert!(is_shared(&pooled) && !is_shared(&fedavg));
    }

    #[test]
    fn where_some_of_the_parties_are_selected_one_place_takes_the_steps_of_so_many() {
        let [fedavg, pooled] = pipelines("fedavg");
        assert_eq!(
            steps(&of_all_parties(&pooled, &fedavg, &[20, 11, 25], 1), 1, "train"),
            Some(10)
        );
        // Alike they take the same, whoever is selected.
        assert_eq!(
            steps(&of_all_parties(&pooled, &fedavg, &[30; 10], 4), 1, "train"),
            Some(4 * 15)
        );
    }

    #[test]
    fn what_counts_is_who_takes_part_in_the_pipeline_that_it_is_made_of() {
        let [fedavg, pooled] = pipelines("fedavg");
        let mut everyone = fedavg;
        for step in everyone.round.iter_mut().filter(|step| step.who == Who::Selected) {
            step.who = Who::Parties;
        }
        let all = of_all_parties(&pooled, &everyone, &[20, 11, 25], 1);
        assert_eq!(steps(&all, 1, "train"), Some(5 * (2 + 1 + 3)));
    }

    #[test]
    fn steps_that_stop_early_take_as_many_as_the_parties_would_at_most() {
        let [fedmd, pooled] = pipelines("fedmd");
        let all = of_all_parties(&pooled, &fedmd, &[40, 80], 1);
        // 25 epochs in batches of 32, of 32 and 64 rows that are not held out. The warm-up is everyone's.
        assert_eq!(steps(&all, 0, "transfer"), Some(25 * (1 + 2)));
        // Four epochs in batches of five of 40 and 80 rows, of one of two parties.
        assert_eq!(steps(&all, 1, "revisit"), Some(4 * (8 + 16) / 2));
        assert_eq!(steps(&all, 0, "pretrain"), None, "public rows are the same for all");
    }

    #[test]
    fn what_parties_take_by_steps_is_taken_once_for_each() {
        let [fedavg, mut pooled] = pipelines("fedavg");
        for step in &mut pooled.round {
            if let Some(fit) = &mut step.fit {
                fit.steps = Some(7);
            }
        }
        assert_eq!(
            steps(&of_all_parties(&pooled, &fedavg, &[9, 90], 2), 1, "train"),
            Some(14)
        );
    }
}
