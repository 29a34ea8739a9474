//! Properties of every partition, and the shape of each kind.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

fn labels(rows: u32, classes: u32) -> Vec<u32> {
    (0..rows).map(|row| (row * 7 + row / classes) % classes).collect()
}

fn known<'a>(labels: &'a [u32], classes: u32, owners: &'a [u32]) -> Known<'a> {
    Known {
        labels,
        classes,
        owners,
    }
}

fn all(kind: &Partition, rows: u32, classes: u32, parties: u32, seed: u64) -> Result<Vec<Vec<u32>>, PartitionError> {
    let ids: Vec<u32> = (0..rows).collect();
    let owners: Vec<u32> = ids.iter().map(|row| row % 8).collect();
    partition(
        kind,
        known(&labels(rows, classes), classes, &owners),
        &ids,
        parties,
        seed,
    )
}

fn dirichlet(alpha: f64, min: u32) -> Partition {
    Partition::Dirichlet {
        alpha,
        min,
        balanced: false,
        groups: None,
    }
}

fn balanced(alpha: f64) -> Partition {
    Partition::Dirichlet {
        alpha,
        min: 1,
        balanced: true,
        groups: None,
    }
}

fn kind() -> impl Strategy<Value = Partition> {
    prop_oneof![
        Just(Partition::Iid),
        (0.0..1.0_f64, 0_u32..6).prop_map(|(sigma, min)| Partition::LogNormal { sigma, min }),
        (0.05..20.0_f64, 0_u32..6).prop_map(|(alpha, min)| dirichlet(alpha, min)),
        (0.05..20.0_f64).prop_map(balanced),
        (0.05..20.0_f64, 0_u32..13).prop_map(|(alpha, most)| Partition::Dirichlet {
            alpha,
            min: 1,
            balanced: false,
            groups: Some(most),
        }),
        (1_u32..5).prop_map(|per_party| Partition::Classes { per_party }),
        (1_u32..5).prop_map(|per_party| Partition::Shards { per_party }),
        (0_u32..6).prop_map(|min| Partition::Natural { min }),
    ]
}

#[test]
fn rows_with_several_labels_are_divided_by_anything_but_their_labels() {
    let ids: Vec<u32> = (0..40).collect();
    let owners: Vec<u32> = ids.iter().map(|row| row % 4).collect();
    let divided = |kind: &Partition| partition(kind, known(&[], 82, &owners), &ids, 3, 1);
    for kind in [
        dirichlet(0.5, 1),
        balanced(0.5),
        Partition::Classes { per_party: 2 },
        Partition::Shards { per_party: 2 },
    ] {
        assert_eq!(divided(&kind), Err(PartitionError::SeveralLabels), "{kind:?}");
    }
    for kind in [
        Partition::Iid,
        Partition::LogNormal { sigma: 0.5, min: 1 },
        Partition::Natural { min: 1 },
    ] {
        assert!(divided(&kind).is_ok(), "{kind:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn parts_are_disjoint_complete_and_large_enough(kind in kind(), parties in 1_u32..12, seed: u64, skip in 1_u32..4) {
        let labels = labels(600, 6);
        let owners: Vec<u32> = (0..600).map(|row| row / 40).collect();
        let known = known(&labels, 6, &owners);
        let rows: Vec<u32> = (0..600).filter(|row| row % 4 >= skip).collect();
        let Ok(parts) = partition(&kind, known, &rows, parties, seed) else {
            // Only a Dirichlet draw that is not balanced may fail here.
            let dirichlet = matches!(kind, Partition::Dirichlet { balanced: false, .. });
            prop_assert!(dirichlet);
            return Ok(());
        };
        prop_assert_eq!(parts.len(), parties as usize);
        let given: Vec<u32> = parts.concat();
        let distinct: BTreeSet<u32> = given.iter().copied().collect();
        prop_assert_eq!(distinct.len(), given.len());
        prop_assert!(distinct.iter().all(|row| rows.contains(row)));
        let held = |part: &Vec<u32>| part.iter().map(|row| labels[*row as usize]).collect::<BTreeSet<u32>>().len();
        let sizes: Vec<usize> = parts.iter().map(Vec::len).collect();
        let (smallest, largest) = (*sizes.iter().min().unwrap(), *sizes.iter().max().unwrap());
        let whole = match kind {
            Partition::Iid => {
                prop_assert!(largest - smallest <= 1);
                true
            }
            Partition::LogNormal { min, .. } => {
                prop_assert!(smallest >= min.max(1) as usize);
                true
            }
            Partition::Dirichlet { min, balanced, .. } => {
                let half = if balanced { rows.len() / (2 * parties as usize) } else { 0 };
                prop_assert!(smallest >= half.max(min.max(1) as usize));
                true
            }
            Partition::Classes { per_party } => {
                prop_assert!(parts.iter().all(|part| held(part) == per_party as usize));
                parties * per_party >= 6
            }
            Partition::Shards { per_party } => {
                // Every label has more than a tenth of the rows: a shard that is shorter has two labels at most.
                let shard = rows.len().div_ceil((parties * per_party) as usize);
                let most = per_party as usize * (2 + shard / (rows.len() / 10));
                prop_assert!(parts.iter().all(|part| held(part) <= most));
                prop_assert!(largest - smallest <= per_party as usize);
                true
            }
            Partition::Natural { min } => {
                let owner = |row: &u32| owners[*row as usize];
                for part in &parts {
                    let own = rows.iter().filter(|row| owner(row) == owner(&part[0])).count();
                    prop_assert!(part.iter().all(|row| owner(row) == owner(&part[0])));
                    prop_assert!(part.len() == own && own >= min as usize);
                }
                false
            }
        };
        prop_assert!(!whole || given.len() == rows.len());
        prop_assert_eq!(&parts, &partition(&kind, known, &rows, parties, seed).unwrap());
    }
}

#[test]
fn seeds_change_every_kind() {
    for kind in [
        Partition::Iid,
        Partition::LogNormal { sigma: 0.5, min: 1 },
        dirichlet(0.5, 2),
        balanced(0.5),
        Partition::Classes { per_party: 2 },
        Partition::Shards { per_party: 2 },
        Partition::Natural { min: 1 },
    ] {
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
            let parts = all(&dirichlet(alpha, 1), 10_000, classes, parties, seed).unwrap();
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
    let parts = all(&dirichlet(1e-3, 1), 1000, 20, 3, 0).unwrap();
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
fn parts_are_the_same_everywhere() {
    // Worked out apart from this code, from the streams' definition: a change here changes every result of every run.
    let labels: Vec<u32> = (0..12).map(|row| row % 3).collect();
    let owners = [0, 0, 0, 1, 1, 2, 2, 2, 2, 3, 3, 3];
    let rows: Vec<u32> = (0..12).collect();
    let parts = |kind, rows: &[u32], parties| partition(&kind, known(&labels, 3, &owners), rows, parties, 1).unwrap();
    // Six shards of two rows, each of one label.
    let shards = parts(Partition::Shards { per_party: 2 }, &rows, 3);
    assert_eq!(shards, [[9, 11, 3, 8], [0, 4, 6, 10], [2, 5, 1, 7]]);
    // Owner 1 has two rows.
    let natural = parts(Partition::Natural { min: 3 }, &rows, 2);
    assert_eq!(natural, [[11, 9, 10], [1, 0, 2]]);
    let natural = parts(Partition::Natural { min: 1 }, &rows, 4);
    assert_eq!(natural, [vec![11, 10, 9], vec![8, 6, 7, 5], vec![0, 1, 2], vec![4, 3]]);
    let sizes = parts(Partition::LogNormal { sigma: 1.0, min: 1 }, &rows, 3);
    assert_eq!(sizes, [vec![1], vec![7, 8, 3, 11], vec![9, 0, 6, 10, 4, 2, 5]]);
    // Without deviation, ten rows end at 3.3, 6.7 and 10.
    let sizes = parts(Partition::LogNormal { sigma: 0.0, min: 1 }, &rows[..10], 3);
    assert_eq!(sizes, [vec![5, 8, 7], vec![6, 0, 9, 2], vec![3, 1, 4]]);
    let even = parts(balanced(0.5), &rows, 3);
    assert_eq!(even, [[9, 3, 6, 0], [7, 10, 4, 1], [8, 11, 2, 5]]);
}

#[test]
fn groups_of_parties_divide_parts_of_the_rows_among_themselves() {
    let labels = labels(3000, 10);
    let grouped = |alpha, balanced, groups| Partition::Dirichlet {
        alpha,
        min: 1,
        balanced,
        groups,
    };
    for balanced in [false, true] {
        let parts = all(&grouped(0.1, balanced, Some(4)), 3000, 10, 10, 3).unwrap();
        let sizes: Vec<usize> = parts.iter().map(Vec::len).collect();
        // Four parties, four, and the two that are left.
        let of_groups: Vec<usize> = sizes.chunks(4).map(|group| group.iter().sum()).collect();
        assert_eq!(of_groups, [1200, 1200, 600]);
        let distinct: BTreeSet<u32> = parts.concat().into_iter().collect();
        assert_eq!(distinct.len(), 3000);
        assert!(!balanced || sizes.iter().all(|size| *size >= 150), "{sizes:?}");
        // Each group has every class alike, however few its parties have.
        for group in parts.chunks(4) {
            let rows = group.concat();
            for class in 0..10 {
                let share =
                    rows.iter().filter(|row| labels[**row as usize] == class).count() as f64 / rows.len() as f64;
                assert!((0.05..0.15).contains(&share), "{share} of class {class}");
            }
        }
        // One draw over all parties where no group is smaller than that, and another one where some are.
        let one = all(&grouped(0.1, balanced, None), 3000, 10, 10, 3).unwrap();
        assert_eq!(all(&grouped(0.1, balanced, Some(10)), 3000, 10, 10, 3).unwrap(), one);
        assert_ne!(parts, one);
    }
    let few = all(&grouped(1.0, false, Some(0)), 4, 2, 4, 0).unwrap();
    assert_eq!(few.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1, 1, 1]);
}

#[test]
fn balance_holds_where_no_draw_is_balanced() {
    let labels = labels(3000, 10);
    for (alpha, parties) in [(0.1, 100), (1e-3, 20), (100.0, 10)] {
        let parts = all(&balanced(alpha), 3000, 10, parties, 3).unwrap();
        let sizes: Vec<usize> = parts.iter().map(Vec::len).collect();
        assert_eq!(sizes.iter().sum::<usize>(), 3000);
        assert!(
            sizes.iter().all(|size| *size >= 3000 / (2 * parties as usize)),
            "{sizes:?}"
        );
        // Whoever has an equal share gets no more: nobody has more than that and a class.
        assert!(
            sizes.iter().all(|size| *size < 3000 / parties as usize + 300),
            "{sizes:?}"
        );
    }
    // And the smaller alpha, the fewer classes a party has.
    let classes = |alpha| {
        let parts = all(&balanced(alpha), 3000, 10, 10, 3).unwrap();
        let held = |part: &Vec<u32>| -> BTreeSet<u32> { part.iter().map(|row| labels[*row as usize]).collect() };
        parts.iter().map(|part| held(part).len()).sum::<usize>()
    };
    assert!(classes(0.1) < classes(1.0) && classes(1.0) < classes(100.0));
}

#[test]
fn sigma_sets_how_uneven_sizes_are() {
    // The deviation of the sizes' logarithms, over parties, whose mean is not known: the proportions add up to one.
    for sigma in [0.3, 1.0] {
        let mut squares = 0.0;
        for seed in 0..20 {
            let parts = all(&Partition::LogNormal { sigma, min: 1 }, 20_000, 5, 20, seed).unwrap();
            let logs: Vec<f64> = parts.iter().map(|part| (part.len() as f64).ln()).collect();
            let mean = logs.iter().sum::<f64>() / 20.0;
            squares += logs.iter().map(|log| (log - mean).powi(2)).sum::<f64>() / 19.0;
        }
        let deviation = (squares / 20.0_f64).sqrt();
        assert!((deviation / sigma - 1.0).abs() < 0.15, "{deviation} instead of {sigma}");
    }
}

#[test]
fn two_shards_are_a_few_classes() {
    // As published: 60,000 digits, 200 shards, 100 parties; here a hundredth of the rows, cut at the labels' ends.
    let labels: Vec<u32> = (0..600).map(|row| row / 60).collect();
    let rows: Vec<u32> = (0..600).collect();
    let kind = Partition::Shards { per_party: 2 };
    let parts = partition(&kind, known(&labels, 10, &[]), &rows, 100, 5).unwrap();
    for part in parts {
        assert_eq!(part.len(), 6);
        let held: BTreeSet<u32> = part.iter().map(|row| labels[*row as usize]).collect();
        assert!(held.len() <= 2, "{held:?}");
    }
}

#[test]
fn what_cannot_be_done_is_said() {
    let text = |kind, rows, parties| all(&kind, rows, 5, parties, 0).unwrap_err().to_string();
    assert!(text(Partition::Iid, 3, 4).contains("fewer parties"));
    assert!(text(Partition::Iid, 3, 0).contains("parties.count"));
    assert!(text(dirichlet(1.0, 30), 100, 4).contains("smaller min"));
    assert!(text(dirichlet(f64::NAN, 1), 100, 4).contains("alpha"));
    assert!(text(balanced(-1.0), 100, 4).contains("alpha"));
    assert!(text(dirichlet(1e-3, 24), 100, 4).contains("larger alpha"));
    assert!(text(Partition::LogNormal { sigma: -1.0, min: 1 }, 100, 4).contains("sigma must not be negative"));
    assert!(text(Partition::LogNormal { sigma: 20.0, min: 24 }, 100, 4).contains("smaller sigma"));
    assert!(text(Partition::Shards { per_party: 0 }, 100, 4).contains("at least 1 shard"));
    assert!(text(Partition::Shards { per_party: 26 }, 100, 4).contains("100 rows cannot give 4 parties 26"));
    assert!(text(Partition::Natural { min: 1 }, 100, 9).contains("8 owners have at least 1 rows, for 9 parties"));
    assert!(text(Partition::Natural { min: 14 }, 100, 1).contains("0 owners have at least 14 rows, for 1 party;"));
    assert!(text(dirichlet(1.0, 101), 100, 1).contains("100 rows cannot give 1 party 101 each"));
    assert!(text(Partition::Natural { min: 13 }, 100, 8).contains("4 owners have at least 13 rows"));
    let nobody = partition(&Partition::Natural { min: 1 }, known(&[0, 1], 2, &[]), &[0, 1], 1, 0);
    assert!(nobody.unwrap_err().to_string().contains("owner = \"client\""));
    assert!(text(Partition::Classes { per_party: 6 }, 100, 4).contains("1 to the 5"));
    assert!(text(Partition::Classes { per_party: 0 }, 100, 4).contains("1 to the 5"));
    let rare = partition(
        &Partition::Classes { per_party: 2 },
        known(&[0, 0, 0, 0, 0, 0, 1], 2, &[]),
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

#[test]
fn rows_are_the_servers_or_the_parties_and_the_servers_are_drawn() {
    // In the order of their labels, as files often are.
    let rows: Vec<u32> = (1000..2000).collect();
    let (held, rest) = held_by_server(&rows, 100, 7);
    assert_eq!((held.len(), rest.len()), (100, 900));
    let both: BTreeSet<u32> = held.iter().chain(&rest).copied().collect();
    assert_eq!(both.into_iter().collect::<Vec<_>>(), rows);
    assert!(held.is_sorted() && rest.is_sorted(), "in the order that they came in");
    let tenths: BTreeSet<u32> = held.iter().map(|row| row / 100).collect();
    assert_eq!(tenths.len(), 10, "from all over the file: {held:?}");
    assert_eq!(held_by_server(&rows, 100, 7), (held.clone(), rest));
    assert_ne!(held_by_server(&rows, 100, 8).0, held);
}

#[test]
fn without_validation_all_rows_are_the_parties_and_never_more_than_there_are_the_servers() {
    let rows = [4, 2, 9];
    assert_eq!(held_by_server(&rows, 0, 7), (Vec::new(), rows.to_vec()));
    assert_eq!(held_by_server(&rows, 3, 7), (rows.to_vec(), Vec::new()));
    assert_eq!(held_by_server(&rows, 9, 7), (rows.to_vec(), Vec::new()));
    assert_eq!(held_by_server(&[], 0, 7), (Vec::new(), Vec::new()));
}
