//! Measures sides in turn.

use crate::error::BenchError;
use crate::settings::Settings;

/// What one measurement says.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// How long it took.
    pub seconds: f64,
    /// What was done in that time: images, bytes, calls.
    pub units: f64,
}

/// One of those that are compared.
pub trait Side {
    /// Its name in the table.
    fn name(&self) -> &str;

    /// Does so many steps.
    ///
    /// # Errors
    /// Why it cannot; it is left out from then on.
    fn measure(&mut self, steps: u64) -> Result<Sample, BenchError>;

    /// Steps after which all that happens now and then has happened once. A measurement lasts a whole
    /// number of such periods if it can last one.
    fn period(&self) -> u64 {
        1
    }

    /// Whether there is nothing to repeat within a measurement, as with whole programs.
    fn is_whole(&self) -> bool {
        false
    }
}

/// A side that is a function.
pub struct Call<'a> {
    name: String,
    units: f64,
    work: Box<dyn FnMut() -> Result<(), BenchError> + 'a>,
}

impl<'a> Call<'a> {
    /// A function that does so many units of work with each call.
    pub fn new(
        name: impl Into<String>,
        units: f64,
        work: impl FnMut() -> Result<(), BenchError> + 'a,
    ) -> Self {
        Self {
            name: name.into(),
            units,
            work: Box::new(work),
        }
    }
}

impl Side for Call<'_> {
    fn name(&self) -> &str {
        &self.name
    }

    fn measure(&mut self, steps: u64) -> Result<Sample, BenchError> {
        let start = std::time::Instant::now();
        for _ in 0..steps {
            (self.work)()?;
        }
        Ok(Sample {
            seconds: start.elapsed().as_secs_f64(),
            units: self.units * steps as f64,
        })
    }
}

/// A side whose one step is a whole program, or something else that measures itself.
pub struct Whole<'a> {
    name: String,
    work: Box<dyn FnMut() -> Result<f64, BenchError> + 'a>,
}

impl<'a> Whole<'a> {
    /// `work` returns what it took: seconds, or another quantity that had better be small.
    pub fn new(
        name: impl Into<String>,
        work: impl FnMut() -> Result<f64, BenchError> + 'a,
    ) -> Self {
        Self {
            name: name.into(),
            work: Box::new(work),
        }
    }
}

impl Side for Whole<'_> {
    fn name(&self) -> &str {
        &self.name
    }

    fn measure(&mut self, _: u64) -> Result<Sample, BenchError> {
        Ok(Sample {
            seconds: (self.work)()?,
            units: 1.0,
        })
    }

    fn is_whole(&self) -> bool {
        true
    }
}

/// Units a second of one side, round by round.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// The side.
    pub name: String,
    /// One value a round.
    pub rates: Vec<f64>,
}

/// The series of all sides that could be measured, and why others could not.
#[derive(Debug, Default)]
pub struct Measured {
    /// Ours first.
    pub series: Vec<Series>,
    /// What is to be said below the table.
    pub notes: Vec<String>,
}

/// Measures every side once a round, in an order that moves on from round to round.
///
/// # Errors
/// If the first side, ours, fails.
pub fn in_turn(
    mut sides: Vec<Box<dyn Side + '_>>,
    settings: &Settings,
) -> Result<Measured, BenchError> {
    let mut notes = Vec::new();
    let mut steps = Vec::new();
    let mut index = 0;
    while index < sides.len() {
        match calibrate(&mut *sides[index], settings.seconds) {
            Ok(count) => {
                steps.push(count);
                index += 1;
            }
            Err(error) if index == 0 => return Err(error),
            Err(error) => notes.push(format!("{}: {error}", sides.remove(index).name())),
        }
    }
    let mut rates = vec![Vec::new(); sides.len()];
    let mut failed = vec![false; sides.len()];
    for round in 0..settings.rounds {
        for turn in 0..sides.len() {
            let side = (turn + round) % sides.len();
            if failed[side] {
                continue;
            }
            match sides[side].measure(steps[side]) {
                Ok(sample) => rates[side].push(sample.units / sample.seconds),
                Err(error) if side == 0 => return Err(error),
                Err(error) => {
                    failed[side] = true;
                    notes.push(format!("{}: {error}", sides[side].name()));
                }
            }
        }
    }
    let series = (sides.iter().zip(rates).zip(failed))
        .filter(|(_, failed)| !failed)
        .map(|((side, rates), _)| Series {
            name: side.name().to_owned(),
            rates,
        });
    Ok(Measured {
        series: series.collect(),
        notes,
    })
}

/// The number of steps with which a measurement lasts about so long. Measures on the way, which warms
/// up what is measured.
fn calibrate(side: &mut dyn Side, seconds: f64) -> Result<u64, BenchError> {
    if side.is_whole() {
        return Ok(1);
    }
    let mut steps = 1;
    loop {
        let took = side.measure(steps)?.seconds.max(1e-9);
        if took >= 0.25 * seconds {
            return Ok(whole_periods(steps as f64 * seconds / took, side.period()));
        }
        let factor = (0.5 * seconds / took).clamp(2.0, 20.0);
        steps = (steps as f64 * factor).ceil() as u64;
    }
}

fn whole_periods(steps: f64, period: u64) -> u64 {
    let periods = (steps / period as f64).round() as u64;
    match periods {
        0 => steps.round().max(1.0) as u64,
        periods => periods * period,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed {
        name: &'static str,
        fails: bool,
        seconds_a_step: f64,
    }

    impl Side for Fixed {
        fn name(&self) -> &str {
            self.name
        }

        fn measure(&mut self, steps: u64) -> Result<Sample, BenchError> {
            match self.fails {
                true => Err(BenchError::Peer("no memory".to_owned())),
                false => Ok(Sample {
                    seconds: steps as f64 * self.seconds_a_step,
                    units: steps as f64,
                }),
            }
        }
    }

    fn settings() -> Settings {
        Settings {
            task: crate::settings::Task::Scaling,
            place: crate::place::Place::Processors,
            with_peers: true,
            threads: 1,
            rounds: 3,
            seconds: 1.0,
            target: "target".into(),
        }
    }

    fn side(name: &'static str, fails: bool) -> Box<dyn Side> {
        Box::new(Fixed {
            name,
            fails,
            seconds_a_step: 0.01,
        })
    }

    #[test]
    fn a_measurement_lasts_as_long_as_asked_for_in_whole_periods() {
        assert_eq!(calibrate(&mut *side("ours", false), 1.0).unwrap(), 100);
        assert_eq!(whole_periods(100.0, 32), 96);
        assert_eq!(whole_periods(100.0, 469), 100);
    }

    #[test]
    fn a_side_that_fails_becomes_a_note_and_the_others_go_on() {
        let sides = vec![
            side("ours", false),
            side("peer", true),
            side("other", false),
        ];
        let measured = in_turn(sides, &settings()).unwrap();
        let names: Vec<_> = measured.series.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["ours", "other"]);
        assert_eq!(measured.series[1].rates.len(), 3);
        assert_eq!(measured.notes, ["peer: PyTorch: no memory"]);
        assert!(in_turn(vec![side("ours", true)], &settings()).is_err());
    }
}
