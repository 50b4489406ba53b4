//! Finds plugins, asks whether they may be loaded, and loads each once.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use abi_stable::std_types::{RResult, RStr};
use plugin_api::abi::wire::{ComponentKind, Manifest};
use plugin_api::abi::{
    AbiError, AbiResult, ErrorCode, PluginModuleRef, UpdateBox, UpdateModuleRef,
};

use super::error::LoadError;
use super::guard::Call;
use super::library::{Candidate, check_pin, file_name, load, plugin_name, read};
use super::script::{Script, Scripts};
use super::trust::{Ground, Trust};
use crate::configuration::open_to_all;
use crate::experiment::{Part, PluginSource, option_of};
use crate::registry::Options;

/// Name of the environment variable with more folders of plugins.
pub const PATH_VARIABLE: &str = "HOST_PLUGIN_PATH";

/// A loaded plugin; its library stays loaded as long as the process lives.
pub struct Plugin {
    /// Name in the experiment file.
    pub name: String,
    /// The library.
    pub path: PathBuf,
    /// BLAKE3 digest of the library, hexadecimal.
    pub digest: String,
    /// API version it was built with.
    pub api: (u32, u32),
    /// Compiler that built it.
    pub rustc: String,
    /// What it says of itself.
    pub manifest: Manifest,
    /// Its constructors.
    pub(super) module: PluginModuleRef,
    /// Those of its updates, from plugin-api 1.1 on.
    pub(super) updates: Option<UpdateModuleRef>,
    /// The file that it runs, if it is one of another language; path and digest are the file's then.
    pub(super) script: Option<Script>,
}

impl Plugin {
    /// Asks a component whether it takes these options, by making it.
    ///
    /// # Errors
    /// What it says against them.
    pub fn validate(
        &self,
        kind: ComponentKind,
        component: &str,
        options: &Options,
    ) -> Result<(), String> {
        let options = self.wire(options);
        let _call = Call::enter(&self.who(kind, component), "");
        let (name, options) = (component.into(), options.as_str().into());
        let made = match kind {
            ComponentKind::Score => (self.module.scorer())(name, options).map(|_| ()),
            ComponentKind::Mask => (self.module.mask_update())(name, options).map(|_| ()),
            ComponentKind::Rewind => (self.module.rewind())(name, options).map(|_| ()),
            ComponentKind::Update => self.update(name, options).map(|_| ()),
        };
        (made.into_result()).map_err(|error| error.message.into_string())
    }

    /// Makes an update.
    pub(super) fn update(&self, name: RStr<'_>, options: RStr<'_>) -> AbiResult<UpdateBox> {
        match &self.updates {
            Some(updates) => (updates.update())(name, options),
            None => RResult::RErr(AbiError {
                code: ErrorCode::UNSUPPORTED,
                message: "the plugin was built before there were updates".into(),
            }),
        }
    }

    /// A component of it, for people.
    pub(super) fn who(&self, kind: ComponentKind, component: &str) -> String {
        format!(
            "{} component `{component}` of plugin `{}`",
            kind.name(),
            self.name
        )
    }
}

/// Finds and loads plugins, each once.
pub struct Loader {
    /// Folders of the plugins that are shipped with the host.
    shipped: Vec<PathBuf>,
    /// Folders from the environment.
    extra: Vec<PathBuf>,
    /// Program that tries a file that it is given behind `plugin probe`; none skips the trial.
    probe: Option<PathBuf>,
    /// What may be loaded from outside these folders.
    trust: Trust,
    loaded: BTreeMap<PathBuf, std::rc::Rc<Plugin>>,
    /// Files of other languages that loaded plugins run.
    scripts: Scripts,
}

impl Loader {
    /// A loader for the running program: plugins beside it, then in `HOST_PLUGIN_PATH`.
    pub fn for_this_program(trust: Trust) -> Self {
        Self::beside(std::env::current_exe().ok().as_deref(), trust)
    }

    /// A loader for this program `host`, which need not be the one that is running: plugins beside
    /// it, then in `HOST_PLUGIN_PATH`. Files that were not shipped are tried by that program.
    pub fn beside(program: Option<&Path>, trust: Trust) -> Self {
        let program = program.and_then(|path| path.canonicalize().ok());
        let folder = program
            .as_deref()
            .and_then(Path::parent)
            .map(Path::to_owned);
        // An installed program has its plugins in a folder, a freshly built one beside itself.
        let shipped = folder
            .iter()
            .flat_map(|f| [f.join("plugins"), f.clone()])
            .collect();
        let extra = std::env::var_os(PATH_VARIABLE).unwrap_or_default();
        let extra = std::env::split_paths(&extra).collect();
        Self::new(shipped, extra, program, trust)
    }

    /// A loader for these folders, and for what is trusted elsewhere.
    pub fn new(
        shipped: Vec<PathBuf>,
        extra: Vec<PathBuf>,
        probe: Option<PathBuf>,
        trust: Trust,
    ) -> Self {
        let extra = extra
            .into_iter()
            .filter(|path| !path.as_os_str().is_empty())
            .collect();
        Self {
            shipped,
            extra,
            probe,
            trust,
            loaded: BTreeMap::new(),
            scripts: Scripts::default(),
        }
    }

    /// The folders that are searched, in order.
    pub fn folders(&self) -> impl Iterator<Item = &Path> {
        self.shipped.iter().chain(&self.extra).map(PathBuf::as_path)
    }

    /// The plugin of this name; `source` is its entry under `[plugins]`.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn load(
        &mut self,
        name: &str,
        source: Option<&PluginSource>,
    ) -> Result<std::rc::Rc<Plugin>, LoadError> {
        let found = self.find(name, source)?;
        let pin = source.and_then(|source| source.blake3.as_deref());
        if let Some(plugin) = self.loaded.get(&found.path) {
            // Another file may pin another one.
            check_pin(name, &found.path, pin, &plugin.digest)?;
            return Ok(plugin.clone());
        }
        let (bytes, digest) = read(name, &found.path)?;
        check_pin(name, &found.path, pin, &digest)?;
        let mut by_digest = false;
        if !found.is_searched {
            let ground = self.trust.ground(&found.path, &digest)?;
            let untrusted = || LoadError::Untrusted {
                name: name.to_owned(),
                path: found.path.clone(),
                digest: digest.clone(),
            };
            let ground = ground.ok_or_else(untrusted)?;
            by_digest = ground == Ground::Digest || pin.is_some();
        }
        let parent = found.path.parent().unwrap_or(Path::new(""));
        let is_shipped = self.shipped.iter().any(|folder| folder == parent);
        if found.is_searched && open_to_all(parent) {
            log::warn!(
                "everybody on this machine may write to {}, where the plugin `{name}` lies: `chmod o-w` it",
                parent.display()
            );
        }
        let plugin = load(&Candidate {
            name,
            path: &found.path,
            bytes,
            digest,
            by_digest,
            probe: self.probe.as_deref().filter(|_| !is_shipped),
        })?;
        let plugin = std::rc::Rc::new(plugin);
        self.loaded.insert(found.path, plugin.clone());
        Ok(plugin)
    }

    /// The plugin of a part of a strategy; where the part names a file that the plugin runs, the file with it.
    ///
    /// # Errors
    /// Why the plugin or the file cannot be used.
    pub fn load_part(
        &mut self,
        part: &Part,
        source: Option<&PluginSource>,
    ) -> Result<std::rc::Rc<Plugin>, LoadError> {
        let plugin = self.load(part.names().0, source)?;
        self.load_file(&plugin, part)
    }

    /// The same of a plugin that is loaded already.
    ///
    /// # Errors
    /// Why the file cannot be used.
    pub fn load_file(
        &mut self,
        plugin: &std::rc::Rc<Plugin>,
        part: &Part,
    ) -> Result<std::rc::Rc<Plugin>, LoadError> {
        match plugin.named_script(part) {
            Some((option, path)) => self.scripts.load(plugin, option, path, &self.trust),
            None => Ok(plugin.clone()),
        }
    }

    /// A file of another language by its path, with the components that are in it; `runner` is the plugin that runs
    /// it.
    ///
    /// # Errors
    /// Why the plugin or the file cannot be used.
    pub fn load_script(
        &mut self,
        runner: &str,
        path: &Path,
    ) -> Result<std::rc::Rc<Plugin>, LoadError> {
        let plugin = self.load(runner, None)?;
        let mut components = plugin.manifest.components.iter();
        let option = components.find_map(|it| option_of(&it.schema));
        let option = option.unwrap_or_default();
        let script = self.scripts.load(&plugin, option, path, &self.trust)?;
        Ok(std::rc::Rc::new(script.described()?))
    }

    /// Names of all libraries in the searched folders that carry a plugin's descriptor.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .folders()
            .filter_map(|folder| std::fs::read_dir(folder).ok())
            .flatten()
            .filter_map(|entry| plugin_name(&entry.ok()?.path()))
            .collect();
        names.sort();
        names.dedup();
        names
    }

    /// Whether a plugin is among the [names](Loader::names); reads no other's file.
    pub fn has(&self, name: &str) -> bool {
        let is_here = |folder: &Path| {
            plugin_name(&folder.join(file_name(name))).is_some_and(|found| found == name)
        };
        is_name(name) && self.folders().any(is_here)
    }

    fn find(&self, name: &str, source: Option<&PluginSource>) -> Result<Found, LoadError> {
        if !is_name(name) {
            let name = name.to_owned();
            return Err(LoadError::Name { name });
        }
        let file = file_name(name);
        let in_folders = self.folders().map(|folder| folder.join(&file));
        let named = source.map(|source| source.path.clone());
        let mut found: Vec<PathBuf> = Vec::new();
        for path in in_folders.filter(|path| path.is_file()).chain(named) {
            // One file may be found in two ways.
            let path = path.canonicalize().unwrap_or(path);
            if !found.contains(&path) {
                found.push(path);
            }
        }
        match found.as_slice() {
            [] => Err(LoadError::NotFound {
                name: name.to_owned(),
                file: file.to_string_lossy().into_owned(),
                searched: self
                    .folders()
                    .map(|f| f.display().to_string())
                    .collect::<Vec<_>>()
                    .join(", "),
                known: self.names(),
            }),
            [path] => Ok(Found {
                is_searched: self.is_searched(&file, path),
                path: path.clone(),
            }),
            [first, second, ..] => Err(LoadError::Clash {
                name: name.to_owned(),
                first: first.clone(),
                second: second.clone(),
            }),
        }
    }

    /// Whether the searched folders hold this file, under its own name or, as a link, under `file`.
    fn is_searched(&self, file: &OsString, path: &Path) -> bool {
        self.folders().any(|folder| {
            let link = folder.join(file);
            let is_here = |folder: PathBuf| path.parent() == Some(&folder);
            link.canonicalize().is_ok_and(|link| link == path)
                || folder.canonicalize().is_ok_and(is_here)
        })
    }
}

/// Whether a plugin may be called so: no path, nothing that a terminal obeys.
fn is_name(name: &str) -> bool {
    let leads_away = |c: char| matches!(c, '/' | '\\') || c.is_control();
    !name.is_empty() && !name.contains(leads_away)
}

/// A plugin's file, without links in its path.
struct Found {
    path: PathBuf,
    /// Whether it lies in a folder that is searched, or a link there leads to it: the user put it there.
    is_searched: bool,
}
