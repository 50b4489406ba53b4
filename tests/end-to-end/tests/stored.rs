//! The experiment file of a stored run may come from anywhere: whoever reads it says what is wrong with
//! it, and nobody believes it.

use std::fs;
use std::path::Path;
use std::process::Output;

use end_to_end::program::command;

use crate::finished::{Finished, copy, finished};

/// A change of a stored file, and the key that is wrong then.
const CHANGES: [(&str, &str, &str); 10] = [
    ("batch_size = 128", "batch_size = 0", "train.batch_size"),
    ("epochs = 2", "epochs = 0", "train.epochs"),
    ("levels = 2", "levels = 9223372036854775807", "prune.levels"),
    ("levels = 2", "densities = [0.5, 1.5]", "prune.densities"),
    ("levels = 2", "densities = [0.2, 0.5]", "prune.densities"),
    ("levels = 2", "levels = 2\nrate = 1.5", "rate"),
    ("seeds = [0]", "seeds = []", "seeds"),
    ("name = \"mlp\"", "name = \"mpl\"", "model.name"),
    ("hidden = [8]", "hidden = [-8]", "model.hidden"),
    ("name = \"sgd\"", "nmae = \"sgd\"", "nmae"),
];

/// What was said, by a process that came to an end of its own.
fn text(output: &Output) -> String {
    let [out, err] =
        [&output.stdout, &output.stderr].map(|it| String::from_utf8_lossy(it).into_owned());
    let text = format!("{out}{err}");
    assert!(
        output.status.code().is_some_and(|code| code != 101) && !text.contains("panicked"),
        "{:?}: {text}",
        output.status
    );
    text
}

fn change(run: &Path, from: &str, to: &str) -> usize {
    let file = run.join("experiment.toml");
    let before = fs::read_to_string(&file).unwrap();
    assert!(before.contains(from), "{from}: {before}");
    let after = match to.contains("rate = ") {
        // It says so already.
        true => before.replacen("rate = 0.2\n", "", 1),
        false => before,
    };
    let after = match to.contains("densities") {
        true => after.replacen("rate = 0.2\n", "", 1),
        false => after,
    };
    let after = after.replacen(from, to, 1);
    let last = to.lines().last().unwrap();
    fs::write(&file, &after).unwrap();
    after.lines().position(|line| line.contains(last)).unwrap() + 1
}

#[test]
fn a_stored_experiment_with_impossible_values_is_named_by_file_line_and_key() {
    let Finished { runs, run } = finished(&[]);
    for (at, (from, to, key)) in CHANGES.into_iter().enumerate() {
        let changed = runs.path().join(format!("changed-{at}"));
        copy(&run, &changed);
        fs::remove_file(changed.join("manifest.json")).unwrap();
        let line = change(&changed, from, to);
        let line = format!("line {line}: ");
        let path = changed.to_str().unwrap();
        let out = changed.join("out");
        let out = out.to_str().unwrap();
        let all: [&[&str]; 6] = [
            &["verify", path, "--threads", "1"],
            &["show", path],
            &["export", path, "--format", "safetensors"],
            &["barrier", path, "--points", "3"],
            &["compare", path, run.to_str().unwrap()],
            &["report", path, "--out", out],
        ];
        // Everybody reads it by the same function: of all changes, one shows that.
        let most = if at == 0 { all.len() } else { 1 };
        for args in &all[..most] {
            let output = command()
                .args(*args)
                .env("RUST_LOG", "warn")
                .output()
                .unwrap();
            let text = text(&output);
            assert!(
                text.contains("experiment.toml") && text.contains(&line) && text.contains(key),
                "{args:?}, {to}: {text}"
            );
            let reports = args[0] == "report";
            assert_eq!(output.status.code() == Some(0), reports, "{args:?}: {text}");
        }
    }
}
