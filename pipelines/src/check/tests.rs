//! What `check` says of a run, in its own words.

use super::steps::{fit_text, short};
use super::*;
use crate::samples::{resolved, set};
use fedstill_schemas::data::{LabelsPer, Shape};
use fedstill_schemas::events::Close;
use fedstill_schemas::fit::{EarlyStop, Fit, Loss, Optimizer, Schedule, Watch};
use fedstill_schemas::pipeline::{By, On, Rule, Start, Step, Target, Term};
use fedstill_schemas::resolved::{Fail, Offline, Simulate, Slow};

fn step(stage: Stage, who: Who) -> Step {
    Step::new(stage.name(), stage, who)
}

/// Ten parties of which four are active, and everything goes wrong with some.
pub(super) fn run() -> ResolvedRun {
    let stop = EarlyStop {
        watch: Watch::Validation,
        every: Some(100),
        ..EarlyStop::after(10, 0.0)
    };
    let mut fit = Fit::new(1, 128, Optimizer::adam(1e-3), Some(stop));
    fit.steps = Some(10_000);
    fit.schedule = Schedule::Cosine;
    let distill = Step {
        fit: Some(fit),
        ..step(Stage::Distill, Who::Architectures)
    };
    let average = Step {
        rule: Some(Rule::Weights(By::Parties)),
        ..step(Stage::Average, Who::Architectures)
    };
    let mut fit = Fit::new(2, 32, Optimizer::adam(1e-3), None);
    fit.proximal = 0.01;
    fit.head_l2 = 0.001;
    fit.clip = Some(5.0);
    let train = Step {
        fit: Some(fit),
        start: Start::Prototype,
        ..step(Stage::Train, Who::Selected)
    };
    ResolvedRun {
        pipeline: Pipeline {
            name: "b".to_owned(),
            discloses: vec![
                Disclosure::Weights,
                Disclosure::Prototypes,
                Disclosure::ValidationRows,
                Disclosure::Reports,
            ],
            warmup: vec![step(Stage::Pretrain, Who::Architectures)],
            round: vec![train, average, distill, step(Stage::Evaluate, Who::Server)],
        },
        parties: (0..10).map(|_| "mlp[8]".parse().unwrap()).collect(),
        private: set(1000),
        test: set(1000),
        selection: Selection::RoundRobin { active: 4 },
        validation: Some(Validation::Private { rows: 100 }),
        simulate: Simulate {
            slow: Some(Slow {
                parties: 3,
                factor: 5.0,
            }),
            fail: Some(Fail {
                parties: 1,
                probability: 0.5,
            }),
            offline: Some(Offline { parties: 1 }),
        },
        ..resolved()
    }
}

#[test]
fn a_plan_says_who_takes_part_who_holds_what_and_what_is_simulated() {
    let job = Job {
        id: "a-b-0".to_owned(),
        resolved: run(),
    };
    let close = Close {
        quorum: 0.3,
        deadline_ms: Some(1000),
    };
    let known = forecast::of_rounds(&[&job], 1, close);
    let text = of_job(&job, 1, &known, &Registry::default());
    for part in [
        "\n    pretrain  server, 1 architecture  not trained\n",
        "\n    train     4 of 10 parties",
        "starts from the server's model; 2 epochs in batches of 32, Adam 0.001, proximal weight 0.01, L2 penalty 0.001 on \
         the head, gradient no longer than 5\n",
        "mean of weights, every party alike\n",
        "10000 steps in batches of 128, Adam 0.001 falling along a cosine, stops after 10 looks, one every 100 steps \
         without better accuracy on validation rows\n",
        "mean of the parties' logits\n",
        "\n  selected: 4 of 10 parties in each round, the architectures in turn",
        "\n  simulated: 3 parties 5 times as slow, 1 party failing with probability 0.5 in each attempt at a round after round \
         0, 1 party offline after round 0\n",
        // The seed selects parties 0, 2, 4 and 9, of which 2 is offline, and 0 and 9 are slow.
        "\n  what is known of rounds\n    round 1: 1 of 4 parties is offline, 2 are slow; quorum 3 holds only if slow ones are \
         in time\n",
        "\n    each party: its private rows\n",
        "\n    server: a model of each architecture, the models that parties train, 100 validation rows, the parties' reports\n",
        "\n  weights a round: ",
        "900 private rows",
        "\n  validation: 100 of the private rows, with the server and divided among nobody\n",
    ] {
        assert!(text.contains(part), "'{part}' is not in\n{text}");
    }
}

#[test]
fn numbers_are_no_rows_of_zeros() {
    for (number, expected) in [
        (0.0, "0"),
        (5.0, "5"),
        (0.001, "0.001"),
        (0.0001, "0.0001"),
        (1e-7, "1e-7"),
        (250_000.0, "250000"),
        (1e300, "1e300"),
    ] {
        assert_eq!(short(number), expected);
    }
    let mut fit = Fit::new(1, 32, Optimizer::adam(1e-3), None);
    fit.clip = Some(1e300);
    assert!(fit_text(&fit).ends_with("gradient no longer than 1e300"));
}

#[test]
fn a_step_that_drops_the_worst_says_so() {
    let aggregate = Step {
        rule: Some(Rule::Mean),
        drop_worst: true,
        ..step(Stage::Aggregate, Who::Partitions)
    };
    assert_eq!(
        does(&aggregate, &[]),
        "mean of logits, without the worst on validation rows"
    );
}

#[test]
fn a_plan_of_everyone_says_nothing_about_selection_validation_or_simulation() {
    let mut resolved = run();
    resolved.selection = Selection::All;
    resolved.validation = None;
    resolved.simulate = Simulate::default();
    resolved.pipeline.discloses = vec![Disclosure::Reports];
    let job = Job {
        id: "a-b-0".to_owned(),
        resolved,
    };
    let text = of_job(&job, 1, &[], &Registry::default());
    for word in [
        "selected:",
        "validation:",
        "simulated:",
        "known of rounds",
        "weights a round",
    ] {
        assert!(!text.contains(word), "'{word}' is in\n{text}");
    }
    assert!(text.contains("each of 10 parties"), "{text}");
    assert!(
        text.contains("\n    each party: its private rows, its model\n"),
        "{text}"
    );
}

#[test]
fn an_ensemble_is_said_to_be_scored_as_the_round_combines_predictions() {
    let said = |rule, drop_worst| {
        let mut resolved = run();
        let aggregate = Step {
            rule: Some(rule),
            drop_worst,
            ..step(Stage::Aggregate, Who::Partitions)
        };
        resolved.pipeline.round.insert(0, aggregate);
        let job = Job {
            id: "a-b-0".to_owned(),
            resolved,
        };
        of_job(&job, 1, &[], &Registry::default())
    };
    assert!(said(Rule::Mean, false).contains("mean of the parties' logits\n"));
    assert!(said(Rule::Mean, true).contains("mean of the parties' logits, without those that are dropped\n"));
    let slots = said(Rule::Weights(By::Slots(vec![1.0, 2.0])), false);
    assert!(
        slots.contains("mean of the parties' logits, each by a weight of its own\n"),
        "{slots}"
    );
    let probabilities = said(Rule::MeanProbability, false);
    assert!(
        probabilities.contains("mean of the parties' probabilities\n"),
        "{probabilities}"
    );
    assert!(!probabilities.contains("the parties' logits"), "{probabilities}");
}

#[test]
fn one_place_is_said_to_take_the_steps_of_the_parties() {
    let mut pooled = Fit::new(1, 32, Optimizer::adam(1e-3), None);
    pooled.steps = Some(77);
    let term = Term {
        on: On::Private,
        target: Target::Labels,
        loss: Loss::CrossEntropy,
        weight: 1.0,
    };
    let train = Step {
        terms: vec![term],
        fit: Some(pooled),
        ..step(Stage::Train, Who::Architectures)
    };
    let text = does(&train, &[]);
    assert!(
        text.ends_with("77 steps in batches of 32, Adam 0.001; as many steps as the parties together"),
        "{text}"
    );
}

#[test]
fn what_one_place_takes_is_said_of_every_seed_where_it_differs() {
    let job = |seed: u64, steps: u32| {
        let mut resolved = run();
        let mut pooled = Fit::new(1, 32, Optimizer::adam(1e-3), None);
        pooled.steps = Some(steps);
        resolved.seed = seed;
        resolved.pipeline.round[0].fit = Some(pooled);
        Job {
            id: format!("a-b-{seed}"),
            resolved,
        }
    };
    let said = |jobs: &[Job]| steps_by_seed(&jobs.iter().collect::<Vec<_>>());
    let name = run().pipeline.round[0].name.clone();
    assert!(said(&[job(0, 40), job(1, 40)]).is_empty());
    assert_eq!(
        said(&[job(0, 40), job(1, 38)]),
        [format!(
            "steps of the optimizer in {name}: 40 with seed 0, 38 with seed 1"
        )]
    );
}

#[test]
fn a_plan_says_at_how_many_positions_a_row_is_predicted() {
    let mut resolved = run();
    resolved.private.shape = Shape {
        channels: 1,
        height: 1,
        width: 80,
    };
    let text = |resolved: &ResolvedRun| {
        let job = Job {
            id: "a-b-0".to_owned(),
            resolved: resolved.clone(),
        };
        of_job(&job, 1, &[], &Registry::default())
    };
    assert!(text(&resolved).contains("head of 2 classes\n"), "{}", text(&resolved));
    resolved.private.columns.labels_per = LabelsPer::Position;
    let everywhere = "head of 2 classes at each of 80 positions of a row\n";
    assert!(text(&resolved).contains(everywhere), "{}", text(&resolved));
}

#[test]
fn validation_rows_that_another_pipeline_stops_by_are_said_to_be_set_apart() {
    let mut run = run();
    run.pipeline.round.retain(|step| step.stage != Stage::Distill);
    let text = validation(&run).unwrap();
    assert!(text.contains("100 of the private rows are set apart"), "{text}");
    let set = Box::new(run.test.clone());
    run.validation = Some(Validation::Set { set });
    assert_eq!(
        validation(&run).unwrap(),
        "1000 rows of a set of their own, with the server"
    );
}
