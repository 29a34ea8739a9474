//! Pipelines of a run file whose parties train unlike on their private rows, in steps of one name or in a round's steps of
//! whatever names: what differs in the end may then be training, and not the algorithm. In words for people.

use super::steps::fit_text;
use fedstill_schemas::fit::{Fit, Optimizer};
use fedstill_schemas::pipeline::{On, Pipeline, Step, Who};
use std::collections::BTreeSet;

/// A line for each step on private rows of a pipeline that an earlier one has too, and trains longer or shorter, in other
/// batches or by another optimizer; and where no such line is about its rounds, one for a pipeline whose rounds train a party
/// on its private rows unlike those of every earlier pipeline.
pub(super) fn warnings(pipelines: &[&Pipeline]) -> Vec<String> {
    let mut seen: Vec<(&str, &Step, &Fit)> = Vec::new();
    let mut rounds: Vec<Round<'_>> = Vec::new();
    let mut lines = Vec::new();
    for pipeline in pipelines {
        let round = Round::of(pipeline);
        let mut is_told = false;
        for (step, fit) in trained(pipeline) {
            let earlier = seen
                .iter()
                .find(|(of, other, _)| *of != pipeline.name && other.name == step.name && other.stage == step.stage);
            if let Some((of, _, other)) = earlier
                && !alike(fit, other)
            {
                is_told |= round.steps.iter().any(|(name, _)| *name == step.name);
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
        if round.steps.is_empty() {
            continue;
        }
        // Who trains as an earlier one does, as a baseline that is made of it, differs in nothing that is not told of that one.
        let is_new = rounds.iter().all(|other| !round.is_like(other));
        if let Some(first) = rounds.first()
            && is_new
            && !is_told
        {
            lines.push(round.unlike(first));
        }
        rounds.push(round);
    }
    lines
}

/// A round's training of a party on its private rows.
struct Round<'a> {
    pipeline: &'a str,
    steps: Vec<(&'a str, &'a Fit)>,
}

impl<'a> Round<'a> {
    fn of(pipeline: &'a Pipeline) -> Self {
        let steps = pipeline.round.iter().filter(|step| is_of_parties(step));
        // Also those whose epochs are of other rows: a baseline is left with what they learn of private ones.
        let private = steps.filter(|step| step.terms.iter().any(|term| term.on == On::Private));
        Self {
            pipeline: &pipeline.name,
            steps: private
                .filter_map(|step| Some((step.name.as_str(), step.fit.as_ref()?)))
                .collect(),
        }
    }

    /// Epochs and steps of the optimizer in all, by batch and optimizer: two steps of one epoch are as much as one of two.
    fn work(&self) -> Vec<Work<'a>> {
        let mut work: Vec<Work<'a>> = Vec::new();
        for (_, fit) in &self.steps {
            let (epochs, steps) = match fit.steps {
                Some(steps) => (0, u64::from(steps)),
                None => (u64::from(fit.epochs), 0),
            };
            let same = |other: &&mut Work<'a>| other.batch == fit.batch && *other.optimizer == fit.optimizer;
            match work.iter_mut().find(same) {
                Some(same) => {
                    same.epochs += epochs;
                    same.steps += steps;
                }
                None => work.push(Work {
                    batch: fit.batch,
                    optimizer: &fit.optimizer,
                    epochs,
                    steps,
                }),
            }
        }
        work
    }

    /// Whether it is as long, in the same batches, by the same optimizers.
    fn is_like(&self, other: &Round<'_>) -> bool {
        let (own, theirs) = (self.work(), other.work());
        own.len() == theirs.len() && own.iter().all(|work| theirs.contains(work))
    }

    /// What is said where it is not.
    fn unlike(&self, earlier: &Round<'_>) -> String {
        let steps = earlier.steps.iter().chain(&self.steps);
        let tables: BTreeSet<String> = steps.map(|(name, _)| format!("[steps.{name}]")).collect();
        let tables: Vec<String> = tables.into_iter().collect();
        format!(
            "warning: a round trains parties on their private rows unlike in {} ({}) and {} ({}); set epochs, batch and \
             optimizer in {} to train alike",
            earlier.pipeline,
            earlier.said(),
            self.pipeline,
            self.said(),
            tables.join(" and ")
        )
    }

    fn said(&self) -> String {
        let steps = self.steps.iter();
        let steps: Vec<String> = steps.map(|(name, fit)| format!("{name}: {}", fit_text(fit))).collect();
        steps.join("; ")
    }
}

/// Training with one batch and optimizer.
#[derive(PartialEq)]
struct Work<'a> {
    batch: u32,
    optimizer: &'a Optimizer,
    epochs: u64,
    steps: u64,
}

/// One place that has all rows takes as many steps as parties do together, and is no other training.
fn is_of_parties(step: &Step) -> bool {
    matches!(step.who, Who::Parties | Who::Selected)
}

/// Steps in which parties train on their private rows.
fn trained(pipeline: &Pipeline) -> impl Iterator<Item = (&Step, &Fit)> {
    let private = |step: &&Step| step.terms.first().is_some_and(|term| term.on == On::Private);
    let steps = pipeline.all_steps().filter(|step| is_of_parties(step)).filter(private);
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
    use fedstill_learner::Registry;
    use fedstill_schemas::run_file::{Catalog, RunFile};
    use std::collections::BTreeMap;

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

    #[test]
    fn rounds_that_train_unlike_in_steps_of_other_names_are_said_once_with_both_and_the_tables_that_mend_it() {
        let (mut feddf, mut fedmd) = (shipped("feddf"), shipped("fedmd"));
        let alone = fedmd.baseline("standalone").unwrap();
        let control = shipped("self_digest");
        let expected = "warning: a round trains parties on their private rows unlike in feddf (train: 40 epochs in batches of \
                        64, SGD 0.1, momentum 0) and fedmd (revisit: 4 epochs in batches of 5, Adam 0.001); set epochs, batch \
                        and optimizer in [steps.revisit] and [steps.train] to train alike";
        assert_eq!(warnings(&[&feddf, &fedmd]), [expected]);
        // Who trains as FedMD's parties do is told with it.
        assert_eq!(warnings(&[&feddf, &fedmd, &alone, &control]), [expected]);
        assert!(warnings(&[&fedmd, &alone, &control]).is_empty());
        // What is told of a step of one name is not told of the round again.
        let fedavg = shipped("fedavg");
        let lines = warnings(&[&feddf, &fedmd, &fedavg]);
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[1].starts_with("warning: step 'train' "), "{lines:?}");

        let as_long = fedmd.step(1, "revisit").unwrap().fit.clone();
        for step in feddf.round.iter_mut().filter(|step| step.name == "train") {
            step.fit.clone_from(&as_long);
        }
        assert!(warnings(&[&feddf, &fedmd]).is_empty());
        // Two steps of two epochs are as long as one of four.
        for step in fedmd.round.iter_mut().filter(|step| step.name == "revisit") {
            step.fit.as_mut().unwrap().epochs = 2;
        }
        let mut again = fedmd.step(1, "revisit").unwrap().clone();
        again.name = "again".to_owned();
        fedmd.round.push(again);
        assert!(warnings(&[&feddf, &fedmd]).is_empty());
    }

    #[test]
    fn the_published_comparisons_train_alike_in_all_pipelines() {
        let all = algorithms::all();
        let registry = Registry::default();
        let families = registry.families();
        let catalog = Catalog {
            pipelines: &all,
            files: &BTreeMap::new(),
            families: &families,
        };
        for text in [
            include_str!("../../../benchmarks/reproductions/mnist.toml"),
            include_str!("../../../benchmarks/reproductions/cifar.toml"),
            include_str!("../../../benchmarks/reproductions/shakespeare.toml"),
        ] {
            let file = RunFile::parse(text, &catalog).unwrap();
            let pipelines = file.asked(&all);
            let lines = warnings(&pipelines.iter().collect::<Vec<_>>());
            assert!(lines.is_empty() && pipelines.len() == 5, "{}: {lines:?}", file.name);
        }
    }

    #[test]
    fn baselines_that_are_made_of_a_pipeline_of_the_file_train_as_it_does() {
        for own in algorithms::all() {
            for name in ["standalone", "centralised"] {
                let baseline = own.baseline(name).unwrap();
                let lines = warnings(&[&own, &baseline]);
                assert!(lines.is_empty(), "{name} of {}: {lines:?}", own.name);
            }
        }
    }
}
