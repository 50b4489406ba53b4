//! Networks that start from given weights: a state_dict for any network, another output layer, patterns of names.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use attack::hold::Hold;
use end_to_end::program::{command, digests, expect, only_run, tensors};
use serde_json::Value;
use tch::{Kind, Tensor};

const SMALL: &str = r#"
name = "small"
seeds = [0, 1]
data = { name = "mnist1d" }
model = { name = "mlp", hidden = [40] }

[train]
epochs = 1
batch_size = 100
optimizer = { name = "sgd", lr = 0.1, momentum = 0.9 }

[prune]
levels = 2
rate = 0.5

[strategy]
score = "imp/magnitude"
mask = "imp/global"
rewind = "imp/weights"
"#;

/// A folder with an experiment whose tables have these lines in addition or instead.
struct Desk(tempfile::TempDir);

impl Desk {
    fn new() -> Self {
        let desk = Self(tempfile::tempdir().unwrap());
        desk.write("small", SMALL, &[]);
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str, changes: &[(&str, &str)]) {
        let mut text = text.replace("name = \"small\"", &format!("name = {name:?}"));
        for (old, new) in changes {
            assert!(text.contains(old), "{old}");
            text = text.replace(old, new);
        }
        fs::write(self.path(&format!("{name}.toml")), text).unwrap();
    }

    fn train(&self, name: &str) -> Command {
        let mut command = command();
        command.arg("run").arg(self.path(&format!("{name}.toml")));
        command.arg("--runs").arg(self.path("runs"));
        command.args(["--threads", "1"]);
        command
    }

    fn run(&self, name: &str) -> PathBuf {
        expect(&mut self.train(name), 0);
        only_run(&self.path("runs"), name)
    }

    /// What a plan of it is refused with.
    fn refused(&self, name: &str) -> String {
        let mut plan = command();
        plan.arg("plan").arg(self.path(&format!("{name}.toml")));
        said(&expect(&mut plan, 2))
    }

    fn export(&self, run: &Path, level: &str, format: &str, to: &str) -> PathBuf {
        let (mut export, to) = (command(), self.path(to));
        export.arg("export").arg(run).arg("-o").arg(&to);
        expect(export.args(["--level", level, "--format", format]), 0);
        to
    }
}

fn said(output: &std::process::Output) -> String {
    let both = [&output.stdout[..], &output.stderr].concat();
    // Long lines are broken where they fit a terminal.
    let text = String::from_utf8_lossy(&both).into_owned();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn level(run: &Path, seed: u64, level: u64, file: &str) -> BTreeMap<String, Tensor> {
    tensors(&run.join(format!("seed-{seed}/level-{level:02}/{file}.safetensors")))
}

fn summary(run: &Path, seed: u64, level: u64) -> Value {
    let path = run.join(format!("seed-{seed}/level-{level:02}/summary.json"));
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn shipped(name: &str) -> String {
    format!(
        "{}/../../experiments/networks/{name}.pt2",
        env!("CARGO_MANIFEST_DIR")
    )
}

const MODEL: &str = r#"model = { name = "mlp", hidden = [40] }"#;

#[test]
fn a_network_starts_where_an_earlier_run_ended_and_is_as_good() {
    let desk = Desk::new();
    let first = desk.run("small");
    desk.export(&first, "1", "safetensors", "trained.safetensors");
    // Nothing is learned: what level 0 comes to is what it starts with.
    let weights = r#"model = { name = "mlp", hidden = [40], weights = "trained.safetensors" }"#;
    let still = [(MODEL, weights), ("lr = 0.1", "lr = 0.0")];
    desk.write("again", SMALL, &still);
    let again = desk.run("again");
    let ended = level(&first, 0, 1, "end");
    for seed in [0, 1] {
        let start = level(&again, seed, 0, "start");
        assert_eq!(start.len(), ended.len());
        for (name, tensor) in &ended {
            assert!(start[name].equal(tensor), "seed {seed} {name}");
        }
    }
    // Without a batch norm evaluation would be the same to the bit; a new epoch gives new statistics.
    let plain = r#"hidden = [40], batch_norm = false"#;
    let without = [("hidden = [40]", plain)];
    desk.write("plain", SMALL, &without);
    let plain = desk.run("plain");
    desk.export(&plain, "2", "safetensors", "plain.safetensors");
    let weights = r#"hidden = [40], batch_norm = false, weights = "plain.safetensors""#;
    desk.write(
        "kept",
        SMALL,
        &[("hidden = [40]", weights), ("lr = 0.1", "lr = 0.0")],
    );
    let kept = desk.run("kept");
    let (before, after) = (summary(&plain, 0, 2), summary(&kept, 1, 0));
    for key in ["test_correct", "test_loss"] {
        assert_eq!(before[key], after[key], "{key}");
    }
    // Rewinding to init is rewinding to the given weights.
    let (given, rewound) = (level(&kept, 0, 0, "start"), level(&kept, 0, 2, "start"));
    let mask = level(&kept, 0, 2, "mask");
    for (name, tensor) in &given {
        let expected = match mask.get(name) {
            Some(mask) => tensor * mask.to_kind(Kind::Float) + 0.0,
            None => tensor.shallow_clone(),
        };
        assert!(rewound[name].equal(&expected), "{name}");
    }
    expect(command().arg("verify").arg(&kept), 0);
}

#[test]
fn a_run_is_killed_and_goes_on_to_the_same_bytes_without_the_file() {
    let (one, other) = (Desk::new(), Desk::new());
    let weights = r#"model = { name = "mlp", hidden = [40], weights = "trained.safetensors", replace_head = true }"#;
    let first = one.run("small");
    for desk in [&one, &other] {
        desk.export(&first, "0", "safetensors", "trained.safetensors");
        desk.write("again", SMALL, &[(MODEL, weights)]);
    }
    let whole = one.run("again");
    let mut killed = other.train("again");
    let mut hold = Hold::at_events(&mut killed);
    let mut child = killed.spawn().unwrap();
    let runs = other.path("runs");
    hold.until(&mut child, "level 1", |_| {
        let folders = fs::read_dir(&runs).into_iter().flatten().flatten();
        (folders.map(|it| it.path())).any(|it| it.join("seed-0/level-01/done.json").exists())
    });
    child.kill().unwrap();
    child.wait().unwrap();
    // What the run keeps is enough.
    fs::remove_file(other.path("trained.safetensors")).unwrap();
    let own = only_run(&runs, "again");
    let mut go_on = command();
    go_on.arg("run").arg(own.join("experiment.toml"));
    go_on.arg("--runs").arg(&runs);
    expect(go_on.args(["--threads", "1"]), 0);
    for seed in ["seed-0", "seed-1"] {
        assert_eq!(digests(&whole.join(seed)), digests(&own.join(seed)));
    }
    let copy = fs::read(own.join("weights.safetensors")).unwrap();
    assert_eq!(copy, fs::read(one.path("trained.safetensors")).unwrap());
    let verified = said(&expect(command().arg("verify").arg(&own), 0));
    assert!(
        verified.contains("nothing is wrong") && verified.contains("init"),
        "{verified}"
    );
    // The output layer is each seed's own, all else the file's.
    let given = tensors(&one.path("trained.safetensors"));
    let [a, b] = [0, 1].map(|seed| level(&whole, seed, 0, "start"));
    for (name, tensor) in &given {
        let is_head = name.starts_with("fc2.");
        assert_eq!(a[name].equal(tensor), !is_head, "{name}");
        assert_eq!(a[name].equal(&b[name]), !is_head, "{name}");
    }
    // Another file is another experiment.
    one.export(&first, "2", "safetensors", "trained.safetensors");
    let mut plan = command();
    plan.arg("plan").arg(one.path("again.toml"));
    plan.arg("--runs")
        .arg(one.path("runs"))
        .args(["--json", "--no-estimate"]);
    let plan: Value = serde_json::from_slice(&expect(&mut plan, 0).stdout).unwrap();
    assert_eq!(plan["started"], false);
}

#[test]
fn weights_of_another_network_are_refused_with_all_that_does_not_fit() {
    let desk = Desk::new();
    let first = desk.run("small");
    desk.export(&first, "0", "safetensors", "trained.safetensors");
    let with = |name: &str, options: &str| {
        let model =
            format!("model = {{ name = \"mlp\", weights = \"trained.safetensors\", {options} }}");
        desk.write(name, SMALL, &[(MODEL, &model)]);
    };
    with("wider", "hidden = [40, 50]");
    let refused = desk.refused("wider");
    for told in [
        "wider.toml:5",
        "it lacks `bn2.weight`, `bn2.bias`, `fc3.weight`",
        "`fc2.weight` [10, 40], expected [50, 40]",
        "`fc2.bias` [10], expected [50]",
        "model.weights_strict = false",
    ] {
        assert!(refused.contains(told), "{told}: {refused}");
    }
    with("loose", "hidden = [40, 50], weights_strict = false");
    let loose = expect(&mut desk.train("loose"), 0);
    let told = said(&loose);
    assert!(told.contains("it lacks `bn2.weight`"), "{told}");
    let loose = only_run(&desk.path("runs"), "loose");
    let (given, start) = (level(&first, 0, 0, "end"), level(&loose, 0, 0, "start"));
    assert!(start["fc1.weight"].equal(&given["fc1.weight"]));
    assert_eq!(start["fc2.weight"].size(), [50, 40]);
    // What is said of no file, or of another one.
    with(
        "digest",
        &format!("weights_blake3 = \"{}\"", "0".repeat(64)),
    );
    assert!(
        desk.refused("digest")
            .contains("is another file: its BLAKE3 is")
    );
    desk.write(
        "lonely",
        SMALL,
        &[(MODEL, r#"model = { name = "mlp", replace_head = true }"#)],
    );
    assert!(
        desk.refused("lonely")
            .contains("`model.weights` names none")
    );
    let none = r#"model = { name = "mlp", weights = "none.safetensors" }"#;
    desk.write("none", SMALL, &[(MODEL, none)]);
    assert!(desk.refused("none").contains("none.safetensors"));
    fs::write(desk.path("none.safetensors"), b"PK\x03\x04").unwrap();
    assert!(desk.refused("none").contains("torch.save"));
}

#[test]
fn an_archive_with_a_new_output_layer_is_trained_given_back_and_goes_on() {
    let desk = Desk::new();
    let archive = fs::read(shipped("mlp")).unwrap();
    fs::write(desk.path("net.pt2"), archive).unwrap();
    let model = r#"model = { name = "pt2", file = "net.pt2", replace_head = true }"#;
    desk.write("anew", SMALL, &[(MODEL, model)]);
    let run = desk.run("anew");
    let [a, b] = [0, 1].map(|seed| level(&run, seed, 0, "start"));
    for (name, tensor) in &a {
        assert_eq!(tensor.equal(&b[name]), !name.starts_with("6."), "{name}");
    }
    // Given back as an archive, it starts another run where this one ended.
    let given_back = desk.export(&run, "1", "pt2", "back.pt2");
    let model = r#"model = { name = "pt2", file = "back.pt2" }"#;
    desk.write("back", SMALL, &[(MODEL, model), ("lr = 0.1", "lr = 0.0")]);
    let back = desk.run("back");
    let (ended, start) = (level(&run, 0, 1, "end"), level(&back, 1, 0, "start"));
    assert_eq!(ended.len(), start.len());
    for (name, tensor) in &ended {
        assert!(start[name].equal(tensor), "{name}");
    }
    assert_eq!(
        fs::metadata(given_back).unwrap().len(),
        fs::metadata(shipped("mlp")).unwrap().len()
    );
    // A state_dict and an archive's head together.
    desk.export(&run, "1", "safetensors", "state.safetensors");
    let model = r#"model = { name = "pt2", file = "net.pt2", weights = "state.safetensors", replace_head = ["6"] }"#;
    desk.write("both", SMALL, &[(MODEL, model)]);
    let both = desk.run("both");
    let start = level(&both, 1, 0, "start");
    for (name, tensor) in &ended {
        assert_eq!(start[name].equal(tensor), !name.starts_with("6."), "{name}");
    }
}

#[test]
fn a_network_of_the_programs_own_has_no_archive_to_give_back() {
    let desk = Desk::new();
    let run = desk.run("small");
    let mut export = command();
    export.arg("export").arg(&run).args(["--format", "pt2"]);
    let refused = said(&expect(&mut export, 2));
    assert!(
        refused.contains("model `mlp` is the program's own"),
        "{refused}"
    );
}

const VIT: &str = r#"model = { name = "pt2", file = "VIT" }"#;

/// The prunable layers of a plan.
fn layers(desk: &Desk, name: &str) -> Vec<String> {
    let mut plan = command();
    plan.arg("plan").arg(desk.path(&format!("{name}.toml")));
    let plan = expect(plan.args(["--json", "--no-estimate"]), 0);
    let plan: Value = serde_json::from_slice(&plan.stdout).unwrap();
    let layers = plan["layers"].as_array().unwrap().iter();
    layers
        .map(|it| it["name"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn patterns_choose_what_is_pruned_of_a_transformer() {
    let desk = Desk::new();
    let vit = VIT.replace("VIT", &shipped("vit"));
    let data = [
        (r#"name = "mnist1d""#, r#"name = "fashion-mnist""#),
        (MODEL, vit.as_str()),
    ];
    let with = |name: &str, lines: &str| {
        let prune = format!("levels = 2\n{lines}");
        desk.write(
            name,
            SMALL,
            &[&data[..], &[("levels = 2", prune.as_str())]].concat(),
        );
    };
    with("plain", "");
    let plain = layers(&desk, "plain");
    assert!(plain.contains(&"patches.weight".to_owned()));
    with("less", r#"exclude = ["blocks.*.mlp.*", "patches.weight"]"#);
    let less = layers(&desk, "less");
    let expected = plain
        .iter()
        .filter(|it| !it.contains(".mlp.") && *it != "patches.weight");
    assert_eq!(less, expected.cloned().collect::<Vec<_>>());
    with(
        "more",
        r#"include = ["positions", "*.norm?.weight"]
exclude = ["blocks.1.*"]"#,
    );
    let more = layers(&desk, "more");
    for (name, is_there) in [
        ("positions", true),
        ("class_token", false),
        ("blocks.0.norm1.weight", true),
        ("blocks.1.norm1.weight", false),
        ("blocks.1.mlp.0.weight", false),
        ("blocks.0.mlp.0.weight", true),
        ("norm.weight", false),
    ] {
        assert_eq!(
            more.contains(&name.to_owned()),
            is_there,
            "{name}: {more:?}"
        );
    }
    with("typo", r#"exclude = ["block.*.mlp.*"]"#);
    let refused = desk.refused("typo");
    assert!(
        refused.contains("typo.toml:14") && refused.contains("`block.*.mlp.*`"),
        "{refused}"
    );
    assert!(refused.contains("blocks.0.mlp.0.weight"), "{refused}");
    with("typo", r#"include = ["position"]"#);
    let refused = desk.refused("typo");
    assert!(
        refused.contains("no parameter is called `position`"),
        "{refused}"
    );
}

#[test]
fn what_is_included_is_pruned_to_exact_counts_and_zeros_and_goes_on_to_the_same_bytes() {
    let desk = Desk::new();
    let prune = "levels = 2\ninclude = [\"fc1.bias\", \"bn*\"]\nexclude = [\"bn1.bias\"]";
    desk.write("more", SMALL, &[("levels = 2", prune)]);
    let run = desk.run("more");
    let mask = level(&run, 0, 2, "mask");
    let names: Vec<&str> = mask.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        ["bn1.weight", "fc1.bias", "fc1.weight", "fc2.weight"]
    );
    let count = |kept: bool| -> i64 {
        let own = mask.values().map(|it| match kept {
            true => it.to_kind(Kind::Int64).sum(Kind::Int64).int64_value(&[]),
            false => it.numel() as i64,
        });
        own.sum()
    };
    assert_eq!(count(false), 40 + 40 + 1600 + 400);
    assert_eq!(count(true), 2080 / 4);
    let (end, state) = (level(&run, 0, 2, "end"), level(&run, 0, 2, "optimizer"));
    for (name, mask) in &mask {
        let pruned = mask.eq(0);
        for (what, tensor) in [
            ("end", &end[name]),
            ("momentum", &state[&format!("momentum.{name}")]),
        ] {
            let bits = tensor.masked_select(&pruned).view_dtype(Kind::Int);
            assert_eq!(
                bits.count_nonzero(None).int64_value(&[]),
                0,
                "{what} {name}"
            );
        }
    }
    let verified = said(&expect(command().arg("verify").arg(&run), 0));
    assert!(verified.contains("nothing is wrong"), "{verified}");
    // The dense level is not that of the experiment without them: its masks list more.
    desk.run("small");
    let dense = fs::read_dir(desk.path("runs")).unwrap().flatten();
    let dense = dense.filter(|it| it.file_name().to_string_lossy().starts_with("dense-"));
    assert_eq!(dense.count(), 2);
    // Rows of sparse weights, and of what is one row.
    desk.export(&run, "2", "csr", "level.csr.safetensors");
    desk.export(&run, "2", "onnx", "level.onnx");
}

#[test]
fn a_network_is_shown_with_what_is_pruned_multiplied_and_not_understood() {
    let show = |arguments: &[&str]| {
        let mut show = command();
        expect(show.args(["model", "show"]).args(arguments), 0).stdout
    };
    let json = |arguments: &[&str]| -> Value {
        serde_json::from_slice(&show(&[arguments, &["--json"]].concat())).unwrap()
    };
    let vit = json(&[&shipped("vit")]);
    assert_eq!(
        (&vit["onnx"], &vit["outputs"]),
        (&Value::from(false), &Value::from(10))
    );
    assert!(
        vit["not_understood"]["aten.layer_norm"].as_u64() > Some(1),
        "{vit}"
    );
    let tensors = vit["tensors"].as_array().unwrap();
    let of = |name: &str| tensors.iter().find(|it| it["name"] == name).unwrap();
    assert_eq!(of("patches.weight")["role"], "conv2d");
    assert_eq!(of("patches.weight")["multiply_adds"], 16 * 49 * 32);
    assert_eq!(of("positions")["prunable"], false);
    let all: u64 = tensors
        .iter()
        .map(|it| it["multiply_adds"].as_u64().unwrap())
        .sum();
    let rest = vit["multiply_adds_without_parameters"].as_u64().unwrap();
    assert_eq!(vit["multiply_adds"], all + rest);
    let text = String::from_utf8(show(&[&shipped("vit")])).unwrap();
    assert!(
        text.contains("cannot be exported here") && text.contains("aten.layer_norm ("),
        "{text}"
    );

    let desk = Desk::new();
    desk.write(
        "small",
        SMALL,
        &[("rate = 0.5", "rate = 0.5\ninclude = [\"fc1.bias\"]")],
    );
    let file = desk.path("small.toml");
    let file = file.to_str().unwrap();
    let small = json(&[file, "--set", "model.hidden=[30]"]);
    assert_eq!(small["multiply_adds"], 40 * 30 + 30 * 10);
    assert_eq!(small["prunable"], 40 * 30 + 30 * 10 + 30);
    assert_eq!(
        (&small["onnx"], &small["layers"]),
        (&Value::from(true), &Value::from(3))
    );
    let start = small["tensors"][0]["start"].as_str().unwrap();
    assert_eq!(start, "uniform on ±0.1581");
    let text = String::from_utf8(show(&[file])).unwrap();
    assert!(
        text.contains("can be exported") && !text.contains("unknown"),
        "{text}"
    );
    let mut sweep = command();
    let methods = format!(
        "{}/../../experiments/mnist1d/methods.toml",
        env!("CARGO_MANIFEST_DIR")
    );
    let refused = said(&expect(sweep.args(["model", "show", &methods]), 2));
    assert!(refused.contains("is a sweep or a simulation"), "{refused}");
}
