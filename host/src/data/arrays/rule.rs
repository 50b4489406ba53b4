//! What is learnt of the targets, and the numbers that they become.

use super::super::DataError;
use super::options::ArraysOptions;
use super::quoted;
use super::targets::{Targets, Values};
use crate::samples::Task;
use std::collections::{BTreeMap, BTreeSet};
use tch::{Device, Tensor};

/// Different whole numbers up to which they are classes, whatever the number of samples.
const FEW: usize = 20;
/// Classes, at most.
const MOST_CLASSES: i64 = 10_000_000;

/// How targets become what is learnt; the training file's decides for the others.
#[derive(Debug, PartialEq)]
pub(super) struct Rule {
    pub task: Task,
    /// Number of classes, or of labels; 1 of numbers.
    pub classes: i64,
    /// Shape of the targets of one sample.
    pub shape: Vec<usize>,
    /// The classes by what they are called in the file; none where they are numbered there.
    names: Option<BTreeMap<Name, i64>>,
}

/// What a class is called. Numbers are sorted by value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Name {
    Number(i64),
    Text(String),
}

impl Rule {
    /// The rule that the options and the targets of the training file give.
    ///
    /// # Errors
    /// If it is not clear what is to be learnt, or the targets are not for it.
    pub fn of(targets: &Targets, options: &ArraysOptions) -> Result<Self, DataError> {
        let task = match options.task {
            Some(task) => task,
            None => usual(targets)?,
        };
        let rule = Self {
            task,
            classes: 1,
            shape: targets.shape.clone(),
            names: None,
        };
        if options.classes.is_some() && task != Task::Classes {
            let reason = "`data.classes` is for targets that are classes";
            return Err(DataError::unfit("classes", reason));
        }
        match (task, targets.shape.as_slice()) {
            (Task::Classes, [] | [_]) => rule.of_classes(targets, options.classes),
            (Task::Numbers, []) => Ok(rule),
            (Task::Labels, [labels]) => Ok(Self {
                classes: *labels as i64,
                ..rule
            }),
            (task, shape) => {
                let expected = match task {
                    Task::Classes => "one for each sample, or one for each of its positions",
                    Task::Numbers => "one number for each sample",
                    Task::Labels => "a 0 or 1 for each label",
                };
                Err(targets.refuse_all(format!(
                    "the targets of a sample have shape {shape:?}, and `data.task` is {}: expected {expected}",
                    quoted(name(task))
                )))
            }
        }
    }

    fn of_classes(mut self, targets: &Targets, given: Option<u32>) -> Result<Self, DataError> {
        if let (Values::Texts(_), [_]) = (&targets.values, targets.shape.as_slice()) {
            return Err(targets.refuse_all("texts are classes of whole samples, one each"));
        }
        if let Some(given) = given {
            self.classes = given.into();
            return match targets.values {
                Values::Texts(_) => Err(DataError::unfit(
                    "classes",
                    "the classes are texts, which are numbered by themselves: leave `data.classes` out",
                )),
                _ => Ok(self),
            };
        }
        let integers;
        let values = match &targets.values {
            Values::Texts(texts) => {
                let texts: BTreeSet<&String> = texts.iter().collect();
                let names = texts.into_iter().cloned().map(Name::Text);
                return self.named(targets, names.collect());
            }
            Values::Integers(values) => values,
            Values::Numbers(numbers) => {
                integers = whole(targets, numbers)?;
                &integers
            }
        };
        let most = values.iter().max().copied().unwrap_or(0);
        if let [_] = self.shape[..] {
            // Of tokens not all need to occur.
            self.classes = most.saturating_add(1);
            return match self.classes {
                2..=MOST_CLASSES => Ok(self),
                _ => Err(targets.refuse_all(format!(
                    "the greatest target is {most}: expected classes from 0, two at least and {MOST_CLASSES} at most"
                ))),
            };
        }
        let different: BTreeSet<i64> = values.iter().copied().collect();
        let numbered = different.iter().copied().eq(0..different.len() as i64);
        if numbered && different.len() > 1 {
            self.classes = different.len() as i64;
            return Ok(self);
        }
        self.named(targets, different.into_iter().map(Name::Number).collect())
    }

    fn named(mut self, targets: &Targets, names: Vec<Name>) -> Result<Self, DataError> {
        if names.len() < 2 {
            return Err(
                targets.refuse_all("all targets are the same: expected two classes at least")
            );
        }
        self.classes = names.len() as i64;
        self.names = Some(names.into_iter().zip(0..).collect());
        Ok(self)
    }

    /// What the classes are called, by their number; empty where they are numbered in the file.
    pub fn class_names(&self) -> Vec<String> {
        let names = self.names.iter().flatten();
        let name = |(name, _): (&Name, &i64)| match name {
            Name::Number(number) => number.to_string(),
            Name::Text(text) => text.clone(),
        };
        names.map(name).collect()
    }

    /// The class of each sample, if each has one.
    ///
    /// # Errors
    /// A target that is no class, with its place.
    pub fn strata(&self, targets: &Targets) -> Result<Option<Vec<i64>>, DataError> {
        match (self.task, self.shape.is_empty()) {
            (Task::Classes, true) => self.classes_of(targets).map(Some),
            _ => Ok(None),
        }
    }

    /// The targets of these samples.
    ///
    /// # Shapes
    /// `[samples, ...shape]`: i64 of classes, else f32.
    ///
    /// # Errors
    /// A target that is not as those of the training file, with its place.
    pub fn tensor(
        &self,
        targets: &Targets,
        samples: &[u64],
        device: Device,
    ) -> Result<Tensor, DataError> {
        if targets.shape != self.shape {
            return Err(targets.refuse_all(format!(
                "the targets of a sample have shape {:?}, those of the training file {:?}",
                targets.shape, self.shape
            )));
        }
        let each = targets.each();
        let shape: Vec<i64> = [samples.len()]
            .iter()
            .chain(&self.shape)
            .map(|&size| size as i64)
            .collect();
        let tensor = match self.task {
            Task::Classes => Tensor::from_slice(&rows(&self.classes_of(targets)?, samples, each)),
            Task::Numbers | Task::Labels => {
                let numbers = self.numbers_of(targets)?;
                Tensor::from_slice(&rows(&numbers, samples, each))
            }
        };
        Ok(tensor.view(&shape[..]).to_device(device))
    }

    /// The class of each element.
    fn classes_of(&self, targets: &Targets) -> Result<Vec<i64>, DataError> {
        let integers;
        let values = match &targets.values {
            Values::Texts(texts) => {
                let texts = texts.iter().cloned().map(Name::Text);
                return self.look_up(targets, texts);
            }
            Values::Integers(values) => values,
            Values::Numbers(numbers) => {
                integers = whole(targets, numbers)?;
                &integers
            }
        };
        if self.names.is_some() {
            return self.look_up(targets, values.iter().copied().map(Name::Number));
        }
        match values.iter().position(|it| !(0..self.classes).contains(it)) {
            None => Ok(values.clone()),
            Some(at) => {
                let advice = match self.shape.is_empty() {
                    true => "",
                    false => "; `data.classes` says how many there are, if these do not all occur",
                };
                Err(targets.refuse(
                    at,
                    format!(
                        "{} is none of the classes 0 to {}{advice}",
                        values[at],
                        self.classes - 1
                    ),
                ))
            }
        }
    }

    fn look_up(
        &self,
        targets: &Targets,
        names: impl Iterator<Item = Name>,
    ) -> Result<Vec<i64>, DataError> {
        let known = self.names.as_ref();
        let class = |(at, name): (usize, Name)| {
            known.and_then(|it| it.get(&name).copied()).ok_or_else(|| {
                let name = match &name {
                    Name::Number(number) => number.to_string(),
                    Name::Text(text) => quoted(text),
                };
                let names: Vec<String> = self
                    .class_names()
                    .iter()
                    .take(10)
                    .map(|it| quoted(it))
                    .collect();
                let names = match names.is_empty() {
                    true => format!("0 to {}", self.classes - 1),
                    false => names.join(", "),
                };
                targets.refuse(
                    at,
                    format!("{name} is no class of the training file, which has {names}"),
                )
            })
        };
        names.enumerate().map(class).collect()
    }

    /// The numbers, or labels of 0 and 1.
    fn numbers_of(&self, targets: &Targets) -> Result<Vec<f32>, DataError> {
        let numbers: Vec<f64> = match &targets.values {
            Values::Integers(values) => values.iter().map(|&it| it as f64).collect(),
            Values::Numbers(numbers) => numbers.clone(),
            Values::Texts(texts) => {
                let text = texts.first().map_or_else(String::new, |it| quoted(it));
                return Err(targets.refuse(0, format!("{text} is text: expected a number")));
            }
        };
        let is_odd = |number: &f64| match self.task {
            Task::Labels => *number != 0.0 && *number != 1.0,
            _ => !(*number as f32).is_finite(),
        };
        match numbers.iter().position(is_odd) {
            None => Ok(numbers.into_iter().map(|it| it as f32).collect()),
            Some(at) => {
                let expected = match self.task {
                    Task::Labels => "0 or 1 for each label",
                    _ => "a number within the reach of 32 bits",
                };
                Err(targets.refuse(
                    at,
                    format!("{} was found, expected {expected}", numbers[at]),
                ))
            }
        }
    }
}

/// What targets of this kind usually stand for.
fn usual(targets: &Targets) -> Result<Task, DataError> {
    let unclear = |what: String| {
        Err(targets.refuse_all(format!(
            "{what}: say what is to be learnt, by `data.task = \"classes\"`, `\"numbers\"` or `\"labels\"`"
        )))
    };
    match (&targets.values, targets.shape.as_slice()) {
        (Values::Texts(_), _) => Ok(Task::Classes),
        (Values::Integers(values), []) => {
            let different: BTreeSet<&i64> = values.iter().collect();
            let (different, samples) = (different.len(), values.len());
            match different > FEW && 2 * different > samples {
                true => unclear(format!(
                    "the targets of {samples} samples are {different} different whole numbers"
                )),
                false => Ok(Task::Classes),
            }
        }
        (Values::Integers(values), _) if values.iter().all(|it| matches!(it, 0 | 1)) => unclear(
            "the targets are several for each sample, all 0 or 1 (of classes that are marked by a 1, \
             `numpy.argmax(y, 1)` makes one number each)"
                .to_owned(),
        ),
        (Values::Integers(_), _) => Ok(Task::Classes),
        (Values::Numbers(numbers), []) if numbers.iter().all(|it| it.fract() == 0.0) => unclear(
            "the targets are whole numbers that are stored as ones with fractions".to_owned(),
        ),
        (Values::Numbers(_), []) => Ok(Task::Numbers),
        (Values::Numbers(_), shape) => unclear(format!(
            "the targets of each sample are numbers of shape {shape:?}, where one is expected"
        )),
    }
}

/// Numbers as whole ones.
fn whole(targets: &Targets, numbers: &[f64]) -> Result<Vec<i64>, DataError> {
    let is_whole = |it: &f64| it.fract() == 0.0 && it.abs() < 2f64.powi(53);
    match numbers.iter().position(|it| !is_whole(it)) {
        None => Ok(numbers.iter().map(|&it| it as i64).collect()),
        Some(at) => Err(targets.refuse(
            at,
            format!("{} is no whole number, as classes are", numbers[at]),
        )),
    }
}

/// The elements of these samples, of each of which there are so many.
fn rows<T: Copy>(values: &[T], samples: &[u64], each: usize) -> Vec<T> {
    let rows = samples.iter().map(|&it| it as usize * each);
    rows.flat_map(|start| values[start..start + each].iter().copied())
        .collect()
}

/// A task as the experiment file spells it.
fn name(task: Task) -> &'static str {
    match task {
        Task::Classes => "classes",
        Task::Numbers => "numbers",
        Task::Labels => "labels",
    }
}

#[cfg(test)]
mod tests;
