//! The algorithms that ship, one file each, as data.

mod centralised;
mod fedavg;
mod feddf;
mod fedmd;
mod list;
mod self_digest;
mod standalone;

use fedstill_schemas::fit::{EarlyStop, Fit, Loss, Optimizer};
use fedstill_schemas::pipeline::{On, Pipeline, Stage, Start, Step, Target, Term, Who};

pub(crate) use list::{file, list};

/// Every pipeline that a run file can name.
pub fn all() -> Vec<Pipeline> {
    described().map(|(pipeline, _)| pipeline).into()
}

/// The same, each with what it is in a line.
fn described() -> [(Pipeline, &'static str); 7] {
    [
        (fedmd::pipeline(), fedmd::ABOUT),
        (feddf::pipeline(), feddf::ABOUT),
        (fedavg::pipeline(), fedavg::ABOUT),
        (fedavg::prox(), fedavg::ABOUT_PROX),
        (standalone::pipeline(), standalone::ABOUT),
        (self_digest::pipeline(), self_digest::ABOUT),
        (centralised::pipeline(), centralised::ABOUT),
    ]
}

/// Where a pipeline comes among those that ship; the others come after them.
pub(crate) fn place(pipeline: &str) -> usize {
    let shipped = described();
    let position = shipped.iter().position(|(one, _)| one.name == pipeline);
    position.unwrap_or(shipped.len())
}

/// A step that learns nothing and is told nothing: `evaluate`, `predict`, `aggregate`, `join`.
fn plain(stage: Stage, who: Who) -> Step {
    Step::new(stage.name(), stage, who)
}

/// A step that learns from one term.
fn learning(name: &str, stage: Stage, who: Who, start: Start, term: Term, fit: Fit) -> Step {
    Step {
        name: name.to_owned(),
        start,
        terms: vec![term],
        fit: Some(fit),
        ..plain(stage, who)
    }
}

fn term(on: On, target: Target, loss: Loss) -> Term {
    Term {
        on,
        target,
        loss,
        weight: 1.0,
    }
}

fn adam(epochs: u32, batch: u32, stop: Option<EarlyStop>) -> Fit {
    Fit::new(epochs, batch, Optimizer::adam(1e-3), stop)
}

/// The name of local training in algorithms that average weights.
const LOCAL: &str = "train";

/// A party's local training in algorithms that average weights: descent along the gradient, at FedDF's rate for residual
/// networks (Lin et al. 2020, section 4.1).
fn local(start: Start, epochs: u32, batch: u32) -> Step {
    let sgd = Optimizer::Sgd {
        lr: 0.1,
        momentum: 0.0,
        weight_decay: 0.0,
    };
    let labels = term(On::Private, Target::Labels, Loss::CrossEntropy);
    learning(
        LOCAL,
        Stage::Train,
        Who::Selected,
        start,
        labels,
        Fit::new(epochs, batch, sgd, None),
    )
}

/// FedMD's steps before collaboration: public pretraining once an architecture, transfer on private data.
fn transfer_learning(private: Who) -> Vec<Step> {
    let labels = |on| term(on, Target::Labels, Loss::CrossEntropy);
    let early = |patience, min_delta| Some(EarlyStop::after(patience, min_delta));
    let pretrain = learning(
        "pretrain",
        Stage::Pretrain,
        Who::Architectures,
        Start::Fresh,
        labels(On::Public),
        adam(20, 128, early(3, 0.005)),
    );
    let transfer = learning(
        "transfer",
        Stage::Train,
        private,
        Start::Step("pretrain".to_owned()),
        labels(On::Private),
        adam(25, 32, early(10, 0.0)),
    );
    let transfer = Step {
        keep: Some("private".to_owned()),
        ..transfer
    };
    vec![pretrain, transfer, plain(Stage::Evaluate, private)]
}

/// FedMD's "revisit": a few epochs on private data.
fn revisit(private: Who) -> Step {
    let labels = term(On::Private, Target::Labels, Loss::CrossEntropy);
    let step = learning("revisit", Stage::Train, private, Start::Own, labels, adam(4, 5, None));
    Step {
        keep: Some("private".to_owned()),
        ..step
    }
}

/// FedMD's "digest": one epoch on the alignment set towards a target, by the mean absolute error of raw logits.
fn digest(target: Target) -> Step {
    let towards = term(On::Alignment, target, Loss::Mae);
    let step = learning(
        "digest",
        Stage::Distill,
        Who::Selected,
        Start::Own,
        towards,
        adam(1, 256, None),
    );
    Step {
        keep: Some("digest".to_owned()),
        ..step
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fedstill_schemas::pipeline::Disclosure;
    use fedstill_schemas::plan::{ARCHIVE, phases};

    #[test]
    fn baselines_share_the_warm_up_with_fedmd_step_by_step() {
        let fedmd = fedmd::pipeline();
        assert_eq!(standalone::pipeline().warmup, fedmd.warmup);
        assert_eq!(self_digest::pipeline().warmup, fedmd.warmup);
        assert_eq!(self_digest::pipeline().step(1, "revisit"), fedmd.step(1, "revisit"));
        assert_eq!(standalone::pipeline().step(1, "revisit"), fedmd.step(1, "revisit"));
    }

    #[test]
    fn baselines_of_fedmd_are_its_local_steps_and_nothing_else() {
        let alone = Pipeline {
            name: "standalone".to_owned(),
            discloses: vec![Disclosure::Reports],
            warmup: transfer_learning(Who::Parties),
            round: vec![revisit(Who::Selected), plain(Stage::Evaluate, Who::Selected)],
        };
        assert_eq!(standalone::pipeline(), alone);
        let pooled = Pipeline {
            name: "centralised".to_owned(),
            discloses: vec![Disclosure::PrivateRows, Disclosure::Reports],
            warmup: transfer_learning(Who::Architectures),
            round: vec![revisit(Who::Architectures), plain(Stage::Evaluate, Who::Architectures)],
        };
        assert_eq!(centralised::pipeline(), pooled);
        // A file that is about one of them has the other as its baseline.
        assert_eq!(alone.baseline("centralised"), Some(pooled.clone()));
        assert_eq!(pooled.baseline("standalone"), Some(alone));
    }

    #[test]
    fn baselines_of_algorithms_that_average_weights_need_neither_public_rows_nor_the_server() {
        for pipeline in [fedavg::pipeline(), fedavg::prox(), feddf::pipeline()] {
            let alone = pipeline.baseline("standalone").unwrap();
            assert_eq!(alone.discloses, [Disclosure::Reports], "{}", pipeline.name);
            let own = pipeline.step(1, LOCAL).unwrap();
            let expected = Step {
                start: Start::Own,
                ..own.clone()
            };
            assert_eq!(alone.round, [expected, plain(Stage::Evaluate, Who::Selected)]);
            assert!(
                alone
                    .all_steps()
                    .flat_map(|step| &step.terms)
                    .all(|term| term.on == On::Private)
            );
        }
    }

    #[test]
    fn baselines_of_every_pipeline_keep_the_rules() {
        for pipeline in all() {
            for name in ["standalone", "centralised"] {
                let baseline = pipeline.baseline(name).unwrap();
                let faults = baseline.check();
                assert!(faults.is_empty(), "{name} of {}: {faults:?}", pipeline.name);
                assert_eq!(Pipeline::parse(&baseline.to_toml()), Ok(baseline));
            }
        }
    }

    #[test]
    fn local_training_is_as_long_as_in_each_paper() {
        let of = |pipeline: &Pipeline| {
            let fit = pipeline.step(1, LOCAL).unwrap().fit.clone().unwrap();
            (fit.epochs, fit.steps, fit.batch, fit.stop.is_some(), fit.clip)
        };
        assert_eq!(of(&fedavg::pipeline()), (5, None, 10, false, None));
        assert_eq!(of(&fedavg::prox()), (5, None, 10, false, None));
        assert_eq!(of(&feddf::pipeline()), (40, None, 64, false, None));
    }

    #[test]
    fn fedmd_waits_for_others_only_to_aggregate() {
        let steps =
            |round| -> Vec<Vec<String>> { phases(&fedmd::pipeline(), round).into_iter().map(|p| p.steps).collect() };
        assert_eq!(
            steps(0),
            [vec!["pretrain"], vec!["transfer", "evaluate"], vec![ARCHIVE]]
        );
        assert_eq!(
            steps(1),
            [
                vec!["predict"],
                vec!["aggregate"],
                vec!["join"],
                vec!["digest", "revisit", "evaluate"],
                vec![ARCHIVE]
            ]
        );
    }

    #[test]
    fn every_pipeline_keeps_the_rules_and_survives_its_file() {
        for pipeline in all() {
            let faults = pipeline.check();
            assert!(faults.is_empty(), "{}: {faults:?}", pipeline.name);
            assert_eq!(Pipeline::parse(&pipeline.to_toml()), Ok(pipeline));
        }
    }
}
