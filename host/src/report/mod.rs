//! What a run came to, for people and for other programs.

mod interval;
mod table;

pub use interval::Interval;
pub use table::{collect, summary_csv, table};
