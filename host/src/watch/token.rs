//! The word by which a browser shows that its user was told the address.

use std::fs::File;
use std::io::{self, Read};

/// Bytes of a token: as many as nobody guesses.
const LENGTH: usize = 24;

/// A word that is made anew with each server.
pub struct Token(String);

impl Token {
    /// Draws one from the system's randomness.
    ///
    /// # Errors
    /// If the system gives none.
    pub fn draw() -> io::Result<Self> {
        let mut bytes = [0; LENGTH];
        File::open("/dev/urandom")?.read_exact(&mut bytes)?;
        Ok(Self(bytes.iter().map(|it| format!("{it:02x}")).collect()))
    }

    /// The word.
    pub fn word(&self) -> &str {
        &self.0
    }

    /// Whether this is the word. How long that takes says nothing of how much of it is right: digests are compared, and
    /// all of their bytes.
    pub fn is(&self, said: &str) -> bool {
        blake3::hash(self.0.as_bytes()) == blake3::hash(said.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_itself_alone() {
        let token = Token::draw().unwrap();
        assert_eq!(token.word().len(), 2 * LENGTH);
        assert!(token.is(token.word()));
        assert_ne!(token.word(), Token::draw().unwrap().word());
        for other in ["", "0", &token.word()[1..], &format!("{}0", token.word())] {
            assert!(!token.is(other), "{other}");
        }
    }
}
