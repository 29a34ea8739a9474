//! A step of Adam, value by value.

use crate::adam::Factors;

/// Changes a parameter and its moments where they are. All four are as long as each other.
pub(crate) fn step(
    factors: &Factors,
    parameters: &mut [f32],
    firsts: &mut [f32],
    seconds: &mut [f32],
    gradients: &[f32],
) {
    pulp::Arch::new().dispatch(Step {
        factors,
        parameters,
        firsts,
        seconds,
        gradients,
    });
}

struct Step<'a> {
    factors: &'a Factors,
    parameters: &'a mut [f32],
    firsts: &'a mut [f32],
    seconds: &'a mut [f32],
    gradients: &'a [f32],
}

impl pulp::WithSimd for Step<'_> {
    type Output = ();

    #[expect(
        clippy::inline_always,
        reason = "instructions are chosen for a whole loop, and only for what is compiled into it"
    )]
    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        let Factors {
            step_size,
            root_correction,
            beta_1,
            beta_2,
            epsilon,
            decay,
        } = *self.factors;
        let parameters = self.parameters.iter_mut().zip(self.gradients);
        let moments = self.firsts.iter_mut().zip(self.seconds);
        for ((parameter, gradient), (first, second)) in parameters.zip(moments) {
            let gradient = gradient + decay * *parameter;
            *first = beta_1[0] * *first + beta_1[1] * gradient;
            *second = beta_2[0] * *second + beta_2[1] * gradient * gradient;
            *parameter -= step_size * *first / (second.sqrt() * root_correction + epsilon);
        }
    }
}
