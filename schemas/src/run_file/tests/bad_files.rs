//! Mistakes, one a row: what is changed in a good file, and the one problem that must come of it.
//! rustfmt is kept off, so that a row stays a line.

use super::{LEAST, MOST, parse};

/// A change of a good file (what becomes what), and of the one problem that follows: line, column, a part of the
/// message, a part of the help.
pub(super) type Mistake = (&'static str, &'static str, u32, u32, &'static str, &'static str);

pub(super) fn each_is_one_problem(file: &str, mistakes: &[Mistake]) {
    let mut wrong = String::new();
    for (old, new, line, column, message, help) in mistakes {
        assert_eq!(file.matches(old).count(), 1, "{old} is not in the good file once");
        let problems = parse(&file.replace(old, new)).err().unwrap_or_default();
        let as_expected = match problems.as_slice() {
            [one] => {
                (one.line, one.column) == (*line, *column)
                    && one.message.contains(message)
                    && one.help.as_deref().is_some_and(|found| found.contains(help))
            }
            _ => false,
        };
        if !as_expected {
            wrong.extend([old, "  ->  ", new, "\n"]);
            for problem in problems {
                wrong.extend(["    ", &problem.to_string(), "\n"]);
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

/// A valid table of a real party, before a step's.
const PARTY_AND_DIGEST: &str = "[[party]]
id = \"a\"
architecture = \"lenet\"
key = \"ed25519:d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a\"
[steps.digest]";

#[test]
#[rustfmt::skip]
fn misspelt_names() {
    each_is_one_problem(MOST, &[
        ("rounds      =", "ronds =", 4, 1, "unknown key 'ronds' in the top level", "did you mean 'rounds'?"),
        ("name        =", "Name =", 2, 1, "unknown key 'Name'", "did you mean 'name'?"),
        ("[data]", "[dta]", 9, 2, "unknown key 'dta'", "did you mean 'data'?"),
        ("[close]", "[cloze]", 32, 2, "unknown key 'cloze'", "did you mean 'close'?"),
        ("test      =", "tset      =", 12, 1, "unknown key 'tset' in data", "did you mean 'test'?"),
        ("\"data/a.parquet\", rows", "\"data/a.parquet\", row", 10, 39, "unknown key 'row' in data.private", "'rows'"),
        ("{ url = \"../c", "{ uri = \"../c", 12, 15, "unknown key 'uri' in data.test", "did you mean 'url'?"),
        ("image = \"img\"", "imgae = \"img\"", 12, 48, "unknown key 'imgae' in data.test", "did you mean 'image'?"),
        ("\"flip\"", "\"flop\"", 10, 72, "'flop', which is not an augmentation", "did you mean 'flip'?"),
        ("alpha =", "alfa =", 14, 35, "'alfa' in data.partition of kind 'dirichlet'", "did you mean 'alpha'?"),
        ("partition = { kind", "partition = { knd", 14, 15, "unknown key 'knd' in data.partition", "'kind'"),
        ("count         =", "counts        =", 18, 1, "unknown key 'counts' in parties", "'count'"),
        ("batch     = 64", "bach      = 64", 24, 1, "unknown key 'bach' in steps.digest", "'batch'"),
        ("epsilon", "eps_ilon", 25, 69, "'eps_ilon' in steps.digest.optimizer of kind 'adam'", "'epsilon'"),
        ("patience", "patince", 26, 15, "unknown key 'patince' in steps.digest.stop", "'patience'"),
        ("quorum   =", "quorom   =", 33, 1, "unknown key 'quorom' in close", "did you mean 'quorum'?"),
        ("\"fedmd\"", "\"fedm\"", 3, 15, "unknown pipeline 'fedm'", "did you mean 'fedmd'?"),
        ("\"fedmd\"", "\"sgd\"", 3, 15, "unknown pipeline 'sgd'", "pipelines: fedmd, standalone, self_digest"),
        ("\"self_digest\"", "\"feddf_standalone\"", 6, 16, "made of the steps of 'feddf', which the file does not run", "add \"feddf\""),
        ("\"self_digest\"", "\"feddf_alone\"", 6, 16, "unknown pipeline 'feddf_alone'", "pipelines: fedmd"),
        ("\"self_digest\"", "\"self-digest\"", 6, 16, "unknown pipeline 'self-digest'", "'self_digest'?"),
        ("\"float32\"", "\"float23\"", 7, 15, "'predictions' is 'float23'", "did you mean 'float32'?"),
        ("\"union\"", "\"onion\"", 13, 13, "'data.labels' is 'onion'", "did you mean 'union'?"),
        ("\"union\"", "\"joined\"", 13, 13, "'data.labels' is 'joined'", "valid: union, shared, private"),
        ("\"dirichlet\"", "\"dirichlt\"", 14, 22, "'dirichlt', which is not a kind of partition", "'dirichlet'?"),
        ("\"dirichlet\"", "\"lognormal\"", 14, 22, "'lognormal', which is not a kind of partition", "'log_normal'?"),
        ("\"dirichlet\"", "\"pathological\"", 14, 22, "not a kind of partition", "iid, log_normal, dirichlet, classes, shards, natural"),
        ("min = 20", "balance = true", 14, 46, "'balance' in data.partition of kind 'dirichlet'", "did you mean 'balanced'?"),
        ("\"lenet\"", "\"lenett\"", 19, 33, "unknown model family 'lenett'", "did you mean 'lenet'?"),
        ("\"lenet\"", "\"vit\"", 19, 33, "unknown model family 'vit'", "families: lenet, cnn, mlp, resnet8"),
        ("\"adam\"", "\"adan\"", 25, 22, "'adan', which is not an optimizer", "did you mean 'adam'?"),
        ("[steps.digest]", "[steps.digset]", 22, 8, "fedmd has no step 'digset'", "did you mean 'digest'?"),
        ("[steps.digest]", "[steps.local]", 22, 8, "fedmd has no step 'local'", "pretrain, transfer, aggregate, digest, revisit"),
    ]);
}

#[test]
#[rustfmt::skip]
fn keys_that_do_not_belong() {
    each_is_one_problem(MOST, &[
        ("count         =", "colour = 1\ncount =", 18, 1, "unknown key 'colour' in parties", "valid keys here: count"),
        ("rows = 10,", "augment = [\"flip\"],", 12, 37, "unknown key 'augment' in data.test", "valid keys here: url, rows"),
        ("alpha = 1,", "alpha = 1, per_party = 2,", 14, 46, "'per_party' in data.partition of kind 'dirichlet'", "valid keys here: kind, alpha, min, balanced"),
        ("momentum", "beta_1", 29, 37, "'beta_1' in steps.revisit.optimizer of kind 'sgd'", "valid keys here: kind, lr"),
        ("[steps.digest]", "[steps.predict]", 22, 8, "step 'predict' of fedmd neither trains nor combines", "remove this table"),
        ("[steps.digest]", "[[partys]]\nid = 1\n[steps.digest]", 22, 3, "unknown key 'partys'", "did you mean 'party'?"),
        ("[steps.digest]", PARTY_AND_DIGEST, 17, 1, "[parties] or real ones in [[party]]", "remove one of the two"),
        ("\"sgd\",", "\"sgd\", nesterov = true,", 29, 29, "unknown key 'nesterov'", "valid keys here"),
    ]);
    // A key below a [table] header that was meant to stand above it is not missing above it as well.
    let file = LEAST.replace("rounds   = 0\n", "") + "rounds = 0\n[close]\n";
    each_is_one_problem(&file, &[
        ("rounds = 0\n[close]", "[close]\nrounds = 0", 7, 1, "unknown key 'rounds' in close", "at the top of the file"),
    ]);
}

#[test]
#[rustfmt::skip]
fn missing_keys() {
    each_is_one_problem(MOST, &[
        ("name        = \"every-key-1\"", "", 1, 1, "'name' is missing in the top level", "add name = \"quickstart\""),
        ("rounds      = 7", "", 1, 1, "'rounds' is missing in the top level", "add rounds = 5"),
        ("test      = { url = \"../c.parquet\", rows = 10, image = \"img\", label = \"coarse_label\" }", "", 9, 1, "'test' is missing in data", "add test = {"),
        ("url = \"data/a.parquet\", ", "", 10, 13, "'url' is missing in data.private", "add url ="),
        ("kind = \"dirichlet\", alpha = 1, min = 20", "alpha = 1", 14, 13, "'kind' is missing", "add kind = \"iid\""),
        ("alpha = 1, ", "", 14, 13, "'alpha' is missing in data.partition of kind 'dirichlet'", "add alpha = 0.5"),
        ("kind = \"dirichlet\", alpha = 1, min = 20", "kind = \"log_normal\"", 14, 13, "'sigma' is missing", "add sigma = 1.0"),
        ("kind = \"dirichlet\", alpha = 1, min = 20", "kind = \"shards\"", 14, 13, "'per_party' is missing", "add per_party = 2"),
        ("count         = 3", "", 17, 1, "'count' is missing in parties", "add count = 10"),
        ("lr = 1,", "", 29, 13, "'lr' is missing in steps.revisit.optimizer", "add lr = 0.001"),
        ("patience = 3, ", "", 26, 13, "'patience' is missing in steps.digest.stop", "add patience = 3"),
    ]);
    let problems = parse("").unwrap_err();
    let missing: Vec<&str> = problems.iter().map(|problem| problem.message.as_str()).collect();
    assert_eq!(missing.len(), 5, "{missing:?}");
}

#[test]
#[rustfmt::skip]
fn wrong_types() {
    each_is_one_problem(MOST, &[
        ("rounds      = 7", "rounds = \"7\"", 4, 10, "'rounds' is the text '7', but a whole number", "write rounds = 5"),
        ("rounds      = 7", "rounds = 7.5", 4, 10, "'rounds' is 7.5, but a whole number", "write rounds = 5"),
        ("\"every-key-1\"", "5", 2, 15, "'name' is 5, but a name", "write name ="),
        ("\"fedmd\"", "[\"fedmd\"]", 3, 15, "'pipeline' is a list", "write pipeline = \"fedmd\""),
        ("[3, 0, 9223372036854775807]", "0", 5, 15, "'seeds' is 0, but a list", "write seeds = [0]"),
        ("3, 0,", "3, \"0\",", 5, 19, "'seeds[1]' is the text '0'", "write seeds = [0]"),
        ("\"float32\"", "32", 7, 15, "'predictions' is 32", "write predictions = \"float16\""),
        ("{ url = \"../c.parquet\", rows = 10, image = \"img\", label = \"coarse_label\" }", "\"../c.parquet\"", 12, 13, "'data.test' is the text", "test = { url"),
        ("{ kind = \"dirichlet\", alpha = 1, min = 20 }", "\"iid\"", 14, 13, "but a table", "{ kind = \"iid\" }"),
        ("alpha = 1,", "alpha = \"1\",", 14, 43, "'data.partition.alpha' is the text '1'", "write alpha = 0.5"),
        ("min = 20", "groups = 0", 14, 55, "'data.partition.groups' is 0, but a whole number of at least 1", "groups = 10"),
        ("min = 20", "balanced = 1", 14, 57, "'data.partition.balanced' is 1, but true or false", "balanced = true"),
        ("[\"cnn[16, 32]\", \"lenet\"]", "\"lenet\"", 19, 17, "but a list", "architectures = [\"lenet\"]"),
        ("stop      = false", "stop = true", 30, 8, "'steps.revisit.stop' is true, but false or a table", "stop = false"),
        ("lr = 1e-2", "lr = 1979-05-27", 25, 35, "'steps.digest.optimizer.lr' is a date", "lr = 0.001"),
        ("\"90s\"", "90", 34, 12, "'close.deadline' is 90, but a duration", "deadline = \"10m\""),
        ("\"coarse_label\"", "3", 12, 71, "'data.test.label' is 3, but the name of a column", "label = \"fine_label\""),
        ("[close]", "[[close]]", 32, 1, "'close' is a list, but a table", "[close]"),
    ]);
}

#[test]
#[rustfmt::skip]
fn values_out_of_range() {
    each_is_one_problem(MOST, &[
        ("\"every-key-1\"", "\"My Run\"", 2, 15, "'name' is 'My Run'", "write name = \"my-run\""),
        ("\"every-key-1\"", "\"\"", 2, 15, "'name' is ''", "write name ="),
        ("\"every-key-1\"", "\"-a\"", 2, 15, "no hyphen in front", "write name = \"a\""),
        ("rounds      = 7", "rounds = -1", 4, 10, "-1, but a whole number of at least 0", "write rounds"),
        ("rounds      = 7", "rounds = 4294967296", 4, 10, "4294967296, but a whole number of at most", "rounds"),
        ("rounds      = 7", "rounds = 99999999999999999999999", 4, 10, "but a whole number of at most", "rounds"),
        ("3, 0,", "3, -4,", 5, 19, "'seeds[1]' is -4", "write seeds = [0]"),
        ("3, 0,", "3, 3,", 5, 19, "'seeds' lists 3 twice", "remove one"),
        ("[3, 0, 9223372036854775807]", "[]", 5, 15, "'seeds' is an empty list", "write seeds = [0]"),
        ("\"standalone\"]", "\"self_digest\"]", 6, 31, "'baselines' lists the text 'self_digest' twice", "remove one"),
        ("\"crop\", ", "\"flip\", ", 10, 72, "'data.private.augment' lists the text 'flip' twice", "remove one"),
        ("1_000", "0", 10, 46, "'data.private.rows' is 0, but a whole number of at least 1", "leave it out"),
        ("alpha = 1,", "alpha = 0,", 14, 43, "'data.partition.alpha' is 0, but a number above 0", "alpha = 0.5"),
        ("alpha = 1,", "alpha = inf,", 14, 43, "is inf, but a number above 0", "alpha = 0.5"),
        ("alpha = 1,", "alpha = nan,", 14, 43, "is nan, but a number above 0", "alpha = 0.5"),
        ("min = 20", "min = 0", 14, 52, "'data.partition.min' is 0", "min = 20"),
        ("kind = \"dirichlet\", alpha = 1, min = 20", "kind = \"classes\", per_party = 0", 14, 45, "'data.partition.per_party' is 0", "per_party = 2"),
        ("kind = \"dirichlet\", alpha = 1, min = 20", "kind = \"log_normal\", sigma = -1", 14, 44, "'data.partition.sigma' is -1", "sigma = 1.0"),
        ("alignment = 256", "alignment = 0", 15, 13, "'data.alignment' is 0", "alignment = 3000"),
        ("count         = 3", "count = 0", 18, 9, "'parties.count' is 0, but a whole number of at least 1", "count = 10"),
        ("[\"cnn[16, 32]\", \"lenet\"]", "[]", 19, 17, "'parties.architectures' is an empty list", "[\"lenet\"]"),
        ("\"lenet\"", "\"cnn[16\"", 19, 33, "'cnn[16' is not an architecture", "cnn[16,32]"),
        ("\"lenet\"", "\"cnn[16;1.5]\"", 19, 33, "'cnn[16;1.5]' is not an architecture", "fedmd[128,256;0.2]: below 1, of three decimals at most"),
        ("active        = 1.0", "active = 4", 20, 10, "'parties.active' is 4, but a fraction above 0 and at most 1", "leave it out for all"),
        ("epochs    = 2", "epochs = 0", 23, 10, "'steps.digest.epochs' is 0", "epochs = 1"),
        ("batch     = 64", "batch = 0", 24, 9, "'steps.digest.batch' is 0", "batch = 32"),
        ("batch     = 64", "batch = 1", 24, 9, "'steps.digest.batch' is 1", "a batch of one row is dropped"),
        ("lr = 1e-2", "lr = 0.0", 25, 35, "lr' is 0.0, but a number above 0", "lr = 0.001"),
        ("lr = 1e-2", "lr = 1e999", 25, 35, "lr' is 1e999, but a number above 0", "lr = 0.001"),
        ("beta_1 = 0.5", "beta_1 = 1.0", 25, 50, "beta_1' is 1.0, but a number from 0 to below 1", "beta_1 = 0.9"),
        ("beta_2 = 0.6", "beta_2 = -0.1", 25, 64, "beta_2' is -0.1", "beta_2 = 0.999"),
        ("epsilon = 1e-6", "epsilon = 0", 25, 79, "epsilon' is 0", "epsilon = 1e-8"),
        ("momentum = 0.9", "momentum = 1", 29, 48, "momentum' is 1, but a number from 0 to below 1", "momentum = 0.9"),
        ("weight_decay = 0.2", "weight_decay = -1", 29, 68, "weight_decay' is -1, but a number of at least 0", "0.0"),
        ("patience = 3", "patience = 0", 26, 26, "'steps.digest.stop.patience' is 0", "patience = 3"),
        ("min_delta = 0.005", "min_delta = -0.1", 26, 41, "min_delta' is -0.1", "min_delta = 0.005"),
        ("quorum   = 1", "quorum = 0", 33, 10, "'close.quorum' is 0, but a fraction above 0", "quorum = 0.5"),
        ("quorum   = 1", "quorum = 1.5", 33, 10, "'close.quorum' is 1.5", "quorum = 0.5"),
        ("\"90s\"", "\"0s\"", 34, 12, "no duration: it is zero", "10m"),
        ("\"90s\"", "\"90\"", 34, 12, "no duration: its unit is missing", "one of ms, s, m, h, d"),
        ("\"90s\"", "\"soon\"", 34, 12, "'soon', which is no duration", "deadline = \"10m\""),
        ("file:///srv", "s3://bucket", 11, 21, "only local files are read so far", "a path relative to this file"),
        ("file:///srv", "file://srv", 11, 21, "only local files", "file:// and an absolute path"),
        ("\"data/a.parquet\"", "\"\"", 10, 21, "'data.private.url' is ''", "data/letters.parquet"),
    ]);
}

#[test]
#[rustfmt::skip]
fn fields_against_each_other() {
    each_is_one_problem(MOST, &[
        ("\"standalone\"]", "\"fedmd\"]", 6, 31, "'fedmd' is the file's pipeline", "remove it from baselines"),
        ("count         = 3", "count = 1", 19, 33, "2 architectures for 1 party: no party would have lenet", "count = 2"),
        ("1_000", "2", 10, 46, "2 private rows are too few for 3 parties", "write rows = 3 or more"),
        ("min = 20", "min = 334", 14, 52, "need 1002 private rows, but there are 1000", "write min = 333 or less"),
        ("kind = \"dirichlet\", alpha = 1, min = 20", "kind = \"natural\"", 14, 13, "does not name a column of owners", "owner = \"client\""),
        ("rows = 1_000,", "rows = 1_000, owner = \"client\",", 10, 61, "only the partition 'natural' and texts ask", "remove it"),
        ("rows = 10,", "owner = \"client\",", 12, 45, "'data.test.owner' would change nothing", "remove it"),
        ("rows = 10,", "text = \"text\",", 12, 13, "'data.test' names a column of texts, and 'image' is about images", "remove one"),
        ("rows = 1_000,", "rows = 1_000, text = \"text\",", 10, 13, "'augment' is about images", "remove one"),
        ("alignment = 256", "alignment = 257", 15, 13, "257 rows cannot be drawn from 256", "alignment = 256 or less"),
        ("\"union\"", "\"private\"", 13, 13, "step 'pretrain' of fedmd, step 'pretrain' of standalone trains on them", "labels = \"union\" or labels"),
        ("public    = { url = \"file:///srv/b.parquet\", rows = 0x100 }", "", 9, 1, "step 'pretrain' of fedmd, step 'digest' of self_digest, step 'pretrain' of standalone needs a public set", "add public = {"),
    ]);
    // A pipeline that exchanges nothing needs no public set, and its baselines may need one.
    let alone = LEAST
        .replace("fedmd", "standalone")
        .replace(" public = { url = \"b.parquet\" },", "");
    assert!(parse(&alone).is_ok());
    each_is_one_problem(&alone, &[
        ("rounds   = 0", "rounds = 0\nbaselines = [\"self_digest\"]", 6, 12, "step 'digest' of self_digest", "add public"),
        ("test =", "alignment = 5, test =", 5, 59, "the file has no public set", "remove it, or add public"),
    ]);
    // It trains on no public labels either.
    assert!(parse(&alone.replace("test =", "labels = \"private\", test =")).is_ok());
}

#[test]
#[rustfmt::skip]
fn what_is_not_toml() {
    each_is_one_problem(MOST, &[
        ("\"fedmd\"", "fedmd", 3, 15, "this is not TOML", "double quotes"),
        ("[close]", "[close", 32, 7, "this is not TOML", "write TOML"),
        ("rounds      = 7", "rounds", 4, 7, "this is not TOML", "lines of key = value"),
        ("rounds      = 7", "name = \"b\"", 4, 1, "this is not TOML: duplicate key", "keep one of the two"),
        ("name        =", "\u{feff}name =", 2, 1, "this is not TOML", "write TOML"),
        ("\"90s\"", "\"90s", 34, 16, "this is not TOML", "double quotes"),
    ]);
}
