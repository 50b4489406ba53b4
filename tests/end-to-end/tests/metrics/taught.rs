//! Networks that are taught by another run's.

use std::fs;
use std::path::Path;

use end_to_end::program::{command, digests, expect, only_run, run};
use serde_json::{Value, json};

use super::{METRICS, kill_after_level_one, level, records, said, shipped, small};

fn taught_by(run: &Path, more: &str) -> String {
    let run = run.display();
    format!("train.loss={{ name = \"distillation\", run = \"{run}\"{more} }}")
}

#[test]
fn a_network_is_taught_by_another_runs_level_and_goes_on_after_a_kill_with_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let runs = folder.path().join("runs");
    let wide = ["name=wide", "model.hidden=[48]", "model.batch_norm=false"];
    expect(
        &mut small("imp.toml", &runs, &wide, &["--seeds", "0..2"]),
        0,
    );
    let teacher = only_run(&runs, "wide");
    let before = digests(&teacher);
    let loss = taught_by(&teacher, ", level = 1, temperature = 2, alpha = 0.5");
    let student = |runs: &Path, more: &[&str]| {
        small(
            "lrr.toml",
            runs,
            &["name=student", &loss, METRICS],
            &[&["--seeds", "0..2"], more].concat(),
        )
    };
    expect(&mut student(&runs, &[]), 0);
    let run = only_run(&runs, "student");
    assert_eq!(digests(&teacher), before, "the teacher changed");
    let other = folder.path().join("other");
    let killed = student(&other, &["--checkpoint-every", "0"]);
    kill_after_level_one(killed, &other, "student");
    expect(&mut student(&other, &[]), 0);
    let again = only_run(&other, "student");
    let seeds = |run: &Path| [0, 1].map(|seed| digests(&run.join(format!("seed-{seed}"))));
    assert_eq!(seeds(&run), seeds(&again));
    // What is learnt depends on the teacher, and a seed has its own.
    let plain = ["name=plain"];
    expect(
        &mut small("lrr.toml", &runs, &plain, &["--seeds", "0..2"]),
        0,
    );
    let end = |run: &Path, number| fs::read(level(run, 0, number).join("end.safetensors")).unwrap();
    let untaught = only_run(&runs, "plain");
    assert_ne!(end(&run, 0), end(&untaught, 0));
    // The test loss is the cross-entropy, which the teacher has no part in.
    let summary = records(&level(&run, 1, 2).join("summary.json")).remove(0);
    let of = |name: &str| summary[name].as_f64().unwrap();
    assert!((of("test_loss") - of("test_nll")).abs() < 1e-6);
    let well = said(&expect(
        command().arg("verify").arg(&run).args(["--threads", "1"]),
        0,
    ));
    assert!(well.contains("start"), "{well}");
    // Named by another folder it is the same experiment: what counts is what the teacher's run computed.
    let moved = folder.path().join("moved");
    fs::rename(&teacher, &moved).unwrap();
    let mut planned = small("lrr.toml", &runs, &["name=student"], &["--seeds", "0..2"]);
    planned.args(["--set", METRICS, "--set"]);
    planned.arg(taught_by(
        &moved,
        ", temperature = 2.0, level = 1, alpha = 0.5",
    ));
    expect(&mut planned, 0);
    assert_eq!(only_run(&runs, "student"), run);
}

#[test]
fn a_teacher_that_is_not_there_or_does_not_fit_is_said_before_anything_trains() {
    let folder = tempfile::tempdir().unwrap();
    let runs = folder.path().join("runs");
    expect(
        &mut small("imp.toml", &runs, &["name=teacher"], &["--seeds", "0"]),
        0,
    );
    let teacher = only_run(&runs, "teacher");
    let neuron = ["--set", "train.epochs=2", "--seeds", "0"];
    expect(&mut run("hidden-neuron.toml", &runs, &neuron), 0);
    let neuron = only_run(&runs, "hidden-neuron");
    let name = teacher.display();
    let missing = folder.path().join("absent");
    for (loss, seeds, expected) in [
        (
            taught_by(&missing, ""),
            "0",
            format!("there is no run `{}`", missing.display()),
        ),
        (
            taught_by(&teacher, ""),
            "0,1",
            format!(
                "run `{name}` has no seed 1 (it has 0); `host run {name}/experiment.toml --seeds 1 --runs"
            ),
        ),
        (
            taught_by(&teacher, ", level = 3"),
            "0",
            format!("run `{name}` ends at level 2, but train.loss.level is 3: expected at most 2"),
        ),
        (
            taught_by(&neuron, ""),
            "0",
            format!(
                "the network of run `{}` cannot teach this one: its data have 1 classes of inputs of shape [5], and \
                 dataset `mnist1d` has 10 of [40]",
                neuron.display()
            ),
        ),
        (
            taught_by(&teacher, ", temperature = 0, alpha = 1.5"),
            "0",
            "`train.loss.temperature` must be greater than 0".to_owned(),
        ),
        (
            taught_by(&teacher, ", points = 3"),
            "0",
            "unknown key `points` in `train.loss`".to_owned(),
        ),
    ] {
        let sets = ["name=student", loss.as_str()];
        let output = expect(&mut small("lrr.toml", &runs, &sets, &["--seeds", seeds]), 2);
        let text = said(&output);
        assert!(
            text.contains(&expected),
            "{expected} is missing in:\n{text}"
        );
        assert!(text.contains("train.loss"), "{text}");
    }
    let trained = fs::read_dir(&runs).unwrap().flatten();
    let mut names = trained.map(|it| it.file_name().to_string_lossy().into_owned());
    assert!(!names.any(|name| name.starts_with("student")));
    // Weights that are another network's, or damaged.
    let end = level(&teacher, 0, 0).join("end.safetensors");
    let bytes = fs::read(&end).unwrap();
    fs::write(&end, &bytes[..bytes.len() - 4]).unwrap();
    let sets = ["name=student", &taught_by(&teacher, "")];
    let text = said(&expect(
        &mut small("lrr.toml", &runs, &sets, &["--seeds", "0"]),
        2,
    ));
    assert!(text.contains("end.safetensors is damaged"), "{text}");
}

#[test]
fn a_sweep_trains_the_teacher_before_those_that_it_teaches() {
    let folder = tempfile::tempdir().unwrap();
    let base = shipped("lrr.toml");
    let text = format!(
        "base = {base:?}\nname = \"taught\"\nseeds = [0, 1]\n\
         [train]\nepochs = 2\n[prune]\nlevels = 1\n\
         [sweep.methods.student]\nmodel.hidden = [8]\n\
         train.loss = {{ name = \"distillation\", run = \"teacher\" }}\n\
         [sweep.methods.teacher]\nmodel.hidden = [32]\n"
    );
    let file = folder.path().join("taught.toml");
    fs::write(&file, text).unwrap();
    let runs = folder.path().join("runs");
    let host = |verb: &str, more: &[&str]| {
        let mut host = command();
        host.arg(verb)
            .arg(&file)
            .arg("--runs")
            .arg(&runs)
            .args(more);
        host
    };
    // Neither is there yet.
    let plan = said(&expect(&mut host("plan", &[]), 0));
    assert!(
        plan.contains("student") && plan.contains("of training to do"),
        "{plan}"
    );
    let cell = said(&expect(&mut host("plan", &["--cell", "student"]), 0));
    assert!(cell.contains("there is no run"), "{cell}");
    expect(&mut host("run", &["--jobs", "2", "--quiet"]), 0);
    let (student, teacher) = (
        only_run(&runs, "taught-student"),
        only_run(&runs, "taught-teacher"),
    );
    let kept = fs::read_to_string(student.join("experiment.toml")).unwrap();
    assert!(
        kept.contains(&format!("run = \"{}\"", teacher.display())),
        "{kept}"
    );
    let identity = |run: &Path| -> Value {
        serde_json::from_slice(&fs::read(run.join("identity.json")).unwrap()).unwrap()
    };
    assert_eq!(
        identity(&student)["canonical"]["train"]["loss"],
        json!({ "name": "distillation", "run": identity(&teacher)["identity"] })
    );
    expect(
        command()
            .arg("verify")
            .arg(runs.join("taught"))
            .args(["--threads", "1"]),
        0,
    );
}
