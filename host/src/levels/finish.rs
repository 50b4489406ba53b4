//! Records a trained level and declares it done.

use super::course::checkpoint;
use super::course::guarded::Bounds;
use super::course::points::{optimizer_tensors, prunable};
use super::error::RunError;
use super::level::Evaluated;
use super::running::Running;
use super::tested::{classes_of, summary_of};
use super::{Course, Event, Observer, Seed};
use crate::records::{Compared, LayerRecord, Summary, compare, lines};
use crate::store::{write, write_tensors};
use crate::strategy::select::survivors;
use crate::trainer::{Evaluation, Session, Snapshot, Tested};

impl Course<'_> {
    /// Records and stores the level of every lane that is left.
    pub(super) fn record(
        &self,
        level: u64,
        session: &Session<'_>,
        running: &[Running],
        seeds: &[Seed],
        evaluations: &[Evaluated<Tested>],
        observer: &mut dyn Observer,
    ) -> Result<(), RunError> {
        for (lane, evaluated) in session.lanes().into_iter().zip(evaluations) {
            let mut own = running[lane].clone();
            let seed = &seeds[own.index];
            let summary = self.store_end(&mut own, seed, session, lane, evaluated)?;
            let carry = serde_json::to_value(self.carry(&own, seed)?)
                .map_err(|error| RunError::damaged(&own.dir.file("done.json"), &error))?;
            own.dir.finish(&own.files, carry)?;
            checkpoint::remove(&own.home)?;
            if level == 0 {
                self.take_dense(seed)?;
            }
            self.forget_failure(seed.seed, level + 1)?;
            observer.observe(&Event::LevelDone { summary: &summary });
        }
        Ok(())
    }

    /// Checks and writes what a lane's level came to.
    fn store_end(
        &self,
        running: &mut Running,
        seed: &Seed,
        session: &Session<'_>,
        lane: usize,
        evaluated: &Evaluated<Tested>,
    ) -> Result<Summary, RunError> {
        let level = running.level;
        let bounds = self.final_bounds(level, &seed.strategy);
        self.check_lane(running, bounds, session, lane)?;
        let masks = session.mask(lane)?;
        let (got, expected) = (survivors(&masks).iter().sum(), self.keep(level));
        if matches!(bounds, Bounds::Weights(..)) && got != expected {
            return Err(RunError::Target {
                seed: seed.seed,
                level,
                got,
                expected,
            });
        }
        let end = session.snapshot(lane)?;
        self.write_masks(running, "mask.safetensors", &masks)?;
        write_tensors(&running.dir.file("end.safetensors"), &end.tensors)?;
        let optimizer = optimizer_tensors(&session.optimizer_state(lane)?);
        write_tensors(&running.dir.file("optimizer.safetensors"), &optimizer)?;
        let layers = self.compare_layers(running, &end, &masks)?;
        let Evaluated { test, validation } = evaluated;
        // Level 0 is everybody's.
        let counted = if level == 0 { None } else { Some(bounds) };
        let kept = counted.map_or(Ok(None), |bounds| {
            self.kept_units("the level's end", &masks, bounds)
        });
        let summary = Summary {
            units: kept.map_err(|broken| RunError::broken(seed.seed, level, broken))?,
            ..self.summarise(running, &layers, *validation)
        };
        let summary = summary_of(test, summary);
        let classes = classes_of(test, level);
        let damaged = |file: &str| {
            let path = running.dir.file(file);
            move |error: serde_json::Error| RunError::damaged(&path, &error)
        };
        let mut texts = vec![
            (
                "metrics.jsonl",
                lines(&running.epochs).map_err(damaged("metrics.jsonl"))?,
            ),
            (
                "layers.jsonl",
                lines(&layers).map_err(damaged("layers.jsonl"))?,
            ),
            (
                "summary.json",
                lines(std::slice::from_ref(&summary)).map_err(damaged("summary.json"))?,
            ),
        ];
        // A level that goes on from a checkpoint of an earlier version has none.
        if !running.signs.is_empty() {
            let bytes = lines(&running.signs).map_err(damaged("signs.jsonl"))?;
            texts.push(("signs.jsonl", bytes));
        }
        if !classes.is_empty() {
            let bytes = lines(&classes).map_err(damaged("classes.jsonl"))?;
            texts.push(("classes.jsonl", bytes));
        }
        for (file, bytes) in &texts {
            write(&running.dir.file(file), bytes)?;
        }
        let files = ["end.safetensors", "optimizer.safetensors"].into_iter();
        let files = files.chain(texts.iter().map(|(file, _)| *file));
        running.files.extend(files.map(str::to_owned));
        Ok(summary)
    }

    fn compare_layers(
        &self,
        running: &Running,
        end: &Snapshot,
        masks: &[tch::Tensor],
    ) -> Result<Vec<LayerRecord>, RunError> {
        let layers = self.trainer.layers();
        let weights = |dir: &crate::store::LevelDir, file: &str| {
            prunable(&self.read_snapshot(dir, file)?, layers)
                .map_err(|reason| RunError::damaged(&dir.file(file), &reason))
        };
        let own = self.run.seed(running.seed);
        let start = weights(&running.dir, "start.safetensors")?;
        let (init, previous) = match running.level {
            0 => (start.iter().map(tch::Tensor::shallow_clone).collect(), None),
            level => (
                weights(&own.level(0), "start.safetensors")?,
                Some(weights(&own.level(level - 1), "end.safetensors")?),
            ),
        };
        let end = prunable(end, layers).map_err(RunError::Missing)?;
        let compared = Compared {
            end: &end,
            masks,
            effective: &self.trainer.effective(masks),
            init: &init,
            start: &start,
            previous: previous.as_deref(),
        };
        Ok(compare(running.level, layers, &compared))
    }

    fn summarise(
        &self,
        running: &Running,
        layers: &[LayerRecord],
        validation: Option<Evaluation>,
    ) -> Summary {
        Summary {
            train_loss: running
                .epochs
                .last()
                .map_or(f64::NAN, |epoch| epoch.train_loss),
            validation_loss: validation.map(|it| it.loss),
            validation_correct: validation.map(|it| it.correct),
            validation_samples: validation.map(|it| it.samples),
            validation_accuracy: validation.map(|it| it.accuracy),
            ..Summary::of_layers(running.seed, running.level, self.weights(), layers)
        }
    }
}
