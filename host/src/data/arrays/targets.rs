//! The targets as a file has them: whole numbers, numbers with fractions, or texts.

use super::super::DataError;
use super::array::Array;
use super::columns::find;
use super::element::Kind;
use super::options::ArraysOptions;
use super::pick::COLUMNS;
use super::quoted;
use super::source::too_large;
use super::table::{Table, is_missing};
use std::sync::Arc;

/// The targets of a file's samples.
pub(super) struct Targets {
    pub values: Values,
    /// Shape of those of one sample.
    pub shape: Vec<usize>,
    origin: Origin,
}

/// Their elements, row-major.
pub(super) enum Values {
    Integers(Vec<i64>),
    Numbers(Vec<f64>),
    Texts(Vec<String>),
}

/// Where they stand.
enum Origin {
    Array(Array),
    Table(Arc<Table>, Vec<usize>),
}

impl Targets {
    /// Those of an array, of which memory may hold `limit` bytes.
    ///
    /// # Errors
    /// What are no targets: the first one, with its place.
    pub fn of_array(array: &Array, limit: u64) -> Result<Self, DataError> {
        let (samples, element) = (array.samples(), array.element);
        let count = samples as u64 * array.values() as u64;
        let bytes = count.saturating_mul(element.size().max(8) as u64);
        if bytes > limit {
            return Err(array.refuse(too_large(bytes, limit)));
        }
        let all: Vec<u64> = (0..samples as u64).collect();
        let bytes = array.read(&all)?;
        let mut targets = Self {
            values: Values::Integers(Vec::new()),
            // A column of one is a vector.
            shape: match array.sample() {
                [1] => Vec::new(),
                other => other.to_vec(),
            },
            origin: Origin::Array(array.clone()),
        };
        targets.values = if element.is_text() {
            let texts = element.texts(&bytes).into_iter().enumerate();
            let text = |(at, text): (usize, Option<String>)| {
                text.ok_or_else(|| targets.refuse(at, "it is no text"))
            };
            Values::Texts(texts.map(text).collect::<Result<_, _>>()?)
        } else if element.is_float() {
            let numbers = element.numbers(&bytes);
            if let Some(at) = numbers.iter().position(|it| !it.is_finite()) {
                return Err(targets.refuse(at, format!("{} is no finite number", numbers[at])));
            }
            Values::Numbers(numbers)
        } else {
            let integers = element.integers(&bytes);
            if element.kind == Kind::U64
                && let Some(at) = integers.iter().position(|it| *it < 0)
            {
                return Err(targets.refuse(at, "it does not fit into 63 bits"));
            }
            Values::Integers(integers)
        };
        Ok(targets)
    }

    /// Those of columns of a table.
    ///
    /// # Errors
    /// A missing one, with its place; texts in several columns.
    pub fn of_table(table: &Arc<Table>, columns: &[usize]) -> Result<Self, DataError> {
        let mut targets = Self {
            values: Values::Integers(Vec::new()),
            shape: match columns {
                [_] => Vec::new(),
                several => vec![several.len()],
            },
            origin: Origin::Table(table.clone(), columns.to_vec()),
        };
        let each = columns.iter().map(|&column| table.texts(column).collect());
        let each: Vec<Vec<&str>> = each.collect();
        let samples = 0..table.samples();
        let texts = samples.flat_map(|sample| each.iter().map(move |column| column[sample]));
        let texts: Vec<&str> = texts.collect();
        if let Some(at) = texts.iter().position(|it| is_missing(it)) {
            return Err(targets.refuse(at, "it is missing: fill it in, or take the line out"));
        }
        let integers: Option<Vec<i64>> = texts.iter().map(|it| it.parse().ok()).collect();
        let numbers: Option<Vec<f64>> = match integers {
            Some(_) => None,
            None => texts.iter().map(|it| it.parse().ok()).collect(),
        };
        targets.values = match (integers, numbers, columns) {
            (Some(integers), ..) => Values::Integers(integers),
            (None, Some(numbers), _) => {
                if let Some(at) = numbers.iter().position(|it| !it.is_finite()) {
                    return Err(targets.refuse(at, "it is no finite number"));
                }
                Values::Numbers(numbers)
            }
            (None, None, [_]) => Values::Texts(texts.into_iter().map(str::to_owned).collect()),
            _ => {
                let at = texts.iter().position(|it| it.parse::<f64>().is_err());
                return Err(targets.refuse(at.unwrap_or(0), "it is text: expected 0 or 1"));
            }
        };
        Ok(targets)
    }

    /// Number of samples.
    pub fn samples(&self) -> usize {
        let count = match &self.values {
            Values::Integers(it) => it.len(),
            Values::Numbers(it) => it.len(),
            Values::Texts(it) => it.len(),
        };
        count / self.each()
    }

    /// Elements of one sample.
    pub fn each(&self) -> usize {
        self.shape.iter().product::<usize>().max(1)
    }

    /// What is wrong with them altogether.
    pub fn refuse_all(&self, reason: impl std::fmt::Display) -> DataError {
        match &self.origin {
            Origin::Array(array) => array.refuse(reason),
            Origin::Table(table, columns) => {
                let names = columns.iter().map(|&it| quoted(&table.header[it]));
                let names: Vec<String> = names.collect();
                table
                    .source
                    .refuse(format!("column {}: {reason}", names.join(", ")))
            }
        }
    }

    /// What is wrong with the element at this place.
    pub fn refuse(&self, at: usize, reason: impl std::fmt::Display) -> DataError {
        let (sample, place) = (at / self.each(), at % self.each());
        match &self.origin {
            Origin::Array(array) => {
                let position = match self.shape.as_slice() {
                    [] => String::new(),
                    _ => format!(" at position {place}"),
                };
                array.refuse(format!("the target of sample {sample}{position}: {reason}"))
            }
            Origin::Table(table, columns) => {
                let place = table.place(sample, columns[place]);
                table
                    .source
                    .refuse(format!("{place}: the target: {reason}"))
            }
        }
    }
}

/// The columns of a table that are the targets: those that the options name, or the one with a usual name.
pub(super) fn columns(table: &Table, options: &ArraysOptions) -> Result<Vec<usize>, DataError> {
    if options.targets.is_some() {
        let reason =
            "`data.targets` is for files of arrays: the column of a .csv is named by `data.target`";
        return Err(DataError::unfit("targets", reason));
    }
    if let Some(names) = &options.target {
        let names = names.list();
        let columns = names.iter().map(|name| find(table, "target", name));
        let columns: Vec<usize> = columns.collect::<Result<_, _>>()?;
        return match columns.is_empty() {
            true => Err(DataError::unfit("target", "`data.target` names no column")),
            false => Ok(columns),
        };
    }
    let usual = |name: &String| COLUMNS.iter().any(|it| name.eq_ignore_ascii_case(it));
    let found: Vec<usize> = (0..table.header.len())
        .filter(|&it| usual(&table.header[it]))
        .collect();
    match found.as_slice() {
        [one] => Ok(vec![*one]),
        _ => {
            let how = match found.len() {
                0 => "none",
                _ => "more than one",
            };
            Err(table.source.refuse(format!(
                "{how} of its columns has a usual name for the target: name it by `data.target`; there are {}",
                table.described()
            )))
        }
    }
}
