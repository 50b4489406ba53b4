//! JPEG and PNG files as pixels.

use super::extent::{Extent, extent_of};
use image::{ImageError, ImageFormat, ImageReader, Limits};
use std::io::Cursor;

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

/// The format that the first bytes of a file tell.
///
/// # Errors
/// Any but JPEG and PNG.
pub(super) fn format(start: &[u8]) -> Result<ImageFormat, String> {
    match image::guess_format(start) {
        Ok(format @ (ImageFormat::Jpeg | ImageFormat::Png)) => Ok(format),
        Ok(other) => Err(format!("it is {other:?}, expected JPEG or PNG")),
        Err(_) => Err("its first bytes are neither those of JPEG nor of PNG".to_owned()),
    }
}

/// The pixels of a file as red, green and blue: grey values three times, CMYK converted, opacity
/// and orientation left out, 16 bits rounded to 8.
///
/// # Errors
/// What is wrong with the bytes.
pub(super) fn decode(bytes: &[u8]) -> Result<Picture, String> {
    let format = format(bytes)?;
    // Decoders of JPEG fill what is missing with grey.
    if format == ImageFormat::Jpeg && extent_of(format, bytes) == Extent::CutOff {
        return Err("it is cut off: its end marker is missing".to_owned());
    }
    let mut limits = Limits::default();
    limits.max_alloc = Some(MOST_BYTES);
    let open = || {
        let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
        reader.limits(limits.clone());
        reader
    };
    // The header says how much memory the pixels take, and may say anything.
    let (width, height) = open().into_dimensions().map_err(reason)?;
    if u64::from(width) * u64::from(height) > MOST_PIXELS {
        return Err(format!(
            "it has {width} x {height} pixels, expected at most {MOST_PIXELS} in all"
        ));
    }
    let image = open().decode().map_err(reason)?.into_rgb8();
    Ok(Picture {
        width: image.width() as usize,
        height: image.height() as usize,
        pixels: image.into_raw(),
    })
}

fn reason(error: ImageError) -> String {
    match error {
        ImageError::Limits(_) => format!(
            "it would take more than {MOST_BYTES} bytes of memory, expected at most {MOST_PIXELS} pixels"
        ),
        other => other.to_string(),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use image::{DynamicImage, GrayImage, RgbImage, RgbaImage};
    use proptest::prelude::*;

    /// A file of this format with smooth colours that `shade` moves.
    pub(in crate::data) fn file(
        format: ImageFormat,
        width: u32,
        height: u32,
        shade: u8,
    ) -> Vec<u8> {
        let image = RgbImage::from_fn(width, height, |x, y| {
            let ramp = |by: u32| ((x * by + y * (9 - by)) as u8).wrapping_add(shade);
            image::Rgb([ramp(2), ramp(5), ramp(7)])
        });
        encode(image.into(), format)
    }

    fn encode(image: DynamicImage, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        image.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    #[test]
    fn grey_opaque_and_deep_pictures_become_red_green_and_blue() {
        let grey = GrayImage::from_fn(3, 2, |x, y| image::Luma([(10 * x + y) as u8]));
        let decoded = decode(&encode(grey.into(), ImageFormat::Png)).unwrap();
        assert_eq!((decoded.width, decoded.height), (3, 2));
        assert_eq!(decoded.pixels[..6], [0, 0, 0, 10, 10, 10]);
        let clear = RgbaImage::from_pixel(1, 1, image::Rgba([7, 8, 9, 0]));
        let decoded = decode(&encode(clear.into(), ImageFormat::Png)).unwrap();
        assert_eq!(decoded.pixels, [7, 8, 9]);
        let deep = image::ImageBuffer::from_pixel(1, 1, image::Rgb([257u16 * 7, 0, 65535]));
        let decoded = decode(&encode(DynamicImage::ImageRgb16(deep), ImageFormat::Png)).unwrap();
        assert_eq!(decoded.pixels, [7, 0, 255]);
    }

    /// A picture of this format whose header says that it has this size.
    fn claiming(format: ImageFormat, width: u32, height: u32) -> Vec<u8> {
        let mut bytes = file(format, 16, 16, 0);
        match format {
            ImageFormat::Png => {
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
            let said = message(ImageFormat::Png, width, height);
            assert!(said.contains("expected at most 134217728"), "{said}");
        }
        let said = message(ImageFormat::Png, 30_000, 5_000);
        assert_eq!(
            said,
            "it has 30000 x 5000 pixels, expected at most 134217728 in all"
        );
        let said = message(ImageFormat::Jpeg, 65_500, 65_500);
        assert!(said.contains("expected at most 134217728"), "{said}");
        // A size that is taken, for which the file has not enough.
        assert!(decode(&claiming(ImageFormat::Png, 5000, 5000)).is_err());
    }

    #[test]
    fn refuses_what_is_no_picture_or_cut_off() {
        assert!(decode(b"not a picture").unwrap_err().contains("neither"));
        assert!(decode(b"GIF89a....").unwrap_err().contains("Gif"));
        for format in [ImageFormat::Jpeg, ImageFormat::Png] {
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
            for format in [ImageFormat::Jpeg, ImageFormat::Png] {
                let mut bytes = file(format, 16, 16, 3);
                let (length, place) = (bytes.len(), place % bytes.len());
                bytes[place] = value;
                let _ = decode(&bytes);
                let _ = decode(&bytes[..cut % length]);
            }
        }
    }
}
