//! The program by the name that it was called by: `host`, `rewind`, or whatever a link says.
//! Every message that names a command does so under it: `host` is a DNS tool on many systems.

use std::ffi::OsString;
use std::path::Path;

/// The name that the program was called by.
pub fn name() -> String {
    let called: OsString = std::env::args_os().next().unwrap_or_default();
    // What tests expect does not depend on the file that they are compiled into.
    if cfg!(test) {
        return "called".to_owned();
    }
    let stem = Path::new(&called).file_stem();
    stem.and_then(|stem| stem.to_str())
        .filter(|stem| !stem.is_empty())
        .unwrap_or("host")
        .to_owned()
}

/// These words as a shell takes them.
pub fn command_line<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let words: Vec<&str> = words.into_iter().collect();
    // Only a word with a zero byte cannot be quoted, and no command line holds one.
    shlex::try_join(words.iter().copied()).unwrap_or_else(|_| words.join(" "))
}

/// The command that this program was called by, with one more flag.
pub fn again_with(flag: &str) -> String {
    let mut words = vec![name()];
    words.extend(
        std::env::args_os()
            .skip(1)
            .map(|it| it.to_string_lossy().into_owned()),
    );
    let end = words
        .iter()
        .position(|it| it == "--")
        .unwrap_or(words.len());
    words.insert(end, flag.to_owned());
    command_line(words.iter().map(String::as_str))
}
