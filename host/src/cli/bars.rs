//! Progress bars that fit into a terminal of 60 columns: a line that wraps would be drawn again and again,
//! each time below itself. What is too long for its line is cut.

use indicatif::{ProgressBar, ProgressStyle};

/// Of a run, and of a sweep as a whole.
pub const RUN: &str = "{bar:16} {percent:>3} %  {wide_msg}  {elapsed} done, {eta} left";

/// Of one of a sweep's runs.
pub const CELL: &str = "  {bar:16} {percent:>3} %  {wide_msg}";

/// Of a download.
pub const DOWNLOAD: &str =
    "{wide_msg}  {bar:8} {bytes} of {total_bytes}  {bytes_per_sec}  {eta} left";

/// A progress bar without a length yet.
pub fn bar(template: &str) -> ProgressBar {
    let bar = ProgressBar::no_length();
    let style = ProgressStyle::with_template(template);
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

#[cfg(test)]
mod tests {
    use super::*;
    use indicatif::{ProgressDrawTarget, TermLike};
    use std::io;
    use std::sync::{Arc, Mutex};

    /// A terminal of 60 columns that keeps what is drawn.
    #[derive(Clone, Debug, Default)]
    struct Narrow(Arc<Mutex<String>>);

    impl TermLike for Narrow {
        fn width(&self) -> u16 {
            60
        }

        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn write_line(&self, line: &str) -> io::Result<()> {
            self.write_str(&format!("{line}\n"))
        }

        fn write_str(&self, text: &str) -> io::Result<()> {
            self.0.lock().unwrap().push_str(text);
            Ok(())
        }

        fn clear_line(&self) -> io::Result<()> {
            self.write_str("\n")
        }

        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn no_bar_wraps_in_60_columns() {
        for template in [RUN, CELL, DOWNLOAD] {
            let bar = bar(template);
            let terminal = Narrow::default();
            bar.set_draw_target(ProgressDrawTarget::term_like(Box::new(terminal.clone())));
            bar.set_length(170_498_071);
            bar.set_position(123_456_789);
            bar.set_message("level 12  loss 0.1234  train accuracy 100.0 % of a long name");
            bar.tick();
            let drawn = terminal.0.lock().unwrap().clone();
            let longest = drawn
                .lines()
                .map(|line| line.trim_end().chars().count())
                .max();
            assert!(drawn.contains("level") || template == DOWNLOAD, "{drawn}");
            assert!(
                (1..=60).contains(&longest.unwrap()),
                "{template}: {drawn:?}"
            );
        }
    }
}
