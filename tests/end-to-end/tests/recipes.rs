//! The recipes in CONTRIBUTING.md name what there is, and whoever adds a component and leaves a step out is told
//! which.

use std::fs;
use std::path::{Path, PathBuf};

use end_to_end::built::{PACKAGES, loader, own};
use host::registry::Entry;
use host::{data, model, optimizer, schedule};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The part of CONTRIBUTING.md with the recipes.
fn recipes() -> String {
    let page = read("CONTRIBUTING.md");
    let (_, recipes) = page.split_once("## Adding a new ...").unwrap();
    recipes.split("\n## ").next().unwrap().to_owned()
}

/// The recipe under a heading.
fn recipe(title: &str) -> String {
    let all = recipes();
    let (_, own) = all.split_once(&format!("### {title}\n")).unwrap();
    own.split("\n### ").next().unwrap().to_owned()
}

/// All files of a folder and below, as one text.
fn whole(folder: &str) -> String {
    let (mut text, mut folders) = (String::new(), vec![root().join(folder)]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(own) = fs::read_to_string(&path) {
                text.push_str(&own);
            }
        }
    }
    text
}

#[test]
fn every_file_that_a_recipe_names_is_there() {
    let mut found = 0;
    for word in recipes().split('`').skip(1).step_by(2) {
        let is_path = word.contains('/') && !word.contains(' ') && !word.contains("NAME");
        // Commands, and names within a file.
        if is_path && !word.starts_with("--") {
            assert!(root().join(word).exists(), "CONTRIBUTING.md names {word}");
            found += 1;
        }
    }
    assert!(found >= 25, "{found}");
}

/// A list of components that recipes are about.
struct Area {
    recipe: &'static str,
    folder: &'static str,
    list: &'static str,
    names: Vec<&'static str>,
}

fn area<Build>(
    recipe: &'static str,
    folder: &'static str,
    list: &'static str,
    entries: &'static [Entry<Build>],
) -> Area {
    Area {
        recipe,
        folder,
        list,
        names: entries.iter().map(|entry| entry.name).collect(),
    }
}

#[test]
fn a_component_of_the_host_is_where_its_recipe_says() {
    let table = read("docs/experiment-file.md");
    let tests = whole("host/src") + &whole("host/tests");
    let mut count = 0;
    for area in [
        area("Dataset", "host/src/data", "DATASETS", data::DATASETS),
        area("Model", "host/src/model", "MODELS", model::MODELS),
        area(
            "Optimizer",
            "host/src/optimizer",
            "OPTIMIZERS",
            optimizer::OPTIMIZERS,
        ),
        area(
            "Schedule",
            "host/src/schedule",
            "SCHEDULES",
            schedule::SCHEDULES,
        ),
    ] {
        let recipe = recipe(area.recipe);
        let list = format!("{}/mod.rs", area.folder);
        assert!(
            recipe.contains(&format!("{}/NAME.rs", area.folder)),
            "{recipe}"
        );
        assert!(recipe.contains(&format!("`{list}`")) && recipe.contains(area.list));
        assert!(read(&list).contains(&format!("pub static {}", area.list)));
        for name in area.names {
            count += 1;
            // A family of networks or of files shares its file.
            let quoted = format!("\"{name}\"");
            assert!(
                whole(area.folder).contains(&quoted),
                "{name}: no file in {}",
                area.folder
            );
            assert!(
                table.contains(&format!("`{name}`")),
                "{name}: no row in docs/experiment-file.md"
            );
            let uses = tests.matches(&quoted).count();
            assert!(uses >= 2, "{name}: no test names it");
        }
    }
    assert!(count >= 20, "{count}");
}

#[test]
fn a_shipped_plugin_has_everything_that_its_recipe_asks_for() {
    let recipe = recipe("Strategy plugin");
    for step in [
        "`PACKAGES`",
        "docs/plugins.md",
        "experiments/README.md",
        "README.md",
    ] {
        assert!(recipe.contains(step), "{step}");
    }
    let mut names: Vec<String> = fs::read_dir(root().join("plugins"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let plugins = read("docs/plugins.md");
    let (experiments, tests) = (whole("experiments"), whole("tests/end-to-end/tests"));
    let mut loader = loader(own());
    for name in &names {
        assert!(
            PACKAGES.contains(&name.as_str()),
            "{name}: not in PACKAGES of built.rs"
        );
        let manifest = read(&format!("plugins/{name}/Cargo.toml"));
        for line in [
            "publish = false",
            "description = ",
            "crate-type = [\"cdylib\"]",
        ] {
            assert!(
                manifest.contains(line),
                "plugins/{name}/Cargo.toml lacks {line}"
            );
        }
        assert!(
            experiments.contains(&format!("\"{name}/")),
            "{name}: no experiment uses it"
        );
        let plugin = loader.load(name, None).unwrap();
        for component in &plugin.manifest.components {
            let whole = format!("{name}/{}", component.name);
            assert!(
                plugins.contains(&format!("`{whole}`")),
                "{whole}: no row in docs/plugins.md"
            );
            assert!(tests.contains(&whole), "{whole}: no test of its own");
        }
    }
    let number = [
        "thirteen",
        "fourteen",
        "fifteen",
        "sixteen",
        "seventeen",
        "eighteen",
        "nineteen",
        "twenty",
        "twenty-one",
        "twenty-two",
        "twenty-three",
        "twenty-four",
    ];
    let said = format!("The {} shipped plugins", number[names.len() - 13]);
    assert!(
        read("README.md").contains(&said),
        "README.md lacks {said:?}"
    );
}
