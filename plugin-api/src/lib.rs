//! What the author of a pruning strategy writes against.
//!
//! A plugin is a dynamic library of *components*, each of one kind. A [`Scorer`] says which weights
//! matter, a [`MaskUpdate`] which survive, a [`Rewind`] what is reset before training goes on, an
//! [`Update`] what becomes of the weights at each step. An
//! experiment file puts any plugins' components together; the host trains, calls them and checks
//! what they hand back. Plugins are plain safe Rust and link no tensor library: a [`Tensor`] is a
//! handle to one that lives in the host, on the CPU or a GPU.
//!
//! # A complete plugin
//!
//! `src/lib.rs`:
//!
//! ```standalone_crate
//! use plugin_api::schemars::{self, JsonSchema};
//! use plugin_api::{Error, Result, ScoreContext, Scorer, Tensor, export_plugin};
//! use serde::Deserialize;
//!
//! /// Scores a weight w of a layer with n inputs by |w| n^power: with power 1/2 in units of its
//! /// layer's initial weights, which have standard deviation sqrt(2 / n).
//! ///
//! /// # Source
//! /// He et al. 2015 (arXiv:1502.01852), equation 10.
//! #[derive(Deserialize, JsonSchema)]
//! #[serde(deny_unknown_fields, default)]
//! struct ScaledMagnitude {
//!     /// Power of the fan-in, from 0 (plain magnitude) to 1.
//!     power: f64,
//! }
//!
//! impl Default for ScaledMagnitude {
//!     fn default() -> Self {
//!         Self { power: 0.5 }
//!     }
//! }
//!
//! impl Scorer for ScaledMagnitude {
//!     fn validate(&self) -> Result<()> {
//!         match self.power {
//!             0.0..=1.0 => Ok(()),
//!             got => Err(Error::new(format!("power is {got}, expected 0 to 1"))),
//!         }
//!     }
//!
//!     fn score(&mut self, ctx: &mut ScoreContext<'_>) -> Result<Vec<Tensor>> {
//!         let mut scores = ctx.weights()?;
//!         for (score, layer) in scores.iter_mut().zip(ctx.layers()) {
//!             *score = score.abs() * (layer.fan_in() as f64).powf(self.power);
//!         }
//!         Ok(scores)
//!     }
//! }
//!
//! export_plugin! { score { "magnitude" => ScaledMagnitude } }
//! ```
//!
//! `Cargo.toml`:
//!
//! ```toml
//! [package]
//! name = "scaled"
//! description = "Magnitudes in units of the initial weights"
//! version = "0.1.0"
//! edition = "2024"
//!
//! [lib]
//! crate-type = ["cdylib"]
//!
//! [dependencies]
//! plugin-api = { package = "rewind-plugin-api", path = "../rewind/plugin-api" }
//! serde = { version = "1", features = ["derive"] }
//! ```
//!
//! After `cargo build --release`, the experiment file names the library and uses the component by
//! the crate's name and its own:
//!
//! ```toml
//! [strategy]
//! score  = { use = "scaled/magnitude", power = 0.25 }
//! mask   = "imp/global"
//! rewind = ["lrr/learning-rate"]
//!
//! [plugins]
//! scaled = { path = "../scaled/target/release/libscaled.so" }
//! ```
//!
//! `host plugin show` prints what the doc comments say: components, options, types, defaults.
//!
//! # The rules
//!
//! - **One tensor for each prunable layer**, f32, in the order and with the shapes of
//!   [`Context::layers`]. That holds for every list of tensors that passes in either direction.
//! - **Counts are exact.** The host decides how many weights a level keeps
//!   ([`Context::target`]); [`Context::select`] keeps exactly so many, and [`Context::counts`]
//!   spreads them over layers.
//! - **Masks are nested**: what is pruned stays pruned. Within a level weights may grow back
//!   ([`Cadence::within_level`]).
//! - **Randomness comes from the context** ([`Context::uniform`], [`Context::random`], ...) and
//!   from nowhere else. It depends on seed, component, level and step, so that a resumed run draws
//!   the same numbers.
//! - **Options are the struct's fields.** A limit in the schema, such as
//!   `#[schemars(range(min = 0.0))]`, is reported at its line of the experiment file; `validate`
//!   is for what a schema cannot say, `review` for what depends on the experiment: a time after a
//!   level's end, a density that cannot be kept. A default is shown where the field's type implements
//!   `Serialize`.
//! - **State** lives in fields marked `#[serde(skip)]`. A component that has any implements
//!   `save_state` and `load_state`: a run can be stopped and resumed between any two calls.
//! - **Errors and panics** reach the user behind the names of plugin and component, and end the
//!   run; it can be resumed. Any error type turns into [`Error`] with `?`. Panics must unwind, and
//!   a panic in a component's `Drop` is passed over.
//! - **Log through the context** ([`Context::info`]): a dynamic library has a `log` of its own that
//!   nobody reads. Never write to stdout: results go there.
//!
//! # What the host checks
//!
//! After every call, before anything is used: the number of tensors, each one's shape, type and
//! device, that it is a tensor of this host, that scores and weights are finite, that masks hold
//! only 0 and 1, are nested where they must be and keep exactly the target. A violation names
//! plugin, component, layer, what was got and what was expected. After a rewind pruned weights and
//! their optimizer state are zero whatever the plan says.
//!
//! # What to read next
//!
//! | to | read |
//! |---|---|
//! | prune by gradients (SNIP, GraSP, SynFlow) | [`Context::gradients`], [`GradientRequest`], [`Context::hessian_vector`] |
//! | fix how many weights each layer keeps | [`Context::counts`], [`Distribution`], [`Counts::PerLayer`] |
//! | prune before or during training | [`Cadence`], [`Interval`] |
//! | keep whole units: channels, hidden units, heads | [`Context::units`], [`MaskUpdate::unit_rule`], [`Context::select_units`] |
//! | drop and grow | [`Cadence::and_every`], [`MaskContext::drop_and_grow`], [`MaskContext::cosine`] |
//! | rewind weights, signs, batch norm, optimizer or schedule | [`RewindPlan`], [`Point`], [`Rewind`] |
//! | take masks from another run | [`Context::stored_masks`] |
//! | run a file of another language, whose options are its own | [`Script`], [`Scorer::options`] |
//! | act inside training, at each step | [`Update`], [`UpdateContext`], [`StepNumber`] |
//! | train weights as products of two factors | [`Factors`] |
//! | score by what was gathered while training | [`Context::update_state`] |
//! | say before anything trains what cannot work | [`Experiment`], [`Finding`] |
//! | compute on elements | [`Tensor::as_slice`], [`Tensor::to_vec`], [`Context::tensor`] |
//! | run kernels of your own | [`Tensor::to_dlpack`], [`Context::from_dlpack`] |
//! | export several components and a default trio | [`export_plugin!`] |
//!
//! # How the API evolves
//!
//! A plugin built for 1.0 loads in every 1.x host, whatever compiler and profile built either. The
//! host reads the plugin's version before anything else and refuses another major version in one
//! sentence.
//!
//! A plugin may also be newer than its host. Operations and services are numbered
//! ([`abi::Op`], [`abi::Service`]) and later versions only add numbers: a host that lacks one says
//! so, and [`Error::is_unsupported`] tells the plugin, which can then go another way.
//! ([`Tensor::try_apply`] and [`Context::try_query`] give that error where the plain methods end
//! the call.) What a host cannot understand it refuses; it never guesses.

#![deny(missing_docs)]

/// The crate's page on a registry.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub use rand_core;
pub use schemars;

mod cadence;
mod component;
mod context;
mod drop_and_grow;
mod error;
mod export;
mod factors;
mod layer;
mod point;
mod request;
mod review;
mod rewind_plan;
mod run_ref;
mod script;
mod step;
mod tensor;
mod units;
mod update;

pub mod abi;

pub use abi::DType;
pub use cadence::{Cadence, Interval, Phase};
pub use component::{MaskUpdate, Options, Rewind, Scorer, Update};
pub use context::{Context, MaskContext, RewindContext, ScoreContext, UpdateContext};
pub use error::{Error, Result};
pub use factors::Factors;
pub use layer::{Layer, LayerKind};
pub use point::{ParsePointError, Point, Source};
pub use request::{Among, Batches, Counts, Distribution, GradientRequest, Loss};
pub use review::{Experiment, Finding, Optimizer, Severity};
pub use rewind_plan::{BatchNorm, DataOrder, OptimizerState, RewindPlan, Schedule, Weights};
pub use run_ref::RunRef;
pub use script::Script;
pub use step::{ParseStepError, Step};
pub use tensor::Tensor;
pub use units::{Measure, Scope, UnitRule, UnitSet, UnitSlice, Units};
pub use update::{Acts, Around, Parameters, StepNumber, UpdateForm, Updated};

#[cfg(test)]
mod tests {
    #[test]
    fn the_complete_plugin_of_the_front_page_fits_in_40_lines() {
        let page = include_str!("lib.rs");
        let plugin = page.split("//! ```").nth(1).unwrap();
        assert!(plugin.contains("export_plugin!"));
        assert!(plugin.lines().count() - 1 <= 40);
    }
}
