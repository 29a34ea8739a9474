//! What is refused, with what to change.

use super::{rows, sgd};
use crate::testing::{SHAPE, adam, architecture, job, labels, patterns, positions, run, windows};
use crate::{FitJob, LearnError, Model, TargetData, TermData, ValidationData};
use fedstill_schemas::data::LabelsPer;
use fedstill_schemas::fit::{EarlyStop, Fit, Loss, Optimizer, Per, Watch};

#[test]
fn numbers_that_run_away_are_an_error() {
    let data = patterns(SHAPE, 64, 4);
    let rows = rows(64);
    let architecture = architecture("mlp[16,16]");
    let settings = Fit {
        optimizer: sgd(1e20),
        ..adam(5, 8)
    };
    let ran_away = run(&job(&architecture, vec![labels(&data, &rows)], &settings));
    assert!(matches!(ran_away, Err(LearnError::Diverged { .. })), "{ran_away:?}");
}

#[test]
fn what_does_not_fit_is_refused_before_it_starts() {
    let data = patterns(SHAPE, 16, 4);
    let rows = rows(16);
    let (mlp, cnn) = (architecture("mlp[4]"), architecture("cnn[2]"));
    let settings = adam(1, 8);
    let term = labels(&data, &rows);
    let refused = |job: FitJob<'_>| run(&job).unwrap_err().to_string();
    let base = || job(&mlp, vec![term], &settings);
    let fitted = run(&base()).unwrap();
    let other = run(&job(&cnn, vec![term], &settings)).unwrap();

    let text = refused(FitJob {
        start: Some(&other.weights),
        ..base()
    });
    assert!(
        text.contains("'fc1.weight' is missing") && text.contains("same architecture"),
        "{text}"
    );
    assert!(
        refused(FitJob {
            start: Some(b"nonsense"),
            ..base()
        })
        .contains("safetensors")
    );
    let text = refused(FitJob {
        optimizer: Some(&other.optimizer),
        start: Some(&fitted.weights),
        ..base()
    });
    assert!(text.contains("optimizer's values"), "{text}");
    let with_momentum = Fit {
        optimizer: Optimizer::Sgd {
            lr: 0.1,
            momentum: 0.9,
            weight_decay: 0.0,
        },
        ..adam(1, 8)
    };
    let text = refused(FitJob {
        optimizer: Some(&fitted.optimizer),
        ..job(&mlp, vec![term], &with_momentum)
    });
    assert!(text.contains("momentum_buffer"), "{text}");

    let with = |term| FitJob {
        terms: vec![term],
        ..base()
    };
    assert!(
        refused(FitJob {
            terms: Vec::new(),
            ..base()
        })
        .contains("at least one term")
    );
    assert!(refused(with(TermData { rows: &[3, 16], ..term })).contains("row 16"));
    assert!(
        refused(with(TermData {
            target: TargetData::Labels { offset: 1 },
            ..term
        }))
        .contains("label map")
    );
    assert!(
        refused(with(TermData {
            target: TargetData::Logits(&[0.0; 9]),
            ..term
        }))
        .contains("9 target values")
    );
    assert!(
        refused(with(TermData {
            target: TargetData::Own,
            ..term
        }))
        .contains("cross entropy")
    );
    assert!(
        refused(with(TermData {
            loss: Loss::Mae,
            ..term
        }))
        .contains("labels")
    );
    assert!(
        refused(with(TermData {
            weight: f64::NAN,
            ..term
        }))
        .contains("weight")
    );
    let shape = fedstill_schemas::data::Shape { channels: 3, ..SHAPE };
    let model = Model { shape, ..base().model };
    assert!(refused(FitJob { model, ..base() }).contains("3x12x12"));

    let set = |settings: Fit| run(&job(&mlp, vec![term], &settings)).unwrap_err().to_string();
    assert!(set(adam(0, 8)).contains("epochs"));
    assert!(set(adam(1, 1)).contains("batch"));
    let steps = Some(0);
    assert!(set(Fit { steps, ..adam(1, 8) }).contains("steps must be at least 1"));
    let stop = Some(EarlyStop {
        every: Some(0),
        ..EarlyStop::after(1, 0.0)
    });
    assert!(set(Fit { stop, ..adam(1, 8) }).contains("every must be at least 1"));
    for proximal in [-0.5, f64::NAN, f64::INFINITY] {
        let text = set(Fit { proximal, ..adam(1, 8) });
        assert!(text.contains("proximal must be 0 or positive"), "{text}");
    }
    for head_l2 in [-0.5, f64::NAN, f64::INFINITY] {
        let text = set(Fit { head_l2, ..adam(1, 8) });
        assert!(text.contains("head_l2 must be 0 or positive"), "{text}");
    }
    for clip in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let text = set(Fit {
            clip: Some(clip),
            ..adam(1, 8)
        });
        assert!(text.contains("clip must be positive"), "{text}");
    }
    let optimizer = |optimizer| {
        set(Fit {
            optimizer,
            ..adam(1, 8)
        })
    };
    assert!(optimizer(Optimizer::adam(-1.0)).contains("lr"));
    assert!(
        optimizer(Optimizer::Sgd {
            lr: 1.0,
            momentum: 1.0,
            weight_decay: 0.0
        })
        .contains("momentum")
    );
    let kl = TermData {
        loss: Loss::Kl {
            t: -1.0,
            times_t2: true,
            per: Per::Batch,
        },
        target: TargetData::Own,
        ..term
    };
    assert!(refused(with(kl)).contains("temperature"));
}

#[test]
fn a_model_of_positions_and_data_with_a_label_a_row_do_not_meet() {
    let (everywhere, once) = (positions(5, 8), windows(5, 8, 3));
    let rows = rows(8);
    let (charlstm, mlp) = (architecture("charlstm[1]"), architecture("mlp[4]"));
    let settings = adam(1, 8);
    let base = |data| job(&charlstm, vec![labels(data, &rows)], &settings);
    let refused = |job: FitJob<'_>| run(&job).unwrap_err();
    let labels_per = LabelsPer::Window;
    let model = Model {
        labels_per,
        ..base(&everywhere).model
    };
    let error = refused(FitJob {
        model,
        ..base(&everywhere)
    });
    assert!(
        error
            .to_string()
            .contains("predicts per window and the data set has labels per position"),
        "{error}"
    );
    let labels_per = LabelsPer::Position;
    let model = Model {
        labels_per,
        ..base(&once).model
    };
    let error = refused(FitJob { model, ..base(&once) });
    assert!(matches!(error, LearnError::OtherLabels { .. }), "{error}");
    let error = refused(job(&mlp, vec![labels(&everywhere, &rows)], &settings));
    assert!(matches!(error, LearnError::NoPositions { .. }), "{error}");

    // Logits are wanted for every position: 8 rows of 5.
    let few = vec![0.0; 8 * 3];
    let term = TermData {
        target: TargetData::Logits(&few),
        loss: Loss::Mse,
        ..labels(&everywhere, &rows)
    };
    let error = refused(job(&charlstm, vec![term], &settings));
    let told = "24 target values for 40 rows of 3 classes";
    assert!(error.to_string().contains(told), "{error}");
}

#[test]
fn early_stopping_by_validation_rows_needs_rows_that_the_model_can_read() {
    let data = patterns(SHAPE, 16, 4);
    let rows = rows(16);
    let architecture = architecture("mlp[4]");
    let settings = Fit {
        stop: Some(EarlyStop {
            watch: Watch::Validation,
            ..EarlyStop::after(1, 0.0)
        }),
        ..adam(1, 8)
    };
    let refused = |validation| {
        let job = FitJob {
            validation,
            ..job(&architecture, vec![labels(&data, &rows)], &settings)
        };
        run(&job).unwrap_err()
    };
    let all = ValidationData {
        data: &data,
        rows: &rows,
        offset: 0,
    };
    for none in [None, Some(ValidationData { rows: &[], ..all })] {
        let error = refused(none);
        assert!(matches!(error, LearnError::NoValidation), "{error}");
        assert!(error.to_string().contains("give the run some"), "{error}");
    }
    let moved = refused(Some(ValidationData { offset: 1, ..all }));
    assert!(matches!(moved, LearnError::LabelOutside { offset: 1, .. }), "{moved}");
    let beyond = refused(Some(ValidationData { rows: &[3, 16], ..all }));
    assert!(matches!(beyond, LearnError::NoSuchRow { row: 16, .. }), "{beyond}");
    let larger = fedstill_schemas::data::Shape { height: 13, ..SHAPE };
    let larger = patterns(larger, 16, 4);
    let other = refused(Some(ValidationData { data: &larger, ..all }));
    assert!(matches!(other, LearnError::OtherShape { .. }), "{other}");
}
