//! JPEG and PNG files as pixels.

use std::io::Cursor;

use png::{BitDepth, ColorType, DecodingError, Transformations};
use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::DecodeErrors;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::extent::{Extent, extent_of};

/// No picture has more: the largest of ImageNet has 61 million.
pub(super) const MOST_PIXELS: u64 = 1 << 27;

/// Memory for decoding: eight bytes a pixel, which is 16 bits for red, green, blue and opacity.
const MOST_BYTES: u64 = 8 * MOST_PIXELS;

/// No file of a picture is larger.
pub(super) const MOST_FILE_BYTES: u64 = 1 << 28;

/// A decoded picture.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Picture {
    /// Pixels of a row.
    pub width: usize,
    /// Number of rows.
    pub height: usize,
    /// `[height, width, 3]`: red, green and blue of each pixel.
    pub pixels: Vec<u8>,
}

/// How a picture is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Jpeg,
    Png,
}

/// The format that the first bytes of a file tell.
///
/// # Errors
/// Any but JPEG and PNG.
pub(super) fn format(start: &[u8]) -> Result<Format, String> {
    match start {
        [0xff, 0xd8, 0xff, ..] => Ok(Format::Jpeg),
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Ok(Format::Png),
        _ => Err("its first bytes are neither those of JPEG nor of PNG".to_owned()),
    }
}

/// The pixels of a file as red, green and blue: grey values three times, CMYK converted, opacity
/// and orientation left out, 16 bits rounded to 8.
///
/// # Errors
/// What is wrong with the bytes.
pub(super) fn decode(bytes: &[u8]) -> Result<Picture, String> {
    match format(bytes)? {
        // The decoder fills what is missing with grey.
        Format::Jpeg if extent_of(Format::Jpeg, bytes) == Extent::CutOff => {
            Err("it is cut off: its end marker is missing".to_owned())
        }
        Format::Jpeg => decode_jpeg(bytes),
        Format::Png => decode_png(bytes),
    }
}

fn decode_jpeg(bytes: &[u8]) -> Result<Picture, String> {
    let reason = |error: DecodeErrors| format!("the JPEG cannot be decoded: {error:?}");
    let options = DecoderOptions::default()
        .set_strict_mode(false)
        .set_max_width(usize::MAX)
        .set_max_height(usize::MAX);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(reason)?;
    let (Some((width, height)), Some(space)) = (decoder.dimensions(), decoder.input_colorspace())
    else {
        return Err("its header is missing".to_owned());
    };
    check_size(width, height)?;
    let (space, samples) = match space {
        ColorSpace::Luma => (ColorSpace::Luma, 1),
        _ => (ColorSpace::RGB, 3),
    };
    decoder.set_options(options.jpeg_set_out_colorspace(space));
    let values = decoder.decode().map_err(reason)?;
    picture(width, height, samples, values)
}

fn decode_png(bytes: &[u8]) -> Result<Picture, String> {
    let reason = |error: DecodingError| match error {
        DecodingError::LimitsExceeded => format!(
            "it would take more than {MOST_BYTES} bytes of memory, expected at most {MOST_PIXELS} pixels"
        ),
        other => format!("the PNG cannot be decoded: {other}"),
    };
    let limits = png::Limits {
        bytes: MOST_BYTES as usize,
    };
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(bytes), limits);
    decoder.set_transformations(Transformations::EXPAND);
    let header = decoder.read_header_info().map_err(reason)?;
    let (width, height) = (header.width as usize, header.height as usize);
    check_size(width, height)?;
    let mut reader = decoder.read_info().map_err(reason)?;
    let (colors, depth) = reader.output_color_type();
    let size = reader.output_buffer_size();
    let mut values = vec![0; size.ok_or_else(|| reason(DecodingError::LimitsExceeded))?];
    reader.next_frame(&mut values).map_err(reason)?;
    if depth == BitDepth::Sixteen {
        let rounded = |it: &[u8]| ((u32::from(it[0]) << 8 | u32::from(it[1])) + 128) / 257;
        values = values.chunks_exact(2).map(|it| rounded(it) as u8).collect();
    }
    let samples = match colors {
        ColorType::Grayscale => 1,
        ColorType::GrayscaleAlpha => 2,
        ColorType::Rgb => 3,
        ColorType::Rgba => 4,
        ColorType::Indexed => return Err("its palette is missing".to_owned()),
    };
    picture(width, height, samples, values)
}

/// The header says how much memory the pixels take, and may say anything.
fn check_size(width: usize, height: usize) -> Result<(), String> {
    if width as u64 * height as u64 > MOST_PIXELS {
        return Err(format!(
            "it has {width} x {height} pixels, expected at most {MOST_PIXELS} in all"
        ));
    }
    Ok(())
}

/// A picture of pixels with this many values each: grey or colours, then perhaps opacity.
fn picture(
    width: usize,
    height: usize,
    samples: usize,
    values: Vec<u8>,
) -> Result<Picture, String> {
    if values.len() != width * height * samples {
        return Err(format!(
            "it has {} values, expected {width} x {height} x {samples}",
            values.len()
        ));
    }
    let pixels = match samples {
        1 | 2 => values
            .chunks_exact(samples)
            .flat_map(|it| [it[0]; 3])
            .collect(),
        4 => values
            .chunks_exact(4)
            .flat_map(|it| [it[0], it[1], it[2]])
            .collect(),
        _ => values,
    };
    Ok(Picture {
        width,
        height,
        pixels,
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use image::{DynamicImage, GrayImage, RgbImage, RgbaImage};
    use proptest::prelude::*;

    /// A file of this format with smooth colours that `shade` moves.
    pub(in crate::data) fn file(format: Format, width: u32, height: u32, shade: u8) -> Vec<u8> {
        let image = RgbImage::from_fn(width, height, |x, y| {
            let ramp = |by: u32| ((x * by + y * (9 - by)) as u8).wrapping_add(shade);
            image::Rgb([ramp(2), ramp(5), ramp(7)])
        });
        encode(image.into(), format)
    }

    /// This picture as a file of this format.
    pub(in crate::data) fn encode(image: DynamicImage, format: Format) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        let format = match format {
            Format::Jpeg => image::ImageFormat::Jpeg,
            Format::Png => image::ImageFormat::Png,
        };
        image.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    #[test]
    fn grey_opaque_and_deep_pictures_become_red_green_and_blue() {
        let grey = GrayImage::from_fn(3, 2, |x, y| image::Luma([(10 * x + y) as u8]));
        let decoded = decode(&encode(grey.into(), Format::Png)).unwrap();
        assert_eq!((decoded.width, decoded.height), (3, 2));
        assert_eq!(decoded.pixels[..6], [0, 0, 0, 10, 10, 10]);
        let clear = RgbaImage::from_pixel(1, 1, image::Rgba([7, 8, 9, 0]));
        let decoded = decode(&encode(clear.into(), Format::Png)).unwrap();
        assert_eq!(decoded.pixels, [7, 8, 9]);
        let deep = image::ImageBuffer::from_pixel(1, 1, image::Rgb([257u16 * 7, 0, 65535]));
        let decoded = decode(&encode(DynamicImage::ImageRgb16(deep), Format::Png)).unwrap();
        assert_eq!(decoded.pixels, [7, 0, 255]);
    }

    #[test]
    fn pixels_are_those_of_another_library() {
        let noise = |x: u32, y: u32, i: u32| (x * 7919 + y * 104_729 + i * 1299) % 65_536;
        let byte = |x, y, i| (noise(x, y, i) >> 8) as u8;
        let word = |x, y, i| noise(x, y, i) as u16;
        let images: [DynamicImage; 8] = [
            GrayImage::from_fn(37, 21, |x, y| image::Luma([byte(x, y, 0)])).into(),
            image::GrayAlphaImage::from_fn(37, 21, |x, y| {
                image::LumaA([byte(x, y, 0), byte(x, y, 1)])
            })
            .into(),
            RgbImage::from_fn(37, 21, |x, y| image::Rgb([0, 1, 2].map(|i| byte(x, y, i)))).into(),
            RgbaImage::from_fn(37, 21, |x, y| {
                image::Rgba([0, 1, 2, 3].map(|i| byte(x, y, i)))
            })
            .into(),
            image::ImageBuffer::from_fn(37, 21, |x, y| image::Luma([word(x, y, 0)])).into(),
            image::ImageBuffer::from_fn(37, 21, |x, y| image::LumaA([0, 1].map(|i| word(x, y, i))))
                .into(),
            image::ImageBuffer::from_fn(37, 21, |x, y| {
                image::Rgb([0, 1, 2].map(|i| word(x, y, i)))
            })
            .into(),
            image::ImageBuffer::from_fn(37, 21, |x, y| {
                image::Rgba([0, 1, 2, 3].map(|i| word(x, y, i)))
            })
            .into(),
        ];
        for (i, image) in images.into_iter().enumerate() {
            let mut files = vec![encode(image.clone(), Format::Png)];
            if matches!(
                image,
                DynamicImage::ImageLuma8(_) | DynamicImage::ImageRgb8(_)
            ) {
                files.push(encode(image, Format::Jpeg));
            }
            for file in files {
                let expected = image::load_from_memory(&file).unwrap().into_rgb8();
                assert!(decode(&file).unwrap().pixels == expected.into_raw(), "{i}");
            }
        }
    }

    /// A picture of this format whose header says that it has this size.
    fn claiming(format: Format, width: u32, height: u32) -> Vec<u8> {
        let mut bytes = file(format, 16, 16, 0);
        match format {
            Format::Png => {
                bytes[16..20].copy_from_slice(&width.to_be_bytes());
                bytes[20..24].copy_from_slice(&height.to_be_bytes());
                let sum = crc32fast(&bytes[12..29]);
                bytes[29..33].copy_from_slice(&sum.to_be_bytes());
            }
            _ => {
                let frame = bytes.windows(2).position(|it| it == [0xff, 0xc0]).unwrap();
                bytes[frame + 5..frame + 7].copy_from_slice(&(height as u16).to_be_bytes());
                bytes[frame + 7..frame + 9].copy_from_slice(&(width as u16).to_be_bytes());
            }
        }
        bytes
    }

    /// The sum of a PNG's chunk.
    fn crc32fast(bytes: &[u8]) -> u32 {
        let mut sum = flate2::Crc::new();
        sum.update(bytes);
        sum.sum()
    }

    #[test]
    fn refuses_absurd_sizes_by_the_header_alone() {
        let message = |format, width, height| decode(&claiming(format, width, height)).unwrap_err();
        let most = i32::MAX as u32;
        for (width, height) in [(most, most), (most, 1), (1, most)] {
            let said = message(Format::Png, width, height);
            assert!(said.contains("expected at most 134217728"), "{said}");
        }
        let said = message(Format::Png, 30_000, 5_000);
        assert_eq!(
            said,
            "it has 30000 x 5000 pixels, expected at most 134217728 in all"
        );
        let said = message(Format::Jpeg, 65_500, 65_500);
        assert!(said.contains("expected at most 134217728"), "{said}");
        // A size that is taken, for which the file has not enough.
        assert!(decode(&claiming(Format::Png, 5000, 5000)).is_err());
    }

    #[test]
    fn refuses_what_is_no_picture_or_cut_off() {
        assert!(decode(b"not a picture").unwrap_err().contains("neither"));
        assert!(decode(b"GIF89a....").unwrap_err().contains("neither"));
        for format in [Format::Jpeg, Format::Png] {
            let bytes = file(format, 40, 30, 0);
            assert!(decode(&bytes).is_ok());
            // All pixels of a PNG are there before its last 12 bytes.
            for length in [bytes.len() - 14, bytes.len() / 2, 30] {
                assert!(decode(&bytes[..length]).is_err(), "{format:?} {length}");
            }
            // What follows the end does not matter.
            assert!(decode(&[&bytes[..], &[0; 5000]].concat()).is_ok());
        }
    }

    proptest! {
        #[test]
        fn damaged_bytes_never_panic(place in 0usize..600, value: u8, cut in 0usize..600) {
            for format in [Format::Jpeg, Format::Png] {
                let mut bytes = file(format, 16, 16, 3);
                let (length, place) = (bytes.len(), place % bytes.len());
                bytes[place] = value;
                let _ = decode(&bytes);
                let _ = decode(&bytes[..cut % length]);
            }
        }
    }
}
