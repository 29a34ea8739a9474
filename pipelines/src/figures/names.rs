//! What lines and pictures are called where room is short. Pure: run names and pipelines in, text out.

use std::collections::BTreeSet;

/// The letters of a label and of a title; what is longer is cut. Labels have more where they would be alike.
pub(super) const LONGEST: usize = 32;
const LONGEST_TITLE: usize = 74;
/// The letters of a label that its run name may have, however long its pipeline is.
const LEAST: usize = 10;
/// Stands for what is left out.
const LEFT_OUT: &str = "..";

/// A label a line, each of a run name and a pipeline, in the same order: the pipeline, and with several run names
/// `name/pipeline`. Where one of them is longer than [`LONGEST`], all leave out the words that the run names begin and end
/// with alike; a run name that is still too long loses its middle, so that the pipeline stays. Different lines have different
/// labels: where they would not, all labels have as many letters more as that takes.
pub(super) fn labels(lines: &[(&str, &str)]) -> Vec<String> {
    let different = lines.iter().collect::<BTreeSet<_>>().len();
    let are_apart = |labels: &[String]| labels.iter().collect::<BTreeSet<_>>().len() == different;
    let whole = lines.iter().map(letters).max().unwrap_or(0);
    let mut labels = labels_by(lines, LONGEST);
    for room in LONGEST + 1..=whole {
        if are_apart(&labels) {
            break;
        }
        labels = labels_by(lines, room);
    }
    labels
}

/// The same by so many letters a label, whether they differ or not. By as many as the longest line has, all are whole.
fn labels_by(lines: &[(&str, &str)], room: usize) -> Vec<String> {
    let names: BTreeSet<&str> = lines.iter().map(|(name, _)| *name).collect();
    if names.len() < 2 {
        return lines.iter().map(|(_, pipeline)| cut(pipeline, room)).collect();
    }
    let is_long = lines.iter().any(|line| letters(line) > room);
    let (start, end) = if is_long { alike(&names) } else { (0, 0) };
    let before = if start > 0 { LEFT_OUT } else { "" };
    let after = if end > 0 { LEFT_OUT } else { "" };
    let label = |(name, pipeline): &(&str, &str)| {
        let own = format!("{before}{}{after}", &name[start..name.len() - end]);
        let pipeline = cut(pipeline, room - 1 - own.chars().count().min(LEAST));
        let left = room - 1 - pipeline.chars().count();
        format!("{}/{pipeline}", cut(&own, left))
    };
    lines.iter().map(label).collect()
}

/// The letters of `name/pipeline`.
fn letters((name, pipeline): &(&str, &str)) -> usize {
    name.chars().count() + 1 + pipeline.chars().count()
}

/// The run names, as many as there is room for, and how many more there are. The first one is cut where not even that has
/// room.
pub(super) fn title(names: &[&str]) -> String {
    let others = |shown: usize| match names.len() - shown {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let of = |shown: usize| format!("{}{}", names[..shown].join(", "), others(shown));
    let mut titles = (1..=names.len()).rev().map(of);
    let fits = titles.find(|title| title.chars().count() <= LONGEST_TITLE);
    fits.unwrap_or_else(|| {
        names.first().map_or_else(String::new, |name| {
            let others = others(1);
            format!("{}{others}", cut(name, LONGEST_TITLE - others.chars().count()))
        })
    })
}

/// How many bytes all names begin and end with alike, by whole words; 0 of what is hardly longer than what stands for it.
fn alike(names: &BTreeSet<&str>) -> (usize, usize) {
    // They are sorted: what the first and the last begin with, all do.
    let (Some(first), Some(last)) = (names.first(), names.last()) else {
        return (0, 0);
    };
    let head = &first.as_bytes()[..same(first.bytes(), last.bytes())];
    let start = head.iter().rposition(|byte| *byte == b'-').map_or(0, |at| at + 1);
    let ends = names.iter().map(|name| same(first.bytes().rev(), name.bytes().rev()));
    let tail = &first.as_bytes()[first.len() - ends.min().unwrap_or(0)..];
    let end = tail
        .iter()
        .position(|byte| *byte == b'-')
        .map_or(0, |at| tail.len() - at);
    // Of `a-b` and `a-b-b` no part is left out twice.
    let shortest = names.iter().map(|name| name.len()).min().unwrap_or(0);
    let worth = |bytes: usize| if bytes > 2 * LEFT_OUT.len() { bytes } else { 0 };
    let start = worth(start);
    (start, if start + end <= shortest { worth(end) } else { 0 })
}

/// How many bytes both begin with.
fn same(one: impl Iterator<Item = u8>, other: impl Iterator<Item = u8>) -> usize {
    one.zip(other).take_while(|(one, other)| one == other).count()
}

/// The text by so many letters: without its middle, where it has more.
fn cut(text: &str, room: usize) -> String {
    let letters = text.chars().count();
    if letters <= room {
        return text.to_owned();
    }
    let kept = room.saturating_sub(LEFT_OUT.len());
    let end = kept.div_ceil(2);
    let start: String = text.chars().take(kept - end).collect();
    let end: String = text.chars().skip(letters - end).collect();
    format!("{start}{LEFT_OUT}{end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_run_name_is_not_repeated_and_short_labels_stay_whole() {
        assert_eq!(labels(&[("quick", "fedmd"), ("quick", "feddf")]), ["fedmd", "feddf"]);
        assert_eq!(
            labels(&[("alpha-1", "fedmd"), ("alpha-100", "fedmd_standalone")]),
            ["alpha-1/fedmd", "alpha-100/fedmd_standalone"]
        );
        assert!(labels(&[]).is_empty());
    }

    #[test]
    fn long_labels_leave_out_what_the_run_names_begin_and_end_with_alike_and_stay_apart() {
        let mut lines = Vec::new();
        for name in ["a0p1-lr0p1", "a0p1-lr0p01", "a100-lr0p1", "a100-lr0p01"] {
            for pipeline in ["fedmd", "feddf", "standalone", "fedmd_standalone"] {
                lines.push((format!("t-partition-{name}-kind-dirichlet"), pipeline));
            }
        }
        let lines: Vec<(&str, &str)> = lines.iter().map(|(name, pipeline)| (&name[..], *pipeline)).collect();
        let labels = labels(&lines);
        assert_eq!(labels[0], "..a0p1-lr0p1../fedmd");
        for (label, (_, pipeline)) in labels.iter().zip(&lines) {
            assert!(label.ends_with(&format!("/{pipeline}")), "{label}");
            assert!(label.chars().count() <= LONGEST, "{label}");
        }
        assert_eq!(labels.iter().collect::<BTreeSet<_>>().len(), 16, "{labels:?}");
    }

    #[test]
    fn labels_that_would_be_alike_are_longer_until_they_differ() {
        let mut lines = Vec::new();
        for alpha in ["0p1", "1"] {
            for active in ["0p5", "1"] {
                for epochs in [5, 20] {
                    for pipeline in ["fedmd", "fedmd_standalone"] {
                        let name = format!("mnist-alpha{alpha}-active{active}-epochs{epochs}");
                        lines.push((name, pipeline));
                    }
                }
            }
        }
        let lines: Vec<(&str, &str)> = lines.iter().map(|(name, pipeline)| (&name[..], *pipeline)).collect();
        let apart = |labels: Vec<String>| labels.into_iter().collect::<BTreeSet<_>>().len();
        assert!(apart(labels_by(&lines, LONGEST)) < lines.len());
        let labels = labels(&lines);
        for (label, (_, pipeline)) in labels.iter().zip(&lines) {
            assert!(label.ends_with(&format!("/{pipeline}")), "{label}");
        }
        let longest = labels.iter().map(|label| label.chars().count()).max().unwrap();
        assert!(
            apart(labels_by(&lines, longest - 1)) < lines.len(),
            "no longer than they must be: {labels:?}"
        );
        assert_eq!(apart(labels), lines.len());

        // Pipelines of one's own, of one run name and of several.
        let long = [
            "a_pipeline_of_ones_own_one_of_a_kind_and_long",
            "a_pipeline_of_ones_own_two_of_a_kind_and_long",
        ];
        for names in [&["quick"][..], &["quick", "slow"][..]] {
            let lines: Vec<(&str, &str)> = names
                .iter()
                .flat_map(|name| long.map(|pipeline| (*name, pipeline)))
                .collect();
            assert!(apart(labels_by(&lines, LONGEST)) < lines.len(), "{names:?}");
            assert_eq!(apart(super::labels(&lines)), lines.len(), "{names:?}");
        }
        // Who asks for a line twice has its label twice.
        assert_eq!(
            super::labels(&[("quick", "fedmd"), ("quick", "fedmd")]),
            ["fedmd", "fedmd"]
        );
    }

    #[test]
    fn what_names_share_is_left_out_once_and_only_where_it_is_worth_it() {
        let alike = |names: &[&str]| super::alike(&names.iter().copied().collect());
        assert_eq!(alike(&["word-a1-other", "word-a2-other"]), (5, 6));
        assert_eq!(alike(&["t-a1-b", "t-a2-b"]), (0, 0));
        assert_eq!(alike(&["alpha1", "alpha100"]), (0, 0));
        assert_eq!(alike(&["words-words", "words-words-words"]), (6, 0));
    }

    #[test]
    fn a_run_name_that_is_too_long_loses_its_middle_and_the_pipeline_stays() {
        let lines = [
            ("first-of-the-names-that-are-very-long", "fedmd"),
            ("second", "a_pipeline_of_ones_own_with_a_name"),
        ];
        let labels = labels(&lines);
        assert_eq!(labels[0], "first-of-the..re-very-long/fedmd");
        assert!(labels[1].starts_with("second/a_pipeline"), "{}", labels[1]);
        assert!(labels[1].ends_with("a_name"), "{}", labels[1]);
        let one = super::labels(&[("quick", "a_pipeline_of_ones_own_with_a_name")]);
        assert_eq!(one[0], "a_pipeline_of_o..own_with_a_name");
    }

    #[test]
    fn a_title_has_whole_run_names_and_says_how_many_more_there_are() {
        assert_eq!(title(&["alpha-1", "alpha-100"]), "alpha-1, alpha-100");
        let names: Vec<String> = (0..16)
            .map(|at| format!("t-partition-alpha{at}-kind-dirichlet"))
            .collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert_eq!(title(&names), "t-partition-alpha0-kind-dirichlet and 15 more");
        let longest = "x".repeat(60);
        assert_eq!(title(&[longest.as_str(), "y", "z"]), format!("{longest}, y, z"));
        assert_eq!(
            title(&[longest.as_str(), "a-name-of-some-length"]),
            format!("{longest} and 1 more")
        );
        assert_eq!(title(&["x".repeat(200).as_str()]).chars().count(), LONGEST_TITLE);
        let cut = title(&["x".repeat(200).as_str(), "y"]);
        assert_eq!(cut.chars().count(), LONGEST_TITLE);
        assert!(cut.starts_with("xxx") && cut.ends_with("xxx and 1 more"), "{cut}");
        assert_eq!(title(&[]), "");
    }
}
