//! Axes: where a value lies, and which values are labelled.

use std::ops::Range;

use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint};
use plotters::prelude::Ranged;

/// How values are spread over an axis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scale {
    /// Evenly.
    #[default]
    Linear,
    /// By their logarithm.
    Log,
    /// By their logarithm, from large to small: densities, from dense to sparse.
    LogDown,
}

/// One axis of a chart.
#[derive(Clone, Debug, Default)]
pub struct Axis {
    /// What it shows, with its unit.
    pub label: String,
    /// How.
    pub scale: Scale,
    /// Values that must be on it.
    pub holds: Vec<f64>,
}

impl Axis {
    /// An even axis.
    pub fn linear(label: impl Into<String>) -> Self {
        Self {
            label: label.into(),
            ..Self::default()
        }
    }

    /// A logarithmic axis.
    pub fn log(label: impl Into<String>) -> Self {
        Self {
            scale: Scale::Log,
            ..Self::linear(label)
        }
    }

    /// Densities, from dense to sparse.
    pub fn density() -> Self {
        Self {
            scale: Scale::LogDown,
            ..Self::linear("density (share of weights that are left)")
        }
    }

    /// With a value that must be on it.
    pub fn holding(mut self, value: f64) -> Self {
        self.holds.push(value);
        self
    }

    /// Where a value lies; none if it has no place.
    pub(super) fn place(&self, value: f64) -> Option<f64> {
        let place = match self.scale {
            Scale::Linear => value,
            Scale::Log => value.log10(),
            Scale::LogDown => -value.log10(),
        };
        place.is_finite().then_some(place)
    }

    /// The least and the greatest place for these values, with a little room.
    pub(super) fn range(&self, values: impl Iterator<Item = f64>) -> (f64, f64) {
        let held = self.holds.iter().copied();
        let places = values.chain(held).filter_map(|it| self.place(it));
        let (low, high) = places.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), it| {
            (low.min(it), high.max(it))
        });
        if low > high {
            return (0.0, 1.0);
        }
        let room = match high - low {
            0.0 => 0.5 * if low == 0.0 { 1.0 } else { low.abs() },
            span => 0.04 * span,
        };
        (low - room, high + room)
    }

    /// Labelled places within a range, with their labels.
    pub(super) fn ticks(&self, (low, high): (f64, f64), most: usize) -> Vec<(f64, String)> {
        match self.scale {
            Scale::Linear => linear(low, high, most),
            Scale::Log => logarithmic(low, high, most, 1.0),
            Scale::LogDown => logarithmic(-high, -low, most, -1.0),
        }
    }
}

/// An even range of places with the ticks that were chosen for it, for the drawing library.
pub(super) struct Ruler {
    pub range: (f64, f64),
    pub ticks: Vec<f64>,
}

impl Ranged for Ruler {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (first, last): (i32, i32)) -> i32 {
        let (low, high) = self.range;
        let share = (value - low) / (high - low);
        first + (share * f64::from(last - first)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        match hint.weight().allow_light_points() {
            true => Vec::new(),
            false => self.ticks.clone(),
        }
    }

    fn range(&self) -> Range<f64> {
        self.range.0..self.range.1
    }
}

fn linear(low: f64, high: f64, most: usize) -> Vec<(f64, String)> {
    let least = (high - low) / most as f64;
    let power = 10f64.powf(least.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|it| it * power);
    let step = step.into_iter().find(|it| *it >= least).unwrap_or(least);
    let digits = (-step.log10().floor()).max(0.0) as usize;
    let (first, last) = ((low / step).ceil() as i64, (high / step).floor() as i64);
    (first..=last)
        .map(|it| it as f64 * step)
        .map(|it| (it, format!("{it:.digits$}").replace('-', "\u{2212}")))
        .collect()
}

/// Powers of ten, with 2 and 5 between them where there is room.
fn logarithmic(low: f64, high: f64, most: usize, sign: f64) -> Vec<(f64, String)> {
    let decades = (low.floor() as i32)..=(high.ceil() as i32);
    let mut best = Vec::new();
    for factors in [&[1.0][..], &[1.0, 3.0], &[1.0, 2.0, 5.0]] {
        let all = decades.clone().flat_map(|decade| {
            let value = move |factor: &f64| factor * 10f64.powi(decade);
            factors.iter().map(value)
        });
        let inside: Vec<(f64, String)> = all
            .filter(|it| (low..=high).contains(&it.log10()))
            .map(|it| (sign * it.log10(), short(it)))
            .collect();
        if best.len() < 2 || inside.len() <= most {
            best = inside;
        }
    }
    match best.len() {
        0 | 1 => vec![
            (sign * low, short(10f64.powf(low))),
            (sign * high, short(10f64.powf(high))),
        ],
        _ => best,
    }
}

/// A number in few letters: `0.05`, `1e-5`, `300`.
pub(super) fn short(value: f64) -> String {
    let rounded: f64 = format!("{value:.1e}").parse().unwrap_or(value);
    match rounded.abs() {
        size if size != 0.0 && !(1e-3..1e5).contains(&size) => format!("{rounded:e}"),
        _ => rounded.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_numbers_within_the_range() {
        let labels = |axis: &Axis, range| -> Vec<String> {
            axis.ticks(range, 6).into_iter().map(|it| it.1).collect()
        };
        let even = Axis::linear("x");
        assert_eq!(labels(&even, (0.1, 9.9)), ["2", "4", "6", "8"]);
        assert_eq!(
            labels(&even, (-0.06, 0.11)),
            ["\u{2212}0.05", "0.00", "0.05", "0.10"]
        );
        let density = Axis::density();
        let range = density.range([1.0, 0.044].into_iter());
        assert_eq!(labels(&density, range), ["0.05", "0.1", "0.2", "0.5", "1"]);
        let places = density.ticks(range, 6);
        assert_eq!(places[4].0, 0.0, "dense stands at the left");
        assert!(places[0].0 > places[1].0);
        let errors = Axis::log("error");
        assert_eq!(
            labels(&errors, (-5.0, 0.0)),
            ["1e-5", "1e-4", "0.001", "0.01", "0.1", "1"]
        );
    }

    #[test]
    fn a_single_value_has_room_around_it() {
        let axis = Axis::linear("x");
        assert_eq!(axis.range([3.0].into_iter()), (1.5, 4.5));
        assert_eq!(axis.range(std::iter::empty()), (0.0, 1.0));
        assert_eq!(axis.place(f64::NAN), None);
        assert_eq!(Axis::log("x").place(0.0), None);
    }
}
