//! Stopping and going on.

use super::Trial;
use crate::report::Verdict;
use crate::subject::Fault;

pub fn state(trial: &Trial<'_>) -> Result<Verdict, Fault> {
    let mut largest = 0;
    for course in trial.courses() {
        let mut component = trial.make()?;
        let cadence = component.cadence()?;
        let mut walk = trial.walk(&course, cadence.as_ref(), trial.seed);
        // A run may be stopped after any call: each time somebody else goes on for two calls.
        loop {
            let state = component.save_state()?;
            largest = largest.max(state.len());
            let case = format!("{}: saved after {}", course.describe(), walk.place());
            let broken = |got: &str, expected: &str| Ok(Verdict::broken(case, got, expected));
            if component.save_state()? != state {
                return broken(
                    "two different states",
                    "the same state when it is saved twice",
                );
            }
            let mut resumed = trial.make()?;
            if !state.is_empty() {
                resumed.load_state(&state)?;
            }
            if resumed.save_state()? != state {
                return broken(
                    "another state after loading it",
                    "the state that was loaded",
                );
            }
            let mut again = walk.clone();
            let (Some(Ok(expected)), Some(Ok(got))) =
                (walk.next(component.as_mut()), again.next(resumed.as_mut()))
            else {
                break;
            };
            if got.bits() != expected.bits() {
                return broken(
                    "other numbers than the instance that was not stopped",
                    "the same bits: everything that a later call depends on is in the state",
                );
            }
        }
    }
    Ok(Verdict::Kept {
        note: (largest > 0).then(|| format!("at most {largest} bytes")),
    })
}

pub fn foreign(trial: &Trial<'_>) -> Result<Verdict, Fault> {
    let own = trial.make()?.save_state()?;
    let cut = own.len() / 2;
    for state in [
        vec![0xff; 7],
        b"{}".to_vec(),
        own[..cut].to_vec(),
        [own, vec![0]].concat(),
    ] {
        if let Err(Fault::Broke(text)) = trial.make()?.load_state(&state) {
            let case = format!("a state of {} bytes: {state:?}", state.len());
            return Ok(Verdict::broken(case, text, "an error, or no matter"));
        }
    }
    Ok(Verdict::KEPT)
}
