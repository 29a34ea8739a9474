//! Image files in columns: plain or as Hugging Face has them, alike or not.

use super::{good, named, numbers, open_as, refused};
use crate::testing::{jpeg_file, png_file, webp_file};
use arrow_array::{Array, ArrayRef, BinaryArray, LargeBinaryArray, StringArray, StructArray};
use arrow_schema::{DataType, Field};
use fedstill_schemas::data::Shape;
use std::sync::Arc;

const GREY: [[u8; 4]; 3] = [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 255]];

fn grey_files() -> Vec<Vec<u8>> {
    GREY.iter().map(|image| png_file(2, 2, 1, image)).collect()
}

fn binary(files: &[Vec<u8>]) -> ArrayRef {
    Arc::new(BinaryArray::from_iter_values(files))
}

/// Hugging Face's struct `{bytes, path}`.
fn with_paths(bytes: ArrayRef) -> ArrayRef {
    let paths: ArrayRef = Arc::new(StringArray::from(vec![None::<&str>; bytes.len()]));
    let field = |name, values: &ArrayRef| Arc::new(Field::new(name, values.data_type().clone(), true));
    Arc::new(StructArray::from(vec![
        (field("bytes", &bytes), bytes),
        (field("path", &paths), paths),
    ]))
}

#[test]
fn decoded_rows_are_those_of_raw_bytes() {
    let files = grey_files();
    let raw = good(binary(&GREY.map(|image| image.to_vec())), &[("shape", "1,2,2")]);
    let large: ArrayRef = Arc::new(LargeBinaryArray::from_iter_values(&files));
    for images in [binary(&files), with_paths(binary(&files)), with_paths(large)] {
        let abouts: [&[(&str, &str)]; 3] = [&[], &[("encoding", "png")], &[("shape", "1,2,2")]];
        for about in abouts {
            let data = good(Arc::clone(&images), about);
            assert_eq!((data.shape(), data.image(1)), (raw.shape(), &GREY[1][..]));
            assert_eq!(data.digest(), raw.digest());
        }
    }
}

#[test]
fn formats_may_be_mixed_and_grey_be_among_colour() {
    let flat = |value: u8| [value; 12];
    let files = [
        webp_file(2, 2, 3, &flat(10)),
        png_file(2, 2, 1, &flat(20)[..4]),
        jpeg_file(2, 2, 3, &flat(30)),
    ];
    let data = good(binary(&files), &[]);
    let shape = Shape {
        channels: 3,
        height: 2,
        width: 2,
    };
    assert_eq!(data.shape(), shape);
    assert_eq!((data.image(0), data.image(1)), (&flat(10)[..], &flat(20)[..]));
    assert!(data.image(2).iter().all(|value| value.abs_diff(30) <= 2));
    // The first row says grey, and the metadata may say otherwise.
    let files = [&files[1..2], &grey_files()[..2]].concat();
    assert_eq!(good(binary(&files), &[]).shape(), Shape { channels: 1, ..shape });
    assert_eq!(good(binary(&files), &[("shape", "3,2,2")]).shape(), shape);
}

#[test]
fn rows_that_are_unlike_the_others_or_broken_are_named() {
    let with = |files: &[Vec<u8>], about: &[(&str, &str)]| {
        refused(vec![("image", binary(files)), ("label", numbers(&[0, 1, 2]))], about)
    };
    let mut files = grey_files();
    files[2] = png_file(3, 2, 1, &[0; 6]);
    let text = with(&files, &[]);
    assert!(
        text.contains("row 2 has 2 x 3 pixels") && text.contains("images of 2 x 2"),
        "{text}"
    );
    assert!(with(&grey_files(), &[("shape", "1,4,4")]).contains("row 0 has 2 x 2 pixels"));
    assert!(with(&grey_files(), &[("shape", "2,2,2")]).contains("write 1 or 3"));
    files[2] = png_file(2, 2, 3, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    assert!(with(&files, &[]).contains("row 2 has colours"));
    let half = files[1].len() / 2;
    files[1].truncate(half);
    assert!(with(&files, &[]).contains("row 1 cannot be decoded"));
    files[1] = b"nothing".to_vec();
    assert!(with(&files, &[]).contains("row 1 cannot be decoded: it is no PNG"));
}

#[test]
fn a_row_with_a_path_alone_is_named() {
    let files = grey_files();
    let bytes: ArrayRef = Arc::new(BinaryArray::from(vec![Some(&files[0][..]), None, Some(&files[2][..])]));
    let text = refused(
        vec![("img", with_paths(bytes)), ("label", numbers(&[0, 1, 2]))],
        &[("huggingface", r#"{"info": {"features": {"img": {"_type": "Image"}}}}"#)],
    );
    assert!(text.contains("row 1 has no 'img'"), "{text}");
}

#[test]
fn a_struct_of_something_else_is_refused() {
    let words: ArrayRef = Arc::new(StringArray::from(vec!["a", "b", "c"]));
    let other: ArrayRef = Arc::new(StructArray::from(vec![(
        Arc::new(Field::new("bytes", DataType::Utf8, false)),
        words,
    )]));
    let text = open_as(
        vec![("a", other), ("b", numbers(&[0, 1, 2]))],
        &[],
        &named(Some("a"), Some("b")),
    )
    .unwrap_err()
    .to_string();
    assert!(
        text.contains("'a' is Struct") && text.contains("{bytes, path}"),
        "{text}"
    );
}

/// Real pictures, where a folder of real data is named.
#[test]
fn real_pictures_are_read() {
    let Some(folder) = std::env::var_os("FEDSTILL_DATA") else {
        return;
    };
    let read = |set: &str, label: Option<&str>| {
        let path = std::path::Path::new(&folder).join(set).join("test.parquet");
        crate::dataset::Dataset::open(&path, &named(None, label)).unwrap()
    };
    let shape = Shape {
        channels: 3,
        height: 32,
        width: 32,
    };
    let tens = read("cifar10", None);
    assert_eq!((tens.rows(), tens.classes(), tens.shape()), (10_000, 10, shape));
    assert_eq!(tens.class_names()[tens.labels()[0] as usize], "cat");
    let fine = read("cifar100", None);
    assert_eq!((fine.rows(), fine.classes()), (2000, 100));
    let coarse = read("cifar100", Some("coarse_label"));
    assert_eq!((coarse.classes(), coarse.class_names().len()), (20, 20));
}
