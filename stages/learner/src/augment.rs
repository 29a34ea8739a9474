//! Random changes of images in training batches.
//!
//! In: the bytes of an image and a stream. Out: other bytes, of the same shape. "4 pixels are padded on each side, and a
//! 32x32 crop is randomly sampled from the padded image or its horizontal flip" (He et al. 2015, arXiv:1512.03385, section
//! 4.2). The border is black, as it is where images are padded before they are normalised.

use crate::random::Stream;
use fedstill_schemas::data::{Augmentation, Shape};

/// Pixels around an image in which a crop is placed.
const BORDER: u32 = 4;

/// What happens to one image.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Change {
    /// Whether left is right.
    flip: bool,
    /// How many pixels the image moves up; down where negative.
    up: i64,
    /// How many pixels the image moves left, after the flip; right where negative.
    left: i64,
}

impl Change {
    /// Draws what those augmentations do to one image, in their order.
    pub(crate) fn draw(augmentations: &[Augmentation], stream: &mut Stream) -> Self {
        let mut change = Self::default();
        for augmentation in augmentations {
            match augmentation {
                Augmentation::Flip => change.flip = stream.below(2) == 1,
                Augmentation::Crop => {
                    let mut place = || i64::from(stream.below(2 * BORDER + 1)) - i64::from(BORDER);
                    (change.up, change.left) = (place(), place());
                }
            }
        }
        change
    }

    /// Appends the changed image.
    pub(crate) fn apply(self, shape: Shape, image: &[u8], to: &mut Vec<u8>) {
        let (height, width) = (i64::from(shape.height), i64::from(shape.width));
        let pixel = |channel: &[u8], y: i64, x: i64| {
            let (y, x) = (y + self.up, x + self.left);
            if !(0..height).contains(&y) || !(0..width).contains(&x) {
                return 0;
            }
            let x = if self.flip { width - 1 - x } else { x };
            channel[(y * width + x) as usize]
        };
        for channel in image.chunks_exact((height * width) as usize) {
            for y in 0..height {
                to.extend((0..width).map(|x| pixel(channel, y, x)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// Two channels of 2 x 3 pixels.
    const SHAPE: Shape = Shape {
        channels: 2,
        height: 2,
        width: 3,
    };
    const IMAGE: [u8; 12] = [1, 2, 3, 4, 5, 6, 10, 20, 30, 40, 50, 60];

    fn changed(flip: bool, up: i64, left: i64) -> Vec<u8> {
        let mut image = Vec::new();
        Change { flip, up, left }.apply(SHAPE, &IMAGE, &mut image);
        image
    }

    #[test]
    fn images_are_moved_and_mirrored_as_by_hand() {
        assert_eq!(changed(false, 0, 0), IMAGE);
        assert_eq!(changed(true, 0, 0), [3, 2, 1, 6, 5, 4, 30, 20, 10, 60, 50, 40]);
        assert_eq!(changed(false, 1, 0), [4, 5, 6, 0, 0, 0, 40, 50, 60, 0, 0, 0]);
        assert_eq!(changed(false, -1, 0), [0, 0, 0, 1, 2, 3, 0, 0, 0, 10, 20, 30]);
        assert_eq!(changed(false, 0, 1), [2, 3, 0, 5, 6, 0, 20, 30, 0, 50, 60, 0]);
        assert_eq!(changed(true, 0, 1), [2, 1, 0, 5, 4, 0, 20, 10, 0, 50, 40, 0]);
        assert_eq!(changed(true, 1, -2), [0, 0, 6, 0, 0, 0, 0, 0, 60, 0, 0, 0]);
        assert_eq!(changed(false, 4, -4), [0; 12]);
    }

    #[test]
    fn every_place_and_side_is_drawn_equally_often() {
        let mut stream = Stream::new(1, 1, "revisit", "0").fork("augment 0");
        let mut places: BTreeMap<(i64, i64), u32> = BTreeMap::new();
        let mut flips = 0;
        let draws = 81 * 200;
        for _ in 0..draws {
            let change = Change::draw(&Augmentation::ALL, &mut stream);
            *places.entry((change.up, change.left)).or_default() += 1;
            flips += u32::from(change.flip);
        }
        assert_eq!(places.len(), 81);
        assert!(places.keys().all(|(up, left)| up.abs() <= 4 && left.abs() <= 4));
        // Five standard deviations of 200, and of half the draws.
        assert!(places.values().all(|count| count.abs_diff(200) < 71), "{places:?}");
        assert!(flips.abs_diff(draws / 2) < 320, "{flips}");
    }

    #[test]
    fn nothing_is_drawn_where_nothing_is_asked_for() {
        let (mut used, mut other) = (Stream::new(1, 1, "", ""), Stream::new(1, 1, "", ""));
        assert_eq!(Change::draw(&[], &mut used), Change::default());
        assert_eq!(used.uniform(), other.uniform());
        assert!(!Change::draw(&[Augmentation::Crop], &mut used).flip);
        let flipped = Change::draw(&[Augmentation::Flip], &mut used);
        assert_eq!((flipped.up, flipped.left), (0, 0));
    }
}
