//! Which parties take part in a round.

use super::bad_files::each_is_one_problem;
use super::{LEAST, SELECTING, parse};
use crate::pipeline::Selection;

#[test]
fn every_way_to_select_is_read() {
    let written = "active        = 0.4\nselection     = \"round_robin\"\n";
    assert!(SELECTING.contains(written));
    for (keys, selection) in [
        ("", Selection::All),
        ("active = 1\n", Selection::All),
        ("active = 0.96\n", Selection::All),
        ("active = 0.4\n", Selection::Random { active: 4 }),
        (
            "selection = \"random\"\nactive = 0.44\n",
            Selection::Random { active: 4 },
        ),
        (
            "selection = \"round_robin\"\nactive = 0.46\n",
            Selection::RoundRobin { active: 5 },
        ),
        (
            "selection = \"fedlesscan\"\nactive = 0.4\n",
            Selection::Fedlesscan { active: 4 },
        ),
        ("selection = \"fedlesscan\"\n", Selection::Fedlesscan { active: 10 }),
    ] {
        let file = parse(&SELECTING.replace(written, keys)).unwrap();
        assert_eq!(file.parties.selection, selection, "{keys}");
    }
}

#[test]
#[rustfmt::skip]
fn mistakes_about_who_takes_part() {
    each_is_one_problem(SELECTING, &[
        ("active        = 0.4", "active = 1.5", 15, 10, "'parties.active' is 1.5, but a fraction above 0 and at most 1", "active = 0.5"),
        ("active        = 0.4", "active = 0", 15, 10, "'parties.active' is 0, but a fraction", "leave it out for all parties"),
        ("active        =", "activ =", 15, 1, "unknown key 'activ' in parties", "did you mean 'active'?"),
        ("selection     =", "selecton =", 16, 1, "unknown key 'selecton' in parties", "did you mean 'selection'?"),
        ("\"round_robin\"", "\"roundrobin\"", 16, 17, "'roundrobin', which is not a way to select parties", "did you mean 'round_robin'?"),
        ("\"round_robin\"", "\"best\"", 16, 17, "'parties.selection' is 'best'", "valid: random, round_robin, fedlesscan"),
        ("\"round_robin\"", "3", 16, 17, "'parties.selection' is 3, but a way to select parties", "selection = \"random\""),
        ("active        = 0.4", "active = 0.96", 16, 17, "'parties.selection' would change nothing: all 10 parties are active", "remove it, or write active"),
        ("active        = 0.4", "", 16, 17, "all 10 parties are active", "remove it, or write active"),
        ("active        = 0.4", "active = 0.2", 38, 12, "a quorum of 0.3 needs 3 of 10 parties, and 2 are active in a round", "write quorum = 0.2 or less in [close], or raise parties.active"),
        ("quorum   = 0.3", "", 15, 17, "a quorum of 0.5 needs 5 of 10 parties, and 4 are active in a round", "write quorum = 0.4 or less"),
        ("[\"lenet\", \"mlp[9]\"]", "[\"lenet\", \"mlp[1]\", \"mlp[2]\", \"mlp[3]\", \"mlp[4]\"]", 15, 17, "4 active parties are too few for 5 architectures", "write active = 0.5 or more, or list 4 architectures or fewer"),
    ]);
    let one = SELECTING.replace("quorum   = 0.3", "quorum   = 0.1");
    each_is_one_problem(&one, &[
        ("active        = 0.4", "active        = 0.1", 15, 17, "1 active party is too few for 2 architectures", "write active = 0.2 or more, or list 1 architecture"),
    ]);
    // The quorum has a default, which nobody wrote and nobody can be pointed at.
    let without_close = SELECTING.replace("offline = { parties = 1 }\n", "");
    each_is_one_problem(&without_close, &[
        ("[close]\nquorum   = 0.3\ndeadline = \"10m\"", "", 15, 17, "a quorum of 0.5 needs 5 of 10 parties", "write quorum = 0.4 or less in [close]"),
    ]);
    // Weights are averaged once an architecture, however parties are selected.
    let random = SELECTING.replace("selection     = \"round_robin\"\n", "");
    each_is_one_problem(&random, &[
        ("[\"lenet\", \"mlp[9]\"]", "[\"lenet\", \"mlp[1]\", \"mlp[2]\", \"mlp[3]\", \"mlp[4]\"]", 15, 17, "4 active parties are too few for 5 architectures", "write active = 0.5 or more"),
    ]);
    each_is_one_problem(LEAST, &[
        ("count = 1,", "count = 2, active = 0.5,", 6, 34, "'parties.active' would change nothing: all parties do the steps of fedmd", "remove it, or choose a pipeline that selects parties: feddf"),
        ("count = 1,", "count = 1, selection = \"fedlesscan\",", 6, 37, "'parties.selection' would change nothing: all parties do the steps of fedmd", "feddf"),
    ]);
}
