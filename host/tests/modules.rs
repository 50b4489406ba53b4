//! The top-level modules of the host import each other in one direction, as ARCHITECTURE.md says.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;

type Imports = BTreeMap<String, BTreeSet<String>>;

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
        if stem == "tests" || stem == "testing" {
            continue;
        }
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|it| it == "rs") {
            found.push(path);
        }
    }
}

/// What each top-level module imports of the others, tests left out.
fn imports() -> Imports {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let module = |file: &PathBuf| {
        let first = file.strip_prefix(&root).unwrap().components().next();
        let first = first.unwrap().as_os_str().to_string_lossy();
        first.trim_end_matches(".rs").to_owned()
    };
    let mut all: Imports = files
        .iter()
        .map(|file| (module(file), BTreeSet::new()))
        .filter(|(name, _)| name != "lib" && name != "main")
        .collect();
    let known: BTreeSet<String> = all.keys().cloned().collect();
    let comment = Regex::new("//[^\n]*").unwrap();
    let path = Regex::new(r"\bcrate::(\w+)").unwrap();
    // `use crate::{a, b::C};`: the name at the start of each part.
    let group = Regex::new(r"\bcrate::\{([^;]*)\}").unwrap();
    let part = Regex::new(r"(?:^|,)\s*(\w+)").unwrap();
    let inner = Regex::new(r"\{[^{}]*\}").unwrap();
    for file in &files {
        let text = fs::read_to_string(file).unwrap();
        let text = comment.replace_all(&text, "");
        let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        let mut names: Vec<String> = path
            .captures_iter(text)
            .map(|it| it[1].to_owned())
            .collect();
        for found in group.captures_iter(text) {
            let mut list = found[1].to_owned();
            while inner.is_match(&list) {
                list = inner.replace_all(&list, "").into_owned();
            }
            names.extend(part.captures_iter(&list).map(|it| it[1].to_owned()));
        }
        let own = module(file);
        if let Some(imports) = all.get_mut(&own) {
            let others = names.into_iter().filter(|it| known.contains(it));
            imports.extend(others.filter(|it| *it != own));
        }
    }
    all
}

/// A way from a module back to itself, if there is one.
fn ring(all: &Imports) -> Option<Vec<String>> {
    fn walk(all: &Imports, way: &mut Vec<String>, done: &mut BTreeSet<String>) -> bool {
        let last = way.last().unwrap().clone();
        for next in &all[&last] {
            if way.contains(next) {
                way.push(next.clone());
                return true;
            }
            if !done.contains(next) {
                way.push(next.clone());
                if walk(all, way, done) {
                    return true;
                }
                way.pop();
            }
        }
        done.insert(last);
        false
    }
    let mut done = BTreeSet::new();
    all.keys().find_map(|module| {
        let mut way = vec![module.clone()];
        walk(all, &mut way, &mut done).then_some(way)
    })
}

#[test]
fn no_top_level_module_imports_itself_by_way_of_others() {
    let all = imports();
    assert!(all.len() > 20 && all["cli"].contains("run"), "{all:?}");
    assert_eq!(ring(&all), None);
    // The walk finds one where there is one.
    let mut wrong = all.clone();
    wrong
        .get_mut("store")
        .unwrap()
        .insert("experiment".to_owned());
    let found = ring(&wrong).unwrap();
    assert!(found.contains(&"store".to_owned()), "{found:?}");
}

#[test]
fn architecture_says_what_each_module_knows_of() {
    let all = imports();
    let is_leaf = |name: &String| all[name].is_empty();
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../ARCHITECTURE.md"));
    let text = text.unwrap();
    let table = text.split("| module of `host/src` |").nth(1).unwrap();
    let name = Regex::new(r"`(\w+)/?`").unwrap();
    let names = |cell: &str| -> BTreeSet<String> {
        let found = name.captures_iter(cell).map(|it| it[1].to_owned());
        found.collect()
    };
    let mut told = BTreeSet::new();
    for row in table.lines().skip(2).take_while(|it| it.starts_with('|')) {
        let cells: Vec<&str> = row.split('|').collect();
        let (modules, knows) = (names(cells[1]), names(cells[3]));
        let mut expected: BTreeSet<String> = modules
            .iter()
            .flat_map(|module| {
                all.get(module)
                    .unwrap_or_else(|| panic!("no {module}: {row}"))
            })
            .filter(|it| !is_leaf(it) && !modules.contains(*it))
            .cloned()
            .collect();
        if cells[3].contains("everything") {
            expected.clear();
        }
        assert_eq!(knows, expected, "{modules:?}");
        told.extend(modules);
    }
    let missing: Vec<_> = all.keys().filter(|it| !told.contains(*it)).collect();
    assert!(missing.is_empty(), "ARCHITECTURE.md lacks {missing:?}");
}
