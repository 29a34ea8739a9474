use super::*;
use proptest::prelude::*;

/// Rational arithmetic: the sum as an exact integer on the grid, compared as a fraction with float32 neighbours.
fn is_nearest(value: f32, sum: i128, members: u32) -> bool {
    // |value * members * 2^64 - sum| must not exceed half the gap to either neighbour. All terms are exact in
    // wide integers after scaling by 2^64 more.
    let exact = |x: f32| -> Option<i128> {
        let scaled = f64::from(x) * 2f64.powi(90);
        (scaled.abs() < 2f64.powi(126) && scaled.fract() == 0.0).then_some(scaled as i128)
    };
    let target = sum << 26;
    let error = |x: f32| exact(x).map(|x| (x * i128::from(members) - target).unsigned_abs());
    let here = error(value);
    let up = error(f32::from_bits(value.to_bits() + 1));
    let down = if value == 0.0 {
        None
    } else {
        error(f32::from_bits(value.to_bits() - 1))
    };
    here.is_some_and(|here| up.is_none_or(|up| here <= up) && down.is_none_or(|down| here <= down))
}

fn finite() -> impl Strategy<Value = f16> {
    prop_oneof![
        4 => any::<u16>().prop_map(|bits| f16::from_bits(if bits & 0x7c00 == 0x7c00 { bits & 0x83ff } else { bits })),
        1 => Just(f16::MAX), 1 => Just(f16::MIN), 1 => Just(f16::MIN_POSITIVE_SUBNORMAL), 1 => Just(f16::NEG_ZERO),
        2 => (-8.0f32..8.0).prop_map(f16::from_f32),
    ]
}

fn sum_of(values: &[f16]) -> Accumulator {
    let mut sum = Accumulator::new(1);
    add(
        &mut sum,
        values.iter().map(|value| Values::Float16(vec![*value].into())),
    );
    sum
}

fn add(sum: &mut Accumulator, members: impl IntoIterator<Item = Values>) {
    let count = sum.narrow.len();
    let check = |values| Summable::check(values, count).unwrap();
    let members: Vec<_> = members.into_iter().map(check).collect();
    sum.add(&members);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_mean_of_float16_is_the_exact_mean_rounded_once(values in proptest::collection::vec(finite(), 1..40)) {
        let exact: i128 = values.iter().map(|v| (f64::from(v.to_f32()) * 2f64.powi(64)) as i128).sum();
        let mean = sum_of(&values).mean().unwrap()[0];
        prop_assert!(is_nearest(mean.abs(), exact.abs(), values.len() as u32), "{mean} of {exact}");
        prop_assert!(exact == 0 || (mean < 0.0) == (exact < 0));
    }

    #[test]
    fn order_changes_no_bit(values in proptest::collection::vec(finite(), 1..40), seed in any::<u64>(), single in any::<u64>()) {
        let of = |order: &[usize]| {
            // Some members send float32: the widths may mix.
            let value = |i: &usize| if single >> (i % 64) & 1 == 1 {
                Values::Float32(vec![values[*i].to_f32() * 1.000_1].into())
            } else {
                Values::Float16(vec![values[*i]].into())
            };
            let mut sum = Accumulator::new(1);
            // Some come together, some alone.
            let (together, alone) = order.split_at(order.len() / 2);
            add(&mut sum, together.iter().map(value));
            for i in alone {
                add(&mut sum, [value(i)]);
            }
            sum.mean().unwrap()[0].to_bits()
        };
        let forward: Vec<usize> = (0..values.len()).collect();
        let mut shuffled = forward.clone();
        shuffled.sort_by_key(|i| (seed.rotate_left(*i as u32) ^ *i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        prop_assert_eq!(of(&forward), of(&shuffled));
    }

    #[test]
    fn the_mean_by_weights_is_the_exact_one_rounded_once_in_any_order(
        values in proptest::collection::vec((finite(), 0u64..9), 1..40), single in any::<u64>(),
    ) {
        // With an eighth as the unit, and one member of the largest weight, so that all of them are as they are given.
        let mut values = values;
        values.push((f16::ONE, 8));
        let eighths: Vec<f64> = values.iter().map(|(_, weight)| *weight as f64 / 8.0).collect();
        let weights = Weight::of(&eighths);
        let of = |order: &mut dyn Iterator<Item = usize>| {
            let mut sum = Accumulator::new(1);
            for i in order {
                let value = if single >> (i % 64) & 1 == 1 {
                    Values::Float32(vec![values[i].0.to_f32()].into())
                } else {
                    Values::Float16(vec![values[i].0].into())
                };
                sum.add_weighted(&Summable::check(value, 1).unwrap(), weights[i]);
            }
            sum.mean().unwrap()[0]
        };
        let mean = of(&mut (0..values.len()));
        prop_assert_eq!(mean.to_bits(), of(&mut (0..values.len()).rev()).to_bits());
        let on_the_grid = |value: f16| (value.to_f64() * 2f64.powi(64)) as i128;
        let exact: i128 = values.iter().map(|(value, weight)| on_the_grid(*value) * i128::from(*weight)).sum();
        let all: u64 = values.iter().map(|(_, weight)| weight).sum();
        prop_assert!(is_nearest(mean.abs(), exact.abs(), all as u32), "{mean} of {exact} by {all}");
        prop_assert!(exact == 0 || (mean < 0.0) == (exact < 0));
    }

    #[test]
    fn equal_weights_give_the_bits_of_no_weights(
        values in proptest::collection::vec(-1e6f32..1e6, 1..20), weight in 1e-9f64..1e9,
    ) {
        let weights = Weight::of(&vec![weight; values.len()]);
        let (mut plain, mut weighted) = (Accumulator::new(1), Accumulator::new(1));
        for (value, weight) in values.iter().zip(weights) {
            let member = Summable::check(Values::Float32(vec![*value].into()), 1).unwrap();
            plain.add(std::slice::from_ref(&member));
            weighted.add_weighted(&member, weight);
        }
        prop_assert_eq!(plain.mean().unwrap()[0].to_bits(), weighted.mean().unwrap()[0].to_bits());
    }

    #[test]
    fn a_product_with_a_weight_is_rounded_once(value in -1e12f32..1e12, weight in 0u64..=1 << 40) {
        let product = product(value, Weight(weight));
        // A float32 and a weight of 40 bits: 64 bits, exact as two halves of which each is in float64.
        let (high, low) = (weight >> 20, weight & 0xf_ffff);
        let halves = [high as f64 * 2f64.powi(20), low as f64].map(|half| f64::from(value) * half * 2f64.powi(24));
        let error = halves.iter().map(|half| *half as i128).sum::<i128>() - product;
        prop_assert!(error.abs() <= 2, "{error}");
        prop_assert_eq!(super::product(-value, Weight(weight)), -product);
    }

    #[test]
    fn float16_lies_on_the_grid(value in finite()) {
        prop_assert_eq!(fixed(f64::from(scaled(value))), (value.to_f64() * 2f64.powi(64)) as i128);
    }
}

#[test]
fn a_member_with_a_bad_value_is_refused() {
    let mut sum = Accumulator::new(2);
    add(&mut sum, [Values::Float16(vec![f16::ONE, f16::ONE].into())]);
    let refused = |values: Values| Summable::check(values, 2).unwrap_err();
    let half = |values: &[f16]| Values::Float16(values.to_vec().into());
    let single = |values: &[f32]| Values::Float32(values.to_vec().into());
    assert_eq!(refused(half(&[f16::ONE, f16::NAN])), AccumulateError::NotFinite);
    assert_eq!(
        refused(half(&[f16::NEG_INFINITY, f16::ONE])),
        AccumulateError::NotFinite
    );
    assert_eq!(refused(single(&[1.0, f32::INFINITY])), AccumulateError::NotFinite);
    assert_eq!(refused(single(&[1.0, 1e30])), AccumulateError::TooLarge);
    assert_eq!(refused(half(&[f16::ONE])), AccumulateError::Length);
    assert_eq!(sum.mean().unwrap(), [1.0, 1.0]);
}

/// Reference values of `tests/golden` (`FEDSTILL_GOLDEN` names another folder), from PyTorch in float64.
#[test]
fn the_mean_is_the_reference_mean() {
    let folder = std::env::var_os("FEDSTILL_GOLDEN").map_or_else(
        || std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden")),
        std::path::PathBuf::from,
    );
    for case in 0..5 {
        let bytes = std::fs::read(folder.join(format!("ensemble_{case}.safetensors"))).unwrap();
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let floats = |name: &str| -> Vec<f32> {
            let bytes = file.tensor(name).unwrap().data();
            bytes
                .chunks_exact(4)
                .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                .collect()
        };
        let (logits, expected) = (floats("logits"), floats("mean"));
        let mut sum = Accumulator::new(expected.len());
        for (member, values) in logits.chunks_exact(expected.len()).enumerate() {
            // Inputs are exact in float16: both widths must give the same.
            let values = if member % 2 == 0 {
                Values::Float16(values.iter().map(|v| f16::from_f32(*v)).collect::<Vec<_>>().into())
            } else {
                Values::Float32(values.to_vec().into())
            };
            add(&mut sum, [values]);
        }
        let mean = sum.mean().unwrap();
        let largest = expected.iter().fold(0f32, |most, v| most.max(v.abs()));
        for (found, expected) in mean.iter().zip(&expected) {
            assert!(
                (found - expected).abs() <= 1e-5 * (expected.abs() + largest),
                "{found} {expected} in {case}"
            );
        }
    }
}

#[test]
fn more_members_than_float64_holds_and_more_values_than_a_block_are_exact() {
    let mut sum = Accumulator::new(BLOCK + 3);
    let of = |value: f16| Summable::check(Values::Float16(vec![value; BLOCK + 3].into()), BLOCK + 3).unwrap();
    let (member, small) = (of(f16::MAX), of(f16::MIN_POSITIVE_SUBNORMAL));
    sum.add(&vec![member; NARROW as usize + 9]);
    sum.add(&[small]);
    let members = f64::from(NARROW + 10);
    let expected = (f64::from(NARROW + 9) * f16::MAX.to_f64() + 2f64.powi(-24)) / members;
    assert!(sum.mean().unwrap().iter().all(|mean| *mean == expected as f32));
}

#[test]
fn the_mean_of_nobody_is_nothing_and_so_is_that_of_members_without_weight() {
    assert_eq!(Accumulator::new(3).mean(), None);
    let member = Summable::check(Values::Float16(vec![f16::ONE].into()), 1).unwrap();
    let mut sum = Accumulator::new(1);
    sum.add_weighted(&member, Weight::default());
    assert_eq!(sum.clone().mean(), None);
    sum.add_weighted(&member, Weight(1));
    assert_eq!(sum.mean(), Some(vec![1.0]));
}

#[test]
fn weights_are_shares_of_the_largest() {
    let units = |weights: &[f64]| -> Vec<u64> { Weight::of(weights).iter().map(|weight| weight.0).collect() };
    assert_eq!(units(&[1.0, 0.5, 0.0]), [1 << 40, 1 << 39, 0]);
    assert_eq!(units(&[3e-300, 3e-301]), [1 << 40, 109_951_162_778]);
    assert_eq!(units(&[0.0, 0.0]), [0, 0]);
    assert_eq!(units(&[f64::NAN, -1.0, 2.0]), [0, 0, 1 << 40]);
    let shares: Vec<f64> = Weight::of(&[1e308, 5e307, 0.0])
        .into_iter()
        .map(Weight::share)
        .collect();
    assert_eq!(shares, [1.0, 0.5, 0.0]);
}
