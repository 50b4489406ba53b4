//! From the options to a dataset.

use super::super::held_out::{Amount, hold_out};
use super::super::{
    DataError, Dataset, Declared, Inputs, Normalisation, PixelStatistics, Split as Samples,
};
use super::NAME;
use super::array::Array;
use super::columns::Features;
use super::inputs::{check, view};
use super::open::{Content, Opened, nothing, open};
use super::options::{ArraysOptions, Files, Missing, Over};
use super::pick::{Split, says};
use super::rule::Rule;
use super::source::Source;
use super::standard::Standard;
use super::stored::{Becomes, StoredSamples, View};
use super::targets::{Targets, columns};
use crate::samples::InputType;
use std::sync::Arc;
use tch::Device;

/// Inputs beyond which a warning says that networks train badly on them.
const LARGE: f64 = 100.0;

/// The files with all that is known of them but their inputs.
pub(super) struct Loaded {
    files: Vec<File>,
    train: Chosen,
    test: Chosen,
    validation: Option<Chosen>,
    rule: Rule,
    view: View,
}

/// What a file, or a pair of them, has for a split.
struct File {
    sources: Vec<Arc<Source>>,
    inputs: Array,
    targets: Targets,
}

/// The samples of a split: where they lie, and their numbers there.
struct Chosen {
    file: usize,
    samples: Vec<u64>,
}

impl Loaded {
    pub fn new(options: &ArraysOptions) -> Result<Self, DataError> {
        let (first, listing) = open(&options.train, Split::Train, options)?;
        let Some(first) = first else {
            return Err(DataError::unfit("train", "there are no arrays to train on"));
        };
        let rule = Rule::of(&first.targets, options)?;
        let strata = rule.strata(&first.targets)?;
        let mut train: Vec<i64> = (0..first.targets.samples() as i64).collect();
        let mut files = vec![first];
        let mut part = |split: Split, wanted: Result<Amount, Files>| {
            let key = split.key();
            match wanted {
                Ok(amount) => {
                    let own = strata.as_ref().map(|all| -> Vec<i64> {
                        train.iter().map(|&it| all[it as usize]).collect()
                    });
                    let names = rule.class_names();
                    let describe = |class: i64| match names.get(class as usize) {
                        Some(name) => format!("class {}", super::quoted(name)),
                        None => format!("class {class}"),
                    };
                    let sides = hold_out(key, amount, train.len(), own.as_deref(), &describe)
                        .map_err(|error| {
                            let path = files[0].sources[0].path.display();
                            DataError::unfit(key, format!("{path}: {error}"))
                        })?;
                    let of = |side: &[i64]| side.iter().map(|&it| train[it as usize]).collect();
                    let (held_out, kept): (Vec<i64>, Vec<i64>) =
                        (of(&sides.held_out), of(&sides.kept));
                    train = kept;
                    Ok(Chosen::new(0, held_out))
                }
                Err(other) => {
                    let (opened, listing) = open(&other, split, options)?;
                    let opened = opened.ok_or_else(|| nothing(split, listing.as_ref()))?;
                    let all = 0..opened.targets.samples() as i64;
                    files.push(opened);
                    Ok::<_, DataError>(Chosen::new(files.len() - 1, all.collect()))
                }
            }
        };
        let test = match (&options.test, &listing) {
            (Some(test), _) => part(Split::Test, test.resolve("test")?)?,
            (None, Some(listing)) if says(listing, Split::Test) => {
                part(Split::Test, Err(options.train.clone()))?
            }
            (None, _) => {
                let reason = "nothing says which samples are evaluated: `test = 0.2` in [data] holds a fifth of the \
                              file's out, `test = \"test.npz\"` names another file";
                return Err(DataError::unfit("test", reason));
            }
        };
        let validation = match &options.validation {
            Some(validation) => Some(part(Split::Validation, validation.resolve("validation")?)?),
            None => None,
        };
        let train = Chosen::new(0, train);
        let files = finish(files, &train, options)?;
        let view = view(&files[0].inputs, options)?;
        for file in &files[1..] {
            check(&file.inputs, &files[0].inputs)?;
        }
        Ok(Self {
            files,
            train,
            test,
            validation,
            rule,
            view,
        })
    }

    /// What is known before the inputs are read.
    pub fn declared(&self, options: &ArraysOptions) -> Result<Declared, DataError> {
        let count = |chosen: &Chosen| chosen.samples.len() as i64;
        Ok(Declared {
            name: NAME,
            input_shape: self.view.shape.clone(),
            input_type: self.input_type(),
            task: self.rule.task,
            classes: self.rule.classes,
            target_shape: self.target_shape(),
            train: count(&self.train),
            validation: self.validation.as_ref().map_or(0, count),
            test: count(&self.test),
            augment: options.augment,
            pixels: match self.view.becomes {
                Becomes::Bytes => Some(self.pixels(options)?),
                _ => None,
            },
        })
    }

    /// All of it, inputs too.
    pub fn dataset(&self, options: &ArraysOptions, device: Device) -> Result<Dataset, DataError> {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"arrays\0");
        for source in self.files.iter().flat_map(|file| &file.sources) {
            hasher.update(source.key.as_bytes()).update(b"\0");
            hasher.update(source.digest()?.as_bytes());
        }
        let standard = match (self.view.becomes, self.over(options)) {
            (Becomes::Numbers, Some(over)) => {
                let samples = self.stored(&self.train, None);
                Some(Arc::new(Standard::of(&samples, &self.view.shape, over)?))
            }
            _ => None,
        };
        let pixels = match self.view.becomes {
            Becomes::Bytes => Some(self.pixels(options)?),
            _ => None,
        };
        let parts = [
            Some(&self.train),
            Some(&self.test),
            self.validation.as_ref(),
        ];
        let stored = parts.map(|part| part.map(|it| self.stored(it, standard.clone())));
        let bytes = stored.iter().flatten().map(StoredSamples::bytes);
        let fits = bytes.fold(0, u64::saturating_add) <= options.limit();
        let split = |part: Option<&Chosen>, stored: Option<StoredSamples>| {
            let (Some(part), Some(stored)) = (part, stored) else {
                return Ok(None);
            };
            let targets = &self.files[part.file].targets;
            Ok(Some(Samples {
                labels: self.rule.tensor(targets, &part.samples, device)?,
                inputs: match fits {
                    true => stored.read_all(device)?.into(),
                    false => Inputs::Stored(Arc::new(stored)),
                },
                normalisation: (pixels.as_ref())
                    .map(|it| Normalisation::new(&it.mean, &it.std, device)),
            }))
        };
        let [train, test, validation] = stored;
        let [train, test, validation] = [
            split(parts[0], train)?,
            split(parts[1], test)?,
            split(parts[2], validation)?,
        ];
        let (Some(train), Some(test)) = (train, test) else {
            return Err(DataError::unfit("train", "there are no samples"));
        };
        if self.view.becomes == Becomes::Numbers && standard.is_none() {
            warn_of_large(&train, &self.files[0].inputs);
        }
        warn_of_same(&self.files);
        Ok(Dataset {
            name: NAME.to_owned(),
            task: self.rule.task,
            classes: self.rule.classes,
            class_names: self.rule.class_names(),
            input_shape: self.view.shape.clone(),
            input_type: self.input_type(),
            target_shape: self.target_shape(),
            train,
            validation,
            test,
            augment: options.augment,
            checksum: hasher.finalize().to_hex().to_string(),
        })
    }

    fn stored(&self, chosen: &Chosen, standard: Option<Arc<Standard>>) -> StoredSamples {
        StoredSamples::new(
            self.files[chosen.file].inputs.clone(),
            self.view.clone(),
            standard,
            chosen.samples.clone(),
        )
    }

    fn over(&self, options: &ArraysOptions) -> Option<Over> {
        Standard::over(options.standardise, &self.view.shape)
    }

    /// What images of bytes are normalised by.
    fn pixels(&self, options: &ArraysOptions) -> Result<PixelStatistics, DataError> {
        let channels = self.view.shape.first().map_or(1, |&it| it as usize);
        Ok(match self.over(options) {
            Some(over) => {
                let samples = self.stored(&self.train, None);
                let Standard { mean, std, .. } = Standard::of(&samples, &self.view.shape, over)?;
                PixelStatistics { mean, std }
            }
            None => PixelStatistics {
                mean: vec![0.0; channels],
                std: vec![1.0; channels],
            },
        })
    }

    fn input_type(&self) -> InputType {
        match self.view.becomes {
            Becomes::Tokens => InputType::Tokens,
            Becomes::Bytes | Becomes::Numbers => InputType::Numbers,
        }
    }

    fn target_shape(&self) -> Vec<i64> {
        self.rule.shape.iter().map(|&size| size as i64).collect()
    }
}

impl Chosen {
    fn new(file: usize, samples: Vec<i64>) -> Self {
        Self {
            file,
            samples: samples.into_iter().map(|it| it as u64).collect(),
        }
    }
}

/// Has tables become arrays, by what the samples that are trained on say.
fn finish(
    opened: Vec<Opened>,
    train: &Chosen,
    options: &ArraysOptions,
) -> Result<Vec<File>, DataError> {
    let features = match opened.first().map(|it| &it.content) {
        Some(Content::Table(table)) => {
            let targets = columns(table, options)?;
            let mut features = Features::choose(table, &targets, options)?;
            if options.missing == Missing::Mean {
                features.fill(table, &train.samples)?;
            }
            Some(features)
        }
        _ => None,
    };
    let file = |opened: Opened| {
        let inputs = match (opened.content, &features) {
            (Content::Array(array), None) => array,
            (Content::Table(table), Some(features)) => {
                features.encode(&table, options.missing, options.limit())?
            }
            _ => {
                return Err(opened.sources[0].refuse(
                    "the training samples are of another kind of file: expected a .csv for each, or for none",
                ));
            }
        };
        Ok(File {
            sources: opened.sources,
            inputs,
            targets: opened.targets,
        })
    };
    opened.into_iter().map(file).collect()
}

/// Warns of splits that have the same samples.
fn warn_of_same(files: &[File]) {
    for (at, file) in files.iter().enumerate() {
        let is_same = |other: &&File| {
            let (own, of) = (&file.inputs, &other.inputs);
            own.source.is(&of.source) && own.name == of.name
        };
        if let Some(same) = files[..at].iter().find(is_same) {
            log::warn!(
                "data.{0} has the samples of data.{1}, {2}, and says nothing of others: a number, such as \
                 `{0} = 0.2`, holds a share of the training samples out",
                file.inputs.source.key,
                same.inputs.source.key,
                file.inputs.source.path.display()
            );
        }
    }
}

/// Warns of inputs that nobody scaled.
fn warn_of_large(train: &Samples, array: &Array) {
    let Some(inputs) = train.inputs.tensor() else {
        return;
    };
    let largest = inputs.abs().max().double_value(&[]);
    if largest > LARGE {
        log::warn!(
            "{}: inputs reach {largest}, and networks train badly on such numbers: `standardise = true` in [data] \
             scales them",
            array.source.path.display()
        );
    }
}
