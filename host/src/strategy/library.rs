//! A plugin's file: read, checked, tried, loaded.
//!
//! In this order, so that nothing of a stranger's runs unasked, and a bad file gets a good message and
//! never takes the host down: the pinned digest, whether the user [trusts](super::Trust) it (for files that an
//! experiment file names outside the searched folders), the file's own section table against its length, a
//! [trial](super::trial) in a child process (for files that were not shipped), the plain C descriptor,
//! and only then `abi_stable`'s layout check.

#![allow(unsafe_code)]

use std::ffi::{CStr, OsString, c_char};
use std::path::Path;

use abi_stable::library::{AbiHeaderRef, LibraryError, lib_header_from_path};
use object::{Object, ObjectSection};
use plugin_api::abi::{
    API_MAJOR, API_MINOR, DESCRIPTOR_SYMBOL, Descriptor, MAGIC, PluginModuleRef, UPDATES_SYMBOL,
    UpdateModuleRef,
};

use super::error::LoadError;
use super::guard::Call;
use super::loader::Plugin;
use super::sealed::Sealed;
use super::trial;
use crate::plain_file;

/// The library's file name for a plugin's name: `random-mask` is `librandom_mask.so` on Linux.
pub(super) fn file_name(name: &str) -> OsString {
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
pub(super) fn plugin_name(path: &Path) -> Option<String> {
    library_stem(path)?;
    is_plugin(path).then(|| name_of(path))
}

/// Whether a file carries a plugin's descriptor, whatever its name. Reads, never loads.
pub fn is_plugin(path: &Path) -> bool {
    let bytes = plain_file::read(path, LARGEST).unwrap_or_default();
    object::File::parse(bytes.as_slice()).is_ok_and(|file| carries_descriptor(&file))
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
pub(super) fn read(name: &str, path: &Path) -> Result<(Vec<u8>, String), LoadError> {
    let bytes = plain_file::read(path, LARGEST).map_err(|source| LoadError::Read {
        name: name.to_owned(),
        path: path.to_owned(),
        source,
    })?;
    let digest = blake3::hash(&bytes).to_hex().to_string();
    Ok((bytes, digest))
}

pub(super) fn check_pin(
    name: &str,
    path: &Path,
    pin: Option<&str>,
    digest: &str,
) -> Result<(), LoadError> {
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
pub(super) struct Candidate<'a> {
    pub name: &'a str,
    pub path: &'a Path,
    pub bytes: Vec<u8>,
    pub digest: String,
    /// Whether these bytes are what may be loaded, rather than what lies at the path.
    pub by_digest: bool,
    /// Program that tries it first.
    pub probe: Option<&'a Path>,
}

/// Loads it, having tried it.
///
/// # Errors
/// Why it cannot be used.
pub(super) fn load(candidate: &Candidate<'_>) -> Result<Plugin, LoadError> {
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
    let updates = updates(file).map_err(|error| unusable(layout_message(name, api, &error)))?;
    let manifest = (module.manifest())()
        .into_result()
        .map_err(|error| unusable(format!("failed to describe itself: {}", error.message)))?;
    let manifest = serde_json::from_str(&manifest).map_err(|error| {
        unusable(format!(
            "describes itself in a way this host does not understand: {error}; it may take a newer host"
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
        updates,
        script: None,
    })
}

/// The root module of its updates; none of a plugin from before there were any.
fn updates(path: &Path) -> Result<Option<UpdateModuleRef>, LibraryError> {
    // SAFETY: it is loaded already, and never unloaded.
    let Ok(library) = (unsafe { libloading::Library::new(path) }) else {
        return Ok(None);
    };
    // SAFETY: `export_plugin!` gives the symbol this type, which says itself by which `abi_stable` it was made.
    let Ok(symbol) = (unsafe { library.get::<AbiHeaderRef>(UPDATES_SYMBOL) }) else {
        return Ok(None);
    };
    let header: AbiHeaderRef = *symbol;
    std::mem::forget(library);
    header
        .upgrade()?
        .init_root_module::<UpdateModuleRef>()
        .map(Some)
}

/// What can be seen without loading it. A truncated library kills the process that maps it: its section
/// table is checked first.
pub(crate) fn check_sections(bytes: &[u8]) -> Result<(), String> {
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
