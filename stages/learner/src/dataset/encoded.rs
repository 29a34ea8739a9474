//! PNG, JPEG and WebP files to values, channels first. The same file gives the same values on every machine: nothing here
//! depends on the processor, and what differs between decoders is done in whole numbers.
//!
//! Samples of 16 bits keep their upper 8, palettes are looked up, alpha is dropped, EXIF's orientation is not applied.

use fedstill_schemas::data::Shape;
use std::fmt::Display;
use std::io::Cursor;
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

/// Longest side in pixels.
const LONGEST: u32 = 1023;

/// A decoded image.
#[derive(Debug, PartialEq)]
pub(super) struct Pixels {
    /// Height in pixels.
    pub(super) height: u32,
    /// Width in pixels.
    pub(super) width: u32,
    /// Values of a pixel: grey, grey and alpha, colour, colour and alpha.
    samples: usize,
    /// Row after row, pixel after pixel.
    values: Vec<u8>,
}

impl Pixels {
    fn is_grey(&self) -> bool {
        self.samples < 3
    }

    /// Its shape: grey has one channel, colour three.
    pub(super) fn shape(&self) -> Shape {
        Shape {
            channels: if self.is_grey() { 1 } else { 3 },
            height: self.height,
            width: self.width,
        }
    }

    /// Appends so many channels. Grey goes with colour, as three equal channels, and colour with grey where its channels
    /// are equal.
    ///
    /// # Errors
    /// What is wrong with the image among others.
    pub(super) fn append(&self, channels: u32, to: &mut Vec<u8>) -> Result<(), String> {
        let pixels = || self.values.chunks_exact(self.samples);
        let equal = |pixel: &[u8]| pixel[0] == pixel[1] && pixel[1] == pixel[2];
        let each: &[usize] = match (self.is_grey(), channels) {
            (true, 1) => &[0],
            (true, 3) => &[0, 0, 0],
            (false, 3) => &[0, 1, 2],
            (false, 1) if pixels().all(equal) => &[0],
            (false, 1) => {
                return Err(
                    "has colours and the others are grey: store all of them in colour, or all in grey".to_owned(),
                );
            }
            _ => {
                return Err(format!(
                    "has one channel or three, and the metadata 'shape' says {channels}: write 1 or 3 there"
                ));
            }
        };
        for channel in each {
            to.extend(pixels().map(|pixel| pixel[*channel]));
        }
        Ok(())
    }
}

#[derive(Clone, Copy)]
enum Format {
    Png,
    Jpeg,
    Webp,
}

fn format(file: &[u8]) -> Option<Format> {
    if file.starts_with(b"\x89PNG\r\n\x1a\n") {
        Some(Format::Png)
    } else if file.starts_with(b"\xff\xd8\xff") {
        Some(Format::Jpeg)
    } else if file.starts_with(b"RIFF") && file.get(8..12) == Some(&b"WEBP"[..]) {
        Some(Format::Webp)
    } else {
        None
    }
}

/// Whether bytes begin as an image file does.
pub(super) fn is_encoded(file: &[u8]) -> bool {
    format(file).is_some()
}

/// Decodes a file.
///
/// # Errors
/// Why it is none, in words.
pub(super) fn decode(file: &[u8]) -> Result<Pixels, String> {
    match format(file) {
        Some(Format::Png) => from_png(file),
        Some(Format::Jpeg) => from_jpeg(file),
        Some(Format::Webp) => from_webp(file),
        None => Err("it is no PNG, JPEG or WebP file".to_owned()),
    }
}

fn said(error: impl Display) -> String {
    error.to_string()
}

fn sides(width: u32, height: u32) -> Result<(), String> {
    if (1..=LONGEST).contains(&width) && (1..=LONGEST).contains(&height) {
        return Ok(());
    }
    Err(format!(
        "it has {height} x {width} pixels, and a side has at most {LONGEST}"
    ))
}

fn from_png(file: &[u8]) -> Result<Pixels, String> {
    let mut decoder = png::Decoder::new(Cursor::new(file));
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    // What they say changes no pixel, and they may be broken.
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    let mut reader = decoder.read_info().map_err(said)?;
    let (width, height) = reader.info().size();
    sides(width, height)?;
    let mut values = vec![0; reader.output_buffer_size().ok_or("it is too large")?];
    let frame = reader.next_frame(&mut values).map_err(said)?;
    values.truncate(frame.buffer_size());
    Ok(Pixels {
        height: frame.height,
        width: frame.width,
        samples: frame.color_type.samples(),
        values,
    })
}

fn from_jpeg(file: &[u8]) -> Result<Pixels, String> {
    // The decoder fills up with grey what is missing at the very end.
    if !file.windows(2).any(|marker| marker == b"\xff\xd9") {
        return Err("its end is missing".to_owned());
    }
    // Vector instructions round otherwise: without its features the decoder has none, and here it is told so too.
    let options = DecoderOptions::default()
        .set_use_unsafe(false)
        .set_strict_mode(true)
        .set_max_width(LONGEST as usize)
        .set_max_height(LONGEST as usize);
    let mut decoder = JpegDecoder::new_with_options(Cursor::new(file), options);
    decoder.decode_headers().map_err(said)?;
    let (colours, samples) = match decoder.input_colorspace() {
        Some(ColorSpace::Luma) => (ColorSpace::Luma, 1),
        _ => (ColorSpace::RGB, 3),
    };
    decoder.set_options(options.jpeg_set_out_colorspace(colours));
    let values = decoder.decode().map_err(said)?;
    let (width, height) = decoder.dimensions().ok_or("it has no size")?;
    let (width, height) = (width as u32, height as u32);
    sides(width, height)?;
    Ok(Pixels {
        height,
        width,
        samples,
        values,
    })
}

fn from_webp(file: &[u8]) -> Result<Pixels, String> {
    let mut decoder = image_webp::WebPDecoder::new(Cursor::new(file)).map_err(said)?;
    let (width, height) = decoder.dimensions();
    sides(width, height)?;
    if decoder.is_animated() {
        return Err("it is an animation".to_owned());
    }
    let mut values = vec![0; decoder.output_buffer_size().ok_or("it is too large")?];
    decoder.read_image(&mut values).map_err(said)?;
    Ok(Pixels {
        height,
        width,
        samples: if decoder.has_alpha() { 4 } else { 3 },
        values,
    })
}

#[cfg(test)]
mod tests;
