//! The four traits that a plugin's author implements.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::{
    Acts, Around, Cadence, Experiment, Finding, MaskContext, Parameters, Point, Result,
    RewindContext, RewindPlan, ScoreContext, Tensor, UnitRule, UpdateContext, Updated,
};

/// A component's struct is its options: the fields that serde reads are what the experiment file
/// may set, and `JsonSchema` describes them. State lives in fields marked `#[serde(skip)]`.
///
/// Implemented for every type that fits; never implement it yourself.
pub trait Options: Default + DeserializeOwned + JsonSchema + Send + 'static {}

impl<T: Default + DeserializeOwned + JsonSchema + Send + 'static> Options for T {}

/// The methods that every kind of component has, with defaults for the stateless.
macro_rules! component_trait {
    ($(#[$doc:meta])* $name:ident { $($own:tt)* }) => {
        component_trait! { @ $(#[$doc])* $name {
            $($own)*

            /// What it needs to go on, bit for bit, after a restart.
            ///
            /// # Errors
            /// If the state cannot be saved.
            fn save_state(&self) -> Result<Vec<u8>> {
                Ok(Vec::new())
            }

            /// Goes on from what [`save_state`](Self::save_state) gave.
            ///
            /// # Errors
            /// If the bytes are not a state of this component.
            fn load_state(&mut self, state: &[u8]) -> Result<()> {
                if state.is_empty() {
                    Ok(())
                } else {
                    Err(crate::Error::new(format!(
                        "a stored state of {} bytes was given to a component that stores none",
                        state.len()
                    )))
                }
            }
        } }
    };
    (@ $(#[$doc:meta])* $name:ident { $($own:tt)* }) => {
        $(#[$doc])*
        pub trait $name: Options {
            $($own)*

            /// Checks the options beyond what their schema says; called once, before anything trains.
            ///
            /// # Errors
            /// What is wrong with which option, and what was expected.
            fn validate(&self) -> Result<()> {
                Ok(())
            }

            /// What it has against an experiment that it is part of; asked before anything trains, by
            /// hosts from plugin-api 1.1 on. Nothing is against it by default.
            fn review(&self, _experiment: &Experiment) -> Vec<Finding> {
                Vec::new()
            }

            /// The schema of its options where they follow from one of them, such as a
            /// [`Script`](crate::Script); asked of a component that was made with the options of its own type,
            /// by hosts from plugin-api 1.1 on. None, if they are those of the type.
            fn options(&self) -> Option<schemars::Schema> {
                None
            }

            /// The stored points that it will ask for, so that the host stores them.
            fn points(&self) -> Vec<Point> {
                Vec::new()
            }
        }
    };
}

component_trait! {
    /// Says which weights matter.
    Scorer {
        /// One tensor for each prunable layer, with the layer's shape, f32; higher is kept.
        ///
        /// # Errors
        /// Shown to the user behind the names of plugin and component.
        fn score(&mut self, ctx: &mut ScoreContext<'_>) -> Result<Vec<Tensor>>;
    }
}

component_trait! {
    /// Says which weights survive, and which grow back.
    MaskUpdate {
        /// When it is called.
        fn cadence(&self) -> Cadence {
            Cadence::between_levels()
        }

        /// The rule by which its masks keep whole units; none, if they keep single weights. Asked once, by hosts
        /// from plugin-api 1.1 on.
        ///
        /// With a rule the masks are those that [`select_units`](crate::Context::select_units) gives for the
        /// round's scores, between levels and before training; within a level there is no such call.
        fn unit_rule(&self) -> Option<UnitRule> {
            None
        }

        /// One tensor for each prunable layer, with the layer's shape, f32: 1 is kept, 0 is pruned.
        ///
        /// | [`phase`](crate::Context::phase) | ones in all layers together | may pruned weights come back? |
        /// |---|---|---|
        /// | before training | exactly the [`target`](crate::Context::target) of the round | no |
        /// | between levels | exactly the target | no |
        /// | within a level, also called in one of the others | exactly the target | yes |
        /// | within a level only | at most as many as before and at least the target, at the [last call](crate::Interval::last_call) exactly the target | yes |
        ///
        /// # Errors
        /// Shown to the user behind the names of plugin and component.
        fn update(&mut self, ctx: &mut MaskContext<'_>) -> Result<Vec<Tensor>>;
    }
}

component_trait! {
    /// Says what is reset before training goes on.
    Rewind {
        /// What is reset; what it does not name stays as the policy before left it.
        ///
        /// # Errors
        /// Shown to the user behind the names of plugin and component.
        fn rewind(&mut self, ctx: &mut RewindContext<'_>) -> Result<RewindPlan>;
    }
}

component_trait! {
    @
    /// Says what becomes of the prunable weights at a step; from plugin-api 1.1 on.
    ///
    /// It has no state but the tensors that it [names](Update::states), which the host keeps as it keeps the
    /// optimizer's: in checkpoints, zero where a weight is pruned, cleared and rewound by the same plans. Nothing
    /// else may pass from one step to the next, since a run can be stopped and resumed between any two.
    Update {
        /// When in a step it acts.
        fn acts(&self) -> Acts {
            Acts::After
        }

        /// Whether what it does is the same tensor operations at every step of a level, of nothing but weights,
        /// gradients, masks, states and [numbers of the step](crate::StepNumber): the host then asks for them at the first
        /// two steps of a level and the first of each epoch, and replays them in between, in one pass and with the same
        /// bits, where each is elementwise. An update that says so and draws random numbers, reads elements or does
        /// otherwise at another step is refused.
        fn is_pure(&self) -> bool {
            false
        }

        /// Names of its states, each of which holds one tensor for each prunable layer, of the layer's shape: 0 at
        /// first, whenever the optimizer's state is cleared, and where a weight grows.
        fn states(&self) -> Vec<&'static str> {
            Vec::new()
        }

        /// The weights after this step (the gradients, if it acts before the optimizer), and its states. Where a
        /// weight is pruned the weight and the states are 0.
        ///
        /// # Errors
        /// Shown to the user behind the names of plugin and component.
        fn update(&mut self, ctx: &mut UpdateContext<'_>) -> Result<Updated>;

        /// Which parameters it replaces for the forward and backward pass of a step; none by default.
        fn around(&self) -> Around {
            Around::default()
        }

        /// The parameters for the forward and backward pass of this step.
        ///
        /// # Errors
        /// Shown to the user behind the names of plugin and component.
        fn replace(&mut self, _ctx: &mut UpdateContext<'_>) -> Result<Parameters> {
            Ok(Parameters::default())
        }

        /// The gradients of the parameters themselves, given those at what replaced them; the same by default.
        ///
        /// # Errors
        /// Shown to the user behind the names of plugin and component.
        fn give_back(&mut self, _ctx: &mut UpdateContext<'_>, gradients: Parameters) -> Result<Parameters> {
            Ok(gradients)
        }
    }
}
