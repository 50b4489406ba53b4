//! Gradual magnitude pruning: while a level trains, weights go step by step.
//!
//! # Source
//! Zhu and Gupta 2017 (arXiv:1710.01878).

use plugin_api::schemars::{self, JsonSchema};
use plugin_api::{
    Among, Cadence, Counts, Error, Experiment, Finding, Interval, MaskContext, MaskUpdate, Phase,
    Result, Step, Tensor, export_plugin,
};
use serde::{Deserialize, Serialize};

/// Keeps the survivors of highest score over all layers together. Within the level the number
/// pruned grows with the cube of the time left, from what the level before pruned to this one's.
///
/// # Source
/// Zhu and Gupta 2017 (arXiv:1710.01878), equation 1.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Gradual {
    /// Distance of two prunings.
    every: Step,
    /// Time of the level at which pruning starts.
    from: Step,
    /// Time of the level after which the mask stays; its end if not given.
    until: Option<Step>,
    #[serde(skip)]
    course: Course,
}

/// Where this level's pruning started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Course {
    level: u64,
    survivors: u64,
}

impl Default for Gradual {
    fn default() -> Self {
        Self {
            every: Step::Iterations(20),
            from: Step::ZERO,
            until: None,
            course: Course::default(),
        }
    }
}

impl Gradual {
    fn interval(&self) -> Interval {
        Interval {
            every: self.every,
            from: self.from,
            until: self.until,
        }
    }
}

impl MaskUpdate for Gradual {
    fn validate(&self) -> Result<()> {
        self.every.expect_some("every")
    }

    fn review(&self, experiment: &Experiment) -> Vec<Finding> {
        let last_call = self
            .interval()
            .last_call(experiment.steps_per_epoch, experiment.steps_per_level());
        if last_call.is_some() || experiment.last_level() == 0 {
            return Vec::new();
        }
        let length = experiment.length();
        let (from, every) = (self.from, self.every);
        let begins = experiment.steps(from).max(1) < experiment.steps_per_level();
        let (option, message) = match (begins, self.until) {
            (true, Some(until)) if experiment.steps(until) < experiment.steps_per_level() => (
                "until",
                format!(
                    "pruning ends at `{until}`, before its first time: it is from `{from}` on every `{every}`"
                ),
            ),
            (true, _) => (
                "every",
                format!("`{every}` is longer than a level, which has {length}"),
            ),
            (false, _) => (
                "from",
                format!("pruning starts at `{from}`, but a level has {length}"),
            ),
        };
        let prunes = experiment.targets.windows(2).any(|pair| pair[1] < pair[0]);
        let finding = match prunes {
            true => Finding::impossible(format!("{message}: nothing is pruned within it")),
            false => Finding::pointless(message),
        };
        vec![
            finding
                .at_option(option)
                .advise("let it prune at least once before the level's last step"),
        ]
    }

    fn cadence(&self) -> Cadence {
        let mut cadence = Cadence::default();
        cadence.within_level = Some(self.interval());
        cadence
    }

    fn update(&mut self, ctx: &mut MaskContext<'_>) -> Result<Vec<Tensor>> {
        if ctx.phase() != Phase::WithinLevel {
            return Err(Error::new("gradual pruning is for calls within a level"));
        }
        if self.course.level != ctx.level() {
            self.course = Course {
                level: ctx.level(),
                survivors: ctx.survivors()?.iter().sum(),
            };
        }
        let from = self.from.steps(ctx.steps_per_epoch());
        let last = self
            .interval()
            .last_call(ctx.steps_per_epoch(), ctx.steps_per_level())
            .unwrap_or(ctx.step());
        let kept = kept(
            self.course.survivors,
            ctx.target(),
            share(ctx.step(), from, last),
        );
        let scores = ctx.scores()?;
        ctx.select(&scores, Among::Survivors, Counts::Total(kept))
    }

    fn save_state(&self) -> Result<Vec<u8>> {
        Ok(serde_json::to_vec(&self.course)?)
    }

    fn load_state(&mut self, state: &[u8]) -> Result<()> {
        self.course = serde_json::from_slice(state)?;
        Ok(())
    }
}

/// How much of the way from `from` to `last` is gone at a step: 1 from `last` on.
fn share(step: u64, from: u64, last: u64) -> f64 {
    if step >= last {
        1.0
    } else {
        step.saturating_sub(from) as f64 / (last - from) as f64
    }
}

/// Survivors when this share of the way from `start` to `target` is gone: exactly those two at its ends.
fn kept(start: u64, target: u64, share: f64) -> u64 {
    let left = (1.0 - share).powi(3);
    let above = start.saturating_sub(target) as f64;
    target + (above * left).round() as u64
}

export_plugin! {
    mask { "gradual" => Gradual }
    default { score = "imp/magnitude", mask = "gmp/gradual", rewind = ["imp/weights"] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use plugin_api::{Layer, LayerKind, Severity};

    #[test]
    fn the_number_kept_follows_the_cubic_schedule_between_its_ends() {
        // s_t = s_f + (s_i - s_f) (1 - t)^3 with s_i = 0 and s_f = 0.9.
        assert_eq!(kept(1000, 100, 0.0), 1000);
        assert_eq!(kept(1000, 100, 1.0), 100);
        assert_eq!(kept(1000, 100, 0.5), 100 + 113);
        assert_eq!(kept(1000, 100, 0.9), 101);
        assert_eq!(kept(100, 100, 0.3), 100);
    }

    #[test]
    fn the_way_starts_at_the_first_step_and_ends_at_the_last_call() {
        assert_eq!(share(10, 10, 110), 0.0);
        assert_eq!(share(60, 10, 110), 0.5);
        assert_eq!(share(110, 10, 110), 1.0);
        assert_eq!(share(7, 7, 7), 1.0, "one call does all at once");
    }

    #[test]
    fn an_interval_of_no_steps_is_refused() {
        let gradual = Gradual {
            every: Step::Epochs(0),
            ..Gradual::default()
        };
        let message = gradual.validate().unwrap_err().to_string();
        assert_eq!(message, "every is \"0ep\", expected at least one step");
    }

    #[test]
    fn pruning_that_never_comes_is_found_before_training() {
        let layer = Layer::new("fc.weight", LayerKind::Linear, [10, 10]);
        let experiment = Experiment::new(vec![layer], 10, 2, [0.5]);
        let review = |from, every, until| {
            let gradual = Gradual {
                from,
                every,
                until,
                ..Gradual::default()
            };
            let found = gradual.review(&experiment);
            found.first().map(|it| (it.severity, it.option.clone()))
        };
        let (steps, impossible) = (Step::Iterations, Severity::Impossible);
        let at = |option: &str| Some((impossible, option.to_owned()));
        assert_eq!(review(steps(19), steps(5), None), None);
        assert_eq!(review(steps(20), steps(5), None), at("from"));
        assert_eq!(review(Step::Epochs(2), steps(5), None), at("from"));
        assert_eq!(review(Step::ZERO, steps(20), None), at("every"));
        assert_eq!(review(steps(9), steps(5), Some(steps(8))), at("until"));
        let same = Experiment::new(experiment.layers.clone(), 10, 2, [1.0]);
        let late = Gradual {
            from: Step::Epochs(5),
            ..Gradual::default()
        };
        assert_eq!(late.review(&same)[0].severity, Severity::Pointless);
    }

    #[test]
    fn it_goes_on_from_where_the_level_started() {
        let first = Gradual {
            course: Course {
                level: 3,
                survivors: 77,
            },
            ..Gradual::default()
        };
        let mut next = Gradual::default();
        next.load_state(&first.save_state().unwrap()).unwrap();
        assert_eq!(next.course, first.course);
    }
}
