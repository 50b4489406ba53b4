//! What a file's process writes, line by line: for the log, and to say where it was when it ended.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Lines that are kept until somebody takes them, and characters of each.
const MOST: usize = 1000;
const LONGEST: usize = 2000;

/// Lines that were written and not told yet.
#[derive(Clone, Default)]
pub struct Words(Arc<Mutex<Lines>>);

#[derive(Default)]
struct Lines {
    untold: VecDeque<String>,
    left_out: u64,
    is_over: bool,
}

impl Words {
    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads until the process has closed its end.
    pub fn read(&self, from: impl Read) {
        let mut from = BufReader::new(from);
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = from.by_ref().take(1 << 20).read_until(b'\n', &mut line);
            if !matches!(read, Ok(1..)) {
                break;
            }
            let text = String::from_utf8_lossy(&line);
            let text: String = text.trim_end().chars().take(LONGEST).collect();
            let mut lines = self.lines();
            if lines.untold.len() == MOST {
                lines.untold.pop_front();
                lines.left_out += 1;
            }
            lines.untold.push_back(text);
        }
        self.lines().is_over = true;
    }

    /// What was not told yet.
    pub fn take(&self) -> Vec<String> {
        let mut lines = self.lines();
        let left_out = std::mem::take(&mut lines.left_out);
        let note = (left_out > 0).then(|| format!("({left_out} lines before this were left out)"));
        note.into_iter().chain(lines.untold.drain(..)).collect()
    }

    /// Whether the process has closed its end.
    pub fn is_over(&self) -> bool {
        self.lines().is_over
    }
}

/// Where in a file a process was, by the traceback that Python writes as it dies:
/// `File "/x/mine.py", line 5 in mine` of the innermost frame in that file.
pub fn place(lines: &[String], file: &str, name: &str) -> Option<String> {
    let own = format!("File \"{file}\", line ");
    let line = lines
        .iter()
        .find_map(|line| line.trim_start().strip_prefix(&own))?;
    let (number, function) = line.split_once(" in ")?;
    Some(match function {
        "<module>" => format!("{name}:{number}"),
        function => format!("{name}:{number} in {function}"),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_innermost_frame_of_the_file_is_the_place() {
        let said = "Fatal Python error: Segmentation fault\n\nCurrent thread 0x1 (most recent call first):\n  \
                    File \"/usr/lib/ctypes.py\", line 3 in string_at\n  File \"/x/mine.py\", line 5 in deep\n  \
                    File \"/x/mine.py\", line 9 in mine";
        let lines: Vec<String> = said.lines().map(str::to_owned).collect();
        assert_eq!(
            place(&lines, "/x/mine.py", "mine.py").unwrap(),
            "mine.py:5 in deep"
        );
        assert_eq!(place(&lines, "/x/other.py", "other.py"), None);
    }

    #[test]
    fn the_last_lines_are_kept_and_the_others_are_counted() {
        let words = Words::default();
        let text: String = (0..MOST + 5).map(|line| format!("{line}\n")).collect();
        words.read(text.as_bytes());
        let told = words.take();
        assert_eq!(told[0], "(5 lines before this were left out)");
        assert_eq!(told[1], "5");
        assert_eq!(told.len(), MOST + 1);
        assert!(words.is_over() && words.take().is_empty());
    }
}
