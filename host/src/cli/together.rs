//! `--seeds-together auto`: as many seeds of a network without lanes side by side as raise what they do together.

use std::time::Duration;

use super::estimate::{Measured, TIMED, WARM_UP, start, time};
use super::room::Room;
use super::sweep::WORTH;
use crate::trainer::{TrainError, Trainer};

/// So long one number of seeds is timed at most.
const MOST: Duration = Duration::from_secs(10);

/// How many of `seeds` train side by side best, by the steps of so many that they make in a second: twice as many are
/// tried as long as that raises it and there is memory for them.
///
/// # Errors
/// If a step fails.
pub fn measure(trainer: &mut Trainer, seeds: &[u64]) -> Result<usize, TrainError> {
    trainer.set_seeds_together(seeds.len());
    let most = trainer.seeds_together().min(seeds.len());
    // A level that ends before it is timed is not worth it.
    if most < 2 || trainer.lanes() || trainer.steps_per_level() <= (TIMED + WARM_UP) as u64 {
        return Ok(1);
    }
    let room = Room::now(&[trainer.device()]);
    let rate = |count: usize| -> Result<f64, TrainError> {
        let starts = seeds[..count].iter().map(|&seed| {
            let point = trainer.initial(seed);
            start(trainer, seed, &point)
        });
        let Measured { seconds, .. } = time(trainer, starts.collect(), TIMED, MOST)?;
        Ok(count as f64 / seconds.max(f64::MIN_POSITIVE))
    };
    let (mut best, mut before) = (1, rate(1)?);
    while best < most && room.has_more(best) {
        let more = (2 * best).min(most);
        let with_more = rate(more)?;
        if with_more < WORTH * before {
            break;
        }
        (best, before) = (more, with_more);
    }
    Ok(best)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::trainer::testing::{conv_trainer, mlp_trainer};

    #[test]
    fn what_one_session_may_have_is_never_passed() {
        for (mut trainer, seeds, most) in [
            (conv_trainer(json!({"epochs": 40})), vec![1, 2, 3], 3),
            (conv_trainer(json!({"epochs": 40})), vec![1], 1),
            (conv_trainer(json!({"epochs": 1})), vec![1, 2], 1),
            (
                conv_trainer(json!({"epochs": 40, "shards": 2})),
                vec![1, 2],
                1,
            ),
            (mlp_trainer(json!({"epochs": 40})), vec![1, 2], 1),
        ] {
            let found = measure(&mut trainer, &seeds).unwrap();
            assert!((1..=most).contains(&found), "{found} of {seeds:?}");
        }
    }
}
