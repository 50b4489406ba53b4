//! Experiment files: with bases, sweeps and overrides.

use std::path::Path;

use host::experiment::{
    Catalog, ComponentInfo, Diagnostics, FileKind, Kind, Loaded, PluginInfo, PluginSource, Slot,
    identity, kind_of, load, load_neuron, load_sweep, stored,
};
use host::run::registered;
use plugin_api::schemars::{Schema, schema_for};
use plugin_api::{Point, RunRef, Source, Step};
use serde_json::{Value, json};

use super::Target;
use crate::scratch::Scratch;

/// The files of an input behind lines `--- NAME`; the first is the experiment, and the lines of the
/// file `set` are overrides.
pub const EXPERIMENT: Target = Target {
    name: "experiment",
    read: experiment,
    dictionary: WORDS,
    mutations: 400,
    memory: 64,
};

/// Overrides of one of the experiments that are shipped, one a line.
pub const OVERRIDES: Target = Target {
    name: "overrides",
    read: overrides,
    dictionary: WORDS,
    mutations: 400,
    memory: 64,
};

const WORDS: &[&str] = &[
    "\n",
    "[",
    "]",
    "[[",
    "]]",
    "{",
    "}",
    "=",
    ".",
    ",",
    "\"",
    "'",
    "\"\"\"",
    "#",
    " = ",
    "\n--- ",
    "base",
    "name",
    "use",
    "seeds",
    "data",
    "model",
    "train",
    "prune",
    "strategy",
    "plugins",
    "sweep",
    "sweep.methods",
    "sweep.grid",
    "include",
    "claims",
    "barriers",
    "title",
    "neuron",
    "epochs",
    "batch_size",
    "optimizer",
    "schedule",
    "warmup",
    "levels",
    "rate",
    "densities",
    "exclude",
    "collapse",
    "level_end",
    "score",
    "mask",
    "rewind",
    "path",
    "blake3",
    "claim",
    "above",
    "below",
    "\"a.toml\"",
    "\"b.toml\"",
    "\"fake\"",
    "\"fake/score\"",
    "\"fake/mask\"",
    "\"fake/rewind\"",
    "\"10ep\"",
    "\"500it\"",
    "\"init\"",
    "\"a.toml#level-1-end\"",
    "true",
    "false",
    "nan",
    "-inf",
    "0x7fffffffffffffff",
    "1979-05-27",
    "[1, 2, 3]",
    "{ name = \"sgd\" }",
    "\u{7f}",
    "\u{feff}",
];

/// The host's registries, and the plugin `fake`.
pub struct FakeCatalog {
    /// What the plugin says of itself.
    pub plugin: PluginInfo,
}

#[derive(Clone, Debug, serde::Serialize, serde::Deserialize, plugin_api::schemars::JsonSchema)]
#[schemars(crate = "plugin_api::schemars")]
#[serde(default, deny_unknown_fields)]
struct Options {
    fraction: f64,
    after: Step,
    to: Source,
    from: Option<Point>,
    run: Option<RunRef>,
    list: Vec<u64>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            fraction: 0.5,
            after: Step::ZERO,
            to: Source::Keep,
            from: None,
            run: None,
            list: Vec::new(),
        }
    }
}

impl Default for FakeCatalog {
    fn default() -> Self {
        let component = |slot, name: &str| ComponentInfo {
            slot,
            name: name.to_owned(),
            schema: schema_for!(Options).to_value(),
        };
        let default = json!({ "score": { "use": "fake/score" }, "mask": { "use": "fake/mask" } });
        Self {
            plugin: PluginInfo {
                version: "1.0.0".to_owned(),
                digest: String::new(),
                components: vec![
                    component(Slot::Score, "score"),
                    component(Slot::Mask, "mask"),
                    component(Slot::Rewind, "rewind"),
                ],
                default: serde_json::from_value(default).ok(),
            },
        }
    }
}

impl Catalog for FakeCatalog {
    fn schema(&self, kind: Kind, name: &str) -> Option<Schema> {
        registered::schema(kind, name)
    }

    fn known(&self, kind: Kind) -> Vec<String> {
        registered::known(kind)
    }

    fn plugin(&self, name: &str, source: Option<&PluginSource>) -> Result<PluginInfo, String> {
        match (name, source) {
            ("fake", _) => Ok(self.plugin.clone()),
            _ => Err(format!("`{name}` cannot be loaded here\nit is no plugin")),
        }
    }

    fn known_plugins(&self) -> Vec<String> {
        vec!["fake".to_owned()]
    }
}

/// Showing problems must work, too.
pub fn show(problems: &Diagnostics) {
    assert!(!problems.is_empty());
    let _ = (
        problems.render(true),
        problems.to_string(),
        problems.to_json(),
    );
}

/// What was read can be written, and says the same when it is read again.
fn check_loaded(loaded: &Loaded) {
    let kept = stored(loaded.text.as_bytes());
    let kept = kept.unwrap_or_else(|error| panic!("{error} in\n{}", loaded.text));
    assert_eq!(kept, loaded.experiment, "{}", loaded.text);
    let own = identity(loaded, "data", None);
    assert_eq!(own.hash.len(), 64);
    let densities = loaded.experiment.densities();
    assert!(densities.iter().all(|it| (0.0..=1.0).contains(it)));
}

fn read(path: &Path, set: &[String], catalog: &FakeCatalog) {
    match kind_of(path) {
        FileKind::Experiment => match load(path, set, catalog) {
            Ok(loaded) => {
                check_loaded(&loaded);
                let folder = Scratch::new(loaded.text.as_bytes(), "again.toml");
                let again = load(&folder.file("again.toml"), &[], catalog);
                let again = again.unwrap_or_else(|error| panic!("{error}\n{}", loaded.text));
                assert_eq!(again.text, loaded.text);
                let hash = |loaded| identity(loaded, "data", None).hash;
                assert_eq!(hash(&again), hash(&loaded), "{}", loaded.text);
            }
            Err(problems) => show(&problems),
        },
        FileKind::Sweep => match load_sweep(path, set, catalog) {
            Ok(sweep) => {
                let cells = sweep.parts.iter().flat_map(|part| &part.cells);
                cells.for_each(|cell| check_loaded(&cell.loaded));
            }
            Err(problems) => show(&problems),
        },
        FileKind::Neuron => {
            if let Err(problems) = load_neuron(path, set, catalog) {
                show(&problems);
            }
        }
    }
}

fn experiment(bytes: &[u8]) {
    let files = Scratch::new(bytes, "a.toml");
    if let Some(first) = files.names.first() {
        let set = files.lines("set");
        read(&files.file(first), &set, &FakeCatalog::default());
    }
}

fn overrides(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else {
        return;
    };
    let set: Vec<String> = text.lines().map(str::to_owned).collect();
    let files = Scratch::new(EXAMPLE.as_bytes(), "a.toml");
    read(&files.file("a.toml"), &set, &FakeCatalog::default());
}

/// An experiment without a mistake.
pub const EXAMPLE: &str = include_str!("../../corpus/experiment/example.toml");

/// Reads the example with a plugin that says this of its rewind policy.
pub fn read_with_schema(schema: Value) {
    let mut catalog = FakeCatalog::default();
    for component in &mut catalog.plugin.components {
        component.schema = schema.clone();
    }
    let files = Scratch::new(EXAMPLE.as_bytes(), "a.toml");
    // Its options may well be refused.
    match load(&files.file("a.toml"), &[], &catalog) {
        Ok(loaded) => drop(identity(&loaded, "data", None)),
        Err(problems) => show(&problems),
    }
}
