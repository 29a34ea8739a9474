//! KT-pFL's knowledge coefficients (Zhang et al. 2021, arXiv:2111.02625), on the CPU.
//!
//! The step of a party's coefficients needs only the products of the parties' probabilities with each other, which add up over
//! chunks: a matrix of parties by parties, whatever the number of rows.

use crate::OperandError;
use crate::operands::Operation;

const OPERATION: Operation = Operation("knowledge coefficients");

/// Adds a chunk's products: `gram[i * parties + j] += sum over values of p_i p_j`, `p` being the softmax of logits divided by
/// the temperature. `logits` are one slice a party, `rows x classes`.
///
/// # Errors
/// [`OperandError`] where lengths differ or are no whole rows, there are no classes, the matrix is not parties by parties, or the
/// temperature is not within 1e-9 and 1e9; nothing is added then.
pub fn add_gram(gram: &mut [f64], logits: &[&[f32]], classes: usize, temperature: f64) -> Result<(), OperandError> {
    let parties = logits.len();
    OPERATION.slices(logits, classes)?;
    OPERATION.temperature(temperature)?;
    OPERATION.shape("the matrix of products", &[parties * parties], &[gram.len()])?;
    let probabilities: Vec<Vec<f64>> = logits
        .iter()
        .map(|logits| {
            let rows = logits.chunks_exact(classes);
            rows.flat_map(|row| {
                let row: Vec<f64> = row.iter().map(|value| f64::from(*value) / temperature).collect();
                softmax(&row)
            })
            .collect()
        })
        .collect();
    for i in 0..parties {
        for j in 0..=i {
            let product = |(a, b): (&f64, &f64)| a * b;
            let sum: f64 = probabilities[i].iter().zip(&probabilities[j]).map(product).sum();
            gram[i * parties + j] += sum;
            if i != j {
                gram[j * parties + i] += sum;
            }
        }
    }
    Ok(())
}

/// The gradient of a party's coefficients (equation 8 there, by gradient): of the mean square distance over `values` values
/// between its probabilities and the mixture that the coefficients make, plus `rho` times the mean square distance of the
/// coefficients from equal ones.
///
/// # Errors
/// [`OperandError`] where the matrix is not parties by parties, the party is none of them, there are no values, or `rho` is not
/// finite.
pub fn coefficient_gradient(
    gram: &[f64],
    coefficients: &[f64],
    party: usize,
    rho: f64,
    values: usize,
) -> Result<Vec<f64>, OperandError> {
    let parties = coefficients.len();
    OPERATION.shape("the matrix of products", &[parties * parties], &[gram.len()])?;
    if party >= parties {
        return Err(OperandError::Party {
            operation: OPERATION.0,
            party,
            parties,
        });
    }
    OPERATION.constant("rho", "finite", rho, rho.is_finite())?;
    OPERATION.constant("the number of values", "1 at least", values, values > 0)?;
    let gradient = (0..parties)
        .map(|m| {
            let mixed = |(other, coefficient): (usize, &f64)| coefficient * gram[other * parties + m];
            let mixture: f64 = coefficients.iter().enumerate().map(mixed).sum();
            let distance = 2.0 * (mixture - gram[party * parties + m]) / values as f64;
            distance + rho * 2.0 * (coefficients[m] - 1.0 / parties as f64) / parties as f64
        })
        .collect();
    Ok(gradient)
}

/// A step against that gradient, and the softmax of the result times `inverse_temperature`, as the authors' code keeps
/// coefficients positive and their sum one.
///
/// # Errors
/// [`OperandError`] where there are not as many slopes as coefficients, the learning rate is not finite, or the inverse temperature
/// not positive and finite.
pub fn coefficient_step(
    coefficients: &[f64],
    gradient: &[f64],
    learning_rate: f64,
    inverse_temperature: f64,
) -> Result<Vec<f64>, OperandError> {
    OPERATION.shape("the gradient", &[coefficients.len()], &[gradient.len()])?;
    OPERATION.constant("the learning rate", "finite", learning_rate, learning_rate.is_finite())?;
    let is_positive = inverse_temperature.is_finite() && inverse_temperature > 0.0;
    OPERATION.constant(
        "the inverse temperature",
        "positive and finite",
        inverse_temperature,
        is_positive,
    )?;
    let moved = coefficients.iter().zip(gradient);
    let moved: Vec<f64> = moved
        .map(|(coefficient, gradient)| inverse_temperature * (coefficient - learning_rate * gradient))
        .collect();
    Ok(softmax(&moved))
}

fn softmax(row: &[f64]) -> Vec<f64> {
    let maximum = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let exponentials: Vec<f64> = row.iter().map(|value| libm::exp(value - maximum)).collect();
    let total: f64 = exponentials.iter().sum();
    exponentials.iter().map(|e| e / total).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(gram: &mut [f64], logits: &[&[f32]], classes: usize, temperature: f64) -> OperandError {
        add_gram(gram, logits, classes, temperature).unwrap_err()
    }

    #[test]
    fn products_of_what_does_not_fit_are_refused_and_nothing_is_added() {
        let (one, other) = ([0.0_f32; 6], [1.0_f32; 6]);
        let mut gram = vec![7.0; 4];
        for temperature in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let error = refused(&mut gram, &[&one, &other], 3, temperature);
            assert!(matches!(error, OperandError::Temperature { .. }), "{error}");
        }
        let error = refused(&mut gram, &[&one, &other], 0, 1.0);
        assert!(matches!(error, OperandError::NoClasses { .. }), "{error}");
        for (logits, classes) in [([&one[..], &other[..3]], 3), ([&one[..], &other[..]], 4)] {
            let error = refused(&mut gram, &logits, classes, 1.0);
            assert!(matches!(error, OperandError::Shape { .. }), "{error}");
        }
        let error = refused(&mut gram[..3], &[&one, &other], 3, 1.0);
        assert!(error.to_string().contains("the matrix of products"), "{error}");
        assert_eq!(gram, [7.0; 4]);
        add_gram(&mut gram, &[&one, &other], 3, 1.0).unwrap();
        assert!(gram.iter().all(|product| *product > 7.0), "{gram:?}");
        add_gram(&mut [], &[], 3, 1.0).unwrap();
    }

    #[test]
    fn steps_of_coefficients_that_do_not_fit_are_refused() {
        let (gram, equal) = ([1.0; 4], [0.5; 2]);
        let gradient = |gram: &[f64], party, rho, values| coefficient_gradient(gram, &equal, party, rho, values);
        assert!(gradient(&gram, 1, 0.1, 6).is_ok());
        let error = gradient(&gram, 2, 0.1, 6).unwrap_err();
        assert_eq!(
            error.to_string(),
            "knowledge coefficients: there is no party 2; give one of the 2, from 0 on"
        );
        let error = gradient(&gram[..3], 1, 0.1, 6).unwrap_err();
        assert!(matches!(error, OperandError::Shape { .. }), "{error}");
        for (rho, values, named) in [(f64::NAN, 6, "rho"), (0.1, 0, "the number of values")] {
            let error = gradient(&gram, 1, rho, values).unwrap_err();
            assert!(
                matches!(error, OperandError::Constant { constant, .. } if constant == named),
                "{error}"
            );
        }
        let step = |slopes: &[f64], rate, inverse| coefficient_step(&equal, slopes, rate, inverse);
        assert_eq!(step(&[0.0; 2], 0.5, 5.0).unwrap(), equal);
        let error = step(&[0.0; 3], 0.5, 5.0).unwrap_err();
        assert!(matches!(error, OperandError::Shape { .. }), "{error}");
        for (rate, inverse) in [(f64::NAN, 5.0), (0.5, 0.0), (0.5, -1.0), (0.5, f64::INFINITY)] {
            let error = step(&[0.0; 2], rate, inverse).unwrap_err();
            assert!(
                matches!(error, OperandError::Constant { .. }),
                "{rate} {inverse}: {error}"
            );
        }
    }
}
