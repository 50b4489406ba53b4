//! Results on stdout, whose reader may leave early: `host plan FILE | head`.

use std::fmt::Display;
use std::io::{self, Write};

use super::exit::{Exit, Failure};
use crate::printable::printable;

/// Writes one line, without what a terminal obeys: it may hold a stranger's text. A reader that left is not an error: whatever runs goes on without it.
///
/// # Errors
/// If the line cannot be written, on a full disk for instance.
pub fn line(text: impl Display) -> Result<(), Failure> {
    whole(format!("{}\n", printable(&text.to_string())).as_bytes())
}

/// Writes bytes as they are.
///
/// # Errors
/// As [`line`].
pub fn whole(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::new(
            Exit::Failed,
            format!("failed to write to stdout: {error}"),
        )),
        _ => Ok(()),
    }
}

/// Writes one line to stderr, where a failure cannot be told to anyone.
pub fn tell(text: impl Display) {
    let _ = writeln!(io::stderr(), "{text}");
}
