//! The same on a GPU, within rounding.

use super::{ALL, rows, rows_of_five};
use crate::tensors::values;
use crate::testing::{architecture, job, labels, positions, run};
use crate::{Registry, TargetData, Tensors, TermData, fit};
use burn::tensor::Device;
use fedstill_schemas::fit::{Fit, Loss, Optimizer, Per};

#[test]
fn a_step_on_a_gpu_is_that_of_the_cpu() {
    // Where there is none, the kernels' tests say so.
    let Ok(gpu) = crate::Processor::find("gpu") else { return };
    let rows = rows(32);
    let settings = Fit::new(
        1,
        32,
        Optimizer::Sgd {
            lr: 0.1,
            momentum: 0.9,
            weight_decay: 0.01,
        },
        None,
    );
    // What the GPU has to do that the small networks do not ask for: strides, group norm, mean pooling, look-ups, and a head
    // at every position.
    let once = ALL
        .into_iter()
        .chain(["resnetgn[8]", "fedmd[64,128,192;0.2]", "charlstm[1]"]);
    let once = once.map(|name| (name, rows_of_five(name, 32)));
    for (name, data) in once.chain([("charlstm[1]", positions(6, 32))]) {
        let count = 32 * data.labels_per_row() * data.classes() as usize;
        let target: Vec<f32> = (0..count).map(|i| (i % 7) as f32 - 3.0).collect();
        let architecture = architecture(name);
        let like = |loss| TermData {
            target: TargetData::Logits(&target),
            loss,
            ..labels(&data, &rows)
        };
        let kl = Loss::Kl {
            t: 2.0,
            times_t2: true,
            per: Per::Batch,
        };
        let terms = vec![labels(&data, &rows), like(kl), like(Loss::Mae), like(Loss::Mse)];
        let job = job(&architecture, terms, &settings);
        let on_cpu = run(&job).unwrap();
        let on_gpu = fit(&Registry::default().on(gpu.clone()), &job).unwrap();
        assert!(
            (on_cpu.loss - on_gpu.loss).abs() < 1e-4,
            "{name}: {} {}",
            on_cpu.loss,
            on_gpu.loss
        );
        let parameters = || Registry::default().network(&job.model).unwrap().parameters();
        let mut read =
            [&on_cpu, &on_gpu].map(|fitted| Tensors::read(parameters(), &fitted.weights, &Device::flex()).unwrap());
        let [on_cpu, on_gpu] = &mut read;
        for ((parameter, on_cpu), (_, on_gpu)) in on_cpu.trained().zip(on_gpu.trained()) {
            let (on_cpu, on_gpu) = (values(on_cpu.clone()), values(on_gpu.clone()));
            let far = on_cpu
                .iter()
                .zip(&on_gpu)
                .map(|(a, b)| (a - b).abs())
                .fold(0.0, f32::max);
            assert!(far < 1e-4, "{name} {}: {far}", parameter.name);
        }
    }
}
