//! The inputs of a table: which columns they are, and the numbers that their values become.

use super::super::DataError;
use super::array::{Array, Bytes};
use super::element::{Element, Kind};
use super::options::{ArraysOptions, Categories, Missing};
use super::quoted;
use super::source::too_large;
use super::table::{Column, Table};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Inputs that the columns of a table become together, at most.
const MOST_INPUTS: usize = 100_000;

/// A column that is a part of the inputs.
struct Feature {
    name: String,
    values: Values,
}

/// What a column's values become.
enum Values {
    /// Themselves, and this where they are missing.
    Number(Option<f64>),
    /// A 1 in the place of the text, among as many 0.
    Text(BTreeMap<String, usize>),
}

/// The inputs of the training file's table, as they will be taken from every other one, too.
pub(super) struct Features(Vec<Feature>);

impl Features {
    /// Chooses the columns: those that the options name, or all but the targets.
    ///
    /// # Errors
    /// Columns that are not there, texts and missing values unless an option says what becomes of them: with
    /// their places.
    pub fn choose(
        table: &Table,
        targets: &[usize],
        options: &ArraysOptions,
    ) -> Result<Self, DataError> {
        let columns: Vec<usize> = match &options.inputs {
            None => (0..table.header.len())
                .filter(|it| !targets.contains(it))
                .collect(),
            Some(names) => (names.list().iter())
                .map(|name| find(table, "inputs", name))
                .collect::<Result<_, _>>()?,
        };
        if let Some(both) = columns.iter().find(|it| targets.contains(it)) {
            let name = &table.header[*both];
            let reason = format!("`{name}` is an input and the target: expected one of the two");
            return Err(DataError::unfit("inputs", reason));
        }
        if columns.is_empty() {
            let reason = "there is no column beside the target: expected inputs";
            return Err(table.source.refuse(reason));
        }
        let feature = |column: usize| {
            Ok(Feature {
                name: table.header[column].clone(),
                values: match table.column(column)? {
                    Column::Numbers(numbers) => {
                        check_missing(table, column, &numbers, options.missing)?;
                        Values::Number(None)
                    }
                    Column::Texts if options.categories == Categories::OneHot => {
                        let known = table.categories(column)?;
                        let known = known.into_iter().map(|(text, at)| (text.to_owned(), at));
                        Values::Text(known.collect())
                    }
                    Column::Texts => return Err(no_number(table, column)),
                },
            })
        };
        let features = Self(
            (columns.into_iter())
                .map(feature)
                .collect::<Result<_, DataError>>()?,
        );
        let width = features.width();
        if width > MOST_INPUTS {
            let longest = features.0.iter().max_by_key(|it| it.width());
            let longest = longest.map_or("", |it| &it.name);
            return Err(table.source.refuse(format!(
                "its columns become {width} inputs, most of them of `{longest}`: expected at most {MOST_INPUTS}; \
                 leave it out by `data.inputs`"
            )));
        }
        Ok(features)
    }

    /// Has missing numbers become the mean of those of these samples.
    ///
    /// # Errors
    /// A column without a number in these samples.
    pub fn fill(&mut self, table: &Table, samples: &[u64]) -> Result<(), DataError> {
        for feature in &mut self.0 {
            let Values::Number(filling) = &mut feature.values else {
                continue;
            };
            let column = find(table, "inputs", &feature.name)?;
            let Column::Numbers(numbers) = table.column(column)? else {
                continue; // It was one of numbers when it was chosen.
            };
            let known = samples.iter().map(|&it| numbers[it as usize]);
            let (count, sum) = known
                .filter(|it| !it.is_nan())
                .fold((0usize, 0.0), |(count, sum), it| (count + 1, sum + it));
            if count == 0 {
                return Err(table.source.refuse(format!(
                    "column `{}` has no number in the training samples: leave it out by `data.inputs`",
                    feature.name
                )));
            }
            *filling = Some(sum / count as f64);
        }
        Ok(())
    }

    /// The inputs of a table, of which memory may hold `limit` bytes.
    ///
    /// # Errors
    /// Columns that are not there, and values that the training file's columns do not have: with their places.
    pub fn encode(&self, table: &Table, missing: Missing, limit: u64) -> Result<Array, DataError> {
        let (samples, width) = (table.samples(), self.width());
        let bytes = (samples as u64) * (width as u64) * 8;
        if bytes > limit {
            return Err(table.source.refuse(too_large(bytes, limit)));
        }
        let mut rows = vec![0.0; samples * width];
        let mut start = 0;
        for feature in &self.0 {
            let column = find(table, table.source.key, &feature.name)?;
            match &feature.values {
                Values::Number(filling) => {
                    let Column::Numbers(numbers) = table.column(column)? else {
                        return Err(no_number(table, column));
                    };
                    check_missing(table, column, &numbers, missing)?;
                    for (sample, number) in numbers.into_iter().enumerate() {
                        rows[sample * width + start] = match number.is_nan() {
                            true => filling.unwrap_or(0.0),
                            false => number,
                        };
                    }
                }
                Values::Text(known) => {
                    for (sample, text) in table.texts(column).enumerate() {
                        let Some(at) = known.get(text) else {
                            let place = table.place(sample, column);
                            let known: Vec<String> =
                                known.keys().take(10).map(|it| quoted(it)).collect();
                            return Err(table.source.refuse(format!(
                                "{place}: {} does not occur in the training file, which has {}",
                                quoted(text),
                                known.join(", ")
                            )));
                        };
                        rows[sample * width + start + at] = 1.0;
                    }
                }
            }
            start += feature.width();
        }
        let bytes = rows.into_iter().flat_map(f64::to_le_bytes).collect();
        Ok(Array {
            source: table.source.clone(),
            name: String::new(),
            element: Element::new(Kind::F64),
            shape: vec![samples, width],
            bytes: Bytes::Memory(Arc::new(bytes)),
        })
    }

    /// The number of inputs.
    fn width(&self) -> usize {
        self.0.iter().map(Feature::width).sum()
    }
}

impl Feature {
    fn width(&self) -> usize {
        match &self.values {
            Values::Number(_) => 1,
            Values::Text(known) => known.len(),
        }
    }
}

/// The column of this name, which `key` is about.
pub(super) fn find(table: &Table, key: &'static str, name: &str) -> Result<usize, DataError> {
    table.find(name).ok_or_else(|| {
        let reason = format!(
            "{} has no column `{name}`: there are {}",
            table.source.path.display(),
            table.described()
        );
        DataError::unfit(key, reason)
    })
}

fn no_number(table: &Table, column: usize) -> DataError {
    let (sample, text) = table.first_text(column).unwrap_or((0, ""));
    table.source.refuse(format!(
        "{}: {} is no number; `categories = \"one-hot\"` makes inputs of texts, and `inputs` names the columns that \
         are taken",
        table.place(sample, column),
        quoted(text)
    ))
}

fn check_missing(
    table: &Table,
    column: usize,
    numbers: &[f64],
    missing: Missing,
) -> Result<(), DataError> {
    match numbers.iter().position(|it| it.is_nan()) {
        Some(sample) if missing == Missing::Refuse => Err(table.source.refuse(format!(
            "{}: a value is missing; `missing = \"mean\"` puts the mean of the column's training samples in its \
             place, and `inputs` names the columns that are taken",
            table.place(sample, column)
        ))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
