//! Checking a strategy against the plugins it names.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::check::check_options;
use super::diagnostic::{Diagnostic, Place, quoted};
use super::problems::Diagnostics;
use super::tree::{Node, Tree};
use super::{Catalog, Part, PluginInfo, PluginSource, Slot, script};

/// Components that a list of a strategy has at most; each is made and asked before anything trains.
const MOST_POLICIES: usize = 100;

/// The plugins that an experiment names, loaded once each.
pub(super) struct Plugins<'a> {
    catalog: &'a dyn Catalog,
    /// What `[plugins]` says, and where; none where that is malformed, which is reported there.
    sources: BTreeMap<String, Option<(PluginSource, Place)>>,
    /// None where loading failed, which is reported at the first use.
    loaded: BTreeMap<String, Option<PluginInfo>>,
}

impl<'a> Plugins<'a> {
    pub fn new(catalog: &'a dyn Catalog) -> Self {
        Self {
            catalog,
            sources: BTreeMap::new(),
            loaded: BTreeMap::new(),
        }
    }

    /// Takes the sources from `[plugins]` and makes their paths absolute, in the tree too: the
    /// resolved file is stored elsewhere.
    pub fn find_sources(&mut self, root: &mut Node, folders: &[PathBuf]) {
        let table = root.table_mut().and_then(|table| table.get_mut("plugins"));
        for (key, node) in table
            .and_then(Node::table_mut)
            .into_iter()
            .flat_map(|it| it.iter_mut())
        {
            let path = node.table_mut().and_then(|table| table.get_mut("path"));
            let path = path.and_then(|path| {
                let written = Path::new(path.text()?);
                let from_here = folders.get(path.place.file)?.join(written);
                let absolute = (from_here.canonicalize())
                    .or_else(|_| std::path::absolute(&from_here))
                    .unwrap_or(from_here);
                path.value = Tree::Text(absolute.to_str()?.to_owned());
                Some(absolute)
            });
            let pin = node.at(&["blake3"]).and_then(Node::text).map(str::to_owned);
            let place = node.at(&["path"]).map(|path| path.place.clone());
            let source = path.map(|path| PluginSource { path, blake3: pin });
            let source = source.zip(place);
            self.sources.insert(key.text.clone(), source);
        }
    }

    /// The plugins that could be loaded.
    pub fn into_loaded(self) -> BTreeMap<String, PluginInfo> {
        (self.loaded.into_iter())
            .filter_map(|(name, info)| Some((name, info?)))
            .collect()
    }

    fn known(&self) -> Vec<String> {
        let mut known = self.catalog.known_plugins();
        known.extend(self.sources.keys().cloned());
        known
    }

    /// A plugin by name; what keeps it from being loaded is reported at `place`.
    fn get(
        &mut self,
        name: &str,
        place: &Place,
        problems: &mut Diagnostics,
    ) -> Option<&PluginInfo> {
        // What is wrong with a library is mended where it is named.
        let (source, place) = match self.sources.get(name) {
            Some(None) => return None,
            Some(Some((source, named_at))) => (Some(source), named_at),
            None => (None, place),
        };
        if source.is_none() && !self.loaded.contains_key(name) && !self.catalog.knows_plugin(name) {
            let problem = Diagnostic::new(Some(place), format!("unknown plugin `{name}`"))
                .known(name, self.known())
                .note("a plugin that is not shipped is named in `[plugins]`: mine = { path = \"libmine.so\" }");
            problems.push(problem);
            return None;
        }
        if !self.loaded.contains_key(name) {
            let info = self.catalog.plugin(name, source);
            let info = info.map_err(|error| {
                let mut lines = error.lines();
                let first = lines.next().unwrap_or("no reason given");
                let message = format!("failed to load plugin `{name}`: {first}");
                let problem = Diagnostic::new(Some(place), message).label("named here");
                let problem = lines.fold(problem, Diagnostic::note).plugin_failure();
                problems.push(problem);
            });
            self.loaded.insert(name.to_owned(), info.ok());
        }
        self.loaded.get(name)?.as_ref()
    }

    /// Puts a plugin's default trio in the place of the plugin's name.
    pub fn unfold_strategy(&mut self, node: &mut Node, problems: &mut Diagnostics) {
        let Tree::Text(name) = node.value.clone() else {
            return;
        };
        let place = node.place.clone();
        let default = match self.get(&name, &place, problems) {
            Some(info) => info.default.clone(),
            None => {
                node.value = Tree::Invalid;
                return;
            }
        };
        let json = default.and_then(|strategy| serde_json::to_value(strategy).ok());
        match json {
            Some(json) => *node = Node::from_json(&json, &place),
            None => {
                let message = format!("plugin `{name}` has no default strategy");
                let problem = Diagnostic::new(Some(&place), message)
                    .label("name a score, a mask and a rewind instead");
                problems.push(problem);
                node.value = Tree::Invalid;
            }
        }
    }

    /// Brings `strategy` into its long form and checks every part against its plugin. Returns the
    /// schemas of the components' options.
    pub fn check(
        &mut self,
        root: &mut Node,
        folders: &[PathBuf],
        problems: &mut Diagnostics,
    ) -> PartSchemas {
        let mut schemas = PartSchemas::default();
        let Some(strategy) = root.table_mut().and_then(|it| it.get_mut("strategy")) else {
            return schemas;
        };
        self.unfold_strategy(strategy, problems);
        let Some(table) = strategy.table_mut() else {
            return schemas;
        };
        for (key, slot) in [("score", Slot::Score), ("mask", Slot::Mask)] {
            if let Some(part) = table.get_mut(key) {
                let path = format!("strategy.{key}");
                self.check_part(part, slot, (&path, folders), problems, &mut schemas);
            }
        }
        for (key, slot) in [("rewind", Slot::Rewind), ("update", Slot::Update)] {
            let Some(listed) = table.get_mut(key) else {
                continue;
            };
            if let Tree::Text(_) | Tree::Table(_) = listed.value {
                listed.value = Tree::List(vec![listed.clone()]);
            }
            let Tree::List(parts) = &mut listed.value else {
                continue;
            };
            if parts.len() > MOST_POLICIES {
                let message = format!("`strategy.{key}` has {} components", parts.len());
                let problem = Diagnostic::new(Some(&listed.place), message)
                    .label(format!("expected at most {MOST_POLICIES}"));
                problems.push(problem);
                return schemas;
            }
            for (i, part) in parts.iter_mut().enumerate() {
                let path = format!("strategy.{key}.{i}");
                self.check_part(part, slot, (&path, folders), problems, &mut schemas);
            }
        }
        schemas
    }

    fn check_part(
        &mut self,
        part: &mut Node,
        slot: Slot,
        (path, folders): (&str, &[PathBuf]),
        problems: &mut Diagnostics,
        schemas: &mut PartSchemas,
    ) {
        if let Tree::Text(component) = &part.value {
            *part = Node::singleton("use", component, &part.place);
        }
        let Some(component) = part.at(&["use"]) else {
            return; // The schema reports it.
        };
        let (Some(written), place) = (component.text(), &component.place) else {
            return;
        };
        let Some((plugin, name)) = written.split_once('/') else {
            let message = format!("`{written}` names no component of a plugin");
            let mut problem =
                Diagnostic::new(Some(place), message).label("expected `plugin/component`");
            if self.known().iter().any(|it| it == written)
                && let Some(info) = self.get(written, place, problems)
            {
                let fitting = fitting(written, info, slot);
                if !fitting.is_empty() {
                    problem = problem.label(format!("did you mean {}?", quoted(&fitting)));
                }
            }
            problems.push(problem);
            return;
        };
        let Some(info) = self.get(plugin, place, problems) else {
            return;
        };
        let of_that_name = || info.components.iter().filter(|it| it.name == name);
        if let Some(found) = of_that_name().find(|it| it.slot == slot) {
            let (written, own) = (written.to_owned(), found.schema.clone());
            let known = (self.catalog, folders);
            let Some(schema) = script::schema_of(part, slot, &own, path, known, problems) else {
                return;
            };
            let found = check_options(part, "use", &schema, path);
            schemas.insert(path.to_owned(), schema);
            let fits = found.is_empty();
            for problem in found {
                problems.push(problem);
            }
            if fits
                && let Ok(typed) = serde_json::from_value::<Part>(part.to_json())
                && let Err(error) = self.catalog.validate(slot, &typed)
            {
                let message = format!("`{written}` refuses its options");
                problems.push(Diagnostic::new(Some(&part.place), message).label(error));
            }
            return;
        }
        let message = match of_that_name().next() {
            Some(other) => {
                format!(
                    "`{written}` is a {}, not a {}",
                    other.slot.noun(),
                    slot.noun()
                )
            }
            None => format!("plugin `{plugin}` has no {} `{name}`", slot.noun()),
        };
        let fitting = fitting(plugin, info, slot);
        let mut problem = Diagnostic::new(Some(place), message);
        problem = if fitting.is_empty() {
            problem.note(format!("`{plugin}` has no {} at all", slot.noun()))
        } else {
            problem.known(written, fitting)
        };
        problems.push(problem);
    }
}

/// The schemas of the options of the components that a strategy uses, by their places: `strategy.rewind.0`.
pub(super) type PartSchemas = BTreeMap<String, Value>;

/// The components of a plugin that can stand in a slot, as a strategy writes them.
fn fitting(plugin: &str, info: &PluginInfo, slot: Slot) -> Vec<String> {
    (info.components.iter())
        .filter(|it| it.slot == slot)
        .map(|it| format!("{plugin}/{}", it.name))
        .collect()
}
