//! `fedstill topics create`: makes what is not there, extends what is small, mends what is configured otherwise.

use super::Config;
use fedstill_log::SystemClock;
use fedstill_schemas::names;
use fedstill_stages::StageError;
use fedstill_stages::federation::make_topics;
use std::sync::Arc;

/// Makes the topics, and says which there are.
pub(crate) fn create(config: &Config) -> Result<String, StageError> {
    let log = config.log(Arc::new(SystemClock::new()))?;
    make_topics(&*log, config.deployment.log.partitions)?;
    let wanted = config.deployment.log.partitions;
    let lines = names::topics().into_iter().map(|topic| {
        let partitions = log.partitions(topic)?;
        let note = if partitions > wanted {
            format!("   more than {wanted}: Kafka takes none away")
        } else {
            String::new()
        };
        Ok(format!("{topic:<24} {partitions:>4}{note}\n"))
    });
    let lines = lines.collect::<Result<String, StageError>>()?;
    Ok(format!("{:<24} partitions\n{lines}", "topic"))
}
