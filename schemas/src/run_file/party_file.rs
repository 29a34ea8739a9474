//! `party.toml`: what a party that runs its own worker keeps to itself.

use super::data::{columns, is_of_texts_and_images};
use super::deployment::{self, Deployment};
use super::fields::party_id;
use super::problem;
use super::problem::Problem;
use super::reader::{Notes, Repeats, Table};
use crate::data::Columns;
use crate::pipeline::Disclosure;
use std::collections::BTreeSet;
use toml::de::DeTable;

/// A party's file that was found valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartyFile {
    /// Its id, as the operator has it.
    pub id: String,
    /// The file with its private key, relative to this one.
    pub key: String,
    /// What it lets others see.
    pub allow: BTreeSet<Disclosure>,
    /// Its private rows, relative to this file.
    pub data: String,
    /// Which of their columns are read, and which rows by their labels.
    pub columns: Columns,
    /// Where its weights lie, but for those of runs that disclose them: a store that nobody else reads.
    pub store: String,
    /// The log and the shared store.
    pub deployment: Deployment,
}

impl PartyFile {
    /// Reads a file.
    ///
    /// # Errors
    /// The problems found, in the order of the text.
    pub fn parse(text: &str) -> Result<Self, Vec<Problem>> {
        let document = DeTable::parse(text).map_err(|error| vec![problem::of_syntax(text, &error)])?;
        let notes = Notes::new(text);
        let mut top = Table::top(document.get_ref(), &notes);
        let id = top.required("id", "id = \"hospital-a\"", party_id);
        let key = top.required("key", "key = \"party.key\"", |value| {
            value.text("the file of the private key").map(str::to_owned)
        });
        let words = Disclosure::ALL.map(|what| (what.name(), what));
        let allow = top.required(
            "allow",
            "allow = [\"predictions\", \"consensus\", \"reports\"]",
            |value| {
                value.list(Repeats::Refused, |item| {
                    item.one_of("something that a pipeline discloses", &words)
                })
            },
        );
        let own = top.required("own", "a table [own] with keys data and store", |value| {
            let mut table = value.table()?;
            let data = table.required("data", "data = \"rows.parquet\"", |value| {
                value.text("a Parquet file").map(str::to_owned)
            });
            let store = table.required("store", "store = \"file:///var/lib/fedstill\"", |value| {
                value.text("a URL").map(str::to_owned)
            });
            let columns = columns(&mut table);
            table.finish();
            if is_of_texts_and_images(value, &columns, &[]) {
                return None;
            }
            Some((data?, columns, store?))
        });
        let deployment = deployment::log_and_store(&mut top);
        top.finish();
        let problems = notes.into_problems();
        match (id, key, allow, own) {
            (Some(id), Some(key), Some(allow), Some((data, columns, store))) if problems.is_empty() => Ok(Self {
                id,
                key,
                allow: allow.into_iter().collect(),
                data,
                columns,
                store,
                deployment,
            }),
            _ => Err(problems),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "
        id = \"hospital-a\"
        key = \"party.key\"
        allow = [\"predictions\", \"consensus\"]
        [own]
        data = \"rows.parquet\"
        store = \"file:///own\"
        [log]
        brokers = \"kafka:9092\"
        [store]
        url = \"s3://bucket/fedstill\"
    ";

    #[test]
    fn a_party_says_who_it_is_and_what_it_allows() {
        let file = PartyFile::parse(FILE).unwrap();
        assert_eq!(file.id, "hospital-a");
        assert_eq!(
            file.allow,
            BTreeSet::from([Disclosure::Predictions, Disclosure::Consensus])
        );
        assert_eq!(file.deployment.store.as_deref(), Some("s3://bucket/fedstill"));
        assert!(file.columns.is_default());
        let file = FILE.replace("[own]", "[own]\nlabel = \"fine_label\"");
        let columns = PartyFile::parse(&file).unwrap().columns;
        assert_eq!(columns.label.as_deref(), Some("fine_label"));
        let file = FILE.replace("[own]", "[own]\nclasses = [[1, 0], 2]");
        let columns = PartyFile::parse(&file).unwrap().columns;
        assert_eq!(columns.classes, [vec![0, 1], vec![2]]);
        let file = FILE.replace("[own]", "[own]\ntext = \"text\"\nlabels_per = \"position\"");
        let columns = PartyFile::parse(&file).unwrap().columns;
        assert_eq!(columns.labels_per, crate::data::LabelsPer::Position);
    }

    #[test]
    fn a_slip_of_the_pen_is_one_problem_with_its_fix() {
        for (from, to, help) in [
            ("\"consensus\"", "\"consenus\"", "consensus"),
            ("allow", "alow", "allow"),
            ("hospital-a", "Hospital A", "hospital-a"),
            ("data = \"rows.parquet\"", "", "add data"),
            ("[own]", "[own]\nclasses = [0, 0]", "a label becomes one class"),
            ("[own]", "[own]\nclasses = 26", "write classes = [0, 2, 20]"),
            (
                "[own]",
                "[own]\ntext = \"text\"\nclasses = [0, 1]",
                "remove one of the two",
            ),
        ] {
            let problems = PartyFile::parse(&FILE.replacen(from, to, 1)).unwrap_err();
            assert_eq!(problems.len(), 1, "{problems:?}");
            assert!(problems[0].help.as_ref().unwrap().contains(help), "{problems:?}");
        }
    }
}
