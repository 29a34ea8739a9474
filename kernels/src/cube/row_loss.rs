//! The loss of each row with its gradient.

use super::group::{self, NOTHING, is_masked};
use super::{empty, unused};
use crate::row_loss::{RowLoss, SoftmaxLoss, Teacher};
use burn::backend::TensorMetadata;
use burn::backend::cubecl::dtype_to_elem_type;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

/// What a kernel is compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct How {
    units: u32,
    group: u32,
    kl: bool,
    cross_entropy: bool,
    not_true: bool,
    /// The teacher's values are probabilities.
    probabilities: bool,
    gradient: bool,
}

/// Losses, and where they are asked for the gradients of all rows.
pub(crate) fn run(
    student: CubeTensor,
    teacher: CubeTensor,
    labels: CubeTensor,
    what: RowLoss,
    with_gradient: bool,
) -> (CubeTensor, CubeTensor) {
    let [rows, classes] = student.shape().dims::<2>();
    let client = student.client.clone();
    let losses = empty(&student, [rows]);
    let gradient = if with_gradient {
        empty(&student, [rows, classes])
    } else {
        unused(&student)
    };
    let shape = group::Shape::of(&student, classes);
    // A tensor that is not looked at may be the student's own: one buffer is bound once.
    let teacher = if what.reads_teacher() {
        teacher
    } else {
        unused(&student)
    };
    let teacher_type = dtype_to_elem_type(teacher.dtype);
    let (cubes, units) = (shape.cubes(rows), shape.cube_dim());
    let how = How {
        units: shape.units,
        group: shape.group,
        kl: false,
        cross_entropy: false,
        not_true: false,
        probabilities: false,
        gradient: with_gradient,
    };
    match what {
        RowLoss::Softmax(what) => {
            let SoftmaxLoss {
                cross_entropy,
                kl,
                temperature,
                teacher: of,
                not_true,
            } = what;
            let sharpness = temperature.recip();
            let label_type = dtype_to_elem_type(labels.dtype);
            let how = How {
                kl: kl != 0.0,
                cross_entropy: cross_entropy != 0.0,
                not_true,
                probabilities: of == Teacher::Probabilities,
                ..how
            };
            softmax_loss::launch(
                &client,
                cubes,
                units,
                student.into_tensor_arg(),
                teacher.into_tensor_arg(),
                labels.into_tensor_arg(),
                losses.clone().into_tensor_arg(),
                gradient.clone().into_tensor_arg(),
                rows as u32,
                classes as u32,
                sharpness,
                if of == Teacher::Logits { sharpness } else { 1.0 },
                kl,
                cross_entropy,
                how,
                [teacher_type, label_type],
            );
        }
        RowLoss::Absolute | RowLoss::Squared => distance::launch(
            &client,
            cubes,
            units,
            student.into_tensor_arg(),
            teacher.into_tensor_arg(),
            losses.clone().into_tensor_arg(),
            gradient.clone().into_tensor_arg(),
            rows as u32,
            classes as u32,
            what == RowLoss::Squared,
            how,
            teacher_type,
        ),
    }
    (losses, gradient)
}

/// What the teacher says of a class, as it goes into an exponential; [`NOTHING`] for a class without probability.
#[cube]
fn teachers(value: f32, sharpness: f32, #[comptime] probabilities: bool) -> f32 {
    let mut x = f32::new(NOTHING);
    if comptime![probabilities] {
        if value > 0.0f32 {
            x = value.ln();
        }
    } else if !is_masked(value) {
        x = value * sharpness;
    }
    x
}

/// What the student says of a class.
#[cube]
fn students(value: f32, sharpness: f32) -> f32 {
    let mut x = f32::new(NOTHING);
    if !is_masked(value) {
        x = value * sharpness;
    }
    x
}

#[cube(launch)]
fn softmax_loss<T: Float, L: Int>(
    student: &Tensor<f32>,
    teacher: &Tensor<T>,
    labels: &Tensor<L>,
    losses: &mut Tensor<f32>,
    gradient: &mut Tensor<f32>,
    rows: u32,
    classes: u32,
    sharpness: f32,
    teacher_sharpness: f32,
    kl: f32,
    cross_entropy: f32,
    #[comptime] how: How,
    #[define(T, L)] _kinds: [ElemType; 2],
) {
    let group = comptime![how.group as usize];
    let units = comptime![how.units as usize];
    let unit = UNIT_POS as usize;
    let lane = unit % group;
    let row = CUBE_POS * (units / group) + unit / group;
    let classes = classes as usize;
    // Units beyond the last row go along with the others, which they wait for, and write nothing.
    let real = row < rows as usize;
    let mut count = 0usize;
    let mut student_at = 0usize;
    let mut teacher_at = 0usize;
    let mut label = classes;
    if real {
        count = classes;
        student_at = row * student.stride(0);
        if comptime![how.kl] {
            teacher_at = row * teacher.stride(0);
        }
        if comptime![how.cross_entropy || how.not_true] {
            label = u32::cast_from(labels[row * labels.stride(0)]) as usize;
        }
    }
    let student_step = student.stride(1);
    let mut teacher_step = 0usize;
    if comptime![how.kl] {
        teacher_step = teacher.stride(1);
    }

    // Student: largest value and sum of exponentials below it; the same of the teacher; the teacher's mean distance from the
    // student, both from their largest values, times the teacher's sum; whether the teacher gives probability to a class that
    // the student masks. For the cross entropy the student's again, at temperature 1 and with all classes.
    let mut peak = f32::new(NOTHING);
    let mut total = 0.0f32;
    let mut teachers_peak = f32::new(NOTHING);
    let mut teachers_total = 0.0f32;
    let mut apart = 0.0f32;
    let mut lost = 0.0f32;
    let mut plain_peak = f32::new(NOTHING);
    let mut plain_total = 0.0f32;
    let mut class = lane;
    while class < count {
        let value = student[student_at + class * student_step];
        if comptime![how.cross_entropy] {
            let x = students(value, 1.0f32);
            if x > plain_peak {
                plain_total = plain_total * (plain_peak - x).exp() + 1.0f32;
                plain_peak = x;
            } else if x > f32::new(NOTHING) {
                plain_total += (x - plain_peak).exp();
            }
        }
        if comptime![how.kl] {
            let mut counts = true;
            if comptime![how.not_true] {
                counts = class != label;
            }
            if counts {
                let s = students(value, sharpness);
                let t = teachers(
                    f32::cast_from(teacher[teacher_at + class * teacher_step]),
                    teacher_sharpness,
                    how.probabilities,
                );
                if s > peak {
                    apart += teachers_total * (s - peak);
                    total = total * (peak - s).exp() + 1.0f32;
                    peak = s;
                } else if s > f32::new(NOTHING) {
                    total += (s - peak).exp();
                }
                if t > f32::new(NOTHING) {
                    let mut e = 1.0f32;
                    if t > teachers_peak {
                        let shrink = (teachers_peak - t).exp();
                        apart = shrink * (apart + teachers_total * (teachers_peak - t));
                        teachers_total *= shrink;
                        teachers_peak = t;
                    } else {
                        e = (t - teachers_peak).exp();
                    }
                    teachers_total += e;
                    if s > f32::new(NOTHING) {
                        apart += e * ((t - teachers_peak) - (s - peak));
                    } else {
                        lost = 1.0f32;
                    }
                }
            }
        }
        class += group;
    }

    // Put together by halves, always the same ones.
    let mut peaks = Shared::<[f32]>::new_slice(units);
    let mut totals = Shared::<[f32]>::new_slice(units);
    let mut teachers_peaks = Shared::<[f32]>::new_slice(units);
    let mut teachers_totals = Shared::<[f32]>::new_slice(units);
    let mut aparts = Shared::<[f32]>::new_slice(units);
    let mut losts = Shared::<[f32]>::new_slice(units);
    let mut plain_peaks = Shared::<[f32]>::new_slice(units);
    let mut plain_totals = Shared::<[f32]>::new_slice(units);
    if comptime![how.kl] {
        peaks[unit] = peak;
        totals[unit] = total;
        teachers_peaks[unit] = teachers_peak;
        teachers_totals[unit] = teachers_total;
        aparts[unit] = apart;
        losts[unit] = lost;
    }
    if comptime![how.cross_entropy] {
        plain_peaks[unit] = plain_peak;
        plain_totals[unit] = plain_total;
    }
    let steps = comptime![how.group.trailing_zeros()];
    #[unroll]
    for step in 0..steps {
        let half = comptime![(how.group >> (step + 1)) as usize];
        sync_cube();
        if lane < half {
            let other = unit + half;
            if comptime![how.kl] {
                let others_peak = peaks[other];
                let most = max(peak, others_peak);
                let others_teachers_total = teachers_totals[other];
                let others_teachers_peak = teachers_peaks[other];
                let teachers_most = max(teachers_peak, others_teachers_peak);
                let mine = apart + teachers_total * ((most - peak) + (teachers_peak - teachers_most));
                let others = aparts[other]
                    + others_teachers_total * ((most - others_peak) + (others_teachers_peak - teachers_most));
                let shrink = (teachers_peak - teachers_most).exp();
                let others_shrink = (others_teachers_peak - teachers_most).exp();
                apart = mine * shrink + others * others_shrink;
                teachers_total = teachers_total * shrink + others_teachers_total * others_shrink;
                teachers_peak = teachers_most;
                total = total * (peak - most).exp() + totals[other] * (others_peak - most).exp();
                peak = most;
                lost = max(lost, losts[other]);
                peaks[unit] = peak;
                totals[unit] = total;
                teachers_peaks[unit] = teachers_peak;
                teachers_totals[unit] = teachers_total;
                aparts[unit] = apart;
                losts[unit] = lost;
            }
            if comptime![how.cross_entropy] {
                let others_peak = plain_peaks[other];
                let most = max(plain_peak, others_peak);
                plain_total =
                    plain_total * (plain_peak - most).exp() + plain_totals[other] * (others_peak - most).exp();
                plain_peak = most;
                plain_peaks[unit] = plain_peak;
                plain_totals[unit] = plain_total;
            }
        }
    }
    sync_cube();
    let first = unit - lane;
    let mut loss = 0.0f32;
    let mut by_total = 0.0f32;
    let mut by_teachers_total = 0.0f32;
    let mut by_plain_total = 0.0f32;
    let mut from_label = 0.0f32;
    if comptime![how.kl] {
        peak = peaks[first];
        total = totals[first];
        teachers_peak = teachers_peaks[first];
        teachers_total = teachers_totals[first];
        // A row in which either gives nothing any probability says nothing.
        if total > 0.0f32 && teachers_total > 0.0f32 {
            by_total = kl * sharpness / total;
            by_teachers_total = kl * sharpness / teachers_total;
            loss = kl * (aparts[first] / teachers_total + (total.ln() - teachers_total.ln()));
            if losts[first] > 0.0f32 {
                // Infinity by its bits, which no compiler sees through.
                loss = f32::reinterpret(0x7f7f_ffffu32 + u32::cast_from(losts[first]));
            }
        }
    }
    if comptime![how.cross_entropy] {
        plain_peak = plain_peaks[first];
        plain_total = plain_totals[first];
        if plain_total > 0.0f32 {
            by_plain_total = cross_entropy / plain_total;
            from_label = cross_entropy;
            if label < count {
                let chosen = student[student_at + label * student_step];
                loss += cross_entropy * (plain_total.ln() + (plain_peak - chosen));
            }
        }
    }
    if lane == 0 && real {
        losses[row] = loss;
    }
    if comptime![how.gradient] {
        let mut class = lane;
        while class < count {
            let value = student[student_at + class * student_step];
            let mut slope = 0.0f32;
            if comptime![how.cross_entropy] {
                let x = students(value, 1.0f32);
                if x > f32::new(NOTHING) {
                    slope = (x - plain_peak).exp() * by_plain_total;
                }
                if class == label {
                    slope -= from_label;
                }
            }
            if comptime![how.kl] {
                let mut counts = true;
                if comptime![how.not_true] {
                    counts = class != label;
                }
                if counts {
                    let s = students(value, sharpness);
                    let t = teachers(
                        f32::cast_from(teacher[teacher_at + class * teacher_step]),
                        teacher_sharpness,
                        how.probabilities,
                    );
                    if s > f32::new(NOTHING) {
                        slope += (s - peak).exp() * by_total;
                    }
                    if t > f32::new(NOTHING) {
                        slope -= (t - teachers_peak).exp() * by_teachers_total;
                    }
                }
            }
            gradient[row * classes + class] = slope;
            class += group;
        }
    }
}

#[cube(launch)]
fn distance<T: Float>(
    student: &Tensor<f32>,
    teacher: &Tensor<T>,
    losses: &mut Tensor<f32>,
    gradient: &mut Tensor<f32>,
    rows: u32,
    classes: u32,
    #[comptime] squared: bool,
    #[comptime] how: How,
    #[define(T)] _kind: ElemType,
) {
    let group = comptime![how.group as usize];
    let units = comptime![how.units as usize];
    let unit = UNIT_POS as usize;
    let lane = unit % group;
    let row = CUBE_POS * (units / group) + unit / group;
    let classes = classes as usize;
    let real = row < rows as usize;
    let mut count = 0usize;
    if real {
        count = classes;
    }
    let share = 1.0f32 / f32::cast_from(classes as u32);
    let mut total = 0.0f32;
    let mut class = lane;
    while class < count {
        let value = student[row * student.stride(0) + class * student.stride(1)];
        let apart = value - f32::cast_from(teacher[row * teacher.stride(0) + class * teacher.stride(1)]);
        let mut slope = 0.0f32;
        if comptime![squared] {
            total += apart * apart;
            slope = 2.0f32 * share * apart;
        } else {
            total += apart.abs();
            if apart > 0.0f32 {
                slope = share;
            } else if apart < 0.0f32 {
                slope = -share;
            }
        }
        if comptime![how.gradient] {
            gradient[row * classes + class] = slope;
        }
        class += group;
    }
    let mut totals = Shared::<[f32]>::new_slice(units);
    totals[unit] = total;
    let steps = comptime![how.group.trailing_zeros()];
    #[unroll]
    for step in 0..steps {
        let half = comptime![(how.group >> (step + 1)) as usize];
        sync_cube();
        if lane < half {
            total += totals[unit + half];
            totals[unit] = total;
        }
    }
    if lane == 0 && real {
        losses[row] = total * share;
    }
}
