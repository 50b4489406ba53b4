//! Memory, time, devices, and the end.

use plugin_api::abi::wire::ComponentKind;

use super::Trial;
use crate::cases::{LARGE, MIDDLING, NETWORKS, Values};
use crate::report::Verdict;
use crate::subject::Fault;
use crate::walk::Course;

/// Calls after which nothing may be left behind, and how many go before them.
const CALLS: u64 = 1000;
const WARM_UP: u64 = 100;
/// What the allocators of host and plugin may keep for themselves.
const TOLERANCE: u64 = 8 << 20;

/// The shares that a component on trial is asked to keep: one of them fits an N:M mask, too.
fn half(network: &'static crate::cases::Network, calls: usize) -> Course {
    let size: u64 = network.layers().iter().map(plugin_api::Layer::len).sum();
    Course {
        network,
        values: Values::Normal,
        name: "half of them",
        targets: vec![size / 2; calls],
    }
}

pub fn dropped(trial: &Trial<'_>) -> Result<Verdict, Fault> {
    let mut other = trial.make()?;
    other.take_drop_panic();
    let mut component = trial.make()?;
    let cadence = component.cadence()?;
    let mut walk = trial.walk(&half(&NETWORKS[1], 1), cadence.as_ref(), trial.seed);
    walk.next(component.as_mut());
    drop(component);
    Ok(match other.take_drop_panic() {
        None => Verdict::KEPT,
        Some(text) => Verdict::broken("dropped after a call", text, "no panic"),
    })
}

pub fn devices(trial: &Trial<'_>) -> Result<Verdict, Fault> {
    let devices = trial.subject.devices();
    if !trial.is(ComponentKind::Mask) {
        return Ok(Verdict::Skipped {
            why: "for masks only: other numbers may be rounded otherwise".to_owned(),
        });
    }
    let others = devices.get(1..).unwrap_or_default();
    if others.is_empty() {
        return Ok(Verdict::Skipped {
            why: "there is no CUDA device here".to_owned(),
        });
    }
    let options = trial.options();
    for course in trial.courses() {
        let answers = |device: usize| {
            let mut component = trial.subject.make(&options, device)?;
            let cadence = component.cadence()?;
            let mut walk = trial.walk(&course, cadence.as_ref(), trial.seed);
            let mut all = Vec::new();
            while let Some(Ok(answer)) = walk.next(component.as_mut()) {
                all.push(answer);
            }
            Ok(all)
        };
        let expected = answers(0)?;
        for (index, name) in others.iter().enumerate() {
            if answers(index + 1)? != expected {
                let got = format!("{name} gives other masks than {}", devices[0]);
                return Ok(Verdict::broken(course.describe(), got, "the same masks"));
            }
        }
    }
    Ok(Verdict::Kept {
        note: Some(devices.join(", ")),
    })
}

pub fn large_layer(trial: &Trial<'_>) -> Result<Verdict, Fault> {
    let course = half(&LARGE, 1);
    let mut component = trial.make()?;
    let cadence = component.cadence()?;
    let mut walk = trial.walk(&course, cadence.as_ref(), trial.seed);
    let mut calls = 0;
    while let Some(answer) = walk.next(component.as_mut()) {
        calls += 1;
        if let Err(Fault::Broke(text)) = answer {
            let case = format!("{}: {}", course.describe(), walk.place());
            return Ok(Verdict::broken(case, text, "as with few weights"));
        }
        // Rounds before training and calls within a level repeat what one shows.
        if calls == 2 {
            break;
        }
    }
    let millions = 10.0 * f64::from(calls.max(1));
    let milliseconds = component.time_called().as_secs_f64() * 1e3 / millions;
    Ok(Verdict::Kept {
        note: Some(format!(
            "{milliseconds:.1} ms a call for a million weights, with the host's checks"
        )),
    })
}

pub fn memory(trial: &Trial<'_>) -> Result<Verdict, Fault> {
    let resident = || trial.subject.resident();
    if resident().is_none() {
        return Ok(Verdict::Skipped {
            why: "this system does not say how much memory a process holds".to_owned(),
        });
    }
    let mut component = trial.make()?;
    let cadence = component.cadence()?;
    let (mut calls, mut before) = (0, None);
    while calls < WARM_UP + CALLS {
        let mut walk = trial.walk(&half(&MIDDLING, 50), cadence.as_ref(), trial.seed);
        let start = calls;
        while calls < WARM_UP + CALLS
            && let Some(Ok(_)) = walk.next(component.as_mut())
        {
            calls += 1;
            if calls == WARM_UP {
                before = resident();
            }
        }
        if calls == start {
            return Ok(Verdict::Skipped {
                why: "it refuses this network".to_owned(),
            });
        }
    }
    let grown = resident()
        .unwrap_or_default()
        .saturating_sub(before.unwrap_or_default());
    if grown > TOLERANCE {
        return Ok(Verdict::broken(
            format!("{CALLS} calls on {}", MIDDLING.name),
            format!(
                "{:.1} MiB more than before",
                grown as f64 / (1 << 20) as f64
            ),
            format!("at most {} MiB, which allocators keep", TOLERANCE >> 20),
        ));
    }
    Ok(Verdict::KEPT)
}
