//! Files that were encoded a moment ago, and what is left of them when they are cut.

use super::*;
use crate::testing::{jpeg_file, png_file, webp_file};

/// Distinct values of an image of 3 x 2 pixels.
fn values(samples: usize) -> Vec<u8> {
    (0..6 * samples).map(|i| (i * 11 % 251) as u8).collect()
}

fn channels(pixels: &Pixels) -> Vec<u8> {
    let mut values = Vec::new();
    pixels.append(pixels.shape().channels, &mut values).unwrap();
    values
}

/// The samples at those places of each pixel, one after the other.
fn planes(values: &[u8], samples: usize, places: &[usize]) -> Vec<u8> {
    let plane = |place: &usize| values.iter().skip(*place).step_by(samples).copied().collect();
    let planes: Vec<Vec<u8>> = places.iter().map(plane).collect();
    planes.concat()
}

#[test]
fn lossless_files_give_their_values_channels_first_and_without_alpha() {
    for samples in 1..=4 {
        let values = values(samples);
        let places: &[usize] = if samples < 3 { &[0] } else { &[0, 1, 2] };
        let mut files = vec![png_file(3, 2, samples, &values)];
        if samples > 2 {
            files.push(webp_file(3, 2, samples, &values));
        }
        for file in files {
            let pixels = decode(&file).unwrap();
            let shape = Shape {
                channels: places.len() as u32,
                height: 2,
                width: 3,
            };
            assert_eq!(pixels.shape(), shape);
            // What is transparent keeps its colour in PNG; WebP's encoder here keeps it too.
            assert_eq!(channels(&pixels), planes(&values, samples, places), "{samples}");
        }
    }
}

#[test]
fn palettes_are_looked_up_and_deep_samples_keep_their_upper_byte() {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, 2, 1);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_palette(vec![1, 2, 3, 40, 50, 60]);
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&[1, 0]).unwrap();
    writer.finish().unwrap();
    assert_eq!(channels(&decode(&file).unwrap()), [40, 1, 50, 2, 60, 3]);

    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, 2, 1);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::Sixteen);
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&[7, 255, 200, 0]).unwrap();
    writer.finish().unwrap();
    assert_eq!(channels(&decode(&file).unwrap()), [7, 200]);
}

#[test]
fn jpeg_files_give_nearly_their_values() {
    let near = |file: &[u8], expected: &[u8]| {
        let found = channels(&decode(file).unwrap());
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.abs_diff(*expected) <= 4, "{found} instead of {expected}");
        }
    };
    let slope: Vec<u8> = (0..20 * 12).map(|i| (40 + 5 * (i % 20) + 3 * (i / 20)) as u8).collect();
    near(&jpeg_file(20, 12, 1, &slope), &slope);
    let colour: Vec<u8> = slope.iter().flat_map(|value| [*value, 90, 255 - *value]).collect();
    near(&jpeg_file(20, 12, 3, &colour), &planes(&colour, 3, &[0, 1, 2]));
}

#[test]
fn grey_goes_with_colour_and_colour_with_grey_where_it_is_grey() {
    let append = |file: &[u8], channels| {
        let mut values = Vec::new();
        let appended = decode(file).unwrap().append(channels, &mut values);
        appended.map(|()| values)
    };
    let grey = png_file(2, 1, 1, &[3, 9]);
    assert_eq!(append(&grey, 3).unwrap(), [3, 9, 3, 9, 3, 9]);
    let grey_in_colour = png_file(2, 1, 3, &[3, 3, 3, 9, 9, 9]);
    assert_eq!(append(&grey_in_colour, 1).unwrap(), [3, 9]);
    let colour = png_file(2, 1, 3, &[3, 3, 3, 9, 9, 8]);
    assert!(append(&colour, 1).unwrap_err().contains("all of them in colour"));
    assert!(append(&grey, 2).unwrap_err().contains("write 1 or 3"));
}

#[test]
fn a_file_that_is_cut_anywhere_is_refused_or_all_there() {
    let values = values(3);
    for (whole, strict) in [
        (png_file(3, 2, 3, &values), false),
        (jpeg_file(3, 2, 3, &values), true),
        (webp_file(3, 2, 3, &values), false),
    ] {
        let all = decode(&whole).unwrap();
        for len in 0..whole.len() {
            match decode(&whole[..len]) {
                Ok(pixels) => assert!(!strict && pixels == all, "{len} bytes of {}", whole.len()),
                Err(reason) => assert!(!reason.is_empty()),
            }
        }
    }
    assert!(decode(b"GIF89a").unwrap_err().contains("no PNG, JPEG or WebP"));
}

#[test]
fn images_that_are_too_large_are_refused_undecoded() {
    let wide = vec![0; 1024 * 3];
    assert!(
        decode(&png_file(1024, 1, 3, &wide))
            .unwrap_err()
            .contains("at most 1023")
    );
    assert!(
        decode(&webp_file(1, 1024, 3, &wide))
            .unwrap_err()
            .contains("at most 1023")
    );
    assert!(decode(&jpeg_file(1024, 1, 3, &wide)).is_err());
    assert!(decode(&png_file(1023, 1, 3, &wide[3..])).is_ok());
}
