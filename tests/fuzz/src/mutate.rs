//! Changes inputs without knowing what they are, but for a dictionary of a format's words.

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

/// No input grows longer.
const LONGEST: usize = 1 << 16;

/// Numbers at which things end.
const NUMBERS: &[&str] = &[
    "0",
    "-1",
    "1",
    "2",
    "127",
    "128",
    "255",
    "256",
    "65535",
    "65536",
    "2147483647",
    "2147483648",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "1e308",
    "-1e-320",
    "1e999",
    "0.5",
    "00",
];

/// A source of changed inputs.
pub struct Mutator {
    random: ChaCha8Rng,
    dictionary: &'static [&'static str],
}

impl Mutator {
    /// One that always makes the same inputs of the same corpus.
    pub fn new(seed: u64, dictionary: &'static [&'static str]) -> Self {
        Self {
            random: ChaCha8Rng::seed_from_u64(seed),
            dictionary,
        }
    }

    fn below(&mut self, bound: usize) -> usize {
        match bound {
            0 => 0,
            bound => (self.random.next_u64() % bound as u64) as usize,
        }
    }

    fn pick<T: Copy>(&mut self, list: &[T]) -> Option<T> {
        let at = self.below(list.len());
        list.get(at).copied()
    }

    /// Where a piece begins and ends.
    fn piece(&mut self, length: usize) -> (usize, usize) {
        let start = self.below(length);
        let longest = match self.below(4) {
            0 => length,
            _ => 16,
        };
        let end = start + self.below(longest.min(length - start) + 1);
        (start, end.min(length))
    }

    /// An input of the corpus with a few changes.
    pub fn next(&mut self, corpus: &[(String, Vec<u8>)]) -> Vec<u8> {
        let at = self.below(corpus.len());
        let mut input = corpus.get(at).map_or_else(Vec::new, |it| it.1.clone());
        for _ in 0..=self.below(6) {
            self.change(&mut input, corpus);
            input.truncate(LONGEST);
        }
        input
    }

    fn change(&mut self, input: &mut Vec<u8>, corpus: &[(String, Vec<u8>)]) {
        let place = self.below(input.len() + 1);
        let (start, end) = self.piece(input.len());
        match self.below(12) {
            0 => {
                if let Some(byte) = input.get_mut(place) {
                    *byte ^= 1 << (self.random.next_u32() % 8);
                }
            }
            1 => {
                let value = self.pick(&[0, 1, 0x7f, 0x80, 0xff, b'\n', b'"']);
                if let (Some(byte), Some(value)) = (input.get_mut(place), value) {
                    *byte = value;
                }
            }
            2 => {
                let random = self.random.next_u64().to_le_bytes();
                let length = 1 + self.below(8);
                input.splice(place..place, random[..length].iter().copied());
            }
            3 => drop(input.drain(start..end)),
            4 => {
                let piece = input[start..end].to_vec();
                input.splice(place..place, piece);
            }
            5 => {
                // Nesting, and lists that are too long.
                let piece = input[start..end.min(start + 4)].to_vec();
                let times = self.pick(&[10, 200, 5000]).unwrap_or(10);
                input.splice(place..place, piece.repeat(times));
            }
            6 => input.truncate(place),
            7 => {
                let at = self.below(corpus.len());
                if let Some((_, other)) = corpus.get(at) {
                    let (start, end) = self.piece(other.len());
                    input.splice(place..place, other[start..end].iter().copied());
                }
            }
            8 => self.number(input, place),
            9 => {
                // A whole number in either order, as headers have them.
                let value = self.pick(&[0, 1, u64::MAX, 1 << 31, 1 << 32, 1 << 63, 0xffff]);
                let value = value.unwrap_or(0);
                let (little, big) = (value.to_le_bytes(), value.to_be_bytes());
                let bytes = match self.below(4) {
                    0 => &little[..],
                    1 => &little[..4],
                    2 => &big[..],
                    _ => &big[4..],
                };
                for (byte, value) in input.iter_mut().skip(place).zip(bytes) {
                    *byte = *value;
                }
            }
            10 => {
                if let Some(word) = self.pick(self.dictionary) {
                    input.splice(start..end, word.bytes());
                }
            }
            _ => {
                if let Some(word) = self.pick(self.dictionary) {
                    input.splice(place..place, word.bytes());
                }
            }
        }
    }

    /// Puts a number in the place of the next one.
    fn number(&mut self, input: &mut Vec<u8>, place: usize) {
        let digit = |byte: &u8| byte.is_ascii_digit();
        let Some(start) = input.iter().skip(place).position(digit) else {
            return;
        };
        let start = place + start;
        let length = input[start..].iter().take_while(|byte| digit(byte)).count();
        if let Some(number) = self.pick(NUMBERS) {
            input.splice(start..start + length, number.bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_inputs_and_they_differ_from_each_other() {
        let corpus = vec![("a".to_owned(), b"level = 12, [1, 2]".to_vec())];
        let inputs = |seed| {
            let mut mutator = Mutator::new(seed, &["\"", "[["]);
            (0..200).map(|_| mutator.next(&corpus)).collect::<Vec<_>>()
        };
        assert_eq!(inputs(1), inputs(1));
        assert_ne!(inputs(1), inputs(2));
        let mut different = inputs(1);
        different.sort();
        different.dedup();
        assert!(different.len() > 150, "{}", different.len());
    }
}
