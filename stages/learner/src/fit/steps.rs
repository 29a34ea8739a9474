//! The steps of a job: how many there are, when epochs begin and looks are taken, and the learning rate of each.
//!
//! All of it follows from the settings and the batches of an epoch, before the first step.

use super::looks;
use crate::batches;
use fedstill_schemas::fit::{Fit, Schedule};

/// Steps of the optimizer that a fit takes on so many rows, those of its first term: with early stopping at most, where a
/// fifth of them is held out.
pub fn steps_of(settings: &Fit, rows: usize) -> u64 {
    let stop = settings.stop.as_ref();
    let held = match stop.filter(|stop| stop.watch.is_held_out()) {
        Some(_) => looks::held_out(rows),
        None => 0,
    };
    let batch = settings.batch.max(1) as usize;
    Steps::new(settings, batches::an_epoch(rows - held, batch)).all
}

/// What happens when so many steps of the optimizer have been taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Steps {
    /// Steps that the settings ask for.
    all: u64,
    /// Steps of an epoch.
    epoch: u64,
    /// Steps from one look to the next.
    look: u64,
    schedule: Schedule,
}

impl Steps {
    /// Those of checked settings, where an epoch has so many batches.
    pub(super) fn new(settings: &Fit, batches: u64) -> Self {
        let every = settings.stop.as_ref().and_then(|stop| stop.every);
        Self {
            all: settings.steps.map_or(u64::from(settings.epochs) * batches, u64::from),
            epoch: batches,
            look: every.map_or(batches, u64::from),
            schedule: settings.schedule,
        }
    }

    /// Whether there is another step.
    pub(super) fn remain(&self, taken: u64) -> bool {
        taken < self.all
    }

    /// Whether the next step is an epoch's first.
    pub(super) fn begin_an_epoch(&self, taken: u64) -> bool {
        taken.is_multiple_of(self.epoch)
    }

    /// Whether early stopping looks now: after an epoch, or so many steps as it asks for, and after the last step.
    pub(super) fn call_for_a_look(&self, taken: u64) -> bool {
        taken == self.all || taken.is_multiple_of(self.look)
    }

    /// What the next step multiplies the learning rate by.
    pub(super) fn share_of_rate(&self, taken: u64) -> f64 {
        share(self.schedule, taken, self.all)
    }
}

/// What step `step` of `steps`, the first being 0, multiplies the learning rate by.
///
/// The cosine is that of Loshchilov and Hutter 2017, arXiv:1608.03983, equation 5 with a least rate of 0 and no restart, a
/// step of the optimizer being what it counts: PyTorch's `CosineAnnealingLR` with `T_max = steps`.
fn share(schedule: Schedule, step: u64, steps: u64) -> f64 {
    match schedule {
        Schedule::Constant => 1.0,
        Schedule::Cosine => 0.5 * (1.0 + libm::cos(std::f64::consts::PI * step as f64 / steps as f64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fedstill_schemas::fit::{EarlyStop, Optimizer};

    fn settings() -> Fit {
        Fit::new(3, 8, Optimizer::adam(1e-3), Some(EarlyStop::after(2, 0.0)))
    }

    /// The numbers of steps up to 20 of which that holds.
    fn when(holds: impl Fn(u64) -> bool) -> Vec<u64> {
        (1..=20).filter(|taken| holds(*taken)).collect()
    }

    #[test]
    fn epochs_and_looks_come_after_so_many_batches() {
        let steps = Steps::new(&settings(), 4);
        assert!(steps.remain(11) && !steps.remain(12));
        assert!(steps.begin_an_epoch(0));
        assert_eq!(when(|taken| steps.begin_an_epoch(taken)), [4, 8, 12, 16, 20]);
        assert_eq!(when(|taken| steps.call_for_a_look(taken)), [4, 8, 12, 16, 20]);
    }

    #[test]
    fn steps_may_end_an_epoch_early_and_are_looked_at_then() {
        let settings = Fit {
            epochs: 0,
            steps: Some(10),
            ..settings()
        };
        let steps = Steps::new(&settings, 4);
        assert!(steps.remain(9) && !steps.remain(10));
        assert_eq!(when(|taken| taken <= 10 && steps.call_for_a_look(taken)), [4, 8, 10]);
    }

    #[test]
    fn looks_have_a_rhythm_of_their_own() {
        let stop = Some(EarlyStop {
            every: Some(3),
            ..EarlyStop::after(2, 0.0)
        });
        let ten = Fit {
            steps: Some(10),
            stop: stop.clone(),
            ..settings()
        };
        let steps = Steps::new(&ten, 4);
        assert_eq!(when(|taken| taken <= 10 && steps.call_for_a_look(taken)), [3, 6, 9, 10]);
        // What was just looked at is not looked at again.
        let steps = Steps::new(&Fit { stop, ..settings() }, 4);
        assert_eq!(when(|taken| taken <= 12 && steps.call_for_a_look(taken)), [3, 6, 9, 12]);
    }

    #[test]
    fn a_cosine_goes_from_the_whole_rate_to_nearly_nothing() {
        let share = |step| share(Schedule::Cosine, step, 10);
        assert_eq!(share(0), 1.0);
        // By hand: the cosines of 36, 90 and 162 degrees.
        assert!((share(2) - 0.904_508_497_187_473_7).abs() < 1e-15);
        assert!((share(5) - 0.5).abs() < 1e-15);
        assert!((share(9) - 0.024_471_741_852_423_234).abs() < 1e-15);
        assert_eq!(super::share(Schedule::Cosine, 0, 1), 1.0);
        assert_eq!(super::share(Schedule::Constant, 9, 10), 1.0);
    }

    #[test]
    fn a_schedule_spans_all_steps_that_were_asked_for() {
        let cosine = Fit {
            schedule: Schedule::Cosine,
            ..settings()
        };
        assert!((Steps::new(&cosine, 4).share_of_rate(6) - 0.5).abs() < 1e-15);
        let ten = Fit {
            steps: Some(10),
            ..cosine
        };
        assert!((Steps::new(&ten, 4).share_of_rate(5) - 0.5).abs() < 1e-15);
    }
}
