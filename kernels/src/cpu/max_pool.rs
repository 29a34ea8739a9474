//! The largest of every 2x2 square, and its gradient. Squares beside each other are taken at once, by selections without branches;
//! the last ones of a row together with some before them again, so that nothing is left over.

#![expect(
    clippy::inline_always,
    reason = "instructions are chosen for a whole loop, and only for what is compiled into it"
)]

/// Images whose squares are taken; an odd last row or column is in none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    pub(crate) height: usize,
    pub(crate) width: usize,
}

impl Sizes {
    /// Height and width of what comes out.
    pub(crate) fn pooled(self) -> [usize; 2] {
        [self.height / 2, self.width / 2]
    }

    /// Values of an image that goes in, and of one that comes out.
    fn areas(self) -> [usize; 2] {
        let [height, width] = self.pooled();
        [self.height * self.width, height * width]
    }
}

/// The pooled values of images, one after the other.
pub(crate) fn run(sizes: Sizes, images: &[f32]) -> Vec<f32> {
    let [area, pooled_area] = sizes.areas();
    let mut pooled = vec![0.0; images.len() / area * pooled_area];
    pulp::Arch::new().dispatch(Forward {
        sizes,
        images,
        pooled: &mut pooled,
    });
    pooled
}

/// The gradient with respect to the images, from that with respect to the pooled values.
pub(crate) fn gradient(sizes: Sizes, images: &[f32], gradients: &[f32]) -> Vec<f32> {
    let mut result = vec![0.0; images.len()];
    pulp::Arch::new().dispatch(Backward {
        sizes,
        images,
        gradients,
        result: &mut result,
    });
    result
}

struct Forward<'a> {
    sizes: Sizes,
    images: &'a [f32],
    pooled: &'a mut [f32],
}

impl pulp::WithSimd for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        let (width, [_, pooled_width]) = (self.sizes.width, self.sizes.pooled());
        let [area, pooled_area] = self.sizes.areas();
        for (image, pooled) in self
            .images
            .chunks_exact(area)
            .zip(self.pooled.chunks_exact_mut(pooled_area))
        {
            let pairs = image.chunks_exact(2 * width).zip(pooled.chunks_exact_mut(pooled_width));
            for (pair, pooled) in pairs {
                let (upper, lower) = pair.split_at(width);
                match pooled_width {
                    8.. => pool_row::<8>(upper, lower, pooled),
                    4.. => pool_row::<4>(upper, lower, pooled),
                    _ => pool_row::<1>(upper, lower, pooled),
                }
            }
        }
    }
}

struct Backward<'a> {
    sizes: Sizes,
    images: &'a [f32],
    gradients: &'a [f32],
    /// All 0.
    result: &'a mut [f32],
}

impl pulp::WithSimd for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        let (width, [_, pooled_width]) = (self.sizes.width, self.sizes.pooled());
        let [area, pooled_area] = self.sizes.areas();
        let planes = self.images.chunks_exact(area).zip(self.result.chunks_exact_mut(area));
        for ((image, result), gradients) in planes.zip(self.gradients.chunks_exact(pooled_area)) {
            let pairs = image.chunks_exact(2 * width).zip(result.chunks_exact_mut(2 * width));
            for ((pair, result), gradients) in pairs.zip(gradients.chunks_exact(pooled_width)) {
                let (rows, results) = (pair.split_at(width), result.split_at_mut(width));
                match pooled_width {
                    8.. => gradient_row::<8>(rows, gradients, results),
                    4.. => gradient_row::<4>(rows, gradients, results),
                    _ => gradient_row::<1>(rows, gradients, results),
                }
            }
        }
    }
}

/// The squares of two rows, `N` at once; there are as many at least.
#[inline(always)]
fn pool_row<const N: usize>(upper: &[f32], lower: &[f32], pooled: &mut [f32]) {
    let mut next = 0;
    while next < pooled.len() {
        let first = next.min(pooled.len() - N);
        let [a, b, c, d] = squares::<N>(upper, lower, first);
        let pooled = &mut pooled[first..][..N];
        for i in 0..N {
            pooled[i] = larger(larger(larger(a[i], b[i]), c[i]), d[i]);
        }
        next += N;
    }
}

/// Writes each gradient where the largest value of its square is, and 0 beside it; there are `N` squares at least.
#[inline(always)]
fn gradient_row<const N: usize>(
    (upper, lower): (&[f32], &[f32]),
    gradients: &[f32],
    (above, below): (&mut [f32], &mut [f32]),
) {
    let mut next = 0;
    while next < gradients.len() {
        let first = next.min(gradients.len() - N);
        let [a, b, c, d] = squares::<N>(upper, lower, first);
        let gradients = &gradients[first..][..N];
        let mut shares = [[0.0; N]; 4];
        for i in 0..N {
            let largest = larger(larger(larger(a[i], b[i]), c[i]), d[i]);
            let mask = |value: f32| if value == largest { u32::MAX } else { 0 };
            // NaN is equal to nothing, and leaves the gradient to the last value: not a number either way.
            let in_a = mask(a[i]);
            let in_b = mask(b[i]) & !in_a;
            let in_c = mask(c[i]) & !(in_a | in_b);
            let in_d = !(in_a | in_b | in_c);
            let gradient = gradients[i].to_bits();
            shares[0][i] = f32::from_bits(gradient & in_a);
            shares[1][i] = f32::from_bits(gradient & in_b);
            shares[2][i] = f32::from_bits(gradient & in_c);
            shares[3][i] = f32::from_bits(gradient & in_d);
        }
        let (above, below) = (&mut above[2 * first..][..2 * N], &mut below[2 * first..][..2 * N]);
        for i in 0..N {
            above[2 * i] = shares[0][i];
            above[2 * i + 1] = shares[1][i];
            below[2 * i] = shares[2][i];
            below[2 * i + 1] = shares[3][i];
        }
        next += N;
    }
}

/// The values of `N` squares from the `first`: of each its upper two, then its lower two.
#[inline(always)]
fn squares<const N: usize>(upper: &[f32], lower: &[f32], first: usize) -> [[f32; N]; 4] {
    let (upper, lower) = (&upper[2 * first..][..2 * N], &lower[2 * first..][..2 * N]);
    let mut values = [[0.0; N]; 4];
    for i in 0..N {
        values[0][i] = upper[2 * i];
        values[1][i] = upper[2 * i + 1];
        values[2][i] = lower[2 * i];
        values[3][i] = lower[2 * i + 1];
    }
    values
}

/// The value that is left of two: the first of equal ones, and NaN.
#[inline(always)]
fn larger(best: f32, value: f32) -> f32 {
    if (value > best) | value.is_nan() { value } else { best }
}
