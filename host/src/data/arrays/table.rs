//! Tables of comma-separated values: a line of column names, and a sample on each line after it.

use super::super::DataError;
use super::quoted;
use super::source::Source;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Columns of a table, at most.
const MOST_COLUMNS: usize = 100_000;

/// What stands for a missing value, in any case.
const MISSING: [&str; 7] = ["", "na", "n/a", "nan", "null", "none", "?"];

/// A table as texts.
pub(super) struct Table {
    pub source: Arc<Source>,
    /// Names of the columns, each once.
    pub header: Vec<String>,
    /// All values one after the other.
    text: String,
    /// Where in it the values of each column begin and end.
    columns: Vec<Vec<[u32; 2]>>,
    /// The line of the file on which each sample begins.
    lines: Vec<u64>,
}

/// What a column holds.
pub(super) enum Column {
    /// Numbers; those that are missing are NaN.
    Numbers(Vec<f64>),
    /// Texts, not all of them numbers.
    Texts,
}

impl Table {
    /// Reads a file, of which memory may hold `limit` bytes.
    pub fn read(source: Source, limit: u64) -> Result<Self, DataError> {
        // A value may have a single character, and its place takes eight bytes.
        let bytes = source.read_all((limit / 8).min(u64::from(u32::MAX)))?;
        source.expect_unchanged()?;
        let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&bytes);
        let mut reader = csv::ReaderBuilder::new().flexible(false).from_reader(bytes);
        let odd = |error: csv::Error| source.refuse(said(&error));
        let header = reader.headers().map_err(odd)?;
        let header: Vec<String> = header.iter().map(|it| it.trim().to_owned()).collect();
        check(&header).map_err(|reason| source.refuse(reason))?;
        let mut columns = vec![Vec::new(); header.len()];
        let mut text = String::with_capacity(bytes.len());
        let mut lines = Vec::new();
        for record in reader.records() {
            let record = record.map_err(odd)?;
            lines.push(record.position().map_or(0, |it| line(bytes, it)));
            for (column, value) in columns.iter_mut().zip(&record) {
                let start = text.len() as u32;
                text.push_str(value.trim());
                column.push([start, text.len() as u32]);
            }
        }
        if lines.is_empty() {
            return Err(source.refuse("it has no line after its column names"));
        }
        Ok(Self {
            source: Arc::new(source),
            header,
            text,
            columns,
            lines,
        })
    }

    /// Number of samples.
    pub fn samples(&self) -> usize {
        self.lines.len()
    }

    /// Where a value stands, for messages.
    pub fn place(&self, sample: usize, column: usize) -> String {
        let line = self.lines[sample];
        format!("line {line}, column `{}`", shown(&self.header[column]))
    }

    /// The column of this name.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.header.iter().position(|it| it == name)
    }

    /// The columns' names, for messages.
    pub fn described(&self) -> String {
        const SHOWN: usize = 30;
        let names = self.header.iter().take(SHOWN);
        let mut all: Vec<String> = names.map(|it| format!("`{}`", shown(it))).collect();
        if self.header.len() > SHOWN {
            all.push(format!("and {} more", self.header.len() - SHOWN));
        }
        all.join(", ")
    }

    /// The values of a column as they are written.
    pub fn texts(&self, column: usize) -> impl Iterator<Item = &str> {
        let places = self.columns[column].iter();
        places.map(|&[start, end]| &self.text[start as usize..end as usize])
    }

    /// What a column holds: texts if any value that is there is no number.
    ///
    /// # Errors
    /// An infinite number, with its place.
    pub fn column(&self, column: usize) -> Result<Column, DataError> {
        let mut numbers = Vec::with_capacity(self.samples());
        for (sample, text) in self.texts(column).enumerate() {
            if is_missing(text) {
                numbers.push(f64::NAN);
                continue;
            }
            match text.parse::<f64>() {
                Ok(number) if number.is_finite() => numbers.push(number),
                Ok(_) => {
                    let place = self.place(sample, column);
                    return Err(self
                        .source
                        .refuse(format!("{place}: {} is no finite number", quoted(text))));
                }
                Err(_) => return Ok(Column::Texts),
            }
        }
        Ok(Column::Numbers(numbers))
    }

    /// The first value of a column that is there and no number, with its place.
    pub fn first_text(&self, column: usize) -> Option<(usize, &str)> {
        self.texts(column)
            .enumerate()
            .find(|(_, text)| !is_missing(text) && text.parse::<f64>().is_err())
    }

    /// The different texts of a column, sorted, with their numbers.
    ///
    /// # Errors
    /// A value that is missing, with its place.
    pub fn categories(&self, column: usize) -> Result<BTreeMap<&str, usize>, DataError> {
        let mut all = BTreeMap::new();
        for (sample, text) in self.texts(column).enumerate() {
            if is_missing(text) {
                let place = self.place(sample, column);
                return Err(self.source.refuse(format!(
                    "{place}: a value is missing, and the column's are texts, which have no mean: fill it in, or \
                     leave the column out by `data.inputs`"
                )));
            }
            all.insert(text, 0);
        }
        for (number, place) in all.values_mut().enumerate() {
            *place = number;
        }
        Ok(all)
    }
}

/// The line on which a sample begins: the reader's position is before the empty lines that it passes over.
fn line(bytes: &[u8], position: &csv::Position) -> u64 {
    let rest = bytes.get(position.byte() as usize..).unwrap_or(&[]);
    let ends = rest.iter().take_while(|it| matches!(it, b'\r' | b'\n'));
    position.line() + ends.filter(|it| **it == b'\n').count() as u64
}

/// Whether a text stands for a missing value.
pub(super) fn is_missing(text: &str) -> bool {
    MISSING.iter().any(|it| text.eq_ignore_ascii_case(it))
}

/// A column's name as messages show it.
fn shown(name: &str) -> String {
    let quoted = quoted(name);
    quoted[1..quoted.len() - 1].to_owned()
}

/// Fails unless these can be the names of columns.
fn check(header: &[String]) -> Result<(), String> {
    if header.len() > MOST_COLUMNS {
        let count = header.len();
        return Err(format!(
            "it has {count} columns, expected at most {MOST_COLUMNS}"
        ));
    }
    if header.is_empty() {
        return Err("its lines are empty, expected the names of the columns".to_owned());
    }
    if let [only] = header {
        let other = [';', '\t', '|'].into_iter().find(|it| only.contains(*it));
        return Err(match other {
            Some(other) => format!(
                "its values are separated by {other:?}, expected commas (and points within numbers)"
            ),
            None => format!(
                "it has one column, {}, expected inputs and a target",
                quoted(only)
            ),
        });
    }
    if header.iter().all(|it| it.parse::<f64>().is_ok()) {
        return Err(format!(
            "its first line holds numbers ({}, ...), expected the names of the columns",
            shown(&header[0])
        ));
    }
    let mut sorted: Vec<&String> = header.iter().collect();
    sorted.sort_unstable();
    match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(format!(
            "two of its columns are called {}: give each its own name",
            quoted(pair[0])
        )),
        None => Ok(()),
    }
}

/// What the reader says, with the line.
fn said(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::UnequalLengths {
            pos,
            expected_len,
            len,
        } => {
            let line = pos.as_ref().map_or(0, csv::Position::line);
            format!("line {line} has {len} values, the line of column names {expected_len}")
        }
        csv::ErrorKind::Utf8 { pos, .. } => {
            let line = pos.as_ref().map_or(0, csv::Position::line);
            format!("line {line} is not UTF-8: save the file with that encoding")
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The table of a file with this text.
    pub(in super::super) fn table(text: &str) -> Result<Table, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("table.csv");
        std::fs::write(&path, text).unwrap();
        let source = Source::open("train", &path).unwrap();
        Table::read(source, 1 << 20).map_err(|error| {
            let text = error.to_string();
            text.rsplit_once("table.csv: ").unwrap().1.to_owned()
        })
    }

    #[test]
    fn a_file_of_empty_lines_has_no_columns() {
        for text in ["\n", "\n\n", "\r\n\n", "\u{feff}\n"] {
            let said = table(text).err();
            let expected = "its lines are empty, expected the names of the columns";
            assert_eq!(said.as_deref(), Some(expected), "{text:?}");
        }
    }

    #[test]
    fn columns_are_numbers_or_texts_and_know_their_lines() {
        let text = "\u{feff}a, b ,\"c,d\"\n1,x,2.5\n\n NA ,\"y\nz\",-1e3\n3,,7\n";
        let table = table(text).unwrap();
        assert_eq!(table.header, ["a", "b", "c,d"]);
        assert_eq!(table.samples(), 3);
        let Column::Numbers(numbers) = table.column(0).unwrap() else {
            panic!("it is a column of numbers");
        };
        assert!(numbers[0] == 1.0 && numbers[1].is_nan() && numbers[2] == 3.0);
        assert!(matches!(table.column(1).unwrap(), Column::Texts));
        assert_eq!(table.first_text(1), Some((0, "x")));
        assert_eq!(table.place(1, 2), "line 4, column `c,d`");
        assert_eq!(table.place(2, 0), "line 6, column `a`");
        let missing = table.categories(1).err().unwrap().to_string();
        assert!(
            missing.contains("line 6, column `b`: a value is missing"),
            "{missing}"
        );
        assert_eq!(table.find("b"), Some(1));
    }

    #[test]
    fn what_is_no_table_is_refused_with_its_line() {
        let message = |text: &str| table(text).err().unwrap();
        assert_eq!(
            message("a,b\n1,2\n1,2,3\n"),
            "line 3 has 3 values, the line of column names 2"
        );
        assert!(message("a;b\n1;2\n").contains("separated by ';'"));
        assert!(message("1,2\n3,4\n").contains("first line holds numbers"));
        assert!(message("a,a\n3,4\n").contains("two of its columns are called `a`"));
        assert!(message("a,b\n").contains("no line after"));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("table.csv");
        std::fs::write(&path, b"a,b\n1,\xff\n").unwrap();
        let source = Source::open("train", &path).unwrap();
        let said = Table::read(source, 1 << 20).err().unwrap().to_string();
        assert!(said.contains("line 2 is not UTF-8"), "{said}");
        let infinite = table("a,b\n1,inf\n").unwrap().column(1).err().unwrap();
        assert!(
            infinite
                .to_string()
                .contains("line 2, column `b`: `inf` is no finite")
        );
    }
}
