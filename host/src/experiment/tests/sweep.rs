//! Sweeps.

use super::*;
use crate::experiment::{CellFile, FileKind, SweepFile, identity, kind_of, load_sweep};

fn sweep(folder: &Folder, name: &str, overrides: &[&str]) -> Result<SweepFile, Diagnostics> {
    let overrides: Vec<String> = overrides.iter().map(|&it| it.to_owned()).collect();
    load_sweep(&folder.path().join(name), &overrides, &Fake)
}

fn report(folder: &Folder, name: &str) -> String {
    let problems = sweep(folder, name, &[]).expect_err("the file should be refused");
    let path = format!("{}/", folder.path().display());
    problems.to_string().replace(&path, "")
}

/// The good experiment with this behind it.
fn with(more: &str) -> Folder {
    Folder::new(&[("sweep.toml", &format!("{GOOD}{more}"))])
}

fn names(sweep: &SweepFile) -> Vec<&str> {
    let cells = sweep.parts.iter().flat_map(|part| &part.cells);
    cells.map(|cell| cell.name.as_str()).collect()
}

const METHODS: &str = r#"
[sweep]
title = "Methods and widths"
[sweep.methods.imp]
strategy.rewind = "imp/weights"
[sweep.methods.lrr]
strategy.rewind = { use = "lrr/learning-rate", batch_norm_affine = "init" }
[sweep.grid]
model.hidden = [[8], [16, 4]]
train.optimizer.lr = [0.1, 0.2]
"#;

#[test]
fn methods_are_crossed_with_the_grid_and_each_cell_is_what_a_file_with_a_base_would_be() {
    let folder = with(METHODS);
    assert_eq!(kind_of(&folder.path().join("sweep.toml")), FileKind::Sweep);
    let sweep = sweep(&folder, "sweep.toml", &["train.epochs=7"]).unwrap();
    let part = &sweep.parts[0];
    assert_eq!(
        (sweep.name.as_str(), part.title.as_str()),
        ("lrr", "Methods and widths")
    );
    assert_eq!(
        names(&sweep),
        [
            "imp-hidden-8-lr-0.1",
            "imp-hidden-8-lr-0.2",
            "imp-hidden-16x4-lr-0.1",
            "imp-hidden-16x4-lr-0.2",
            "lrr-hidden-8-lr-0.1",
            "lrr-hidden-8-lr-0.2",
            "lrr-hidden-16x4-lr-0.1",
            "lrr-hidden-16x4-lr-0.2",
        ]
    );
    let last = &part.cells[7];
    assert_eq!(last.method, "lrr");
    assert_eq!(last.values["model.hidden"], serde_json::json!([16, 4]));
    let by_hand = r#"base = "sweep.toml"
name = "by-hand"
[train]
epochs = 7
optimizer = { lr = 0.2 }
[model]
hidden = [16, 4]
[strategy]
rewind = { use = "lrr/learning-rate", batch_norm_affine = "init" }
"#;
    folder.write("sweep.toml", GOOD);
    folder.write("by-hand.toml", by_hand);
    let by_hand = folder.load("by-hand.toml", &[]).unwrap();
    assert_eq!(last.loaded.experiment.name, "lrr-lrr-hidden-16x4-lr-0.2");
    assert_eq!(
        identity(&last.loaded, "", None),
        identity(&by_hand, "", None)
    );
    // What a cell's process reads is the cell again.
    folder.write("cell.toml", &last.loaded.text);
    let again = folder.load("cell.toml", &[]).unwrap();
    assert_eq!(again.experiment, last.loaded.experiment);
}

#[test]
fn adding_a_method_or_a_value_leaves_the_other_cells_what_they_were() {
    let before = sweep(&with(METHODS), "sweep.toml", &[]).unwrap();
    let more = METHODS.replace("[[8], ", "[[8], [32], ").replace(
        "[sweep.methods.imp]",
        "[sweep.methods.new]\nstrategy.rewind = \"lrr\"\n[sweep.methods.imp]",
    );
    let more = more.replace("\"lrr\"\n[", "\"lrr/learning-rate\"\n[");
    let after = sweep(&with(&more), "sweep.toml", &[]).unwrap();
    for cell in &before.parts[0].cells {
        let same = after.parts[0].cells.iter().find(|it| it.name == cell.name);
        assert_eq!(same.unwrap().run, cell.run);
    }
    assert_eq!(after.parts[0].cells.len(), 18);
}

const TAKEN: &str = r#"
[sweep.methods.imp]
strategy.rewind = "imp/weights"
strategy.mask = { use = "transplant/levels", run = "lrr", point = "lrr#level-2-end" }
[sweep.methods.lrr]
strategy.rewind = "lrr/learning-rate"
[sweep.methods.lrr-again]
strategy.rewind = "lrr/learning-rate"
[sweep.methods.other]
strategy.mask = { use = "transplant/levels", run = "elsewhere" }
[sweep.grid]
model.hidden = [[8], [16]]
"#;

#[test]
fn a_cell_takes_from_the_method_with_the_same_values_by_what_it_computes() {
    let sweep = sweep(&with(TAKEN), "sweep.toml", &[]).unwrap();
    let cells = &sweep.parts[0].cells;
    let cell = |name: &str| cells.iter().find(|cell| cell.name == name).unwrap();
    for hidden in ["8", "16"] {
        let taker = cell(&format!("imp-hidden-{hidden}"));
        let source = cell(&format!("lrr-hidden-{hidden}"));
        assert_eq!(taker.sources, std::slice::from_ref(&source.run.folder));
        let options = &taker.loaded.experiment.strategy.mask.options;
        assert_eq!(options["run"], source.run.folder.as_str());
        let point = format!("{}#level-2-end", source.run.folder);
        assert_eq!(options["point"], point.as_str());
        let canonical = identity(&taker.loaded, "", None).canonical;
        assert_eq!(
            canonical["strategy"]["mask"]["run"],
            source.run.identity.as_str()
        );
        // The same computation under another name is the same run.
        assert_eq!(cell(&format!("lrr-again-hidden-{hidden}")).run, source.run);
    }
    let other = cell("other-hidden-8");
    assert!(other.sources.is_empty());
    assert_eq!(
        other.loaded.experiment.strategy.mask.options["run"],
        "runs/elsewhere"
    );
}

#[test]
fn files_can_be_included_and_name_each_others_methods() {
    let folder = with(METHODS);
    folder.write("alone.toml", &GOOD.replace("\"lrr\"", "\"alone\""));
    folder.write(
        "taking.toml",
        &format!(
            "{}\n[sweep.methods.x]\nstrategy.mask = {{ use = \"transplant/levels\", run = \"alone/alone\" }}\n",
            GOOD.replace("name = \"lrr\"", "name = \"taking\"")
        ),
    );
    folder.write(
        "all.toml",
        "name = \"all\"\n[sweep]\ninclude = [\"taking.toml\", \"sweep.toml\", \"alone.toml\"]\n",
    );
    let all = sweep(&folder, "all.toml", &["name=mine"]).unwrap();
    assert_eq!(all.name, "mine");
    let parts: Vec<_> = (all.parts.iter())
        .map(|it| (it.name.as_str(), it.cells.len()))
        .collect();
    assert_eq!(parts, [("taking", 1), ("lrr", 8), ("alone", 1)]);
    let alone = &all.parts[2].cells[0];
    assert_eq!(alone.loaded.experiment.name, "alone");
    assert_eq!(
        all.parts[0].cells[0].sources,
        std::slice::from_ref(&alone.run.folder)
    );
}

#[test]
fn a_mistake_that_all_cells_share_is_reported_once_at_its_line() {
    let shown = report(
        &with(&METHODS.replace("lr = [0.1", "lrate = [0.1")),
        "sweep.toml",
    );
    assert_eq!(shown.matches("unknown key").count(), 1, "{shown}");
    assert!(shown.contains("sweep.toml:33"), "{shown}");
}

#[test]
fn mistakes_of_the_sweep_itself_say_what_was_expected() {
    for (text, expected) in [
        (
            "[sweep.grid]\nmodel.hiden = [[8]]\n",
            "did you mean `hidden`?",
        ),
        (
            "[sweep.grid]\nmodel.hidden = 8\n",
            "`sweep.grid.model.hidden` must be a list of values",
        ),
        ("[sweep]\nmethod = 3\n", "did you mean `methods`?"),
        (
            "[sweep.methods.a]\nseeds = [1]\n",
            "a method has no `seeds` of its own",
        ),
        (
            "[sweep.methods.\"a b\"]\n",
            "`a b` cannot be the name of a method",
        ),
        ("[sweep]\ninclude = [\"gone.toml\"]\n", "there is no file"),
        ("[sweep]\ninclude = [\"sweep.toml\"]\n", "includes itself"),
        (
            "[sweep]\ninclude = [\"gone.toml\"]\nmethods = {}\n",
            "a sweep that includes files has no methods",
        ),
        (
            "[sweep.methods.a]\n[[claims]]\nclaim = \"\"\nabove = \"b\"\nbelow = \"a\"\n",
            "a claim names the unknown method `b`",
        ),
        (
            "[sweep]\nbarriers = [[\"a\", \"b\"]]\n[sweep.methods.a]\n",
            "a barrier names the unknown method `b`",
        ),
        (
            "[sweep]\nbarriers = [[]]\n[sweep.methods.a]\n",
            "expected 1 or 2 methods, found 0",
        ),
        (
            "[sweep.methods.a]\nstrategy.mask = { use = \"transplant/levels\", run = \"gone\" }\n",
            "methods of this sweep: a",
        ),
        (
            "[sweep.methods.a]\nstrategy.mask = { use = \"transplant/levels\", run = \"a\" }\n",
            "`a` takes from a run that takes from itself",
        ),
    ] {
        let shown = report(&with(text), "sweep.toml");
        assert!(shown.contains(expected), "{text}\n{shown}");
    }
}

#[test]
fn a_cell_is_taught_by_another_one_which_is_run_before_it() {
    let methods = r#"
[sweep.methods.student]
train.loss = { name = "distillation", run = "teacher", temperature = 4.0 }
[sweep.methods.teacher]
model.hidden = [256]
[sweep.methods.other]
train.loss = { name = "distillation", run = "elsewhere", level = 2, alpha = 0.5 }
"#;
    let sweep = sweep(&with(methods), "sweep.toml", &[]).unwrap();
    let cells = &sweep.parts[0].cells;
    let cell = |name: &str| cells.iter().find(|cell| cell.name == name).unwrap();
    let (student, teacher) = (cell("student"), cell("teacher"));
    assert_eq!(student.sources, std::slice::from_ref(&teacher.run.folder));
    let loss = |cell: &CellFile| cell.loaded.experiment.train.loss.distillation().cloned();
    assert_eq!(loss(student).unwrap().run.0, teacher.run.folder);
    assert_eq!(loss(teacher), None);
    let canonical = |cell: &CellFile| identity(&cell.loaded, "", None).canonical;
    // Options at their defaults are left out, and the run stands with what it computes.
    let expected = serde_json::json!({ "name": "distillation", "run": teacher.run.identity });
    assert_eq!(canonical(student)["train"]["loss"], expected);
    let expected = serde_json::json!({
        "name": "distillation", "run": "identity of elsewhere", "level": 2, "alpha": 0.5,
    });
    assert_eq!(canonical(cell("other"))["train"]["loss"], expected);
    assert_eq!(loss(cell("other")).unwrap().run.0, "runs/elsewhere");
}

#[test]
fn the_name_of_a_sweep_that_includes_others_cannot_lead_out_of_the_runs() {
    for name in ["../out", "/tmp/out", "a/b", "..", "a\\nb", ""] {
        let folder = with("");
        folder.write(
            "all.toml",
            &format!("name = \"{name}\"\n[sweep]\ninclude = [\"sweep.toml\"]\n"),
        );
        let shown = report(&folder, "all.toml");
        assert!(
            shown.contains("`name`") && shown.contains("all.toml:1"),
            "{shown}"
        );
    }
    let folder = with("");
    folder.write("all.toml", "[sweep]\ninclude = [\"sweep.toml\"]\n");
    assert!(report(&folder, "all.toml").contains("missing"));
}

#[test]
fn what_is_the_whole_sweeps_cannot_be_varied_and_is_refused_at_its_line() {
    let shown = report(&with("[sweep.grid]\nseeds = [[0], [1]]\n"), "sweep.toml");
    let expected = "error: a grid has no `seeds` of its own
  --> sweep.toml:25:1
   |
25 | seeds = [[0], [1]]
   | ^^^^^ each cell is run with all seeds: list them at the file's top";
    assert_eq!(shown.trim_end(), expected);
    for (key, expected) in [
        ("name = [\"a\", \"b\"]", "cells are named by their method"),
        ("base = [\"a.toml\"]", "`include` them"),
        ("claims = [[]]", "`include` them"),
        ("\"seeds.0\" = [1, 2]", "list them at the file's top"),
        ("sweep.title = [\"a\", \"b\"]", "`include` them"),
        ("name.x = 3", "cells are named by their method"),
    ] {
        let shown = report(&with(&format!("[sweep.grid]\n{key}\n")), "sweep.toml");
        assert!(shown.contains("a grid has no `"), "{key}\n{shown}");
        assert!(shown.contains(expected), "{key}\n{shown}");
        assert!(shown.contains("sweep.toml:25:"), "{key}\n{shown}");
    }
    // The same on the command line.
    let seeds = ["sweep.grid.seeds=[[0], [1]]"];
    let refused = sweep(&with("[sweep.methods.a]\n"), "sweep.toml", &seeds);
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("--set:1:12"), "{refused}");
}

#[test]
fn files_that_differ_in_their_seeds_share_a_run_and_keep_their_own_seeds() {
    let folder = with("");
    let other = changed("[0, 1]", "[1, 7]");
    folder.write("again.toml", &other.replace("\"lrr\"", "\"again\""));
    folder.write(
        "all.toml",
        "name = \"all\"\n[sweep]\ninclude = [\"sweep.toml\", \"again.toml\"]\n",
    );
    let all = sweep(&folder, "all.toml", &[]).unwrap();
    let [first, second] = [&all.parts[0].cells[0], &all.parts[1].cells[0]];
    assert_eq!(first.run, second.run);
    assert_eq!(first.loaded.experiment.seeds, [0, 1]);
    assert_eq!(second.loaded.experiment.seeds, [1, 7]);
    // The file that has the seeds of both is the first one but for its seeds.
    folder.write("both.toml", &first.loaded.text_with_seeds(&[0, 1, 7]));
    let both = folder.load("both.toml", &[]).unwrap().experiment;
    assert_eq!(both.seeds, [0, 1, 7]);
    let seeds = first.loaded.experiment.seeds.clone();
    let without = crate::experiment::Experiment { seeds, ..both };
    assert_eq!(without, first.loaded.experiment);
}

#[test]
fn included_files_of_one_name_are_told_apart() {
    let folder = with("");
    folder.write("shorter.toml", &changed("epochs = 20", "epochs = 10"));
    folder.write(
        "all.toml",
        "name = \"all\"\n[sweep]\ninclude = [\"sweep.toml\", \"shorter.toml\"]\n",
    );
    let all = sweep(&folder, "all.toml", &[]).unwrap();
    let names: Vec<&str> = all.parts.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["lrr", "lrr-2"]);
    assert_ne!(all.parts[0].cells[0].run, all.parts[1].cells[0].run);
}

#[test]
fn two_files_of_one_plugin_that_say_the_same_version_cannot_share_a_run() {
    let file = |more: &str| {
        let text = changed("score = \"imp/magnitude\"", "score = \"mine/endless\"");
        let folder = Folder::new(&[("sweep.toml", &format!("{text}{more}"))]);
        sweep(&folder, "sweep.toml", &[]).map_err(|problems| problems.to_string())
    };
    let of = |a: &str, b: &str| {
        format!(
            "[sweep.methods.a]\nplugins.mine.path = \"{a}\"\n[sweep.methods.b]\nplugins.mine.path = \"{b}\"\n"
        )
    };
    assert!(file(&of("one.so", "./one.so")).is_ok());
    let shown = file(&of("one.so", "two.so")).unwrap_err();
    assert!(
        shown.contains(
            "`a` and `b` differ in nothing but the file of plugin `mine`, of version 1.2.3"
        ),
        "{shown}"
    );
    assert!(shown.contains("sweep.toml:27"), "{shown}");
    let grid = "[plugins]\nmine.path = \"one.so\"\n[sweep.grid]\nplugins.mine.path = [\"one.so\", \"two.so\"]\n";
    let shown = file(grid).unwrap_err();
    assert!(
        shown.contains("build one of the two with another version"),
        "{shown}"
    );
    assert!(shown.contains("sweep.toml:27"), "{shown}");
}
