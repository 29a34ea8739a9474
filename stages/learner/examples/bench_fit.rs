//! Images a second of a training step (forward, backward, Adam), by architecture and batch, on one thread.
//!
//! `cargo run --release -p fedstill-learner --example bench_fit -- [architecture ..]`

use fedstill_learner::{Dataset, FitJob, Model, Registry, Stream, TargetData, TermData, cost, fit, job};
use fedstill_schemas::data::Shape;
use fedstill_schemas::fit::{Fit, Loss, Optimizer};

fn main() {
    let named: Vec<String> = std::env::args().skip(1).collect();
    let architectures = if named.is_empty() {
        ["lenet", "cnn[16,32]", "cnn[16,32,64]", "mlp[200,200]", "resnet[18]"]
            .map(str::to_owned)
            .to_vec()
    } else {
        named
    };
    let shape = Shape {
        channels: 1,
        height: 28,
        width: 28,
    };
    let mut stream = Stream::new(0, 0, "bench", "");
    let images = (0..4096 * shape.len()).map(|_| stream.below(256) as u8).collect();
    let data = Dataset::from_rows(shape, 10, images, (0..4096).map(|row| row % 10).collect());
    for architecture in architectures {
        let architecture = architecture.parse().expect("an architecture");
        for batch in [8, 32, 64, 128] {
            let model = Model {
                architecture: &architecture,
                shape,
                classes: 10,
                labels_per: data.labels_per(),
            };
            // Two seconds or so of any network.
            let affordable = 2e10 / cost(&Registry::default(), &model).expect("a network");
            let rows: Vec<u32> = (0..(affordable as u32).clamp(2 * batch, 2048.min(batch * 64))).collect();
            let seconds = |epochs| {
                let settings = Fit::new(epochs, batch, Optimizer::adam(1e-3), None);
                let started = now();
                let fitted = job(|| {
                    fit(
                        &Registry::default(),
                        &FitJob {
                            model,
                            start: None,
                            optimizer: None,
                            terms: vec![TermData {
                                data: &data,
                                rows: &rows,
                                target: TargetData::Labels { offset: 0 },
                                loss: Loss::CrossEntropy,
                                weight: 1.0,
                                augment: &[],
                            }],
                            validation: None,
                            settings: &settings,
                            seed: 0,
                            round: 0,
                            step: "bench",
                            subject: "0",
                            cancel: &|| false,
                        },
                    )
                });
                fitted.expect("the job fits");
                started.elapsed().as_secs_f64()
            };
            // What a fit takes beside its steps, to draw weights and to write them, is in one epoch as in three.
            let fastest = |epochs| (0..3).map(|_| seconds(epochs)).fold(f64::INFINITY, f64::min);
            let best = 2.0 * rows.len() as f64 / (fastest(3) - fastest(1));
            println!("{architecture:<16} batch {batch:>4}: {best:>8.0} images/s");
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn now() -> std::time::Instant {
    std::time::Instant::now()
}
