//! Samples that are held out from training, the same for every seed.

use super::DataError;
use crate::rng::{Moment, Purpose, Stream};
use std::collections::BTreeMap;

/// How many samples are held out: a share of them, or their number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Amount {
    /// Between 0 and 1.
    Share(f64),
    /// At least 1.
    Count(u64),
}

impl Amount {
    /// What a number in the experiment file stands for.
    pub(super) fn new(key: &'static str, number: f64) -> Result<Self, DataError> {
        match number {
            _ if number > 0.0 && number < 1.0 => Ok(Self::Share(number)),
            _ if number >= 1.0 && number.fract() == 0.0 && number < 2f64.powi(53) => {
                Ok(Self::Count(number as u64))
            }
            _ => Err(DataError::unfit(
                key,
                format!(
                    "{number} samples cannot be held out: expected a share between 0 and 1, or their number"
                ),
            )),
        }
    }

    /// Of so many samples.
    pub(super) fn of(self, samples: usize) -> usize {
        match self {
            Self::Share(share) => (share * samples as f64).round() as usize,
            Self::Count(count) => usize::try_from(count).unwrap_or(usize::MAX),
        }
    }
}

/// Numbers of the samples on both sides, ascending.
#[derive(Debug, PartialEq)]
pub(super) struct Sides {
    pub kept: Vec<i64>,
    pub held_out: Vec<i64>,
}

/// Holds samples out: of each class as many as its share of all samples, to rounding, and at least one; without
/// classes any of them. Which ones follows from `key`, their number and their classes alone.
///
/// # Errors
/// If nothing would be left on one of the sides, of a class either; `describe` says a class's name.
pub(super) fn hold_out(
    key: &'static str,
    amount: Amount,
    samples: usize,
    classes: Option<&[i64]>,
    describe: &dyn Fn(i64) -> String,
) -> Result<Sides, DataError> {
    let wanted = amount.of(samples);
    let mut left = counts(samples, classes);
    let strata = left.len();
    if let Some((class, _)) = left.iter().find(|(_, count)| **count < 2) {
        let what = match classes {
            Some(_) => format!("{} has one sample", describe(*class)),
            None => format!("there are {samples} samples"),
        };
        let reason = format!(
            "{what}, which cannot be both trained on and held out: expected two or more; add some, or leave `{key}` out"
        );
        return Err(DataError::unfit(key, reason));
    }
    if wanted < strata || wanted > samples - strata {
        let of_each = match classes {
            Some(_) => format!(", one or more of each of {strata} classes"),
            None => String::new(),
        };
        let reason = format!(
            "{wanted} of {samples} samples are to be held out: expected {strata} to {}{of_each}",
            samples - strata
        );
        return Err(DataError::unfit(key, reason));
    }
    share_out(&mut left, samples, wanted);
    let mut stream = Stream::new(0, Purpose::HeldOut(key), Moment::default());
    let mut is_held_out = vec![false; samples];
    for sample in stream.permutation(samples) {
        let class = classes.map_or(0, |classes| classes[sample as usize]);
        if let Some(count) = left.get_mut(&class).filter(|count| **count > 0) {
            *count -= 1;
            is_held_out[sample as usize] = true;
        }
    }
    let side = |which: bool| {
        let all = (0..samples as i64).zip(&is_held_out);
        all.filter(|(_, held_out)| **held_out == which)
            .map(|(sample, _)| sample)
            .collect()
    };
    Ok(Sides {
        kept: side(false),
        held_out: side(true),
    })
}

/// Samples of each class.
fn counts(samples: usize, classes: Option<&[i64]>) -> BTreeMap<i64, usize> {
    let mut counts = BTreeMap::new();
    match classes {
        Some(classes) => classes
            .iter()
            .for_each(|class| *counts.entry(*class).or_default() += 1),
        None => {
            counts.insert(0, samples);
        }
    }
    counts
}

/// Turns each class's number of samples into the number of those that are held out, `wanted` together. What
/// rounding leaves goes to the classes that lack most, the lower of two that lack the same.
fn share_out(counts: &mut BTreeMap<i64, usize>, samples: usize, wanted: usize) {
    struct Class {
        count: u128,
        out: u128,
    }
    let (samples, wanted) = (samples as u128, wanted as u128);
    let mut classes: Vec<Class> = (counts.values())
        .map(|&count| {
            let count = count as u128;
            let out = (count * wanted / samples).clamp(1, count - 1);
            Class { count, out }
        })
        .collect();
    let mut sum: u128 = classes.iter().map(|it| it.out).sum();
    // How much less than its share a class has, times the number of samples.
    let lacks = |it: &Class| (it.count * wanted) as i128 - (it.out * samples) as i128;
    while sum != wanted {
        let more = sum < wanted;
        let open = (0..classes.len()).filter(|&at| {
            let it = &classes[at];
            if more {
                it.out + 1 < it.count
            } else {
                it.out > 1
            }
        });
        let ranked = open.map(|at| (lacks(&classes[at]), std::cmp::Reverse(at)));
        let chosen = if more { ranked.max() } else { ranked.min() };
        let Some((_, std::cmp::Reverse(at))) = chosen else {
            break; // The caller made sure that there is one.
        };
        if more {
            classes[at].out += 1;
            sum += 1;
        } else {
            classes[at].out -= 1;
            sum -= 1;
        }
    }
    for (count, class) in counts.values_mut().zip(classes) {
        *count = class.out as usize;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(amount: Amount, classes: &[i64]) -> Result<Sides, String> {
        let name = |class| format!("class {class}");
        let split = hold_out("validation", amount, classes.len(), Some(classes), &name);
        split.map_err(|error| error.to_string())
    }

    fn of_class(side: &[i64], classes: &[i64], class: i64) -> usize {
        side.iter()
            .filter(|&&it| classes[it as usize] == class)
            .count()
    }

    #[test]
    fn every_class_gives_its_share_to_rounding() {
        let classes: Vec<i64> = (0..100).map(|it| i64::from(it % 10 == 0)).collect();
        let sides = split(Amount::Share(0.2), &classes).unwrap();
        assert_eq!(of_class(&sides.held_out, &classes, 1), 2);
        assert_eq!(of_class(&sides.held_out, &classes, 0), 18);
        assert_eq!(sides.kept.len(), 80);
        // 7 of 30 in each of three classes: the first two get what rounding leaves.
        let classes: Vec<i64> = (0..90).map(|it| it % 3).collect();
        let sides = split(Amount::Count(20), &classes).unwrap();
        let counts = [0, 1, 2].map(|class| of_class(&sides.held_out, &classes, class));
        assert_eq!(counts, [7, 7, 6]);
        // A rare class gives one, and another class one less.
        let mut classes = vec![0; 98];
        classes.extend([1, 1]);
        let sides = split(Amount::Count(10), &classes).unwrap();
        let counts = [0, 1].map(|class| of_class(&sides.held_out, &classes, class));
        assert_eq!(counts, [9, 1]);
    }

    #[test]
    fn what_cannot_be_on_both_sides_is_refused() {
        let message = split(Amount::Share(0.5), &[0, 0, 7, 0]).unwrap_err();
        assert!(message.contains("class 7 has one sample"), "{message}");
        let message = split(Amount::Count(1), &[0, 0, 1, 1]).unwrap_err();
        assert!(
            message.contains("1 of 4 samples are to be held out: expected 2 to 2, one or more"),
            "{message}"
        );
        assert!(split(Amount::Count(u64::MAX), &[0, 0, 1, 1]).is_err());
        let none = hold_out("test", Amount::Share(0.5), 1, None, &|_| String::new());
        let message = none.unwrap_err().to_string();
        assert!(message.contains("there are 1 samples"), "{message}");
        for number in [0.0, -0.1, 1.5, f64::NAN, f64::INFINITY] {
            let message = Amount::new("test", number).unwrap_err().to_string();
            assert!(message.contains("a share between 0 and 1"), "{message}");
        }
        assert_eq!(Amount::new("test", 1.0).unwrap(), Amount::Count(1));
    }

    /// If this changes, every run with `data.validation` or `data.test` as a share gets other samples.
    #[test]
    fn the_same_samples_are_held_out_for_ever() {
        let classes: Vec<i64> = (0..24).map(|it| it % 2).collect();
        let sides = split(Amount::Share(0.25), &classes).unwrap();
        assert_eq!(sides.held_out, GOLDEN);
        let other = hold_out("test", Amount::Share(0.25), 24, Some(&classes), &|_| {
            String::new()
        });
        assert_ne!(other.unwrap().held_out, GOLDEN);
    }

    /// By another implementation of BLAKE3 and ChaCha8, in Python.
    const GOLDEN: [i64; 6] = [0, 11, 13, 16, 18, 23];

    proptest! {
        #[test]
        fn both_sides_together_are_all_samples_and_every_class_is_on_both(
            classes in prop::collection::vec(0i64..5, 2..200),
            share in 0.01f64..0.99,
        ) {
            let Ok(sides) = split(Amount::Share(share), &classes) else {
                return Ok(());
            };
            let wanted = (share * classes.len() as f64).round() as usize;
            prop_assert_eq!(sides.held_out.len(), wanted);
            let mut all = [&sides.kept[..], &sides.held_out].concat();
            all.sort_unstable();
            prop_assert_eq!(all, (0..classes.len() as i64).collect::<Vec<_>>());
            for class in &classes {
                let out = of_class(&sides.held_out, &classes, *class);
                let count = classes.iter().filter(|it| *it == class).count();
                prop_assert!(out >= 1 && out < count);
            }
        }
    }
}
