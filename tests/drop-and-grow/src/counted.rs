//! A score that depends on how often it was asked for, so that a state that is not its own is seen in
//! the masks.

use plugin_api::schemars::{self, JsonSchema};
use plugin_api::{Error, Result, ScoreContext, Scorer, Tensor};
use serde::Deserialize;

/// Scores a weight w by |w| where its number of calls is even, and by -|w| where it is odd.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Counted {
    /// Number of the first call.
    first: u64,
    #[serde(skip)]
    calls: u64,
}

impl Scorer for Counted {
    fn score(&mut self, ctx: &mut ScoreContext<'_>) -> Result<Vec<Tensor>> {
        let number = self.first.wrapping_add(self.calls);
        self.calls += 1;
        let sign = if number.is_multiple_of(2) { 1.0 } else { -1.0 };
        Ok(ctx.weights()?.iter().map(|it| it.abs() * sign).collect())
    }

    fn save_state(&self) -> Result<Vec<u8>> {
        Ok(self.first.wrapping_add(self.calls).to_le_bytes().into())
    }

    fn load_state(&mut self, state: &[u8]) -> Result<()> {
        let number = state
            .try_into()
            .map_err(|_| Error::new(format!("the state has {} bytes, expected 8", state.len())))?;
        self.calls = u64::from_le_bytes(number).wrapping_sub(self.first);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_state_is_the_number_of_the_next_call_whoever_began() {
        let mut counted = Counted { first: 3, calls: 2 };
        assert_eq!(counted.save_state().unwrap(), 5u64.to_le_bytes());
        // Any eight bytes are a state: what is not its own is taken without a word.
        let mut other = Counted::default();
        other.load_state(&counted.save_state().unwrap()).unwrap();
        assert_eq!(other.save_state().unwrap(), 5u64.to_le_bytes());
        assert!(counted.load_state(b"{}").is_err());
    }
}
