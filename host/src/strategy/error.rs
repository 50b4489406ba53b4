//! Errors of plugins and of what they hand back.

use std::path::{Path, PathBuf};

use super::distribution::NoRoom;
use super::select::SelectError;
use super::tensor::Refused;
use crate::configuration::ConfigurationError;
use crate::program;

/// A plugin that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// No such file in the search path.
    #[error(
        "plugin `{name}` was not found; looked for {file} in {searched}; build it, put it there or name it under [plugins]{}",
        known_plugins(.known)
    )]
    NotFound {
        /// Name in the experiment file.
        name: String,
        /// File name looked for.
        file: String,
        /// Folders searched, joined.
        searched: String,
        /// Plugins that are there.
        known: Vec<String>,
    },
    /// Two files with the same name.
    #[error("plugin `{name}` is both {first} and {second}: remove or rename one of them")]
    Clash {
        /// Name in the experiment file.
        name: String,
        /// One file.
        first: PathBuf,
        /// The other.
        second: PathBuf,
    },
    /// The file cannot be read.
    #[error("plugin `{name}`: failed to read {path}: {source}{}", not_built(.path, .source))]
    Read {
        /// Name in the experiment file.
        name: String,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Not the pinned file.
    #[error(
        "plugin `{name}`: {path} has BLAKE3 digest {got}, but the experiment file pins {expected}; \
         put the pinned file there or change the pin"
    )]
    Pin {
        /// Name in the experiment file.
        name: String,
        /// The file.
        path: PathBuf,
        /// Its digest.
        got: String,
        /// The pinned digest.
        expected: String,
    },
    /// A name that leads out of the folders that are searched.
    #[error(
        "`{name}` is no plugin's name: expected letters, digits, `-`, `_` and the like, without `/`"
    )]
    Name {
        /// Name in the experiment file.
        name: String,
    },
    /// A library that the user has not agreed to run.
    #[error(
        "plugin `{name}`: {path} (BLAKE3 {digest}) is not trusted, so nothing of it was run: \
         `{program} plugin trust {path}` trusts this file, `--allow-plugins` all that a command meets",
        program = program::name()
    )]
    Untrusted {
        /// Name in the experiment file.
        name: String,
        /// The file.
        path: PathBuf,
        /// Its digest.
        digest: String,
    },
    /// A configuration that does not say what is trusted.
    #[error(transparent)]
    Configuration(#[from] ConfigurationError),
    /// No plugin, a damaged one, or one for another interface.
    #[error("plugin `{name}`: {path} {reason}")]
    Unusable {
        /// Name in the experiment file.
        name: String,
        /// The file.
        path: PathBuf,
        /// Why, completing the sentence.
        reason: String,
    },
}

/// What to do where a library is missing: one that cargo would have put there is not built.
fn not_built(path: &Path, source: &std::io::Error) -> String {
    if source.kind() != std::io::ErrorKind::NotFound {
        return String::new();
    }
    let name = |path: &Path| Some(path.file_name()?.to_str()?.to_owned());
    let profile = path.parent();
    let target = profile.and_then(Path::parent);
    let krate = target.and_then(Path::parent);
    let (Some("target"), Some(profile), Some(krate)) = (
        target.and_then(name).as_deref(),
        profile.and_then(name),
        krate.filter(|it| it.join("Cargo.toml").is_file()),
    ) else {
        return "; build it, or correct its path under [plugins]".to_owned();
    };
    let manifest = krate.join("Cargo.toml");
    let mut words = vec!["cargo", "build"];
    match profile.as_str() {
        "debug" => {}
        "release" => words.push("--release"),
        other => words.extend(["--profile", other]),
    }
    let manifest = manifest.display().to_string();
    words.extend(["--manifest-path", &manifest]);
    format!("; not built yet? `{}`", program::command_line(words))
}

fn known_plugins(known: &[String]) -> String {
    match known {
        [] => String::new(),
        known => format!("; plugins found: {}", known.join(", ")),
    }
}

/// A component that failed, or broke a rule. Names plugin and component.
#[derive(Debug, thiserror::Error)]
#[error("{part} of plugin `{plugin}` {violation}")]
pub struct StrategyError {
    /// `rewind[0] component `weights``, say.
    pub part: String,
    /// Plugin's name.
    pub plugin: String,
    /// What went wrong, completing the sentence.
    pub violation: Violation,
}

impl StrategyError {
    /// Whether the component asked for something stored that is not there.
    pub fn is_missing(&self) -> bool {
        matches!(self.violation, Violation::Missing(_))
    }
}

/// What a component did wrong, completing the sentence "component `x` of plugin `y` ...".
#[derive(Debug, thiserror::Error)]
pub enum Violation {
    /// Its own error or panic.
    #[error("failed: {0}")]
    Failed(String),
    /// Panicked.
    #[error("{0}")]
    Panicked(String),
    /// Options it does not take.
    #[error("refused its options: {0}")]
    BadOptions(String),
    /// An answer this host does not understand.
    #[error(
        "answered something that this host does not understand ({0}); it may be built for a newer host"
    )]
    Foreign(String),
    /// A handle that is none of its own.
    #[error("gave back {what} {index} that is {refused}; tensors must come from its own context")]
    ForeignTensor {
        /// Score, mask or weights.
        what: &'static str,
        /// Place in the list.
        index: usize,
        /// Whose it is.
        refused: Refused,
    },
    /// Memory that it was lent holds something else now.
    #[error(
        "changed the {what} that it was lent, of layer `{layer}`: what a component is lent is for reading"
    )]
    Changed {
        /// Such as `weights`.
        what: String,
        /// Layer's name.
        layer: String,
    },
    /// A point or a mask that is not stored, or not for this network.
    #[error("asks for what is not there: {0}")]
    Missing(String),
    /// Too few or too many tensors.
    #[error("gave {got} {what} tensor(s), expected {expected}: one for each prunable layer")]
    Count {
        /// Score, mask or weight.
        what: &'static str,
        /// Number given.
        got: usize,
        /// Number of layers.
        expected: usize,
    },
    /// Wrong shape, type or device.
    #[error("gave a wrong {what} for layer `{layer}`: got {got}, expected {expected}")]
    Form {
        /// Score, mask or weights.
        what: &'static str,
        /// Layer's name.
        layer: String,
        /// What it is.
        got: String,
        /// What it should be.
        expected: String,
    },
    /// A value that is NaN or infinite.
    #[error(
        "gave a {what} for layer `{layer}` whose element {index} is {value}; expected finite numbers"
    )]
    NotFinite {
        /// Score or weights.
        what: &'static str,
        /// Layer's name.
        layer: String,
        /// Row-major index.
        index: i64,
        /// The value.
        value: f64,
    },
    /// A mask that holds something else than zeros and ones.
    #[error("gave a mask for layer `{layer}` whose element {index} is {value}; expected 0 or 1")]
    NotBinary {
        /// Layer's name.
        layer: String,
        /// Row-major index.
        index: i64,
        /// The value.
        value: f64,
    },
    /// A mask with ones where the last one had zeros, where that is not allowed.
    #[error(
        "gave a mask for layer `{layer}` that grows {grown} pruned weights (the first is element {index}); \
         between levels masks must be nested"
    )]
    Grows {
        /// Layer's name.
        layer: String,
        /// How many.
        grown: i64,
        /// Row-major index of the first.
        index: i64,
    },
    /// Something in the place of a weight that is pruned.
    #[error(
        "gave a {what} for layer `{layer}` whose element {index} is {value} although the weight is pruned; \
         expected 0: multiply by the mask"
    )]
    Alive {
        /// Weight or state.
        what: &'static str,
        /// Layer's name.
        layer: String,
        /// Row-major index.
        index: i64,
        /// The value.
        value: f64,
    },
    /// It says that it is pure and is not.
    #[error(
        "says that it is pure and {0}: a pure update does the same operations at every step, of weights, gradients, \
         masks, states and numbers of the step alone; let `is_pure` be false"
    )]
    Impure(&'static str),
    /// Masks of other units than its rule says.
    #[error("gave masks that do not keep its rule of whole units: {0}")]
    Units(super::units::Fault),
    /// The wrong number of survivors.
    #[error("gave masks that keep {got} weights, expected {expected} (per layer: {per_layer})")]
    Density {
        /// Ones in all masks.
        got: u64,
        /// What the rule says.
        expected: String,
        /// Ones in each mask, with the layers' names.
        per_layer: String,
    },
}

/// Why a service of the host could not be given to a component.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// Selection.
    #[error(transparent)]
    Select(#[from] SelectError),
    /// Distribution.
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
    /// Something stored that is not there, or not for this network, said in full.
    #[error("{0}")]
    Missing(String),
    /// Something else, said in full.
    #[error("{0}")]
    Other(String),
}
