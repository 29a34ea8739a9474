//! Problems of a run file as a person reads them in a terminal: the place, the line with a mark under it, the fix.
//!
//! ```text
//! error: unknown key 'ronds' in the top level
//!  --> quickstart.toml:3:1
//!   |
//! 3 | ronds = 5
//!   | ^^^^^
//!   |
//!   = help: did you mean 'rounds'?
//! ```

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use fedstill_schemas::run_file::Problem;
use std::io::IsTerminal;
use std::path::Path;

/// All problems, one below the other, in the order given; every line ends with a line feed.
pub(crate) fn render(path: &Path, text: &str, problems: &[Problem], colours: bool) -> String {
    let renderer = if colours { Renderer::styled() } else { Renderer::plain() };
    let path = path.display().to_string();
    let source = printable(&without_secrets(text));
    let shown: Vec<String> = problems
        .iter()
        .map(|problem| {
            let start = source.floor_char_boundary(problem.span.start);
            let end = source.ceil_char_boundary(problem.span.end).max(start);
            let snippet = Snippet::source(&source)
                .path(&path)
                .annotation(AnnotationKind::Primary.span(start..end));
            let help = problem.help.as_deref().map(|help| Level::HELP.message(help));
            let report = Level::ERROR
                .primary_title(&problem.message)
                .element(snippet)
                .elements(help);
            renderer.render(&[report]) + "\n"
        })
        .collect();
    shown.join("\n")
}

/// Whether messages on the standard error may be coloured: a person reads them, and has not said no.
pub(crate) fn colours() -> bool {
    std::io::stderr().is_terminal() && colours_wanted()
}

/// Whether nobody has said no to colours (<https://no-color.org>).
pub(crate) fn colours_wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// The text with the same places, and stars for what stands behind the name of a secret on its line.
fn without_secrets(text: &str) -> String {
    const SECRET: [&str; 5] = ["password", "secret", "token", "jaas", ".pem"];
    let mask = |line: &str| {
        // ASCII alone is folded: places stay what they are.
        let names = line.to_ascii_lowercase();
        let named = SECRET.iter().filter_map(|secret| names.find(secret)).min();
        let behind = named.and_then(|at| Some(at + line[at..].find('=')? + 1));
        let Some(behind) = behind else { return line.to_owned() };
        let stars = line[behind..].chars().map(|c| match c {
            '\n' | '\r' | ' ' | '\t' => c.to_string(),
            c => "*".repeat(c.len_utf8()),
        });
        format!("{}{}", &line[..behind], stars.collect::<String>())
    };
    text.split_inclusive('\n').map(mask).collect()
}

/// The text with the same places and nothing in it that a terminal obeys.
fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => printable.push(c),
            '\r' => printable.push(' '),
            c if c.is_control() => printable.extend(std::iter::repeat_n('?', c.len_utf8())),
            c => printable.push(c),
        }
    }
    printable
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str, found: &str) -> Problem {
        let start = text.find(found).unwrap();
        let before = &text[..start];
        Problem {
            message: "unknown key in the top level".to_owned(),
            help: Some("did you mean 'rounds'?".to_owned()),
            span: start..start + found.len(),
            line: before.matches('\n').count() as u32 + 1,
            column: before.chars().rev().take_while(|c| *c != '\n').count() as u32 + 1,
        }
    }

    fn plain(text: &str, problem: &Problem) -> String {
        render(Path::new("a/run.toml"), text, std::slice::from_ref(problem), false)
    }

    #[test]
    fn a_problem_shows_its_place_its_line_and_its_fix() {
        let text = "name = \"a\"\nronds = 5\n";
        let shown = plain(text, &problem(text, "ronds"));
        for part in [
            "unknown key in the top level",
            "a/run.toml:2:1",
            "ronds = 5",
            "| ^^^^^",
            "help: did you mean 'rounds'?",
        ] {
            assert!(shown.contains(part), "{part} is not in\n{shown}");
        }
        assert!(!shown.contains('\u{1b}'));
        let coloured = render(Path::new("a"), text, &[problem(text, "ronds")], true);
        assert!(coloured.contains("\u{1b}["));
    }

    #[test]
    fn the_place_shown_is_the_problem_s() {
        for (text, found) in [
            ("a = 'é' # ü\n b = 'éé', ronds", "ronds"),
            ("\ta\r\n\tronds", "ronds"),
            ("ronds", "ronds"),
        ] {
            let problem = problem(text, found);
            let shown = plain(text, &problem);
            let place = format!("a/run.toml:{}:{}", problem.line, problem.column);
            assert!(shown.contains(&place), "{place} is not in\n{shown}");
        }
    }

    #[test]
    fn what_is_missing_is_shown_at_an_empty_place() {
        for text in ["", "\n", "name = 1"] {
            let shown = plain(text, &problem(text, ""));
            assert!(
                shown.contains("help: did you mean") && shown.contains("run.toml"),
                "{shown}"
            );
        }
    }

    #[test]
    fn a_file_cannot_command_the_terminal() {
        let text = "a = \"\u{1b}[2J\u{9b}2J\" ronds";
        let shown = plain(text, &problem(text, "ronds"));
        assert!(!shown.contains(['\u{1b}', '\u{9b}']), "{shown}");
        assert!(shown.contains(":1:"), "{shown}");
    }

    #[test]
    fn secrets_are_never_shown() {
        for text in [
            "\"sasl.password\" = \"hunter2 !\" ronds",
            "p = { \"SASL.Password\" = \"hunter2\", ronds = 6000 }",
            "\"sasl.oauthbearer.client.secret\"=\"hunter2\" # ronds",
        ] {
            let shown = plain(text, &problem(text, "ronds"));
            assert!(!shown.contains("hunter2") && shown.contains("***"), "{shown}");
            let place = format!(":1:{}", problem(text, "ronds").column);
            assert!(shown.contains(&place), "{place}: {shown}");
        }
        let text = "name = \"a\"\nronds = 5\n";
        assert!(plain(text, &problem(text, "ronds")).contains("ronds = 5"));
    }

    #[test]
    fn a_place_outside_the_text_is_still_told() {
        let mut problem = problem("ronds", "ronds");
        problem.span = 90..95;
        let shown = plain("a", &problem);
        assert!(shown.contains("unknown key in the top level"), "{shown}");
        assert!(shown.contains("did you mean"), "{shown}");
    }
}
