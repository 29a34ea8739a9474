//! Steps of one name that train parties otherwise in one pipeline of a run file than in another: what differs in the end may
//! then be training, and not the algorithm. In words for people.

use super::fit_text;
use fedstill_schemas::fit::Fit;
use fedstill_schemas::pipeline::{On, Pipeline, Step, Who};

/// A line for each step on private rows of a pipeline that an earlier one has too, and trains longer or shorter, in other
/// batches or by another optimizer.
pub(super) fn warnings(pipelines: &[&Pipeline]) -> Vec<String> {
    let mut seen: Vec<(&str, &Step, &Fit)> = Vec::new();
    let mut lines = Vec::new();
    for pipeline in pipelines {
        for (step, fit) in trained(pipeline) {
            let earlier = seen
                .iter()
                .find(|(of, other, _)| *of != pipeline.name && other.name == step.name && other.stage == step.stage);
            if let Some((of, _, other)) = earlier
                && !alike(fit, other)
            {
                let line = format!(
                    "warning: step '{0}' trains parties unlike in {of} ({1}) and {2} ({3}); set epochs, batch and optimizer \
                     in [steps.{0}] to train alike",
                    step.name,
                    fit_text(other),
                    pipeline.name,
                    fit_text(fit)
                );
                // A step of the warm-up may stand in the rounds too.
                if !lines.contains(&line) {
                    lines.push(line);
                }
            }
            seen.push((&pipeline.name, step, fit));
        }
    }
    lines
}

/// Steps in which parties train on their private rows. One place that has all rows takes as many steps as they do together,
/// and is no other training.
fn trained(pipeline: &Pipeline) -> impl Iterator<Item = (&Step, &Fit)> {
    let of_parties = |step: &&Step| matches!(step.who, Who::Parties | Who::Selected);
    let private = |step: &&Step| step.terms.first().is_some_and(|term| term.on == On::Private);
    let steps = pipeline.all_steps().filter(of_parties).filter(private);
    steps.filter_map(|step| Some((step, step.fit.as_ref()?)))
}

/// Whether two fits are as long, in the same batches, by the same optimizer.
fn alike(one: &Fit, other: &Fit) -> bool {
    let length = |fit: &Fit| (fit.steps, fit.steps.is_none().then_some(fit.epochs));
    length(one) == length(other) && one.batch == other.batch && one.optimizer == other.optimizer
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algorithms;

    fn shipped(name: &str) -> Pipeline {
        let mut all = algorithms::all().into_iter();
        all.find(|pipeline| pipeline.name == name)
            .unwrap_or_else(|| panic!("there is no pipeline {name}"))
    }

    #[test]
    fn local_training_of_other_lengths_is_said_once_with_both_pipelines_and_the_table_that_mends_it() {
        let (feddf, mut fedavg, fedprox) = (shipped("feddf"), shipped("fedavg"), shipped("fedprox"));
        let lines = warnings(&[&feddf, &fedavg]);
        assert_eq!(
            lines,
            [
                "warning: step 'train' trains parties unlike in feddf (40 epochs in batches of 64, SGD 0.1, momentum 0) and \
                 fedavg (5 epochs in batches of 10, SGD 0.1, momentum 0); set epochs, batch and optimizer in [steps.train] to \
                 train alike"
            ]
        );
        assert_eq!(warnings(&[&feddf, &fedavg, &fedprox]).len(), 2);
        for step in &mut fedavg.round {
            if let (Some(fit), Some(as_long)) = (&mut step.fit, feddf.step(1, &step.name)) {
                *fit = as_long.fit.clone().unwrap();
            }
        }
        assert!(warnings(&[&feddf, &fedavg]).is_empty());
    }

    #[test]
    fn what_trains_alike_on_other_rows_or_in_one_place_is_no_other_training() {
        let (fedavg, fedprox) = (shipped("fedavg"), shipped("fedprox"));
        assert!(
            warnings(&[&fedavg, &fedprox]).is_empty(),
            "a proximal term is the algorithm"
        );
        for name in ["fedmd", "fedavg", "feddf"] {
            let own = shipped(name);
            let alone = own.baseline("standalone").unwrap();
            let mut pooled = own.baseline("centralised").unwrap();
            for fit in pooled.round.iter_mut().filter_map(|step| step.fit.as_mut()) {
                fit.steps = Some(77);
            }
            assert!(warnings(&[&own, &alone, &pooled]).is_empty(), "{name}");
        }
        let (mut feddf, other) = (shipped("feddf"), shipped("feddf"));
        feddf.name = "mine".to_owned();
        for step in feddf.round.iter_mut().filter(|step| step.name == "distill") {
            step.fit.as_mut().unwrap().batch = 9;
        }
        assert!(
            warnings(&[&other, &feddf]).is_empty(),
            "the server's steps are not private training"
        );
    }
}
