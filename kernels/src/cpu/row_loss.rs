//! The loss of a row with its gradient: each value read once, each exponential taken once.

#![expect(
    clippy::inline_always,
    reason = "instructions are chosen for a whole loop, and only for what is compiled into it"
)]

use super::lanes::{LANES, exponentials, lanes, ln, most, padded, sum};
use super::rows::{Values, for_each};
use crate::row_loss::{RowLoss, SoftmaxLoss, Teacher};

/// Operands, all of them checked.
pub(crate) struct Input<'a> {
    pub(crate) student: Values<'a>,
    pub(crate) teacher: Option<Values<'a>>,
    /// A class a row, below `classes`.
    pub(crate) labels: Option<&'a [usize]>,
    pub(crate) classes: usize,
    pub(crate) what: RowLoss,
}

/// Losses of all rows, and their gradients where there is room for them.
pub(crate) fn run(input: &Input<'_>, losses: &mut [f32], gradient: &mut [f32]) {
    let width = padded(input.classes);
    let arch = pulp::Arch::new();
    for_each(
        losses,
        gradient,
        input.classes,
        // Student and teacher, the student once more for the cross entropy, and the distances.
        4 * width,
        |row, loss, gradient, scratch| {
            let (student, scratch) = scratch.split_at_mut(width);
            let (teacher, scratch) = scratch.split_at_mut(width);
            let (plain, distances) = scratch.split_at_mut(width);
            input.student.row(row, input.classes, student);
            student[input.classes..].fill(f32::NEG_INFINITY);
            if let Some(values) = &input.teacher {
                values.row(row, input.classes, teacher);
                teacher[input.classes..].fill(f32::NEG_INFINITY);
            }
            *loss = match input.what {
                RowLoss::Softmax(what) => arch.dispatch(Row {
                    student,
                    teacher,
                    plain,
                    distances,
                    label: input.labels.map(|labels| labels[row]),
                    what,
                    gradient,
                }),
                RowLoss::Absolute | RowLoss::Squared => arch.dispatch(Distance {
                    student: &mut student[..input.classes],
                    teacher: &teacher[..input.classes],
                    squared: input.what == RowLoss::Squared,
                    gradient,
                }),
            };
        },
    );
}

/// A row that is compared by its distance.
struct Distance<'a> {
    student: &'a mut [f32],
    teacher: &'a [f32],
    squared: bool,
    gradient: &'a mut [f32],
}

impl pulp::WithSimd for Distance<'_> {
    type Output = f32;

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) -> f32 {
        let Self {
            student: distances,
            teacher,
            squared,
            gradient,
        } = self;
        let share = 1.0 / distances.len() as f32;
        for (value, teacher) in distances.iter_mut().zip(teacher) {
            *value -= teacher;
        }
        let measure = |distance: f32| if squared { distance * distance } else { distance.abs() };
        let mut total = [0.0; LANES];
        let (eights, rest) = distances.as_chunks::<LANES>();
        for eight in eights {
            for (total, distance) in total.iter_mut().zip(eight) {
                *total += measure(*distance);
            }
        }
        for (total, distance) in total.iter_mut().zip(rest) {
            *total += measure(*distance);
        }
        for (gradient, distance) in gradient.iter_mut().zip(&*distances) {
            *gradient = if squared {
                2.0 * share * distance
            } else if *distance > 0.0 {
                share
            } else if *distance < 0.0 {
                -share
            } else {
                // Equal values pull nowhere; NaN stays.
                distance * 0.0
            };
        }
        sum(total) * share
    }
}

/// A row, padded with minus infinity, which is a class that nobody gives any probability.
struct Row<'a> {
    student: &'a mut [f32],
    teacher: &'a mut [f32],
    plain: &'a mut [f32],
    distances: &'a mut [f32],
    label: Option<usize>,
    what: SoftmaxLoss,
    /// Zeros, or nothing where no gradient is asked for.
    gradient: &'a mut [f32],
}

impl pulp::WithSimd for Row<'_> {
    type Output = f32;

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) -> f32 {
        let what = self.what;
        let mut loss = 0.0;
        if let Some(label) = self.label
            && what.cross_entropy != 0.0
        {
            self.plain.copy_from_slice(self.student);
            let peak = most(self.plain);
            // A row whose classes are all masked says nothing.
            if peak > f32::NEG_INFINITY {
                let chosen = self.student[label];
                let total = exponentials(self.plain, peak, 1.0);
                loss += what.cross_entropy * (ln(total) + (peak - chosen));
                let scale = what.cross_entropy / total;
                for (gradient, e) in self.gradient.iter_mut().zip(&*self.plain) {
                    *gradient = e * scale;
                }
                if let Some(gradient) = self.gradient.get_mut(label) {
                    *gradient -= what.cross_entropy;
                }
            } else if self.student.iter().any(|value| value.is_nan()) {
                loss = f32::NAN;
            }
        }
        if what.kl != 0.0 {
            loss += self.divergence();
        }
        loss
    }
}

impl Row<'_> {
    /// The weighted divergence; adds its gradient.
    #[inline(always)]
    fn divergence(self) -> f32 {
        let what = self.what;
        if let Some(label) = self.label
            && what.not_true
        {
            self.student[label] = f32::NEG_INFINITY;
            self.teacher[label] = f32::NEG_INFINITY;
        }
        if what.teacher == Teacher::Probabilities {
            for value in &mut *self.teacher {
                // The padding stays; -0 is 0.
                *value = if *value == f32::NEG_INFINITY {
                    *value
                } else {
                    libm::logf(value.abs())
                };
            }
        }
        let sharpness = 1.0 / what.temperature;
        let of_teacher = if what.teacher == Teacher::Logits {
            sharpness
        } else {
            1.0
        };
        let (peak, teachers_peak) = (most(self.student), most(self.teacher));
        if peak == f32::NEG_INFINITY || teachers_peak == f32::NEG_INFINITY {
            let unknown = self.student.iter().chain(&*self.teacher).any(|value| value.is_nan());
            return if unknown { f32::NAN } else { 0.0 };
        }
        for ((distance, teacher), student) in self.distances.iter_mut().zip(&*self.teacher).zip(&*self.student) {
            *distance = (teacher - teachers_peak) * of_teacher - (student - peak) * sharpness;
        }
        let total = exponentials(self.student, peak, sharpness);
        let teachers_total = exponentials(self.teacher, teachers_peak, of_teacher);
        let mut apart = [0.0; LANES];
        for (distances, teacher) in lanes(self.distances).iter().zip(lanes(self.teacher)) {
            for ((apart, distance), e) in apart.iter_mut().zip(distances).zip(teacher) {
                // What the teacher gives no probability counts nothing, however far it is. Only what the student alone rules
                // out is infinitely far.
                *apart += if *distance == f32::INFINITY {
                    f32::INFINITY
                } else if *e == 0.0 {
                    0.0
                } else {
                    e * distance
                };
            }
        }
        let (by_total, by_teachers_total) = (sharpness * what.kl / total, sharpness * what.kl / teachers_total);
        for ((gradient, student), teacher) in self.gradient.iter_mut().zip(&*self.student).zip(&*self.teacher) {
            *gradient += student * by_total - teacher * by_teachers_total;
        }
        what.kl * (sum(apart) / teachers_total + (ln(total) - ln(teachers_total)))
    }
}
