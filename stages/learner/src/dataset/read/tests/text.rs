//! Texts in columns: their windows, whose they are, and what is no text.

use super::{fixed, numbers, open_as, refused};
use crate::dataset::{DataError, Dataset, Values};
use arrow_array::{ArrayRef, LargeStringArray, StringArray};
use fedstill_schemas::data::{Augmentation, Columns, LabelsPer, Shape};
use std::sync::Arc;

fn columns(owner: Option<&str>) -> Columns {
    Columns {
        text: Some("text".to_owned()),
        owner: owner.map(str::to_owned),
        ..Columns::default()
    }
}

/// The same with a label at every position.
fn of_positions(owner: Option<&str>) -> Columns {
    Columns {
        labels_per: LabelsPer::Position,
        ..columns(owner)
    }
}

/// A file of those texts, and who wrote them.
fn read(texts: &[&str], writers: &[&str], owner: Option<&str>) -> Result<Dataset, DataError> {
    read_as(texts, writers, &columns(owner))
}

fn read_as(texts: &[&str], writers: &[&str], columns: &Columns) -> Result<Dataset, DataError> {
    let texts: ArrayRef = Arc::new(StringArray::from(texts.to_vec()));
    let writers: ArrayRef = Arc::new(StringArray::from(writers.to_vec()));
    open_as(vec![("text", texts), ("writer", writers)], &[], columns)
}

/// So many letters of the alphabet, again and again, and their tokens with that of the line's end.
fn alphabet(letters: usize) -> (String, Vec<u8>) {
    let places = || (0..letters).map(|place| (place % 26) as u8);
    let text = places().map(|place| char::from(b'a' + place)).collect();
    let tokens = places().map(|place| 55 + place).chain([3]);
    (text, tokens.collect())
}

#[test]
fn windows_go_through_the_texts_of_an_owner_one_after_the_other() {
    let (long, other) = ("a".repeat(79), "b".repeat(50));
    let texts = [long.as_str(), other.as_str(), "  c\r\nd"];
    let data = read(&texts, &["p", "q", "p"], Some("writer")).unwrap();
    let shape = Shape {
        channels: 1,
        height: 1,
        width: 80,
    };
    assert_eq!((data.shape(), data.classes()), (shape, 82));
    assert_eq!(data.values(), Values::Tokens { vocabulary: 82 });
    // Of p: 79 times a, a space for the end of the line and those that follow it, c, a space, d, a space: 84 characters.
    let (a, space, c, d) = (55, 3, 57, 58);
    assert_eq!(data.labels(), [c, space, d, space]);
    assert_eq!(data.image(0), [&[a; 79][..], &[3]].concat());
    assert_eq!(data.image(3), [&[a; 76][..], &[3, 57, 3, 58]].concat());
    // q has too few for a window, and so has nobody's rows but p's.
    assert_eq!(data.known().owners, [0; 4]);
    // Without owners the rows are one text.
    let one = read(&texts, &["p", "q", "p"], None).unwrap();
    assert_eq!(one.rows(), 80 + 51 + 4 - 80);
    assert!(one.known().owners.is_empty());
    assert_ne!(one.digest(), data.digest());
}

#[test]
fn every_position_is_labelled_by_the_character_after_it_and_every_character_is_a_label_once() {
    let wide = |tokens: &[u8]| tokens.iter().map(|token| u32::from(*token)).collect::<Vec<u32>>();
    // Two windows, one after the other, and a last character that is the label of the last position; or one more after it,
    // which is too few for a window; or one less, so that the second window has no label at its end and is none.
    for (letters, rows) in [(160, 2), (161, 2), (239, 2), (159, 1), (80, 1)] {
        let (text, tokens) = alphabet(letters);
        let data = read_as(&[&text], &["p"], &of_positions(None)).unwrap();
        assert_eq!(data.rows(), rows, "{letters}");
        assert_eq!((data.labels_per(), data.labels_per_row()), (LabelsPer::Position, 80));
        assert_eq!(data.labels().len() as u32, rows * 80);
        for row in 0..rows {
            let start = row as usize * 80;
            assert_eq!(data.image(row), &tokens[start..start + 80]);
            assert_eq!(data.labels_of(row), wide(&tokens[start + 1..=start + 80]));
        }
    }
    let (text, tokens) = alphabet(170);
    let data = read_as(&[&text], &["p"], &of_positions(None)).unwrap();
    assert_eq!(data.labels(), wide(&tokens[1..=160]));
    // A label a window: at every place, the character after the window, which is that of its last position.
    let windows = read(&[&text], &["p"], None).unwrap();
    assert_eq!((windows.rows(), windows.labels_per_row()), (91, 1));
    assert_eq!(windows.image(80), data.image(1));
    assert_eq!(windows.labels_of(80), &data.labels_of(1)[79..]);
    assert_ne!(windows.digest(), data.digest());
    let short = read_as(&[&"x".repeat(79)], &["p"], &of_positions(None)).unwrap_err();
    assert!(short.to_string().contains("longer than 80 characters"), "{short}");
}

#[test]
fn labels_at_every_position_do_not_reach_into_the_text_of_another_owner() {
    let texts = ["a".repeat(100), "b".repeat(81), "a".repeat(70)];
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let data = read_as(&texts, &["p", "q", "p"], &of_positions(Some("writer"))).unwrap();
    // Of p: 100 times a, a space, 70 times a, a space: two windows. Of q one.
    assert_eq!(data.known().owners, [0, 0, 1]);
    assert!(data.known().labels.is_empty(), "no row is of one class");
    assert_eq!(data.labels_of(2), [56; 80]);
    assert!(data.labels_of(1).iter().all(|label| [55, 3].contains(label)));
    // The windows that lie in one text are the rows that they would be one after the other.
    let rows: Vec<u8> = (0..data.rows()).flat_map(|row| data.image(row).to_vec()).collect();
    let apart = Dataset::from_positions(80, 82, 82, rows, data.labels().to_vec());
    assert_eq!((apart.rows(), apart.labels_of(2)), (3, data.labels_of(2)));
    let named = apart.of_columns(&of_positions(Some("writer")), vec![0, 0, 1]);
    assert_eq!(named.digest(), data.digest());
}

#[test]
fn tokens_are_places_in_the_alphabet_after_nothing_and_the_unknown() {
    // As Keras' TextVectorization counts LEAF's alphabet: 0 is for padding, 1 for what is not in it.
    let known = "!\"&'(),-.0123456789:;>?ABCDEFGHIJKLMNOPQRSTUVWXYZ[]abcdefghijklmnopqrstuvwxyz}";
    let text = format!("{known}é$\t");
    let data = read(&[&text], &["p"], None).unwrap();
    let expected: Vec<u8> = (4..82).chain([1, 1]).collect();
    assert_eq!(data.image(0), expected);
    assert_eq!(data.labels(), [1, 3]);
    let large: ArrayRef = Arc::new(LargeStringArray::from(vec![text]));
    let same = open_as(vec![("text", large)], &[], &columns(None)).unwrap();
    assert_eq!(same.digest(), data.digest());
}

#[test]
fn networks_see_tokens_as_they_are() {
    let data = read(&[&"ab".repeat(50)], &["p"], None).unwrap();
    let windows = data.images([1, 0].into_iter(), &burn::tensor::Device::flex());
    assert_eq!(windows.dims(), [2, 1, 1, 80]);
    let values = crate::tensors::values(windows);
    assert_eq!((values[0], values[1], values[80]), (56.0, 55.0, 55.0));
}

#[test]
fn windows_are_images_of_one_row_to_whoever_counts_them() {
    // The windows that overlap in memory are the rows that they would be one after the other.
    let data = read(&[&"abcde".repeat(20)], &["p"], None).unwrap();
    let rows: Vec<u8> = (0..data.rows()).flat_map(|row| data.image(row).to_vec()).collect();
    let apart = Dataset::from_windows(80, 82, 82, rows, data.labels().to_vec());
    assert_eq!(apart.of_columns(&columns(None), Vec::new()).digest(), data.digest());
}

#[test]
fn what_gives_no_windows_is_said() {
    let text = |texts: &[&str], writers: &[&str], owner| read(texts, writers, owner).unwrap_err().to_string();
    let half = "x".repeat(60);
    assert!(text(&[&half, &half], &["p", "q"], Some("writer")).contains("longer than 80 characters"));
    assert!(read(&[&half, &half], &["p", "q"], None).is_ok());
    assert!(text(&["a"], &["p"], Some("author")).contains("no column 'author'"));
    let no_text = open_as(vec![("text", numbers(&[1, 2]))], &[], &columns(None)).unwrap_err();
    assert!(no_text.to_string().contains("'text' is Int64"), "{no_text}");
    let holes: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None]));
    let no_text = open_as(vec![("text", holes)], &[], &columns(None)).unwrap_err();
    assert!(no_text.to_string().contains("row 1 has no 'text'"), "{no_text}");
    let words: ArrayRef = Arc::new(StringArray::from(vec!["a", "b", "c"]));
    let text = refused(vec![("text", words), ("label", numbers(&[0, 1, 2]))], &[]);
    assert!(
        text.contains("no column 'image'") && text.contains("text = \"text\""),
        "{text}"
    );
    let named = open_as(vec![("image", fixed(&super::IMAGES))], &[], &columns(None)).unwrap_err();
    assert!(named.to_string().contains("no column 'text'"), "{named}");
    let images = Columns {
        labels_per: LabelsPer::Position,
        ..Columns::default()
    };
    let images = open_as(
        vec![("image", fixed(&super::IMAGES)), ("label", numbers(&[0, 1, 2]))],
        &[],
        &images,
    );
    let images = images.unwrap_err();
    assert!(
        images.to_string().contains("labels_per = \"position\" is about text"),
        "{images}"
    );
    assert_eq!(images.key(), "labels_per");
}

#[test]
fn text_is_not_augmented() {
    use crate::testing::{adam, architecture, job, labels, run};
    let data = read(&[&"ab".repeat(60)], &["p"], None).unwrap();
    let rows: Vec<u32> = (0..data.rows()).collect();
    let (architecture, settings) = (architecture("charlstm[1]"), adam(1, 8));
    let term = crate::TermData {
        augment: &[Augmentation::Flip],
        ..labels(&data, &rows)
    };
    let refused = run(&job(&architecture, vec![term], &settings)).unwrap_err().to_string();
    assert!(refused.contains("augment must be left out of text"), "{refused}");
}

/// Real plays, where a folder of real data is named.
#[test]
fn real_plays_are_read() {
    let Some(folder) = std::env::var_os("FEDSTILL_DATA") else {
        return;
    };
    let plays = std::path::Path::new(&folder).join("shakespeare_plays/speeches.parquet");
    let data = Dataset::open(&plays, &columns(Some("client"))).unwrap();
    // Counted apart from this code.
    assert_eq!(data.rows(), 4_210_468);
    let owners: std::collections::BTreeSet<u32> = data.known().owners.iter().copied().collect();
    assert_eq!(owners.len(), 1174);
}
