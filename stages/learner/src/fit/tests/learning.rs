//! Models learn, and say the same of a row whatever is beside it.

use super::{ALL, rows};
use crate::testing::{SHAPE, adam, all_rows, architecture, job, labels, patterns, positions, run, windows};
use crate::{Dataset, LearnError, Registry, evaluate, predict};
use fedstill_schemas::fit::{Fit, Optimizer};

#[test]
fn every_model_learns_patterns_and_keeps_them_in_its_weights() {
    let data = patterns(SHAPE, 240, 4);
    let (train, rest) = (rows(160), (160..240).collect::<Vec<u32>>());
    for name in ALL {
        let architecture = architecture(name);
        let settings = Fit {
            optimizer: Optimizer::adam(5e-3),
            ..adam(12, 16)
        };
        let job = job(&architecture, vec![labels(&data, &train)], &settings);
        let fitted = run(&job).unwrap();
        let logits = predict(&Registry::default(), &job.model, &fitted.weights, &data, &rest).unwrap();
        let right = logits.chunks(4).zip(&rest).filter(|(row, at)| {
            let label = data.labels()[**at as usize] as usize;
            row.iter().all(|logit| *logit <= row[label])
        });
        let right = right.count();
        assert!(right >= 72, "{name}: {right} of 80, loss {}", fitted.loss);
        let scores = evaluate(
            &Registry::default(),
            &job.model,
            &fitted.weights,
            &data,
            &all_rows(&data),
            0,
        )
        .unwrap();
        assert!(
            scores.accuracy > 0.95 && scores.balanced_accuracy > 0.95 && scores.samples == 240,
            "{name}: {scores:?}"
        );
    }
}

#[test]
fn text_is_learned_by_what_reads_text_alone() {
    let text = windows(10, 160, 4);
    let train = rows(120);
    let settings = Fit {
        optimizer: Optimizer::adam(5e-3),
        ..adam(12, 16)
    };
    for name in ["charlstm[1]", "charlstm[2]"] {
        let architecture = architecture(name);
        let job = job(&architecture, vec![labels(&text, &train)], &settings);
        let fitted = run(&job).unwrap();
        let rest: Vec<u32> = (120..160).collect();
        let scores = evaluate(&Registry::default(), &job.model, &fitted.weights, &text, &rest, 0).unwrap();
        assert!(scores.accuracy > 0.9, "{name}: {scores:?}, loss {}", fitted.loss);
    }

    let charlstm = architecture("charlstm[1]");
    let of_text = run(&job(&charlstm, vec![labels(&text, &train)], &adam(1, 16))).unwrap();
    let images = patterns(text.shape(), 32, 4);
    let refused = |name: &str, data: &Dataset| {
        let architecture = architecture(name);
        let error = run(&job(&architecture, vec![labels(data, &rows(32))], &adam(1, 16))).unwrap_err();
        error.to_string()
    };
    assert!(refused("charlstm[1]", &images).contains("reads text of 82 tokens and the data set holds images"));
    assert!(refused("2nn", &text).contains("reads images and the data set holds text of 82 tokens"));
    let larger = Dataset::from_windows(10, 83, 4, vec![82; 320], vec![0; 32]);
    assert!(refused("charlstm[1]", &larger).contains("holds text of 83 tokens"));
    let model = job(&charlstm, vec![labels(&text, &train)], &settings).model;
    let error = predict(&Registry::default(), &model, &of_text.weights, &images, &[0]).unwrap_err();
    assert!(matches!(error, LearnError::OtherValues { .. }), "{error}");
}

#[test]
fn text_is_learned_at_every_position() {
    let text = positions(6, 128);
    let (train, rest) = (rows(96), (96..128).collect::<Vec<u32>>());
    let settings = Fit {
        optimizer: Optimizer::adam(5e-3),
        ..adam(20, 16)
    };
    let architecture = architecture("charlstm[1]");
    let job = job(&architecture, vec![labels(&text, &train)], &settings);
    let fitted = run(&job).unwrap();
    assert_eq!((fitted.rows, fitted.steps), (96, 120));
    let logits = predict(&Registry::default(), &job.model, &fitted.weights, &text, &rest).unwrap();
    assert_eq!(logits.len(), 32 * 6 * 3);
    let scores = evaluate(&Registry::default(), &job.model, &fitted.weights, &text, &rest, 0).unwrap();
    assert_eq!(scores.samples, 32 * 6);
    // By the token alone half of the labels are guessed; by the one before it too, all but those of first positions.
    assert!(scores.accuracy > 0.7, "{scores:?}, loss {}", fitted.loss);
}

#[test]
fn predictions_do_not_depend_on_the_rows_beside() {
    let data = patterns(SHAPE, 300, 4);
    let architecture = architecture("cnn[4,6]");
    let settings = adam(1, 16);
    let some = rows(64);
    let job = job(&architecture, vec![labels(&data, &some)], &settings);
    let weights = run(&job).unwrap().weights;
    let all = predict(&Registry::default(), &job.model, &weights, &data, &rows(300)).unwrap();
    let last = predict(&Registry::default(), &job.model, &weights, &data, &[299]).unwrap();
    for (one, other) in last.iter().zip(&all[299 * 4..]) {
        assert!((one - other).abs() < 1e-5);
    }
}
