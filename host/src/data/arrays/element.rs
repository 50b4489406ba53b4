//! Types of the elements of arrays in files, and the numbers that they stand for.

use std::fmt;

/// What an element is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    F16,
    Bf16,
    F32,
    F64,
    /// Characters of one byte, as many as an element has bytes.
    Bytes(usize),
    /// Characters of four bytes.
    Characters(usize),
}

/// How an element lies in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Element {
    pub kind: Kind,
    /// Whether its highest byte comes first.
    pub big_endian: bool,
}

impl Element {
    /// An element of this kind, its lowest byte first.
    pub fn new(kind: Kind) -> Self {
        Self {
            kind,
            big_endian: false,
        }
    }

    /// Bytes of one.
    pub fn size(self) -> usize {
        match self.kind {
            Kind::Bool | Kind::U8 | Kind::I8 => 1,
            Kind::U16 | Kind::I16 | Kind::F16 | Kind::Bf16 => 2,
            Kind::U32 | Kind::I32 | Kind::F32 => 4,
            Kind::U64 | Kind::I64 | Kind::F64 => 8,
            Kind::Bytes(length) => length,
            Kind::Characters(length) => 4 * length,
        }
    }

    /// Whether it is a whole number of more than a byte, or with a sign.
    pub fn is_integer(self) -> bool {
        matches!(
            self.kind,
            Kind::I8 | Kind::U16 | Kind::I16 | Kind::U32 | Kind::I32 | Kind::U64 | Kind::I64
        )
    }

    /// Whether it is a number with a fraction.
    pub fn is_float(self) -> bool {
        matches!(self.kind, Kind::F16 | Kind::Bf16 | Kind::F32 | Kind::F64)
    }

    /// Whether it is text.
    pub fn is_text(self) -> bool {
        matches!(self.kind, Kind::Bytes(_) | Kind::Characters(_))
    }

    /// The numbers that whole elements stand for; true is 1.
    pub fn numbers(self, bytes: &[u8]) -> Vec<f64> {
        match self.kind {
            Kind::Bool => bytes
                .iter()
                .map(|&it| f64::from(u8::from(it != 0)))
                .collect(),
            Kind::U8 => bytes.iter().map(|&it| f64::from(it)).collect(),
            Kind::F16 => self.each(bytes, |it: [u8; 2]| half(u16::from_le_bytes(it))),
            Kind::Bf16 => self.each(bytes, |it: [u8; 2]| {
                f64::from(f32::from_bits(u32::from(u16::from_le_bytes(it)) << 16))
            }),
            Kind::F32 => self.each(bytes, |it: [u8; 4]| f64::from(f32::from_le_bytes(it))),
            Kind::F64 => self.each(bytes, |it: [u8; 8]| f64::from_le_bytes(it)),
            _ => self
                .integers(bytes)
                .into_iter()
                .map(|it| it as f64)
                .collect(),
        }
    }

    /// The numbers of whole elements of 32 bits as they are; none of others.
    pub fn singles(self, bytes: &[u8]) -> Option<Vec<f32>> {
        (self.kind == Kind::F32).then(|| self.each(bytes, f32::from_le_bytes))
    }

    /// The whole numbers that whole elements stand for. Those of 64 bits without a sign that do not fit become
    /// negative.
    pub fn integers(self, bytes: &[u8]) -> Vec<i64> {
        match self.kind {
            Kind::Bool => bytes.iter().map(|&it| i64::from(it != 0)).collect(),
            Kind::U8 => bytes.iter().map(|&it| i64::from(it)).collect(),
            Kind::I8 => bytes.iter().map(|&it| i64::from(it as i8)).collect(),
            Kind::U16 => self.each(bytes, |it: [u8; 2]| i64::from(u16::from_le_bytes(it))),
            Kind::I16 => self.each(bytes, |it: [u8; 2]| i64::from(i16::from_le_bytes(it))),
            Kind::U32 => self.each(bytes, |it: [u8; 4]| i64::from(u32::from_le_bytes(it))),
            Kind::I32 => self.each(bytes, |it: [u8; 4]| i64::from(i32::from_le_bytes(it))),
            Kind::U64 | Kind::I64 => self.each(bytes, |it: [u8; 8]| i64::from_le_bytes(it)),
            _ => self
                .numbers(bytes)
                .into_iter()
                .map(|it| it as i64)
                .collect(),
        }
    }

    /// The texts of whole elements, without the zeros at their ends; nothing of one that is no text.
    pub fn texts(self, bytes: &[u8]) -> Vec<Option<String>> {
        if self.size() == 0 {
            return Vec::new();
        }
        let elements = bytes.chunks_exact(self.size());
        let text = |element: &[u8]| match self.kind {
            Kind::Bytes(_) => {
                let end = element
                    .iter()
                    .rposition(|&it| it != 0)
                    .map_or(0, |at| at + 1);
                String::from_utf8(element[..end].to_vec()).ok()
            }
            _ => {
                let codes = self.each(element, |it: [u8; 4]| u32::from_le_bytes(it));
                let end = codes.iter().rposition(|&it| it != 0).map_or(0, |at| at + 1);
                codes[..end].iter().map(|&it| char::from_u32(it)).collect()
            }
        };
        elements.map(text).collect()
    }

    fn each<const N: usize, T>(self, bytes: &[u8], number: impl Fn([u8; N]) -> T) -> Vec<T> {
        let elements = bytes.as_chunks::<N>().0.iter();
        match self.big_endian {
            false => elements.map(|it| number(*it)).collect(),
            true => elements
                .map(|it| {
                    let mut it = *it;
                    it.reverse();
                    number(it)
                })
                .collect(),
        }
    }
}

/// The number that IEEE's half precision has these bits for.
fn half(bits: u16) -> f64 {
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f64::from(bits & 0x3ff));
    let size = match exponent {
        0 => fraction * 2f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1024.0 + fraction) * 2f64.powi(exponent - 25),
    };
    if bits >> 15 == 1 { -size } else { size }
}

impl fmt::Display for Element {
    /// NumPy's name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::Bool => "bool",
            Kind::U8 => "uint8",
            Kind::I8 => "int8",
            Kind::U16 => "uint16",
            Kind::I16 => "int16",
            Kind::U32 => "uint32",
            Kind::I32 => "int32",
            Kind::U64 => "uint64",
            Kind::I64 => "int64",
            Kind::F16 => "float16",
            Kind::Bf16 => "bfloat16",
            Kind::F32 => "float32",
            Kind::F64 => "float64",
            Kind::Bytes(_) => "bytes",
            Kind::Characters(_) => "text",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_every_type_and_order_are_those_that_were_written() {
        let of = |kind, big_endian| Element { kind, big_endian };
        let little: Vec<u8> = [-3i32, 70_000]
            .iter()
            .flat_map(|it| it.to_le_bytes())
            .collect();
        let big: Vec<u8> = [-3i32, 70_000]
            .iter()
            .flat_map(|it| it.to_be_bytes())
            .collect();
        for (bytes, is_big) in [(little, false), (big, true)] {
            assert_eq!(of(Kind::I32, is_big).integers(&bytes), [-3, 70_000]);
            assert_eq!(of(Kind::I32, is_big).numbers(&bytes), [-3.0, 70_000.0]);
        }
        let bytes = 1.5e300f64.to_be_bytes();
        assert_eq!(of(Kind::F64, true).numbers(&bytes), [1.5e300]);
        assert_eq!(of(Kind::Bool, false).numbers(&[0, 1, 7]), [0.0, 1.0, 1.0]);
        assert_eq!(of(Kind::U16, false).integers(&[0xff, 0xff]), [65_535]);
        assert_eq!(of(Kind::Bf16, false).numbers(&[0x80, 0x3f]), [1.0]);
        assert_eq!(of(Kind::I8, false).integers(&[0xfe]), [-2]);
    }

    #[test]
    fn half_precision_is_read_from_its_smallest_number_to_infinity() {
        // What NumPy says of the bits.
        for (bits, number) in [
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x3555, 0.333_251_953_125),
            (0x0001, 5.960_464_477_539_063e-8),
            (0x03ff, 6.097_555_160_522_461e-5),
            (0x0400, 6.103_515_625e-5),
            (0x7bff, 65504.0),
            (0x7c00, f64::INFINITY),
            (0xfc00, f64::NEG_INFINITY),
        ] {
            assert_eq!(half(bits), number, "{bits:04x}");
        }
        assert!(half(0x7e00).is_nan());
        assert!(half(0x8000).is_sign_negative());
    }

    #[test]
    fn texts_end_before_their_zeros() {
        let bytes = Element::new(Kind::Bytes(4));
        let expected = [Some("cat".to_owned()), Some("bird".to_owned()), None];
        assert_eq!(bytes.texts(b"cat\0bird\xff\xfe\0\0"), expected);
        let wide = Element {
            kind: Kind::Characters(3),
            big_endian: true,
        };
        let codes: Vec<u8> = ['h', 'é', '\0']
            .iter()
            .flat_map(|&it| u32::from(it).to_be_bytes())
            .collect();
        assert_eq!(wide.texts(&codes), [Some("hé".to_owned())]);
        let none: Vec<u8> = [0x11_0000u32, 0, 0]
            .iter()
            .flat_map(|it| it.to_be_bytes())
            .collect();
        assert_eq!(wide.texts(&none), [None]);
        assert!(Element::new(Kind::Characters(0)).texts(&[]).is_empty());
    }
}
