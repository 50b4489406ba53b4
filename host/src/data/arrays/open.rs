//! Opening what an option names: inputs and targets of a split, before it is known which samples are trained on.

use super::super::DataError;
use super::array::Array;
use super::listing::Listing;
use super::options::{ArraysOptions, Files, Missing};
use super::pick::{Split, pick};
use super::source::Source;
use super::table::Table;
use super::targets::{Targets, columns};
use std::path::Path;
use std::sync::Arc;

/// A file before it is known which of its samples are trained on.
pub(super) struct Opened {
    pub sources: Vec<Arc<Source>>,
    pub content: Content,
    pub targets: Targets,
}

/// What it holds.
pub(super) enum Content {
    Array(Array),
    Table(Arc<Table>),
}

/// What files have for a split; nothing if no array is for it. Of a file with several arrays also their list.
pub(super) fn open(
    files: &Files,
    split: Split,
    options: &ArraysOptions,
) -> Result<(Option<Opened>, Option<Listing>), DataError> {
    let (key, limit) = (split.key(), options.limit());
    let is = |path: &Path, ending: &str| {
        path.extension()
            .is_some_and(|it| it.eq_ignore_ascii_case(ending))
    };
    let (inputs, targets, sources, listing) = match files {
        Files::One(path) if is(path, "csv") => {
            let table = Arc::new(Table::read(Source::open(key, path)?, limit)?);
            let targets = Targets::of_table(&table, &columns(&table, options)?)?;
            let opened = Opened {
                sources: vec![table.source.clone()],
                content: Content::Table(table),
                targets,
            };
            return Ok((Some(opened), None));
        }
        Files::One(path) => {
            let listing = Listing::open(Source::open(key, path)?)?;
            if is(path, "npy") {
                return Err(listing.source.refuse(format!(
                    "it holds one array: name a file each, `{key} = {{ inputs = \"x.npy\", targets = \"y.npy\" }}`"
                )));
            }
            no_columns(options)?;
            let Some([inputs, targets]) = pick(&listing, split, options)? else {
                return Ok((None, Some(listing)));
            };
            let take = |at| listing.take(at, limit);
            let sources = vec![listing.source.clone()];
            (take(inputs)?, take(targets)?, sources, Some(listing))
        }
        Files::Pair(pair) => {
            no_columns(options)?;
            let one = |path: &Path| {
                let listing = Listing::open(Source::open(key, path)?)?;
                match is(path, "npy") {
                    true => listing.take(0, limit),
                    false => Err(listing
                        .source
                        .refuse("expected a .npy, which holds one array")),
                }
            };
            let (inputs, targets) = (one(&pair.inputs)?, one(&pair.targets)?);
            let sources = vec![inputs.source.clone(), targets.source.clone()];
            (inputs, targets, sources, None)
        }
    };
    if inputs.samples() != targets.samples() {
        return Err(inputs.refuse(format!(
            "it has {} samples, the targets {}: expected as many",
            inputs.samples(),
            targets.samples()
        )));
    }
    let opened = Opened {
        targets: Targets::of_array(&targets, limit)?,
        content: Content::Array(inputs),
        sources,
    };
    Ok((Some(opened), listing))
}

/// Options of tables have no meaning for arrays.
fn no_columns(options: &ArraysOptions) -> Result<(), DataError> {
    let defaults = (
        options.categories == Default::default(),
        options.missing == Missing::Refuse,
    );
    let (key, advice) = match (&options.target, defaults) {
        (Some(_), _) => (
            "target",
            ": the array of the targets is named by `data.targets`",
        ),
        (None, (false, _)) => ("categories", ""),
        (None, (true, false)) => ("missing", ""),
        _ => return Ok(()),
    };
    Err(DataError::unfit(
        key,
        format!("`data.{key}` is for the columns of a .csv{advice}"),
    ))
}

/// No array of the file is for this split.
pub(super) fn nothing(split: Split, listing: Option<&Listing>) -> DataError {
    let key = split.key();
    let file = listing.map_or_else(String::new, |it| format!("{}: ", it.source.path.display()));
    DataError::unfit(key, format!("{file}none of its arrays is for `data.{key}`"))
}
