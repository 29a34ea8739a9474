//! Cross entropy of each row with its label and divergence from a teacher, with their gradient: student and teacher are read
//! once for the loss, and once more where the gradient is written.

use super::group::{self, Shape};
use super::online;
use super::special::{INFINITE, NOT_A_NUMBER, defect, defect_of_probability, is_masked, unless_infinite, with_defect};
use crate::row_loss::{SoftmaxLoss, Teacher};
use burn::backend::TensorMetadata;
use burn::backend::cubecl::dtype_to_elem_type;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

/// What a kernel is compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Config {
    shape: Shape,
    kl: bool,
    cross_entropy: bool,
    not_true: bool,
    /// The teacher's values are probabilities.
    probabilities: bool,
    gradient: bool,
}

/// Writes the losses, and the gradients where they are asked for.
pub(super) fn run(
    [student, teacher, labels]: [CubeTensor; 3],
    [losses, gradient]: [CubeTensor; 2],
    what: SoftmaxLoss,
    with_gradient: bool,
) {
    let [rows, classes] = student.shape().dims::<2>();
    let client = student.client.clone();
    let shape = Shape::of(&student, classes);
    let inverse_temperature = what.temperature.recip();
    let teacher_inverse_temperature = if what.teacher == Teacher::Logits {
        inverse_temperature
    } else {
        1.0
    };
    let kinds = [dtype_to_elem_type(teacher.dtype), dtype_to_elem_type(labels.dtype)];
    cross_entropy_and_kl::launch(
        &client,
        shape.cubes(rows),
        shape.cube_dim(),
        student.into_tensor_arg(),
        teacher.into_tensor_arg(),
        labels.into_tensor_arg(),
        losses.into_tensor_arg(),
        gradient.into_tensor_arg(),
        rows as u32,
        classes as u32,
        inverse_temperature,
        teacher_inverse_temperature,
        what.kl,
        what.cross_entropy,
        Config {
            shape,
            kl: what.kl != 0.0,
            cross_entropy: what.cross_entropy != 0.0,
            not_true: what.not_true && what.kl != 0.0,
            probabilities: what.teacher == Teacher::Probabilities,
            gradient: with_gradient,
        },
        kinds,
    );
}

/// What is wrong with a teacher's value: told before its logarithm is taken, which may hide it.
#[cube]
fn teacher_defect(value: f32, #[comptime] probabilities: bool) -> f32 {
    let mut found = defect(value);
    if comptime![probabilities] {
        found = defect_of_probability(value);
    }
    found
}

/// What the teacher says of a class, before its temperature; minus infinity for a class without probability.
#[cube]
fn teacher_logit(value: f32, #[comptime] probabilities: bool) -> f32 {
    let mut logit = value;
    if comptime![probabilities] {
        if value > 0.0f32 {
            logit = value.ln();
        } else {
            logit = f32::reinterpret(0xff80_0000u32);
        }
    }
    logit
}

#[cube(launch)]
fn cross_entropy_and_kl<T: Float, L: Int>(
    student: &Tensor<f32>,
    teacher: &Tensor<T>,
    labels: &Tensor<L>,
    losses: &mut Tensor<f32>,
    gradient: &mut Tensor<f32>,
    rows: u32,
    classes: u32,
    inverse_temperature: f32,
    teacher_inverse_temperature: f32,
    kl: f32,
    cross_entropy: f32,
    #[comptime] config: Config,
    #[define(T, L)] _kinds: [ElemType; 2],
) {
    let (row, lane, count) = group::place(rows, classes, config.shape);
    let step = comptime![config.shape.group as usize];
    let most = online::furthest_half(inverse_temperature);
    let teacher_most = online::furthest_half(teacher_inverse_temperature);
    let mut student_at = 0usize;
    let mut teacher_at = 0usize;
    let mut label = classes as usize;
    let mut fault = 0.0f32;
    if count > 0 {
        student_at = row * student.stride(0);
        if comptime![config.kl] {
            teacher_at = row * teacher.stride(0);
        }
        if comptime![config.cross_entropy || config.not_true] {
            // A label that is no class is told here: reading it back to say so would keep the device waiting.
            let given = labels[row * labels.stride(0)];
            let narrow = u32::cast_from(given);
            label = narrow as usize;
            if L::cast_from(narrow) != given || label >= count {
                fault = f32::new(NOT_A_NUMBER);
            }
        }
    }
    let student_step = student.stride(1);
    let mut teacher_step = 0usize;
    if comptime![config.kl] {
        teacher_step = teacher.stride(1);
    }

    // Student: largest value and sum of exponentials below it; the same of the teacher; the teacher's mean difference from the
    // student, both below their largest values, times the teacher's sum. For the cross entropy the student's again, at
    // temperature 1 and with all classes. A sum of 0 has seen nothing yet. Beside them, what is infinite or no number: the teacher
    // may give probability to a class that the student masks. What a class that is left out holds is not looked at.
    let mut maximum = 0.0f32;
    let mut total = 0.0f32;
    let mut teacher_maximum = 0.0f32;
    let mut teacher_total = 0.0f32;
    let mut difference = 0.0f32;
    let mut plain_maximum = 0.0f32;
    let mut plain_total = 0.0f32;
    let mut class = lane;
    while class < count {
        let value = student[student_at + class * student_step];
        let masked = is_masked(value);
        if comptime![config.cross_entropy] {
            fault = max(fault, defect(value));
            if !masked {
                let (larger, sum) = online::with_logit(value, plain_maximum, plain_total);
                plain_maximum = larger;
                plain_total = sum;
            }
        }
        if comptime![config.kl] {
            let mut counts = true;
            if comptime![config.not_true] {
                counts = class != label;
            }
            if counts {
                let given = f32::cast_from(teacher[teacher_at + class * teacher_step]);
                let said = teacher_logit(given, config.probabilities);
                fault = max(fault, defect(value));
                fault = max(fault, teacher_defect(given, config.probabilities));
                // Divided by the temperature once the largest is taken off: large logits lose nothing then.
                let mut exponent = online::exponent(value, maximum, inverse_temperature, most);
                if !masked {
                    if total == 0.0f32 {
                        total = 1.0f32;
                        maximum = value;
                        exponent = 0.0f32;
                    } else if exponent > 0.0f32 {
                        difference += teacher_total * exponent;
                        total = total * (-exponent).exp() + 1.0f32;
                        maximum = value;
                        exponent = 0.0f32;
                    } else {
                        total += exponent.exp();
                    }
                }
                if !is_masked(said) {
                    let mut teacher_exponent =
                        online::exponent(said, teacher_maximum, teacher_inverse_temperature, teacher_most);
                    let mut e = 1.0f32;
                    if teacher_total == 0.0f32 {
                        teacher_maximum = said;
                        teacher_exponent = 0.0f32;
                    } else if teacher_exponent > 0.0f32 {
                        let shrink = (-teacher_exponent).exp();
                        difference = shrink * (difference - teacher_total * teacher_exponent);
                        teacher_total *= shrink;
                        teacher_maximum = said;
                        teacher_exponent = 0.0f32;
                    } else {
                        e = teacher_exponent.exp();
                    }
                    teacher_total += e;
                    if masked {
                        fault = max(fault, f32::new(INFINITE));
                    } else {
                        difference += e * (teacher_exponent - exponent);
                    }
                }
            }
        }
        class += step;
    }

    fault = group::largest(fault, config.shape);
    let mut loss = 0.0f32;
    let mut by_total = 0.0f32;
    let mut by_teacher_total = 0.0f32;
    let mut by_plain_total = 0.0f32;
    let mut from_label = 0.0f32;
    if comptime![config.kl] {
        let (largest, shift) = online::of_group(maximum, total, inverse_temperature, config.shape);
        let (teacher_largest, teacher_shift) = online::of_group(
            teacher_maximum,
            teacher_total,
            teacher_inverse_temperature,
            config.shape,
        );
        let shrink = teacher_shift.exp();
        difference = group::sum(
            (difference + teacher_total * (teacher_shift - shift)) * shrink,
            config.shape,
        );
        total = group::sum(total * shift.exp(), config.shape);
        teacher_total = group::sum(teacher_total * shrink, config.shape);
        maximum = largest;
        teacher_maximum = teacher_largest;
        // A row in which either gives nothing any probability says nothing.
        if total > 0.0f32 && teacher_total > 0.0f32 {
            by_total = kl * inverse_temperature / total;
            by_teacher_total = kl * inverse_temperature / teacher_total;
            loss = kl * (difference / teacher_total + (total / teacher_total).ln());
        } else if fault < f32::new(NOT_A_NUMBER) {
            fault = 0.0f32;
        }
    }
    if comptime![config.cross_entropy] {
        let (largest, shift) = online::of_group(plain_maximum, plain_total, 1.0f32, config.shape);
        plain_total = group::sum(plain_total * shift.exp(), config.shape);
        plain_maximum = largest;
        if plain_total > 0.0f32 {
            by_plain_total = cross_entropy / plain_total;
            from_label = cross_entropy;
            if label < count {
                let chosen = student[student_at + label * student_step];
                if is_masked(chosen) {
                    fault = max(fault, f32::new(INFINITE));
                } else {
                    let above = online::difference(plain_maximum, chosen);
                    loss += cross_entropy * (plain_total.ln() + above);
                }
            }
        }
    }
    if lane == 0 && count > 0 {
        losses[row] = with_defect(loss, fault);
    }
    if comptime![config.gradient] {
        // No maximum and no sum of a row tells that one of its values is no number.
        let fault = unless_infinite(fault);
        let mut class = lane;
        while class < count {
            let value = student[student_at + class * student_step];
            let masked = is_masked(value);
            let mut slope = 0.0f32;
            if comptime![config.cross_entropy] {
                if !masked {
                    let exponent = online::difference(value, plain_maximum);
                    slope = exponent.exp() * by_plain_total;
                }
                if class == label {
                    slope -= from_label;
                }
            }
            if comptime![config.kl] {
                let mut counts = true;
                if comptime![config.not_true] {
                    counts = class != label;
                }
                if counts {
                    let said = teacher_logit(
                        f32::cast_from(teacher[teacher_at + class * teacher_step]),
                        config.probabilities,
                    );
                    if !masked {
                        let exponent = online::exponent(value, maximum, inverse_temperature, most);
                        slope += exponent.exp() * by_total;
                    }
                    if !is_masked(said) {
                        let exponent =
                            online::exponent(said, teacher_maximum, teacher_inverse_temperature, teacher_most);
                        slope -= exponent.exp() * by_teacher_total;
                    }
                }
            }
            gradient[row * classes as usize + class] = with_defect(slope, fault);
            class += step;
        }
    }
}
