//! The commands of a deployment: the same run file and the same stages, on Kafka and a shared store.
//!
//! ```text
//! topics create ──> topics        submit ──> data (store), triggers (log)
//! worker ──> stages, for ever     watch <── decisions        stop ──> a decision
//! ```

mod config;
mod health;
mod party;
mod prune;
mod submit;
mod topics;
mod watch;
mod worker;

pub(crate) use config::Config;
pub(crate) use party::{init as init_party, serve as serve_party};
pub(crate) use prune::prune;
pub(crate) use submit::{submit, triggers};
pub(crate) use topics::create;
pub(crate) use watch::{Watched, stop, watch};
pub(crate) use worker::{Options, serve};
