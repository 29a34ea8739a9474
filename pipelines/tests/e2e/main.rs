//! The `fedstill` command as a user runs it: the same bits whatever happens, private data that stays private, and a clear
//! answer to whatever is wrong.

mod bad_files;
mod baselines;
mod bits;
mod cases;
mod chaos;
mod cluster;
mod compare;
mod crash;
mod deadlines;
mod deployment;
mod devices;
mod ensembles;
mod federation;
mod folders;
mod malformed;
mod misfortune;
mod parties;
mod party_weights;
mod pipeline_files;
mod pipelines;
mod privacy;
mod readers;
mod rights;
mod state;
mod stored;
mod sweeps;
mod teachers;
#[cfg(feature = "cloud")]
mod telemetry;
mod text;
