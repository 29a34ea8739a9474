//! Good pipelines, and each rule broken once: one fault, at its key, with its fix. rustfmt is kept off the rows, so that
//! a row stays a line.

use super::*;

const FEDMD: &str = include_str!("../../../testdata/fedmd.toml");
const FEDDF: &str = include_str!("../../../testdata/feddf.toml");

/// A change of a good pipeline (what becomes what), and of the one fault that follows: its key, a part of the message, a
/// part of the help.
type Mistake = (&'static str, &'static str, &'static str, &'static str, &'static str);

fn each_is_one_fault(good: &str, mistakes: &[Mistake]) {
    let faults_of = |text: &str| toml::from_str::<Pipeline>(text).map(|pipeline| pipeline.check());
    assert_eq!(faults_of(good), Ok(Vec::new()));
    let mut wrong = String::new();
    for (old, new, key, message, help) in mistakes {
        assert_eq!(good.matches(old).count(), 1, "{old} is not in the good pipeline once");
        let faults = faults_of(&good.replace(old, new)).unwrap_or_else(|error| panic!("{old} -> {new}: {error}"));
        let as_expected = match faults.as_slice() {
            [one] => one.key == *key && one.message.contains(message) && one.help.contains(help),
            _ => false,
        };
        if !as_expected {
            wrong.extend([old, "  ->  ", new, "\n"]);
            for fault in faults {
                wrong.extend(["    ", &fault.to_string(), "\n"]);
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
#[rustfmt::skip]
fn names_can_be_part_of_ids_and_are_distinct() {
    each_is_one_fault(FEDMD, &[
        ("\"mine\"", "\"My Method\"", "name", "'My Method' cannot be the name of a pipeline", "write \"my_method\""),
        ("\"mine\"", "\"\"", "name", "'' cannot be the name of a pipeline", "write \"mine\""),
        ("name = \"digest\"", "name = \"digest-1\"", "round[3].name", "cannot be the name of a step", "\"digest_1\""),
        ("keep = \"digest\"", "keep = \"a/b\"", "round[3].keep", "cannot be the name of an optimizer state", "\"a_b\""),
        ("\"revisit\"", "\"digest\"", "round[4].name", "two steps of one round are called 'digest'", "another name"),
        ("\"revisit\"", "\"archive\"", "round[4].name", "'archive' is the step that ends every round", "another name"),
    ]);
}

#[test]
#[rustfmt::skip]
fn steps_are_done_by_who_can_do_them() {
    each_is_one_fault(FEDMD, &[
        ("\"predict\", who = \"parties\"", "\"predict\", who = \"architectures\"", "round[0].who", "'predict' are not done by 'architectures'", "who = \"parties\" or who = \"selected\""),
        ("who = \"partitions\"", "who = \"server\"", "round[1].who", "'aggregate' are not done by 'server'", "who = \"partitions\""),
        ("who = \"server\"", "who = \"parties\"", "round[2].who", "'join' are not done by 'parties'", "who = \"server\""),
        ("_alone\", stage = \"evaluate\", who = \"parties\"", "_alone\", stage = \"evaluate\", who = \"selected\"", "warmup[2].who", "selected from round 1 on", "who = \"parties\""),
        ("\"revisit\", stage = \"train\"", "\"revisit\", stage = \"archive\"", "round[4].stage", "archived at its end", "remove this step"),
    ]);
    each_is_one_fault(FEDDF, &[
        ("\"average\", who = \"architectures\"", "\"average\", who = \"server\"", "round[5].who", "'average' are not done by 'server'", "who = \"architectures\""),
    ]);
}

#[test]
#[rustfmt::skip]
fn who_learns_has_terms_and_settings_and_who_does_not_has_neither() {
    each_is_one_fault(FEDMD, &[
        ("terms = [{ on = \"alignment\", target = \"consensus\", loss = { kind = \"kl\", t = 3.0, times_t2 = true } }], ", "", "round[3].fit", "step 'digest' has settings to train by, and nothing to learn from", "add terms"),
        (", fit = { epochs = 4, batch = 5, optimizer = { kind = \"adam\", lr = 0.003 } }", "", "round[4].terms", "no settings to train by", "add fit"),
        ("\"join\", who = \"server\"", "\"join\", who = \"server\", fit = { epochs = 1, batch = 2, optimizer = { kind = \"adam\", lr = 1 } }", "round[2].fit", "'fit' of step 'join' would change nothing", "remove fit"),
        ("\"join\", who = \"server\"", "\"join\", who = \"server\", keep = \"private\"", "round[2].keep", "'keep' of step 'join' would change nothing", "remove keep"),
        ("\"join\", who = \"server\"", "\"join\", who = \"server\", terms = [{ on = \"public\", target = \"own\", loss = { kind = \"mse\" } }]", "round[2].terms", "'terms' of step 'join' would change nothing", "remove terms"),
        ("\"join\", who = \"server\"", "\"join\", who = \"server\" }, { name = \"more\", stage = \"train\", who = \"parties\"", "round[3]", "has neither terms nor fit", "add terms"),
    ]);
    each_is_one_fault(FEDDF, &[
        ("start = \"fresh\"", "start = \"own\"", "warmup[0].start", "makes new weights, whatever it starts from", "start = \"fresh\""),
        ("start = \"fresh\"", "start = \"fresh\", keep = \"private\"", "warmup[0].keep", "'keep' of step 'initial' would change nothing", "remove keep"),
    ]);
}

#[test]
#[rustfmt::skip]
fn a_party_may_take_a_model_as_it_is_and_what_it_took_counts_for_no_private_rows() {
    let begins = FEDDF
        .replace("start = \"fresh\" },\n", "start = \"fresh\" },\n    { name = \"begin\", stage = \"train\", who = \"parties\", start = { step = \"initial\" } },\n")
        .replace("start = \"prototype\"", "start = \"own\"");
    each_is_one_fault(&begins, &[
        ("start = { step = \"initial\" }", "start = \"own\"", "warmup[1]", "has neither terms nor fit", "add terms"),
        ("start = { step = \"initial\" }", "start = { step = \"inital\" }", "warmup[1].start", "no step of that name before it", "did you mean 'initial'?"),
        ("start = { step = \"initial\" }", "start = \"fresh\", keep = \"private\"", "warmup[1].keep", "'keep' of step 'begin' would change nothing", "remove keep"),
        ("\"train\", who = \"parties\", start", "\"distill\", who = \"parties\", start", "warmup[1]", "is of stage 'distill', and has neither terms nor fit", "add terms"),
    ]);
    let without_ensemble = FEDDF.replace("    { name = \"ensemble\", stage = \"evaluate\", who = \"server\" },\n", "");
    each_is_one_fault(&without_ensemble, &[
        ("    { name = \"predict\"", "    { name = \"take\", stage = \"train\", who = \"selected\", start = \"prototype\" },\n    { name = \"predict\"", "round[5].rule", "nothing that leads to those of step 'take' in the round", "weights = \"parties\""),
    ]);
}

#[test]
#[rustfmt::skip]
fn rules_are_of_what_is_combined() {
    each_is_one_fault(FEDMD, &[
        (", rule = \"mean\"", "", "round[1].rule", "no rule by which predictions are combined", "rule = \"mean\""),
        ("rule = \"mean\"", "rule = { weights = \"samples\" }", "round[1].rule", "predictions are combined", "\"mean_probability\""),
        ("rule = \"mean\"", "rule = { weights = [1, -1] }", "round[1].rule", "the weights of step 'aggregate' are not numbers of at least 0", "rule = { weights = [1.0, 1.0, 0.5] }"),
        ("rule = \"mean\"", "rule = { weights = [0, 0.0] }", "round[1].rule", "the weights of step 'aggregate' are not numbers", "a number for each party"),
        ("rule = \"mean\"", "rule = { weights = [1, 1e-10] }", "round[1].rule", "a weight of step 'aggregate' is 1e-10, less than 2^-30 of the largest one", "write 0 for a party"),
        ("\"join\", who = \"server\"", "\"join\", who = \"server\", rule = \"mean\"", "round[2].rule", "would change nothing", "remove rule"),
    ]);
    each_is_one_fault(FEDDF, &[
        (", rule = { weights = \"samples\" }", "", "round[5].rule", "no rule by which weights are averaged", "weights = \"samples\""),
        ("\"samples\"", "[1, 2]", "round[5].rule", "no rule by which weights are averaged", "weights = \"samples\""),
        ("{ weights = \"samples\" }", "\"mean\"", "round[5].rule", "no rule by which weights are averaged", "weights = \"parties\""),
    ]);
}

#[test]
#[rustfmt::skip]
fn the_worst_are_dropped_of_models_that_the_server_sees() {
    each_is_one_fault(FEDDF, &[
        ("\"join\", who = \"server\"", "\"join\", who = \"server\", drop_worst = true", "round[3].drop_worst", "'drop_worst' of step 'join' would change nothing", "remove drop_worst"),
    ]);
    let dropping = FEDDF.replace("rule = \"mean_probability\"", "rule = \"mean_probability\", drop_worst = true");
    each_is_one_fault(&dropping, &[
        ("\"weights\", ", "", "discloses", "step 'aggregate' shows what 'discloses' does not name: weights", "add \"weights\""),
        ("\"validation_rows\", ", "", "discloses", "step 'aggregate' shows what 'discloses' does not name: labelled rows", "add \"validation_rows\""),
    ]);
    let disclosing = FEDMD.replace("\"reports\"", "\"reports\", \"weights\", \"validation_rows\"");
    each_is_one_fault(&disclosing, &[
        ("rule = \"mean\"", "rule = \"mean\", drop_worst = true", "round[1].stage", "step 'aggregate' reads what parties trained, and none does so before it", "stage = \"train\""),
    ]);
}

#[test]
#[rustfmt::skip]
fn steps_start_from_models_that_are_there() {
    each_is_one_fault(FEDMD, &[
        ("\"predict\", who = \"parties\"", "\"predict\", who = \"parties\", start = \"fresh\"", "round[0].start", "step 'predict' cannot start fresh", "remove start"),
        ("\"join\", who = \"server\"", "\"join\", who = \"server\", start = \"fresh\"", "round[2].start", "'start' of step 'join' would change nothing", "remove start"),
        ("{ step = \"pretrain\" }", "{ step = \"pretrian\" }", "warmup[1].start", "from step 'pretrian', and no step of that name before it", "did you mean 'pretrain'?"),
        ("\"evaluate_alone\", stage = \"evaluate\", who = \"parties\"", "\"evaluate_alone\", stage = \"evaluate\", who = \"parties\", start = { step = \"transfer\" }", "warmup[2].start", "from step 'transfer', and no step of that name", "such steps before it: pretrain"),
        ("\"predict\", who = \"parties\"", "\"predict\", who = \"parties\", start = { step = \"pretrain\" }", "round[0].start", "no step of that name before it in the round", "there are no such steps before it"),
    ]);
    each_is_one_fault(FEDDF, &[
        ("    { name = \"initial\", stage = \"pretrain\", who = \"architectures\", start = \"fresh\" },\n", "", "round[0].start", "starts from the server's model, and no step before it makes one", "begin the warm-up"),
        ("start = \"prototype\"", "start = \"own\"", "round[0].start", "no step before it makes for the selected parties", "another start"),
        ("\"evaluate\", who = \"architectures\"", "\"evaluate\", who = \"parties\"", "round[7].start", "no step before it makes for every party", "another start"),
    ]);
    let without_pretraining = FEDMD.replace("start = { step = \"pretrain\" }", "start = \"fresh\"");
    each_is_one_fault(&without_pretraining, &[
        ("\"pretrain\", stage = \"pretrain\", who = \"architectures\", start = \"fresh\"", "\"pretrain\", stage = \"pretrain\", who = \"architectures\"", "warmup[0].start", "no step before it makes for every architecture", "another start"),
    ]);
}

#[test]
#[rustfmt::skip]
fn what_is_read_was_made_before() {
    each_is_one_fault(FEDMD, &[
        ("    { name = \"predict\", stage = \"predict\", who = \"parties\" },\n", "", "round[0].stage", "no step before it in the round predicts", "stage = \"predict\""),
        ("    { name = \"aggregate\", stage = \"aggregate\", who = \"partitions\", rule = \"mean\" },\n", "", "round[1].stage", "no step before it in the round aggregates", "stage = \"aggregate\""),
        ("    { name = \"join\", stage = \"join\", who = \"server\" },\n", "", "round[2].terms[0].target", "a consensus that no step before it in the round joins", "join before it"),
        ("\"predict\", who = \"parties\" }", "\"predict\", who = \"parties\" }, { name = \"again\", stage = \"predict\", who = \"parties\" }", "round[1].stage", "steps 'predict' and 'again' are of one phase", "remove one"),
        ("    { name = \"evaluate\", stage = \"evaluate\", who = \"parties\" },\n", "", "round", "nothing to report", "stage = \"evaluate\""),
    ]);
    let disclosing = FEDMD.replace("\"reports\"", "\"reports\", \"weights\"");
    each_is_one_fault(&disclosing, &[
        ("round = [", "round = [{ name = \"average\", stage = \"average\", who = \"architectures\", rule = { weights = \"parties\" } },", "round[0].stage", "step 'average' reads what parties trained", "stage = \"train\""),
        ("round = [", "round = [{ name = \"ensemble\", stage = \"evaluate\", who = \"server\" },", "round[0].stage", "step 'ensemble' reads what parties trained", "stage = \"train\""),
    ]);
}

/// A step by which selected parties go on with what they have trained.
fn distilling(terms: &str, start: &str) -> String {
    format!(
        "    {{ name = \"digest\", stage = \"distill\", who = \"selected\", start = \"{start}\", terms = [{terms}], fit = {{ \
         epochs = 1, batch = 64, optimizer = {{ kind = \"adam\", lr = 0.001 }} }} }},\n"
    )
}

#[test]
fn a_mean_by_samples_finds_private_rows_in_what_leads_to_its_models() {
    const PREDICT: &str = "    { name = \"predict\", stage = \"predict\", who = \"selected\" },\n";
    let own = "{ on = \"public\", target = \"own\", loss = { kind = \"mse\" } }";
    let labels = "{ on = \"private\", target = \"labels\", loss = { kind = \"cross_entropy\" } }";
    let after_training = |terms: &str, start: &str, rule: &str| {
        assert_eq!(FEDDF.matches(PREDICT).count(), 1);
        let text = FEDDF.replace(PREDICT, &format!("{}{PREDICT}", distilling(terms, start)));
        let text = text.replace("{ weights = \"samples\" }", rule);
        toml::from_str::<Pipeline>(&text).unwrap().check()
    };
    let (samples, parties) = ("{ weights = \"samples\" }", "{ weights = \"parties\" }");
    let both = |first: &str, second: &str| format!("{first}, {second}");
    // What distils goes on from what was trained, or trains on private rows itself.
    for (terms, start) in [
        (own.to_owned(), "own"),
        (both(own, labels), "own"),
        (labels.to_owned(), "prototype"),
        (both(labels, own), "prototype"),
    ] {
        let faults = after_training(&terms, start, samples);
        assert!(faults.is_empty(), "{terms} from {start}: {faults:?}");
    }
    // It forgets what was trained; or nobody knows how many of its rows were private.
    for terms in [own.to_owned(), both(own, labels)] {
        let faults = after_training(&terms, "prototype", samples);
        let [fault] = &faults[..] else {
            panic!("{terms}: {faults:?}");
        };
        assert_eq!(fault.key, "round[6].rule", "{fault}");
        assert!(fault.message.contains("those of step 'digest' in the round"), "{fault}");
        assert!(fault.help.contains("weights = \"parties\""), "{fault}");
        assert!(after_training(&terms, "prototype", parties).is_empty(), "{terms}");
    }
}

#[test]
#[rustfmt::skip]
fn what_is_shown_is_disclosed() {
    const PROTOTYPE: &str = "\"prototype\", stage = \"distill\", who = \"architectures\", terms = [{ on = \"public\", target = \"own\", loss = { kind = \"mae\" } }], fit = { epochs = 1, batch = 2, optimizer = { kind = \"adam\", lr = 1 } } }, { name = \"digest\", stage = \"distill\", who = \"parties\", start = { step = \"prototype\" }";
    each_is_one_fault(FEDMD, &[
        ("\"predictions\", ", "", "discloses", "step 'predict' shows what 'discloses' does not name: predictions on public rows", "add \"predictions\""),
        ("\"consensus\", \"reports\"", "\"reports\"", "discloses", "step 'digest' shows", "add \"consensus\""),
        (", \"reports\"", "", "discloses", "step 'transfer' shows", "add \"reports\""),
        ("\"revisit\", stage = \"train\", who = \"parties\"", "\"revisit\", stage = \"train\", who = \"architectures\"", "discloses", "step 'revisit' shows", "add \"private_rows\""),
        ("\"digest\", stage = \"distill\", who = \"parties\"", PROTOTYPE, "discloses", "step 'digest' shows", "add \"prototypes\""),
    ]);
    each_is_one_fault(FEDDF, &[
        ("\"weights\", ", "", "discloses", "step 'ensemble' shows", "add \"weights\""),
        ("\"prototypes\", ", "", "discloses", "step 'train' shows", "add \"prototypes\""),
        ("\"validation_rows\", ", "", "discloses", "step 'distill' shows", "add \"validation_rows\""),
    ]);
}

#[test]
#[rustfmt::skip]
fn terms_can_be_computed() {
    each_is_one_fault(FEDMD, &[
        ("target = \"consensus\"", "target = \"labels\"", "round[3].terms[0].loss", "compares labels by cross entropy", "kind = \"cross_entropy\""),
        ("{ kind = \"kl\", t = 3.0, times_t2 = true }", "{ kind = \"cross_entropy\" }", "round[3].terms[0].loss", "predictions by another loss", "kl, mae or mse"),
        ("on = \"alignment\"", "on = \"public\"", "round[3].terms[0].on", "a consensus on the alignment set", "on = \"alignment\""),
        ("t = 3.0", "t = 0", "round[3].terms[0].loss", "temperature of step 'digest' is 0", "t = 1.0"),
        ("times_t2 = true }", "times_t2 = true }, weight = inf", "round[3].terms[0].weight", "weight of a term of step 'digest' is inf", "weight = 1.0"),
    ]);
}

#[test]
#[rustfmt::skip]
fn numbers_are_in_their_ranges() {
    each_is_one_fault(FEDDF, &[
        ("epochs = 20", "epochs = 0", "round[0].fit.epochs", "'epochs' of step 'train' is 0, and must be at least 1", "write epochs = 1"),
        ("batch = 64", "batch = 1", "round[0].fit.batch", "at least 2", "write batch = 32"),
        ("lr = 0.1", "lr = 0", "round[0].fit.optimizer.lr", "above 0", "write lr = 0.1"),
        ("lr = 0.1", "lr = 0.1, momentum = 1", "round[0].fit.optimizer.momentum", "below 1", "write momentum = 0.9"),
        ("lr = 0.1", "lr = 0.1, weight_decay = -1", "round[0].fit.optimizer.weight_decay", "at least 0", "write weight_decay = 0.0"),
        ("proximal = 0.01", "proximal = 0.01, clip = 0", "round[0].fit.clip", "'clip' of step 'train' is 0, and must be above 0", "write clip = 5.0"),
        ("proximal = 0.01", "proximal = 0.01, clip = inf", "round[0].fit.clip", "'clip' of step 'train' is inf", "write clip = 5.0"),
        ("proximal = 0.01", "proximal = nan", "round[0].fit.proximal", "is NaN, and must be at least 0", "write proximal = 0.0"),
        ("proximal = 0.01", "proximal = 0.01, head_l2 = -1", "round[0].fit.head_l2", "'head_l2' of step 'train' is -1, and must be at least 0", "write head_l2 = 0.0"),
        ("proximal = 0.01", "proximal = 0.01, head_l2 = inf", "round[0].fit.head_l2", "'head_l2' of step 'train' is inf", "write head_l2 = 0.0"),
        ("steps = 5000", "steps = 0", "round[6].fit.steps", "at least 1", "write steps = 1000"),
        ("lr = 0.001", "lr = inf", "round[6].fit.optimizer.lr", "above 0", "write lr = 0.001"),
        ("lr = 0.001", "lr = 0.001, beta_1 = 1", "round[6].fit.optimizer.beta_1", "below 1", "write beta_1 = 0.9"),
        ("lr = 0.001", "lr = 0.001, beta_2 = -1", "round[6].fit.optimizer.beta_2", "below 1", "write beta_2 = 0.999"),
        ("lr = 0.001", "lr = 0.001, epsilon = 0", "round[6].fit.optimizer.epsilon", "above 0", "write epsilon = 1e-8"),
        ("patience = 3", "patience = 0", "round[6].fit.stop.patience", "at least 1", "write patience = 3"),
        ("patience = 3", "patience = 3, min_delta = -1", "round[6].fit.stop.min_delta", "at least 0", "write min_delta = 0.0"),
        ("every = 100", "every = 0", "round[6].fit.stop.every", "at least 1", "write every = 100"),
    ]);
}

#[test]
#[rustfmt::skip]
fn what_is_watched_and_what_is_kept_is_there() {
    each_is_one_fault(FEDDF, &[
        ("schedule = \"cosine\"", "schedule = \"cosine\", stop = { patience = 1, watch = \"validation\" }", "round[0].fit.stop", "the server holds them", "remove watch"),
    ]);
    each_is_one_fault(FEDMD, &[
        ("{ kind = \"adam\", lr = 0.003 }", "{ kind = \"sgd\", lr = 0.003 }", "round[4].fit.optimizer", "'transfer' and 'revisit' keep one optimizer state 'private', of Adam there and of SGD without momentum here", "the same kind of optimizer"),
    ]);
}
