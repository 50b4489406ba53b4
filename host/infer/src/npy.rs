//! Arrays of NumPy's files: float32 in C order.

use crate::error::{Error, Result};

/// What every such file begins with.
const MAGIC: &[u8] = b"\x93NUMPY";

/// An array.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its numbers, row-major.
    pub numbers: Vec<f32>,
}

impl Array {
    /// Reads the bytes of a file.
    ///
    /// # Errors
    /// What is no such file, is cut short or longer than its shape, holds other types or Fortran's order.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let fail = |reason: &str| Error::Array(reason.to_owned());
        let rest = (bytes.strip_prefix(MAGIC)).ok_or_else(|| fail("it does not begin as one"))?;
        let (length, rest) = match rest {
            [1, _, a, b, rest @ ..] => (usize::from(u16::from_le_bytes([*a, *b])), rest),
            [2 | 3, _, a, b, c, d, rest @ ..] => {
                (u32::from_le_bytes([*a, *b, *c, *d]) as usize, rest)
            }
            _ => return Err(fail("its version is not 1 to 3")),
        };
        let header = rest.get(..length).ok_or_else(|| fail("it is cut short"))?;
        let header = std::str::from_utf8(header).map_err(|_| fail("its header is no text"))?;
        let numbers = rest.get(length..).unwrap_or(&[]);
        let value = |key: &str| {
            let (_, after) = header.split_once(&format!("'{key}'"))?;
            Some(after.trim_start().strip_prefix(':')?.trim_start())
        };
        let kind = value("descr").unwrap_or_default();
        if !kind.starts_with("'<f4'") {
            let shown: String = kind.chars().take_while(|it| *it != ',').take(20).collect();
            return Err(Error::Array(format!("its type is {shown}, expected '<f4'")));
        }
        if !value("fortran_order").is_some_and(|it| it.starts_with("False")) {
            return Err(fail("its order is not C"));
        }
        let shape = value("shape").and_then(|it| it.strip_prefix('(')?.split_once(')'));
        let (shape, _) = shape.ok_or_else(|| fail("its header has no shape"))?;
        let shape: Option<Vec<usize>> = (shape.split(',').map(str::trim))
            .filter(|it| !it.is_empty())
            .map(|it| it.parse().ok())
            .collect();
        let shape = shape.ok_or_else(|| fail("its shape is no list of sizes"))?;
        let count = (shape.iter()).try_fold(4usize, |all, &size| all.checked_mul(size));
        if count != Some(numbers.len()) {
            return Err(Error::Array(format!(
                "{} bytes follow its header, which says shape {shape:?}",
                numbers.len()
            )));
        }
        let (numbers, _) = numbers.as_chunks();
        Ok(Self {
            shape,
            numbers: numbers.iter().map(|it| f32::from_le_bytes(*it)).collect(),
        })
    }

    /// The bytes of a file.
    pub fn bytes(&self) -> Vec<u8> {
        let sizes: Vec<String> = self.shape.iter().map(|it| format!("{it},")).collect();
        let sizes = sizes.join(" ");
        let mut header =
            format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({sizes}), }}");
        // Magic, version and length are ten bytes; a line feed ends the header, and the numbers start at 64.
        let length = (10 + header.len() + 1).next_multiple_of(64) - 10;
        header.extend(std::iter::repeat_n(' ', length - header.len() - 1));
        header.push('\n');
        let mut bytes = [MAGIC, &[1, 0], &(length as u16).to_le_bytes()].concat();
        bytes.extend(header.bytes());
        bytes.extend(self.numbers.iter().flat_map(|it| it.to_le_bytes()));
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_array_is_read_as_it_was_written() {
        for shape in [vec![], vec![3], vec![2, 0], vec![2, 3, 4]] {
            let count = shape.iter().product::<usize>();
            let numbers = (0..count).map(|it| it as f32 - 2.5).collect();
            let array = Array { shape, numbers };
            assert_eq!(Array::parse(&array.bytes()).unwrap(), array);
        }
    }

    #[test]
    fn other_arrays_are_refused_with_what_they_are() {
        let array = Array {
            shape: vec![2, 2],
            numbers: vec![1.0; 4],
        };
        let bytes = array.bytes();
        let with = |from: &str, to: &str| {
            let at = bytes
                .windows(from.len())
                .position(|it| it == from.as_bytes());
            let mut bytes = bytes.clone();
            bytes[at.unwrap()..][..to.len()].copy_from_slice(to.as_bytes());
            Array::parse(&bytes).unwrap_err().to_string()
        };
        assert!(with("<f4", "<f8").contains("its type is '<f8', expected '<f4'"));
        assert!(with("False", "True ").contains("its order is not C"));
        assert!(
            with("(2, 2,)", "(2, 9,)")
                .contains("16 bytes follow its header, which says shape [2, 9]")
        );
        assert!(with("(2, 2,)", "(2, x,)").contains("no list of sizes"));
        let cut = Array::parse(&bytes[..30]).unwrap_err().to_string();
        assert!(cut.contains("cut short"), "{cut}");
        assert!(Array::parse(b"PK").is_err());
    }
}
