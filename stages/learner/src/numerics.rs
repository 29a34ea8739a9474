//! The numerics class of a machine: runs of one class give the same bits.

use fedstill_schemas::Digest;
use std::hint::black_box;
use std::sync::OnceLock;

/// The numerics class of this machine, for people and for comparison: the instruction set decides which matrix kernels
/// run, the caches how they cut their work, and the C library's `exp` and its kin, named by what they compute, round in
/// their own ways.
pub fn numerics() -> &'static str {
    static CLASS: OnceLock<String> = OnceLock::new();
    CLASS.get_or_init(|| {
        let [level1, level2, level3] = [0, 2, 3].map(cache);
        format!(
            "{} {}, caches {level1} {level2} {level3}, libm {}",
            std::env::consts::ARCH,
            instructions(),
            libm()
        )
    })
}

/// The size of a cache of the first processor, as the system writes it.
fn cache(index: u32) -> String {
    let size = std::fs::read_to_string(format!("/sys/devices/system/cpu/cpu0/cache/index{index}/size"));
    size.map_or_else(|_| "?".to_owned(), |size| size.trim().to_owned())
}

/// A name for what the platform's functions give on some thousands of values.
fn libm() -> String {
    let mut bytes = Vec::new();
    for step in 0..4096u16 {
        let x = black_box((f32::from(step) - 2048.0) / 97.0);
        let positive = x.abs() + f32::MIN_POSITIVE;
        for value in [x.exp(), positive.ln(), x.tanh(), positive.powf(x / 8.0)] {
            bytes.extend(value.to_bits().to_le_bytes());
        }
        for value in [f64::from(x).exp(), f64::from(positive).ln()] {
            bytes.extend(value.to_bits().to_le_bytes());
        }
    }
    Digest::of(&bytes).short()
}

#[cfg(target_arch = "x86_64")]
fn instructions() -> &'static str {
    if is_x86_feature_detected!("avx512f") {
        "avx512f"
    } else if is_x86_feature_detected!("fma") {
        "avx2 fma"
    } else {
        "sse2"
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn instructions() -> &'static str {
    "baseline"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_class_is_the_same_each_time_it_is_asked_for() {
        assert_eq!(libm(), libm());
        assert!(numerics().starts_with(std::env::consts::ARCH));
    }
}
