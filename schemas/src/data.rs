//! Data sets as a run names them: shapes, partitions, label maps. The rows themselves never pass through this crate.

use crate::digest::Digest;
use serde::{Deserialize, Serialize};

/// Channels, height and width of an image; a window of text has one channel, and is one high and as wide as it is long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Shape {
    /// Channels.
    pub channels: u32,
    /// Height in pixels.
    pub height: u32,
    /// Width in pixels.
    pub width: u32,
}

impl Shape {
    /// Values in one image.
    pub fn len(&self) -> usize {
        (self.channels * self.height * self.width) as usize
    }

    /// Whether an image has no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A data set of a resolved run: which rows it has, by content, and what a model must know of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DataSet {
    /// sha256 of all rows (images and labels, in order), of the transform, and of the columns and classes that were named.
    pub sha256: Digest,
    /// Rows in the file; where classes were named, those whose labels are among them.
    pub rows: u32,
    /// Rows to use, drawn by the plan without replacement; all rows where it equals `rows`.
    pub take: u32,
    /// Label values run from 0 to `classes` - 1.
    pub classes: u32,
    /// Shape of an image.
    pub shape: Shape,
    /// The columns and classes that were named.
    #[serde(default, skip_serializing_if = "Columns::is_default")]
    pub columns: Columns,
    /// How images are changed where they are trained on by their labels, in this order; empty for not at all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub augment: Vec<Augmentation>,
}

/// Classes of a data set, and values of a row, at most: far above what anybody has, far below what memory holds.
const MOST: (u32, u64) = (1 << 20, 1 << 24);

impl DataSet {
    /// Labels of a row: 1, or as many as a window of text has positions.
    pub fn labels_per_row(&self) -> u32 {
        self.columns.labels_per.of(self.shape)
    }

    /// What of it is larger than anything that can be trained on, in words for people.
    pub fn too_large(&self) -> Option<String> {
        let Shape {
            channels,
            height,
            width,
        } = self.shape;
        let values = [channels, height, width].map(u64::from).into_iter();
        let values = values.fold(1_u64, u64::saturating_mul);
        if self.classes > MOST.0 {
            return Some(format!("{} classes, where {} are the most", self.classes, MOST.0));
        }
        (values > MOST.1).then(|| {
            format!(
                "rows of {channels}x{height}x{width}, where {} values are the most",
                MOST.1
            )
        })
    }
}

/// A random change of the images of a training batch (He et al. 2015, arXiv:1512.03385, section 4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Augmentation {
    /// Mirrored, left to right, with probability 1/2.
    Flip,
    /// A part of the image's own size out of the image with 4 black pixels around it, at a place drawn uniformly.
    Crop,
}

impl Augmentation {
    /// All that there are.
    pub const ALL: [Self; 2] = [Self::Flip, Self::Crop];

    /// Its name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Flip => "flip",
            Self::Crop => "crop",
        }
    }
}

impl DataSet {
    /// All rows of a file, of columns that nobody named, never augmented.
    pub fn whole(sha256: Digest, rows: u32, classes: u32, shape: Shape) -> Self {
        Self {
            sha256,
            rows,
            take: rows,
            classes,
            shape,
            columns: Columns::default(),
            augment: Vec::new(),
        }
    }
}

/// What of a row has a label of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LabelsPer {
    /// All of it: what an image shows, or the character after a window of text.
    #[default]
    Window,
    /// Every position of a window of text: the character that follows there.
    Position,
}

impl LabelsPer {
    /// All that there are.
    pub const ALL: [Self; 2] = [Self::Window, Self::Position];

    /// Its name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Window => "window",
            Self::Position => "position",
        }
    }

    /// Whether a row has one label.
    pub fn is_window(&self) -> bool {
        *self == Self::Window
    }

    /// Labels of a row of that shape; one at least.
    pub fn of(self, shape: Shape) -> u32 {
        match self {
            Self::Window => 1,
            Self::Position => shape.width.max(1),
        }
    }
}

/// Which columns of a file to read, and which rows by their labels; columns that are not named are found by what the file
/// says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Columns {
    /// The column of images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The column of labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The column that says whose each row is; without it rows have no owners.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The column of texts, of a set of windows of text instead of images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// What of a window of text has a label.
    #[serde(default, skip_serializing_if = "LabelsPer::is_window")]
    pub labels_per: LabelsPer,
    /// The labels of each class, sorted; rows with other labels are left out. Empty where every label is a class.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<Vec<u32>>,
}

impl Columns {
    /// Whether nothing is named.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// How private rows are divided among the parties.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Partition {
    /// A seeded permutation in equal sizes.
    Iid,
    /// A seeded permutation in sizes proportional to log-normal variables, drawn anew until every party has `min` rows.
    LogNormal {
        /// Standard deviation of a size's logarithm: 0 gives equal sizes.
        sigma: f64,
        /// Fewest rows a party may have.
        #[serde(default = "one")]
        min: u32,
    },
    /// Each class divided by proportions drawn from a symmetric Dirichlet distribution
    /// (Hsu, Qi and Brown 2019, arXiv:1909.06335), drawn anew until every party has `min` rows.
    Dirichlet {
        /// Concentration: small values give a party few classes, large ones equal shares.
        alpha: f64,
        /// Fewest rows a party may have.
        #[serde(default = "one")]
        min: u32,
        /// Whether parties with an equal share of all rows get no more, and every party half of an equal share
        /// (Lin et al. 2020, arXiv:2006.07242).
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        balanced: bool,
        /// So many parties at most share a seeded part of the rows, in proportion to their number, which is divided among
        /// them alone (the code of Lin et al. 2020: 10); all rows among all parties where `None`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        groups: Option<u32>,
    },
    /// Every party holds rows of `per_party` classes, chosen by seed so that all classes are used evenly.
    Classes {
        /// Classes of one party.
        per_party: u32,
    },
    /// Rows in the order of their labels, cut into equal shards, of which every party gets so many at random (McMahan et
    /// al. 2017, arXiv:1602.05629).
    Shards {
        /// Shards of one party.
        per_party: u32,
    },
    /// Every party is one owner of rows, drawn among those with at least `min`; rows of other owners are not used.
    Natural {
        /// Fewest rows an owner may have.
        #[serde(default = "one")]
        min: u32,
    },
}

fn one() -> u32 {
    1
}

/// How the labels of the private and the public set meet in one head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Labels {
    /// Private classes first, public classes after them: disjoint.
    Union,
    /// The same label value means the same class in both sets.
    Shared,
    /// The head has the private classes only; public labels are never used.
    Private,
}

impl Labels {
    /// Classes of the head over both sets.
    pub fn head(self, private: u32, public: u32) -> u32 {
        match self {
            Self::Union => private + public,
            Self::Shared => private.max(public),
            Self::Private => private,
        }
    }

    /// What is added to a public label to find its place in the head; `None` where public labels are not used.
    pub fn public_offset(self, private: u32) -> Option<u32> {
        match self {
            Self::Union => Some(private),
            Self::Shared => Some(0),
            Self::Private => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_partition_leaves_out_is_as_it_was_before_it_could_be_said() {
        let json = r#"{"kind":"dirichlet","alpha":0.5,"min":20}"#;
        let partition: Partition = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_string(&partition).unwrap(), json);
        let json = r#"{"kind":"dirichlet","alpha":0.5,"min":1,"balanced":true,"groups":10}"#;
        let grouped: Partition = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_string(&grouped).unwrap(), json);
        let natural: Partition = serde_json::from_str(r#"{"kind":"natural"}"#).unwrap();
        assert_eq!(natural, Partition::Natural { min: 1 });
        assert!(serde_json::from_str::<Partition>(r#"{"kind":"natural","per_party":1}"#).is_err());
    }

    #[test]
    fn columns_without_classes_are_as_they_were_before_there_were_any() {
        let json = r#"{"label":"fine_label"}"#;
        let mut columns: Columns = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_string(&columns).unwrap(), json);
        assert!(Columns::default().is_default());
        columns.classes = vec![vec![2], vec![10, 36]];
        let with = serde_json::to_string(&columns).unwrap();
        assert_eq!(with, r#"{"label":"fine_label","classes":[[2],[10,36]]}"#);
        assert_eq!(serde_json::from_str::<Columns>(&with).unwrap(), columns);
        columns.label = None;
        assert!(!columns.is_default());
    }

    #[test]
    fn columns_with_a_label_a_window_are_as_they_were_before_positions_had_any() {
        let json = r#"{"owner":"client","text":"text"}"#;
        let mut columns: Columns = serde_json::from_str(json).unwrap();
        assert_eq!(columns.labels_per, LabelsPer::Window);
        assert_eq!(serde_json::to_string(&columns).unwrap(), json);
        columns.labels_per = LabelsPer::Position;
        let with = serde_json::to_string(&columns).unwrap();
        assert_eq!(with, r#"{"owner":"client","text":"text","labels_per":"position"}"#);
        assert_eq!(serde_json::from_str::<Columns>(&with).unwrap(), columns);
        let only = Columns {
            labels_per: LabelsPer::Position,
            ..Columns::default()
        };
        assert!(!only.is_default());
        assert!(serde_json::from_str::<Columns>(r#"{"labels_per":"word"}"#).is_err());
    }

    #[test]
    fn a_row_has_one_label_or_as_many_as_positions() {
        let shape = Shape {
            channels: 1,
            height: 1,
            width: 80,
        };
        let mut set = DataSet::whole(Digest::of(b"text"), 10, 82, shape);
        assert_eq!(set.labels_per_row(), 1);
        set.columns.labels_per = LabelsPer::Position;
        assert_eq!(set.labels_per_row(), 80);
        for per in LabelsPer::ALL {
            assert_eq!(serde_json::to_string(&per).unwrap(), format!("\"{}\"", per.name()));
        }
    }

    #[test]
    fn a_union_head_puts_public_classes_after_private_ones() {
        assert_eq!(Labels::Union.head(26, 10), 36);
        assert_eq!(Labels::Union.public_offset(26), Some(26));
        assert_eq!(Labels::Shared.head(10, 26), 26);
        assert_eq!(Labels::Private.public_offset(26), None);
    }
}
