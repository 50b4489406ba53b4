//! What is written for users is so: plugins show all of their documentation, and the guide's code builds.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use end_to_end::built::{cargo_in, outside};
use end_to_end::program::{self, expect};
use serde_json::{Value, json};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
const GUIDE: &str = include_str!("../../../docs/write-a-strategy.md");

/// Names of the shipped plugins, and their sources.
fn shipped() -> Vec<(String, String)> {
    let folders = fs::read_dir(Path::new(ROOT).join("plugins")).unwrap();
    let mut all: Vec<(String, String)> = folders
        .map(|entry| {
            let entry = entry.unwrap();
            let source = fs::read_to_string(entry.path().join("src/lib.rs")).unwrap();
            (entry.file_name().into_string().unwrap(), source)
        })
        .collect();
    all.sort();
    assert!(all.len() > 10);
    all
}

/// Without the differences that another line length makes.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn shown(name: &str) -> String {
    let output = expect(program::command().args(["plugin", "show", name]), 0);
    String::from_utf8(output.stdout).unwrap()
}

/// The doc comments in front of components and of their options, as they stand in the source, line by line.
fn documented(source: &str) -> Vec<Vec<&str>> {
    let (mut all, mut now) = (Vec::new(), Vec::new());
    let mut is_options = false;
    for line in source.lines() {
        let trimmed = line.trim();
        if let Some(text) = trimmed.strip_prefix("///") {
            now.push(text.trim());
            continue;
        }
        // Attributes and comments stand between a doc comment and what it is about.
        if trimmed.starts_with("#[") || trimmed.starts_with("//") {
            is_options |= trimmed.contains("deny_unknown_fields");
            continue;
        }
        let is_component = is_options && trimmed.starts_with("struct ");
        let is_option = is_options && line.starts_with("    ") && trimmed.ends_with(',');
        if is_component || is_option {
            all.push(std::mem::take(&mut now));
        }
        now.clear();
        is_options &= is_component && !trimmed.ends_with("{}") || is_option;
    }
    all
}

#[test]
fn every_plugin_shows_all_that_its_source_says_of_components_and_options() {
    let (mut blocks, mut headings) = (0, 0);
    for (name, source) in shipped() {
        let shown = words(&shown(&name));
        for block in documented(&source) {
            blocks += 1;
            for line in block {
                let line = match line.strip_prefix("# ") {
                    Some(heading) => {
                        headings += 1;
                        format!("{heading}:")
                    }
                    None => words(line),
                };
                assert!(
                    shown.contains(&line),
                    "`plugin show {name}` lacks {line:?}: {shown}"
                );
            }
        }
    }
    // So many there were when this was written.
    assert!(blocks >= 60 && headings >= 19, "{blocks} {headings}");
}

#[test]
fn every_option_of_every_plugin_is_shown_with_its_default() {
    let mut options = 0;
    for (name, _) in shipped() {
        let shown = shown(&name);
        assert!(!shown.contains("does not tell"), "{name}: {shown}");
        let mut command = program::command();
        let output = expect(command.args(["plugin", "show", &name, "--json"]), 0);
        let json: Value = serde_json::from_slice(&output.stdout).unwrap();
        for component in json["manifest"]["components"].as_array().unwrap() {
            let properties = component["schema"]["properties"].as_object();
            for (option, schema) in properties.into_iter().flatten() {
                let line = shown
                    .lines()
                    .find(|it| it.trim().starts_with(&format!("{option}: ")));
                let line = line.unwrap_or_else(|| panic!("{name} {option}: {shown}"));
                let expected = match schema.get("default").or(schema.get("x-default")) {
                    Some(Value::Null) => "(not given by default)".to_owned(),
                    Some(default) => format!("(default {default})"),
                    None => {
                        let required = component["schema"]["required"].as_array();
                        let is_required = required.is_some_and(|it| it.contains(&json!(option)));
                        assert!(is_required, "{name}: {option} has no default that is shown");
                        "(must be given)".to_owned()
                    }
                };
                // Options of two components may have one name: their lines are looked at together.
                let own = |it: &&str| it.trim().starts_with(&format!("{option}: "));
                let is_there = shown.lines().filter(own).any(|it| it.ends_with(&expected));
                assert!(is_there, "{name} {option}: {line}, expected {expected}");
                options += 1;
            }
        }
    }
    assert!(options >= 40, "{options}");
    assert!(shown("set").contains("decay: \"cosine\" | \"constant\" (default \"cosine\")"));
}

#[test]
fn what_is_shown_fits_a_terminal() {
    for (name, _) in shipped() {
        // Paths and digests are as long as they are.
        let text = shown(&name);
        let (_, components) = text.split_once("\n\n").unwrap();
        for line in components.lines() {
            assert!(line.chars().count() <= 100, "{name}: {line}");
        }
    }
}

/// A new crate, made as the guide says.
fn new_crate(folder: &Path, name: &str, more: &[&str]) -> PathBuf {
    let mut new = program::command();
    new.current_dir(folder)
        .args(["plugin", "new", name, "--no-trust", "--sdk", ROOT]);
    expect(new.args(more), 0);
    let own = folder.join(name);
    // The versions that this workspace was built with.
    fs::copy(Path::new(ROOT).join("Cargo.lock"), own.join("Cargo.lock")).unwrap();
    own
}

/// Builds a crate and gives its library.
fn build(folder: &Path, name: &str) -> PathBuf {
    expect(cargo_in(folder).args(["build", "--release"]), 0);
    let file = format!(
        "{}{}{}",
        std::env::consts::DLL_PREFIX,
        name.replace('-', "_"),
        std::env::consts::DLL_SUFFIX
    );
    // Where the crate's own experiment looks for it.
    let library = folder.join("target/release").join(&file);
    fs::create_dir_all(library.parent().unwrap()).unwrap();
    fs::copy(outside().join("release").join(&file), &library).unwrap();
    library
}

fn check(library: &Path) {
    let mut check = program::command();
    expect(check.args(["plugin", "check", "--quick"]).arg(library), 0);
}

/// Code blocks of the guide in a language, each with the file that the text before it names first.
fn blocks(language: &str) -> Vec<(Option<String>, String)> {
    let parts: Vec<&str> = GUIDE.split("```").collect();
    let pairs = parts.chunks(2).filter(|it| it.len() == 2);
    let own = pairs.filter_map(|pair| {
        let code = pair[1].strip_prefix(language)?.strip_prefix('\n')?;
        let paragraph = pair[0].trim_end().rsplit("\n\n").next().unwrap();
        let names = paragraph.split('`').skip(1).step_by(2);
        let file = names
            .into_iter()
            .find(|it| it.ends_with(".rs") || it.ends_with(".toml"));
        Some((file.map(str::to_owned), code.to_owned()))
    });
    own.collect()
}

#[test]
fn the_files_of_the_guide_build_and_keep_every_rule() {
    let name = "my-strategy";
    // Outside this repository, as cargo would take the crate for a part of its workspace.
    let home = tempfile::tempdir().unwrap();
    let folder = new_crate(home.path(), name, &["--kind", "all"]);
    let files = blocks("rust")
        .into_iter()
        .filter_map(|(file, code)| Some((file?, code)));
    let files: Vec<(String, String)> = files.collect();
    let names: Vec<&str> = files.iter().map(|(file, _)| file.as_str()).collect();
    let expected =
        ["taylor", "running", "mask", "rewind", "update", "lib"].map(|it| format!("src/{it}.rs"));
    assert_eq!(names, expected);
    fs::remove_dir_all(folder.join("src")).unwrap();
    fs::create_dir(folder.join("src")).unwrap();
    for (file, code) in &files {
        fs::write(folder.join(file), code).unwrap();
    }
    let library = build(&folder, name);
    check(&library);
    let runs = tempfile::tempdir().unwrap();
    let path = format!("plugins.{name}.path={:?}", library.display().to_string());
    let strategy = format!("strategy=\"{name}\"");
    let mut run = program::run(
        "imp.toml",
        runs.path(),
        &["--seeds", "0", "--allow-plugins"],
    );
    let update = format!("strategy.update.0={name}/same-signs");
    for set in [
        "prune.levels=3",
        "train.epochs=2",
        &strategy,
        &update,
        &path,
    ] {
        run.args(["--set", set]);
    }
    expect(&mut run, 0);
}

#[test]
fn the_crate_that_the_guide_begins_with_has_its_code_and_runs_its_experiments() {
    let name = "tanh-score";
    let home = tempfile::tempdir().unwrap();
    let folder = new_crate(home.path(), name, &[]);
    let source = fs::read_to_string(folder.join("src/lib.rs")).unwrap();
    let fragments = blocks("rust")
        .into_iter()
        .filter(|(file, _)| file.is_none());
    let mut lines = 0;
    for (_, code) in fragments {
        for line in code.lines() {
            assert!(
                source.lines().any(|it| it == line),
                "{line:?} is not in the new crate"
            );
            lines += 1;
        }
    }
    assert!(lines > 20, "{lines}");
    check(&build(&folder, name));
    // `cargo test` has the installed program check every rule.
    let mut test = cargo_in(&folder);
    test.args(["test", "--release"])
        .env("REWIND_HOST", program::host());
    expect(&mut test, 0);
    let compare = blocks("toml")
        .into_iter()
        .find(|(file, _)| file.as_deref() == Some("compare.toml"));
    fs::write(folder.join("compare.toml"), compare.unwrap().1).unwrap();
    for experiment in ["experiment.toml", "compare.toml"] {
        let mut plan: Command = program::command();
        plan.current_dir(&folder)
            .args(["plan", "--allow-plugins", "--no-estimate", experiment]);
        expect(&mut plan, 0);
    }
}

#[test]
fn a_new_crate_of_each_kind_has_its_component_keeps_every_rule_and_runs() {
    let name = "my-own";
    let home = tempfile::tempdir().unwrap();
    let folder = new_crate(home.path(), name, &["--kind", "all"]);
    let library = build(&folder, name);
    check(&library);
    let mut show = program::command();
    let shown = expect(show.args(["plugin", "show"]).arg(&library), 0);
    let shown = String::from_utf8(shown.stdout).unwrap();
    for kind in ["score", "mask", "rewind", "update"] {
        let line = format!("{kind} = \"my_own/{kind}\"");
        assert!(shown.replace("my-own", "my_own").contains(&line), "{shown}");
    }
    let mut run = program::command();
    run.current_dir(&folder)
        .args(["run", "experiment.toml", "--allow-plugins", "--seeds", "0"]);
    for set in ["prune.levels=2", "train.epochs=2"] {
        run.args(["--set", set]);
    }
    expect(&mut run, 0);
    // Alone it is the same file.
    let alone = new_crate(home.path(), "alone", &["--kind", "update"]);
    let experiment = fs::read_to_string(alone.join("experiment.toml")).unwrap();
    assert!(experiment.contains("update = { use = \"alone/update\", strength = 2e-4 }"));
    check(&build(&alone, "alone"));
}

#[test]
fn an_update_in_python_is_refused_before_anything_is_written() {
    let home = tempfile::tempdir().unwrap();
    let mut new = program::command();
    new.current_dir(home.path())
        .args(["plugin", "new", "mine", "--python", "--kind", "update"]);
    let output = expect(&mut new, 2);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("a file of Python has no update"), "{said}");
    assert!(!home.path().join("mine").exists());
}

#[test]
fn the_readme_shows_the_strategy_in_python_that_is_shipped() {
    let strategy = include_str!("../../../experiments/python/fan_in.py");
    assert!(include_str!("../../../README.md").contains(strategy));
}

/// All that a folder's files with one of these ends hold.
fn sources(folder: &Path, ends: &[&str], all: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let end = path.extension().unwrap_or_default().to_string_lossy();
        if path.is_dir() {
            sources(&path, ends, all);
        } else if ends.contains(&&*end) {
            all.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn a_first_run_goes_as_its_page_says() {
    let folder = tempfile::tempdir().unwrap();
    let experiments = Path::new(ROOT).join("experiments");
    std::os::unix::fs::symlink(experiments, folder.path().join("experiments")).unwrap();
    let page = include_str!("../../../docs/first-run.md");
    let output = expect(&mut program::typed(page, folder.path()), 0);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let report = said.lines().last().unwrap();
    assert!(folder.path().join(report).is_file(), "{said}");
    // Its last chapter: a file of one's own.
    let file = page.split("```toml\n").nth(1).unwrap();
    let file = file.split("```").next().unwrap();
    fs::write(folder.path().join("mine.toml"), file).unwrap();
    let command = "host run mine.toml && host report runs/mine";
    assert!(page.contains(&format!("`{command}`")));
    let last = format!("```sh\n{command}\n```");
    expect(&mut program::typed(&last, folder.path()), 0);
    assert!(folder.path().join("runs/mine/report.html").is_file());
}

#[test]
fn runs_of_shipped_files_are_called_what_the_pages_call_them() {
    let pages = fs::read_dir(Path::new(ROOT).join("docs"))
        .unwrap()
        .flatten();
    let pages = pages
        .map(|it| it.path())
        .chain([Path::new(ROOT).join("README.md")]);
    let pages = pages.filter(|it| it.extension().is_some_and(|end| end == "md"));
    let text: String = pages.map(|it| fs::read_to_string(it).unwrap()).collect();
    for name in ["imp", "lrr", "wr"] {
        let file = Path::new(ROOT).join(format!("experiments/{name}.toml"));
        let output = expect(program::command().args(["plan", "--json"]).arg(file), 0);
        let plan: Value = serde_json::from_slice(&output.stdout).unwrap();
        let run = Path::new(plan["run"].as_str().unwrap())
            .file_name()
            .unwrap();
        let run = run.to_str().unwrap();
        let is_of = |word: &&str| {
            let digest = word.strip_prefix(&format!("{name}-")).unwrap_or_default();
            digest.len() == 8 && digest.bytes().all(|it| it.is_ascii_hexdigit())
        };
        let words = text.split(|it: char| !it.is_ascii_alphanumeric() && it != '-');
        let called: Vec<&str> = words.filter(is_of).collect();
        assert!(
            !called.is_empty() && called.iter().all(|it| *it == run),
            "{run}: {called:?}"
        );
    }
}

#[test]
fn the_messages_that_are_explained_are_those_of_the_program() {
    let page = include_str!("../../../docs/troubleshooting.md");
    let mut said = include_str!("../../../Makefile").to_owned();
    for folder in ["host/src", "host/kernels/src", "host/python"] {
        sources(&Path::new(ROOT).join(folder), &["rs", "py"], &mut said);
    }
    let headings = page.lines().filter(|line| line.starts_with("### "));
    let fragments: Vec<&str> = headings
        .flat_map(|line| line.split('`').skip(1).step_by(2))
        .collect();
    assert!(fragments.len() > 12, "{fragments:?}");
    for fragment in fragments {
        assert!(said.contains(fragment), "nothing says {fragment:?}");
    }
}
