//! A page that shows what lies in a folder of runs, and how it goes on: served to the browsers of this machine's user.
//!
//! ```text
//! files -> Index (looks again and again) -> Board (what is shown, by version) -> serve -> page/
//! ```
//!
//! Files are read alone; nothing is written, and no process is asked. A browser gets changes as server-sent events, and
//! the records of a run when it asks for that run by a name that the index found. No path comes from a request.

mod board;
mod detail;
mod index;
mod pages;
mod serve;
#[cfg(test)]
mod tests;
mod token;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

pub use board::Board;
pub use index::Index;
pub use serve::{Door, Server};
pub use token::Token;

/// The folder of this name beside a run's; none if it is more than a name.
fn beside(folder: &Path, name: &str) -> Option<PathBuf> {
    let is_name = Path::new(name).file_name() == Some(OsStr::new(name));
    is_name.then(|| folder.with_file_name(name))
}
