//! What a task would cost on a function service: AWS Lambda's list price for x86 (us-east-1), at the memory that comes
//! with one full virtual CPU.

/// Memory of a function in GB: Lambda gives one virtual CPU at 1,769 MB.
const MEMORY_GB: f64 = 1.769;
/// US dollars a GB-second.
const GB_SECOND: f64 = 0.000_016_666_7;

/// GB-seconds of a task that took `seconds`.
pub(crate) fn gb_seconds(seconds: f64) -> f64 {
    MEMORY_GB * seconds
}

/// US dollars of a task that took `seconds`.
pub(crate) fn price(seconds: f64) -> f64 {
    gb_seconds(seconds) * GB_SECOND
}
