//! Rules by which a sweep's cells are stopped.

use super::*;
use crate::experiment::load_sweep;

const METHODS: &str = r#"
[sweep.methods.imp]
strategy.rewind = "imp/weights"
[sweep.methods.lrr]
strategy.rewind = "lrr/learning-rate"
[sweep.grid]
model.hidden = [[8], [16]]
"#;

/// What is said of a sweep with this rule.
fn refused(rule: &str, data: &str, overrides: &[&str]) -> String {
    let good = changed("name = \"mnist1d\"", data);
    let text = format!("{good}{METHODS}[sweep.stop]\n{rule}\n");
    let folder = Folder::new(&[("sweep.toml", &text)]);
    let overrides: Vec<String> = overrides.iter().map(|&it| it.to_owned()).collect();
    match load_sweep(&folder.path().join("sweep.toml"), &overrides, &Fake) {
        Ok(sweep) => {
            assert!(sweep.parts[0].stop.is_some());
            String::new()
        }
        Err(problems) => problems.to_string(),
    }
}

const VALIDATED: &str = "name = \"cifar10\"\nvalidation = 0.1";

#[test]
fn a_rule_that_can_be_kept_is_taken_and_is_no_part_of_a_cell() {
    for rule in [
        "every = 3",
        "at = [0, 3, 13]",
        "at = [3]\nconfidence = 0.9\nwithin = [\"model.hidden\"]",
    ] {
        assert_eq!(refused(rule, VALIDATED, &[]), "", "{rule}");
    }
    let text = |rule: &str| {
        let good = changed("name = \"mnist1d\"", VALIDATED);
        let folder = Folder::new(&[("sweep.toml", &format!("{good}{METHODS}{rule}"))]);
        let sweep = load_sweep(&folder.path().join("sweep.toml"), &[], &Fake).unwrap();
        let cells = &sweep.parts[0].cells;
        let each = cells
            .iter()
            .map(|it| (it.run.clone(), it.loaded.text.clone()));
        each.collect::<Vec<_>>()
    };
    assert_eq!(text("[sweep.stop]\nevery = 3\n"), text(""));
}

#[test]
fn a_rule_that_cannot_be_kept_is_refused_where_it_stands() {
    for (rule, data, said) in [
        (
            "every = 3",
            "name = \"mnist1d\"",
            "`imp-hidden-8` has no validation samples",
        ),
        (
            "every = 3",
            "name = \"mnist1d\"",
            "such as `validation = 0.1`",
        ),
        ("", VALIDATED, "`sweep.stop` names no level"),
        (
            "at = [3]\nevery = 3",
            VALIDATED,
            "has both `at` and `every`",
        ),
        (
            "at = [3, 14]",
            VALIDATED,
            "`sweep.stop.at` has level 14, and no cell goes on after it",
        ),
        ("every = 14", VALIDATED, "`sweep.stop.every` is 14"),
        (
            "every = 0",
            VALIDATED,
            "`sweep.stop.every` must be at least 1",
        ),
        (
            "at = [3]\nconfidence = 95",
            VALIDATED,
            "`sweep.stop.confidence` must be",
        ),
        (
            "at = [3]\nwithin = [\"model.hiden\"]",
            VALIDATED,
            "did you mean `model.hidden`?",
        ),
        ("att = [3]", VALIDATED, "unknown key `att`"),
    ] {
        let shown = refused(rule, data, &[]);
        assert!(shown.contains(said), "{rule}: {shown}");
        assert!(shown.contains("sweep.toml:"), "{shown}");
    }
    let alone = refused("every = 3", VALIDATED, &["seeds=[0]"]);
    assert!(alone.contains("one value has no interval"), "{alone}");
    assert!(alone.contains("expected at least 2 in `seeds`"), "{alone}");
}

#[test]
fn a_sweep_that_includes_files_leaves_the_rule_to_them() {
    let text = "name = \"all\"\n[sweep]\ninclude = [\"a.toml\"]\n[sweep.stop]\nevery = 3\n";
    let folder = Folder::new(&[("all.toml", text), ("a.toml", GOOD)]);
    let problems = load_sweep(&folder.path().join("all.toml"), &[], &Fake).unwrap_err();
    assert!(problems.to_string().contains("no rule to stop of its own"));
    let one = format!(
        "{}[sweep.stop]\nevery = 3\n",
        changed("name = \"mnist1d\"", VALIDATED)
    );
    let folder = Folder::new(&[("one.toml", &one)]);
    let problems = load_sweep(&folder.path().join("one.toml"), &[], &Fake).unwrap_err();
    assert!(problems.to_string().contains("nothing to compare"));
}
