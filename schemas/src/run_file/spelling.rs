//! Which valid name was meant by one that is not, and how names and paths are shown.

/// The valid name nearest to what was written, if one is near enough to be a slip of the pen.
pub fn nearest<'a>(written: &str, valid: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let written = written.to_lowercase();
    let length = written.chars().count();
    valid
        .into_iter()
        .filter_map(|name| {
            let slack = name.chars().count().div_ceil(3);
            // Not measured where it must exceed the slack: it costs the product of both lengths.
            let measured = name.chars().count().abs_diff(length) <= slack;
            let distance = measured.then(|| strsim::damerau_levenshtein(&written, name))?;
            (distance <= slack).then_some((distance, name))
        })
        .min()
        .map(|(_, name)| name)
}

/// The fix for a name that is not valid: the one that was meant, or all there are.
pub fn suggestion(written: &str, what: &str, valid: &[&str]) -> String {
    match nearest(written, valid.iter().copied()) {
        Some(name) => format!("did you mean '{name}'?"),
        None if valid.is_empty() => format!("there are no {what}"),
        None => format!("{what}: {}", valid.join(", ")),
    }
}

/// So many parties.
pub(super) fn parties(count: u32) -> String {
    match count {
        1 => "1 party".to_owned(),
        _ => format!("{count} parties"),
    }
}

/// A text of the file in quotes.
pub fn quoted(text: &str) -> String {
    format!("'{}'", shortened(text))
}

/// A text of the file, cut where it is long, control characters escaped.
pub(super) fn shortened(text: &str) -> String {
    const LONGEST: usize = 60;
    let mut short: String = text.chars().take(LONGEST).flat_map(char::escape_debug).collect();
    if text.chars().nth(LONGEST).is_some() {
        short.push_str("..");
    }
    short
}

/// One word of a POSIX shell: the text itself, in quotes where a shell would read it otherwise.
pub fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "/._-+=:,@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    let mut quoted = String::from("\"");
    for c in text.chars() {
        if matches!(c, '"' | '\\' | '$' | '`') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognised_and_other_words_are_not() {
        let valid = ["rounds", "seeds", "pipeline", "baselines"];
        assert_eq!(nearest("ronds", valid), Some("rounds"));
        assert_eq!(nearest("ruonds", valid), Some("rounds"));
        assert_eq!(nearest("Pipelines", valid), Some("pipeline"));
        assert_eq!(nearest("alfa", ["alpha", "min"]), Some("alpha"));
        assert_eq!(nearest("uri", ["rows", "url"]), Some("url"));
        assert_eq!(nearest("colour", valid), None);
        assert_eq!(nearest("", valid), None);
        assert_eq!(nearest("vit", ["lenet", "cnn", "mlp"]), None);
        assert_eq!(nearest(&"x".repeat(1_000_000), valid), None);
    }

    #[test]
    fn a_word_of_a_shell_is_in_quotes_where_it_must_be() {
        for plain in ["runs/a-1.toml", "../täglich/a_b.toml", "0.5"] {
            assert_eq!(shell_word(plain), plain);
        }
        for (text, word) in [
            ("my runs/a.toml", "\"my runs/a.toml\""),
            ("it's", "\"it's\""),
            ("a\"b$c`d\\e", "\"a\\\"b\\$c\\`d\\\\e\""),
            ("*.toml", "\"*.toml\""),
            ("", "\"\""),
        ] {
            assert_eq!(shell_word(text), word);
        }
    }

    #[test]
    fn long_and_unprintable_texts_are_shown_short_and_safe() {
        assert_eq!(quoted("a\u{1b}[1m\n"), "'a\\u{1b}[1m\\n'");
        assert_eq!(quoted(&"é".repeat(61)), format!("'{}..'", "é".repeat(60)));
    }
}
