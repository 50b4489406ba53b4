//! Arrays of one's own: `.npz`, pairs of `.npy`, `.safetensors`, and tables, `.csv`.
//!
//! Files are listed, the arrays or columns for inputs and targets chosen, samples shared out, the targets' rule
//! decided by the training file, and inputs read: into memory, or, if that has no room for them, whenever a batch
//! needs them. Nothing is allocated by what a file only claims.

mod array;
mod columns;
mod element;
mod inputs;
mod listing;
mod load;
mod npy;
mod open;
mod options;
mod pick;
mod rule;
mod source;
mod standard;
mod stored;
mod table;
mod targets;
mod tensors;
#[cfg(test)]
mod tests;

use super::{DataContext, DataError, Dataset, Declared, Definition, Source};
use crate::registry::{Entry, Options};
use load::Loaded;
use plugin_api::schemars::schema_for;

pub use options::ArraysOptions;
pub use stored::StoredSamples;

const NAME: &str = "arrays";

pub(super) const ENTRY: Entry<Definition> = Entry {
    name: NAME,
    summary: "arrays of your own: .npz, pairs of .npy, .safetensors, or a table, .csv",
    schema: || schema_for!(ArraysOptions),
    build: Definition {
        load: build,
        declared,
        source: Source::ByHand {
            is_here: |_| None,
            advice: "they are files of your own; name them in the experiment file: data.train = \"train.npz\"",
        },
    },
};

fn build(options: &Options, context: &DataContext) -> Result<Dataset, DataError> {
    let options = ArraysOptions::read(options)?;
    Loaded::new(&options)?.dataset(&options, context.device)
}

/// What the files' headers and targets say, without the inputs.
fn declared(options: &Options) -> Result<Declared, DataError> {
    let options = ArraysOptions::read(options)?;
    Loaded::new(&options)?.declared(&options)
}

/// A text of a file, short and without control characters, between backticks.
fn quoted(text: &str) -> String {
    let short: String = text.chars().take(100).collect();
    let more = if short.len() < text.len() { "..." } else { "" };
    format!("`{}{more}`", short.escape_debug())
}
