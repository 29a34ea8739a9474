//! The same bits whatever runs beside, and what they depend on.

use super::{ALL, rows, rows_of_five};
use crate::FitJob;
use crate::testing::{SHAPE, adam, architecture, job, labels, patterns, positions, run};

/// The other families, whose layers take more time.
const LARGER: [&str; 6] = [
    "2nn",
    "mcmahan",
    "fedmd[64,128,192;0.2]",
    "resnet[8]",
    "resnetgn[8]",
    "charlstm[1]",
];

#[test]
fn the_same_job_gives_the_same_bits_alone_and_beside_others() {
    let rows = rows(90);
    let once = ALL.into_iter().chain(LARGER).map(|name| (name, rows_of_five(name, 90)));
    for (name, data) in once.chain([("charlstm[1]", positions(6, 90))]) {
        let architecture = architecture(name);
        let settings = adam(2, 16);
        let solo = run(&job(&architecture, vec![labels(&data, &rows)], &settings)).unwrap();
        let train = || crate::job(|| run(&job(&architecture, vec![labels(&data, &rows)], &settings)).unwrap());
        std::thread::scope(|scope| {
            let beside: Vec<_> = (0..3).map(|_| scope.spawn(train)).collect();
            for thread in beside {
                assert_eq!(thread.join().unwrap(), solo, "{name}");
            }
        });
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        assert_eq!(pool.install(train), solo, "{name}");
    }
}

#[test]
fn seed_round_step_and_subject_change_the_result_and_only_the_seed_the_start() {
    let data = patterns(SHAPE, 40, 4);
    let rows = rows(40);
    let (architecture, settings) = (architecture("cnn[3]"), adam(1, 8));
    let with = |seed, round, step, subject| {
        let base = job(&architecture, vec![labels(&data, &rows)], &settings);
        run(&FitJob {
            seed,
            round,
            step,
            subject,
            ..base
        })
        .unwrap()
        .weights
    };
    let base = with(1, 1, "train", "0");
    assert_eq!(base, with(1, 1, "train", "0"));
    for other in [
        with(2, 1, "train", "0"),
        with(1, 2, "train", "0"),
        with(1, 1, "revisit", "0"),
        with(1, 1, "train", "1"),
    ] {
        assert_ne!(base, other);
    }
}
