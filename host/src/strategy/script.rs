//! Files of other languages, which plugins run: an option of a component names one.
//!
//! A file is treated as a plugin's is: read once, run only if it is trusted, told by its digest. What it makes of its
//! plugin is a [`Plugin`] of its own, whose components take the options that the file says.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use abi_stable::std_types::RSlice;
use plugin_api::abi::wire::{ComponentKind, ComponentManifest, Manifest};
use plugin_api::abi::{AbiError, ErrorCode, OPTIONS};
use serde_json::{Value, json};

use super::error::LoadError;
use super::guard::{Call, Watched};
use super::library::read;
use super::loader::Plugin;
use super::trust::Trust;
use crate::experiment::{Part, file_name, option_of};
use crate::registry::Options;

/// Plugins that run files, by the ends of the files' names.
const RUNNERS: [(&str, &str); 1] = [("py", "python")];

/// The shipped plugin that runs a file, by the end of its name; none if it is no file of this kind.
pub fn runner(path: &Path) -> Option<&'static str> {
    let end = path.extension()?.to_str()?;
    let runner = RUNNERS.iter().find(|(own, _)| *own == end);
    runner.map(|(_, plugin)| *plugin)
}

/// A file that was read.
pub(super) struct Script {
    /// The option that names it.
    option: String,
    source: String,
}

/// The files that were read, with what each makes of its plugin.
#[derive(Default)]
pub(super) struct Scripts(BTreeMap<(String, PathBuf), Rc<Plugin>>);

impl Scripts {
    /// What a file makes of the plugin that runs it.
    ///
    /// # Errors
    /// A file that cannot be read, or that is not trusted.
    pub fn load(
        &mut self,
        plugin: &Plugin,
        option: &str,
        path: &Path,
        trust: &Trust,
    ) -> Result<Rc<Plugin>, LoadError> {
        // Links are followed before anything is compared, as for libraries.
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let key = (plugin.name.clone(), path);
        if let Some(known) = self.0.get(&key) {
            return Ok(known.clone());
        }
        let path = &key.1;
        let name = file_name(path);
        let (bytes, digest) = read(&name, path)?;
        if trust.ground(path, &digest)?.is_none() {
            return Err(LoadError::Untrusted {
                name,
                path: path.clone(),
                digest,
            });
        }
        let source = String::from_utf8(bytes).map_err(|_| LoadError::Unusable {
            name: name.clone(),
            path: path.clone(),
            reason: "is no text in UTF-8".to_owned(),
        })?;
        let script = Rc::new(Plugin {
            name,
            path: path.clone(),
            digest,
            api: plugin.api,
            rustc: plugin.rustc.clone(),
            manifest: plugin.manifest.clone(),
            module: plugin.module,
            updates: plugin.updates,
            script: Some(Script {
                option: option.to_owned(),
                source,
            }),
        });
        self.0.insert(key, script.clone());
        Ok(script)
    }
}

impl Plugin {
    /// The option of a component that names a file, and the file that these options name.
    pub fn named_script<'a>(&'a self, part: &'a Part) -> Option<(&'a str, &'a Path)> {
        let (_, component) = part.names();
        let own = self.manifest.components.iter();
        let mut own = own.filter(|it| it.name == component);
        let option = own.find_map(|it| option_of(&it.schema))?;
        let path = part.options.get(option)?.as_str()?;
        Some((option, Path::new(path)))
    }

    /// Whether it is a file that another plugin runs.
    pub fn is_script(&self) -> bool {
        self.script.is_some()
    }

    /// Options as they cross the boundary: a file's with what was read of it.
    pub(super) fn wire(&self, options: &Options) -> String {
        let mut options = options.clone();
        if let Some(script) = &self.script {
            let read = json!({ "path": self.path, "source": script.source });
            options.insert(script.option.clone(), read);
        }
        Value::Object(options).to_string()
    }

    /// The schema of a component's options where it follows from some of them, which are given.
    ///
    /// # Errors
    /// What it says against these.
    pub fn options(
        &self,
        kind: ComponentKind,
        component: &str,
        given: &Options,
    ) -> Result<Option<Value>, AbiError> {
        let who = self.who(kind, component);
        let options = self.wire(given);
        let (name, options) = (component.into(), options.as_str().into());
        /// Asks a component of one kind.
        macro_rules! asked {
            ($make:expr) => {{
                let made = {
                    let _call = Call::enter(&who, "");
                    $make(name, options)
                };
                let mut made = Watched::new(who.clone(), made.into_result()?);
                let _call = Call::enter(&who, "");
                made.call(OPTIONS, RSlice::EMPTY).into_result()
            }};
        }
        let answer = match kind {
            ComponentKind::Score => asked!((self.module.scorer())),
            ComponentKind::Mask => asked!((self.module.mask_update())),
            ComponentKind::Rewind => asked!((self.module.rewind())),
            ComponentKind::Update => asked!((|name, options| self.update(name, options))),
        };
        match answer {
            // Plugins from before this question have the options of their manifest.
            Err(error) if error.code == ErrorCode::UNSUPPORTED => Ok(None),
            Err(error) => Err(error),
            Ok(text) => serde_json::from_slice(&text).map_err(|error| AbiError {
                code: ErrorCode::FAILED,
                message: format!("answered something that this host does not understand ({error})")
                    .into(),
            }),
        }
    }

    /// A file with the components that are in it, each with its own options and without the one that names the file.
    ///
    /// # Errors
    /// If the file cannot be run, or nothing is in it.
    pub fn described(&self) -> Result<Self, LoadError> {
        let unusable = |reason: String| LoadError::Unusable {
            name: self.name.clone(),
            path: self.path.clone(),
            reason,
        };
        let mut components = Vec::new();
        for known in &self.manifest.components {
            let schema = match self.options(known.kind, &known.name, &Options::new()) {
                Ok(schema) => schema.unwrap_or_else(|| known.schema.clone()),
                Err(error) if error.code == ErrorCode::MISSING => continue,
                Err(error) => {
                    return Err(unusable(format!("cannot be used: {}", error.message)));
                }
            };
            let script = self.script.as_ref().map(|script| script.option.clone());
            components.push(ComponentManifest {
                schema: without(schema, script.as_deref()),
                ..known.clone()
            });
        }
        if components.is_empty() {
            return Err(unusable(
                "has no score, no mask and no rewind policy".to_owned(),
            ));
        }
        let summary = components
            .first()
            .and_then(|it| it.schema.get("description"));
        Ok(Self {
            manifest: Manifest {
                name: self.name.clone(),
                summary: summary
                    .and_then(Value::as_str)
                    .unwrap_or_default()
                    .to_owned(),
                components,
                default: None,
                ..self.manifest.clone()
            },
            name: self.name.clone(),
            path: self.path.clone(),
            digest: self.digest.clone(),
            rustc: self.rustc.clone(),
            api: self.api,
            module: self.module,
            updates: self.updates,
            script: self.script.as_ref().map(|script| Script {
                option: script.option.clone(),
                source: script.source.clone(),
            }),
        })
    }
}

fn without(mut schema: Value, option: Option<&str>) -> Value {
    let Some(option) = option else { return schema };
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        properties.remove(option);
    }
    if let Some(required) = schema.get_mut("required").and_then(Value::as_array_mut) {
        required.retain(|it| it != option);
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_a_file_does_not_ask_for_it_again() {
        let schema = json!({ "properties": {
            "a": { "type": "string" }, "code": { "type": "string", "x-type": "script" },
        }});
        let left = without(schema, Some("code"));
        assert_eq!(option_of(&left), None);
        assert!(left["properties"].get("a").is_some());
    }

    #[test]
    fn a_file_is_run_by_the_plugin_of_its_names_end() {
        assert_eq!(runner(Path::new("x/mine.py")), Some("python"));
        assert_eq!(runner(Path::new("libmine.so")), None);
        assert_eq!(runner(Path::new("py")), None);
    }
}
