//! Labels at every position of a window of text: of which rows, in which sets, and divided how.

use super::{Problem, RunFile, sources};
use crate::data::{LabelsPer, Partition};
use crate::run_file::Private;

/// The first thing that is wrong: what comes after may follow from it.
pub(super) fn do_not_fit(file: &RunFile) -> Option<Problem> {
    are_of_images(file)
        .or_else(|| are_in_some_sets(file))
        .or_else(|| are_divided_by_label(file))
}

/// An image has no positions that something follows.
fn are_of_images(file: &RunFile) -> Option<Problem> {
    if let Private::Own {
        shape,
        labels_per: LabelsPer::Position,
        ..
    } = file.data.private
        && (shape.channels, shape.height) != (1, 1)
    {
        return Some(file.complain(
            "data.private.labels_per",
            "'data.private' has labels per position, and its shape is that of images",
            "remove labels_per, or write the shape of windows of text, shape = [1, 1, 80]",
        ));
    }
    let mut asked = sources(file).filter(|(_, source)| source.columns.labels_per == LabelsPer::Position);
    let (key, _) = asked.find(|(_, source)| source.columns.text.is_none())?;
    Some(file.complain(
        &format!("{key}.labels_per"),
        format!("'{key}' has labels per position, and names no column of texts"),
        "remove labels_per, or add the column's name, as in text = \"text\"",
    ))
}

/// Models of a run predict as often on every row, whichever set it is of.
fn are_in_some_sets(file: &RunFile) -> Option<Problem> {
    let private = file.data.private.labels_per();
    let (key, source) = sources(file).find(|(_, source)| source.columns.labels_per != private)?;
    Some(file.complain(
        &format!("{key}.labels_per"),
        format!(
            "'{key}' has labels per {}, and 'data.private' per {}: models predict as often on every row of a run",
            source.columns.labels_per.name(),
            private.name()
        ),
        "write labels_per = \"position\" in every set of the file, or in none",
    ))
}

/// A row with a label at every position is of no one class.
fn are_divided_by_label(file: &RunFile) -> Option<Problem> {
    let kind = match file.data.partition {
        Partition::Dirichlet { .. } => "dirichlet",
        Partition::Classes { .. } => "classes",
        Partition::Shards { .. } => "shards",
        Partition::Iid | Partition::LogNormal { .. } | Partition::Natural { .. } => return None,
    };
    (file.data.private.labels_per() == LabelsPer::Position).then(|| {
        file.complain(
            "data.partition",
            format!(
                "the partition '{kind}' goes by the label of each row, and those of data.private have one per position"
            ),
            "divide them otherwise, by kind = \"iid\", \"log_normal\" or \"natural\", or remove labels_per",
        )
    })
}
