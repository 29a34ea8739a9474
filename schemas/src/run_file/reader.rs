//! Cursors over a parsed TOML document: they hand out typed values and note what is wrong, with its place.
//!
//! A reading function returns `None` where something was wrong or absent; what was wrong is in the [`Notes`]. Names
//! that a table does not know are noted by [`Table::finish`], together with the required ones it lacks, so that a
//! slip of the pen in a required key is one problem and not two.

use super::places::Places;
use super::problem::Problem;
use super::spelling::{nearest, quoted, shortened, suggestion};
use std::cell::RefCell;
use std::ops::Range;
use toml::de::{DeTable, DeValue};

/// What was learned while reading: places and problems.
#[derive(Debug)]
pub(super) struct Notes {
    places: RefCell<Places>,
    problems: RefCell<Vec<Problem>>,
    strays: RefCell<Vec<Stray>>,
}

impl Notes {
    /// Nothing yet.
    pub(super) fn new(text: &str) -> Self {
        Self {
            places: RefCell::new(Places::new(text)),
            problems: RefCell::default(),
            strays: RefCell::default(),
        }
    }

    /// The places of all values read so far.
    pub(super) fn places(&self) -> Places {
        self.places.borrow().clone()
    }

    /// The problems in the order of the text.
    pub(super) fn into_problems(self) -> Vec<Problem> {
        let mut problems = self.problems.into_inner();
        problems.sort_by_key(|problem| problem.span.start);
        problems
    }

    fn problem(&self, span: Range<usize>, message: String, help: String) {
        let problem = self.places.borrow().problem(span, message, Some(help));
        self.problems.borrow_mut().push(problem);
    }
}

/// A key of a table that nothing in the table is near to: it may belong to the top level, which is finished last.
#[derive(Debug)]
struct Stray {
    key: String,
    span: Range<usize>,
    message: String,
    help: String,
}

/// A table that is being read.
#[derive(Debug)]
pub(super) struct Table<'t> {
    notes: &'t Notes,
    path: String,
    within: String,
    span: Range<usize>,
    entries: &'t DeTable<'t>,
    known: Vec<&'static str>,
    missing: Vec<(&'static str, &'static str)>,
}

impl<'t> Table<'t> {
    /// The document itself.
    pub(super) fn top(entries: &'t DeTable<'t>, notes: &'t Notes) -> Self {
        Self {
            notes,
            path: String::new(),
            within: "the top level".to_owned(),
            span: 0..0,
            entries,
            known: Vec::new(),
            missing: Vec::new(),
        }
    }

    /// Reads a key that may be absent. `hint` is a valid line of the file that has it.
    pub(super) fn optional<T>(
        &mut self,
        key: &'static str,
        hint: &'static str,
        read: impl FnOnce(&Value<'t>) -> Option<T>,
    ) -> Option<T> {
        self.known.push(key);
        let value = self.entries.get(key)?;
        read(&self.value(key, hint, value))
    }

    /// Reads a key that must be there.
    pub(super) fn required<T>(
        &mut self,
        key: &'static str,
        hint: &'static str,
        read: impl FnOnce(&Value<'t>) -> Option<T>,
    ) -> Option<T> {
        if self.entries.get(key).is_none() {
            self.missing.push((key, hint));
        }
        self.optional(key, hint, read)
    }

    /// Knows these keys too, without reading them.
    pub(super) fn allow(&mut self, keys: &[&'static str]) {
        self.known.extend(keys);
    }

    /// Says more about where this table's keys are valid, in messages.
    pub(super) fn specify(&mut self, what: &str) {
        self.within = format!("{} {what}", self.within);
    }

    /// Every entry of a table whose keys are names of the file's own: name, place of the name, value.
    pub(super) fn named(&self, hint: &'static str) -> Vec<(&'t str, Range<usize>, Value<'t>)> {
        self.entries
            .iter()
            .map(|(key, value)| {
                let name: &str = key.get_ref();
                (name, key.span(), self.value(name, hint, value))
            })
            .collect()
    }

    /// Notes unknown keys, and required ones that are missing and not just misspelt or misplaced. The document itself
    /// is finished after all other tables.
    pub(super) fn finish(self) {
        let is_document = self.path.is_empty();
        let mut meant = Vec::new();
        if is_document {
            for stray in self.notes.strays.take() {
                let known = self.known.iter().find(|name| **name == stray.key);
                let help = known.map_or(stray.help, |name| {
                    meant.push(*name);
                    format!("'{name}' belongs at the top of the file, above the first [table]")
                });
                self.notes.problem(stray.span, stray.message, help);
            }
        }
        for (key, _) in self.entries {
            let written: &str = key.get_ref();
            if self.known.contains(&written) {
                continue;
            }
            let message = format!("unknown key {} in {}", quoted(written), self.within);
            // A key that the table already has is not what was meant.
            let absent = self.known.iter().filter(|name| self.entries.get(**name).is_none());
            if let Some(name) = nearest(written, absent.copied()) {
                meant.push(name);
                self.notes
                    .problem(key.span(), message, format!("did you mean '{name}'?"));
                continue;
            }
            let help = suggestion(written, "valid keys here", &self.known);
            if is_document {
                self.notes.problem(key.span(), message, help);
            } else {
                self.notes.strays.borrow_mut().push(Stray {
                    key: written.to_owned(),
                    span: key.span(),
                    message,
                    help,
                });
            }
        }
        for (key, hint) in self.missing {
            if !meant.contains(&key) {
                let message = format!("'{key}' is missing in {}", self.within);
                self.notes.problem(self.span.clone(), message, format!("add {hint}"));
            }
        }
    }

    fn value(&self, key: &str, hint: &'static str, value: &'t toml::Spanned<DeValue<'t>>) -> Value<'t> {
        let path = match self.path.as_str() {
            "" => key.to_owned(),
            path => format!("{path}.{key}"),
        };
        Value::new(self.notes, path, hint, value)
    }
}

/// A value that is being read.
#[derive(Debug)]
pub(super) struct Value<'t> {
    notes: &'t Notes,
    path: String,
    hint: &'static str,
    span: Range<usize>,
    content: &'t DeValue<'t>,
}

impl<'t> Value<'t> {
    fn new(notes: &'t Notes, path: String, hint: &'static str, value: &'t toml::Spanned<DeValue<'t>>) -> Self {
        notes.places.borrow_mut().put(path.clone(), value.span());
        Self {
            notes,
            path,
            hint,
            span: value.span(),
            content: value.get_ref(),
        }
    }

    /// Notes a problem with this value.
    pub(super) fn refuse(&self, message: impl Into<String>, help: impl Into<String>) {
        self.notes.problem(self.span.clone(), message.into(), help.into());
    }

    /// Notes a problem at another place.
    pub(super) fn refuse_at(&self, span: Range<usize>, message: impl Into<String>, help: impl Into<String>) {
        self.notes.problem(span, message.into(), help.into());
    }

    /// Notes that this value is not what is expected; the hint is the fix.
    pub(super) fn expect(&self, expected: &str) {
        self.expect_as(expected, self.hint);
    }

    /// The same with another line that is valid.
    pub(super) fn expect_as(&self, expected: &str, hint: &str) {
        // Whatever stands among librdkafka's properties may be a secret.
        let found = if self.path.contains("log.properties") {
            "something else".to_owned()
        } else {
            describe(self.content)
        };
        self.refuse(
            format!("'{}' is {found}, but {expected} is expected", self.path),
            format!("write {hint}"),
        );
    }

    /// The dotted key.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// Whether this is that truth value.
    pub(super) fn is(&self, truth: bool) -> bool {
        self.content.as_bool() == Some(truth)
    }

    /// A truth value.
    pub(super) fn truth(&self) -> Option<bool> {
        let truth = self.content.as_bool();
        if truth.is_none() {
            self.expect("true or false");
        }
        truth
    }

    /// Whether this is a table.
    pub(super) fn is_table(&self) -> bool {
        self.content.is_table()
    }

    /// Whether this is a list.
    pub(super) fn is_list(&self) -> bool {
        self.content.is_array()
    }

    /// Whether this is a table with a list at that key.
    pub(super) fn has_list(&self, key: &str) -> bool {
        let found = self.content.as_table().and_then(|table| table.get(key));
        found.is_some_and(|value| value.get_ref().is_array())
    }

    /// Whether this is a table with that key.
    pub(super) fn has(&self, key: &str) -> bool {
        self.content.as_table().is_some_and(|table| table.contains_key(key))
    }

    /// A text.
    pub(super) fn text(&self, expected: &str) -> Option<&'t str> {
        if let DeValue::String(text) = self.content {
            return Some(text);
        }
        self.expect(expected);
        None
    }

    /// A whole number of at least `least`.
    pub(super) fn whole(&self, least: u64, most: u64) -> Option<u64> {
        let DeValue::Integer(integer) = self.content else {
            self.expect("a whole number");
            return None;
        };
        // What does not fit 128 bits is out of range by its sign.
        let number = i128::from_str_radix(integer.as_str(), integer.radix()).ok();
        let negative = integer.as_str().starts_with('-');
        match number.and_then(|number| u64::try_from(number).ok()) {
            Some(number) if (least..=most).contains(&number) => return Some(number),
            Some(number) if number < least => self.expect(&format!("a whole number of at least {least}")),
            None if negative => self.expect(&format!("a whole number of at least {least}")),
            _ => self.expect(&format!("a whole number of at most {most}")),
        }
        None
    }

    /// A whole number of 32 bits.
    pub(super) fn count(&self, least: u32) -> Option<u32> {
        let number = self.whole(least.into(), u32::MAX.into())?;
        u32::try_from(number).ok()
    }

    /// A number, whole or not, that is `valid`.
    pub(super) fn number(&self, expected: &str, valid: impl FnOnce(f64) -> bool) -> Option<f64> {
        let number = match self.content {
            DeValue::Float(float) => float.as_str().parse().ok(),
            DeValue::Integer(integer) => i128::from_str_radix(integer.as_str(), integer.radix())
                .ok()
                .map(|number| number as f64),
            _ => None,
        };
        let number = number.filter(|number: &f64| valid(*number));
        if number.is_none() {
            self.expect(expected);
        }
        number
    }

    /// A finite number above 0.
    pub(super) fn positive(&self) -> Option<f64> {
        self.number("a number above 0", |number| number > 0.0 && number.is_finite())
    }

    /// A finite number of at least 0.
    pub(super) fn not_negative(&self) -> Option<f64> {
        self.number("a number of at least 0", |number| number >= 0.0 && number.is_finite())
    }

    /// A table.
    pub(super) fn table(&self) -> Option<Table<'t>> {
        let DeValue::Table(entries) = self.content else {
            self.expect("a table");
            return None;
        };
        Some(Table {
            notes: self.notes,
            path: self.path.clone(),
            within: self.path.clone(),
            span: self.span.clone(),
            entries,
            known: Vec::new(),
            missing: Vec::new(),
        })
    }

    /// The items of a list, for who reads them later; none of what is no list.
    pub(super) fn unread(&self) -> &'t [toml::Spanned<DeValue<'t>>] {
        match self.content {
            DeValue::Array(items) => items,
            _ => &[],
        }
    }

    /// A list, each item read by `read`; `None` where one of them is wrong or occurs twice.
    pub(super) fn list<T: PartialEq>(
        &self,
        repeats: Repeats,
        read: impl Fn(&Value<'t>) -> Option<T>,
    ) -> Option<Vec<T>> {
        let DeValue::Array(items) = self.content else {
            self.expect("a list");
            return None;
        };
        let mut list = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let path = format!("{}[{index}]", self.path);
            let item = Value::new(self.notes, path, self.hint, item);
            let Some(read) = read(&item) else { continue };
            if repeats == Repeats::Refused && list.contains(&read) {
                let found = describe(item.content);
                item.refuse(format!("'{}' lists {found} twice", self.path), "remove one of the two");
            }
            list.push(read);
        }
        (list.len() == items.len()).then_some(list)
    }

    /// One of a few words.
    pub(super) fn one_of<T: Clone>(&self, what: &str, words: &[(&'static str, T)]) -> Option<T> {
        let written = self.text(what)?;
        if let Some((_, meaning)) = words.iter().find(|(word, _)| *word == written) {
            return Some(meaning.clone());
        }
        let valid: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        self.refuse(
            format!("'{}' is {}, which is not {what}", self.path, quoted(written)),
            suggestion(written, "valid", &valid),
        );
        None
    }
}

/// Whether a list may have an item twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeats {
    Allowed,
    Refused,
}

/// A value in words, for "is .., but .. is expected".
fn describe(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("the text {}", quoted(text)),
        DeValue::Integer(number) => shortened(&number.to_string()),
        DeValue::Float(number) => shortened(number.as_str()),
        DeValue::Boolean(truth) => truth.to_string(),
        DeValue::Datetime(_) => "a date".to_owned(),
        DeValue::Array(items) if items.is_empty() => "an empty list".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}
