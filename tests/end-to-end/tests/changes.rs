//! What changes under a run: data, images, plugins. It is noticed, named, and loses nothing.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use attack::hold::Hold;
use end_to_end::built;
use end_to_end::program::{self, digests, expect, only_run, run, wait_until};
use image::{ImageFormat, Rgb, RgbImage};

fn said(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn library(name: &str) -> String {
    let (before, after) = (std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    format!("{before}{name}{after}")
}

/// A folder of plugins of the user's own, with a copy of a shipped one under another name.
fn own_plugin(folder: &Path, of: &str) -> PathBuf {
    fs::create_dir_all(folder).unwrap();
    let copy = folder.join(library("mine"));
    fs::copy(built::own().join(library(of)), &copy).unwrap();
    copy
}

/// Puts another file in a plugin's place, as a build does: bytes behind the last section change the
/// digest and nothing else.
fn build_anew(library: &Path) {
    let mut bytes = fs::read(library).unwrap();
    bytes.extend_from_slice(b"changed");
    let new = library.with_extension("new");
    fs::write(&new, bytes).unwrap();
    fs::rename(new, library).unwrap();
}

/// Each part of a strategy, taken from a plugin of the user's own, and the plugin that it is a copy of.
const PARTS: [(&str, &str); 3] = [
    ("imp", "strategy.score=\"mine/magnitude\""),
    ("imp", "strategy.mask=\"mine/global\""),
    (
        "imp",
        "strategy.rewind={ use = \"mine/weights\", to = \"init\" }",
    ),
];

fn small(runs: &Path, plugins: &Path, more: &[&str]) -> Command {
    let few = [
        "--set",
        "prune.levels=2",
        "--set",
        "model.hidden=[8]",
        "--seeds",
        "0",
    ];
    let mut command = run("imp.toml", runs, &[&few, more].concat());
    command.env("HOST_PLUGIN_PATH", plugins);
    command
}

#[test]
fn a_score_a_mask_or_a_rewind_policy_that_was_built_anew_is_refused_unless_allowed() {
    for (of, part) in PARTS {
        let folder = tempfile::tempdir().unwrap();
        let (runs, plugins) = (folder.path().join("runs"), folder.path().join("plugins"));
        let library = own_plugin(&plugins, of);
        let more = ["--set", "train.epochs=1", "--set", part];
        expect(&mut small(&runs, &plugins, &more), 0);
        let run = only_run(&runs, "imp");
        let before = digests(&run);
        build_anew(&library);
        let output = expect(&mut small(&runs, &plugins, &more), 3);
        assert!(
            said(&output).contains("plugin `mine` was built anew"),
            "{part}: {}",
            said(&output)
        );
        assert_eq!(digests(&run), before, "{part}");
        let allowed = [&more[..], &["--allow-changed-plugins"]].concat();
        expect(&mut small(&runs, &plugins, &allowed), 0);
        let after = digests(&run);
        let levels = |path: &PathBuf| path.starts_with("seed-0");
        assert!(
            before
                .iter()
                .all(|(path, digest)| !levels(path) || after[path] == *digest)
        );
        let identity = fs::read_to_string(run.join("identity.json")).unwrap();
        assert!(identity.contains("replaced_plugins"), "{identity}");
        // Both files are known now: the new one goes on without being allowed again.
        expect(&mut small(&runs, &plugins, &more), 0);
    }
}

#[test]
fn an_update_that_was_built_anew_is_refused_allowed_or_makes_the_dense_level_anew_too() {
    let folder = tempfile::tempdir().unwrap();
    let (runs, plugins) = (folder.path().join("runs"), folder.path().join("plugins"));
    let library = own_plugin(&plugins, "ham");
    let more = [
        "--set",
        "train.epochs=1",
        "--set",
        "strategy.update=mine/hyperbolic",
        "--set",
        "strategy.update.0.alpha=50",
    ];
    expect(&mut small(&runs, &plugins, &more), 0);
    let run = only_run(&runs, "imp");
    let before = digests(&run);
    let dense = |run: &Path| {
        let identity = fs::read(run.join("identity.json")).unwrap();
        let identity: serde_json::Value = serde_json::from_slice(&identity).unwrap();
        identity["dense"].as_str().unwrap().to_owned()
    };
    let old = dense(&run);
    build_anew(&library);
    let output = expect(&mut small(&runs, &plugins, &more), 3);
    assert!(said(&output).contains("plugin `mine` was built anew"));
    assert_eq!(digests(&run), before);
    let allowed = [&more[..], &["--allow-changed-plugins"]].concat();
    expect(&mut small(&runs, &plugins, &allowed), 0);
    let output = expect(&mut small(&runs, &plugins, &more), 0);
    assert!(
        !said(&output).contains("another device"),
        "{}",
        said(&output)
    );
    assert_eq!(dense(&run), old);
    let fresh = [&more[..], &["--fresh"]].concat();
    let output = expect(small(&runs, &plugins, &fresh).env("RUST_LOG", "warn"), 0);
    assert!(
        said(&output).contains("seed-0/level-00, seed-0/level-01")
            && !said(&output).contains("Level 0 stays"),
        "{}",
        said(&output)
    );
    assert!(dense(&run) != old && runs.join(dense(&run)).is_dir());
    let mut verify = program::command();
    verify
        .env("HOST_PLUGIN_PATH", &plugins)
        .arg("verify")
        .arg(&run);
    expect(&mut verify, 0);
}

/// Puts another build of the plugin `mine` in its place: another formula under the same name and version.
fn build_as(folder: &Path, of: &str) {
    fs::create_dir_all(folder).unwrap();
    let library = folder.join(library("mine"));
    let new = library.with_extension("new");
    fs::copy(built::own().join(self::library(of)), &new).unwrap();
    fs::rename(new, library).unwrap();
}

/// What an author runs again and again.
fn authors(runs: &Path, plugins: &Path, more: &[&str]) -> Command {
    let own = [
        "--set",
        "train.epochs=2",
        "--set",
        "model.hidden=[8]",
        "--set",
        "prune.levels=2",
        "--set",
        "strategy.mask=\"mine/drop-and-grow\"",
        "--seeds",
        "0,1",
    ];
    let mut command = run("imp.toml", runs, &[&own[..], more].concat());
    command.env("HOST_PLUGIN_PATH", plugins);
    command
}

fn dense_of(runs: &Path) -> PathBuf {
    let mut entries = fs::read_dir(runs).unwrap().flatten().map(|it| it.path());
    let is_dense = |path: &PathBuf| path.to_string_lossy().contains("/dense-");
    entries.find(is_dense).unwrap()
}

#[test]
fn after_a_change_of_a_formula_the_author_is_refused_and_with_fresh_has_the_bytes_of_a_run_from_nothing()
 {
    let folder = tempfile::tempdir().unwrap();
    let plugins = folder.path().join("plugins");
    let [runs, nothing] = ["runs", "nothing"].map(|it| folder.path().join(it));
    build_as(&plugins, "rigl");
    expect(&mut authors(&nothing, &plugins, &[]), 0);
    let expected = digests(&only_run(&nothing, "imp"));
    build_as(&plugins, "set");
    expect(&mut authors(&runs, &plugins, &[]), 0);
    let run = only_run(&runs, "imp");
    let mut report = program::command();
    expect(report.arg("report").arg(&run), 0);
    let (old, dense) = (digests(&run), digests(&dense_of(&runs)));
    assert_ne!(
        old[Path::new("seed-0/level-01/end.safetensors")],
        expected[Path::new("seed-0/level-01/end.safetensors")]
    );
    build_as(&plugins, "rigl");
    let refused = |offer: &str| {
        let output = expect(&mut authors(&runs, &plugins, &[]), 3);
        assert!(
            said(&output).contains("plugin `mine` was built anew") && said(&output).contains(offer),
            "{}",
            said(&output)
        );
    };
    refused("add --fresh to throw away all levels but the dense one");
    assert_eq!(digests(&run), old);
    // As if `--fresh` had been killed on its way: lists first, then later levels before earlier ones.
    for file in ["manifest.json", "summary.csv", "seed-1/level-02/done.json"] {
        fs::remove_file(run.join(file)).unwrap();
    }
    fs::remove_dir_all(run.join("seed-0/level-02")).unwrap();
    refused("add --fresh");
    let mut fresh = authors(&runs, &plugins, &["--fresh"]);
    let output = expect(fresh.env("RUST_LOG", "warn"), 0);
    assert!(
        said(&output).contains("seed-0/level-01, seed-1/level-01")
            && said(&output).contains("Level 0 stays"),
        "{}",
        said(&output)
    );
    assert_eq!(digests(&run), expected);
    assert_eq!(digests(&dense_of(&runs)), dense);
    // There is nothing left to throw away.
    let output = expect(&mut authors(&runs, &plugins, &["--fresh", "--json"]), 0);
    assert!(!String::from_utf8_lossy(&output.stdout).contains("level-started"));
    assert_eq!(digests(&run), expected);
}

#[test]
fn fresh_that_is_killed_goes_on_to_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let plugins = folder.path().join("plugins");
    let [runs, nothing] = ["runs", "nothing"].map(|it| folder.path().join(it));
    build_as(&plugins, "rigl");
    expect(&mut authors(&nothing, &plugins, &[]), 0);
    build_as(&plugins, "set");
    expect(&mut authors(&runs, &plugins, &[]), 0);
    build_as(&plugins, "rigl");
    let run = only_run(&runs, "imp");
    let mut child = authors(&runs, &plugins, &["--fresh"]).spawn().unwrap();
    wait_until(&mut child, "the first level is thrown away", || {
        !run.join("seed-0/level-02/done.json").exists()
    });
    child.kill().unwrap();
    child.wait().unwrap();
    expect(&mut authors(&runs, &plugins, &["--fresh"]), 0);
    assert_eq!(digests(&run), digests(&only_run(&nothing, "imp")));
}

#[test]
fn results_of_another_build_are_marked_wherever_they_are_shown() {
    let folder = tempfile::tempdir().unwrap();
    let plugins = folder.path().join("plugins");
    let runs = folder.path().join("runs");
    build_as(&plugins, "set");
    expect(&mut authors(&runs, &plugins, &[]), 0);
    let run = only_run(&runs, "imp");
    // The last level is to be made, by the other build.
    fs::remove_dir_all(run.join("seed-0/level-02")).unwrap();
    fs::remove_dir_all(run.join("seed-1/level-02")).unwrap();
    build_as(&plugins, "rigl");
    let output = expect(
        &mut authors(&runs, &plugins, &["--allow-changed-plugins"]),
        0,
    );
    let note = "level 1 was made by another build of plugin `mine` (BLAKE3 ";
    let is_marked = |output: &std::process::Output, where_: &str| {
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let rows: Vec<&str> = text.lines().map(str::trim_start).collect();
        let starts = |with: &str| rows.iter().any(|row| row.starts_with(with));
        assert!(
            starts("0 ") && starts("1* ") && starts("2 ") && text.contains(note),
            "{where_}: {text}"
        );
    };
    is_marked(&output, "run");
    // Who goes on sees it still.
    is_marked(&expect(&mut authors(&runs, &plugins, &[]), 0), "run again");
    let command = |args: &[&str]| {
        let mut command = program::command();
        command.args(args).env("RUST_LOG", "warn");
        expect(&mut command, 0)
    };
    let path = run.to_str().unwrap();
    is_marked(&command(&["show", path]), "show");
    let shown = command(&["show", path, "--json"]);
    let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
    let level = |seed: u64| serde_json::json!({ "seed": seed, "level": 1 });
    assert_eq!(
        shown["other_builds"],
        serde_json::json!([level(0), level(1)])
    );
    let out = folder.path().join("out");
    let exported = out.join("model.safetensors");
    for args in [
        &["compare", path, path][..],
        &["overlap", path],
        &["barrier", path, "--points", "3", "--threads", "1"],
        &["report", path, "--out", out.to_str().unwrap()],
        &[
            "export",
            path,
            "--format",
            "safetensors",
            "--out",
            exported.to_str().unwrap(),
        ],
    ] {
        let output = command(args);
        assert!(said(&output).contains(note), "{args:?}: {}", said(&output));
    }
    let page = fs::read_to_string(out.join("report.html")).unwrap();
    assert!(page.contains("level 1 was made by another build of plugin `mine`"));
    // Made anew, nothing is marked.
    expect(&mut authors(&runs, &plugins, &["--fresh"]), 0);
    let shown = String::from_utf8(command(&["show", path]).stdout).unwrap();
    assert!(
        !shown.contains('*') && !shown.contains("another build"),
        "{shown}"
    );
}

#[test]
fn a_sweeps_run_with_a_plugin_that_was_built_anew_fails_alone_and_can_be_allowed() {
    let folder = tempfile::tempdir().unwrap();
    let (runs, plugins) = (folder.path().join("runs"), folder.path().join("plugins"));
    let library = own_plugin(&plugins, "imp");
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../experiments/imp.toml");
    let text = format!(
        "base = {base:?}\nname = \"few\"\nseeds = [0]\n[model]\nhidden = [8]\n[train]\nepochs = 1\n\
         [prune]\nlevels = 1\n[sweep.methods.imp]\n[sweep.methods.mine]\nstrategy.score = \"mine/magnitude\"\n"
    );
    let file = folder.path().join("few.toml");
    fs::write(&file, text).unwrap();
    let sweep = |more: &[&str]| {
        let mut command = program::command();
        command
            .arg("run")
            .arg(&file)
            .args(["--quiet", "--runs"])
            .arg(&runs)
            .args(more);
        command.env("HOST_PLUGIN_PATH", &plugins);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    };
    expect(&mut sweep(&[]), 0);
    build_anew(&library);
    let output = expect(&mut sweep(&[]), 5);
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        table.contains("failed") && table.contains("done") && table.contains("was built anew"),
        "{table}"
    );
    expect(&mut sweep(&["--allow-changed-plugins"]), 0);
    let again = expect(&mut sweep(&[]), 0);
    assert!(
        said(&again).contains("by another build of plugin `mine`"),
        "{}",
        said(&again)
    );
    let fresh = expect(&mut sweep(&["--fresh"]), 0);
    assert!(
        !said(&fresh).contains("by another build"),
        "{}",
        said(&fresh)
    );
}

#[test]
fn a_plugin_whose_file_is_replaced_while_the_run_goes_on_does_no_harm() {
    let folder = tempfile::tempdir().unwrap();
    let plugins = folder.path().join("plugins");
    let library = own_plugin(&plugins, "imp");
    let more = ["--set", PARTS[0].1];
    let whole = folder.path().join("whole");
    expect(&mut small(&whole, &plugins, &more), 0);
    let runs = folder.path().join("runs");
    let mut command = small(&runs, &plugins, &more);
    let mut hold = Hold::at_events(&mut command);
    let mut child = command.spawn().unwrap();
    let dense_is_done = || {
        let folders = fs::read_dir(&runs).into_iter().flatten().flatten();
        (folders.map(|it| it.path())).any(|it| it.join("seed-0/level-00/done.json").exists())
    };
    hold.until(&mut child, "level 0", |_| dense_is_done());
    // Another plugin under the same name: were it loaded, the run would end otherwise.
    let new = library.with_extension("new");
    fs::write(&new, b"no library at all").unwrap();
    fs::rename(new, &library).unwrap();
    hold.release();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let [whole, run] = [&whole, &runs].map(|runs| only_run(runs, "imp"));
    assert_eq!(digests(&whole), digests(&run));
}

/// Two classes of images, of which the first of the training split has a colour of its own.
fn pictures(root: &Path, first: u8) {
    for (split, count) in [("train", 12), ("val", 4)] {
        for (class, name) in ["dark", "light"].into_iter().enumerate() {
            let folder = root.join(split).join(name);
            fs::create_dir_all(&folder).unwrap();
            for i in 0..count {
                let colour = match (split, class, i) {
                    ("train", 0, 0) => first,
                    _ => (class * 120 + i * 5) as u8,
                };
                let picture =
                    RgbImage::from_fn(40, 40, |x, y| Rgb([colour, (x * 3) as u8, (y * 2) as u8]));
                let path = folder.join(format!("{i:02}.png"));
                picture.save_with_format(path, ImageFormat::Png).unwrap();
            }
        }
    }
}

/// An experiment on a folder of images, which are read from their files in every epoch.
fn on_pictures(folder: &Path, runs: &Path, seconds: &str) -> Command {
    let epochs = 4;
    let text = format!(
        "name = \"pictures\"\nseeds = [0]\n[data]\nname = \"image-folder\"\nsize = 32\nmemory = 0\n\
         [model]\nname = \"mlp\"\nhidden = [8]\n[train]\nepochs = {epochs}\nbatch_size = 8\n\
         optimizer = {{ name = \"sgd\", lr = 0.05, momentum = 0.9 }}\n[prune]\nlevels = 1\n\
         [strategy]\nscore = \"imp/magnitude\"\nmask = \"imp/global\"\n"
    );
    let file = folder.join("pictures.toml");
    fs::write(&file, text).unwrap();
    let dir = format!("data.dir={}", folder.join("data").display());
    run(
        file.to_str().unwrap(),
        runs,
        &["--set", &dir, "--checkpoint-every", seconds],
    )
}

#[test]
fn an_image_that_changes_while_it_is_trained_on_stops_the_run_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    pictures(&data, 17);
    let image = data.join("train/dark/00.png");
    let old = fs::read(&image).unwrap();
    let runs = folder.path().join("runs");
    let mut command = on_pictures(folder.path(), &runs, "0");
    let mut hold = Hold::at(&mut command, "rename", &runs);
    let mut child = command.spawn().unwrap();
    let is_under_way = || {
        let folders = fs::read_dir(&runs).into_iter().flatten().flatten();
        (folders.map(|it| it.path())).any(|it| it.join("seed-0/progress/checkpoint.json").exists())
    };
    hold.until(&mut child, "a checkpoint", |_| is_under_way());
    // A whole image of the same size in pixels: only that it is another one is wrong with it.
    let other = tempfile::tempdir().unwrap();
    pictures(other.path(), 200);
    fs::copy(other.path().join("train/dark/00.png"), &image).unwrap();
    hold.release();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(5), "{}", said(&output));
    assert!(
        said(&output).contains("train/dark/00.png changed while it was trained on"),
        "{}",
        said(&output)
    );
    let old_run = only_run(&runs, "pictures");
    // With the new image it is another experiment, which must not happen unnoticed.
    let stopped = on_pictures(folder.path(), &runs, "0")
        .env("RUST_LOG", "warn")
        .spawn()
        .unwrap();
    let mut stopped = stopped;
    let has_two = || {
        let folders = fs::read_dir(&runs).into_iter().flatten().flatten();
        let is_run = |path: &PathBuf| path.join("experiment.toml").exists();
        folders.map(|it| it.path()).filter(is_run).count() == 2
    };
    wait_until(&mut stopped, "a second run", has_two);
    stopped.kill().unwrap();
    let output = stopped.wait_with_output().unwrap();
    let name = old_run.file_name().unwrap().to_string_lossy().into_owned();
    assert!(
        said(&output).contains(&name)
            && said(&output).contains("is the same experiment on other data")
            && said(&output).contains("image-folder"),
        "{}",
        said(&output)
    );
    // With the old one back, the run goes on to the bytes that it would have had.
    fs::write(&image, old).unwrap();
    expect(&mut on_pictures(folder.path(), &runs, "0"), 0);
    let whole = folder.path().join("whole");
    expect(&mut on_pictures(folder.path(), &whole, "600"), 0);
    assert_eq!(digests(&only_run(&whole, "pictures")), digests(&old_run));
}
