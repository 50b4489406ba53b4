//! `host plan` of what is shipped, and what it finds before anything trains.

use std::fs;
use std::path::Path;

use attack::tree::files;
use end_to_end::program::{command, expect};

use crate::python::python;

const EXPERIMENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../experiments");

#[test]
fn every_shipped_experiment_is_planned_with_its_time_and_without_its_data() {
    let folder = tempfile::tempdir().unwrap();
    let mut files = files(Path::new(EXPERIMENTS));
    files.retain(|it| it.extension().is_some_and(|it| it == "toml"));
    assert!(files.len() > 40, "{files:?}");
    let python = python();
    for file in files {
        let file = Path::new(EXPERIMENTS).join(file);
        let mut plan = command();
        // Where a user has neither runs nor data.
        plan.current_dir(&folder)
            .env("XDG_DATA_HOME", folder.path())
            .arg("plan")
            .arg(&file);
        if file.ends_with("python.toml") {
            // It names code, and there may be nothing here to run it.
            let Ok(python) = &python else { continue };
            plan.env("REWIND_PYTHON", python).arg("--allow-plugins");
        }
        let output = expect(&mut plan, 0);
        let (out, said) = [&output.stdout, &output.stderr]
            .map(|it| String::from_utf8_lossy(it).into_owned())
            .into();
        let name = file.display();
        let is_simulation = fs::read_to_string(&file).unwrap().contains("[neuron");
        let timed = match is_simulation {
            // It trains no network: what it computes is said instead.
            true => out.contains("descents"),
            false => out.contains("of training to do"),
        };
        assert!(timed, "{name}: {out}");
        assert!(!said.contains("warning"), "{name}: {said}");
    }
}

/// An experiment of 4,000 samples with the changes of a test.
struct Desk(tempfile::TempDir);

impl Desk {
    fn new(changes: &str) -> Self {
        let desk = Self(tempfile::tempdir().unwrap());
        let base = Path::new(EXPERIMENTS).join("lrr.toml");
        let base = base.canonicalize().unwrap();
        let text = format!("base = {base:?}\nname = \"own\"\n{changes}");
        fs::write(desk.0.path().join("own.toml"), text).unwrap();
        desk
    }

    /// What the command says of the file, and how it ends.
    fn said(&self, name: &str, more: &[&str], code: i32) -> String {
        let mut command = command();
        command
            .current_dir(&self.0)
            .args([name, "own.toml"])
            .args(more);
        String::from_utf8_lossy(&expect(&mut command, code).stderr).into_owned()
    }

    /// What stands at each place `own.toml:LINE:COLUMN` and must not have begun, said by `plan` and by
    /// `run` alike.
    fn refused(&self, place: &str, fragments: &[&str]) {
        for name in ["plan", "run"] {
            let said = self.said(name, &[], 2);
            assert!(
                said.contains(&format!("own.toml:{place}")),
                "{name}: {said}"
            );
            for fragment in fragments {
                assert!(said.contains(fragment), "{name}: {fragment:?} in {said}");
            }
        }
        assert!(!self.0.path().join("runs").exists());
    }

    /// As [`refused`](Self::refused) of what is run all the same.
    fn warned(&self, place: &str, fragments: &[&str]) {
        let said = self.said("plan", &["--no-estimate"], 0);
        assert!(said.contains("warning: "), "{said}");
        assert!(said.contains(&format!("own.toml:{place}")), "{said}");
        for fragment in fragments {
            assert!(said.contains(fragment), "{fragment:?} in {said}");
        }
    }
}

#[test]
fn nothing_to_prune_is_refused_at_its_line() {
    let all = "[prune]\nexclude = [\"fc1.weight\", \"fc2.weight\", \"fc3.weight\"]\n";
    Desk::new(all).refused("4:11", &["nothing is left to prune", "all 3 layers"]);
    let one = "[model]\nhidden = []\n[prune]\nexclude = [\"fc1.weight\"]\n";
    Desk::new(one).refused("6:11", &["nothing is left to prune"]);
    // What is left may be one layer.
    let some = "[prune]\nlevels = 1\nexclude = [\"fc1.weight\", \"fc2.weight\"]\n";
    Desk::new(some).said("plan", &["--no-estimate"], 0);
    let unknown = "[prune]\nexclude = [\"fc1.weight\", \"fc.weight\"]\n";
    Desk::new(unknown).refused("4:26", &["`fc.weight`", "fc1.weight, fc2.weight"]);
}

#[test]
fn a_level_without_a_weight_is_refused_at_its_density() {
    let sparse = "prune = { densities = [0.1, 1e-9] }\n";
    Desk::new(sparse).refused(
        "3:29",
        &["level 2 keeps no weight", "expected a density of"],
    );
    // 0.8^50 of 22,784 is less than half of one.
    let deep = "[prune]\nlevels = 60\n";
    Desk::new(deep).refused("4:10", &["level 49 keeps no weight", "at most 48 levels"]);
}

#[test]
fn a_last_batch_of_one_sample_is_refused_for_an_mlp_and_trained_on_by_a_convolution_net() {
    // 4,000 = 3 * 1,333 + 1.
    let mlp = "[train]\nbatch_size = 1333\n";
    Desk::new(mlp).refused("4:14", &["a last batch of one sample", "such as 1334"]);
    let without = "[train]\nbatch_size = 1333\n[model]\nbatch_norm = false\n";
    Desk::new(without).said("plan", &["--no-estimate"], 0);
    let cnn = "seeds = [0]\n[train]\nbatch_size = 1333\nepochs = 1\n\
               [model]\nname = \"cnn1d\"\nwidth = 4\n[prune]\nlevels = 1\n";
    let desk = Desk::new(cnn);
    desk.said("plan", &[], 0);
    desk.said("run", &["--threads", "1"], 0);
}

#[test]
fn times_that_never_come_are_found_before_training() {
    // A level has 640 steps.
    let gmp = |options: &str| {
        format!(
            "[prune]\ndensities = [0.1]\n[strategy]\nmask = {{ use = \"gmp/gradual\"{options} }}\n"
        )
    };
    let found = [
        "`gmp/gradual`: pruning starts at `20ep`",
        "640 steps (20 epochs of 32)",
    ];
    Desk::new(&gmp(", from = \"20ep\"")).refused("6:38", &found);
    // The default, which the file does not name, is shown at the component.
    let short = format!("[train]\nepochs = 1\nbatch_size = 400\n{}", gmp(""));
    Desk::new(&short).refused("9:16", &["every", "`20it`"]);
    let schedule = "[train]\nschedule = { name = \"step\", milestones = [\"5ep\", \"640it\"] }\n";
    Desk::new(schedule).warned("4:50", &["`640it` is not before the level's end"]);
    let evaluate = "[train]\nevaluate_every = \"21ep\"\n";
    Desk::new(evaluate).warned("4:18", &["no evaluation comes every `21ep`"]);
    let warmup = "[train]\nschedule = { warmup = \"641it\" }\n";
    Desk::new(warmup).refused("4:23", &["the warm-up is longer than the training"]);
    for plugin in ["set", "rigl"] {
        let exchange = format!(
            "[strategy]\nmask = {{ use = \"{plugin}/drop-and-grow\", every = \"700it\" }}\n"
        );
        let column = 42 + plugin.len();
        let found = ["no weight is ever exchanged", "every `700it`"];
        Desk::new(&exchange).warned(&format!("4:{column}"), &found);
    }
    let flips = "[strategy]\nrewind = [\"lrr/learning-rate\", { use = \"sign-perturbation/flip\", levels = [1, 15] }]\n";
    Desk::new(flips).warned(
        "4:79",
        &["no sign is flipped at level 15: the last one is 14"],
    );
    let sparse = "[train]\nsparse_below = 0.1\n";
    Desk::new(sparse).warned("4:16", &["never computed at its surviving weights"]);
}

#[test]
fn points_that_are_not_there_are_found_before_training() {
    let rewind = |rewind: &str| format!("[strategy]\nrewind = {rewind}\n");
    let late = rewind("{ use = \"imp/weights\", to = \"21ep\" }");
    Desk::new(&late).refused("4:38", &["`21ep`, which is step 672", "20 epochs of 32"]);
    let next = rewind("{ use = \"imp/weights\", to = \"level-3-end\" }");
    Desk::new(&next).refused("4:38", &["is not there yet when level 1 starts"]);
    let never = rewind("[{ use = \"axes/rewind\", signs = \"level-15-end\" }]");
    Desk::new(&never).refused("4:42", &["the last level is 14"]);
    let norm = "[model]\nbatch_norm = false\n[strategy]\n\
                rewind = { use = \"lrr/learning-rate\", batch_norm_affine = \"init\" }\n";
    Desk::new(norm).warned("6:59", &["the network has no batch norm"]);
    let norm = norm.replace("batch_norm_affine", "norm_affine");
    Desk::new(&norm).warned("6:53", &["the network has no norm"]);
}

#[test]
fn densities_that_a_mask_cannot_have_are_found_before_training() {
    let nm = "[prune]\ndensities = [0.75, 0.3]\n[strategy]\nmask = \"nm/groups\"\n";
    Desk::new(nm).refused(
        "4:20",
        &["`nm/groups`: a density of 0.3", "multiples of 1/4"],
    );
    // The base says how many levels there are instead.
    let rate = "[strategy]\nmask = \"nm/groups\"\n";
    let said = Desk::new(rate).said("plan", &[], 2);
    assert!(said.contains("imp.toml:23:10"), "{said}");
    // One of its levels stands for all.
    assert_eq!(said.matches("is no whole number of").count(), 1, "{said}");
    let cyclic = "[prune]\ndensities = [0.5, 0.5, 0.2]\n[strategy]\nmask = \"cyclic/fixed\"\n";
    Desk::new(cyclic).refused(
        "4:24",
        &["`cyclic/fixed`: level 1 keeps 11392 weights, level 3 4557"],
    );
    let twice = "[prune]\ndensities = [0.5, 0.2, 0.1]\n[strategy]\nmask = \"cyclic/sculpt\"\n";
    Desk::new(twice).refused(
        "4:24",
        &["`cyclic/sculpt`: level 2 keeps 4557 weights, level 3 2278, and the mask was pruned before"],
    );
}

#[test]
fn a_sweeps_cells_are_all_looked_at_before_the_first_trains() {
    let sweep = "[sweep.methods.early]\nstrategy.rewind = { use = \"imp/weights\", to = \"2ep\" }\n\
                 [sweep.methods.late]\nstrategy.rewind = { use = \"imp/weights\", to = \"30ep\" }\n\
                 [sweep.methods.flips]\nstrategy.rewind = { use = \"sign-perturbation/flip\", levels = [99] }\n";
    let desk = Desk::new(sweep);
    desk.refused("6:47", &["`30ep`"]);
    let said = desk.said("plan", &["--json"], 2);
    let lines: Vec<serde_json::Value> = said
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    assert_eq!(lines[0]["warnings"][0]["line"], 8, "{said}");
    assert_eq!(lines[0]["warnings"][0]["key"], "strategy.rewind.0.levels.0");
    assert_eq!(lines[1]["errors"][0]["key"], "strategy.rewind.0.to");
    assert_eq!(lines[1]["exit"], 2);
}

#[test]
fn a_component_that_panics_about_an_experiment_is_named_before_anything_trains() {
    let rewind = "[strategy]\nrewind = \"misbehaving/panics-in-review\"\n";
    let desk = Desk::new(rewind);
    for name in ["plan", "run"] {
        let said = desk.said(name, &[], 3);
        let named =
            "rewind[0] component `panics-in-review` of plugin `misbehaving` panicked: no opinion";
        assert!(said.contains(named), "{said}");
    }
    assert!(!desk.0.path().join("runs").exists());
    // What is nonsense is shown where the component is named, as a text.
    let nonsense = "[strategy]\nrewind = \"misbehaving/finds-at-no-option\"\n";
    let said = Desk::new(nonsense).said("plan", &[], 2);
    assert!(
        said.contains("own.toml:4:10") && said.contains("gone"),
        "{said}"
    );
    assert!(!said.contains('\u{1b}'), "{said}");
}

#[test]
fn the_time_of_large_networks_is_scaled_and_said_to_be() {
    let desk = Desk::new("seeds = [0]\n[train]\nbatch_size = 512\n");
    let plan = |set: &[&str]| {
        let mut plan = command();
        plan.current_dir(&desk.0)
            .env("XDG_DATA_HOME", desk.0.path());
        plan.args(["plan", "own.toml", "--json", "--threads", "1"]);
        for set in set {
            plan.args(["--set", set]);
        }
        let output = expect(&mut plan, 0);
        let plan: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        plan["estimate"].clone()
    };
    let small = plan(&[]);
    assert_eq!(small["samples_timed"], 512);
    // A thousand images of 224 x 224 through 50 layers take minutes on any processor.
    let large = plan(&[
        "data={name = \"image-folder\", expect = {classes = 10, train = 5000, test = 10}}",
        "model={name = \"resnet-50\"}",
        "train.batch_size=1024",
        "train.precision=bf16",
    ]);
    let samples = large["samples_timed"].as_u64().unwrap();
    assert!((2..1024).contains(&samples), "{large}");
    assert_eq!(large["batch_size"], 1024);
    assert!(large["seconds_per_step"].as_f64().unwrap() > 1.0, "{large}");
}

#[test]
fn every_kind_of_data_and_network_is_timed_on_a_stand_in() {
    let desk = Desk::new("");
    let whole = ["name = \"fashion-mnist\"", "name = \"cifar10\""];
    let image = "augment = {crop = 2, flip = true}";
    let cifar = format!("data={{name = \"cifar10\", {image}}}");
    let fashion = format!("data={{{}}}", whole[0]);
    let dropped = "model={name = \"mlp\", hidden = [16], dropout = 0.5}";
    let neuron = [
        "data={name = \"hidden-neuron\"}",
        "model={name = \"hidden-neuron\"}",
        "train.loss=mse",
        "prune.levels=3",
    ];
    let cases: [&[&str]; 8] = [
        &[&fashion, "model={name = \"lenet-300-100\"}"],
        &[
            &fashion,
            "model={name = \"mlp\", hidden = [16]}",
            "train.batch_size=50000",
        ],
        &[&cifar, dropped],
        &[&cifar, "model={name = \"mlp\", hidden = [16]}"],
        &[&cifar, "model={name = \"resnet-20\"}"],
        &[
            &cifar,
            "model={name = \"resnet-20\"}",
            "train.channels_last=false",
        ],
        &[
            &cifar,
            "model={name = \"resnet-20\"}",
            "train.precision=bf16",
        ],
        &neuron,
    ];
    for case in cases {
        let mut plan = command();
        plan.current_dir(&desk.0)
            .env("XDG_DATA_HOME", desk.0.path());
        plan.args(["plan", "own.toml", "--threads", "1"]);
        for set in case {
            plan.args(["--set", set]);
        }
        let output = expect(&mut plan, 0);
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(out.contains("of training to do"), "{case:?}: {out}");
    }
}
