//! Scorers that take the process down, or keep it forever, at level 1: but only where the environment
//! variable `MISBEHAVE` names them, so that a run they ended can go on without.

use std::hint::black_box;
use std::process;
use std::time::Duration;

use plugin_api::schemars::{self, JsonSchema};
use plugin_api::{Result, ScoreContext, Scorer, Tensor};
use serde::Deserialize;

macro_rules! ends {
    ($($(#[$doc:meta])* $name:ident = $component:literal, $end:expr;)*) => { $(
        $(#[$doc])*
        #[derive(Default, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        pub struct $name {}

        impl Scorer for $name {
            fn score(&mut self, ctx: &mut ScoreContext<'_>) -> Result<Vec<Tensor>> {
                let named = std::env::var("MISBEHAVE").is_ok_and(|name| name == $component);
                if named && ctx.level() > 0 {
                    $end
                }
                Ok(ctx.weights()?.iter().map(Tensor::abs).collect())
            }
        }
    )* };
}

ends! {
    /// Aborts.
    Aborts = "aborts", process::abort();

    /// Exits, and says that everything was done.
    Exits = "exits", process::exit(0);

    /// Reads where nothing is.
    ReadsNowhere = "reads-nowhere", {
        // SAFETY: there is none.
        #[allow(unsafe_code)]
        unsafe { black_box(std::ptr::without_provenance::<u64>(8).read_volatile()) };
    };

    /// Calls itself without end.
    OverflowsItsStack = "overflows-its-stack", { black_box(deeper(1)); };

    /// Waits for what does not come.
    NeverReturns = "never-returns", {
        tell();
        loop {
            std::thread::sleep(Duration::from_secs(1));
        }
    };

    /// Keeps ever more memory.
    AllocatesWithoutEnd = "allocates-without-end", {
        let mut kept = Vec::new();
        loop {
            kept.push(vec![1u8; 16 << 20]);
            black_box(&kept);
        }
    };
}

/// Makes the file that the environment variable `MISBEHAVE_CALLED` names, for who waits until the call is
/// under way.
fn tell() {
    if let Some(file) = std::env::var_os("MISBEHAVE_CALLED") {
        let _ = std::fs::write(file, "");
    }
}

#[allow(unconditional_recursion)]
fn deeper(depth: u64) -> u64 {
    let room = black_box([depth; 128]);
    deeper(black_box(depth + 1)) + room[usize::try_from(depth % 128).unwrap_or(0)]
}
