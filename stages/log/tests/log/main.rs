//! The promises of the log: what every log must do, what faults do, and what Apache Kafka adds.

mod conformance;
mod faults;
mod kafka;
