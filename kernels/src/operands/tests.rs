//! What is refused of operands without a device that has it.

use super::*;

#[test]
fn a_shape_of_more_elements_than_32_bits_count_is_not_countable() {
    for shape in [
        &[1_usize << 32][..],
        &[u32::MAX as usize],
        &[1 << 25, 128],
        &[1 << 31, 2],
        // Parties, rows and classes, none of them large alone.
        &[1000, 65_536, 100],
        &[usize::MAX, 2],
        &[MOST_ON_A_GPU + 1],
        // Begins another row of cubes, not all of whose units have an index of their own.
        &[(1 << 32) - 65_535],
    ] {
        assert!(!is_countable(shape), "{shape:?}");
    }
    for shape in [
        &[MOST_ON_A_GPU][..],
        &[(1 << 32) - 65_536],
        &[10, 65_536, 100],
        &[2_097_152, 1000],
        &[usize::MAX, 0, usize::MAX],
    ] {
        assert!(is_countable(shape), "{shape:?}");
    }
}

#[test]
fn a_type_that_a_device_lacks_is_refused_and_one_that_it_has_named() {
    let operation = Operation("KL divergence");
    let all = |_: DType| true;
    let no_halves = |dtype: DType| !matches!(dtype, DType::F16 | DType::BF16);
    let as_32_bits = |dtype: DType| matches!(dtype, DType::F32 | DType::I32 | DType::U32);
    let refused = |found: DType, read: Read, supports: &dyn Fn(DType) -> bool| {
        let error = operation.readable("the operand", found, read, supports).unwrap_err();
        error.to_string()
    };
    assert!(operation.readable("the operand", DType::F16, Read::AsItIs, all).is_ok());
    assert_eq!(
        refused(DType::F16, Read::AsItIs, &no_halves),
        "KL divergence: the operand in f16 cannot be used here; give float32"
    );
    for found in [DType::BF16, DType::F64, DType::I32] {
        assert!(refused(found, Read::AsItIs, &all).ends_with("give float32 or float16"));
    }
    for found in [DType::F64, DType::F32, DType::F16, DType::BF16] {
        assert!(operation.readable("the operand", found, Read::Cast, all).is_ok());
    }
    for found in [DType::F16, DType::BF16, DType::F64] {
        assert!(refused(found, Read::Cast, &as_32_bits).ends_with("give float32"));
    }
    for found in [DType::U8, DType::I64, DType::U32] {
        assert!(operation.readable("the operand", found, Read::Label, all).is_ok());
    }
    for found in [DType::U8, DType::I16, DType::I64, DType::U64] {
        assert!(refused(found, Read::Label, &as_32_bits).ends_with("give int32"));
    }
    assert!(refused(DType::F32, Read::Label, &all).ends_with("give int32"));
}

#[test]
fn weights_that_a_device_does_not_hand_back_are_not_called_bad_ones() {
    let operation = Operation("ensemble");
    let error = operation
        .weighing("a party's weight", Err("the device is lost"))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "ensemble: a party's weight cannot be read back from the device: the device is lost"
    );
    for bad in [-1.0, f32::NAN, f32::INFINITY] {
        let error = operation.weighing("a party's weight", Ok::<_, String>(vec![1.0, bad]));
        assert!(matches!(error, Err(OperandError::Weights { .. })), "{bad}");
    }
    let kept = operation.weighing("a party's weight", Ok::<_, String>(vec![0.0, 2.0]));
    assert_eq!(kept.unwrap(), [0.0, 2.0]);
}
