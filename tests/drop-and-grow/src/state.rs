//! What a mask update needs to go on after a restart, as bytes.
//!
//! Little-endian: the eight bytes `DROPGROW`, version (u32), calls (u64), number of layers (u32),
//! and for each layer the number of grown weights (u64) and their row-major indices (u64 each).

use plugin_api::{Error, Result};

const MAGIC: &[u8; 8] = b"DROPGROW";
const VERSION: u32 = 1;

/// Calls within levels so far, and the weights that the last one grew.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Calls within levels.
    pub calls: u64,
    /// Row-major indices per layer.
    pub grown: Vec<Vec<u64>>,
}

impl State {
    /// The bytes of this state.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend(self.calls.to_le_bytes());
        bytes.extend((self.grown.len() as u32).to_le_bytes());
        for layer in &self.grown {
            bytes.extend((layer.len() as u64).to_le_bytes());
            for index in layer {
                bytes.extend(index.to_le_bytes());
            }
        }
        bytes
    }

    /// The state with these bytes.
    ///
    /// # Errors
    /// If they are none: foreign, of another version, cut short or with something behind.
    pub fn decode(mut bytes: &[u8]) -> Result<Self> {
        if take::<8>(&mut bytes)? != *MAGIC {
            return Err(Error::new("the stored state is not one of drop-and-grow"));
        }
        let version = u32::from_le_bytes(take(&mut bytes)?);
        if version != VERSION {
            return Err(Error::new(format!(
                "the stored state has version {version}, expected {VERSION}"
            )));
        }
        let calls = u64::from_le_bytes(take(&mut bytes)?);
        let layers = u32::from_le_bytes(take(&mut bytes)?);
        let mut grown = Vec::new();
        for _ in 0..layers {
            let count = u64::from_le_bytes(take(&mut bytes)?);
            let indices = (0..count).map(|_| Ok(u64::from_le_bytes(take(&mut bytes)?)));
            grown.push(indices.collect::<Result<_>>()?);
        }
        if !bytes.is_empty() {
            return Err(Error::new(format!(
                "the stored state has {} bytes too many",
                bytes.len()
            )));
        }
        Ok(Self { calls, grown })
    }
}

/// The next `N` bytes.
fn take<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N]> {
    let (next, rest) = bytes
        .split_first_chunk()
        .ok_or_else(|| Error::new("the stored state is cut short"))?;
    *bytes = rest;
    Ok(*next)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> State {
        State {
            calls: 3,
            grown: vec![vec![0, 7, u64::MAX], vec![], vec![12]],
        }
    }

    #[test]
    fn reads_what_it_writes() {
        for state in [State::default(), example()] {
            assert_eq!(State::decode(&state.encode()).unwrap(), state);
        }
    }

    #[test]
    fn the_bytes_are_those_of_the_format() {
        let state = State {
            calls: 2,
            grown: vec![vec![258]],
        };
        let mut expected = b"DROPGROW".to_vec();
        expected.extend([1, 0, 0, 0]);
        expected.extend([2, 0, 0, 0, 0, 0, 0, 0]);
        expected.extend([1, 0, 0, 0]);
        expected.extend([1, 0, 0, 0, 0, 0, 0, 0]);
        expected.extend([2, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(state.encode(), expected);
    }

    #[test]
    fn refuses_bytes_that_are_cut_short_or_too_many_or_foreign() {
        let bytes = example().encode();
        for length in 0..bytes.len() {
            let error = State::decode(&bytes[..length]).unwrap_err();
            assert!(error.to_string().contains("cut short"), "{length}: {error}");
        }
        let longer = [bytes.as_slice(), &[0]].concat();
        let error = State::decode(&longer).unwrap_err();
        assert_eq!(error.to_string(), "the stored state has 1 bytes too many");
        let error = State::decode(&[0; 64]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the stored state is not one of drop-and-grow"
        );
        let mut later = bytes;
        later[8] = 2;
        let error = State::decode(&later).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the stored state has version 2, expected 1"
        );
    }

    #[test]
    fn a_count_that_no_memory_holds_is_refused_before_it_is_allocated() {
        let mut bytes = b"DROPGROW".to_vec();
        bytes.extend(1u32.to_le_bytes());
        bytes.extend(0u64.to_le_bytes());
        bytes.extend(1u32.to_le_bytes());
        bytes.extend(u64::MAX.to_le_bytes());
        let error = State::decode(&bytes).unwrap_err();
        assert_eq!(error.to_string(), "the stored state is cut short");
    }
}
