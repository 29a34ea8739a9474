//! Labels at every position of windows of text.

use super::bad_files::each_is_one_problem;
use super::{PLACED, Private, parse};
use crate::data::LabelsPer;

/// A file whose sets are of text with a label at every position.
const POSITIONS: &str = r#"
name     = "a"
pipeline = "fedmd"
rounds   = 0
parties  = { count = 1, architectures = ["lenet"] }

[data]
private   = { url = "a.parquet", text = "text", owner = "role", labels_per = "position" }
public    = { url = "b.parquet", text = "text", labels_per = "position" }
test      = { url = "c.parquet", text = "text", labels_per = "position" }
partition = { kind = "natural" }
"#;

#[test]
fn text_has_a_label_a_window_or_one_at_every_position() {
    let data = parse(POSITIONS).unwrap().data;
    assert_eq!(data.private.labels_per(), LabelsPer::Position);
    assert_eq!(data.test.columns.labels_per, LabelsPer::Position);
    let windows = POSITIONS.replace("\"position\"", "\"window\"");
    let data = parse(&windows).unwrap().data;
    assert_eq!(data.private.labels_per(), LabelsPer::Window);
    // Written or left out, it is the same data set.
    let left_out = POSITIONS.replace(", labels_per = \"position\"", "");
    assert_eq!(parse(&left_out).unwrap().data, data);
}

#[test]
fn private_rows_in_no_file_say_what_has_a_label() {
    let own = PLACED
        .replace(
            "classes = 26, shape = [1, 28, 28]",
            "classes = 82, shape = [1, 1, 80], labels_per = \"position\"",
        )
        .replace(".parquet\"", ".parquet\", text = \"text\", labels_per = \"position\"");
    let data = parse(&own).unwrap().data;
    assert!(matches!(
        data.private,
        Private::Own {
            labels_per: LabelsPer::Position,
            ..
        }
    ));
    assert_eq!(parse(PLACED).unwrap().data.private.labels_per(), LabelsPer::Window);
}

#[test]
#[rustfmt::skip]
fn mistakes_about_positions() {
    each_is_one_problem(POSITIONS, &[
        ("owner = \"role\", labels_per = \"position\"", "owner = \"role\", labels_per = \"positions\"", 8, 78, "'data.private.labels_per' is 'positions', which is not something that has a label", "did you mean 'position'?"),
        ("owner = \"role\", labels_per = \"position\"", "owner = \"role\", labels_per = true", 8, 78, "'data.private.labels_per' is true, but something that has a label", "labels_per = \"position\""),
        ("owner = \"role\", labels_per = \"position\"", "owner = \"role\", label_per = \"position\"", 8, 65, "unknown key 'label_per' in data.private", "did you mean 'labels_per'?"),
        ("owner = \"role\", labels_per = \"position\"", "owner = \"role\"", 9, 62, "'data.public' has labels per position, and 'data.private' per window", "in every set of the file, or in none"),
        ("\"c.parquet\", text = \"text\", labels_per = \"position\"", "\"c.parquet\", text = \"text\"", 10, 13, "'data.test' has labels per window, and 'data.private' per position", "in every set of the file, or in none"),
        ("\"c.parquet\", text = \"text\",", "\"c.parquet\",", 10, 47, "'data.test' has labels per position, and names no column of texts", "text = \"text\""),
        ("\"a.parquet\", text = \"text\",", "\"a.parquet\",", 8, 63, "'data.private' has labels per position, and names no column of texts", "remove labels_per"),
        ("kind = \"natural\"", "kind = \"dirichlet\", alpha = 0.5", 11, 13, "the partition 'dirichlet' goes by the label of each row", "\"natural\", or remove labels_per"),
        ("kind = \"natural\"", "kind = \"classes\", per_party = 2", 11, 13, "the partition 'classes' goes by the label of each row", "\"log_normal\""),
        ("kind = \"natural\"", "kind = \"shards\", per_party = 2", 11, 13, "the partition 'shards' goes by the label of each row", "kind = \"iid\""),
    ]);
    each_is_one_problem(PLACED, &[
        ("shape = [1, 28, 28]", "shape = [1, 28, 28], labels_per = \"position\"", 7, 61, "'data.private' has labels per position, and its shape is that of images", "shape = [1, 1, 80]"),
        ("shape = [1, 28, 28]", "shape = [1, 1, 80], labels_per = \"position\"", 8, 11, "'data.public' has labels per window, and 'data.private' per position", "in every set"),
    ]);
}
