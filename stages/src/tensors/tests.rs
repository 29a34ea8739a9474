//! Rows of text with a label at every position, as scores and shares of classes count them.

use super::*;
use crate::simulation::{Handed, resolved};
use fedstill_schemas::data::Labels;
use fedstill_schemas::pipeline::{By, Rule};
use fedstill_schemas::signature::{PartyIdentity, PrivateKey};

/// Three windows of four characters.
fn text() -> Dataset {
    let labels = vec![5, 6, 7, 8, 9, 9, 9, 9, 5, 5, 5, 81];
    Dataset::from_positions(4, 82, 82, (0..12).collect(), labels)
}

/// A run of one party whose sets are all these rows.
fn run(data: &Dataset) -> ResolvedRun {
    let mut set = DataSet::whole(data.digest(), data.rows(), data.classes(), data.shape());
    set.columns.labels_per = data.labels_per();
    ResolvedRun {
        parties: vec!["charlstm[1]".parse().unwrap()],
        private: set.clone(),
        public: Some(set.clone()),
        test: set,
        labels: Labels::Shared,
        ..resolved()
    }
}

/// The party has the first and the last row.
fn draws() -> Draws {
    Draws {
        private: vec![vec![0, 2]],
        public: vec![0, 1, 2],
        alignment: vec![2, 0],
        validation: Vec::new(),
    }
}

#[test]
fn every_label_of_a_row_counts_in_predictions_scores_and_shares_of_classes() {
    let data = Arc::new(text());
    let (run, draws, party) = (run(&data), draws(), Subject::Party(0));
    let learner = Tensors::new(Registry::default(), [data]);
    let inputs = EvaluateInputs {
        run: &run,
        subject: party,
        draws: &draws,
        rule: &Rule::Mean,
    };
    let shares = learner.proportions(&inputs).unwrap();
    let mut expected = vec![0.0; 82];
    expected[5] = 0.5;
    for class in [6, 7, 8, 81] {
        expected[class] = 0.125;
    }
    assert_eq!(shares, [(0, expected)]);

    let weights = Bytes::from(learner.initial(&run, party).unwrap());
    let logits = learner.predict(&run, party, &weights, &draws.alignment).unwrap();
    assert_eq!(logits.len(), 2 * 4 * 82);
    let scores = learner.evaluate(&inputs, &mut std::iter::once(Ok((party, weights))));
    let scores = scores.unwrap();
    assert_eq!((scores.samples, scores.others[0].samples), (12, 12));
}

#[test]
fn an_ensemble_counts_parties_by_the_weights_that_the_consensus_counts_them_by() {
    let data = Arc::new(text());
    let run = ResolvedRun {
        parties: vec!["charlstm[1]".parse().unwrap(), "charlstm[2]".parse().unwrap()],
        ..run(&data)
    };
    let draws = Draws {
        private: vec![vec![0, 2], vec![1]],
        ..draws()
    };
    let learner = Tensors::new(Registry::default(), [data]);
    let model = |slot: u32| -> Result<ModelOf, StageError> {
        let party = Subject::Party(slot);
        Ok((party, Bytes::from(learner.initial(&run, party).unwrap())))
    };
    let scores = |weights: [f64; 2], slots: &[u32]| {
        let inputs = EvaluateInputs {
            run: &run,
            subject: Subject::Server,
            draws: &draws,
            rule: &Rule::Weights(By::Slots(weights.to_vec())),
        };
        learner.evaluate(&inputs, &mut slots.iter().copied().map(model))
    };
    let both = [0, 1];
    let alike = scores([1.0, 1.0], &both).unwrap();
    assert!(alike.loss.is_finite());
    assert_eq!(scores([1e308, 1e308], &both).unwrap(), alike);
    // What no multiple of 2^-40 is near counts by the nearest.
    let (found, rounded) = ([1.0, 0.3], [1.0, (0.3 * 2f64.powi(40)).round() / 2f64.powi(40)]);
    assert_ne!(found, rounded);
    assert_eq!(scores(found, &both).unwrap(), scores(rounded, &both).unwrap());
    assert_ne!(scores(found, &both).unwrap(), alike);
    // A weight that the consensus rounds to nothing is none here.
    assert!(scores([1.0, 2f64.powi(-50)], &[1]).is_err());
}

#[test]
fn a_model_of_several_parties_is_scored_in_the_proportions_of_each_as_the_partys_own_would_be() {
    let data = Arc::new(text());
    let one: Architecture = "charlstm[1]".parse().unwrap();
    let run = ResolvedRun {
        parties: vec![one.clone(), "charlstm[2]".parse().unwrap(), one],
        ..run(&data)
    };
    let draws = Draws {
        private: vec![vec![0, 2], vec![2], vec![1]],
        ..draws()
    };
    let learner = Tensors::new(Registry::default(), [data]);
    let prototype = Subject::Architecture(0);
    let weights = Bytes::from(learner.initial(&run, prototype).unwrap());
    let local = |subject: Subject| {
        let inputs = EvaluateInputs {
            run: &run,
            subject,
            draws: &draws,
            rule: &Rule::Mean,
        };
        let of = if subject == Subject::Server { prototype } else { subject };
        let scores = learner.evaluate(&inputs, &mut std::iter::once(Ok((of, weights.clone()))));
        let others = scores.unwrap().others.into_iter();
        others
            .map(|scores| (scores.party.unwrap(), scores.loss))
            .collect::<Vec<_>>()
    };
    let own = |slot: u32| local(Subject::Party(slot))[0];
    assert_eq!(local(prototype), [own(0), own(2)]);
    assert_ne!(own(0).1, own(2).1);
    let all = local(Subject::Server);
    assert_eq!(all.iter().map(|(party, _)| *party).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!([all[0], all[2]], [own(0), own(2)]);
}

#[test]
fn a_party_whose_own_rows_are_labelled_otherwise_than_the_runs_is_told_what_to_set() {
    let mut run = run(&text());
    run.identities = vec![PartyIdentity {
        id: "a".to_owned(),
        key: PrivateKey::from_bytes(&[7; 32]).public(),
    }];
    let of = |own: Dataset| {
        let learner = Tensors::new(Registry::default(), []).with_own(Arc::new(own));
        learner.private(&run, 0, &draws())
    };
    let (_, rows) = of(text()).unwrap();
    assert_eq!(rows, [0, 1, 2]);
    let windows = Dataset::from_windows(4, 82, 82, (0..8).collect(), vec![1, 2]);
    match of(windows) {
        Err(StageError::Reject(reason)) => assert!(
            reason.contains("labels per window and the run's per position") && reason.contains("party.toml"),
            "{reason}"
        ),
        other => panic!("{other:?}"),
    }
}

#[test]
fn models_that_are_combined_are_let_go_before_the_next_is_read() {
    let data = Arc::new(text());
    let run = ResolvedRun {
        parties: vec!["charlstm[1]".parse().unwrap(); 3],
        ..run(&data)
    };
    let draws = Draws {
        private: vec![vec![0], vec![1], vec![2]],
        ..draws()
    };
    let learner = Tensors::new(Registry::default(), [data]);
    let weights = Bytes::from(learner.initial(&run, Subject::Party(0)).unwrap());

    let averaged = Arc::<Handed>::default();
    let mut models = (0..3).map(|_| Ok::<_, StageError>((1.0, Handed::out(&averaged, weights.clone()))));
    learner.average(&mut models).unwrap();
    assert_eq!(averaged.counted(), (3, 1));

    let scored = Arc::<Handed>::default();
    let inputs = EvaluateInputs {
        run: &run,
        subject: Subject::Server,
        draws: &draws,
        rule: &Rule::Mean,
    };
    let mut models =
        (0..3).map(|slot| Ok::<_, StageError>((Subject::Party(slot), Handed::out(&scored, weights.clone()))));
    learner.evaluate(&inputs, &mut models).unwrap();
    assert_eq!(scored.counted(), (3, 1));
}
