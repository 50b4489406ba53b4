//! What a run came to, for people and for other programs.

mod interval;
mod table;

pub use interval::Interval;
pub use table::{collect, columns, plain_table, summary_csv, table};
