//! Scorers that break a rule.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use plugin_api::abi::{Op, Service};
use plugin_api::schemars::{self, JsonSchema};
use plugin_api::{DType, Error, Point, Result, ScoreContext, Scorer, Tensor};
use serde::Deserialize;

use crate::{own, with_element, with_first};

/// One scorer for each name: what `score` does, and other methods behind it.
macro_rules! scorers {
    ($($(#[$doc:meta])* $name:ident = |$ctx:ident| $score:expr $(, { $($more:item)* })?;)*) => { $(
        $(#[$doc])*
        #[derive(Default, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        pub struct $name {}

        impl Scorer for $name {
            fn score(&mut self, $ctx: &mut ScoreContext<'_>) -> Result<Vec<Tensor>> {
                $score
            }

            $($($more)*)?
        }
    )* };
}

scorers! {
    /// Panics in `score`.
    Panics = |_ctx| panic!("no score today");

    /// Panics in `validate`, which the constructor calls.
    PanicsInConstructor = |ctx| magnitudes(ctx), {
        fn validate(&self) -> Result<()> {
            panic!("no options today")
        }
    };

    /// Scores properly; its state cannot be saved.
    PanicsInSaveState = |ctx| magnitudes(ctx), {
        fn save_state(&self) -> Result<Vec<u8>> {
            panic!("no state today")
        }
    };

    /// Scores properly; does not take the state that it saved.
    RefusesItsState = |ctx| magnitudes(ctx), {
        fn save_state(&self) -> Result<Vec<u8>> {
            Ok(vec![1, 2, 3])
        }

        fn load_state(&mut self, state: &[u8]) -> Result<()> {
            Err(Error::new(format!("the state of {} bytes is not mine", state.len())))
        }
    };

    /// Scores properly; panics when it is asked for its points.
    PanicsInPoints = |ctx| magnitudes(ctx), {
        fn points(&self) -> Vec<Point> {
            panic!("no points today")
        }
    };

    /// Scores properly; panics when it is given its state.
    PanicsInLoadState = |ctx| magnitudes(ctx), {
        fn save_state(&self) -> Result<Vec<u8>> {
            Ok(vec![1])
        }

        fn load_state(&mut self, _state: &[u8]) -> Result<()> {
            panic!("no memory today")
        }
    };

    /// Writes to the weights that it is lent.
    ChangesItsInputs = |ctx| {
        let weights = ctx.weights()?;
        if let Some(elements) = weights[0].as_slice() {
            // SAFETY: there is none.
            #[allow(unsafe_code)]
            unsafe { elements.as_ptr().cast_mut().write_volatile(elements[0] + 1.0) };
        }
        magnitudes(ctx)
    };

    /// Refuses all options.
    BadOptions = |ctx| magnitudes(ctx), {
        fn validate(&self) -> Result<()> {
            Err(Error::new("these options contradict each other"))
        }
    };

    /// Gives an error.
    Fails = |_ctx| Err(Error::new("the scores are missing"));

    /// Gives one tensor too few.
    WrongCount = |ctx| {
        let mut scores = magnitudes(ctx)?;
        scores.pop();
        Ok(scores)
    };

    /// Flattens the first tensor.
    WrongShape = |ctx| Ok(with_first(magnitudes(ctx)?, Tensor::flatten));

    /// Gives 64-bit floats.
    WrongDtypeF64 = |ctx| Ok(with_first(magnitudes(ctx)?, |score| score.to_dtype(DType::F64)));

    /// Gives whole numbers.
    WrongDtypeI64 = |ctx| Ok(with_first(magnitudes(ctx)?, |score| score.to_dtype(DType::I64)));

    /// Gives a NaN.
    Nan = |ctx| {
        let scores = magnitudes(ctx)?;
        with_element(ctx, scores, f32::NAN)
    };

    /// Gives an infinite score.
    Infinite = |ctx| {
        let scores = magnitudes(ctx)?;
        with_element(ctx, scores, f32::INFINITY)
    };

    /// Gives a tensor that the host did not make.
    OwnHandle = |ctx| Ok(with_first(magnitudes(ctx)?, |score| own::tensor(score.shape())));

    /// Multiplies by a tensor that the host did not make.
    OwnOperand = |ctx| Ok(with_first(magnitudes(ctx)?, |score| score * own::tensor(score.shape())));

    /// Multiplies matrices of which none fits.
    ShapesThatDoNotFit = |ctx| Ok(with_first(magnitudes(ctx)?, |score| {
        let odd = score.flatten().reshape(&[1, -1]);
        odd.matmul(&odd)
    }));

    /// Asks for what only a later host has, and says whether it was told so.
    UnknownCodes = |ctx| {
        let weights = ctx.weights()?;
        let operation = weights[0].try_apply(Op(9_999), &[], &[], &[]);
        let service = ctx.try_query::<u64>(Service(9_999), &());
        let unsupported = |error: Option<Error>| error.is_some_and(|error| error.is_unsupported());
        Err(Error::new(format!(
            "unsupported: operation {}, service {}",
            unsupported(operation.err()),
            unsupported(service.err())
        )))
    };
}

fn magnitudes(ctx: &mut ScoreContext<'_>) -> Result<Vec<Tensor>> {
    Ok(ctx.weights()?.iter().map(Tensor::abs).collect())
}

/// Gives the scores of the first instance that was called.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct KeepsATensor {
    #[serde(skip)]
    number: u64,
}

static KEPT: Mutex<Option<(u64, Vec<Tensor>)>> = Mutex::new(None);

impl Default for KeepsATensor {
    fn default() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        Self {
            number: NUMBER.fetch_add(1, Ordering::Relaxed),
        }
    }
}

impl Scorer for KeepsATensor {
    fn score(&mut self, ctx: &mut ScoreContext<'_>) -> Result<Vec<Tensor>> {
        let own = magnitudes(ctx)?;
        let mut kept = KEPT.lock().map_err(|_| Error::new("poisoned"))?;
        match kept.as_ref() {
            Some((number, scores)) if *number != self.number => Ok(scores.clone()),
            _ => {
                *kept = Some((self.number, own.clone()));
                Ok(own)
            }
        }
    }
}

/// Scores properly; once it has, its `Drop` panics. (Describing it makes and drops one, too.)
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PanicsInDrop {
    #[serde(skip)]
    scored: bool,
}

impl Scorer for PanicsInDrop {
    fn score(&mut self, ctx: &mut ScoreContext<'_>) -> Result<Vec<Tensor>> {
        self.scored = true;
        magnitudes(ctx)
    }
}

impl Drop for PanicsInDrop {
    fn drop(&mut self) {
        assert!(!self.scored, "no end today");
    }
}
