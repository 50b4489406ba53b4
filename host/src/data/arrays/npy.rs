//! The header of NumPy's format: `\x93NUMPY`, a version, a length, and a dictionary of Python's as text.
//!
//! The text is read by the few rules that NumPy writes it by; nothing of Python runs.

use super::array::count;
use super::element::{Element, Kind};

/// Bytes that a header has at most; NumPy's own limit is 10,000.
pub(super) const MOST: usize = 1 << 16;

/// What a header says.
#[derive(Debug, PartialEq)]
pub(super) struct Header {
    pub element: Element,
    /// Whether the first dimension is the fastest.
    pub fortran: bool,
    pub shape: Vec<usize>,
    /// Bytes before the elements.
    pub length: usize,
    /// Bytes of the elements.
    pub bytes: u64,
}

/// Reads the header at the start of a file; `start` holds its first [`MOST`] bytes, or all.
///
/// # Errors
/// What is wrong with it.
pub(super) fn header(start: &[u8]) -> Result<Header, String> {
    let Some(rest) = start.strip_prefix(b"\x93NUMPY") else {
        return Err("it is no file of NumPy's: expected what numpy.save writes".to_owned());
    };
    let short = || "its header is cut off: copy the file once more".to_owned();
    let (length, before) = match rest {
        [1, 0, a, b, ..] => (usize::from(u16::from_le_bytes([*a, *b])), 10),
        [2 | 3, 0, a, b, c, d, ..] => (u32::from_le_bytes([*a, *b, *c, *d]) as usize, 12),
        [major, minor, ..] if !matches!((major, minor), (1..=3, 0)) => {
            return Err(format!(
                "its format is version {major}.{minor}, expected 1.0, 2.0 or 3.0"
            ));
        }
        _ => return Err(short()),
    };
    if length > MOST - 12 {
        return Err(format!(
            "its header has {length} bytes, expected at most {}",
            MOST - 12
        ));
    }
    let text = start.get(before..before + length).ok_or_else(short)?;
    let text = str::from_utf8(text).map_err(|_| "its header is no text".to_owned())?;
    let Dictionary {
        descr,
        fortran,
        shape,
    } = Dictionary::read(text)?;
    let element = element(&descr)?;
    let elements =
        count(&shape).ok_or_else(|| format!("its shape {shape:?} has too many elements"))?;
    let bytes = (elements as u64).checked_mul(element.size() as u64);
    Ok(Header {
        element,
        fortran,
        bytes: bytes.ok_or_else(|| format!("its shape {shape:?} has too many elements"))?,
        shape,
        length: before + length,
    })
}

/// What NumPy's `dtype.str` stands for, such as `<f4`.
fn element(descr: &str) -> Result<Element, String> {
    let wrong = |what: &str| {
        Err(format!(
            "its elements are {what}: expected numbers, texts for classes, or true and false"
        ))
    };
    let mut characters = descr.chars();
    let order = characters.next().unwrap_or(' ');
    let (letter, size) = (characters.next().unwrap_or(' '), characters.as_str());
    let length = || size.parse::<usize>().ok().filter(|it| *it <= 1 << 20);
    let kind = match (letter, size) {
        ('O', _) => {
            return Err(
                "its elements are Python objects, which only pickle reads, and pickle runs code: save plain numbers, \
                 `array.astype(\"float32\")`, or texts, `array.astype(str)`"
                    .to_owned(),
            );
        }
        ('b', "1") => Kind::Bool,
        ('u', "1") => Kind::U8,
        ('i', "1") => Kind::I8,
        ('u', "2") => Kind::U16,
        ('i', "2") => Kind::I16,
        ('u', "4") => Kind::U32,
        ('i', "4") => Kind::I32,
        ('u', "8") => Kind::U64,
        ('i', "8") => Kind::I64,
        ('f', "2") => Kind::F16,
        ('f', "4") => Kind::F32,
        ('f', "8") => Kind::F64,
        ('S', _) if length().is_some() => Kind::Bytes(length().unwrap_or(0)),
        ('U', _) if length().is_some() => Kind::Characters(length().unwrap_or(0)),
        ('c', _) => return wrong("complex numbers"),
        ('M' | 'm', _) => return wrong("times"),
        ('f', _) => return wrong("floats that PyTorch does not have"),
        _ => return wrong(&format!("of the type {}", super::quoted(descr))),
    };
    match order {
        '<' | '|' | '=' => Ok(Element::new(kind)),
        '>' => Ok(Element {
            kind,
            big_endian: true,
        }),
        _ => wrong(&format!("of the type {}", super::quoted(descr))),
    }
}

/// The dictionary of a header.
#[derive(Default)]
struct Dictionary {
    descr: String,
    fortran: bool,
    shape: Vec<usize>,
}

impl Dictionary {
    fn read(text: &str) -> Result<Self, String> {
        let odd = || format!("its header is odd: {}", super::quoted(text.trim_end()));
        let mut rest = text.trim().strip_prefix('{').ok_or_else(odd)?;
        let (mut descr, mut fortran, mut shape) = (None, None, None);
        loop {
            rest = rest.trim_start();
            if let Some(end) = rest.strip_prefix('}') {
                if !end.trim().is_empty() {
                    return Err(odd());
                }
                break;
            }
            let (key, after) = string(rest).ok_or_else(odd)?;
            rest = after
                .trim_start()
                .strip_prefix(':')
                .ok_or_else(odd)?
                .trim_start();
            match key {
                "descr" if rest.starts_with('[') => {
                    return Err(
                        "its elements are records of several fields: save each field as an array of its own"
                            .to_owned(),
                    );
                }
                "descr" => {
                    let (value, after) = string(rest).ok_or_else(odd)?;
                    (descr, rest) = (Some(value), after);
                }
                "fortran_order" => {
                    let (value, after) = match rest.strip_prefix("True") {
                        Some(after) => (true, after),
                        None => (false, rest.strip_prefix("False").ok_or_else(odd)?),
                    };
                    (fortran, rest) = (Some(value), after);
                }
                "shape" => {
                    let inside = rest.strip_prefix('(').ok_or_else(odd)?;
                    let (inside, after) = inside.split_once(')').ok_or_else(odd)?;
                    (shape, rest) = (Some(sizes(inside).ok_or_else(odd)?), after);
                }
                _ => return Err(odd()),
            }
            rest = rest.trim_start();
            rest = rest.strip_prefix(',').unwrap_or(rest);
        }
        match (descr, fortran, shape) {
            (Some(descr), Some(fortran), Some(shape)) => Ok(Self {
                descr: descr.to_owned(),
                fortran,
                shape,
            }),
            _ => Err(odd()),
        }
    }
}

/// A text of Python's without escapes, and what follows it.
fn string(text: &str) -> Option<(&str, &str)> {
    let quote = text.chars().next().filter(|it| matches!(it, '\'' | '"'))?;
    text[1..].split_once(quote)
}

/// The numbers of a tuple; Python 2 wrote long ones with an L.
fn sizes(text: &str) -> Option<Vec<usize>> {
    let parts = text.split(',').map(str::trim);
    let parts: Vec<&str> = parts.collect();
    let (last, first) = parts.split_last()?;
    let last = Some(last).filter(|it| !it.is_empty());
    (first.iter().chain(last))
        .map(|it| it.strip_suffix('L').unwrap_or(it).parse().ok())
        .collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// An array as NumPy saves it.
    pub(in super::super) fn npy(
        descr: &str,
        fortran: bool,
        shape: &[usize],
        bytes: &[u8],
    ) -> Vec<u8> {
        let shape: Vec<String> = shape.iter().map(|it| format!("{it},")).collect();
        let shape = shape.join(" ");
        let shape = if shape.matches(',').count() > 1 {
            shape.trim_end_matches(',')
        } else {
            &shape
        };
        let fortran = if fortran { "True" } else { "False" };
        let mut text =
            format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': ({shape}), }}");
        while (text.len() + 11) % 64 != 0 {
            text.push(' ');
        }
        text.push('\n');
        let length = (text.len() as u16).to_le_bytes();
        [b"\x93NUMPY\x01\0", &length[..], text.as_bytes(), bytes].concat()
    }

    #[test]
    fn headers_as_numpy_writes_them_are_read() {
        for (shape, size) in [
            (&[7usize][..], 28),
            (&[2, 3], 24),
            (&[1, 28, 28], 3136),
            (&[], 4),
        ] {
            let bytes = npy("<f4", false, shape, &[]);
            let header = header(&bytes).unwrap();
            assert_eq!((&header.shape[..], header.bytes), (shape, size));
            assert_eq!(
                (header.element, header.fortran),
                (Element::new(Kind::F32), false)
            );
            assert_eq!(header.length, bytes.len());
            assert_eq!(bytes.len() % 64, 0);
        }
        let big = header(&npy(">i8", true, &[3], &[])).unwrap();
        assert!(big.fortran && big.element.big_endian && big.element.kind == Kind::I64);
        assert_eq!(header(&npy("<U5", false, &[2], &[])).unwrap().bytes, 40);
        // Version 2 has a longer length, and Python 2 wrote long numbers so.
        let text = "{\"shape\": (3L, 4L), 'fortran_order':False,'descr':'|u1'}\n";
        let bytes = [
            b"\x93NUMPY\x02\0",
            &(text.len() as u32).to_le_bytes()[..],
            text.as_bytes(),
        ]
        .concat();
        assert_eq!(header(&bytes).unwrap().shape, [3, 4]);
    }

    #[test]
    fn what_is_no_plain_array_is_refused_by_name() {
        let message = |bytes: &[u8]| header(bytes).unwrap_err();
        let of = |descr| message(&npy(descr, false, &[2], &[]));
        assert!(of("|O").contains("pickle runs code"), "{}", of("|O"));
        assert!(of("<c8").contains("complex"));
        assert!(of("<M8[ns]").contains("times"));
        assert!(of("<f16").contains("PyTorch does not have"));
        assert!(of("?x9").contains("`?x9`"));
        let fields = npy("F", false, &[2], &[]);
        let text = String::from_utf8_lossy(&fields).replace("'F'", "[('a', '<f4')]");
        let text = &text.as_bytes()[text.find('{').unwrap()..];
        let length = (text.len() as u16).to_le_bytes();
        let fields = [b"\x93NUMPY\x01\0", &length[..], text].concat();
        assert!(
            message(&fields).contains("several fields"),
            "{}",
            message(&fields)
        );
        assert!(message(b"PK\x03\x04").contains("numpy.save"));
        assert!(message(b"\x93NUMPY\x04\0aaaa").contains("version 4.0"));
        assert!(message(b"\x93NUMPY\x02\0\xff\xff\xff\xff").contains("4294967295 bytes"));
        let absurd = npy("<f8", false, &[1 << 62, 1 << 62], &[]);
        assert!(message(&absurd).contains("too many elements"));
        let absurd = npy("<f8", false, &[1 << 62], &[]);
        assert!(message(&absurd).contains("too many elements"));
    }

    #[test]
    fn every_beginning_of_a_header_is_refused() {
        let bytes = npy("<f4", false, &[2, 3], &[]);
        for length in 0..bytes.len() {
            assert!(header(&bytes[..length]).is_err(), "{length}");
        }
        for odd in [
            "{}",
            "{'descr': '<f4'}",
            "{'shape': (1, 'descr'}",
            "[]",
            "{'shape': (-1,)}",
            "{'x': 1}",
        ] {
            let length = (odd.len() as u16).to_le_bytes();
            let bytes = [b"\x93NUMPY\x01\0", &length[..], odd.as_bytes()].concat();
            assert!(header(&bytes).unwrap_err().contains("odd"), "{odd}");
        }
    }
}
