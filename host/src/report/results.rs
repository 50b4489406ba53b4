//! What one run left, as far as it got.

use std::path::Path;

use plugin_api::Measure as Counted;
use serde_json::Value;

use super::builds::OtherBuilds;
use crate::experiment::{self, Experiment, Measure};
use crate::records::{ClassRecord, Epoch, LayerRecord, SignRecord, Summary, read_summary};
use crate::store::{self, LevelDir, RunDir};

/// One run: what it is, and the records of its seeds.
#[derive(Clone, Debug)]
pub struct Results {
    /// Its folder.
    pub run: RunDir,
    /// What it was started with; none if that is missing or damaged.
    pub experiment: Option<Experiment>,
    /// What is wrong with its experiment file, if one is there.
    pub damage: Option<String>,
    /// Its levels that another build of a plugin made.
    pub builds: Option<OtherBuilds>,
    /// The text of its experiment file.
    pub text: String,
    /// Its `identity.json`, or null.
    pub identity: Value,
    /// The seeds that were asked for, ascending.
    pub seeds: Vec<SeedResults>,
    /// Density of each layer by level, mean over seeds.
    pub layers: Vec<Vec<LayerDensity>>,
    /// Counts of each class by level, of all seeds together; empty where no metric is of classes.
    pub classes: Vec<Vec<ClassSums>>,
}

/// One seed of a run.
#[derive(Clone, Debug)]
pub struct SeedResults {
    /// Its number.
    pub seed: u64,
    /// Its finished levels, from level 0.
    pub levels: Vec<LevelResults>,
    /// Why it does not go on, where something is known of it.
    pub trouble: Option<String>,
}

/// One finished level of a seed.
#[derive(Clone, Debug)]
pub struct LevelResults {
    /// What it came to.
    pub summary: Summary,
    /// Test accuracy within the level: epochs that are done, accuracy.
    pub curve: Vec<(u64, f64)>,
    /// What crossed zero in each epoch; nothing in levels of versions that did not count it.
    pub signs: Vec<SignRecord>,
}

/// Density of a layer at a level.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerDensity {
    /// PyTorch's name of the weight.
    pub layer: String,
    /// Mean density over the seeds counted so far.
    pub density: f64,
    seeds: u64,
}

/// Counts of a class at a level, of all seeds together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClassSums {
    /// Test samples of it.
    pub samples: u64,
    /// Of these, those that are right.
    pub correct: Option<u64>,
    /// How many of these were taken for each class.
    pub predicted: Option<Vec<u64>>,
}

impl ClassSums {
    fn add(&mut self, record: &ClassRecord) {
        self.samples = self.samples.saturating_add(record.test_samples);
        if let Some(correct) = record.test_correct {
            let sum = self.correct.get_or_insert(0);
            *sum = sum.saturating_add(correct);
        }
        if let Some(predicted) = &record.predicted {
            let sums = self
                .predicted
                .get_or_insert_with(|| vec![0; predicted.len()]);
            for (sum, count) in sums.iter_mut().zip(predicted) {
                *sum = sum.saturating_add(*count);
            }
        }
    }
}

impl Results {
    /// Reads the records of a run. What is damaged ends a seed there, with a note; nothing is an
    /// error, as a report shows what there is.
    pub fn read(run: &Path, seeds: Option<&[u64]>) -> Self {
        let run = RunDir::new(run);
        let file = run.file("experiment.toml");
        let text = store::read(&file).unwrap_or_default();
        let (experiment, damage) = match experiment::read_stored(&file) {
            Ok(experiment) => (Some(experiment), None),
            Err(error) => (None, file.exists().then(|| error.to_string())),
        };
        let wanted = match seeds {
            Some(seeds) => seeds.to_vec(),
            None => {
                let own = experiment.iter().flat_map(|it| it.seeds.clone());
                run.seeds().into_iter().chain(own).collect()
            }
        };
        let mut results = Self {
            identity: read_json(&run.file("identity.json")).unwrap_or(Value::Null),
            text: String::from_utf8_lossy(&text).into_owned(),
            experiment,
            damage,
            builds: OtherBuilds::read(&run),
            run,
            seeds: Vec::new(),
            layers: Vec::new(),
            classes: Vec::new(),
        };
        let mut wanted: Vec<u64> = wanted;
        wanted.sort_unstable();
        wanted.dedup();
        for seed in wanted {
            let seed = results.read_seed(seed);
            results.seeds.push(seed);
        }
        results
    }

    fn read_seed(&mut self, seed: u64) -> SeedResults {
        let dir = self.run.seed(seed);
        let (mut levels, mut trouble) = (Vec::new(), None);
        for level in 0.. {
            let dir = dir.level(level);
            if !dir.file("done.json").exists() {
                break;
            }
            match self.read_level(&dir, levels.len()) {
                Ok(level) => levels.push(level),
                Err(error) => {
                    trouble = Some(error);
                    break;
                }
            }
        }
        if let Some(failure) = read_json(&dir.failure()) {
            let reason = failure["reason"].as_str().unwrap_or("the reason is lost");
            trouble = Some(format!("given up at level {}: {reason}", failure["level"]));
        }
        SeedResults {
            seed,
            levels,
            trouble,
        }
    }

    fn read_level(&mut self, dir: &LevelDir, level: usize) -> Result<LevelResults, String> {
        let summary = read_summary(dir).map_err(|error| error.to_string())?;
        let epochs: Vec<Epoch> = read_lines(&dir.file("metrics.jsonl"))?;
        let layers: Vec<LayerRecord> = read_lines(&dir.file("layers.jsonl"))?;
        let signs: Vec<SignRecord> = read_lines(&dir.file("signs.jsonl"))?;
        let classes: Vec<ClassRecord> = read_lines(&dir.file("classes.jsonl"))?;
        if self.classes.len() <= level {
            self.classes.push(Vec::new());
        }
        let sums = &mut self.classes[level];
        if sums.len() < classes.len() {
            sums.resize(classes.len(), ClassSums::default());
        }
        for (sums, record) in sums.iter_mut().zip(&classes) {
            sums.add(record);
        }
        if self.layers.len() <= level {
            self.layers.push(Vec::new());
        }
        for record in layers {
            let known = &mut self.layers[level];
            match known.iter_mut().find(|it| it.layer == record.layer) {
                Some(known) => {
                    known.seeds += 1;
                    known.density += (record.density - known.density) / known.seeds as f64;
                }
                None => known.push(LayerDensity {
                    layer: record.layer,
                    density: record.density,
                    seeds: 1,
                }),
            }
        }
        let curve = (epochs.iter())
            .filter_map(|it| Some((it.epoch + 1, it.test_accuracy?)))
            .collect();
        Ok(LevelResults {
            summary,
            curve,
            signs,
        })
    }

    /// The finished level of a seed.
    pub fn level(&self, seed: u64, level: u64) -> Option<&LevelResults> {
        let seed = self.seeds.iter().find(|it| it.seed == seed)?;
        seed.levels.get(level as usize)
    }

    /// The summaries of a level, one for each seed that finished it.
    pub fn at(&self, level: u64) -> impl Iterator<Item = &Summary> {
        (self.seeds.iter()).filter_map(move |it| Some(&it.levels.get(level as usize)?.summary))
    }

    /// Number of levels that some seed finished.
    pub fn levels(&self) -> u64 {
        let most = self.seeds.iter().map(|seed| seed.levels.len()).max();
        most.unwrap_or(0) as u64
    }

    /// Number of levels that each seed is to have; none if the experiment is unknown.
    pub fn wanted(&self) -> Option<u64> {
        Some(self.experiment.as_ref()?.last_level() + 1)
    }

    /// Density of a level: as counted, or else as the experiment asks for it.
    pub fn density(&self, level: u64) -> Option<f64> {
        let counted = self.at(level).next().map(|summary| summary.density);
        counted.or_else(|| {
            let experiment = self.experiment.as_ref()?;
            (level <= experiment.last_level()).then(|| experiment.density(level))
        })
    }

    /// What a level is to keep of whole units, as a share of what is counted of them; none where masks count weights.
    pub fn share_of_units(&self, level: u64) -> Option<(Counted, f64)> {
        let summary = self.at(level).next();
        if let Some(units) = summary.and_then(|it| it.units.as_ref()) {
            return Some((units.measure, units.target as f64 / units.total as f64));
        }
        let mut units = self.summaries().filter_map(|it| it.units.as_ref());
        let measure = units.next()?.measure;
        let experiment = self.experiment.as_ref()?;
        (level <= experiment.last_level()).then(|| (measure, experiment.density(level)))
    }

    /// All summaries, by seed and level.
    pub fn summaries(&self) -> impl Iterator<Item = &Summary> {
        let levels = self.seeds.iter().flat_map(|seed| &seed.levels);
        levels.map(|level| &level.summary)
    }
}

/// What a level came to by a measure; none where it is not a number.
pub fn value(measure: Measure, summary: &Summary) -> Option<f64> {
    let value = match measure {
        Measure::TestAccuracy => summary.test_accuracy,
        Measure::ValidationAccuracy => summary.validation_accuracy?,
        Measure::FlipsInit => summary.flips_init,
        Measure::FlipsStart => summary.flips_start,
    };
    value.is_finite().then_some(value)
}

fn read_json(path: &Path) -> Option<Value> {
    serde_json::from_slice(&store::read(path).ok()?).ok()
}

/// The records of a file with one a line; a file that is not there has none.
fn read_lines<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Vec<T>, String> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let bytes = store::read(path).map_err(|error| error.to_string())?;
    (serde_json::Deserializer::from_slice(&bytes).into_iter())
        .collect::<Result<_, _>>()
        .map_err(|error| format!("{} is damaged: {error}", path.display()))
}
