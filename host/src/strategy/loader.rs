//! Finds, checks and loads plugins.
//!
//! In this order, so that nothing of a stranger's runs unasked, and a bad file gets a good message and
//! never takes the host down: the pinned digest, whether the user [trusts](super::Trust) it (for files that an
//! experiment file names outside the searched folders), the file's own section table against its length, a
//! [trial](super::trial) in a child process (for files that were not shipped), the plain C descriptor,
//! and only then `abi_stable`'s layout check.

#![allow(unsafe_code)]

use std::collections::BTreeMap;
use std::ffi::{CStr, OsString, c_char};
use std::path::{Path, PathBuf};

use abi_stable::library::{LibraryError, lib_header_from_path};
use object::{Object, ObjectSection};
use plugin_api::abi::wire::{ComponentKind, Manifest};
use plugin_api::abi::{
    API_MAJOR, API_MINOR, DESCRIPTOR_SYMBOL, Descriptor, MAGIC, PluginModuleRef,
};

use super::error::LoadError;
use super::guard::Call;
use super::sealed::Sealed;
use super::trial;
use super::trust::{Ground, Trust};
use crate::configuration::open_to_all;
use crate::experiment::PluginSource;
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
        let options = serde_json::Value::Object(options.clone()).to_string();
        let who = format!(
            "{} component `{component}` of plugin `{}`",
            kind.name(),
            self.name
        );
        let _call = Call::enter(&who, "");
        let (name, options) = (component.into(), options.as_str().into());
        let made = match kind {
            ComponentKind::Score => (self.module.scorer())(name, options).map(|_| ()),
            ComponentKind::Mask => (self.module.mask_update())(name, options).map(|_| ()),
            ComponentKind::Rewind => (self.module.rewind())(name, options).map(|_| ()),
        };
        (made.into_result()).map_err(|error| error.message.into_string())
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
}

impl Loader {
    /// A loader for the running program: plugins beside it, then in `HOST_PLUGIN_PATH`.
    pub fn for_this_program(trust: Trust) -> Self {
        let program = std::env::current_exe()
            .and_then(|path| path.canonicalize())
            .ok();
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

    fn find(&self, name: &str, source: Option<&PluginSource>) -> Result<Found, LoadError> {
        let leads_away = |c: char| matches!(c, '/' | '\\') || c.is_control();
        if name.is_empty() || name.contains(leads_away) {
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

/// A plugin's file, without links in its path.
struct Found {
    path: PathBuf,
    /// Whether it lies in a folder that is searched, or a link there leads to it: the user put it there.
    is_searched: bool,
}

/// The library's file name for a plugin's name: `random-mask` is `librandom_mask.so` on Linux.
fn file_name(name: &str) -> OsString {
    libloading::library_filename(name.replace('-', "_"))
}

/// The plugin's name for a library's file: `random-mask` for `librandom_mask.so`; the file's own name
/// if it is no library's.
pub fn name_of(path: &Path) -> String {
    library_stem(path).map_or_else(|| path.display().to_string(), |stem| stem.replace('_', "-"))
}

fn library_stem(path: &Path) -> Option<&str> {
    let name = path.file_name()?.to_str()?;
    let stem = name.strip_prefix(std::env::consts::DLL_PREFIX)?;
    stem.strip_suffix(std::env::consts::DLL_SUFFIX)
}

/// The plugin's name for a library's file, if the file carries a descriptor. Reads, never loads.
pub fn plugin_name(path: &Path) -> Option<String> {
    library_stem(path)?;
    let bytes = std::fs::read(path).ok()?;
    let file = object::File::parse(bytes.as_slice()).ok()?;
    carries_descriptor(&file).then(|| name_of(path))
}

fn carries_descriptor(file: &object::File<'_>) -> bool {
    let symbol = &DESCRIPTOR_SYMBOL[..DESCRIPTOR_SYMBOL.len() - 1];
    let exports = file.exports().unwrap_or_default();
    exports.iter().any(|export| export.name() == symbol)
}

/// No plugin is larger.
const LARGEST: u64 = 1 << 30;

/// A plugin's bytes and their digest. An experiment file may name anything: what is no ordinary file is
/// not even opened.
fn read(name: &str, path: &Path) -> Result<(Vec<u8>, String), LoadError> {
    let read = || {
        let about = std::fs::metadata(path)?;
        if !about.is_file() || about.len() > LARGEST {
            let what = format!("it is no file of at most {} GiB", LARGEST >> 30);
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, what));
        }
        std::fs::read(path)
    };
    let bytes = read().map_err(|source| LoadError::Read {
        name: name.to_owned(),
        path: path.to_owned(),
        source,
    })?;
    let digest = blake3::hash(&bytes).to_hex().to_string();
    Ok((bytes, digest))
}

fn check_pin(name: &str, path: &Path, pin: Option<&str>, digest: &str) -> Result<(), LoadError> {
    match pin {
        Some(pin) if pin != digest => Err(LoadError::Pin {
            name: name.to_owned(),
            path: path.to_owned(),
            got: digest.to_owned(),
            expected: pin.to_owned(),
        }),
        _ => Ok(()),
    }
}

/// A file that may be loaded.
struct Candidate<'a> {
    name: &'a str,
    path: &'a Path,
    bytes: Vec<u8>,
    digest: String,
    /// Whether these bytes are what may be loaded, rather than what lies at the path.
    by_digest: bool,
    /// Program that tries it first.
    probe: Option<&'a Path>,
}

fn load(candidate: &Candidate<'_>) -> Result<Plugin, LoadError> {
    let Candidate { name, path, .. } = *candidate;
    let unusable = |reason: String| LoadError::Unusable {
        name: name.to_owned(),
        path: path.to_owned(),
        reason,
    };
    check_sections(&candidate.bytes).map_err(unusable)?;
    // The file may be another one by now.
    let sealed = match candidate.by_digest {
        true => {
            let copy = Sealed::new(&candidate.bytes, path.file_name().unwrap_or_default());
            Some(copy.map_err(|error| unusable(format!("cannot be copied to be loaded: {error}")))?)
        }
        false => None,
    };
    let file = sealed.as_ref().map_or(path, Sealed::path);
    if let Some(program) = candidate.probe {
        trial::in_child(program, file, &name_of(path)).map_err(unusable)?;
    }
    let _call = Call::enter(
        &format!("plugin `{name}`: {}", path.display()),
        " while it was loaded",
    );
    let (api, rustc) = read_descriptor(file).map_err(unusable)?;
    let module = lib_header_from_path(file)
        .and_then(|header| header.init_root_module::<PluginModuleRef>())
        .map_err(|error| unusable(layout_message(name, api, &error)))?;
    let manifest = (module.manifest())()
        .into_result()
        .map_err(|error| unusable(format!("failed to describe itself: {}", error.message)))?;
    let manifest = serde_json::from_str(&manifest).map_err(|error| {
        unusable(format!(
            "describes itself in a way this host does not understand: {error}"
        ))
    })?;
    Ok(Plugin {
        name: name.to_owned(),
        path: path.to_owned(),
        digest: candidate.digest.clone(),
        api,
        rustc,
        manifest,
        module,
    })
}

/// What can be seen without loading it. A truncated library kills the process that maps it: its section
/// table is checked first.
fn check_sections(bytes: &[u8]) -> Result<(), String> {
    let file = object::File::parse(bytes)
        .map_err(|error| format!("is not a dynamic library, or a damaged one ({error})"))?;
    if file.kind() != object::ObjectKind::Dynamic {
        return Err(
            "is not a dynamic library: build the plugin with crate-type = [\"cdylib\"]".to_owned(),
        );
    }
    let here = std::env::consts::ARCH;
    if architecture_name(file.architecture()) != here {
        return Err(format!(
            "is built for {:?}, this machine is {here}: build it here",
            file.architecture()
        ));
    }
    for section in file.sections() {
        section.data().map_err(|error| {
            format!(
                "is damaged: section {} reaches beyond its end ({error}); build it again",
                section.index().0
            )
        })?;
    }
    // Before it is loaded: a library that is no plugin may do anything then.
    match carries_descriptor(&file) {
        true => Ok(()),
        false => Err(NO_PLUGIN.to_owned()),
    }
}

const NO_PLUGIN: &str =
    "is not a plugin: it lacks the symbol that plugin_api::export_plugin! emits";

/// The name that the standard library has for an architecture that the host runs on.
fn architecture_name(architecture: object::Architecture) -> &'static str {
    match architecture {
        object::Architecture::X86_64 => "x86_64",
        object::Architecture::Aarch64 => "aarch64",
        _ => "another",
    }
}

fn read_descriptor(path: &Path) -> Result<((u32, u32), String), String> {
    // SAFETY: running a library's initialisers is what loading a plugin is; the file was shipped with
    // the host, named by the user, or is trusted.
    let library = unsafe { libloading::Library::new(path) }
        .map_err(|error| format!("cannot be loaded: {}", reason(&error)))?;
    // SAFETY: the symbol is only read as plain data below, after its magic number was checked.
    let symbol = unsafe { library.get::<*const Descriptor>(DESCRIPTOR_SYMBOL) }
        .map_err(|_| NO_PLUGIN.to_owned())?;
    let descriptor: *const Descriptor = *symbol;
    // SAFETY: every version of the descriptor starts with eight bytes of magic number.
    let magic = unsafe { (*descriptor).magic };
    if magic != MAGIC {
        return Err("is not a plugin: its descriptor starts with foreign bytes".to_owned());
    }
    // SAFETY: the magic number says that the fields of version 1 follow.
    let descriptor = unsafe { &*descriptor };
    let api = (descriptor.api_major, descriptor.api_minor);
    if api.0 != API_MAJOR {
        return Err(format!(
            "is built for plugin-api {}.{}, this host has {API_MAJOR}.{API_MINOR}: rebuild it with plugin-api {API_MAJOR}",
            api.0, api.1
        ));
    }
    if descriptor.panics_unwind == 0 {
        return Err("is built with panic = \"abort\", which would take the host down: build it with panic = \"unwind\"".to_owned());
    }
    let rustc = text(descriptor.rustc);
    // Plugins are never unloaded: their code and constants are in use from here on.
    std::mem::forget(library);
    Ok((api, rustc))
}

/// An error with what it was caused by.
fn reason(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

fn text(start: *const c_char) -> String {
    if start.is_null() {
        return String::new();
    }
    // SAFETY: the descriptor's texts are constants that end with a zero byte.
    unsafe { CStr::from_ptr(start) }
        .to_string_lossy()
        .into_owned()
}

/// One sentence; `abi_stable`'s report of up to thousands of lines goes to a file.
fn layout_message(name: &str, api: (u32, u32), error: &LibraryError) -> String {
    let report = error.to_string();
    if report.lines().count() <= 2 {
        return format!("cannot be loaded: {}", report.trim());
    }
    let safe: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    let file = std::env::temp_dir().join(format!("rewind-{safe}-{}.txt", std::process::id()));
    let details = match std::fs::write(&file, report) {
        Ok(()) => format!("; the details are in {}", file.display()),
        Err(_) => String::new(),
    };
    format!(
        "was built with a plugin-api {}.{} whose layout differs from this host's {API_MAJOR}.{API_MINOR}: \
         rebuild it with the plugin-api of this host{details}",
        api.0, api.1
    )
}
