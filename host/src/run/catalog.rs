//! What an experiment file may name: the host's registries and the plugins.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use plugin_api::schemars::Schema;

use serde_json::Value;
use tch::Device;

use super::{Setting, registered, run_folder};
use crate::data;
use crate::data::DataContext;
use crate::experiment::{
    self, Catalog, Identity, Kind, Loaded, Named, Part, PluginInfo, PluginSource, RunTarget, Slot,
    file_name,
};
use crate::program;
use crate::store::{RunDir, RunIdentity};
use crate::strategy::{LoadError, Loader, Plugin};

/// The host's registries, a loader of plugins, and the runs that are kept here.
pub struct HostCatalog {
    loader: RefCell<Loader>,
    data_dir: PathBuf,
    runs: PathBuf,
    /// Checksums of the datasets that were asked for, by their options.
    checksums: RefCell<BTreeMap<String, String>>,
    /// What was said of the first dataset that is not here.
    missing: RefCell<Option<String>>,
    /// The plugins that the experiment uses, from where it says they are.
    used: RefCell<BTreeMap<String, Rc<Plugin>>>,
    /// The experiment files that are being read because another one names their run.
    reading: RefCell<Vec<PathBuf>>,
}

/// Experiment files that name each other's runs in a row at most.
const MOST_NAMED: usize = 32;

impl HostCatalog {
    /// The catalog of the running program in a setting.
    pub fn new(setting: &Setting) -> Self {
        Self {
            loader: RefCell::new(Loader::beside(
                setting.program.as_deref(),
                setting.trust.clone(),
            )),
            data_dir: setting.data_dir.clone(),
            runs: setting.runs.clone(),
            checksums: RefCell::default(),
            missing: RefCell::default(),
            used: RefCell::default(),
            reading: RefCell::default(),
        }
    }

    /// What was said of the first dataset that was asked for and is not here.
    pub fn missing_data(&self) -> Option<String> {
        self.missing.borrow().clone()
    }

    /// The checksum of an experiment's data. Data that are not here have an empty one.
    fn checksum(&self, data: &Named) -> Result<String, String> {
        let key = serde_json::to_string(data).map_err(|error| error.to_string())?;
        if let Some(known) = self.checksums.borrow().get(&key) {
            return Ok(known.clone());
        }
        let context = DataContext {
            data_dir: self.data_dir.clone(),
            device: Device::Cpu,
        };
        let checksum = match data::load(&data.name, &data.options, &context) {
            Ok(data) => data.checksum,
            Err(error) if error.is_missing() => {
                let said = error.to_string();
                self.missing.borrow_mut().get_or_insert(said);
                String::new()
            }
            Err(error) => return Err(error.to_string()),
        };
        self.checksums.borrow_mut().insert(key, checksum.clone());
        Ok(checksum)
    }

    /// What tells the dense level of an experiment from others.
    ///
    /// # Errors
    /// If its data are damaged.
    pub fn dense_identity(&self, loaded: &Loaded) -> Result<Identity, String> {
        let checksum = self.checksum(&loaded.experiment.data)?;
        Ok(experiment::dense_identity(loaded, &checksum, None))
    }

    /// The run of an experiment file.
    fn run_of_file(&self, name: &str, path: &Path) -> Result<RunTarget, String> {
        // The name may be a link to anything, which a syntax error would show.
        let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        if real.extension().is_none_or(|it| it != "toml") {
            return Err(format!(
                "`{name}` leads to {}, which is no .toml file",
                real.display()
            ));
        }
        let reading = self.reading.borrow().clone();
        if reading.contains(&real) {
            return Err(format!("`{name}` takes from a run that takes from itself"));
        }
        if reading.len() == MOST_NAMED {
            return Err(format!(
                "`{name}` is the last of more than {MOST_NAMED} experiments that take from the next"
            ));
        }
        self.reading.borrow_mut().push(real);
        let loaded = experiment::load(path, &[], self);
        self.reading.borrow_mut().pop();
        let loaded = loaded.map_err(|problems| format!("`{name}` has mistakes:\n{problems}"))?;
        let target = self.run_of(&loaded)?;
        if !Path::new(&target.folder).is_dir() {
            return Err(format!(
                "`{name}` was not run yet: there is no {}\nmake it with `{} run {}`",
                target.folder,
                program::name(),
                path.display()
            ));
        }
        Ok(target)
    }

    fn known_runs(&self) -> String {
        let entries = std::fs::read_dir(&self.runs)
            .into_iter()
            .flatten()
            .flatten();
        let mut known: Vec<String> = entries
            .filter(|entry| entry.path().join(IDENTITY).exists())
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        known.sort();
        match known.as_slice() {
            [] => format!("there are no runs in {}", self.runs.display()),
            known => format!("runs in {}: {}", self.runs.display(), known.join(", ")),
        }
    }

    /// A plugin, loaded.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn load(&self, name: &str, source: Option<&PluginSource>) -> Result<Rc<Plugin>, LoadError> {
        self.loader.borrow_mut().load(name, source)
    }

    /// The plugin of a part, with the file that it runs, if the part names one.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn load_part(
        &self,
        part: &Part,
        sources: &BTreeMap<String, PluginSource>,
    ) -> Result<Rc<Plugin>, LoadError> {
        let source = sources.get(part.names().0);
        self.loader.borrow_mut().load_part(part, source)
    }

    /// The plugins that a strategy uses, by name, and the files that they run, by their names.
    ///
    /// # Errors
    /// Why one cannot be used.
    pub fn plugins_of(
        &self,
        experiment: &experiment::Experiment,
    ) -> Result<BTreeMap<String, Rc<Plugin>>, LoadError> {
        let strategy = &experiment.strategy;
        let parts = [&strategy.score, &strategy.mask]
            .into_iter()
            .chain(&strategy.rewind)
            .chain(&strategy.update);
        let mut plugins: BTreeMap<String, Rc<Plugin>> = BTreeMap::new();
        for part in parts {
            let (name, _) = part.names();
            let own = self.load(name, experiment.plugins.get(name))?;
            plugins.insert(name.to_owned(), own);
            let script = self.load_part(part, &experiment.plugins)?;
            if !script.is_script() {
                continue;
            }
            let name = script.name.clone();
            let known = plugins.insert(name.clone(), script.clone());
            if let Some(known) = known.filter(|known| known.path != script.path) {
                return Err(LoadError::Clash {
                    name,
                    first: known.path.clone(),
                    second: script.path.clone(),
                });
            }
        }
        Ok(plugins)
    }
}

impl HostCatalog {
    /// A loaded plugin, or the file that it runs for a part.
    fn of_part(&self, plugin: &Rc<Plugin>, part: &Part) -> Result<Rc<Plugin>, String> {
        let Some((_, path)) = plugin.named_script(part) else {
            return Ok(plugin.clone());
        };
        let name = file_name(path);
        let script = self.loader.borrow_mut().load_file(plugin, part);
        script.map_err(|error| reason(&name, &error))
    }
}

/// The file that says what a run computes.
const IDENTITY: &str = "identity.json";

impl Catalog for HostCatalog {
    fn schema(&self, kind: Kind, name: &str) -> Option<Schema> {
        registered::schema(kind, name)
    }

    fn known(&self, kind: Kind) -> Vec<String> {
        registered::known(kind)
    }

    fn plugin(&self, name: &str, source: Option<&PluginSource>) -> Result<PluginInfo, String> {
        let plugin = self.load(name, source);
        let plugin = plugin.map_err(|error| reason(name, &error))?;
        let mut used = self.used.borrow_mut();
        used.insert(name.to_owned(), plugin.clone());
        Ok(registered::plugin(&plugin))
    }

    fn validate(&self, slot: Slot, part: &Part) -> Result<(), String> {
        let used = self.used.borrow().get(part.names().0).cloned();
        match used {
            Some(plugin) => {
                let plugin = self.of_part(&plugin, part)?;
                registered::validate(&plugin, slot, part)
            }
            None => Ok(()), // It could not be loaded, which is reported already.
        }
    }

    fn script(&self, slot: Slot, part: &Part) -> Result<Option<Value>, String> {
        let used = self.used.borrow().get(part.names().0).cloned();
        match used {
            Some(plugin) => {
                let plugin = self.of_part(&plugin, part)?;
                registered::options(&plugin, slot, part)
            }
            None => Ok(None),
        }
    }

    fn known_plugins(&self) -> Vec<String> {
        self.loader.borrow().names()
    }

    fn knows_plugin(&self, name: &str) -> bool {
        self.loader.borrow().has(name)
    }

    fn run(&self, name: &str, folder: &Path) -> Result<RunTarget, String> {
        if name.ends_with(".toml") {
            return self.run_of_file(name, &folder.join(name));
        }
        // As on the command line: a folder, or its name among the runs.
        let among = self.runs.join(name);
        let path = [Path::new(name), &among]
            .into_iter()
            .find(|path| path.join(IDENTITY).exists());
        let Some(path) = path else {
            return Err(format!(
                "there is no run `{name}`\na run is named by its folder or its experiment file\n{}",
                self.known_runs()
            ));
        };
        let known = RunIdentity::read(&RunDir::new(path)).map_err(|error| error.to_string())?;
        let known = known.ok_or_else(|| format!("{}: {IDENTITY} is gone", path.display()))?;
        Ok(RunTarget {
            folder: path.to_string_lossy().into_owned(),
            identity: known.value.identity,
        })
    }

    fn run_of(&self, loaded: &Loaded) -> Result<RunTarget, String> {
        let checksum = self.checksum(&loaded.experiment.data)?;
        let identity = experiment::identity(loaded, &checksum, None);
        let run = run_folder(&self.runs, &loaded.experiment.name, &identity);
        Ok(RunTarget {
            folder: run.path().to_string_lossy().into_owned(),
            identity: identity.hash,
        })
    }
}

/// Why a plugin or a file cannot be used, for a diagnostic that names it already.
fn reason(name: &str, error: &LoadError) -> String {
    if let LoadError::Untrusted { path, digest, .. } = error {
        return untrusted(path, digest);
    }
    let text = error.to_string();
    let own = format!("plugin `{name}`: ");
    text.strip_prefix(&own).map_or(text.clone(), str::to_owned)
}

/// Why a library is not loaded, and the ways to agree to it, as commands.
fn untrusted(path: &Path, digest: &str) -> String {
    let trust = |path: &Path| {
        let path = path.to_string_lossy();
        program::command_line([&program::name(), "plugin", "trust", &*path])
    };
    let folder = path.parent().unwrap_or(path);
    format!(
        "a plugin is code, and you have not agreed to run this one\n\
         nothing of it was run: {}, BLAKE3 {digest}\n\
         to agree this once: {}\n\
         to this very file, from now on: {}\n\
         to whatever lies in its folder, from now on: {}",
        path.display(),
        program::again_with("--allow-plugins"),
        trust(path),
        trust(folder),
    )
}
