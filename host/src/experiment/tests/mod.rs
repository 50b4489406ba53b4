//! Whole files, read against a small catalog.

mod base;
mod catalog;
mod hostile;
mod identity;
mod mistakes;
mod neuron;
mod overrides;
mod robust;
mod shipped;
mod stop;
mod sweep;

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::{Diagnostics, Loaded, load};
use catalog::Fake;

/// A folder with files that can be loaded.
struct Folder(TempDir);

impl Folder {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        for (name, text) in files {
            folder.write(name, text);
        }
        folder
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn load(&self, name: &str, overrides: &[&str]) -> Result<Loaded, Diagnostics> {
        let overrides: Vec<String> = overrides.iter().map(|&it| it.to_owned()).collect();
        load(&self.0.path().join(name), &overrides, &Fake)
    }

    /// What is shown for a file, without the folder's own path.
    fn report(&self, name: &str, overrides: &[&str]) -> String {
        let problems = self
            .load(name, overrides)
            .expect_err("the file should be refused");
        let folder = format!("{}/", self.0.path().display());
        problems.to_string().replace(&folder, "")
    }
}

/// An experiment without a mistake.
const GOOD: &str = r#"name = "lrr"
seeds = [0, 1]

[data]
name = "mnist1d"

[model]
name = "mlp"
hidden = [64]

[train]
epochs = 20
batch_size = 128
optimizer = { name = "sgd", lr = 0.1 }
schedule = { name = "cosine", warmup = "1ep" }

[prune]
levels = 14

[strategy]
score = "imp/magnitude"
mask = "imp/global"
rewind = ["lrr/learning-rate", { use = "sign-perturbation/flip", fraction = 0.2 }]
"#;

/// [`GOOD`] with one text replaced.
fn changed(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from}");
    GOOD.replacen(from, to, 1)
}

fn load_text(text: &str) -> Result<Loaded, Diagnostics> {
    Folder::new(&[("lrr.toml", text)]).load("lrr.toml", &[])
}

fn report(text: &str) -> String {
    Folder::new(&[("lrr.toml", text)]).report("lrr.toml", &[])
}

#[test]
fn a_good_file_is_read_as_it_says() {
    let loaded = load_text(GOOD).unwrap();
    let experiment = &loaded.experiment;
    assert_eq!(experiment.name, "lrr");
    assert_eq!(experiment.seeds, [0, 1]);
    assert_eq!(experiment.model.options["hidden"], serde_json::json!([64]));
    assert_eq!(experiment.prune.rate, 0.2);
    assert!(experiment.train.channels_last);
    assert_eq!(experiment.strategy.score.names(), ("imp", "magnitude"));
    assert_eq!(experiment.strategy.rewind[1].options["fraction"], 0.2);
    let used: Vec<&str> = loaded.plugins.keys().map(String::as_str).collect();
    assert_eq!(used, ["imp", "lrr", "sign-perturbation"]);
}

#[test]
fn a_plugin_name_alone_stands_for_its_default_trio() {
    let strategy = GOOD.split_once("[strategy]").unwrap().0;
    let text = format!("strategy = \"lrr\"\n{strategy}");
    let strategy = load_text(&text).unwrap().experiment.strategy;
    assert_eq!(strategy.score.component, "imp/magnitude");
    assert_eq!(strategy.mask.component, "imp/global");
    assert_eq!(strategy.rewind.len(), 1);
    assert_eq!(strategy.rewind[0].component, "lrr/learning-rate");
}

#[test]
fn rewind_can_be_one_part_a_list_or_nothing() {
    let list = r#"["lrr/learning-rate", { use = "sign-perturbation/flip", fraction = 0.2 }]"#;
    for (written, parts) in [
        (r#""lrr/learning-rate""#, 1),
        (r#"{ use = "imp/weights", to = "4ep" }"#, 1),
        ("[]", 0),
        (list, 2),
    ] {
        let loaded = load_text(&changed(list, written)).unwrap();
        assert_eq!(loaded.experiment.strategy.rewind.len(), parts, "{written}");
    }
    let without = changed(&format!("rewind = {list}\n"), "");
    assert!(
        load_text(&without)
            .unwrap()
            .experiment
            .strategy
            .rewind
            .is_empty()
    );
}

#[test]
fn the_resolved_text_is_a_file_that_says_the_same() {
    let folder = Folder::new(&[("lrr.toml", GOOD)]);
    let overrides = [
        "plugins.\"my \\\"own\\\" π\".path=/somewhere/libmine.so",
        "seeds=[18446744073709551615, 3]",
        "model.hidden=[1, 2]",
        "train.clip_norm=1e-7",
    ];
    let loaded = folder.load("lrr.toml", &overrides).unwrap();
    let again = load_text(&loaded.text).unwrap();
    assert_eq!(again.experiment, loaded.experiment);
    assert_eq!(again.text, loaded.text);
}

#[test]
fn the_resolved_text_is_laid_out_like_a_file_written_by_hand() {
    let loaded = load_text(GOOD).unwrap();
    let expected = GOOD.replace(
        r#"score = "imp/magnitude"
mask = "imp/global"
rewind = ["lrr/learning-rate", "#,
        r#"score = { use = "imp/magnitude" }
mask = { use = "imp/global" }
rewind = [{ use = "lrr/learning-rate" }, "#,
    );
    assert_eq!(loaded.text, expected);
}
