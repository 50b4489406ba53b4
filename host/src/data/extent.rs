//! Whether a JPEG or PNG file goes on to the end of its picture, by its structure. No pixel is decoded, and
//! little is read: a folder may have a million files.

use super::picture::Format;
use super::picture::MOST_PIXELS;
use std::io::{self, BufRead, Seek, SeekFrom};

/// Bytes before the end of a file that are searched first for the end of a picture.
const TAIL: u64 = 4096;

/// What the structure of a file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// The picture ends within the file. What follows, other pictures for instance, does not matter.
    Whole,
    /// The file ends before the picture does.
    CutOff,
    /// What its header says is wrong, or nothing that the decoder takes; why, the decoder says.
    Odd,
}

/// The extent of the picture that begins at the start of a file of `length` bytes and of this format.
///
/// # Errors
/// If the file cannot be read.
pub(super) fn extent(format: Format, file: impl BufRead + Seek, length: u64) -> io::Result<Extent> {
    let mut walk = Walk {
        file,
        at: 0,
        length,
    };
    match format {
        Format::Jpeg => walk.jpeg(),
        _ => walk.png(),
    }
}

/// The extent of a picture in memory.
pub(super) fn extent_of(format: Format, bytes: &[u8]) -> Extent {
    let read = extent(format, io::Cursor::new(bytes), bytes.len() as u64);
    // Memory can be read.
    read.unwrap_or(Extent::Odd)
}

/// A place in a file.
struct Walk<R> {
    file: R,
    at: u64,
    length: u64,
}

impl<R: BufRead + Seek> Walk<R> {
    /// From marker to marker. Segments say how long they are, and are passed over: a camera's preview in
    /// one of them has an end of its own. A scan has no length: in its data a byte 0xFF is followed by 0, by
    /// a restart marker, or by the marker that ends it.
    fn jpeg(&mut self) -> io::Result<Extent> {
        let mut frame = None;
        let mut scans = 0;
        self.skip(2)?;
        while let Some(marker) = self.marker()? {
            match marker {
                // The end of the picture.
                0xd9 if scans > 0 => return Ok(Extent::Whole),
                0xd9 => return Ok(Extent::Odd),
                // Start of a picture, restarts and a marker of arithmetic coding stand alone.
                0x01 | 0xd0..=0xd8 => {}
                // Reserved: within a scan it is damage, which hides no later marker.
                0x02..=0xbf if scans > 0 => {}
                // Frames: baseline, extended sequential, progressive.
                0xc0..=0xc2 => {
                    let Some(header) = self.segment::<6>()? else {
                        return Ok(Extent::CutOff);
                    };
                    let [precision, high, low, wide, narrow, components] = header;
                    let height = u64::from(u16::from_be_bytes([high, low]));
                    let width = u64::from(u16::from_be_bytes([wide, narrow]));
                    let known = precision == 8 && matches!(components, 1 | 3 | 4);
                    if !known || width * height > MOST_PIXELS || frame.is_some() {
                        return Ok(Extent::Odd);
                    }
                    frame = Some((marker, components));
                }
                // Frames without loss, in steps or coded arithmetically.
                0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => return Ok(Extent::Odd),
                0xda => {
                    let Some([components]) = self.segment::<1>()? else {
                        return Ok(Extent::CutOff);
                    };
                    match frame {
                        None => return Ok(Extent::Odd),
                        // All is in this scan, behind which nothing but the end comes: any end marker
                        // from here on is the picture's, or comes after it.
                        Some((0xc0 | 0xc1, all)) if components == all => return self.last_scan(),
                        Some(_) => scans += 1,
                    }
                }
                _ => {
                    if self.segment::<0>()?.is_none() {
                        return Ok(Extent::CutOff);
                    }
                }
            }
        }
        Ok(Extent::CutOff)
    }

    /// Looks for an end marker, first where it usually is.
    fn last_scan(&mut self) -> io::Result<Extent> {
        let start = self.at;
        let tail = self.length.saturating_sub(TAIL);
        if tail > start {
            self.go(tail)?;
            if self.end_marker()? {
                return Ok(Extent::Whole);
            }
            self.go(start)?;
        }
        Ok(match self.end_marker()? {
            true => Extent::Whole,
            false => Extent::CutOff,
        })
    }

    fn end_marker(&mut self) -> io::Result<bool> {
        while let Some(marker) = self.marker()? {
            if marker == 0xd9 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The second byte of the next marker, whatever lies before it; nothing at the end of the file.
    fn marker(&mut self) -> io::Result<Option<u8>> {
        loop {
            let rest = self.file.fill_buf()?;
            let (length, found) = match rest.iter().position(|&byte| byte == 0xff) {
                Some(place) => (place + 1, true),
                None => (rest.len(), false),
            };
            if length == 0 {
                return Ok(None);
            }
            self.file.consume(length);
            self.at += length as u64;
            if !found {
                continue;
            }
            // Any number of 0xFF may come before the code.
            let code = loop {
                match self.bytes::<1>()? {
                    Some([0xff]) => {}
                    Some([code]) => break code,
                    None => return Ok(None),
                }
            };
            if code != 0 {
                return Ok(Some(code));
            }
        }
    }

    /// The first bytes of a segment, which is passed over; nothing where it is not all there.
    fn segment<const N: usize>(&mut self) -> io::Result<Option<[u8; N]>> {
        let start = self.at;
        let (Some(size), Some(first)) = (self.bytes()?, self.bytes()?) else {
            return Ok(None);
        };
        // Its two bytes of length count. A length that cannot be goes on with what follows them.
        let size = u64::from(u16::from_be_bytes(size)).max(2 + N as u64);
        Ok(self.skip(start + size - self.at)?.then_some(first))
    }

    /// From chunk to chunk by their lengths, to the one that ends the picture.
    fn png(&mut self) -> io::Result<Extent> {
        self.skip(8)?;
        let Some(header) = self.bytes::<25>()? else {
            return Ok(Extent::CutOff);
        };
        let number = |at: usize| {
            let bytes = [header[at], header[at + 1], header[at + 2], header[at + 3]];
            u32::from_be_bytes(bytes)
        };
        // Of the other chunks the sums are not looked at, which would mean to read all of them.
        let mut sum = flate2::Crc::new();
        sum.update(&header[4..21]);
        let pixels = u64::from(number(8)) * u64::from(number(12));
        let plain = number(0) == 13 && &header[4..8] == b"IHDR" && sum.sum() == number(21);
        if !plain || pixels == 0 || pixels > MOST_PIXELS {
            return Ok(Extent::Odd);
        }
        let mut pixels = false;
        while let (Some(size), Some(kind)) = (self.bytes()?, self.bytes::<4>()?) {
            let size = u32::from_be_bytes(size);
            if size > i32::MAX as u32 {
                return Ok(Extent::Odd);
            }
            // Four more bytes are its sum.
            if !self.skip(u64::from(size) + 4)? {
                break;
            }
            match &kind {
                b"IDAT" => pixels = true,
                b"IEND" if pixels => return Ok(Extent::Whole),
                b"IEND" => return Ok(Extent::Odd),
                _ => {}
            }
        }
        Ok(Extent::CutOff)
    }

    /// The next bytes, if there are as many.
    fn bytes<const N: usize>(&mut self) -> io::Result<Option<[u8; N]>> {
        let mut bytes = [0; N];
        if self.at + N as u64 > self.length {
            return Ok(None);
        }
        match self.file.read_exact(&mut bytes) {
            // It has become shorter.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        self.at += N as u64;
        Ok(Some(bytes))
    }

    /// Passes over bytes; whether there are as many.
    fn skip(&mut self, bytes: u64) -> io::Result<bool> {
        // No length in these formats has more than 32 bits.
        self.file.seek_relative(bytes as i64)?;
        self.at += bytes;
        Ok(self.at <= self.length)
    }

    fn go(&mut self, to: u64) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(to))?;
        self.at = to;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::picture::decode;
    use super::super::picture::tests::{encode, file};
    use super::*;
    use std::io::{BufReader, Cursor, Read};

    /// Made with other programs: with restart markers, a scan for each colour, progressive with a comment
    /// between its scans that holds an end marker, with a camera's preview, and two such in one file.
    const RESTARTS: &[u8] = include_bytes!("../../../tests/fuzz/corpus/picture/restarts.jpg");
    const SCANS: &[u8] = include_bytes!("../../../tests/fuzz/corpus/picture/scans.jpg");
    const PROGRESSIVE: &[u8] = include_bytes!("../../../tests/fuzz/corpus/picture/progressive.jpg");
    const COMMENT: &[u8] = include_bytes!("../../../tests/fuzz/corpus/picture/comment.jpg");
    const PREVIEW: &[u8] = include_bytes!("../../../tests/fuzz/corpus/picture/thumbnail.jpg");
    const PICTURES: &[u8] = include_bytes!("../../../tests/fuzz/corpus/picture/pictures.jpg");

    fn jpeg(bytes: &[u8]) -> Extent {
        extent_of(Format::Jpeg, bytes)
    }

    /// A picture with a preview of its own format in front, longer than the bytes at the file's end that
    /// are searched first.
    fn with_preview(picture: &[u8], preview: &[u8]) -> Vec<u8> {
        let size = u16::try_from(preview.len() + 2).unwrap().to_be_bytes();
        [&picture[..2], &[0xff, 0xe1], &size, preview, &picture[2..]].concat()
    }

    #[test]
    fn every_beginning_of_a_jpeg_is_cut_off_and_the_decoder_agrees() {
        let preview = file(Format::Jpeg, 300, 200, 7);
        assert!(preview.len() as u64 > TAIL);
        let made = with_preview(&file(Format::Jpeg, 160, 120, 0), &preview);
        for whole in [&made, RESTARTS, SCANS, PROGRESSIVE, COMMENT, PREVIEW] {
            assert_eq!(jpeg(whole), Extent::Whole);
            assert!(decode(whole).is_ok());
            for length in 2..whole.len() {
                assert_eq!(jpeg(&whole[..length]), Extent::CutOff, "{length}");
            }
            // Decoding takes longer.
            for length in (3..whole.len()).step_by(1 + whole.len() / 300) {
                assert!(decode(&whole[..length]).is_err(), "{length}");
            }
        }
    }

    #[test]
    fn what_follows_a_whole_picture_does_not_matter() {
        let junk = [0x5a; 2 * TAIL as usize];
        let other = &file(Format::Jpeg, 300, 200, 7)[..3000];
        for whole in [RESTARTS, SCANS, PROGRESSIVE, COMMENT, PREVIEW] {
            for more in [&junk[..], other, &[0xff], &[0xff, 0xda]] {
                let bytes = [whole, more].concat();
                assert_eq!(jpeg(&bytes), Extent::Whole);
                assert!(decode(&bytes).is_ok());
            }
        }
        let png = file(Format::Png, 30, 20, 0);
        let longer = [&png, &junk[..]].concat();
        assert_eq!(extent_of(Format::Png, &longer), Extent::Whole);
        // Of several pictures in a file the first is the sample.
        for length in 0..=PICTURES.len() {
            let expected = match length {
                0.. if length < PREVIEW.len() => Extent::CutOff,
                _ => Extent::Whole,
            };
            assert_eq!(jpeg(&PICTURES[..length]), expected, "{length}");
        }
        assert_eq!(decode(PICTURES), decode(PREVIEW));
    }

    #[test]
    fn every_beginning_of_a_png_is_cut_off_and_the_decoder_agrees_where_pixels_are_lost() {
        let whole = file(Format::Png, 90, 70, 0);
        let seen = |bytes: &[u8]| extent_of(Format::Png, bytes);
        assert_eq!(seen(&whole), Extent::Whole);
        for length in 8..whole.len() {
            assert_eq!(seen(&whole[..length]), Extent::CutOff, "{length}");
            // All pixels are there before the last chunk, of 12 bytes; a part of that one the decoder may
            // refuse or not.
            if length < whole.len() - 12 {
                assert!(decode(&whole[..length]).is_err(), "{length}");
            }
        }
    }

    #[test]
    fn headers_that_the_decoder_refuses_are_told_from_cuts() {
        let whole = file(Format::Jpeg, 40, 30, 0);
        let frame = whole.windows(2).position(|it| it == [0xff, 0xc0]).unwrap();
        for (place, value) in [(1, 0xc3), (1, 0xc9), (4, 12), (9, 2)] {
            let mut bytes = whole.clone();
            bytes[frame + place] = value;
            assert_eq!(jpeg(&bytes), Extent::Odd, "{place}");
            assert!(decode(&bytes).is_err(), "{place}");
        }
        let mut bytes = file(Format::Png, 40, 30, 0);
        bytes[17] = 1;
        assert_eq!(extent_of(Format::Png, &bytes), Extent::Odd);
        assert!(decode(&bytes).is_err());
    }

    /// Counts what is read.
    struct Counting<R>(R, u64);

    impl<R: Read> Read for Counting<R> {
        fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
            let read = self.0.read(to)?;
            self.1 += read as u64;
            Ok(read)
        }
    }

    impl<R: Seek> Seek for Counting<R> {
        fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
            self.0.seek(to)
        }
    }

    #[test]
    fn little_of_a_large_picture_is_read() {
        let preview = file(Format::Jpeg, 400, 300, 0);
        let noisy = image::RgbImage::from_fn(900, 700, |x, y| {
            let mixed = (x * 7919 + y * 104_729).wrapping_mul(2_654_435_761);
            image::Rgb([(mixed >> 8) as u8, (mixed >> 16) as u8, (mixed >> 24) as u8])
        });
        for format in [Format::Jpeg, Format::Png] {
            let mut bytes = encode(noisy.clone().into(), format);
            if format == Format::Jpeg {
                bytes = with_preview(&bytes, &preview);
            }
            let length = bytes.len() as u64;
            assert!(length > 100 * TAIL, "{length}");
            let counting = Counting(Cursor::new(bytes), 0);
            let mut file = BufReader::with_capacity(TAIL as usize, counting);
            assert_eq!(extent(format, &mut file, length).unwrap(), Extent::Whole);
            let read = file.get_ref().1;
            // The encoder of PNG writes one long chunk; others are passed over a chunk at a time.
            assert!(read <= 4 * TAIL, "{format:?}: {read} of {length}");
        }
    }
}
