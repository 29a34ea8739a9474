//! Which columns are read: by their names, named, or as Hugging Face describes them; and whose rows are whose.

use super::{IMAGES, fixed, named, numbers, open, open_as, refused};
use arrow_array::types::Int32Type;
use arrow_array::{ArrayRef, DictionaryArray, Float32Array, StringArray, StringViewArray};
use fedstill_schemas::data::Columns;
use std::sync::Arc;

#[test]
fn columns_are_found_by_their_names_or_named() {
    let file = || {
        vec![
            ("img", fixed(&IMAGES)),
            ("fine_label", numbers(&[2, 0, 1])),
            ("coarse_label", numbers(&[1, 0, 1])),
        ]
    };
    let about = [
        ("fine_classes", "5"),
        ("classes", "9"),
        ("coarse_class_names", r#"["a", "b", "c"]"#),
    ];
    let text = refused(file(), &about);
    assert!(
        text.contains("fine_label, coarse_label") && text.contains("label = \"fine_label\""),
        "{text}"
    );
    let of = |label| open_as(file(), &about, &named(None, Some(label)));
    let fine = of("fine_label").unwrap();
    assert_eq!((fine.labels(), fine.classes()), (&[2, 0, 1][..], 5));
    let coarse = of("coarse_label").unwrap();
    assert_eq!((coarse.labels(), coarse.classes()), (&[1, 0, 1][..], 3));
    assert_eq!(coarse.class_names(), ["a", "b", "c"]);
    // The same file, read otherwise, is another data set, and so it is where both columns hold the same.
    assert_ne!(fine.digest(), coarse.digest());
    let text = of("fine_lable").unwrap_err().to_string();
    assert!(
        text.contains("no column 'fine_lable'") && text.contains("label = \"fine_label\""),
        "{text}"
    );
    // The usual name goes before others; the only one that can be meant needs none.
    let all = |label| open_as([file(), vec![("label", numbers(&[0, 0, 0]))]].concat(), &[], &label).unwrap();
    assert_eq!(all(named(None, None)).labels(), [0, 0, 0]);
    assert_eq!(all(named(Some("img"), Some("fine_label"))).labels(), [2, 0, 1]);
    let one = open(file()[..2].to_vec(), &about).unwrap();
    assert_eq!((one.labels(), one.classes()), (&[2, 0, 1][..], 5));
    let same = open_as(file()[..2].to_vec(), &about, &named(None, Some("fine_label"))).unwrap();
    assert_ne!(one.digest(), same.digest());
}

#[test]
fn owners_are_numbered_in_the_order_of_their_first_rows() {
    let words: ArrayRef = Arc::new(StringArray::from(vec!["b", "a", "b"]));
    let views: ArrayRef = Arc::new(StringViewArray::from(vec!["b", "a", "b"]));
    let dictionary: DictionaryArray<Int32Type> = vec!["b", "a", "b"].into_iter().collect();
    let dictionary: ArrayRef = Arc::new(dictionary);
    let with = |owners: ArrayRef, owner: Option<&str>| {
        let columns = Columns {
            owner: owner.map(str::to_owned),
            ..Columns::default()
        };
        let file = vec![
            ("image", fixed(&IMAGES)),
            ("label", numbers(&[0, 1, 2])),
            ("writer", owners),
        ];
        open_as(file, &[], &columns)
    };
    let digests = [words, views, dictionary, numbers(&[7, -7, 7])].map(|owners| {
        let data = with(owners, Some("writer")).unwrap();
        assert_eq!(data.known().owners, [0, 1, 0]);
        data.digest()
    });
    assert!(digests.iter().all(|digest| *digest == digests[0]));
    // Whose rows they are is a part of what they are, where it was asked for.
    let others = with(numbers(&[1, 1, 2]), Some("writer")).unwrap();
    assert_ne!(others.digest(), digests[0]);
    let nobody = with(numbers(&[1, 1, 2]), None).unwrap();
    assert!(nobody.known().owners.is_empty());
    let text = with(numbers(&[1, 1, 2]), Some("author")).unwrap_err().to_string();
    assert!(
        text.contains("no column 'author'") && text.contains("owner = "),
        "{text}"
    );
    let holes: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None, Some("b")]));
    let text = with(holes, Some("writer")).unwrap_err().to_string();
    assert!(text.contains("row 1 has no 'writer'"), "{text}");
    let parts: ArrayRef = Arc::new(Float32Array::from(vec![0.0, 1.0, 2.0]));
    let text = with(parts, Some("writer")).unwrap_err().to_string();
    assert!(
        text.contains("'writer' is Float32") && text.contains("names of owners"),
        "{text}"
    );
}

#[test]
fn hugging_face_says_what_columns_are() {
    let about = r#"{"info": {"features": {"picture": {"_type": "Image"},
        "kind": {"names": ["a", "b", "c", "d"], "_type": "ClassLabel"}, "other": {"dtype": "int64", "_type": "Value"}}}}"#;
    let file = || {
        vec![
            ("other", numbers(&[7, 8, 9])),
            ("picture", fixed(&IMAGES)),
            ("kind", numbers(&[2, 0, 1])),
        ]
    };
    let data = open(file(), &[("huggingface", about)]).unwrap();
    assert_eq!((data.labels(), data.classes()), (&[2, 0, 1][..], 4));
    assert_eq!(data.class_names(), ["a", "b", "c", "d"]);
    // A description that cannot be read says nothing.
    for about in [
        "{",
        "[]",
        r#"{"info": 1}"#,
        r#"{"info": {"features": {"picture": [1], "kind": 2}}}"#,
    ] {
        assert!(
            refused(file(), &[("huggingface", about)]).contains("no column 'image'"),
            "{about}"
        );
    }
}
