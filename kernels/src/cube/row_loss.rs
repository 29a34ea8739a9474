//! The loss of each row with its gradient.

use super::distance;
use super::group::{self, INFINITE, NO_NUMBER, defect, is_masked, with_defect};
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
        RowLoss::Absolute | RowLoss::Squared => {
            let outputs = [losses.clone(), gradient.clone()];
            distance::run(
                [student, teacher],
                outputs,
                shape,
                what == RowLoss::Squared,
                with_gradient,
            );
        }
    }
    (losses, gradient)
}

/// What the teacher says of a class; minus infinity for a class without probability.
#[cube]
fn teachers(value: f32, #[comptime] probabilities: bool) -> f32 {
    let mut said = value;
    if comptime![probabilities] {
        if value > 0.0f32 {
            said = value.ln();
        } else {
            said = f32::reinterpret(0xff80_0000u32);
        }
    }
    said
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
    // student, both from their largest values, times the teacher's sum. For the cross entropy the student's again, at
    // temperature 1 and with all classes. A sum of 0 has seen nothing yet. Last, what is infinite or no number: the teacher may
    // give probability to a class that the student masks.
    let mut peak = 0.0f32;
    let mut total = 0.0f32;
    let mut teachers_peak = 0.0f32;
    let mut teachers_total = 0.0f32;
    let mut apart = 0.0f32;
    let mut plain_peak = 0.0f32;
    let mut plain_total = 0.0f32;
    let mut fault = 0.0f32;
    let mut class = lane;
    while class < count {
        let value = student[student_at + class * student_step];
        let masked = is_masked(value);
        fault = max(fault, defect(value));
        if comptime![how.cross_entropy] {
            if !masked {
                if plain_total == 0.0f32 {
                    plain_total = 1.0f32;
                    plain_peak = value;
                } else if value > plain_peak {
                    plain_total = plain_total * (plain_peak - value).exp() + 1.0f32;
                    plain_peak = value;
                } else {
                    plain_total += (value - plain_peak).exp();
                }
            }
        }
        if comptime![how.kl] {
            let mut counts = true;
            if comptime![how.not_true] {
                counts = class != label;
            }
            if counts {
                let said = teachers(
                    f32::cast_from(teacher[teacher_at + class * teacher_step]),
                    how.probabilities,
                );
                fault = max(fault, defect(said));
                // Divided by the temperature once the largest is taken off: large logits lose nothing then.
                let mut below = (value - peak) * sharpness;
                if !masked {
                    if total == 0.0f32 {
                        total = 1.0f32;
                        peak = value;
                        below = 0.0f32;
                    } else if below > 0.0f32 {
                        apart += teachers_total * below;
                        total = total * (-below).exp() + 1.0f32;
                        peak = value;
                        below = 0.0f32;
                    } else {
                        total += below.exp();
                    }
                }
                if !is_masked(said) {
                    let mut teachers_below = (said - teachers_peak) * teacher_sharpness;
                    let mut e = 1.0f32;
                    if teachers_total == 0.0f32 {
                        teachers_peak = said;
                        teachers_below = 0.0f32;
                    } else if teachers_below > 0.0f32 {
                        let shrink = (-teachers_below).exp();
                        apart = shrink * (apart - teachers_total * teachers_below);
                        teachers_total *= shrink;
                        teachers_peak = said;
                        teachers_below = 0.0f32;
                    } else {
                        e = teachers_below.exp();
                    }
                    teachers_total += e;
                    if masked {
                        fault = max(fault, f32::new(INFINITE));
                    } else {
                        apart += e * (teachers_below - below);
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
    let mut faults = Shared::<[f32]>::new_slice(units);
    let mut plain_peaks = Shared::<[f32]>::new_slice(units);
    let mut plain_totals = Shared::<[f32]>::new_slice(units);
    if comptime![how.kl] {
        peaks[unit] = peak;
        totals[unit] = total;
        teachers_peaks[unit] = teachers_peak;
        teachers_totals[unit] = teachers_total;
        aparts[unit] = apart;
    }
    if comptime![how.cross_entropy] {
        plain_peaks[unit] = plain_peak;
        plain_totals[unit] = plain_total;
    }
    faults[unit] = fault;
    let steps = comptime![how.group.trailing_zeros()];
    #[unroll]
    for step in 0..steps {
        let half = comptime![(how.group >> (step + 1)) as usize];
        sync_cube();
        if lane < half {
            let other = unit + half;
            if comptime![how.kl] {
                let others_total = totals[other];
                let mut mine = apart;
                let mut others = aparts[other];
                let others_teachers_total = teachers_totals[other];
                if total == 0.0f32 {
                    peak = peaks[other];
                    total = others_total;
                } else if others_total > 0.0f32 {
                    let most = max(peak, peaks[other]);
                    let below = (peak - most) * sharpness;
                    let others_below = (peaks[other] - most) * sharpness;
                    total = total * below.exp() + others_total * others_below.exp();
                    mine -= teachers_total * below;
                    others -= others_teachers_total * others_below;
                    peak = most;
                }
                if teachers_total == 0.0f32 {
                    teachers_peak = teachers_peaks[other];
                    teachers_total = others_teachers_total;
                    apart = others;
                } else if others_teachers_total > 0.0f32 {
                    let most = max(teachers_peak, teachers_peaks[other]);
                    let below = (teachers_peak - most) * teacher_sharpness;
                    let others_below = (teachers_peaks[other] - most) * teacher_sharpness;
                    let shrink = below.exp();
                    let others_shrink = others_below.exp();
                    apart = (mine + teachers_total * below) * shrink
                        + (others + others_teachers_total * others_below) * others_shrink;
                    teachers_total = teachers_total * shrink + others_teachers_total * others_shrink;
                    teachers_peak = most;
                } else {
                    apart = mine;
                }
                peaks[unit] = peak;
                totals[unit] = total;
                teachers_peaks[unit] = teachers_peak;
                teachers_totals[unit] = teachers_total;
                aparts[unit] = apart;
            }
            if comptime![how.cross_entropy] {
                let others_peak = plain_peaks[other];
                let others_total = plain_totals[other];
                if plain_total == 0.0f32 {
                    plain_peak = others_peak;
                    plain_total = others_total;
                } else if others_total > 0.0f32 {
                    let most = max(plain_peak, others_peak);
                    plain_total = plain_total * (plain_peak - most).exp() + others_total * (others_peak - most).exp();
                    plain_peak = most;
                }
                plain_peaks[unit] = plain_peak;
                plain_totals[unit] = plain_total;
            }
            fault = max(fault, faults[other]);
            faults[unit] = fault;
        }
    }
    sync_cube();
    let first = unit - lane;
    let mut loss = 0.0f32;
    let mut by_total = 0.0f32;
    let mut by_teachers_total = 0.0f32;
    let mut by_plain_total = 0.0f32;
    let mut from_label = 0.0f32;
    fault = faults[first];
    if comptime![how.kl] {
        peak = peaks[first];
        total = totals[first];
        teachers_peak = teachers_peaks[first];
        teachers_total = teachers_totals[first];
        // A row in which either gives nothing any probability says nothing.
        if total > 0.0f32 && teachers_total > 0.0f32 {
            by_total = kl * sharpness / total;
            by_teachers_total = kl * sharpness / teachers_total;
            loss = kl * (aparts[first] / teachers_total + (total / teachers_total).ln());
        } else if fault < f32::new(NO_NUMBER) {
            fault = 0.0f32;
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
                if is_masked(chosen) {
                    fault = max(fault, f32::new(INFINITE));
                } else {
                    loss += cross_entropy * (plain_total.ln() + (plain_peak - chosen));
                }
            }
        }
    }
    if lane == 0 && real {
        losses[row] = with_defect(loss, fault);
    }
    if comptime![how.gradient] {
        let mut class = lane;
        while class < count {
            let value = student[student_at + class * student_step];
            let masked = is_masked(value);
            let mut slope = 0.0f32;
            if comptime![how.cross_entropy] {
                if !masked {
                    slope = (value - plain_peak).exp() * by_plain_total;
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
                    let said = teachers(
                        f32::cast_from(teacher[teacher_at + class * teacher_step]),
                        how.probabilities,
                    );
                    if !masked {
                        slope += ((value - peak) * sharpness).exp() * by_total;
                    }
                    if !is_masked(said) {
                        slope -= ((said - teachers_peak) * teacher_sharpness).exp() * by_teachers_total;
                    }
                }
            }
            gradient[row * classes + class] = slope;
            class += group;
        }
    }
}
