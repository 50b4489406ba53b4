//! Ways to compute a model, timed in turn.

use std::time::{Duration, Instant};

use tch::{Kind, Tensor};

use super::Timed;
use super::ways::Way;
use crate::records::{Latency, Variant};

/// Passes before the first that is timed.
const WARM_UP: usize = 3;
/// Passes that are timed at least, and at most.
const PASSES: [usize; 2] = [5, 2000];
/// A way that has taken so many times the time that was asked for is timed no more, however few its passes: some take
/// a hundred times as long as others.
const ENOUGH: u32 = 3;

/// Times passes of all that can be computed on one batch, for about so long each.
pub fn time_in_turn(all: &mut [Timed<'_>], input: &Tensor, time: Duration) -> Vec<Latency> {
    let mut first = Vec::new();
    let outputs: Vec<Result<Tensor, String>> = (all.iter_mut())
        .map(|timed| {
            let before = Instant::now();
            let outputs = match &mut timed.way {
                Ok(way) => way.give(input).and_then(|()| way.outputs()),
                Err(reason) => Err(reason.clone()),
            };
            first.push(before.elapsed());
            outputs
        })
        .collect();
    let mut works: Vec<(usize, &mut dyn Way)> = (all.iter_mut().zip(&outputs).enumerate())
        .filter(|(_, (_, output))| output.is_ok())
        .filter_map(|(place, (timed, _))| Some((place, &mut **timed.way.as_mut().ok()?)))
        .map(|(place, way)| (place, way as &mut dyn Way))
        .collect();
    for _ in 0..WARM_UP {
        let quick = works.iter_mut().filter(|(place, _)| first[*place] < time);
        for (_, way) in quick {
            let _ = way.milliseconds();
        }
    }
    let mut times: Vec<Vec<f64>> = vec![Vec::new(); outputs.len()];
    let (start, together) = (Instant::now(), time * works.len() as u32);
    let enough = (time * ENOUGH).as_secs_f64() * 1e3;
    for pass in 0..PASSES[1] {
        if pass >= PASSES[0] && start.elapsed() > together {
            break;
        }
        // In turn, so that whatever else the machine does falls on all of them.
        for (place, way) in &mut works {
            let own = &mut times[*place];
            if own.iter().sum::<f64>() < enough {
                // What ended meanwhile was as long as any time can be.
                own.push(way.milliseconds().unwrap_or(f64::INFINITY));
            }
        }
    }
    let dense = outputs.first().and_then(|it| it.as_ref().ok());
    let of = |variant: Variant| {
        let place = all.iter().position(|it| it.variant == variant);
        place.map(|place| times[place].clone()).unwrap_or_default()
    };
    let (in_full, in_onnx) = (of(Variant::Dense), of(Variant::Onnx));
    let shares = |times: &[f64], base: &[f64]| {
        let pairs = times.iter().zip(base);
        quartiles(&mut pairs.map(|(it, base)| it / base).collect::<Vec<_>>())
    };
    (all.iter().zip(outputs.iter().zip(&times)))
        .map(|(timed, (output, times))| {
            let quartiles_ms = quartiles(&mut times.clone());
            let ended = (!times.is_empty() && quartiles_ms.is_none())
                .then(|| "it ended while it was timed".to_owned());
            Latency {
                variant: timed.variant,
                batch: input.size()[0],
                bytes: timed.bytes,
                passes: times.len(),
                of_dense: shares(times, &in_full),
                of_onnx: shares(times, &in_onnx),
                quartiles_ms,
                difference: (output.as_ref().ok().zip(dense))
                    .map(|(it, dense)| difference(it, dense)),
                accuracy: None,
                unavailable: output.as_ref().err().cloned().or(ended),
            }
        })
        .collect()
}

fn difference(got: &Tensor, expected: &Tensor) -> f64 {
    let most = |it: Tensor| it.abs().max().to_kind(Kind::Double).double_value(&[]);
    most(got - expected) / most(expected.shallow_clone()).max(f64::MIN_POSITIVE)
}

/// Quartiles, between the two nearest times in proportion; none of nothing, or if one is no time.
fn quartiles(times: &mut [f64]) -> Option<[f64; 3]> {
    times.sort_by(f64::total_cmp);
    let last = times.len().checked_sub(1)?;
    let quartiles = [0.25, 0.5, 0.75].map(|share| {
        let place = share * last as f64;
        let below = place.floor() as usize;
        let above = (below + 1).min(last);
        times[below] + (times[above] - times[below]) * (place - below as f64)
    });
    quartiles
        .iter()
        .all(|it| it.is_finite())
        .then_some(quartiles)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_lie_between_the_times() {
        assert_eq!(quartiles(&mut []), None);
        assert_eq!(quartiles(&mut [2.0]), Some([2.0; 3]));
        assert_eq!(
            quartiles(&mut [4.0, 1.0, 2.0, 3.0, 5.0]),
            Some([2.0, 3.0, 4.0])
        );
        assert_eq!(quartiles(&mut [1.0, 2.0]), Some([1.25, 1.5, 1.75]));
        assert_eq!(quartiles(&mut [1.0, 2.0, f64::INFINITY]), None);
    }
}
