//! Runs on folders of images: what is read ahead, kept in memory or read again changes nothing.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use attack::hold::Hold;
use end_to_end::program::{digests, expect, host, only_run, run};
use image::{ImageFormat, Rgb, RgbImage};

/// Three classes of stripes with 13 + 4 images each of several sizes, as JPEG and PNG.
fn pictures(root: &Path) {
    for (split, count) in [("train", 13), ("val", 4)] {
        for (class, name) in ["across", "along", "plain"].into_iter().enumerate() {
            let folder = root.join(split).join(name);
            fs::create_dir_all(&folder).unwrap();
            for i in 0..count {
                let picture = RgbImage::from_fn(36 + i, 44 - i, |x, y| {
                    let stripe = [x / 4 % 2, y / 4 % 2, 1][class] * 150;
                    Rgb([stripe as u8, (90 + i * 7) as u8, (x * 3 + y) as u8])
                });
                let (end, format) = match i % 2 {
                    0 => ("jpg", ImageFormat::Jpeg),
                    _ => ("png", ImageFormat::Png),
                };
                let path = folder.join(format!("{i:02}.{end}"));
                picture.save_with_format(path, format).unwrap();
            }
        }
    }
}

/// A folder with images and an experiment on them that prunes two levels.
struct Desk {
    folder: tempfile::TempDir,
}

impl Desk {
    fn new(model: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        pictures(&folder.path().join("data"));
        let text = format!(
            "name = \"images\"\n\
             seeds = [0]\n\
             [data]\n\
             name = \"image-folder\"\n\
             size = 32\n\
             augment = {{ scale = [0.3, 1.0], flip = true }}\n\
             [model]\n{model}\n\
             [train]\n\
             epochs = 5\n\
             batch_size = 8\n\
             evaluate_every = \"2ep\"\n\
             optimizer = {{ name = \"sgd\", lr = 0.05, momentum = 0.9 }}\n\
             [prune]\n\
             levels = 2\n\
             [strategy]\n\
             score = \"imp/magnitude\"\n\
             mask = \"imp/global\"\n\
             rewind = {{ use = \"imp/weights\", to = \"1ep\" }}\n"
        );
        fs::write(folder.path().join("images.toml"), text).unwrap();
        Self { folder }
    }

    fn runs(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, runs: &str, more: &[&str]) -> Command {
        let experiment = self.folder.path().join("images.toml");
        let dir = format!("data.dir={}", self.folder.path().join("data").display());
        let more = [&["--set", &dir], more].concat();
        run(experiment.to_str().unwrap(), &self.runs(runs), &more)
    }

    /// The run's folder after an uninterrupted run.
    fn run(&self, runs: &str, more: &[&str]) -> PathBuf {
        expect(&mut self.command(runs, more), 0);
        only_run(&self.runs(runs), "images")
    }
}

const RESNET: &str = "name = \"resnet-18\"\nwidth = 4";

#[test]
fn images_kept_in_memory_and_images_read_again_give_the_same_run() {
    let desk = Desk::new(RESNET);
    let kept = desk.run("kept", &[]);
    let again = desk.run("again", &["--set", "data.memory=0"]);
    // Where there is room for images decides no result: the identity is the same.
    assert_eq!(kept.file_name(), again.file_name());
    let (kept, mut again) = (digests(&kept), digests(&again));
    assert!(kept.len() > 3 * 8, "{kept:?}");
    // The record of the file says which of the two it was, and the manifest has that record's digest.
    let own = |all: &mut std::collections::BTreeMap<PathBuf, String>| {
        all.remove(Path::new("manifest.json")).unwrap();
        all.remove(Path::new("experiment.toml")).unwrap()
    };
    let mut kept = kept;
    assert_ne!(own(&mut kept), own(&mut again));
    assert_eq!(kept, again);
}

#[test]
fn a_run_on_images_that_was_killed_goes_on_to_the_same_bytes() {
    let desk = Desk::new(RESNET);
    let whole = desk.run("whole", &[]);
    let mut command = desk.command("killed", &["--checkpoint-every", "0"]);
    let mut hold = Hold::at(&mut command, "rename", &desk.runs("killed"));
    let mut child = command.spawn().unwrap();
    let step = || {
        let folders = fs::read_dir(desk.runs("killed")).ok()?.flatten();
        let own = folders
            .map(|entry| entry.path())
            .find(|path| path.join("experiment.toml").exists())?;
        let bytes = fs::read(own.join("seed-0/progress/checkpoint.json")).ok()?;
        let checkpoint = serde_json::from_slice::<serde_json::Value>(&bytes).ok()?;
        (checkpoint["level"] == 1).then(|| checkpoint["position"]["step"].as_u64())?
    };
    // An epoch has five steps: within one, so that a part of it has been read ahead.
    hold.until(&mut child, "a checkpoint within level 1", |_| {
        step().is_some_and(|step| step > 6 && step % 5 == 2)
    });
    child.kill().unwrap();
    child.wait().unwrap();
    let killed = only_run(&desk.runs("killed"), "images");
    assert!(
        !killed.join("seed-0/level-01/done.json").exists(),
        "killed too late"
    );
    let resumed = desk.run("killed", &[]);
    assert_eq!(digests(&whole), digests(&resumed));
}

#[test]
fn seeds_that_train_side_by_side_on_images_do_not_see_each_other() {
    let desk = Desk::new("name = \"mlp\"\nhidden = [16]");
    let both = desk.run("both", &["--seeds", "0,1"]);
    let alone = desk.run("alone", &["--seeds", "1"]);
    let (both, alone) = (
        digests(&both.join("seed-1")),
        digests(&alone.join("seed-1")),
    );
    assert!(alone.len() >= 3 * 8);
    assert_eq!(both, alone);
}

#[test]
fn a_damaged_image_is_named_before_training_and_the_run_goes_on_once_it_is_whole() {
    let desk = Desk::new(RESNET);
    let runs = desk.runs("runs");
    let path = desk.folder.path().join("data/train/plain/04.jpg");
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let output = expect(&mut desk.command("runs", &[]), 2);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("plain/04.jpg") && said.contains("cut off"),
        "{said}"
    );
    assert!(!runs.exists());
    fs::write(&path, &whole).unwrap();
    desk.run("runs", &[]);
}

#[test]
fn a_folder_that_is_not_here_can_be_planned_once_the_file_says_what_it_holds() {
    let desk = Desk::new("name = \"resnet-50\"");
    let plan = |more: &[&str]| {
        let mut command = Command::new(host());
        command
            .arg("plan")
            .arg(desk.folder.path().join("images.toml"));
        command.args([
            "--no-estimate",
            "--set",
            "data.dir=/no-such-folder",
            "--set",
            "data.size=224",
        ]);
        command.args(more).output().unwrap()
    };
    let without = plan(&[]);
    let said = String::from_utf8_lossy(&without.stderr).into_owned();
    assert_eq!(without.status.code(), Some(2), "{said}");
    assert!(said.contains("expect = { classes"), "{said}");
    let expect = "data.expect={ classes = 1000, train = 1281167, test = 50000 }";
    let with = plan(&["--set", expect]);
    assert_eq!(with.status.code(), Some(0));
    let said = String::from_utf8_lossy(&with.stdout).into_owned();
    assert!(
        said.contains("1,281,167 + 50,000 samples of 3x224x224, 1000 classes"),
        "{said}"
    );
    assert!(
        said.contains("25,557,032 parameters, 25,502,912 of them prunable"),
        "{said}"
    );
    let said = String::from_utf8_lossy(&with.stderr).into_owned();
    assert!(said.contains("/no-such-folder/train"), "{said}");
}
