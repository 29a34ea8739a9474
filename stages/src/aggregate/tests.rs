use super::*;
use crate::context::json;
use crate::federation::make_topics;
use crate::learn::Learner;
use crate::store::Store;
use crate::tensors::Tensors;
use bytes::Bytes;
use fedstill_learner::Registry;
use fedstill_log::{Clock, Embedded, Log, ManualClock};
use fedstill_schemas::data::{DataSet, Labels, Partition, Shape};
use fedstill_schemas::digest::Digest;
use fedstill_schemas::events::Close;
use fedstill_schemas::pipeline::{By, Disclosure, Pipeline, Rule, Selection, Stage, Start, Step, Who};
use fedstill_schemas::plan::{Draws, Plan, chunks};
use fedstill_schemas::resolved::{ResolvedRun, Simulate, VERSION};
use fedstill_schemas::task::{Attempt, Task};
use half::f16;
use std::sync::Arc;

const RUN: &str = "large-fedmd-0";
const CLASSES: u32 = 1500;
const ROWS: u32 = 70;
/// Rows of a chunk: three chunks, the last one smaller.
const CHUNK: u32 = 30;
/// Slots 0 to 4 predict as they should.
const USABLE: u32 = 5;
/// Has its rows in another order.
const DISORDERED: u32 = 5;
/// Predicts an infinity.
const INFINITE: u32 = 6;
/// Has predicted, but is no member.
const LATE: u32 = 7;
const PARTIES: u32 = 8;

/// In which slots' records come.
const ORDERS: [[u32; PARTIES as usize]; 3] = [
    [0, 1, 2, 3, 4, 5, 6, 7],
    [7, 6, 5, 4, 3, 2, 1, 0],
    [3, 0, 6, 4, 7, 1, 5, 2],
];

/// A round whose parties have all predicted.
struct Predicted {
    context: Context,
    planned: Arc<Planned>,
}

impl Predicted {
    /// Records come in the order of `slots`; at last the first of them predicts once more, and something else.
    fn new(rule: &Rule, slots: &[u32]) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(1000));
        let log = Embedded::in_memory(clock);
        make_topics(&log, 1).unwrap();
        let store = Store::in_memory(PARTIES);
        let at = Attempt {
            run: RUN.to_owned(),
            round: 0,
            attempt: 0,
        };
        let run = resolved(rule);
        let draws = Draws {
            private: Vec::new(),
            public: (0..ROWS).collect(),
            alignment: (0..ROWS).rev().collect(),
            validation: Vec::new(),
        };
        let plan = Plan {
            version: VERSION,
            at: at.clone(),
            through: 0,
            resolved: Digest::of_json(&run),
            close: Close {
                quorum: 0.5,
                deadline_ms: None,
            },
            manifest: None,
            draws: store.put_part(RUN, Place::Shared, json(&draws)).unwrap(),
            chunks: chunks(ROWS, CHUNK, 1),
            partitions: names::topics().into_iter().map(|topic| (topic.to_owned(), 1)).collect(),
            logits_start: vec![0],
            selected: None,
        };
        let planned = Arc::new(Planned::new(run, plan, None));
        for slot in slots {
            log.append(&messages(&planned, &draws, *slot, 0.0)).unwrap();
        }
        log.append(&messages(&planned, &draws, slots[0], 1.0)).unwrap();
        let closed = Closed {
            version: VERSION,
            at: at.clone(),
            phase: 0,
            enough: true,
            members: (0..LATE).map(|slot| (Subject::Party(slot), Vec::new())).collect(),
            missing: BTreeMap::new(),
            logits_end: vec![log.offsets(names::LOGITS, 0).unwrap().end],
            wire_bytes: BTreeMap::new(),
        };
        store.create_json(&names::closed_object(&at, 0), closed).unwrap();
        let learner = Arc::new(Tensors::new(Registry::default(), []));
        let context = Context::new(Arc::new(log), store, learner);
        Self { context, planned }
    }

    /// What `aggregate` makes of all chunks.
    fn output(
        &self,
        aggregate: impl Fn(&Context, &Inputs<'_>) -> Result<Output, StageError>,
    ) -> Result<Output, StageError> {
        let task = Task {
            version: VERSION,
            at: self.planned.at().clone(),
            resolved: self.planned.resolved,
            phase: 1,
            step: Stage::Aggregate.name().to_owned(),
            stage: Stage::Aggregate,
            subject: Subject::Partition(0),
            reads: BTreeMap::new(),
            members: None,
        };
        let inputs = Inputs {
            task: &task,
            planned: Arc::clone(&self.planned),
            results: BTreeMap::new(),
        };
        aggregate(&self.context, &inputs)
    }

    /// Fails unless the task fails, and says that.
    fn fails(&self, reason: &str) {
        let error = self.output(run).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }

    /// The consensus of all chunks and how they came about, by `aggregate`.
    fn consensus(
        &self,
        aggregate: impl Fn(&Context, &Inputs<'_>) -> Result<Output, StageError>,
    ) -> (Vec<f32>, Vec<ChunkReport>) {
        let output = self.output(aggregate).unwrap();
        let Report::Consensus { chunks } = output.report else {
            panic!("aggregate reports a consensus");
        };
        let values = chunks.iter().flat_map(|report| {
            let (_, message) = &output.parts[&consensus_part(report.chunk)];
            predictions::decode(message).unwrap().values.to_f32()
        });
        (values.collect(), chunks)
    }

    fn by(&self, processor: Option<&Processor>, held: usize) -> (Vec<f32>, Vec<ChunkReport>) {
        self.consensus(|context, inputs| aggregate(context, inputs, processor, held))
    }

    /// How many dead letters there are.
    fn dead(&self) -> u64 {
        self.context.log.offsets(names::DEAD, 0).unwrap().end
    }
}

/// A party's predictions of all chunks, the values moved by as much.
fn messages(planned: &Planned, draws: &Draws, slot: u32, moved: f32) -> Vec<Message> {
    /// Replaced by an infinity, which no encoder takes.
    const MARK: f32 = 12_345.678;
    let at = planned.at();
    let step = planned.phases[0].steps[0].as_str();
    let messages = (0..).zip(&planned.plan.chunks).map(|(chunk, slice)| {
        let rows = slice.start..slice.start + slice.rows;
        let logits = rows.flat_map(|row| (0..CLASSES).map(move |class| logit(slot, row, class) + moved));
        let mut values: Vec<f32> = logits.collect();
        let mut samples = draws.alignment[slice.range()].to_vec();
        let mut precision = planned.run.precision;
        if slot == DISORDERED {
            samples.reverse();
        }
        if slot == INFINITE {
            values[1] = MARK;
            precision = Precision::Float32;
        }
        let identity = Identity {
            at: at.clone(),
            step: step.to_owned(),
            chunk,
            slot: Some(slot),
        };
        let mut value = predictions::encode(&identity, &samples, CLASSES, &values, precision)
            .unwrap()
            .to_vec();
        if slot == INFINITE {
            let place = value.windows(4).position(|four| four == MARK.to_le_bytes()).unwrap();
            value[place..place + 4].copy_from_slice(&f32::NEG_INFINITY.to_le_bytes());
        }
        let key = names::chunk_key(at, step, chunk);
        let subject = Subject::Party(slot).to_string();
        Message {
            topic: names::LOGITS.to_owned(),
            partition: 0,
            headers: envelope::headers(Kind::Predictions, at, &format!("{key}/{subject}"), &subject),
            key: key.into(),
            value: Bytes::from(value),
        }
    });
    messages.collect()
}

/// A multiple of 2^-8 between -4 and 4, and 6 more for the row's favourite, which one of five does not share.
fn logit(slot: u32, row: u32, class: u32) -> f32 {
    let mixed = (slot + 1).wrapping_mul(0x9e37_79b9) ^ (row * CLASSES + class);
    let mixed = mixed.wrapping_mul(0x85eb_ca6b);
    let mixed = (mixed ^ (mixed >> 15)).wrapping_mul(0xc2b2_ae35) >> 21;
    let favours = class == row * 7 % CLASSES && slot != row % USABLE;
    mixed as f32 / 256.0 - 4.0 + if favours { 6.0 } else { 0.0 }
}

/// A run whose first round predicts and aggregates.
fn resolved(rule: &Rule) -> ResolvedRun {
    let step = |stage: Stage, who, start, rule| Step {
        name: stage.name().to_owned(),
        stage,
        who,
        start,
        terms: Vec::new(),
        fit: None,
        rule,
        keep: None,
        drop_worst: false,
    };
    let shape = Shape {
        channels: 1,
        height: 1,
        width: 1,
    };
    let set = |name: &str| DataSet::whole(Digest::of(name.as_bytes()), ROWS, CLASSES, shape);
    ResolvedRun {
        version: VERSION,
        pipeline: Pipeline {
            name: "fedmd".to_owned(),
            discloses: vec![Disclosure::Predictions, Disclosure::Consensus],
            warmup: vec![
                step(Stage::Predict, Who::Parties, Start::Fresh, None),
                step(Stage::Aggregate, Who::Partitions, Start::Own, Some(rule.clone())),
            ],
            round: Vec::new(),
        },
        seed: 0,
        parties: vec!["mlp[32]".parse().unwrap(); PARTIES as usize],
        identities: Vec::new(),
        private: set("private"),
        public: Some(set("public")),
        test: set("test"),
        labels: Labels::Shared,
        partition: Partition::Iid,
        alignment: ROWS,
        precision: Precision::Float16,
        selection: Selection::All,
        validation: None,
        simulate: Simulate::default(),
    }
}

/// The GPU that there is, or a line that says that tests were skipped for want of one.
fn gpu() -> Option<Processor> {
    let found = Processor::find("gpu");
    found
        .inspect_err(|error| {
            let missing = fedstill_test_servers::Missing(error.to_string());
            fedstill_test_servers::skip("aggregation on a GPU", &missing);
        })
        .ok()
}

/// The CPU goes the same way as a GPU where a test asks it to.
fn processors() -> Vec<Processor> {
    std::iter::once(Processor::default()).chain(gpu()).collect()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

#[test]
fn a_processor_comes_near_the_exact_sums_with_the_same_bits_for_records_in_any_order() {
    for rule in &[Rule::Mean, Rule::MeanProbability] {
        let (exact, reports) = Predicted::new(rule, &ORDERS[0]).by(None, HELD);
        assert_eq!(exact.len(), (ROWS * CLASSES) as usize);
        let largest = exact.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
        for processor in processors() {
            let mut first: Option<Vec<u32>> = None;
            for order in ORDERS {
                let round = Predicted::new(rule, &order);
                for _ in 0..2 {
                    let (found, said) = round.by(Some(&processor), HELD);
                    assert_eq!(found.len(), exact.len());
                    for (found, exact) in found.iter().zip(&exact) {
                        assert!((found - exact).abs() <= 1e-5 * largest, "{found} {exact} by {rule:?}");
                    }
                    let bits = bits(&found);
                    assert!(*first.get_or_insert_with(|| bits.clone()) == bits, "{order:?}");
                    for (said, exact) in said.iter().zip(&reports) {
                        assert!((said.entropy - exact.entropy).abs() < 1e-3);
                        let entropy = exact.entropy;
                        assert_eq!(
                            &ChunkReport {
                                entropy,
                                ..said.clone()
                            },
                            exact
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn whoever_cannot_be_used_abstains_by_name_and_a_repeat_and_a_late_record_change_nothing() {
    let honest: Vec<u32> = (0..USABLE).collect();
    for rule in &[Rule::Mean, Rule::MeanProbability] {
        for processor in [None, Some(&Processor::default())] {
            let (alone, _) = Predicted::new(rule, &honest).by(processor, HELD);
            let (found, reports) = Predicted::new(rule, &ORDERS[2]).by(processor, HELD);
            assert!(bits(&found) == bits(&alone), "{rule:?}");
            assert_eq!(reports.len(), 3);
            for report in reports {
                assert_eq!(report.members, honest);
                let [disordered, infinite] =
                    [DISORDERED, INFINITE].map(|slot| &report.abstentions[&Subject::Party(slot)]);
                assert!(disordered.contains("another order"), "{disordered}");
                assert!(infinite.contains("not finite"), "{infinite}");
                assert_eq!(report.abstentions.len(), 2);
            }
        }
    }
}

#[test]
fn parties_count_by_their_weights_over_those_that_are_there_in_any_order_and_on_any_processor() {
    let weights = [1.0, 0.3, 0.5, 0.0, 2.5, 1.0, 1.0, 7.0];
    let rule = Rule::Weights(By::Slots(weights.to_vec()));
    // All that are usable, and all but one of them.
    for (orders, members) in [
        (ORDERS.map(|order| order.to_vec()).to_vec(), vec![0, 1, 2, 3, 4]),
        (vec![vec![4, 2, 1, 3], vec![1, 6, 3, 2, 5, 4]], vec![1, 2, 3, 4]),
    ] {
        let logits = |row: u32, class: u32| {
            let mean = members.iter().map(|slot: &u32| {
                let value = f16::from_f32(logit(*slot, row, class)).to_f64();
                weights[*slot as usize] * value
            });
            let all: f64 = members.iter().map(|slot| weights[*slot as usize]).sum();
            mean.sum::<f64>() / all
        };
        let expected = (0..ROWS).flat_map(|row| (0..CLASSES).map(move |class| (row, class)));
        let expected: Vec<f64> = expected.map(|(row, class)| logits(row, class)).collect();
        let mut first: Option<Vec<u32>> = None;
        for order in &orders {
            let round = Predicted::new(&rule, order);
            for processor in [None, Some(&Processor::default())] {
                let (found, reports) = round.by(processor, HELD);
                assert!(reports.iter().all(|report| report.members == members), "{reports:?}");
                assert_eq!(found.len(), expected.len());
                for (found, expected) in found.iter().zip(&expected) {
                    assert!((f64::from(*found) - expected).abs() <= 1e-6 * (1.0 + expected.abs()));
                }
                let bits = bits(&found);
                assert!(*first.get_or_insert_with(|| bits.clone()) == bits, "{order:?}");
            }
        }
    }
}

#[test]
fn a_rule_for_other_parties_and_members_without_weight_fail_with_the_reason() {
    for (weights, reason) in [
        (vec![1.0; 3], "its rule lists 3 weights, and the run has 8 parties"),
        (
            vec![0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0],
            "needs one that has a weight in its rule",
        ),
    ] {
        let round = Predicted::new(&Rule::Weights(By::Slots(weights)), &ORDERS[0]);
        round.fails(reason);
    }
}

#[test]
fn a_reason_names_who_is_missing_only_where_somebody_is() {
    let rule = Rule::Weights(By::Slots(vec![0.0, 1.0]));
    let reason = |members: &[u32]| {
        let logits = predictions::Values::Float32(vec![1.0f32, 2.0].into());
        let mut combination = Combination::new(&rule, 1, 2, None);
        combination.add(&[0], &[Summable::check(logits, 2).unwrap()]);
        let sum = Sum {
            chunk: 3,
            samples: Vec::new(),
            combination,
            votes: Votes::new(1, 2),
            usable: Vec::new(),
            slots: Vec::new(),
            counted: BTreeSet::from([0]),
            refused: BTreeMap::new(),
        };
        let members: BTreeSet<u32> = members.iter().copied().collect();
        let error = finish(sum, 2, &members, &BTreeMap::new(), 1).unwrap_err();
        error.to_string()
    };
    let nobody = "chunk 3 has predictions of 1 party and needs one that has a weight in its rule";
    assert_eq!(reason(&[0]), nobody);
    let absent = format!("{nobody}; without: party-1 (its predictions are not on the log)");
    assert_eq!(reason(&[0, 1]), absent);
}

#[test]
fn what_cannot_be_held_at_once_is_read_again_with_the_same_outcome() {
    let processor = Processor::default();
    let at_once = Predicted::new(&Rule::Mean, &ORDERS[1]);
    let one_by_one = Predicted::new(&Rule::Mean, &ORDERS[1]);
    let (expected, reports) = at_once.by(Some(&processor), HELD);
    let (found, said) = one_by_one.by(Some(&processor), 0);
    assert!(bits(&found) == bits(&expected));
    assert_eq!(said, reports);
    // Of two parties, each of three chunks, once.
    assert_eq!((at_once.dead(), one_by_one.dead()), (6, 6));
}

#[test]
fn as_many_chunks_are_held_as_fit_and_one_at_least() {
    let values = 174 * 1500;
    assert_eq!(fitting(HELD, 10, values), 25);
    assert_eq!(fitting(HELD, 100, values), 2);
    assert_eq!(fitting(HELD, 1000, values), 1);
    assert_eq!(fitting(HELD, 0, values), 1);
}

#[test]
fn predictions_of_a_large_head_go_to_the_gpu_that_a_worker_has_and_all_others_to_exact_sums() {
    let mut round = Predicted::new(&Rule::MeanProbability, &ORDERS[0]);
    assert!(round.context.learner.combiner(CLASSES).is_none());
    assert!(bits(&round.consensus(run).0) == bits(&round.by(None, HELD).0));
    let Some(gpu) = gpu() else { return };
    let learner = Tensors::new(Registry::default().on(gpu.clone()), []);
    assert!(learner.combiner(CLASSES).is_some() && learner.combiner(10).is_none());
    round.context.learner = Arc::new(learner);
    assert!(bits(&round.consensus(run).0) == bits(&round.by(Some(&gpu), HELD).0));
}

#[test]
fn entropy_of_equal_logits_is_the_logarithm_of_their_number() {
    assert!((entropy(&[3.0; 8]) - 8f64.ln()).abs() < 1e-12);
    assert!(entropy(&[1000.0, 0.0]).abs() < 1e-12);
}
