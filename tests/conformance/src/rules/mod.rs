//! The rules, in the order in which they are checked.

mod calls;
mod options;
mod resources;
mod review;
mod state;
#[cfg(test)]
mod tests;
mod units;

use plugin_api::abi::wire::{ComponentKind, ComponentManifest, Manifest};
use plugin_api::{Cadence, Point};
use serde_json::{Map, Value};

use crate::cases::{NETWORKS, Values};
use crate::report::Verdict;
use crate::subject::{Component, Fault, Subject};
use crate::walk::{Course, Walk};

/// One rule.
pub struct Rule {
    /// Its name.
    pub name: &'static str,
    /// What it asks for.
    pub says: &'static str,
    /// Whether it takes seconds rather than a moment.
    pub slow: bool,
    check: fn(&Trial<'_>) -> Result<Verdict, Fault>,
}

macro_rules! rules {
    ($($name:literal, $speed:ident, $says:literal => $check:path;)*) => {
        /// Every rule.
        pub const RULES: &[Rule] = &[
            $(Rule { name: $name, says: $says, slow: rules!(@$speed), check: $check }),*
        ];
    };
    (@quick) => { false };
    (@slow) => { true };
}

rules! {
    "metadata", quick, "plugin, component and every option are described, and the schema is one of an object"
        => options::metadata;
    "defaults", quick, "it can be made without options, or with the examples of its schema, and takes its own defaults"
        => options::defaults;
    "unknown-option", quick, "an option that it does not have is refused by name"
        => options::unknown_option;
    "cadence", quick, "a mask update is called at some time of a run"
        => calls::cadence;
    "review", quick, "what it has against an experiment names options that it has, comes again, and without a panic"
        => review::review;
    "answers", quick, "every call gives one tensor for each layer, of its shape, f32, finite; masks of 0 and 1, nested and exact; plans that can be carried out; updates that leave what is pruned at 0; nothing that was lent is changed; it panics nowhere"
        => calls::answers;
    "units", quick, "a mask that keeps whole units has one rule, keeps at least one unit of each set, and as many as do not pass the target"
        => units::units;
    "repeats", quick, "the same seed gives the same bits, in every instance"
        => calls::repeats;
    "streams", quick, "what is random differs from seed to seed"
        => calls::streams;
    "state", quick, "an instance that loads another's state goes on with the same bits"
        => state::state;
    "foreign-state", quick, "a state that is not its own is refused or ignored, without a panic"
        => state::foreign;
    "drop", quick, "it can be dropped without a panic"
        => resources::dropped;
    "devices", quick, "every device gives the same masks"
        => resources::devices;
    "large-layer", slow, "a layer of 10 million weights is one like others"
        => resources::large_layer;
    "memory", slow, "1,000 calls leave no memory behind"
        => resources::memory;
}

impl Rule {
    /// What becomes of the rule.
    pub fn check(&self, trial: &Trial<'_>) -> Verdict {
        match (self.check)(trial) {
            Ok(verdict) => verdict,
            Err(_) if trial.make().is_err() => Verdict::Skipped {
                why: "it cannot be made, of which the rule `defaults` has more".to_owned(),
            },
            Err(fault) => Verdict::broken("before any call", fault.text(), self.says),
        }
    }
}

/// One component on trial.
pub struct Trial<'a> {
    /// How it is made and called.
    pub subject: &'a dyn Subject,
    /// What its plugin says of itself.
    pub manifest: &'a Manifest,
    /// What its plugin says of it.
    pub component: &'a ComponentManifest,
    /// Seed that the cases are drawn from.
    pub seed: u64,
    /// Whether fewer cases are tried.
    pub quick: bool,
}

type Made<'a> = Box<dyn Component + 'a>;

impl<'a> Trial<'a> {
    /// A new instance on the CPU.
    fn make(&self) -> Result<Made<'a>, Fault> {
        self.subject.make(&self.options(), 0)
    }

    /// No option, or the first example of each option where it cannot be made without.
    fn options(&self) -> Map<String, Value> {
        let none = Map::new();
        if self.subject.make(&none, 0).is_ok() {
            return none;
        }
        let example = |(name, schema): (&String, &Value)| {
            let first = schema.get("examples")?.as_array()?.first()?;
            Some((name.clone(), first.clone()))
        };
        options::properties(self.component)
            .filter_map(example)
            .collect()
    }

    fn is(&self, kind: ComponentKind) -> bool {
        self.component.kind == kind
    }

    /// What it is called on: all networks and weights, or some of them.
    fn courses(&self) -> Vec<Course> {
        let values: &[Values] = match self.quick {
            true => &[Values::Normal, Values::Ties],
            false => &Values::ALL,
        };
        let pairs = NETWORKS
            .iter()
            .flat_map(|network| values.iter().map(move |it| (network, *it)));
        pairs
            .flat_map(|(network, values)| Course::of(network, values))
            .collect()
    }

    /// A course for this component.
    fn walk(&self, course: &Course, cadence: Option<&Cadence>, seed: u64) -> Walk {
        Walk::new(course, self.component.kind, cadence, seed)
    }
}

/// Whether a component may go back to a point: it declared it, or it is there anyway.
fn is_there(point: &Point, declared: &[Point]) -> bool {
    declared.contains(point) || !matches!(point, Point::Step(_) | Point::Run { .. })
}
