//! Which columns of a file are read: those that were named, else those that can be no others.

use super::DataError;
use super::metadata::Metadata;
use std::path::Path;

/// The columns that a file has.
pub(super) struct Columns<'a> {
    pub(super) path: &'a Path,
    pub(super) names: Vec<&'a str>,
    pub(super) about: &'a Metadata<'a>,
}

impl<'a> Columns<'a> {
    /// The column of images: `image`, `img`, or the one that Hugging Face's description calls an image.
    pub(super) fn image(&self, named: Option<&str>) -> Result<&'a str, DataError> {
        let found = self.one("image", named, &["image", "img"], |name| self.about.is(name, "Image"));
        match (found, self.find("text")) {
            // Texts are read where they are asked for.
            (
                Err(DataError::NoColumn {
                    path, column, found, ..
                }),
                Some(text),
            ) => Err(DataError::NoColumn {
                path,
                key: "text",
                column,
                found,
                nearest: text.to_owned(),
            }),
            (found, _) => found,
        }
    }

    /// A column of texts.
    pub(super) fn text(&self, named: &str) -> Result<&'a str, DataError> {
        self.one("text", Some(named), &[], |_| false)
    }

    /// The column of labels: `label`, or the one whose name ends with it or that Hugging Face's description calls one.
    pub(super) fn label(&self, named: Option<&str>) -> Result<&'a str, DataError> {
        self.one("label", named, &["label"], |name| {
            name.ends_with("_label") || self.about.is(name, "ClassLabel")
        })
    }

    /// The column of owners, where one was named.
    pub(super) fn owner(&self, named: Option<&str>) -> Result<Option<&'a str>, DataError> {
        let column = named.map(|name| self.one("owner", Some(name), &[], |_| false));
        column.transpose()
    }

    /// The column that was named, the first with a usual name, or the only one that could be meant.
    fn one(
        &self,
        key: &'static str,
        named: Option<&str>,
        usual: &[&str],
        could_be: impl Fn(&str) -> bool,
    ) -> Result<&'a str, DataError> {
        if let Some(name) = named {
            return self.find(name).ok_or_else(|| self.missing(key, name));
        }
        if let Some(found) = usual.iter().find_map(|name| self.find(name)) {
            return Ok(found);
        }
        let possible: Vec<&'a str> = self.names.iter().copied().filter(|name| could_be(name)).collect();
        match possible[..] {
            [one] => Ok(one),
            [] => Err(self.missing(key, key)),
            [first, ..] => Err(DataError::Ambiguous {
                path: self.path.to_owned(),
                key,
                found: possible.join(", "),
                first: first.to_owned(),
            }),
        }
    }

    fn find(&self, name: &str) -> Option<&'a str> {
        self.names.iter().copied().find(|found| *found == name)
    }

    fn missing(&self, key: &'static str, column: &str) -> DataError {
        let distance = |name: &&&str| strsim::damerau_levenshtein(column, name);
        DataError::NoColumn {
            path: self.path.to_owned(),
            key,
            column: column.to_owned(),
            found: self.names.join(", "),
            nearest: self.names.iter().min_by_key(distance).unwrap_or(&"").to_string(),
        }
    }
}
