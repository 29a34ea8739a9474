//! Whose rows are of which class: the division of the private rows of a run file's first seed, and the test set beside it. Of
//! windows of text with a label at every position the labels are counted.

use crate::figures::Divided;
use crate::resolve::Resolved;
use fedstill_learner::{Dataset, Division, draw};
use fedstill_schemas::Digest;
use fedstill_schemas::data::LabelsPer;

/// The picture, by the classes of the private rows, which are those of the test set too; `None` where parties have rows of
/// their own, which nobody else knows.
pub(crate) fn divided(resolved: &Resolved) -> Option<Divided> {
    let run = &resolved.jobs.first()?.resolved;
    if run.is_placed() {
        return None;
    }
    let held = |set: Digest| resolved.data.iter().find(|data| data.digest() == set);
    let (data, test) = (held(run.private.sha256)?, held(run.test.sha256)?);
    let (_, parties) = Division::of(run).rows(data.known()).ok()?;
    let by_class = |data: &Dataset, rows: &[u32]| {
        let mut counts = vec![0; run.private.classes as usize];
        for label in rows.iter().flat_map(|row| data.labels_of(*row)) {
            counts[*label as usize] += 1;
        }
        counts
    };
    let counted = match data.labels_per() {
        LabelsPer::Window => "rows",
        LabelsPer::Position => "labels",
    };
    Some(Divided {
        title: format!(
            "{}: private {counted} by party and class, seed {}",
            resolved.file.name, run.seed
        ),
        counted,
        rows: parties.iter().map(|rows| by_class(data, rows)).collect(),
        test: by_class(test, &draw(run.seed, "test", 0, run.test.rows, run.test.take)),
    })
}
