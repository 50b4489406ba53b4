//! Which of a file's arrays are inputs and targets: as the options say, or by the usual names.

use super::super::DataError;
use super::listing::Listing;
use super::options::ArraysOptions;

/// The samples that are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Split {
    Train,
    Test,
    Validation,
}

impl Split {
    /// Its option.
    pub fn key(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Test => "test",
            Self::Validation => "validation",
        }
    }

    /// How arrays' names say so.
    fn words(self) -> &'static [&'static str] {
        match self {
            Self::Train => &["train", "training"],
            Self::Test => &["test"],
            Self::Validation => &["val", "valid", "validation"],
        }
    }
}

/// Usual names of inputs and of targets.
const INPUTS: &[&str] = &[
    "x", "input", "inputs", "image", "images", "data", "feature", "features", "token", "tokens",
    "sample", "samples", "arr_0",
];
const TARGETS: &[&str] = &[
    "y", "target", "targets", "label", "labels", "class", "classes", "arr_1",
];

/// Usual names of a column that is the target.
pub(super) const COLUMNS: &[&str] = &["target", "label", "class", "y"];

/// Places of inputs and targets in a file's list; none if the file has nothing for this split.
///
/// # Errors
/// If names are missing or several would do: which arrays there are.
pub(super) fn pick(
    listing: &Listing,
    split: Split,
    options: &ArraysOptions,
) -> Result<Option<[usize; 2]>, DataError> {
    let inputs = options.inputs.as_ref().map(|it| it.list());
    let inputs = match inputs.as_deref() {
        None => None,
        Some([name]) => Some(*name),
        Some(_) => {
            return Err(DataError::unfit(
                "inputs",
                "`data.inputs` names several arrays: expected one, whose samples are whole inputs; several names \
                 are for the columns of a .csv",
            ));
        }
    };
    let one = |option: &'static str, named: Option<&str>, usual: &[&str]| {
        let names: Vec<&str> = named.map_or_else(|| usual.to_vec(), |name| vec![name]);
        let found = find(listing, split, &names);
        match (found.as_slice(), named) {
            ([at], _) => Ok(Some(*at)),
            ([], _) if split != Split::Train => Ok(None),
            ([], Some(name)) => Err(DataError::unfit(
                option,
                format!(
                    "{} has no array `{name}`: there are {}",
                    listing.source.path.display(),
                    described(listing)
                ),
            )),
            ([], None) => Err(listing.source.refuse(format!(
                "none of its arrays has a usual name for {option}: name one by `data.{option}`; there are {}",
                described(listing)
            ))),
            (several, _) => {
                let names = several.iter().map(|&at| format!("`{}`", listing.arrays[at].name));
                Err(listing.source.refuse(format!(
                    "its arrays {} may all be the {option}: name one by `data.{option}`; there are {}",
                    names.collect::<Vec<_>>().join(", "),
                    described(listing)
                )))
            }
        }
    };
    let inputs = one("inputs", inputs, INPUTS)?;
    let targets = one("targets", options.targets.as_deref(), TARGETS)?;
    match (inputs, targets) {
        (Some(inputs), Some(targets)) if inputs == targets => Err(listing.source.refuse(
            "the inputs and the targets are one array: name both by `data.inputs` and `data.targets`",
        )),
        (Some(inputs), Some(targets)) => Ok(Some([inputs, targets])),
        (None, None) => Ok(None),
        (found, _) => {
            let lacking = if found.is_none() { "inputs" } else { "targets" };
            Err(listing.source.refuse(format!(
                "it has no {lacking} for `data.{}`: there are {}",
                split.key(),
                described(listing)
            )))
        }
    }
}

/// The arrays that have one of these names: the plain name, or with the word for the split before or behind it,
/// which goes first.
fn find(listing: &Listing, split: Split, names: &[&str]) -> Vec<usize> {
    let with = |is_own: &dyn Fn(&str, &str) -> bool| -> Vec<usize> {
        let arrays = listing.arrays.iter().enumerate();
        arrays
            .filter(|(_, array)| names.iter().any(|name| is_own(&array.name, name)))
            .map(|(at, _)| at)
            .collect()
    };
    let decorated = with(&|own, name| {
        let own = own.to_lowercase();
        let name = name.to_lowercase();
        split.words().iter().any(|word| {
            ["_", "-", "."].iter().any(|between| {
                own == format!("{name}{between}{word}") || own == format!("{word}{between}{name}")
            })
        })
    });
    if !decorated.is_empty() {
        return decorated;
    }
    let exact = with(&|own, name| own == name);
    match exact.is_empty() {
        true => with(&|own, name| own.eq_ignore_ascii_case(name)),
        false => exact,
    }
}

/// Whether a file's arrays say by their names which are for this split.
pub(super) fn says(listing: &Listing, split: Split) -> bool {
    let parts = |name: &str| -> Vec<String> {
        let parts = name.split(['_', '-', '.']);
        parts.map(str::to_lowercase).collect()
    };
    let is_own = |name: &str| {
        parts(name)
            .iter()
            .any(|part| split.words().contains(&part.as_str()))
    };
    listing.arrays.iter().any(|array| is_own(&array.name))
}

/// All arrays of a file with what they are.
fn described(listing: &Listing) -> String {
    const SHOWN: usize = 20;
    let arrays = listing.arrays.iter().take(SHOWN);
    let mut all: Vec<String> = arrays
        .map(|array| match &array.header {
            Ok(header) => format!("`{}` ({} {:?})", array.name, header.element, header.shape),
            Err(_) => format!("`{}` (not readable)", array.name),
        })
        .collect();
    if listing.arrays.len() > SHOWN {
        all.push(format!("and {} more", listing.arrays.len() - SHOWN));
    }
    all.join(", ")
}
