//! Whose rows are of which class: the division of the private rows of a run file's first seed, and the test set beside it.

use crate::figures::Divided;
use crate::resolve::Resolved;
use fedstill_learner::{Dataset, Division, draw};
use fedstill_schemas::Digest;

/// The picture, by class of the private rows, which are those of the test set too; `None` where parties have rows of their own, which nobody else knows.
pub(crate) fn divided(resolved: &Resolved) -> Option<Divided> {
    let run = &resolved.jobs.first()?.resolved;
    if run.is_placed() {
        return None;
    }
    let held = |set: Digest| resolved.data.iter().find(|data| data.digest() == set);
    let (data, test) = (held(run.private.sha256)?, held(run.test.sha256)?);
    let division = Division {
        set: &run.private,
        held_back: run.held_back(),
        partition: &run.partition,
        parties: run.parties.len() as u32,
        seed: run.seed,
    };
    let (_, parties) = division.rows(data.known()).ok()?;
    let by_class = |data: &Dataset, rows: &[u32]| {
        let mut counts = vec![0; run.private.classes as usize];
        for row in rows {
            counts[data.labels()[*row as usize] as usize] += 1;
        }
        counts
    };
    Some(Divided {
        title: format!(
            "{}: private rows by party and class, seed {}",
            resolved.file.name, run.seed
        ),
        rows: parties.iter().map(|rows| by_class(data, rows)).collect(),
        test: by_class(test, &draw(run.seed, "test", 0, run.test.rows, run.test.take)),
    })
}
