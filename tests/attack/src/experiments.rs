//! What is attacked: small experiments of every kind, with several seeds and levels.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use image::{Rgb, RgbImage};
use tempfile::TempDir;

use crate::program;

/// An experiment, with the files that it needs.
pub struct Experiment {
    /// Name in tables.
    pub name: &'static str,
    file: PathBuf,
    more: Vec<String>,
    /// Keeps generated files as long as they are needed.
    _folder: Option<TempDir>,
}

const FLIPS: &str = "strategy.rewind=[{ use = \"imp/weights\", to = \"1ep\" }, \
                     { use = \"sign-perturbation/flip\", fraction = 0.3, lasting = true, levels = [1, 2] }]";
const GROWS: &str = "strategy.mask={ use = \"drop-and-grow/update\", every = \"7it\" }";
const UPDATES: &str = "strategy.update=[\"aws/interpolated-norms\", { use = \"sign-in/reparameterised\", every = \"7it\" }]";

impl Experiment {
    /// The experiment of this name, with so many epochs a level.
    ///
    /// # Panics
    /// If there is none.
    pub fn new(name: &'static str, epochs: usize) -> Self {
        let (file, more) = match name {
            "imp" => ("imp.toml", None),
            "lrr" => ("lrr.toml", None),
            "random-mask" => ("random-mask.toml", None),
            "sign-perturbation" => ("wr.toml", Some(FLIPS)),
            "drop-and-grow" => ("lrr.toml", Some(GROWS)),
            "updates" => ("lrr.toml", Some(UPDATES)),
            "convolution" => return Self::convolution(epochs),
            other => panic!("no experiment is called {other}"),
        };
        let mut set = vec![
            "prune.levels=3".to_owned(),
            "prune.rate=0.5".to_owned(),
            "model.hidden=[24, 16]".to_owned(),
            "train.batch_size=200".to_owned(),
            "train.evaluate_every=\"1ep\"".to_owned(),
            format!("train.epochs={epochs}"),
        ];
        set.extend(more.map(str::to_owned));
        Self {
            name,
            file: file.into(),
            more: with_set(&set),
            _folder: None,
        }
    }

    /// A residual net with dropout on generated images, which are cropped and mirrored at random; its
    /// seeds train one after the other.
    fn convolution(epochs: usize) -> Self {
        let folder = tempfile::tempdir().expect("temporary folders can be made");
        pictures(&folder.path().join("data"));
        let file = folder.path().join("convolution.toml");
        let text = format!(
            "name = \"convolution\"\n\
             seeds = [0, 1]\n\
             [data]\n\
             name = \"image-folder\"\n\
             dir = {:?}\n\
             size = 16\n\
             augment = {{ scale = [0.3, 1.0], flip = true }}\n\
             [model]\n\
             name = \"resnet-20\"\n\
             width = 2\n\
             dropout = 0.2\n\
             [train]\n\
             epochs = {}\n\
             batch_size = 8\n\
             evaluate_every = \"2ep\"\n\
             optimizer = {{ name = \"sgd\", lr = 0.05, momentum = 0.9 }}\n\
             [prune]\n\
             levels = 2\n\
             rate = 0.5\n\
             [strategy]\n\
             score = \"imp/magnitude\"\n\
             mask = \"imp/global\"\n\
             rewind = {{ use = \"imp/weights\", to = \"1ep\" }}\n",
            folder.path().join("data"),
            2 * epochs,
        );
        fs::write(&file, text).expect("the temporary folder can be written to");
        Self {
            name: "convolution",
            file,
            more: Vec::new(),
            _folder: Some(folder),
        }
    }

    /// The command that runs it, with a checkpoint after every step.
    pub fn command(&self, runs: &Path) -> Command {
        let mut command = self.rare(runs);
        command.args(["--checkpoint-every", "0"]);
        command
    }

    /// The command that runs it, with checkpoints that are a minute apart.
    pub fn rare(&self, runs: &Path) -> Command {
        let more: Vec<&str> = self.more.iter().map(String::as_str).collect();
        let file = self.file.to_string_lossy();
        let mut command = program::run(&file, runs, &more);
        command.args(["--seeds", "0..2"]);
        // No beat falls between the calls that are counted.
        command.env("HOST_CLAIM_LIMIT", "100000");
        command
    }

    /// The same with other settings, as `--set` takes them.
    #[must_use]
    pub fn with(mut self, set: &[&str]) -> Self {
        for set in set {
            self.more.extend(["--set".to_owned(), (*set).to_owned()]);
        }
        self
    }
}

fn with_set(set: &[String]) -> Vec<String> {
    let with = |it: &String| ["--set".to_owned(), it.clone()];
    set.iter().flat_map(with).collect()
}

/// Three classes of stripes.
fn pictures(root: &Path) {
    for (split, count) in [("train", 12), ("val", 4)] {
        for (class, name) in ["across", "along", "plain"].into_iter().enumerate() {
            let folder = root.join(split).join(name);
            fs::create_dir_all(&folder).expect("the temporary folder can be written to");
            for i in 0..count {
                let picture = RgbImage::from_fn(20 + i, 24 - i, |x, y| {
                    let stripe = [x / 4 % 2, y / 4 % 2, 1][class] * 150;
                    Rgb([stripe as u8, (90 + i * 7) as u8, (x * 3 + y) as u8])
                });
                let saved = picture.save(folder.join(format!("{i:02}.png")));
                saved.expect("the temporary folder can be written to");
            }
        }
    }
}
