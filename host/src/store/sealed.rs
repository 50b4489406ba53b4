//! JSON files that carry their own digest, so that no flipped bit of them passes.
//!
//! The last field of the object is `digest`: BLAKE3 of the file's text as it would be without that
//! field. The seal has a fixed form at the file's end, so that checking it needs no second writer.

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::artifact::{self, StoreError};

const BEFORE: &[u8] = b",\n  \"digest\": \"";
const AFTER: &[u8] = b"\"\n}\n";
/// Hexadecimal digits of a BLAKE3 digest.
const DIGITS: usize = 64;

/// What a sealed file held.
#[derive(Clone, Debug, PartialEq)]
pub struct Sealed<T> {
    /// Its value.
    pub value: T,
    /// Whether it carries its digest; versions before this one wrote none.
    pub sealed: bool,
}

/// Writes an object with its digest.
///
/// # Errors
/// Names the path and the bytes it needs.
pub fn write_sealed<T: Serialize>(path: &Path, value: &T) -> Result<(), StoreError> {
    artifact::write(path, &seal(path, value)?)
}

/// The bytes that [`write_sealed`] writes.
///
/// # Errors
/// If the value is no object of JSON with a field.
pub fn seal<T: Serialize>(path: &Path, value: &T) -> Result<Vec<u8>, StoreError> {
    let damaged = |reason: String| StoreError::Damaged {
        path: path.to_owned(),
        reason,
    };
    let mut text = serde_json::to_vec_pretty(value).map_err(|error| damaged(error.to_string()))?;
    let digest = blake3::hash(&text).to_hex();
    if !text.ends_with(b"\n}") {
        return Err(damaged(
            "only an object with fields can carry its digest".to_owned(),
        ));
    }
    text.truncate(text.len() - 2);
    text.extend_from_slice(BEFORE);
    text.extend_from_slice(digest.as_bytes());
    text.extend_from_slice(AFTER);
    Ok(text)
}

/// Reads an object and checks the digest that it carries. The type must refuse unknown fields: a seal
/// that is damaged beyond recognition is one.
///
/// # Errors
/// Names the path, and what is wrong with it.
pub fn read_sealed<T: DeserializeOwned>(path: &Path) -> Result<Sealed<T>, StoreError> {
    unseal(path, &artifact::read(path)?)
}

fn unseal<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<Sealed<T>, StoreError> {
    let damaged = |reason: String| StoreError::Damaged {
        path: path.to_owned(),
        reason,
    };
    let (text, sealed) = match split(bytes) {
        Some((head, expected)) => {
            let text = [head, b"\n}"].concat();
            let got = blake3::hash(&text).to_hex();
            if got.as_bytes() != expected {
                return Err(damaged(format!(
                    "its BLAKE3 digest is {got}, expected {} as its last line says",
                    String::from_utf8_lossy(expected)
                )));
            }
            (text, true)
        }
        None => (bytes.to_vec(), false),
    };
    let value = serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))?;
    Ok(Sealed { value, sealed })
}

/// The text before the seal and the digest in it, if a file ends with a seal.
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = bytes.strip_suffix(AFTER)?;
    let (rest, digest) = rest.split_at_checked(rest.len().checked_sub(DIGITS)?)?;
    let is_digit = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
    let head = rest.strip_suffix(BEFORE)?;
    digest.iter().all(is_digit).then_some((head, digest))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Record {
        level: u64,
        #[serde(default)]
        files: BTreeMap<String, f64>,
        /// May be left out, as older versions did.
        #[serde(default)]
        note: Option<String>,
    }

    fn record() -> Record {
        Record {
            level: 3,
            files: [("a b".to_owned(), 0.1), ("c".to_owned(), -1e300)].into(),
            note: Some("say \"digest\"\n".to_owned()),
        }
    }

    #[test]
    fn what_was_written_is_read_and_the_digest_is_that_of_the_text_without_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record.json");
        write_sealed(&path, &record()).unwrap();
        let read: Sealed<Record> = read_sealed(&path).unwrap();
        assert!(read.sealed);
        assert_eq!(read.value, record());
        let plain = serde_json::to_string_pretty(&record()).unwrap();
        let whole: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let digest = blake3::hash(plain.as_bytes()).to_hex();
        assert_eq!(whole["digest"], digest.as_str());
    }

    #[test]
    fn every_flipped_bit_and_every_truncation_is_refused() {
        let path = Path::new("record.json");
        let whole = seal(path, &record()).unwrap();
        for place in 0..8 * whole.len() {
            let mut bytes = whole.clone();
            bytes[place / 8] ^= 1 << (place % 8);
            let read = unseal::<Record>(path, &bytes);
            assert!(read.is_err(), "bit {place}: {read:?}");
        }
        for length in 0..whole.len() {
            assert!(
                unseal::<Record>(path, &whole[..length]).is_err(),
                "{length}"
            );
        }
    }

    #[test]
    fn a_file_of_an_older_version_is_read_and_said_to_carry_no_digest() {
        let bytes = serde_json::to_vec_pretty(&record()).unwrap();
        let read: Sealed<Record> = unseal(Path::new("record.json"), &bytes).unwrap();
        assert_eq!((read.sealed, read.value), (false, record()));
    }
}
