//! Arrays and tables of one's own, from the file to the report.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use attack::hold::Hold;
use end_to_end::program::{command, digests, expect, only_run};
use serde_json::Value;
use tch::{Kind, Tensor};

const DOCUMENTATION: &str = include_str!("../../../docs/experiment-file.md");

/// The experiment that the documentation shows.
fn documented() -> &'static str {
    let (_, section) = DOCUMENTATION.split_once("### Arrays of your own").unwrap();
    section
        .split("```")
        .nth(1)
        .unwrap()
        .strip_prefix("toml\n")
        .unwrap()
}

/// Points of three classes in four dimensions, in a fixed order: `[samples, 4]` and `[samples]`.
fn points(samples: i64) -> (Tensor, Tensor) {
    let classes = Tensor::arange(samples, (Kind::Int64, tch::Device::Cpu)).remainder(3);
    let noise =
        (Tensor::arange(samples * 4, (Kind::Float, tch::Device::Cpu)) * 12.9898).sin() * 2.0;
    let centres = Tensor::from_slice(&[
        5.0f32, 0.0, -3.0, 1.0, -4.0, 2.0, 3.0, 1.0, 0.0, -6.0, 0.0, 1.0,
    ]);
    let centres = centres.view([3, 4]).index_select(0, &classes);
    (noise.view([samples, 4]) + centres, classes)
}

/// A folder with an experiment, `own.toml`, and its data.
struct Desk(tempfile::TempDir);

impl Desk {
    fn new(experiment: &str) -> Self {
        let desk = Self(tempfile::tempdir().unwrap());
        fs::write(desk.path("own.toml"), experiment).unwrap();
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, verb: &str, runs: &str, more: &[&str]) -> Command {
        let mut command = command();
        command.arg(verb).arg(self.path("own.toml"));
        command.arg("--runs").arg(self.path(runs));
        if verb == "run" {
            command.args(["--threads", "1", "--quiet"]);
        }
        command.args(more);
        command
    }

    /// The run's folder after an uninterrupted run.
    fn run(&self, runs: &str, more: &[&str]) -> PathBuf {
        expect(&mut self.command("run", runs, more), 0);
        only_run(&self.path(runs), "own")
    }
}

fn said(output: &Output) -> String {
    let both = [&output.stdout[..], &output.stderr].concat();
    String::from_utf8_lossy(&both).into_owned()
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn verified(run: &Path) -> String {
    said(&expect(
        command().arg("verify").arg(run).args(["--threads", "1"]),
        0,
    ))
}

/// The documentation's experiment in a short form.
const SHORT: [&str; 6] = [
    "--set",
    "train.epochs=3",
    "--set",
    "prune.levels=2",
    "--set",
    "model.hidden=[16]",
];

#[test]
fn a_file_of_twelve_lines_trains_on_a_npz_and_goes_on_after_a_kill_with_the_same_bytes() {
    assert!(documented().lines().count() <= 12);
    let desk = Desk::new(documented());
    let (x, y) = points(300);
    Tensor::write_npz(&[("x", &x), ("y", &y)], desk.path("train.npz")).unwrap();
    let short = [
        &SHORT[..],
        &["--seeds", "0", "--set", "data.validation=0.1"],
    ]
    .concat();
    let whole = desk.run("whole", &short);
    let summary = json(&whole.join("seed-0/level-02/summary.json"));
    assert_eq!(
        (&summary["test_samples"], &summary["validation_samples"]),
        (&60.into(), &24.into())
    );
    assert!(
        summary["test_accuracy"].as_f64().unwrap() > 0.9,
        "{summary}"
    );
    assert!(verified(&whole).contains("validation metrics"));

    let more = [&short[..], &["--checkpoint-every", "0"]].concat();
    let mut killed = desk.command("run", "killed", &more);
    let mut hold = Hold::at(&mut killed, "rename", &desk.path("killed"));
    let mut child = killed.spawn().unwrap();
    let level = || {
        let folders = fs::read_dir(desk.path("killed")).ok()?.flatten();
        let mut folders = folders.map(|it| it.path());
        let own = folders.find(|path| path.join("experiment.toml").exists())?;
        let bytes = fs::read(own.join("seed-0/progress/checkpoint.json")).ok()?;
        serde_json::from_slice::<Value>(&bytes).ok()?["level"].as_u64()
    };
    hold.until(&mut child, "a checkpoint within level 1", |_| {
        level() == Some(1)
    });
    child.kill().unwrap();
    child.wait().unwrap();
    let resumed = desk.run("killed", &short);
    assert_eq!(digests(&whole), digests(&resumed));

    let mut report = command();
    report
        .arg("report")
        .arg(&whole)
        .arg("--out")
        .arg(desk.path("report"));
    expect(&mut report, 0);
    let shown = said(&expect(command().arg("show").arg(&whole), 0));
    assert!(shown.contains("validation accuracy %"), "{shown}");
    let csv = fs::read_to_string(whole.join("summary.csv")).unwrap();
    let header = csv.lines().next().unwrap();
    assert!(
        header.contains(",test_accuracy,validation_loss,validation_correct,"),
        "{header}"
    );
    // The run finds its data by itself.
    let mut own = command();
    own.arg("plan")
        .arg(whole.join("experiment.toml"))
        .arg("--no-estimate");
    own.arg("--runs").arg(desk.path("whole"));
    let plan = said(&expect(&mut own, 0));
    assert!(
        plan.contains("216 + 60 + 24 validation samples of 4, 3 classes"),
        "{plan}"
    );
    assert!(plan.contains("everything"), "{plan}");
}

#[test]
fn samples_read_from_their_file_give_the_bytes_of_samples_in_memory() {
    let archive = format!(
        r#"model = {{ name = "pt2", file = "{}/../../experiments/networks/mlp.pt2" }}"#,
        env!("CARGO_MANIFEST_DIR")
    );
    let imported = documented().replace(r#"model = { name = "mlp" }"#, &archive);
    let mut whole_archive = SHORT[..4].to_vec();
    whole_archive.extend(["--set", "data.classes=10"]);
    // More than fits into 1 MiB.
    for (experiment, short, samples, features) in [
        (documented(), &SHORT[..], 3000, 400),
        (&imported, &whole_archive, 9000, 40),
    ] {
        let desk = Desk::new(experiment);
        let (x, y) = points(samples);
        let x = x.repeat([1, features / 4]);
        let tensors = [("images", &x), ("labels", &y)];
        Tensor::write_safetensors(&tensors, desk.path("train.safetensors")).unwrap();
        let path = format!("data.train={}", desk.path("train.safetensors").display());
        let more = ["--seeds", "0,1", "--set", "data.validation=100", "--set"];
        let more = [short, &more, &[&path]].concat();
        let held = desk.run("held", &more);
        let stored = desk.run("stored", &[&more[..], &["--set", "data.memory=1"]].concat());
        assert_eq!(held.file_name(), stored.file_name());
        for seed in ["seed-0", "seed-1"] {
            let (held, stored) = (digests(&held.join(seed)), digests(&stored.join(seed)));
            assert!(held.len() >= 3 * 8);
            assert_eq!(held, stored);
        }
        assert!(verified(&stored).contains("nothing is wrong"));
    }
}

/// A table with a column of text and a gap, and targets of both kinds.
fn table(lines: usize) -> String {
    let mut text = "age,colour,weight,kind,price\n".to_owned();
    for i in 0..lines {
        let kind = i % 3;
        let colour = ["red", "green", "blue"][kind];
        let weight = if i % 10 == 7 {
            String::new()
        } else {
            (i * 7 % 13 + 20 * kind).to_string()
        };
        let kind = ["ape", "bee", "cow"][kind];
        let age = 20 + i * 37 % 50;
        text += &format!("{age},{colour},{weight},{kind},{}.5\n", i * 11 % 40);
    }
    text
}

#[test]
fn a_table_trains_by_the_names_of_its_columns() {
    let experiment = documented().replace("train.npz\"", "own.csv\", target = \"kind\"");
    let desk = Desk::new(&experiment);
    fs::write(desk.path("own.csv"), table(200)).unwrap();
    let refused = said(&expect(&mut desk.command("plan", "runs", &SHORT), 2));
    assert!(
        refused.contains("own.toml:3")
            && refused.contains("line 2, column `colour`: `red` is no number"),
        "{refused}"
    );
    let encoded = [
        "--set",
        "data.categories=one-hot",
        "--set",
        "data.missing=mean",
    ];
    let encoded = [&SHORT[..], &encoded].concat();
    let plan = said(&expect(&mut desk.command("plan", "runs", &encoded), 0));
    assert!(
        plan.contains("160 + 40 samples of 6, 3 classes (ape, bee, cow)"),
        "{plan}"
    );
    let run = desk.run("runs", &[&encoded[..], &["--seeds", "0"]].concat());
    let summary = json(&run.join("seed-0/level-02/summary.json"));
    assert!(
        summary["test_accuracy"].as_f64().unwrap() > 0.9,
        "{summary}"
    );
    assert!(summary.get("validation_loss").is_none());
    assert!(verified(&run).contains("nothing is wrong"));

    // Targets that are numbers, of the inputs that are named.
    let numbers = [
        "--set",
        "data.target=price",
        "--set",
        "data.inputs=[\"age\"]",
        "--set",
        "train.loss=mse",
        "--seeds",
        "0",
    ];
    let numbers = [&SHORT[..], &numbers].concat();
    let plan = said(&expect(&mut desk.command("plan", "runs", &numbers), 0));
    assert!(
        plan.contains("160 + 40 samples of 1, targets are numbers"),
        "{plan}"
    );
    let run = desk.run("numbers", &numbers);
    let [first, last] = ["level-00", "level-02"].map(|level| {
        json(&run.join("seed-0").join(level).join("summary.json"))["test_loss"]
            .as_f64()
            .unwrap()
    });
    assert!(first.is_finite() && last.is_finite());
    assert!(verified(&run).contains("nothing is wrong"));
}

#[test]
fn what_is_wrong_with_a_file_is_said_at_its_line_before_anything_trains() {
    let desk = Desk::new(documented());
    let message = |verb| said(&expect(&mut desk.command(verb, "runs", &SHORT), 2));
    for verb in ["plan", "run"] {
        let missing = message(verb);
        assert!(
            missing.contains("own.toml:3") && missing.contains("train.npz"),
            "{missing}"
        );
    }
    let (x, y) = points(30);
    let _ = x.get(7).get(2).fill_(f64::NAN);
    Tensor::write_npz(&[("x", &x), ("y", &y)], desk.path("train.npz")).unwrap();
    let nan = message("run");
    assert!(nan.contains("array `x`: sample 7, value [2]: NaN"), "{nan}");
    let lone = Tensor::from_slice(&[0i64; 29]);
    let lone = Tensor::cat(&[&lone, &Tensor::from_slice(&[1i64])], 0);
    Tensor::write_npz(&[("x", &x), ("y", &lone)], desk.path("train.npz")).unwrap();
    let lone = message("run");
    assert!(
        lone.contains("own.toml:3") && lone.contains("class 1 has one sample"),
        "{lone}"
    );
    let share = said(&expect(
        &mut desk.command("plan", "runs", &["--set", "data.test=1.5"]),
        2,
    ));
    assert!(
        share.contains("--set") && share.contains("a share between 0 and 1"),
        "{share}"
    );
    assert!(!desk.path("runs").exists());
}

#[test]
fn a_file_that_changes_begins_another_run_and_another_place_does_not() {
    let desk = Desk::new(documented());
    let write = |name: &str, samples: i64| {
        let (x, y) = points(samples);
        Tensor::write_npz(&[("x", &x), ("y", &y)], desk.path(name)).unwrap();
    };
    write("train.npz", 300);
    let one = ["--seeds", "0", "--set", "prune.levels=0"];
    let one = [&SHORT[..], &one].concat();
    let first = desk.run("runs", &one);
    fs::copy(desk.path("train.npz"), desk.path("elsewhere.npz")).unwrap();
    let elsewhere = format!("data.train={}", desk.path("elsewhere.npz").display());
    let moved = [&one[..], &["--set", &elsewhere]].concat();
    assert_eq!(desk.run("runs", &moved), first);
    write("train.npz", 303);
    let output = expect(&mut desk.command("run", "runs", &one), 0);
    let told = said(&output);
    assert!(
        told.contains("is the same experiment on other data"),
        "{told}"
    );
    let unverified = said(&expect(command().arg("verify").arg(&first), 0));
    assert!(!unverified.contains("WRONG"), "{unverified}");
}

#[test]
fn validation_is_the_same_for_every_seed_and_without_it_nothing_changes() {
    let folder = tempfile::tempdir().unwrap();
    let run = |runs: &str, more: &[&str]| {
        let runs = folder.path().join(runs);
        let short = [
            "--set",
            "train.epochs=2",
            "--set",
            "prune.levels=1",
            "--set",
            "model.hidden=[16]",
        ];
        let more = [&short[..], &["--set", "train.evaluate_every=1ep"], more].concat();
        expect(&mut end_to_end::program::run("lrr.toml", &runs, &more), 0);
        only_run(&runs, "lrr")
    };
    let without = run("without", &["--seeds", "0"]);
    let text = fs::read_to_string(without.join("seed-0/level-01/metrics.jsonl")).unwrap();
    assert!(!text.contains("validation"));
    let both = run("both", &["--seeds", "0,1", "--set", "data.validation=400"]);
    let one = run("one", &["--seeds", "1", "--set", "data.validation=400"]);
    assert_ne!(without.file_name(), both.file_name());
    assert_eq!(both.file_name(), one.file_name());
    assert_eq!(digests(&both.join("seed-1")), digests(&one.join("seed-1")));
    let text = fs::read_to_string(both.join("seed-1/level-01/metrics.jsonl")).unwrap();
    for line in text.lines() {
        let epoch: Value = serde_json::from_str(line).unwrap();
        assert!(
            epoch["validation_loss"].is_f64() && epoch["test_loss"].is_f64(),
            "{epoch}"
        );
    }
    let summary = json(&both.join("seed-1/level-01/summary.json"));
    let (right, samples) = (
        &summary["validation_correct"],
        &summary["validation_samples"],
    );
    assert_eq!(samples, 400);
    let accuracy = right.as_f64().unwrap() / 400.0;
    assert_eq!(summary["validation_accuracy"].as_f64(), Some(accuracy));
    assert!(verified(&both).contains("validation metrics"));
    // Another number in the record is noticed.
    let path = both.join("seed-1/level-01/summary.json");
    let text = fs::read_to_string(&path).unwrap();
    let other = text.replace("\"validation_correct\":", "\"validation_correct\":1");
    fs::write(&path, other).unwrap();
    let wrong = said(&expect(
        command().arg("verify").arg(&both).args(["--threads", "1"]),
        5,
    ));
    assert!(wrong.contains("summary.json"), "{wrong}");
}

#[test]
fn tokens_train_a_network_with_an_embedding() {
    let experiment = documented().replace(", standardise = true", "").replace(
        "\"mlp\"",
        "\"pt2\", file = \"tokens.pt2\", init = \"pytorch\"",
    );
    let desk = Desk::new(&experiment);
    let fixture = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../host/tests/arrays/tokens.pt2"
    );
    fs::copy(fixture, desk.path("tokens.pt2")).unwrap();
    let numbers = Tensor::arange(300 * 5, (Kind::Int64, tch::Device::Cpu));
    let x = (&numbers * 7 + numbers.square())
        .remainder(11)
        .view([300, 5]);
    let y = x.select(1, 0).remainder(3);
    Tensor::write_npz(&[("tokens", &x), ("y", &y)], desk.path("train.npz")).unwrap();
    let short = [
        "--seeds",
        "0",
        "--set",
        "prune.levels=1",
        "--set",
        "prune.rate=0.5",
    ];
    let plan = said(&expect(&mut desk.command("plan", "runs", &short), 0));
    assert!(
        plan.contains("240 + 60 samples of 5 tokens, 3 classes"),
        "{plan}"
    );
    let run = desk.run("runs", &short);
    let summary = json(&run.join("seed-0/level-00/summary.json"));
    assert!(
        summary["test_accuracy"].as_f64().unwrap() > 0.8,
        "{summary}"
    );
    assert!(verified(&run).contains("nothing is wrong"));
    let mlp = desk
        .command("plan", "runs", &["--set", "model={ name = \"mlp\" }"])
        .output()
        .unwrap();
    let refused = said(&mlp);
    assert!(
        refused.contains("stand for tokens") && refused.contains("--set:1"),
        "{refused}"
    );
}

#[test]
fn the_best_run_of_a_sweep_is_chosen_by_validation_and_stated_by_test() {
    let experiment = format!(
        "{}\n[sweep.grid]\ntrain.optimizer.lr = [0.1, 1e-6]\n",
        documented().replace("standardise = true", "standardise = true, validation = 0.2")
    );
    let desk = Desk::new(&experiment);
    let (x, y) = points(300);
    Tensor::write_npz(&[("x", &x), ("y", &y)], desk.path("train.npz")).unwrap();
    let mut sweep = command();
    sweep
        .arg("run")
        .arg(desk.path("own.toml"))
        .args(["--quiet", "--jobs", "1", "--seeds", "0,1"]);
    sweep.arg("--runs").arg(desk.path("runs"));
    expect(sweep.args(SHORT), 0);
    let best = |more: &[&str], code| {
        let mut best = command();
        best.args(["best", "own", "--runs"]).arg(desk.path("runs"));
        expect(best.args(more), code)
    };
    let found: Value = serde_json::from_slice(&best(&["--json"], 0).stdout).unwrap();
    assert_eq!(found["level"], 2);
    let runs = found["runs"].as_array().unwrap();
    assert_eq!((runs.len(), &runs[0]["name"]), (2, &found["best"]));
    assert!(found["best"].as_str().unwrap().contains("0.1"), "{found}");
    let text = said(&best(&["--level", "1"], 0));
    assert!(text.contains("Best by validation at level 1: "), "{text}");
    // By hand, of the best.
    let run = desk.path("runs").join(runs[0]["run"].as_str().unwrap());
    let of = |key: &str| {
        let seeds =
            [0, 1].map(|seed| json(&run.join(format!("seed-{seed}/level-02/summary.json"))));
        seeds
            .iter()
            .map(|it| it[key].as_f64().unwrap())
            .sum::<f64>()
            / 2.0
    };
    for key in ["validation_accuracy", "test_accuracy"] {
        assert!((runs[0][key]["mean"].as_f64().unwrap() - of(key)).abs() < 1e-12);
    }
    let unknown = said(&best(&["--level", "9"], 2));
    assert!(unknown.contains("validation = 0.1"), "{unknown}");
}
