//! What many runs come to.

use super::{Standing, State};

/// All cells together.
pub struct Total {
    /// How many are in each state, in the order of [`State::ALL`].
    pub states: [usize; State::ALL.len()],
    /// Finished levels.
    pub levels_done: u64,
    /// Levels that there are to be, as far as that is known.
    pub levels: u64,
    /// Seconds until all is done, if as many run as do now.
    pub seconds: Option<f64>,
}

impl Total {
    /// What these come to.
    pub fn of(cells: &[Standing]) -> Self {
        let count = |state: &State| cells.iter().filter(|it| it.state == *state).count();
        let running = count(&State::Running).max(1) as f64;
        let left: Option<Vec<f64>> = cells.iter().map(|cell| cell.seconds_left).collect();
        // The longest one decides at the end.
        let seconds = left.map(|left| {
            let longest = left.iter().copied().fold(0.0, f64::max);
            longest.max(left.iter().sum::<f64>() / running)
        });
        Self {
            states: State::ALL.each_ref().map(count),
            levels_done: cells.iter().map(|it| it.levels_done).sum(),
            levels: cells
                .iter()
                .map(|it| it.levels.unwrap_or(it.levels_done))
                .sum(),
            seconds,
        }
    }
}
