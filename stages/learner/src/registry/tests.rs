//! What architectures are built of, and what is refused of them.

use super::*;
use fedstill_schemas::run_file::TEMPLATE;

const DIGIT: Shape = Shape {
    channels: 1,
    height: 28,
    width: 28,
};

fn refused(architecture: &str, shape: Shape) -> String {
    let built = Registry::default().build(&architecture.parse().unwrap(), shape, 10);
    built.err().expect(architecture).to_string()
}

#[test]
fn a_family_that_is_not_there_has_a_nearest_one() {
    let text = refused("lenett", DIGIT);
    assert!(
        text.contains("did you mean 'lenet'") && text.contains("cnn, fedmd, lenet, mcmahan, mlp"),
        "{text}"
    );
}

#[test]
fn the_run_file_that_init_writes_lists_every_family() {
    let lines = TEMPLATE
        .lines()
        .skip_while(|line| !line.starts_with("# Given to the parties"));
    let listed: Vec<&str> = lines.take_while(|line| line.starts_with('#')).collect();
    let listed = listed.join(" ");
    let words: Vec<&str> = listed.split(|c: char| !c.is_ascii_alphanumeric()).collect();
    let registry = Registry::default();
    for family in registry.families() {
        assert!(words.contains(&family), "{family} is not in: {listed}");
    }
    // Of those that have few sizes, all.
    for name in ["resnet[8]", "resnet[18]", "resnet[20]", "charlstm[1]", "charlstm[2]"] {
        assert!(listed.contains(name), "{name} is not in: {listed}");
    }
}

#[test]
fn wrong_sizes_are_refused_with_what_the_family_takes() {
    assert!(refused("lenet[5]", DIGIT).contains("no sizes"));
    assert!(refused("cnn", DIGIT).contains("cnn[16,32]"));
    assert!(refused("cnn[4,0]", DIGIT).contains("cnn[16,32]"));
    assert!(refused("mlp", DIGIT).contains("mlp[200]"));
    assert!(refused("mlp[0]", DIGIT).contains("mlp[200]"));
    assert!(refused("2nn[200]", DIGIT).contains("write 2nn"));
    assert!(refused("mcmahan[32]", DIGIT).contains("write mcmahan"));
    for name in [
        "fedmd",
        "fedmd[10]",
        "fedmd[8,0;0.2]",
        "fedmd[8;0.2]",
        "fedmd[8,8,8,8;0.2]",
    ] {
        let text = refused(name, DIGIT);
        assert!(
            text.contains("two or three convolutions") && text.contains("fedmd[64,128,256;0.2]"),
            "{text}"
        );
    }
    assert!(refused("resnet[19]", DIGIT).contains("resnet[8], resnet[18] or resnet[20]"));
    assert!(refused("resnetgn[8,16]", DIGIT).contains("resnetgn[8], resnetgn[18] or resnetgn[20]"));
    assert!(refused("charlstm[3]", DIGIT).contains("charlstm[1] or charlstm[2]"));
    assert!(refused("charlstm[1]", DIGIT).contains("not images of 1x28x28"));
    assert!(refused("mlp[4294967295]", DIGIT).contains("at most 65536"));
}

#[test]
fn a_dropout_rate_is_asked_for_where_a_family_takes_one_and_refused_elsewhere() {
    for family in Registry::default().families() {
        let text = refused(&format!("{family}[0;0.25]"), DIGIT);
        let told = text.contains("takes no dropout rate, leave out ;0.25");
        assert_eq!(told, family != "fedmd", "{text}");
    }
    let of_default = |name: &str| -> String {
        let text = refused(name, DIGIT);
        assert!(text.contains("the public code has by default"), "{text}");
        text
    };
    assert!(of_default("fedmd[8,9]").contains("as in fedmd[8,9;0.2]"));
    assert!(of_default("fedmd[7,8,9]").contains("as in fedmd[7,8,9;0.2]"));
    for (number, written) in networks::FEDMD_PARTIES.into_iter().enumerate() {
        let text = refused(&format!("fedmd[{number}]"), DIGIT);
        assert!(
            text.contains(&format!("write {written} for that of FedMD's party {number}")),
            "{text}"
        );
    }
    // A family of one's own says whether it takes one.
    let perceptron =
        |_: &Architecture, shape, classes| networks::mlp(&"mlp[9]".parse().expect("an architecture"), shape, classes);
    let registry = Registry::default()
        .with("plain", perceptron)
        .with_dropout("dropping", perceptron);
    let built = |name: &str| registry.build(&name.parse().unwrap(), DIGIT, 3).is_ok();
    assert!(built("plain") && !built("plain[1;0.5]"));
    assert!(built("dropping") && built("dropping[1;0.5]"));
}

#[test]
fn an_architecture_that_predicts_once_a_row_is_refused_where_every_position_has_a_label() {
    let shape = Shape {
        channels: 1,
        height: 1,
        width: 80,
    };
    let registry = Registry::default();
    let refused = |name: &str, labels_per| {
        let architecture = name.parse().unwrap();
        let model = Model {
            architecture: &architecture,
            shape,
            classes: 82,
            labels_per,
        };
        let refused = registry.network(&model).err();
        refused.map_or_else(String::new, |error| error.to_string())
    };
    for name in ["mlp[8]", "2nn"] {
        let text = refused(name, LabelsPer::Position);
        assert!(
            text.contains(name) && text.contains("predicts once a row") && text.contains("charlstm[1]"),
            "{text}"
        );
        assert_eq!(refused(name, LabelsPer::Window), "");
    }
    assert_eq!(refused("charlstm[2]", LabelsPer::Position), "");
    assert!(refused("charlstm[3]", LabelsPer::Position).contains("charlstm[1] or charlstm[2]"));
}

#[test]
fn small_images_are_refused_with_the_least_size() {
    let small = |side| Shape {
        channels: 1,
        height: side,
        width: side,
    };
    assert!(refused("cnn[4,4,4,4]", small(8)).contains("16x16"));
    assert!(refused("lenet", small(8)).contains("12x12"));
    assert!(refused("mcmahan", small(3)).contains("4x4"));
    assert!(refused("fedmd[4,4,4;0.2]", small(11)).contains("12x12"));
    assert!(refused("fedmd[4,4;0.2]", small(2)).contains("3x3"));
    assert!(refused("resnet[18]", small(7)).contains("8x8"));
    assert!(
        Registry::default()
            .build(&"lenet".parse().unwrap(), small(12), 10)
            .is_ok()
    );
    assert!(
        Registry::default()
            .build(&"cnn[4,4,4]".parse().unwrap(), small(8), 10)
            .is_ok()
    );
}

#[test]
fn a_family_is_added_without_a_fork() {
    let registry = Registry::default().with("deep", |_, shape, classes| {
        networks::mlp(&"mlp[9,9,9]".parse().expect("an architecture"), shape, classes)
    });
    let own = [
        "2nn", "charlstm", "cnn", "deep", "fedmd", "lenet", "mcmahan", "mlp", "resnet", "resnetgn",
    ];
    assert_eq!(registry.families(), own);
    assert_eq!(
        registry
            .build(&"deep".parse().unwrap(), DIGIT, 3)
            .unwrap()
            .parameters()
            .len(),
        8
    );
}
