//! Inheritance.

use super::*;

fn pair(top: &str) -> Folder {
    Folder::new(&[("base.toml", GOOD), ("deep/top.toml", top)])
}

#[test]
fn tables_merge_key_by_key_and_lists_are_replaced() {
    let top = r#"base = "../base.toml"
name = "top"
seeds = [7]
[train]
optimizer = { lr = 0.2 }
"#;
    let experiment = pair(top).load("deep/top.toml", &[]).unwrap().experiment;
    assert_eq!(experiment.name, "top");
    assert_eq!(experiment.seeds, [7]);
    assert_eq!(experiment.train.epochs, 20);
    assert_eq!(experiment.train.optimizer.name, "sgd");
    assert_eq!(experiment.train.optimizer.options["lr"], 0.2);
    assert_eq!(
        experiment.data.name, "mnist1d",
        "a new name for the file replaces nothing"
    );
}

#[test]
fn another_component_takes_no_option_of_the_one_it_replaces() {
    let top = "base = \"../base.toml\"\n[model]\nname = \"cnn1d\"\nwidth = 8\n";
    let model = pair(top)
        .load("deep/top.toml", &[])
        .unwrap()
        .experiment
        .model;
    assert_eq!(model.options.keys().collect::<Vec<_>>(), ["width"]);
    let top = "base = \"../base.toml\"\n[model]\nname = \"mlp\"\nbatch_norm = false\n";
    let model = pair(top)
        .load("deep/top.toml", &[])
        .unwrap()
        .experiment
        .model;
    assert_eq!(model.options.len(), 2, "the same component keeps them");
}

#[test]
fn parts_of_a_strategy_merge_as_components_do() {
    let folder = Folder::new(&[
        (
            "base.toml",
            &changed(
                "score = \"imp/magnitude\"",
                "score = { use = \"imp/magnitude\" }",
            ),
        ),
        (
            "imp.toml",
            "base = \"base.toml\"\nstrategy.rewind = { use = \"imp/weights\", to = \"4ep\" }",
        ),
        (
            "wr.toml",
            "base = \"imp.toml\"\nstrategy.rewind.to = \"2ep\"",
        ),
        (
            "lrr.toml",
            "base = \"imp.toml\"\nstrategy.rewind = { use = \"lrr/learning-rate\" }",
        ),
        (
            "plain.toml",
            "base = \"imp.toml\"\nstrategy.rewind = \"imp/weights\"",
        ),
    ]);
    let rewind = |name| {
        let strategy = folder.load(name, &[]).unwrap().experiment.strategy;
        serde_json::to_value(strategy.rewind).unwrap()
    };
    use serde_json::json;
    assert_eq!(
        rewind("imp.toml"),
        json!([{ "use": "imp/weights", "to": "4ep" }])
    );
    assert_eq!(
        rewind("wr.toml"),
        json!([{ "use": "imp/weights", "to": "2ep" }])
    );
    assert_eq!(rewind("lrr.toml"), json!([{ "use": "lrr/learning-rate" }]));
    assert_eq!(rewind("plain.toml"), json!([{ "use": "imp/weights" }]));
}

#[test]
fn densities_take_the_place_of_inherited_levels() {
    let top = "base = \"../base.toml\"\nprune.densities = [0.5, 0.25]";
    let experiment = pair(top).load("deep/top.toml", &[]).unwrap().experiment;
    assert_eq!(experiment.densities(), [1.0, 0.5, 0.25]);
    assert_eq!(experiment.prune.levels, None);
}

#[test]
fn a_problem_is_shown_in_the_file_it_was_written_in() {
    let folder = Folder::new(&[
        ("base.toml", &changed("levels = 14", "leels = 14")),
        ("top.toml", "base = \"base.toml\"\n[train]\nepochs = -1\n"),
    ]);
    let expected = "error: `train.epochs` must be at least 1
 --> top.toml:3:10
  |
3 | epochs = -1
  |          ^^ found -1
  |
  = note: `train.epochs`: Epochs of a level.

error: unknown key `leels` in `prune`
  --> base.toml:18:1
   |
18 | leels = 14
   | ^^^^^ did you mean `levels`?
   |
   = note: expected one of `collapse`, `densities`, `exclude`, `include`, `level_end`, `levels` or `rate`";
    assert_eq!(folder.report("top.toml", &[]), expected);
}

#[test]
fn syntax_errors_of_all_files_are_shown_together() {
    let folder = Folder::new(&[
        ("base.toml", "name = lrr"),
        ("top.toml", "base = \"base.toml\"\nseeds = \n"),
    ]);
    let expected = "error: a value is missing
 --> top.toml:2:9
  |
2 | seeds = 
  |         ^

error: string values must be quoted
 --> base.toml:1:8
  |
1 | name = lrr
  |        ^^^";
    assert_eq!(folder.report("top.toml", &[]), expected);
}

#[test]
fn files_based_on_each_other_are_refused() {
    let folder = Folder::new(&[
        ("a.toml", "base = \"b.toml\""),
        ("b.toml", "base = \"./a.toml\""),
    ]);
    let expected = "error: `./a.toml` is based on itself
 --> b.toml:1:8
  |
1 | base = \"./a.toml\"
  |        ^^^^^^^^^^ leads back to it";
    assert_eq!(folder.report("a.toml", &[]), expected);
}

#[test]
fn a_plugin_path_starts_at_the_file_that_says_it() {
    let base = format!("plugins.mine.path = \"lib/mine.so\"\n{GOOD}");
    let base = base.replace("\"imp/magnitude\"", "\"mine/endless\"");
    let folder = Folder::new(&[
        ("shared/base.toml", &base),
        ("shared/lib/mine.so", ""),
        ("top.toml", "base = \"shared/base.toml\""),
    ]);
    let loaded = folder.load("top.toml", &[]).unwrap();
    let path = folder
        .path()
        .join("shared/lib/mine.so")
        .canonicalize()
        .unwrap();
    assert_eq!(loaded.experiment.plugins["mine"].path, path);
    let stored = Folder::new(&[("experiment.toml", &loaded.text)]);
    let again = stored.load("experiment.toml", &[]).unwrap();
    assert_eq!(again.experiment, loaded.experiment);
}

#[test]
fn a_base_that_is_no_experiment_file_is_not_read() {
    let folder = Folder::new(&[("secret", "-----BEGIN KEY-----\n"), ("top.toml", "")]);
    std::os::unix::fs::symlink(
        folder.path().join("secret"),
        folder.path().join("link.toml"),
    )
    .unwrap();
    for (base, says) in [
        ("secret", "ends in .toml"),
        ("link.toml", "ends in .toml"),
        ("/dev/zero", "a pipe or a device"),
        (".", "a folder"),
    ] {
        folder.write("top.toml", &format!("base = \"{base}\"\n"));
        let shown = folder.report("top.toml", &[]);
        assert!(
            shown.contains(says) && shown.contains("top.toml:1:8"),
            "{shown}"
        );
        assert!(!shown.contains("BEGIN"), "{shown}");
    }
}
