//! Records a trained level and declares it done.

use super::course::ends::{Files, Held, Written};
use super::course::guarded::Bounds;
use super::course::points::{optimizer_tensors, prunable};
use super::error::RunError;
use super::give_up::forget_failure;
use super::level::Evaluated;
use super::running::Running;
use super::tested::{classes_of, summary_of};
use super::{Course, Levels, Seed};
use crate::records::{Compared, LayerRecord, Summary, compare, lines};
use crate::store;
use crate::strategy::guard::Writing;
use crate::strategy::select::survivors;
use crate::trainer::{Evaluation, Session, Snapshot, Tested};

/// What a lane's level came to.
struct End {
    files: Files,
    held: Held,
    summary: Summary,
}

impl Levels<'_> {
    /// Records the level of every lane that is left. Level 0, which others may wait for, is written when this returns; of
    /// the other levels the next ones are trained meanwhile.
    pub(super) fn record(
        &self,
        level: u64,
        session: &Session<'_>,
        running: &[Running],
        seeds: &[Seed],
        evaluations: &[Evaluated<Tested>],
    ) -> Result<(), RunError> {
        let course = &self.course;
        // No more is kept than what the seeds that train together came to.
        course.ends.make_room()?;
        for (lane, evaluated) in session.lanes().into_iter().zip(evaluations) {
            let running = &running[lane];
            let seed = &seeds[running.index];
            let End {
                files,
                held,
                summary,
            } = course.end(running, seed, session, lane, evaluated)?;
            let carry = serde_json::to_value(&held.carry)
                .map_err(|error| RunError::damaged(&running.dir.file("done.json"), &error))?;
            let names: Vec<String> = running.files.iter().cloned().chain(files.names()).collect();
            let (dir, progress) = (running.dir.clone(), running.home.progress());
            let failure = course.run.seed(seed.seed).failure();
            let write = move || {
                files.write()?;
                dir.finish(&names, carry)?;
                store::remove(&progress)?;
                forget_failure(&failure, level + 1)
            };
            let written = Written {
                seed: running.index,
                summary,
            };
            if level == 0 {
                write()?;
                course.take_dense(seed)?;
                course.ends.write(&running.dir, || Ok(Some(written)));
                continue;
            }
            course.ends.hold(held.apart());
            let unfinished = (self.interrupt.save(), Writing::begin());
            course.ends.write(&running.dir, move || {
                let _unfinished = unfinished;
                write().map(|()| Some(written))
            });
        }
        Ok(())
    }
}

impl Course<'_> {
    /// Checks what a lane's level came to, and compares it with what was before.
    fn end(
        &self,
        running: &Running,
        seed: &Seed,
        session: &Session<'_>,
        lane: usize,
        evaluated: &Evaluated<Tested>,
    ) -> Result<End, RunError> {
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
        let point = session.snapshot(lane)?;
        let optimizer = session.optimizer_state(lane)?;
        let mut files = Files::of(&running.dir);
        files.add_tensors("mask.safetensors", &self.stored_masks(&masks));
        files.add_tensors("end.safetensors", &point.tensors);
        files.add_tensors("optimizer.safetensors", &optimizer_tensors(&optimizer));
        let layers = self.compare_layers(running, &point, &masks)?;
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
        let mut add = |file: &str, lines: Result<Vec<u8>, serde_json::Error>| {
            let lines = lines.map_err(|error| RunError::damaged(&running.dir.file(file), &error));
            files.add_text(file, lines?);
            Ok::<(), RunError>(())
        };
        add("metrics.jsonl", lines(&running.epochs))?;
        add("layers.jsonl", lines(&layers))?;
        add("summary.json", lines(std::slice::from_ref(&summary)))?;
        // A level that goes on from a checkpoint of an earlier version has none.
        if !running.signs.is_empty() {
            add("signs.jsonl", lines(&running.signs))?;
        }
        let classes = classes_of(test, level);
        if !classes.is_empty() {
            add("classes.jsonl", lines(&classes))?;
        }
        let held = Held {
            seed: seed.seed,
            level,
            carry: self.carry(running, seed)?,
            point,
            optimizer,
            masks,
        };
        Ok(End {
            files,
            held,
            summary,
        })
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
