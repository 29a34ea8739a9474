//! What to do about an error of librdkafka.

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use super::client::Told;
use crate::error::{ErrorKind, LogError};

/// Sorts an error: what a person must change is fatal, everything else may pass. `told` is why the connection failed,
/// where that is known.
pub(super) fn failure(doing: &str, error: &KafkaError, told: Option<Told>) -> LogError {
    let (code, reason) = match (told, error.rdkafka_error_code()) {
        (Some(told), Some(code)) if passes(code) => (Some(told.code), format!("{error}: {}", told.reason)),
        (_, code) => (code, said(error)),
    };
    let advice = match error {
        KafkaError::ClientConfig(..) | KafkaError::ClientCreation(_) => Some("change that property"),
        _ => code.and_then(advice),
    };
    match advice {
        Some(advice) => LogError::new(ErrorKind::Fatal, format!("{doing}: {reason}; {advice}")),
        None => LogError::new(ErrorKind::Retry, format!("{doing}: {reason}")),
    }
}

/// The error in words, without the value of a property: it may be a secret.
fn said(error: &KafkaError) -> String {
    match error {
        KafkaError::ClientConfig(_, description, name, _) => format!("property {name:?}: {description}"),
        error => error.to_string(),
    }
}

/// Whether it only says that there was no answer, or no good one.
fn passes(code: Code) -> bool {
    matches!(
        code,
        Code::Fatal
            | Code::BrokerTransportFailure
            | Code::OperationTimedOut
            | Code::MessageTimedOut
            | Code::AllBrokersDown
    )
}

/// What a person can do about it; `None` where waiting may help.
pub(super) fn advice(code: Code) -> Option<&'static str> {
    Some(match code {
        Code::Authentication | Code::SaslAuthenticationFailed => "check the user name, the password and sasl.mechanism",
        Code::UnsupportedSASLMechanism | Code::IllegalSASLState => "choose a sasl.mechanism that the brokers offer",
        Code::SSL => "check the certificates and ssl.ca.location",
        Code::TopicAuthorizationFailed | Code::GroupAuthorizationFailed | Code::ClusterAuthorizationFailed => {
            "have the operator of the cluster grant this principal the rights that `deploy/acls` gives"
        }
        Code::MessageSizeTooLarge | Code::InvalidMessageSize => {
            "raise message.max.bytes here and max.message.bytes of the topic, or make the message smaller"
        }
        Code::InvalidReplicationFactor => "ask for no more replicas than there are brokers",
        Code::PolicyViolation | Code::InvalidConfig | Code::InvalidPartitions | Code::InvalidTopic => {
            "ask the operator of the cluster what it allows"
        }
        Code::Fenced | Code::UnsupportedVersion | Code::UnsupportedFeature => {
            "check the versions of brokers and client"
        }
        Code::UnknownGroup | Code::InvalidGroupId => "check the name of the group",
        _ => return None,
    })
}
