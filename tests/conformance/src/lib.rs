//! The rules that a plugin must keep.
//!
//! `host plugin check FILE` checks them all. In a plugin's own tests it is one line:
//!
//! ```ignore
//! #[test]
//! fn the_plugin_keeps_every_rule() {
//!     conformance::assert_conforms!();
//! }
//! ```
//!
//! The rules themselves, [`RULES`], link no tensor library: they see components through
//! [`Subject`] and [`Component`], which a host implements, and tensors as plain numbers. So this crate
//! compiles in seconds, and a host of another kind could be checked with it, too.

#![deny(missing_docs)]

mod cases;
mod crate_test;
mod report;
mod rules;
mod subject;
mod walk;

pub use crate_test::assert_crate_conforms;
pub use report::{ComponentReport, Failure, Report, RuleReport, Verdict};
pub use rules::{RULES, Rule, Trial};
pub use subject::{Answer, Component, Fault, MaskRule, Scene, Subject};

/// Builds the plugin of the crate that is tested and has the installed program check every rule.
///
/// The program is the one named in `REWIND_HOST`, or else `rewind` or `host` on the `PATH`.
///
/// # Panics
/// With the program's report if a rule is broken, and with what to do if there is no program.
#[macro_export]
macro_rules! assert_conforms {
    () => {
        $crate::assert_crate_conforms(env!("CARGO_MANIFEST_DIR"), env!("CARGO_PKG_NAME"))
    };
}
