//! What runs came to, for people and for other programs.
//!
//! [`build()`] reads runs or a sweep, judges its claims and writes one page with all figures; the
//! parts before it are tables and intervals that other commands print too.

mod behind;
mod build;
mod builds;
pub mod chart;
mod explorer;
mod exports;
mod figures;
mod holm;
mod interval;
mod missing;
mod overview;
mod page;
mod paired;
mod part;
mod results;
pub mod script;
mod speed;
mod table;
#[cfg(test)]
pub(crate) mod testing;
mod theory;
mod verdict;

pub use behind::{Comparison, Lag, behind};
pub use build::{ReportError, Subject, Written, build};
pub use builds::{MARK, OtherBuilds, warn_of_other_builds};
pub use chart::ChartError;
pub use figures::FigureError;
pub use interval::Interval;
pub use missing::Missing;
pub use overview::Overview;
pub use page::{p_words, signed};
pub use paired::{COLUMNS as PAIRED_COLUMNS, PairedLevel, measured, paired, percent};
pub use part::Part;
pub use results::{LayerDensity, LevelResults, Results, SeedResults, value};
pub use speed::{Speed, Speeds, Timed, speeds};
pub use table::{columns, plain_table, table};
pub use theory::{Prediction, Simulation};
pub use verdict::{Judged, Verdict};
