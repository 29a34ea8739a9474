//! The baselines that are made of a pipeline's own steps: what its parties reach without the others, and what all private
//! rows in one place would reach.
//!
//! In: a pipeline that keeps the rules of [`Pipeline::check`]. Out: another that keeps them. Pure.
//!
//! ```text
//! pipeline ──> its steps on private and public rows, each party going on with its own model ──> standalone
//!                                 └──> the same by the server, on the private rows of all ──> centralised
//! ```
//! Names, terms and settings of steps stay: a baseline trains as the pipeline does, with the same random streams, and what a
//! run file changes about a step holds in both.

use super::check::shown;
use super::{Disclosure, On, Pipeline, Stage, Start, Step, Who};
use crate::fit::Watch;

/// What parties reach alone.
pub const STANDALONE: &str = "standalone";
/// What all private rows in one place would reach.
pub const CENTRALISED: &str = "centralised";

impl Pipeline {
    /// The baseline of that name, made of this pipeline's steps. `None` of other names, and of a pipeline none of whose
    /// steps trains on private rows: it has nothing that could be compared.
    ///
    /// - `standalone`: the steps on private rows, without what of a step learns on the alignment set, which is there to
    ///   exchange; in the warm-up those on public rows too. A party goes on with its own model where it would start from
    ///   the server's. One that is not trained in the warm-up begins with what the server makes there.
    /// - `centralised`: the same steps by the server, once an architecture, on the private rows of all parties.
    ///
    /// Each scores its models at the end of every round.
    pub fn baseline(&self, name: &str) -> Option<Self> {
        let has_training = self.all_steps().any(is_on_private_rows);
        match name {
            STANDALONE if has_training => Some(self.standalone()),
            CENTRALISED if has_training => Some(self.standalone().in_one_place()),
            _ => None,
        }
    }

    fn standalone(&self) -> Self {
        let mut warmup: Vec<Step> = Vec::new();
        for mut step in self.warmup.iter().filter_map(without_exchange) {
            if step.who.is_parties() || is_on_private_rows(&step) {
                of_parties(&mut step, Who::Parties);
            }
            step.start = start(&step, &warmup);
            warmup.push(step);
        }
        if !warmup.iter().any(|step| step.who == Who::Parties) {
            let mut begin = Step::new(&unused("begin", warmup.iter()), Stage::Train, Who::Parties);
            begin.start = start(&begin, &warmup);
            warmup.push(begin);
        }

        let mut round: Vec<Step> = Vec::new();
        for mut step in self.round.iter().filter_map(without_exchange) {
            let who = match step.who {
                Who::Parties => Who::Parties,
                Who::Selected => Who::Selected,
                _ if is_on_private_rows(&step) => Who::Selected,
                _ => continue,
            };
            // Who takes somebody's model as it is keeps its own.
            if step.fit.is_none() {
                continue;
            }
            of_parties(&mut step, who);
            if step.start != Start::Fresh {
                step.start = Start::Own;
            }
            round.push(step);
        }
        let selected = !round.is_empty() && round.iter().all(|step| step.who == Who::Selected);
        // One name in all rounds: scores of one step are one curve.
        let name = unused(Stage::Evaluate.name(), warmup.iter().chain(&round));
        let evaluate = |who| Step::new(&name, Stage::Evaluate, who);
        warmup.push(evaluate(Who::Parties));
        round.push(evaluate(if selected { Who::Selected } else { Who::Parties }));
        named(STANDALONE, warmup, round)
    }

    /// The same of a pipeline whose parties exchange nothing, by the server.
    fn in_one_place(self) -> Self {
        let mut warmup: Vec<Step> = Vec::new();
        for mut step in self.warmup {
            let untrained = step.stage.makes_model() && step.fit.is_none();
            if step.who.is_parties() && untrained {
                if !warmup.is_empty() {
                    // The server has the model that parties would begin with.
                    continue;
                }
                step.stage = Stage::Pretrain;
                step.start = Start::Fresh;
            }
            step.who = Who::Architectures;
            warmup.push(step);
        }
        let round = self.round.into_iter().map(|step| Step {
            who: Who::Architectures,
            ..step
        });
        named(CENTRALISED, warmup, round.collect())
    }
}

fn is_on_private_rows(step: &Step) -> bool {
    step.terms.iter().any(|term| term.on == On::Private)
}

/// A step that makes a model, without what it learns on the alignment set; `None` where nothing is left of it.
fn without_exchange(step: &Step) -> Option<Step> {
    let mut kept = step.clone();
    kept.terms.retain(|term| term.on != On::Alignment);
    let learns = matches!(step.stage, Stage::Pretrain | Stage::Train | Stage::Distill);
    (learns && (step.fit.is_none() || !kept.terms.is_empty())).then_some(kept)
}

/// Lets parties do a step: they have no topic for pretraining, and no validation rows.
fn of_parties(step: &mut Step, who: Who) {
    step.who = who;
    if step.stage == Stage::Pretrain {
        step.stage = Stage::Train;
    }
    if let Some(stop) = step.fit.as_mut().and_then(|fit| fit.stop.as_mut()) {
        stop.watch = Watch::HeldOut;
    }
}

/// What a step of a warm-up starts from, of what the steps before it make: what it says where that is among it, or else the
/// newest model of the server, or new weights.
fn start(step: &Step, before: &[Step]) -> Start {
    let mut of_server = before.iter().filter(|made| made.who == Who::Architectures);
    match &step.start {
        Start::Fresh => Start::Fresh,
        Start::Own if before.iter().any(|made| made.who == step.who) => Start::Own,
        Start::Step(name) if of_server.clone().any(|made| made.name == *name) => step.start.clone(),
        _ => of_server
            .next_back()
            .map_or(Start::Fresh, |made| Start::Step(made.name.clone())),
    }
}

/// A name that none of these steps has.
fn unused<'a>(name: &str, steps: impl Iterator<Item = &'a Step> + Clone) -> String {
    let mut unused = name.to_owned();
    while steps.clone().any(|step| step.name == unused) {
        unused.push('_');
    }
    unused
}

/// A pipeline that discloses what its steps show.
fn named(name: &str, warmup: Vec<Step>, round: Vec<Step>) -> Pipeline {
    let mut pipeline = Pipeline {
        name: name.to_owned(),
        discloses: Vec::new(),
        warmup,
        round,
    };
    pipeline.discloses = shown(&pipeline);
    // Scores are somebody's, whoever works on them.
    if !pipeline.discloses.contains(&Disclosure::Reports) {
        pipeline.discloses.push(Disclosure::Reports);
    }
    pipeline
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::EarlyStop;

    const FEDMD: &str = include_str!("../../testdata/fedmd.toml");
    const FEDDF: &str = include_str!("../../testdata/feddf.toml");

    fn pipeline(text: &str) -> Pipeline {
        Pipeline::parse(text).unwrap()
    }

    fn of(pipeline: &Pipeline, name: &str) -> Pipeline {
        let baseline = pipeline.baseline(name).unwrap();
        let faults = baseline.check();
        assert!(faults.is_empty(), "{name} of {}: {faults:?}", pipeline.name);
        assert_eq!(baseline.name, name);
        baseline
    }

    /// Name, stage, doer and start of each step.
    fn sketch<'a>(steps: &'a [Step]) -> Vec<(&'a str, Stage, Who, Start)> {
        let sketch = |step: &'a Step| (step.name.as_str(), step.stage, step.who, step.start.clone());
        steps.iter().map(sketch).collect()
    }

    fn step(name: &str) -> Start {
        Start::Step(name.to_owned())
    }

    #[test]
    fn alone_parties_train_as_in_fedmd_and_exchange_nothing() {
        let fedmd = pipeline(FEDMD);
        let alone = of(&fedmd, STANDALONE);
        assert_eq!(alone.discloses, [Disclosure::Reports]);
        assert_eq!(alone.warmup[..2], fedmd.warmup[..2]);
        assert_eq!(alone.step(1, "revisit"), fedmd.step(1, "revisit"));
        let names: Vec<&str> = alone.all_steps().map(|step| step.name.as_str()).collect();
        assert_eq!(names, ["pretrain", "transfer", "evaluate", "revisit", "evaluate"]);
        // Alone nothing crosses any more.
        assert_eq!(of(&alone, STANDALONE), alone);
    }

    #[test]
    fn in_one_place_the_server_trains_as_parties_would() {
        let fedmd = pipeline(FEDMD);
        let pooled = of(&fedmd, CENTRALISED);
        assert_eq!(pooled.discloses, [Disclosure::PrivateRows, Disclosure::Reports]);
        assert!(pooled.all_steps().all(|step| step.who == Who::Architectures));
        for (round, name) in [(0, "pretrain"), (0, "transfer"), (1, "revisit")] {
            let (own, other) = (pooled.step(round, name).unwrap(), fedmd.step(round, name).unwrap());
            assert_eq!(
                (&own.terms, &own.fit, &own.keep),
                (&other.terms, &other.fit, &other.keep)
            );
            assert_eq!(own.start, other.start, "{name}");
        }
        // And back again.
        let alone = of(&pooled, STANDALONE);
        assert_eq!(alone.warmup, of(&fedmd, STANDALONE).warmup);
        assert_eq!(of(&pooled, CENTRALISED), pooled);
    }

    #[test]
    fn alone_a_party_of_feddf_goes_on_with_its_own_model_and_begins_with_the_server_s() {
        let feddf = pipeline(FEDDF);
        let alone = of(&feddf, STANDALONE);
        assert_eq!(alone.discloses, [Disclosure::Reports]);
        assert_eq!(
            sketch(&alone.warmup),
            [
                ("initial", Stage::Pretrain, Who::Architectures, Start::Fresh),
                ("begin", Stage::Train, Who::Parties, step("initial")),
                ("evaluate", Stage::Evaluate, Who::Parties, Start::Own),
            ]
        );
        assert_eq!(
            sketch(&alone.round),
            [
                ("train", Stage::Train, Who::Selected, Start::Own),
                ("evaluate", Stage::Evaluate, Who::Selected, Start::Own),
            ]
        );
        assert_eq!(alone.round[0].fit, feddf.round[0].fit);
        assert_eq!(of(&alone, STANDALONE), alone);

        let pooled = of(&feddf, CENTRALISED);
        assert_eq!(
            sketch(&pooled.warmup),
            [
                ("initial", Stage::Pretrain, Who::Architectures, Start::Fresh),
                ("evaluate", Stage::Evaluate, Who::Architectures, Start::Own),
            ]
        );
        assert_eq!(
            sketch(&pooled.round),
            [
                ("train", Stage::Train, Who::Architectures, Start::Own),
                ("evaluate", Stage::Evaluate, Who::Architectures, Start::Own),
            ]
        );
    }

    #[test]
    fn parties_begin_with_what_the_server_trained_on_public_rows() {
        let pretrained = FEDDF.replace(
            "start = \"fresh\" },",
            "start = \"fresh\" },\n    { name = \"warm\", stage = \"pretrain\", who = \"architectures\", terms = [{ on = \"public\", \
             target = \"labels\", loss = { kind = \"cross_entropy\" } }], fit = { epochs = 1, batch = 8, optimizer = { kind = \
             \"adam\", lr = 0.001 }, stop = { patience = 1, watch = \"validation\" } } },",
        );
        let alone = of(&pipeline(&pretrained), STANDALONE);
        assert_eq!(alone.step(0, "begin").unwrap().start, step("warm"));
        assert_eq!(alone.discloses, [Disclosure::ValidationRows, Disclosure::Reports]);
        let pooled = of(&pipeline(&pretrained), CENTRALISED);
        assert!(pooled.step(0, "begin").is_none() && pooled.step(0, "warm").is_some());
    }

    #[test]
    fn what_a_step_learns_beside_private_rows_is_left_out_of_it() {
        // Labels and the consensus in one step, from the prototype that was averaged in the round.
        let both = FEDMD
            .replace(
                "keep = \"digest\", terms = [",
                "keep = \"digest\", terms = [{ on = \"private\", target = \"labels\", loss = { kind = \"cross_entropy\" } }, ",
            )
            .replace("start = { step = \"pretrain\" }", "start = \"fresh\"")
            .replace("    { name = \"pretrain\",", "    # { name = \"pretrain\",");
        let alone = of(&pipeline(&both), STANDALONE);
        let digest = alone.step(1, "digest").unwrap();
        assert_eq!(digest.terms.len(), 1);
        assert_eq!(digest.terms[0].on, On::Private);
        assert_eq!(alone.warmup[0].start, Start::Fresh, "there is no server's model");
        let pooled = of(&pipeline(&both), CENTRALISED);
        assert_eq!(pooled.warmup[0].start, Start::Fresh);
    }

    #[test]
    fn where_nobody_makes_a_model_before_the_first_round_everyone_begins_with_new_weights() {
        let fresh = FEDDF.replace("start = \"prototype\"", "start = \"fresh\"").replace(
            "    { name = \"initial\", stage = \"pretrain\", who = \"architectures\", start = \"fresh\" },\n",
            "",
        );
        let alone = of(&pipeline(&fresh), STANDALONE);
        assert_eq!(
            sketch(&alone.warmup)[0],
            ("begin", Stage::Train, Who::Parties, Start::Fresh)
        );
        assert_eq!(alone.round[0].start, Start::Fresh, "each round anew, as it says");
        let pooled = of(&pipeline(&fresh), CENTRALISED);
        assert_eq!(
            sketch(&pooled.warmup)[0],
            ("begin", Stage::Pretrain, Who::Architectures, Start::Fresh)
        );
    }

    #[test]
    fn what_only_the_server_holds_stops_no_party() {
        let mut pooled = of(&pipeline(FEDMD), CENTRALISED);
        let transfer = pooled.warmup.iter_mut().find(|step| step.name == "transfer").unwrap();
        transfer.fit.as_mut().unwrap().stop = Some(EarlyStop {
            watch: Watch::Validation,
            ..EarlyStop::after(3, 0.0)
        });
        pooled.discloses = shown(&pooled);
        let alone = of(&pooled, STANDALONE);
        let stop = alone.step(0, "transfer").unwrap().fit.as_ref().unwrap().stop.as_ref();
        assert_eq!(stop.unwrap().watch, Watch::HeldOut);
    }

    #[test]
    fn names_of_a_pipeline_s_steps_are_not_taken_again() {
        let named = FEDDF.replace("\"initial\"", "\"evaluate\"");
        let alone = of(&pipeline(&named), STANDALONE);
        let names: Vec<&str> = alone.warmup.iter().map(|step| step.name.as_str()).collect();
        assert_eq!(names, ["evaluate", "begin", "evaluate_"]);
        assert_eq!(alone.round.last().map(|step| step.name.as_str()), Some("evaluate_"));
    }

    #[test]
    fn without_training_on_private_rows_there_is_no_baseline() {
        let mut fedmd = pipeline(FEDMD);
        for steps in [&mut fedmd.warmup, &mut fedmd.round] {
            steps.retain(|step| !is_on_private_rows(step));
        }
        assert_eq!(fedmd.baseline(STANDALONE), None);
        assert_eq!(pipeline(FEDMD).baseline("self_digest"), None);
    }
}
