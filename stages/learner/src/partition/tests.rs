//! Properties of every partition, and the shape of each kind.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

fn labels(rows: u32, classes: u32) -> Vec<u32> {
    (0..rows).map(|row| (row * 7 + row / classes) % classes).collect()
}

fn all(kind: &Partition, rows: u32, classes: u32, parties: u32, seed: u64) -> Result<Vec<Vec<u32>>, PartitionError> {
    let ids: Vec<u32> = (0..rows).collect();
    partition(kind, &labels(rows, classes), classes, &ids, parties, seed)
}

fn kind() -> impl Strategy<Value = Partition> {
    prop_oneof![
        Just(Partition::Iid),
        (0.05..20.0_f64, 0_u32..6).prop_map(|(alpha, min)| Partition::Dirichlet { alpha, min }),
        (1_u32..5).prop_map(|per_party| Partition::Classes { per_party }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn parts_are_disjoint_complete_and_large_enough(kind in kind(), parties in 1_u32..12, seed: u64, skip in 1_u32..4) {
        let labels = labels(600, 6);
        let rows: Vec<u32> = (0..600).filter(|row| row % 4 >= skip).collect();
        let Ok(parts) = partition(&kind, &labels, 6, &rows, parties, seed) else {
            // Only a Dirichlet draw may fail here.
            let dirichlet = matches!(kind, Partition::Dirichlet { .. });
            prop_assert!(dirichlet);
            return Ok(());
        };
        prop_assert_eq!(parts.len(), parties as usize);
        let given: Vec<u32> = parts.concat();
        let distinct: BTreeSet<u32> = given.iter().copied().collect();
        prop_assert_eq!(distinct.len(), given.len());
        prop_assert!(distinct.iter().all(|row| rows.contains(row)));
        let held = |part: &Vec<u32>| part.iter().map(|row| labels[*row as usize]).collect::<BTreeSet<u32>>().len();
        match kind {
            Partition::Iid => {
                let sizes: Vec<usize> = parts.iter().map(Vec::len).collect();
                prop_assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1);
                prop_assert_eq!(given.len(), rows.len());
            }
            Partition::Dirichlet { min, .. } => {
                prop_assert!(parts.iter().all(|part| part.len() >= min.max(1) as usize));
                prop_assert_eq!(given.len(), rows.len());
            }
            Partition::Classes { per_party } => {
                prop_assert!(parts.iter().all(|part| held(part) == per_party as usize));
                if parties * per_party >= 6 {
                    prop_assert_eq!(given.len(), rows.len());
                }
            }
        }
        prop_assert_eq!(&parts, &partition(&kind, &labels, 6, &rows, parties, seed).unwrap());
    }
}

#[test]
fn seeds_change_every_kind() {
    let dirichlet = Partition::Dirichlet { alpha: 0.5, min: 2 };
    for kind in [Partition::Iid, dirichlet, Partition::Classes { per_party: 2 }] {
        assert_ne!(all(&kind, 300, 6, 5, 1).unwrap(), all(&kind, 300, 6, 5, 2).unwrap());
    }
}

#[test]
fn iid_parts_hold_all_classes_alike() {
    for part in all(&Partition::Iid, 2000, 5, 4, 3).unwrap() {
        let labels = labels(2000, 5);
        for class in 0..5 {
            let count = part.iter().filter(|row| labels[**row as usize] == class).count();
            assert!((75..125).contains(&count), "{count}");
        }
    }
}

#[test]
fn alpha_sets_how_uneven_classes_are() {
    // The expected sum of squared shares of a symmetric Dirichlet: (alpha + 1) / (alpha * k + 1).
    let (classes, parties) = (10, 5);
    let labels = labels(10_000, classes);
    for alpha in [0.1, 1.0, 10.0] {
        let mut squares = Vec::new();
        for seed in 0..20 {
            let parts = all(&Partition::Dirichlet { alpha, min: 1 }, 10_000, classes, parties, seed).unwrap();
            for class in 0..classes {
                let shares = parts
                    .iter()
                    .map(|part| part.iter().filter(|row| labels[**row as usize] == class).count() as f64 / 1000.0);
                squares.push(shares.map(|share| share * share).sum::<f64>());
            }
        }
        let mean = squares.iter().sum::<f64>() / squares.len() as f64;
        let expected = (alpha + 1.0) / (alpha * f64::from(parties) + 1.0);
        assert!(
            (mean - expected).abs() < 0.05,
            "alpha {alpha}: {mean} instead of {expected}"
        );
    }
}

#[test]
fn tiny_alphas_give_whole_classes_to_one_party() {
    let parts = all(&Partition::Dirichlet { alpha: 1e-3, min: 1 }, 1000, 20, 3, 0).unwrap();
    assert_eq!(parts.concat().len(), 1000);
}

#[test]
fn classes_are_used_evenly() {
    let labels = labels(1000, 10);
    let parts = all(&Partition::Classes { per_party: 3 }, 1000, 10, 10, 4).unwrap();
    for class in 0..10 {
        let holders = parts
            .iter()
            .filter(|part| part.iter().any(|row| labels[*row as usize] == class))
            .count();
        assert_eq!(holders, 3);
    }
}

#[test]
fn what_cannot_be_done_is_said() {
    let text = |kind, rows, parties| all(&kind, rows, 5, parties, 0).unwrap_err().to_string();
    assert!(text(Partition::Iid, 3, 4).contains("fewer parties"));
    assert!(text(Partition::Iid, 3, 0).contains("parties.count"));
    assert!(text(Partition::Dirichlet { alpha: 1.0, min: 30 }, 100, 4).contains("smaller min"));
    assert!(
        text(
            Partition::Dirichlet {
                alpha: f64::NAN,
                min: 1
            },
            100,
            4
        )
        .contains("alpha")
    );
    assert!(text(Partition::Dirichlet { alpha: 1e-3, min: 24 }, 100, 4).contains("larger alpha"));
    assert!(text(Partition::Classes { per_party: 6 }, 100, 4).contains("1 to the 5"));
    assert!(text(Partition::Classes { per_party: 0 }, 100, 4).contains("1 to the 5"));
    let rare = partition(
        &Partition::Classes { per_party: 2 },
        &[0, 0, 0, 0, 0, 0, 1],
        2,
        &[0, 1, 2, 3, 4, 5, 6],
        3,
        0,
    );
    assert!(
        rare.unwrap_err()
            .to_string()
            .contains("class 1 has 1 rows for 3 parties")
    );
}
