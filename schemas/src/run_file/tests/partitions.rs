//! Every partition, and the columns that some of them ask for.

use super::{LEAST, MOST, parse};
use crate::data::Partition;

#[test]
fn every_kind_of_partition_is_read() {
    let dirichlet = |balanced, groups| Partition::Dirichlet {
        alpha: 1.0,
        min: 20,
        balanced,
        groups,
    };
    let log_normal = |sigma, min| Partition::LogNormal { sigma, min };
    for (written, partition) in [
        ("kind = \"iid\"", Partition::Iid),
        ("kind = \"log_normal\", sigma = 1", log_normal(1.0, 1)),
        ("kind = \"log_normal\", sigma = 0, min = 5", log_normal(0.0, 5)),
        (
            "kind = \"dirichlet\", alpha = 1, min = 20, balanced = true",
            dirichlet(true, None),
        ),
        (
            "kind = \"dirichlet\", alpha = 1, min = 20, groups = 10",
            dirichlet(false, Some(10)),
        ),
        ("kind = \"classes\", per_party = 2", Partition::Classes { per_party: 2 }),
        ("kind = \"shards\", per_party = 3", Partition::Shards { per_party: 3 }),
    ] {
        let file = MOST.replace("kind = \"dirichlet\", alpha = 1, min = 20", written);
        assert_eq!(parse(&file).unwrap().data.partition, partition, "{written}");
    }
}

#[test]
fn owners_are_asked_for_by_the_natural_partition_and_by_texts() {
    let natural = MOST
        .replace("kind = \"dirichlet\", alpha = 1, min", "kind = \"natural\", min")
        .replace("rows = 1_000,", "rows = 1_000, owner = \"client\",");
    let data = parse(&natural).unwrap().data;
    assert_eq!(data.partition, Partition::Natural { min: 20 });
    assert_eq!(data.private.file().unwrap().columns.owner.as_deref(), Some("client"));
    let text = LEAST.replace("\"a.parquet\"", "\"a.parquet\", text = \"text\", owner = \"role\"");
    let data = parse(&text).unwrap().data;
    let columns = &data.private.file().unwrap().columns;
    assert_eq!(
        (columns.text.as_deref(), columns.owner.as_deref()),
        (Some("text"), Some("role"))
    );
}
