//! What a run must come to, computed from the resolved run and the member lists of its closed phases alone: no log, no
//! store, no tasks, and none of the code that makes them.

use super::learner::{self, Fit};
use fedstill_schemas::events::Closed;
use fedstill_schemas::pipeline::{Stage, Start, Step, Target};
use fedstill_schemas::plan::phases;
use fedstill_schemas::resolved::ResolvedRun;
use fedstill_schemas::task::{Scores, Subject};
use half::f16;
use std::collections::BTreeMap;

/// A model slot's state.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Model {
    pub(super) weights: Vec<u8>,
    /// Optimizer states by name.
    pub(super) kept: BTreeMap<String, Vec<u8>>,
}

/// What a run is after a round.
#[derive(Clone, Debug, Default)]
pub(super) struct Oracle {
    pub(super) models: BTreeMap<Subject, Model>,
    pub(super) scores: BTreeMap<Subject, Scores>,
    /// Rows x predictions on each x classes, where the round made one.
    pub(super) consensus: Option<Vec<f32>>,
}

impl Oracle {
    /// Goes through a round with the members of its closed phases, in order; the archive's is not needed.
    /// What the parties in `abstaining` predict is unusable.
    pub(super) fn go_through(&mut self, run: &ResolvedRun, round: u32, closed: &[Closed], abstaining: &[Subject]) {
        self.scores.clear();
        self.consensus = None;
        let mut predicting: Vec<Subject> = Vec::new();
        let mut trained: Vec<Subject> = Vec::new();
        for (phase, closed) in phases(&run.pipeline, round).iter().zip(closed) {
            for step in &phase.steps {
                let Some(step) = run.pipeline.step(round, step) else {
                    continue;
                };
                match step.stage {
                    Stage::Predict => {
                        let members = closed.members.keys().copied();
                        predicting = members.filter(|member| !abstaining.contains(member)).collect();
                    }
                    Stage::Aggregate => self.aggregate(run, round, &predicting),
                    Stage::Join | Stage::Archive => {}
                    Stage::Evaluate => {
                        for member in closed.members.keys() {
                            let scores = match member {
                                Subject::Server => {
                                    let teachers = trained.iter().map(|party| (1.0, &self.models[party].weights[..]));
                                    match &trained[..] {
                                        [only] => learner::evaluate(&self.models[only].weights),
                                        _ => learner::evaluate(&learner::average(teachers)),
                                    }
                                }
                                member => learner::evaluate(&self.models[member].weights),
                            };
                            self.scores.insert(*member, scores);
                        }
                    }
                    Stage::Pretrain if step.fit.is_none() => {
                        for member in closed.members.keys() {
                            self.put(*member, learner::initial(run, *member));
                        }
                    }
                    Stage::Pretrain | Stage::Train | Stage::Distill => {
                        for member in closed.members.keys() {
                            self.fit(run, round, step, *member);
                        }
                        let parties = closed.members.keys().copied();
                        let parties: Vec<Subject> = parties.filter(|who| matches!(who, Subject::Party(_))).collect();
                        if !parties.is_empty() {
                            trained = parties;
                        }
                    }
                    Stage::Average => {
                        for member in closed.members.keys() {
                            let Subject::Architecture(index) = member else {
                                panic!("only prototypes are averaged")
                            };
                            let own = |party: &&Subject| matches!(party, Subject::Party(slot) if architecture(run, *slot) == *index);
                            // The rows that every fit of the simulation says.
                            let rows = run.parties.len() as f64;
                            let models = trained.iter().filter(own);
                            let models = models.map(|party| (rows, &self.models[party].weights[..]));
                            let mean = learner::average(models);
                            self.put(*member, mean);
                        }
                    }
                }
            }
        }
    }

    /// A model that brings no state.
    fn put(&mut self, subject: Subject, weights: Vec<u8>) {
        let kept = BTreeMap::new();
        self.models.insert(subject, Model { weights, kept });
    }

    fn fit(&mut self, run: &ResolvedRun, round: u32, step: &Step, subject: Subject) {
        let start = match &step.start {
            Start::Fresh => None,
            Start::Own => Some(self.models[&subject].clone()),
            Start::Step(_) | Start::Prototype => {
                let Subject::Party(slot) = subject else {
                    panic!("only parties start from an architecture's model")
                };
                // Its weights only.
                let prototype = Subject::Architecture(architecture(run, slot));
                Some(Model {
                    weights: self.models[&prototype].weights.clone(),
                    kept: BTreeMap::new(),
                })
            }
        };
        let reads_consensus = step.terms.iter().any(|term| term.target == Target::Consensus);
        let mut kept = start.as_ref().map(|model| model.kept.clone()).unwrap_or_default();
        let (weights, optimizer) = learner::fit(&Fit {
            seed: run.seed,
            round,
            step: &step.name,
            subject,
            start: start.as_ref().map(|model| &model.weights[..]),
            optimizer: step
                .keep
                .as_ref()
                .and_then(|keep| kept.get(keep))
                .map(|state| &state[..]),
            consensus: self.consensus.as_deref().filter(|_| reads_consensus),
        });
        if let Some(keep) = &step.keep {
            kept.insert(keep.clone(), optimizer);
        }
        self.models.insert(subject, Model { weights, kept });
    }

    /// Each party once, in float64: small multiples of 1/64, whose sums are exact.
    fn aggregate(&mut self, run: &ResolvedRun, round: u32, members: &[Subject]) {
        let rows = learner::draws(run, round).alignment;
        let predictions = rows.len() * run.labels_per_row() as usize;
        let mut sums = vec![0f64; predictions * run.head() as usize];
        for member in members {
            let logits = learner::predict(run, &self.models[member].weights, &rows);
            for (sum, value) in sums.iter_mut().zip(logits) {
                *sum += f16::from_f32(value).to_f64();
            }
        }
        let mean = sums.iter().map(|sum| (sum / members.len() as f64) as f32);
        self.consensus = Some(mean.collect());
    }
}

fn architecture(run: &ResolvedRun, slot: u32) -> u32 {
    let own = &run.parties[slot as usize];
    let place = run.architectures().iter().position(|other| *other == own);
    place.expect("a party's architecture is one of the run's") as u32
}
