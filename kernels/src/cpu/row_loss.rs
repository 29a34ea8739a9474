//! The loss of a row with its gradient: each exponential taken once.

#![expect(
    clippy::inline_always,
    reason = "instructions are chosen for a whole loop, and only for what is compiled into it"
)]

use super::lanes::{below_maximum, exponentials, ln, sum_within};
use super::rows::{Values, at_once, buffers, in_blocks};
use crate::row_loss::{RowLoss, SoftmaxLoss, Teacher};

/// Operands, all of them checked.
pub(crate) struct Input<'a> {
    pub(crate) student: Values<'a>,
    pub(crate) teacher: Option<Values<'a>>,
    /// A class a row. A row whose label is not below `classes` is NaN.
    pub(crate) labels: Option<&'a [usize]>,
    pub(crate) classes: usize,
    pub(crate) what: RowLoss,
}

/// Losses of all rows, and their gradients where there is room for them.
pub(crate) fn run(input: &Input<'_>, losses: &mut [f32], gradient: &mut [f32]) {
    let arch = pulp::Arch::new();
    in_blocks(losses, gradient, input.classes, |first, losses, gradient| {
        arch.dispatch(Block {
            input,
            first,
            losses,
            gradient,
        });
    });
}

/// Multiplies each row by its value: by 0 whatever the row holds is 0.
pub(crate) fn scale(rows: &mut [f32], by: &[f32], classes: usize) {
    // A job is given places of its own beside its rows: they hold what these are multiplied by.
    let mut by = by.to_vec();
    in_blocks(&mut by, rows, classes, |_, by, rows| {
        for (row, by) in rows.chunks_exact_mut(classes).zip(by) {
            // What does not count may be anything.
            if *by == 0.0 {
                row.fill(0.0);
                continue;
            }
            for value in row {
                *value *= *by;
            }
        }
    });
}

/// Some rows, one after the other.
struct Block<'a> {
    input: &'a Input<'a>,
    first: usize,
    losses: &'a mut [f32],
    /// Nothing where no gradient is asked for.
    gradient: &'a mut [f32],
}

impl pulp::WithSimd for Block<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        let Self {
            input,
            first,
            losses,
            gradient,
        } = self;
        let classes = input.classes;
        let [mut students, mut teachers, mut e, mut teachers_e, mut parts] = buffers(classes);
        let width = if gradient.is_empty() { 0 } else { classes };
        for (i, losses) in losses.chunks_mut(at_once(classes)).enumerate() {
            let done = i * at_once(classes);
            let row = first + done;
            let count = losses.len() * classes;
            let range = row * classes..row * classes + count;
            let gradient = &mut gradient[done * width..][..losses.len() * width];
            let student = input.student.range(range.clone(), &mut students[..count]);
            let teacher = match &input.teacher {
                Some(values) => values.range(range, &mut teachers[..count]),
                None => &[],
            };
            let rows = Rows {
                student,
                teacher,
                labels: input.labels.map(|labels| &labels[row..row + losses.len()]),
                classes,
                losses,
                gradient,
            };
            let (e, teachers_e, parts) = (&mut e[..count], &mut teachers_e[..count], &mut parts[..count]);
            match input.what {
                RowLoss::Softmax(what) => rows.softmax_loss(what, e, teachers_e, parts),
                RowLoss::Absolute => rows.distance(parts, f32::abs, |difference, share| {
                    // Equal values pull nowhere; NaN stays.
                    if difference == 0.0 || difference.is_nan() {
                        difference
                    } else {
                        share.copysign(difference)
                    }
                }),
                RowLoss::Squared => {
                    rows.distance(
                        parts,
                        |difference| difference * difference,
                        |difference, share| 2.0 * share * difference,
                    );
                }
            }
        }
    }
}

/// Rows that are taken at once: loops over all of their values are long, however short the rows are.
struct Rows<'a> {
    student: &'a [f32],
    /// Nothing where the loss has no teacher.
    teacher: &'a [f32],
    labels: Option<&'a [usize]>,
    classes: usize,
    losses: &'a mut [f32],
    /// Nothing where no gradient is asked for.
    gradient: &'a mut [f32],
}

impl Rows<'_> {
    /// The mean distance of each row, and its slope.
    #[inline(always)]
    fn distance(self, parts: &mut [f32], measure: impl Fn(f32) -> f32, slope: impl Fn(f32, f32) -> f32) {
        let share = 1.0 / self.classes as f32;
        for ((gradient, student), teacher) in self.gradient.iter_mut().zip(self.student).zip(self.teacher) {
            *gradient = slope(difference(*student, *teacher), share);
        }
        for ((part, student), teacher) in parts.iter_mut().zip(self.student).zip(self.teacher) {
            *part = measure(difference(*student, *teacher));
        }
        for (i, loss) in self.losses.iter_mut().enumerate() {
            *loss = sum_within(parts, i * self.classes..(i + 1) * self.classes) * share;
        }
    }

    /// Cross entropy and divergence of each row; their gradients where there is room for them.
    #[inline(always)]
    fn softmax_loss(mut self, what: SoftmaxLoss, e: &mut [f32], teachers_e: &mut [f32], parts: &mut [f32]) {
        self.losses.fill(0.0);
        if what.cross_entropy != 0.0 {
            self.cross_entropy(what.cross_entropy, e, parts);
        }
        if what.kl != 0.0 {
            self.divergence(what, e, teachers_e, parts);
        }
    }

    #[inline(always)]
    fn cross_entropy(&mut self, weight: f32, e: &mut [f32], exponents: &mut [f32]) {
        let classes = self.classes;
        for (exponents, row) in exponents
            .chunks_exact_mut(classes)
            .zip(self.student.chunks_exact(classes))
        {
            below_maximum(row, 1.0, exponents);
        }
        e.copy_from_slice(exponents);
        exponentials(e);
        let labels = self.labels.unwrap_or_default();
        for (i, (loss, label)) in self.losses.iter_mut().zip(labels).enumerate() {
            let row = i * classes..(i + 1) * classes;
            let Some(exponent) = exponents[row.clone()].get(*label) else {
                *loss = f32::NAN;
                if let Some(gradient) = self.gradient.get_mut(row) {
                    gradient.fill(f32::NAN);
                }
                continue;
            };
            let total = sum_within(e, row.clone());
            // A row whose classes are all masked says nothing.
            let scale = if total == 0.0 { 0.0 } else { weight / total };
            *loss += if total == 0.0 {
                0.0
            } else {
                weight * (ln(total) - exponent)
            };
            if let Some(gradient) = self.gradient.get_mut(row.clone()) {
                for (gradient, e) in gradient.iter_mut().zip(&e[row]) {
                    *gradient = e * scale;
                }
                gradient[*label] -= if total == 0.0 { 0.0 } else { weight };
            }
        }
    }

    /// Adds the weighted divergence of each row, and its gradient.
    #[inline(always)]
    fn divergence(&mut self, what: SoftmaxLoss, e: &mut [f32], teachers_e: &mut [f32], parts: &mut [f32]) {
        let classes = self.classes;
        let inverse_temperature = 1.0 / what.temperature;
        let teacher_inverse_temperature = if what.teacher == Teacher::Logits {
            inverse_temperature
        } else {
            1.0
        };
        let labels = if what.not_true { self.labels } else { None };
        // What each says, as it goes into an exponential.
        for i in 0..self.losses.len() {
            let row = i * classes..(i + 1) * classes;
            let [e, teachers_e, part] = [&mut *e, &mut *teachers_e, &mut *parts].map(|of| &mut of[row.clone()]);
            let left_out = labels.map(|labels| labels[i]);
            let probabilities = what.teacher == Teacher::Probabilities;
            exponents(
                &self.student[row.clone()],
                inverse_temperature,
                false,
                left_out,
                part,
                e,
            );
            exponents(
                &self.teacher[row],
                teacher_inverse_temperature,
                probabilities,
                left_out,
                part,
                teachers_e,
            );
        }
        for ((part, teacher), student) in parts.iter_mut().zip(&*teachers_e).zip(&*e) {
            *part = teacher - student;
        }
        exponentials(e);
        exponentials(teachers_e);
        for (part, e) in parts.iter_mut().zip(&*teachers_e) {
            // What the teacher gives no probability counts nothing, however far it is. Only what the student alone rules out is
            // infinitely far.
            let counted = if *e == 0.0 { 0.0 } else { e * *part };
            *part = if *part == f32::INFINITY { f32::INFINITY } else { counted };
        }
        for (i, loss) in self.losses.iter_mut().enumerate() {
            let row = i * classes..(i + 1) * classes;
            if labels.is_some_and(|labels| labels[i] >= classes) {
                *loss = f32::NAN;
                if let Some(gradient) = self.gradient.get_mut(row) {
                    gradient.fill(f32::NAN);
                }
                continue;
            }
            let (total, teachers_total) = (sum_within(e, row.clone()), sum_within(teachers_e, row.clone()));
            // A row in which either gives no class any probability says nothing, unless the other is no number.
            if (total == 0.0 && !teachers_total.is_nan()) || (teachers_total == 0.0 && !total.is_nan()) {
                if let Some(gradient) = self.gradient.get_mut(row)
                    && what.cross_entropy == 0.0
                {
                    gradient.fill(0.0);
                }
                continue;
            }
            let difference = sum_within(parts, row.clone()) / teachers_total;
            *loss += what.kl * (difference + ln(total / teachers_total));
            let (by, by_teachers) = (
                inverse_temperature * what.kl / total,
                inverse_temperature * what.kl / teachers_total,
            );
            if let Some(gradient) = self.gradient.get_mut(row.clone()) {
                let slopes = e[row.clone()].iter().zip(&teachers_e[row]);
                let slopes = slopes.map(|(student, teacher)| student * by - teacher * by_teachers);
                if what.cross_entropy == 0.0 {
                    for (gradient, slope) in gradient.iter_mut().zip(slopes) {
                        *gradient = slope;
                    }
                } else {
                    for (gradient, slope) in gradient.iter_mut().zip(slopes) {
                        *gradient += slope;
                    }
                }
            }
        }
    }
}

/// How far two logits are from each other.
#[inline(always)]
fn difference(student: f32, teacher: f32) -> f32 {
    // Where both mask a class they agree. Infinity is no logit.
    let larger = if student > teacher { student } else { teacher };
    if larger == f32::INFINITY {
        f32::NAN
    } else if student == teacher {
        0.0
    } else {
        student - teacher
    }
}

/// What one says of a row, as it goes into an exponential: of logits, or of probabilities, of which the logarithm is taken; without
/// the class that is left out, if any. `part` is overwritten.
///
/// A function and no closure: a closure that is called twice is compiled on its own, without the wide instructions.
#[inline(always)]
fn exponents(
    values: &[f32],
    scale: f32,
    probabilities: bool,
    left_out: Option<usize>,
    part: &mut [f32],
    to: &mut [f32],
) {
    if !probabilities && left_out.is_none() {
        below_maximum(values, scale, to);
        return;
    }
    for (part, value) in part.iter_mut().zip(values) {
        // Of negative values there is none: NaN.
        *part = if probabilities { ln(*value) } else { *value };
    }
    if let Some(label) = left_out
        && let Some(out) = part.get_mut(label)
    {
        *out = f32::NEG_INFINITY;
    }
    below_maximum(part, scale, to);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_scaled_each_by_its_own_value_on_any_number_of_threads() {
        // Enough to be shared, in blocks that are not as long as each other.
        let (rows, classes) = (1009, 101);
        let mut values: Vec<f32> = (0..rows * classes).map(|i| i as f32 - 5e4).collect();
        let by: Vec<f32> = (0..rows).map(|row| (row % 5) as f32 * 0.3).collect();
        let mut expected = values.clone();
        for (place, value) in expected.iter_mut().enumerate() {
            *value *= by[place / classes];
        }
        // Rows that count nothing may hold anything.
        values[5 * classes + 7] = f32::NAN;
        values[1000 * classes] = f32::INFINITY;
        for threads in [1, 4] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let mut scaled = values.clone();
            pool.install(|| scale(&mut scaled, &by, classes));
            assert!(scaled == expected, "{threads} threads");
        }
    }
}
