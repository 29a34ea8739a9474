//! Telemetry where it is not built in: none.

use fedstill_log::Clock;
use fedstill_stages::telemetry::Telemetry;
use std::sync::Arc;
use tracing_subscriber::layer::Identity;

/// There are none.
#[derive(Debug)]
pub(crate) enum Exporters {}

impl Exporters {
    /// Never any: what asks for them may have been set for other programs.
    #[expect(clippy::unnecessary_wraps, reason = "as where telemetry is built in")]
    pub(crate) fn from_environment(_stages: &str) -> Result<Option<Self>, String> {
        Ok(None)
    }

    pub(crate) fn telemetry(&self, _clock: Arc<dyn Clock>) -> Telemetry {
        match *self {}
    }

    pub(crate) fn lines(&self) -> Identity {
        match *self {}
    }
}
