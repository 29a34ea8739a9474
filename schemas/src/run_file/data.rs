//! `[data]`: the data sets of a run, and how their rows are used.

use super::classes;
use super::reader::{Repeats, Table, Value};
use super::spelling::quoted;
use super::{Data, Private, Source, Validation};
use crate::data::{Augmentation, Columns, Labels, LabelsPer, Partition, Shape};

/// Reads the table.
pub(super) fn data(value: &Value<'_>) -> Option<Data> {
    let mut table = value.table()?;
    let private = table.required("private", "private = { url = \"data/letters.parquet\" }", private);
    let public = table.optional("public", "public = { url = \"data/mnist.parquet\" }", |value| {
        source(value, Use::Training)
    });
    let test = table.required("test", "test = { url = \"data/letters-test.parquet\" }", |value| {
        source(value, Use::Evaluation)
    });
    let validation = table.optional("validation", "validation = { rows = 500 }", validation);
    let labels = table.optional("labels", "labels = \"shared\"", |value| {
        let words = [
            ("union", Labels::Union),
            ("shared", Labels::Shared),
            ("private", Labels::Private),
        ];
        value.one_of("a way to join labels", &words)
    });
    let partition = table.optional("partition", "partition = { kind = \"iid\" }", partition);
    let alignment = table.optional("alignment", "alignment = 3000", |value| value.count(1));
    table.finish();
    Some(Data {
        private: private?,
        public,
        test: test?,
        validation,
        labels: labels.unwrap_or(Labels::Shared),
        partition: partition.unwrap_or(Partition::Iid),
        alignment,
    })
}

/// A file that is divided, or what each party's own rows are like.
fn private(value: &Value<'_>) -> Option<Private> {
    // Of a file classes are listed; of rows that are in none they are counted, and the shape is said too.
    let counted = value.has("classes") && !value.has_list("classes");
    let own = !value.has("url") && (value.has("shape") || counted);
    if !own {
        return source(value, Use::Training).map(Private::Divided);
    }
    let mut table = value.table()?;
    let classes = table.required("classes", "classes = 26", classes::counted);
    let shape = table.required("shape", "shape = [1, 28, 28]", shape);
    let labels_per = labels_per(&mut table);
    let augment = augmentations(&mut table);
    table.finish();
    Some(Private::Own {
        classes: classes?,
        shape: shape?,
        labels_per,
        augment,
    })
}

/// A number of the private rows, or a file of its own.
fn validation(value: &Value<'_>) -> Option<Validation> {
    if value.has("url") {
        return source(value, Use::Evaluation).map(Validation::Set);
    }
    let mut table = value.table()?;
    let rows = table.required("rows", "rows = 500", |value| value.count(1));
    table.allow(&["url"]);
    table.finish();
    Some(Validation::Private { rows: rows? })
}

fn shape(value: &Value<'_>) -> Option<Shape> {
    let sides = value.list(Repeats::Allowed, |item| item.whole(1, 1023))?;
    let [channels, height, width] = sides[..] else {
        value.expect("a list of channels, height and width");
        return None;
    };
    Some(Shape {
        channels: channels as u32,
        height: height as u32,
        width: width as u32,
    })
}

/// What rows are for: those that models are evaluated on are never changed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    Training,
    Evaluation,
}

fn source(value: &Value<'_>, rows_are_for: Use) -> Option<Source> {
    let mut table = value.table()?;
    let url = table.required("url", "url = \"data/letters.parquet\"", url);
    let rows = table.optional("rows", "rows = 1000, or leave it out to use all", |value| {
        value.count(1)
    });
    let columns = columns(&mut table);
    let augment = match rows_are_for {
        Use::Training => augmentations(&mut table),
        Use::Evaluation => Vec::new(),
    };
    table.finish();
    if is_of_texts_and_images(value, &columns, &augment) {
        return None;
    }
    Some(Source {
        url: url?,
        rows,
        columns,
        augment,
    })
}

/// Whether a set of texts is said to be one of images as well; notes it.
pub(super) fn is_of_texts_and_images(value: &Value<'_>, columns: &Columns, augment: &[Augmentation]) -> bool {
    let images = [
        ("image", columns.image.is_some()),
        ("label", columns.label.is_some()),
        ("augment", !augment.is_empty()),
        ("classes", !columns.classes.is_empty()),
    ];
    let written = images.iter().find(|(_, written)| *written);
    let Some((key, _)) = written.filter(|_| columns.text.is_some()) else {
        return false;
    };
    value.refuse(
        format!(
            "'{}' names a column of texts, and '{key}' is about images",
            value.path()
        ),
        "remove one of the two: the label of a window of text is the character that follows",
    );
    true
}

fn augmentations(table: &mut Table<'_>) -> Vec<Augmentation> {
    let words = Augmentation::ALL.map(|augmentation| (augmentation.name(), augmentation));
    let listed = table.optional("augment", "augment = [\"flip\", \"crop\"]", |value| {
        value.list(Repeats::Refused, |item| item.one_of("an augmentation", &words))
    });
    let mut listed = listed.unwrap_or_default();
    listed.sort_unstable();
    listed
}

/// The columns that a table names, and the classes of their labels.
pub(super) fn columns(table: &mut Table<'_>) -> Columns {
    Columns {
        image: table.optional("image", "image = \"img\"", column),
        label: table.optional("label", "label = \"fine_label\"", column),
        owner: table.optional("owner", "owner = \"client\"", column),
        text: table.optional("text", "text = \"text\"", column),
        labels_per: labels_per(table),
        classes: table
            .optional(
                "classes",
                "classes = [0, 2, 20], or classes = [[10, 36], [11, 37]] where two labels are one class",
                classes::listed,
            )
            .unwrap_or_default(),
    }
}

/// What of a row has a label; the whole row where nothing is written.
fn labels_per(table: &mut Table<'_>) -> LabelsPer {
    let words = LabelsPer::ALL.map(|per| (per.name(), per));
    let written = table.optional("labels_per", "labels_per = \"position\"", |value| {
        value.one_of("something that has a label", &words)
    });
    written.unwrap_or_default()
}

fn column(value: &Value<'_>) -> Option<String> {
    value.text("the name of a column").map(str::to_owned)
}

/// A file of this machine.
fn url(value: &Value<'_>) -> Option<String> {
    let url = value.text("the path of a Parquet file")?;
    let local = match url.split_once("://") {
        None => !url.is_empty(),
        Some(("file", path)) => path.len() > 1 && path.starts_with('/'),
        Some(_) => false,
    };
    if !local {
        value.refuse(
            format!(
                "'{}' is {}, but only local files are read so far",
                value.path(),
                quoted(url)
            ),
            "write a path relative to this file, as in url = \"data/letters.parquet\", or file:// and an absolute path",
        );
    }
    local.then(|| url.to_owned())
}

fn partition(value: &Value<'_>) -> Option<Partition> {
    const KIND: &str = "kind = \"iid\"";
    const KINDS: [&str; 6] = ["iid", "log_normal", "dirichlet", "classes", "shards", "natural"];
    let mut table = value.table()?;
    let words = KINDS.map(|kind| (kind, kind));
    let kind = table.required("kind", KIND, |value| value.one_of("a kind of partition", &words));
    if let Some(kind) = kind {
        table.specify(&format!("of kind '{kind}'"));
    }
    let least = |table: &mut Table<'_>| table.optional("min", "min = 20", |value| value.count(1)).unwrap_or(1);
    let partition = match kind {
        Some("log_normal") => {
            let sigma = table.required("sigma", "sigma = 1.0", Value::not_negative);
            let min = least(&mut table);
            sigma.map(|sigma| Partition::LogNormal { sigma, min })
        }
        Some("dirichlet") => {
            let alpha = table.required("alpha", "alpha = 0.5", Value::positive);
            let min = least(&mut table);
            let balanced = table.optional("balanced", "balanced = true", Value::truth);
            let groups = table.optional("groups", "groups = 10", |value| value.count(1));
            alpha.map(|alpha| Partition::Dirichlet {
                alpha,
                min,
                balanced: balanced.unwrap_or(false),
                groups,
            })
        }
        Some("classes") => table
            .required("per_party", "per_party = 2", |value| value.count(1))
            .map(|per_party| Partition::Classes { per_party }),
        Some("shards") => table
            .required("per_party", "per_party = 2", |value| value.count(1))
            .map(|per_party| Partition::Shards { per_party }),
        Some("natural") => Some(Partition::Natural { min: least(&mut table) }),
        Some(_) => Some(Partition::Iid),
        None => {
            table.allow(&["alpha", "balanced", "groups", "min", "per_party", "sigma"]);
            None
        }
    };
    table.finish();
    partition
}
