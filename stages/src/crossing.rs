//! What of a party's task crosses between it and the server: bytes of payload, as they are stored or published.
//!
//! Up goes what a party publishes, its predictions, and what it puts where others read it: its weights, in pipelines that
//! disclose them. Down comes what others made: the weights that it starts from, and the consensus. What it reads of its own
//! crosses nothing, wherever it lies. Each task counts by itself, as each would fetch by itself. Pure.

use crate::fit::WEIGHTS;
use crate::rounds::MODEL;
use fedstill_schemas::task::{Part, Place, Subject, Task, TaskResult};
use std::collections::BTreeMap;

/// Bytes that a task sends to the server, and that it fetches; none of a task of the server itself. `read` are the results
/// that the task reads, by their names, `published` the bytes of its messages.
pub(crate) fn of(task: &Task, read: &BTreeMap<String, TaskResult>, made: &TaskResult, published: u64) -> (u64, u64) {
    if !matches!(task.subject, Subject::Party(_)) {
        return (0, 0);
    }
    let known = |part: &Part| {
        read.values()
            .flat_map(|read| read.parts.values())
            .any(|own| own == part)
    };
    let put = made.parts.values().filter(|part| part.place == Place::Shared);
    let put: u64 = put.filter(|part| !known(part)).map(|part| part.bytes).sum();
    let fetched = |(name, read): (&String, &TaskResult)| -> u64 {
        let others = task.reads.get(name).is_some_and(|read| read.subject != task.subject);
        let parts = read.parts.iter().filter(|(part, _)| name != MODEL || *part == WEIGHTS);
        parts.filter(|_| others).map(|(_, part)| part.bytes).sum()
    };
    (put + published, read.iter().map(fetched).sum())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rounds::CONSENSUS;
    use fedstill_schemas::Digest;
    use fedstill_schemas::pipeline::Stage;
    use fedstill_schemas::resolved::VERSION;
    use fedstill_schemas::task::{Attempt, Reference, Report};

    /// A result of parts, each with its size and where it lies.
    fn result(parts: &[(&str, u64, Place)]) -> TaskResult {
        let parts = parts.iter().map(|(name, bytes, place)| {
            let part = Part {
                sha256: Digest::of(format!("{name} {bytes}").as_bytes()),
                bytes: *bytes,
                place: *place,
            };
            ((*name).to_owned(), part)
        });
        TaskResult {
            version: VERSION,
            task: Digest::of(b"task"),
            parts: parts.collect(),
            report: Report::Initial,
        }
    }

    /// A task of a subject that reads results of others.
    fn task(subject: Subject, reads: &[(&str, Subject)]) -> Task {
        let reads = reads.iter().map(|(name, of)| {
            let read = Reference {
                round: 1,
                step: "a".to_owned(),
                subject: *of,
                task: Digest::of(b"read"),
                sha256: Digest::of(b"result"),
            };
            ((*name).to_owned(), read)
        });
        Task {
            version: VERSION,
            at: Attempt {
                run: "a-b-0".to_owned(),
                round: 1,
                attempt: 0,
            },
            resolved: Digest::of(b"run"),
            phase: 0,
            step: "b".to_owned(),
            stage: Stage::Train,
            subject,
            reads: reads.collect(),
            members: None,
        }
    }

    fn read(name: &str, parts: &[(&str, u64, Place)]) -> BTreeMap<String, TaskResult> {
        BTreeMap::from([(name.to_owned(), result(parts))])
    }

    const OWN: Subject = Subject::Party(1);
    const PRIVATE: Place = Place::Party(1);
    const SERVER: Subject = Subject::Architecture(0);

    #[test]
    fn weights_go_up_where_others_read_them_and_come_down_from_the_server() {
        let task = task(OWN, &[(MODEL, SERVER)]);
        let prototype = [("weights", 100, Place::Shared), ("optimizer.server", 30, Place::Shared)];
        let shared = result(&[("weights", 101, Place::Shared), ("optimizer.own", 40, PRIVATE)]);
        assert_eq!(of(&task, &read(MODEL, &prototype), &shared, 0), (101, 100));
        let kept = result(&[("weights", 101, PRIVATE)]);
        assert_eq!(of(&task, &read(MODEL, &prototype), &kept, 0), (0, 100));
    }

    #[test]
    fn what_is_a_party_s_own_does_not_cross_wherever_it_lies() {
        let task = task(OWN, &[(MODEL, OWN)]);
        let own = [("weights", 100, Place::Shared), ("optimizer.own", 40, PRIVATE)];
        assert_eq!(of(&task, &read(MODEL, &own), &result(&own), 0), (0, 0));
    }

    #[test]
    fn what_is_taken_as_it_is_comes_down_and_does_not_go_up_again() {
        let task = task(OWN, &[(MODEL, SERVER)]);
        let taken = [("weights", 100, Place::Shared)];
        assert_eq!(of(&task, &read(MODEL, &taken), &result(&taken), 0), (0, 100));
    }

    #[test]
    fn predictions_go_up_once_and_all_chunks_of_the_consensus_come_down() {
        let predicting = task(OWN, &[(MODEL, OWN)]);
        let own = read(MODEL, &[("weights", 100, PRIVATE)]);
        let predictions = result(&[("predictions.0", 7, PRIVATE), ("predictions.1", 8, PRIVATE)]);
        assert_eq!(of(&predicting, &own, &predictions, 15), (15, 0));

        let learning = task(OWN, &[(MODEL, OWN), (CONSENSUS, Subject::Server)]);
        let mut both = own;
        both.extend(read(
            CONSENSUS,
            &[("consensus.0", 9, Place::Shared), ("consensus.1", 11, Place::Shared)],
        ));
        assert_eq!(of(&learning, &both, &result(&[("weights", 99, PRIVATE)]), 0), (0, 20));
    }

    #[test]
    fn the_server_sends_itself_nothing() {
        let task = task(SERVER, &[(MODEL, SERVER), (CONSENSUS, Subject::Server)]);
        let model = [("weights", 100, Place::Shared)];
        let trained = result(&[("weights", 101, Place::Shared)]);
        assert_eq!(of(&task, &read(MODEL, &model), &trained, 5), (0, 0));
    }
}
