//! Files that would block, never end or not fit into memory are refused before they do.

use plugin_api::schemars::Schema;
use serde_json::{Value, json};

use super::*;
use crate::experiment::{Catalog, Kind, PluginInfo, PluginSource, load_sweep};

fn based_on(base: &str) -> Folder {
    let (_, rest) = GOOD.split_once('\n').unwrap();
    Folder::new(&[("lrr.toml", &format!("base = {base:?}\n{rest}"))])
}

#[test]
fn a_base_that_is_a_device_a_pipe_or_a_folder_is_refused_where_it_is_named() {
    let folder = based_on("pipe");
    let pipe = folder.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    assert_eq!(
        folder.report("lrr.toml", &[]),
        "error: failed to read `pipe`: it is a pipe or a device, expected a plain file
 --> lrr.toml:1:8
  |
1 | base = \"pipe\"
  |        ^^^^^^"
    );
    // The first file, too.
    assert!(folder.report("pipe", &[]).contains("a pipe or a device"));
    let device = based_on("/dev/zero").report("lrr.toml", &[]);
    assert!(
        device.contains("`/dev/zero`: it is a pipe or a device"),
        "{device}"
    );
    let here = based_on(".").report("lrr.toml", &[]);
    assert!(here.contains("it is a folder, expected a file"), "{here}");
}

#[test]
fn a_file_over_a_mebibyte_is_refused_before_it_is_read() {
    let folder = Folder::new(&[]);
    let file = fs::File::create(folder.path().join("lrr.toml")).unwrap();
    file.set_len(100 << 20).unwrap();
    let said = folder.report("lrr.toml", &[]);
    assert_eq!(
        said,
        "error: failed to read `lrr.toml`: it has 104857600 bytes, expected at most 1048576"
    );
}

#[test]
fn a_chain_of_bases_has_an_end() {
    let chain = |length: usize| {
        let folder = Folder::new(&[("0.toml", GOOD)]);
        for at in 1..length {
            folder.write(
                &format!("{at}.toml"),
                &format!("base = \"{}.toml\"", at - 1),
            );
        }
        folder
    };
    assert!(chain(32).load("31.toml", &[]).is_ok());
    let said = chain(33).report("32.toml", &[]);
    assert!(
        said.contains("`0.toml` is the last of too many bases") && said.contains("at most 32"),
        "{said}"
    );
    assert!(
        chain(2000)
            .report("1999.toml", &[])
            .contains("too many bases")
    );
}

#[test]
fn of_very_many_mistakes_the_first_hundred_are_shown() {
    let keys: String = (0..50_000).map(|at| format!("x{at} = 1\n")).collect();
    let problems = load_text(&format!("{keys}{GOOD}")).unwrap_err();
    assert_eq!(problems.len(), 101);
    let said = problems.to_string();
    assert!(
        said.starts_with("error: more problems were found than the first 100, which follow\n"),
        "{said}"
    );
    assert!(said.contains("unknown key `x99`") && !said.contains("unknown key `x100`"));
}

#[test]
fn what_was_not_checked_for_its_amount_does_not_pass_for_checked() {
    let widths = "7, ".repeat(150_000);
    let said = report(&changed("hidden = [64]", &format!("hidden = [{widths}-1]")));
    assert!(said.contains("holds more than can be checked"), "{said}");
}

#[test]
fn lists_that_no_run_could_come_to_the_end_of_are_refused() {
    let seeds = (0..10_001).map(|it| it.to_string()).collect::<Vec<_>>();
    let said = report(&changed("[0, 1]", &format!("[{}]", seeds.join(", "))));
    assert!(
        said.contains("`seeds` must have at most 10000 elements"),
        "{said}"
    );
    assert!(said.contains("found 10001"), "{said}");
    let densities = "0.5, ".repeat(10_001);
    let said = report(&changed(
        "levels = 14",
        &format!("densities = [{densities}]"),
    ));
    assert!(
        said.contains("`prune.densities` must have at most 10000 elements"),
        "{said}"
    );
    let said = report(&changed("levels = 14", "levels = 10001"));
    assert!(said.contains("`prune.levels` must be"), "{said}");
    assert!(load_text(&changed("levels = 14", "levels = 10000")).is_ok());
    let policies = "\"imp/weights\", ".repeat(101);
    let (before, _) = GOOD.split_once("rewind").unwrap();
    let said = report(&format!("{before}rewind = [{policies}]\n"));
    assert!(
        said.contains("`strategy.rewind` has 101 components"),
        "{said}"
    );
}

/// What is said of a sweep, the good experiment with this behind it.
fn sweep(more: &str) -> String {
    let folder = Folder::new(&[("sweep.toml", &format!("{GOOD}{more}"))]);
    let problems = load_sweep(&folder.path().join("sweep.toml"), &[], &Fake);
    let problems = problems
        .expect_err("the sweep should be refused")
        .to_string();
    problems.replace(&format!("{}/", folder.path().display()), "")
}

#[test]
fn a_grid_of_a_billion_cells_is_refused_before_one_is_made() {
    let values: Vec<String> = (1..=100).map(|it| it.to_string()).collect();
    let axis = |key: &str| format!("{key} = [{}]\n", values.join(", "));
    let axes = |count: usize| {
        let axes: String = (0..count).map(|at| axis(&format!("k{at}"))).collect();
        format!("[sweep.grid]\n{axes}")
    };
    let said = sweep(&axes(6));
    assert!(
        said.contains("the sweep is too large: 1000000000000 cells of")
            && said.contains("expected at most 10000 cells, and 10000000 values in all of them"),
        "{said}"
    );
    assert!(sweep(&axes(10)).contains("far too many cells"));
    // Few cells, each of them huge.
    let many = "7, ".repeat(90_000);
    let said = sweep(&format!(
        "[sweep.grid]\n{}model.hidden = [[{many}], [8]]\n",
        axis("train.epochs")
    ));
    assert!(said.contains("200 cells of 90"), "{said}");
}

#[test]
fn files_that_include_each_other_doubly_are_not_read_without_end() {
    let folder = Folder::new(&[("0.toml", GOOD)]);
    for at in 1..40 {
        let below = format!("{}.toml", at - 1);
        folder.write(
            &format!("{at}.toml"),
            &format!("name = \"s\"\n[sweep]\ninclude = [{below:?}, {below:?}]\n"),
        );
    }
    let problems = load_sweep(&folder.path().join("39.toml"), &[], &Fake).unwrap_err();
    assert!(
        problems
            .to_string()
            .contains("includes too many files: expected at most 1000"),
        "{problems}"
    );
}

#[test]
fn cells_that_take_from_the_next_in_a_long_row_are_refused_and_not_followed() {
    let methods = |order: &mut dyn Iterator<Item = usize>| -> String {
        order
            .map(|at| match at {
                0 => "[sweep.methods.m0]\ntrain.epochs = 3\n".to_owned(),
                at => format!(
                    "[sweep.methods.m{at}]\nstrategy.mask = {{ use = \"transplant/levels\", run = \"m{}\" }}\n",
                    at - 1
                ),
            })
            .collect()
    };
    let said = sweep(&methods(&mut (0..300).rev()));
    assert!(
        said.contains("more than 32 runs that take from the next"),
        "{said}"
    );
    // In the other order each finds the run that it takes from.
    let text = format!("{GOOD}{}", methods(&mut (0..300)));
    let folder = Folder::new(&[("sweep.toml", &text)]);
    let sweep = load_sweep(&folder.path().join("sweep.toml"), &[], &Fake);
    assert_eq!(sweep.unwrap().parts[0].cells.len(), 300);
}

#[test]
fn a_stored_experiment_is_bound_like_any_other() {
    use crate::experiment::stored;
    let loaded = load_text(&changed("[0, 1]", "[18446744073709551615]")).unwrap();
    assert_eq!(stored(loaded.text.as_bytes()).unwrap(), loaded.experiment);
    let damaged = |from: &str, to: &str| {
        assert!(loaded.text.contains(from), "{}", loaded.text);
        stored(loaded.text.replace(from, to).as_bytes()).unwrap_err()
    };
    // A report would count up to it.
    let said = damaged("levels = 14", "levels = 9223372036854775807");
    assert!(said.contains("`prune.levels` must be"), "{said}");
    let said = damaged("batch_size = 128", "batch_size = 0");
    assert!(
        said.contains("`train.batch_size` must be at least 1"),
        "{said}"
    );
    assert!(damaged("name =", "nmae =").contains("nmae"));
    // What no schema says, and what the registries do.
    for (from, to, expected) in [
        (
            "epochs = 20",
            "epochs = 0",
            "`train.epochs` must be at least 1",
        ),
        (
            "seeds = [18446744073709551615]",
            "seeds = []",
            "`seeds` must have at least 1 element",
        ),
        (
            "levels = 14",
            "densities = [0.2, 0.5]",
            "must not rise from level to level",
        ),
        ("levels = 14", "densities = [0.0]", "prune.densities"),
        (
            "name = \"mlp\"",
            "name = \"mpl\"",
            "unknown model `mpl` (key `model.name`)",
        ),
        ("hidden = [64]", "hidden = [-64]", "model.hidden"),
        (
            "\"1ep\"",
            "\"21ep\"",
            "the warm-up is longer than the training",
        ),
        (
            "name = \"lrr\"",
            "base = \"lrr.toml\"\nname = \"lrr\"",
            "unknown key `base`",
        ),
    ] {
        let said = damaged(from, to);
        let after = loaded.text.replace(from, to);
        let line = after
            .lines()
            .position(|line| line.contains(to.lines().next().unwrap()));
        let line = format!("line {}: ", line.unwrap() + 1);
        assert!(
            said.starts_with(&line) && said.contains(expected),
            "{to}: {said}"
        );
    }
}

/// A plugin whose options are described by a schema that branches into itself at every step.
struct Branching;

impl Catalog for Branching {
    fn schema(&self, kind: Kind, name: &str) -> Option<Schema> {
        Fake.schema(kind, name)
    }

    fn known(&self, kind: Kind) -> Vec<String> {
        Fake.known(kind)
    }

    fn plugin(&self, name: &str, source: Option<&PluginSource>) -> Result<PluginInfo, String> {
        let mut info = Fake.plugin(name, source)?;
        for component in &mut info.components {
            let own = json!({ "$ref": "#/$defs/own" });
            let tens = |what: &Value| vec![what.clone(); 10];
            component.schema = json!({
                "type": "object",
                "properties": { "fraction": own, "x": { "$ref": "#", "default": { "x": {}, "y": {} } } },
                "allOf": tens(&json!({ "$ref": "#" })),
                "$defs": { "own": { "type": ["object", "number"], "anyOf": tens(&own), "oneOf": tens(&own) } },
            });
        }
        Ok(info)
    }

    fn known_plugins(&self) -> Vec<String> {
        Fake.known_plugins()
    }
}

#[test]
fn a_schema_that_branches_into_itself_is_not_followed_without_end() {
    let folder = Folder::new(&[("lrr.toml", GOOD)]);
    let start = std::time::Instant::now();
    for set in [
        "name=a",
        "strategy.rewind.1.fraction=x",
        "strategy.score.x.x={}",
    ] {
        // Whether it is taken or not, it comes to an end.
        let _ = load(
            &folder.path().join("lrr.toml"),
            &[set.to_owned()],
            &Branching,
        );
    }
    assert!(start.elapsed().as_secs() < 60, "{:?}", start.elapsed());
}

#[test]
fn a_plugin_without_a_path_is_refused() {
    let folder = Folder::new(&[("lrr.toml", GOOD)]);
    let said = folder.report("lrr.toml", &["plugins.mine.path=\"\""]);
    assert!(
        said.contains("`plugins.mine.path` must not be empty"),
        "{said}"
    );
}
