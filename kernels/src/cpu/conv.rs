//! Convolutions of images as products of matrices: the values that a kernel sees at each place are unfolded into columns
//! (Chellapilla et al. 2006). A few images at a time, so that the columns stay in the cache; nothing as large as the batch
//! is copied or turned round.

use super::matmul::{Matrix, multiply};

/// Columns that are unfolded at a time, at least: fewer would make thin products, of which packing is most of the work.
const COLUMNS: usize = 512;

/// Sizes of a convolution.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    pub(crate) images: usize,
    pub(crate) channels: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) outputs: usize,
    /// Height and width of the kernel.
    pub(crate) kernel: [usize; 2],
    pub(crate) stride: usize,
    pub(crate) padding: usize,
}

impl Sizes {
    /// Height and width of what comes out.
    pub(crate) fn out(&self) -> [usize; 2] {
        let out = |size: usize, kernel: usize| (size + 2 * self.padding - kernel) / self.stride + 1;
        [out(self.height, self.kernel[0]), out(self.width, self.kernel[1])]
    }

    fn places(&self) -> usize {
        self.out().iter().product()
    }

    /// Values that the kernel sees at a place.
    fn seen(&self) -> usize {
        self.channels * self.kernel[0] * self.kernel[1]
    }

    fn image(&self) -> usize {
        self.channels * self.height * self.width
    }

    /// Values of all images that come out.
    pub(crate) fn produced(&self) -> usize {
        self.images * self.outputs * self.places()
    }

    /// Images that are unfolded at a time.
    fn at_once(&self) -> usize {
        COLUMNS.div_ceil(self.places()).clamp(1, self.images.max(1))
    }

    /// Whether an image is its own columns.
    fn is_pointwise(&self) -> bool {
        self.kernel == [1, 1] && self.stride == 1 && self.padding == 0
    }

    /// Places in a row of the output at which column `x` of the kernel sees the image, and the first value that it sees.
    fn inside(&self, x: usize) -> (std::ops::Range<usize>, usize) {
        let [_, out] = self.out();
        let first = self.padding.saturating_sub(x).div_ceil(self.stride).min(out);
        // The last place that sees column `width - 1` at most.
        let end = (self.width + self.padding).saturating_sub(x).div_ceil(self.stride);
        let end = end.clamp(first, out);
        (first..end, (first * self.stride + x).saturating_sub(self.padding))
    }

    /// The row of the image that row `y` of the kernel sees from a row of the output.
    fn row(&self, out: usize, y: usize) -> Option<usize> {
        let row = (out * self.stride + y).checked_sub(self.padding)?;
        (row < self.height).then_some(row)
    }

    /// Calls `each` for every channel and value of the kernel: with the row of the columns, the channel, and the value's
    /// place in the kernel.
    fn for_each_seen(&self, mut each: impl FnMut(usize, usize, [usize; 2])) {
        let [height, width] = self.kernel;
        for row in 0..self.seen() {
            each(row, row / (height * width), [row / width % height, row % width]);
        }
    }
}

/// The columns of some images: `seen x (images x places)`.
fn unfold(sizes: &Sizes, images: &[f32], columns: &mut [f32]) {
    let count = images.len() / sizes.image();
    let ([out_height, out_width], places) = (sizes.out(), sizes.places());
    sizes.for_each_seen(|row, channel, [y, x]| {
        let (inside, first) = sizes.inside(x);
        let row = &mut columns[row * count * places..][..count * places];
        for (image, places) in images.chunks_exact(sizes.image()).zip(row.chunks_exact_mut(places)) {
            let plane = &image[channel * sizes.height * sizes.width..][..sizes.height * sizes.width];
            for (out, places) in places.chunks_exact_mut(out_width).enumerate().take(out_height) {
                let Some(from) = sizes.row(out, y) else {
                    places.fill(0.0);
                    continue;
                };
                places[..inside.start].fill(0.0);
                places[inside.end..].fill(0.0);
                let places = &mut places[inside.clone()];
                if places.is_empty() {
                    continue;
                }
                let seen = &plane[from * sizes.width + first..(from + 1) * sizes.width];
                if sizes.stride == 1 {
                    places.copy_from_slice(&seen[..places.len()]);
                } else {
                    for (place, seen) in places.iter_mut().zip(seen.iter().step_by(sizes.stride)) {
                        *place = *seen;
                    }
                }
            }
        }
    });
}

/// Adds columns to the images that they would have been unfolded from.
fn fold(sizes: &Sizes, columns: &[f32], images: &mut [f32]) {
    let count = images.len() / sizes.image();
    let ([out_height, out_width], places) = (sizes.out(), sizes.places());
    sizes.for_each_seen(|row, channel, [y, x]| {
        let (inside, first) = sizes.inside(x);
        let row = &columns[row * count * places..][..count * places];
        for (image, places) in images.chunks_exact_mut(sizes.image()).zip(row.chunks_exact(places)) {
            let plane = &mut image[channel * sizes.height * sizes.width..][..sizes.height * sizes.width];
            for (out, places) in places.chunks_exact(out_width).enumerate().take(out_height) {
                let Some(to) = sizes.row(out, y) else { continue };
                let places = &places[inside.clone()];
                if places.is_empty() {
                    continue;
                }
                let seen = &mut plane[to * sizes.width + first..(to + 1) * sizes.width];
                if sizes.stride == 1 {
                    for (seen, place) in seen.iter_mut().zip(places) {
                        *seen += *place;
                    }
                } else {
                    for (seen, place) in seen.iter_mut().step_by(sizes.stride).zip(places) {
                        *seen += *place;
                    }
                }
            }
        }
    });
}

/// What images are unfolded to and put side by side in, block after block.
struct Blocks<'a> {
    sizes: &'a Sizes,
    /// Images of a block; the last one may have fewer.
    at_once: usize,
    columns: Vec<f32>,
    gathered: Vec<f32>,
}

impl<'a> Blocks<'a> {
    fn of(sizes: &'a Sizes) -> Self {
        let at_once = sizes.at_once();
        let needs = |needed: bool, rows: usize| vec![0.0; if needed { rows * at_once * sizes.places() } else { 0 }];
        Self {
            sizes,
            at_once,
            columns: needs(!sizes.is_pointwise() || at_once > 1, sizes.seen()),
            gathered: needs(at_once > 1, sizes.outputs),
        }
    }

    /// Values of a block of images that go in, and of one that comes out.
    fn lengths(&self) -> [usize; 2] {
        [self.sizes.image(), self.sizes.outputs * self.sizes.places()].map(|image| image * self.at_once)
    }
}

/// The columns of some images: the image itself, where it is one and is its own columns.
fn seen_of<'a>(sizes: &Sizes, images: &'a [f32], columns: &'a mut [f32]) -> Matrix<'a> {
    let (seen, width) = (sizes.seen(), images.len() / sizes.image() * sizes.places());
    if sizes.is_pointwise() && images.len() == sizes.image() {
        return Matrix::new(images, seen, width);
    }
    let columns = &mut columns[..seen * width];
    unfold(sizes, images, columns);
    Matrix::new(columns, seen, width)
}

/// What comes out of some images, as one matrix `outputs x (images x places)`: itself, where it is one image.
fn side_by_side<'a>(sizes: &Sizes, produced: &'a [f32], gathered: &'a mut [f32]) -> Matrix<'a> {
    let (places, width) = (sizes.places(), produced.len() / sizes.outputs);
    if width == places {
        return Matrix::new(produced, sizes.outputs, width);
    }
    let gathered = &mut gathered[..produced.len()];
    for (i, image) in produced.chunks_exact(sizes.outputs * places).enumerate() {
        for (row, plane) in gathered.chunks_exact_mut(width).zip(image.chunks_exact(places)) {
            row[i * places..][..places].copy_from_slice(plane);
        }
    }
    Matrix::new(gathered, sizes.outputs, width)
}

/// What comes out: `images x outputs x height x width`. A bias has a value an output, or none.
pub(crate) fn forward(sizes: &Sizes, images: &[f32], weight: &[f32], bias: &[f32]) -> Vec<f32> {
    let (places, outputs) = (sizes.places(), sizes.outputs);
    let weight = Matrix::new(weight, outputs, sizes.seen());
    let mut produced = vec![0.0; sizes.produced()];
    let mut blocks = Blocks::of(sizes);
    let [from, to] = blocks.lengths();
    for (images, produced) in images.chunks(from).zip(produced.chunks_mut(to)) {
        let values = seen_of(sizes, images, &mut blocks.columns);
        let width = produced.len() / outputs;
        if width == places {
            multiply(weight, values, produced, false);
        } else {
            let gathered = &mut blocks.gathered[..produced.len()];
            multiply(weight, values, gathered, false);
            for (i, image) in produced.chunks_exact_mut(outputs * places).enumerate() {
                for (plane, row) in image.chunks_exact_mut(places).zip(gathered.chunks_exact(width)) {
                    plane.copy_from_slice(&row[i * places..][..places]);
                }
            }
        }
        if !bias.is_empty() {
            for (plane, bias) in produced.chunks_exact_mut(places).zip(bias.iter().cycle()) {
                for value in plane {
                    *value += *bias;
                }
            }
        }
    }
    produced
}

/// The gradient with respect to the images.
pub(crate) fn input_gradient(sizes: &Sizes, weight: &[f32], gradient: &[f32]) -> Vec<f32> {
    let weight = Matrix::new(weight, sizes.outputs, sizes.seen()).transposed();
    let mut result = vec![0.0; sizes.images * sizes.image()];
    let mut blocks = Blocks::of(sizes);
    let [to, from] = blocks.lengths();
    for (gradient, result) in gradient.chunks(from).zip(result.chunks_mut(to)) {
        let width = gradient.len() / sizes.outputs;
        let gradient = side_by_side(sizes, gradient, &mut blocks.gathered);
        if sizes.is_pointwise() && width == sizes.places() {
            multiply(weight, gradient, result, false);
        } else {
            let columns = &mut blocks.columns[..sizes.seen() * width];
            multiply(weight, gradient, columns, false);
            fold(sizes, columns, result);
        }
    }
    result
}

/// The gradient with respect to the weight, summed over the images in their order.
pub(crate) fn weight_gradient(sizes: &Sizes, images: &[f32], gradient: &[f32]) -> Vec<f32> {
    let mut result = vec![0.0; sizes.outputs * sizes.seen()];
    let mut blocks = Blocks::of(sizes);
    let [from, to] = blocks.lengths();
    for (images, gradient) in images.chunks(from).zip(gradient.chunks(to)) {
        let values = seen_of(sizes, images, &mut blocks.columns);
        let gradient = side_by_side(sizes, gradient, &mut blocks.gathered);
        multiply(gradient, values.transposed(), &mut result, true);
    }
    result
}

/// The gradient with respect to the bias: the sums of the outputs' gradients.
pub(crate) fn bias_gradient(outputs: usize, places: usize, gradient: &[f32]) -> Vec<f32> {
    let mut result = vec![0.0_f64; outputs];
    for image in gradient.chunks_exact((outputs * places).max(1)) {
        for (sum, plane) in result.iter_mut().zip(image.chunks_exact(places)) {
            *sum += f64::from(super::lanes::sum(plane));
        }
    }
    result.into_iter().map(|sum| sum as f32).collect()
}
