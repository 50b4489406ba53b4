//! Strategies in Python: a score, a mask update or a rewind policy is a function in a user's file.
//!
//! The file runs in a process of its own, with an interpreter that the user chooses, so that no mistake in it reaches
//! the host. `child` starts the process and watches its end, `channel` passes messages, `memory` the arrays, which lie
//! in memory that both processes have; `answer` hands on what a function asks of the host. The other side is the
//! package `rewind.strategy`, which is part of this library: whatever is installed for the interpreter, a file is run
//! by the code that this library's digest covers.

mod answer;
mod channel;
mod child;
mod file;
mod interpreter;
mod memory;
mod plan;
mod words;

use plugin_api::abi::wire::ComponentKind;
use plugin_api::schemars::{self, JsonSchema, Schema};
use plugin_api::{
    Cadence, MaskContext, MaskUpdate, Point, Result, Rewind, RewindContext, RewindPlan,
    ScoreContext, Scorer, Tensor, UnitRule, export_plugin,
};
use serde::Deserialize;

use file::File;

/// Scores by the function of a file that `@rs.score` marks. Its arguments are further options.
#[derive(Default, Deserialize, JsonSchema)]
struct Score {
    #[serde(flatten)]
    file: File,
}

/// Keeps what the function of a file says that `@rs.mask` marks. Its arguments are further options.
#[derive(Default, Deserialize, JsonSchema)]
struct Mask {
    #[serde(flatten)]
    file: File,
}

/// Resets what the function of a file says that `@rs.rewind` marks. Its arguments are further options.
#[derive(Default, Deserialize, JsonSchema)]
struct Policy {
    #[serde(flatten)]
    file: File,
}

/// The methods that do the same for every kind.
macro_rules! of_a_file {
    ($kind:expr) => {
        fn validate(&self) -> Result<()> {
            self.file.start($kind)
        }

        fn options(&self) -> Option<Schema> {
            Some(self.file.schema(&schemars::schema_for!(Self)))
        }

        fn points(&self) -> Vec<Point> {
            self.file.made().points.clone()
        }

        fn save_state(&self) -> Result<Vec<u8>> {
            self.file.save_state()
        }

        fn load_state(&mut self, state: &[u8]) -> Result<()> {
            self.file.load_state(state)
        }
    };
}

impl Scorer for Score {
    fn score(&mut self, ctx: &mut ScoreContext<'_>) -> Result<Vec<Tensor>> {
        Ok(self.file.call(ctx)?.tensors)
    }

    of_a_file!(ComponentKind::Score);
}

impl MaskUpdate for Mask {
    fn cadence(&self) -> Cadence {
        self.file.made().cadence.clone()
    }

    fn unit_rule(&self) -> Option<UnitRule> {
        self.file.made().unit_rule
    }

    fn update(&mut self, ctx: &mut MaskContext<'_>) -> Result<Vec<Tensor>> {
        Ok(self.file.call(ctx)?.tensors)
    }

    of_a_file!(ComponentKind::Mask);
}

impl Rewind for Policy {
    fn rewind(&mut self, ctx: &mut RewindContext<'_>) -> Result<RewindPlan> {
        let layers = ctx.layers().len();
        plan::read(self.file.call(ctx)?, layers)
    }

    of_a_file!(ComponentKind::Rewind);
}

export_plugin! {
    score { "score" => Score }
    mask { "mask" => Mask }
    rewind { "rewind" => Policy }
}
