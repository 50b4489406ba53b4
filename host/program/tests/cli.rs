//! The command line, by running the program that was built, with the plugins beside it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

/// A folder to run in, with no dataset but the embedded one.
struct Desk {
    folder: TempDir,
}

/// What a command came to.
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Desk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { folder }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_host"));
        command
            .args(args)
            .current_dir(self.folder.path())
            .env("HOST_DATA_DIR", self.folder.path().join("data"))
            .env("REWIND_CONFIG", self.folder.path().join("config.toml"))
            .env_remove("HOST_PLUGIN_PATH")
            .env_remove("RUST_LOG");
        command
    }

    fn host(&self, args: &[&str]) -> Said {
        self.command(args).output().unwrap().into()
    }

    /// The one JSON object that a command writes.
    fn json(&self, args: &[&str]) -> Value {
        let said = self.host(&[args, &["--json"]].concat());
        assert_eq!(said.code, Some(0), "{}", said.err);
        assert_eq!(said.out.lines().count(), 1);
        serde_json::from_str(&said.out).unwrap()
    }
}

fn experiments() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../experiments")
}

fn experiment(name: &str) -> String {
    let path = experiments().join(name);
    path.to_str().unwrap().to_owned()
}

#[test]
fn the_help_lists_commands_and_exit_codes_and_a_usage_error_exits_with_2() {
    let desk = Desk::new();
    let help = desk.host(&["--help"]);
    assert_eq!(help.code, Some(0));
    for text in [
        "run",
        "plan",
        "show",
        "overlap",
        "barrier",
        "tensorboard",
        "export",
        "bench-export",
        "plugin",
        "data",
        "completions",
        "man",
    ] {
        assert!(help.out.contains(&format!("\n  {text} ")), "{text}");
    }
    for code in [
        "0  done",
        "2  wrong input",
        "3  a plugin",
        "4  interrupted",
        "5  failed",
    ] {
        assert!(help.out.contains(code), "{code}");
    }
    assert!(!help.out.contains("probe"));
    for args in [
        &["plan"][..],
        &["fly"],
        &[],
        &["plan", "a.toml", "--seeds", "x"],
    ] {
        let said = desk.host(args);
        assert_eq!(said.code, Some(2), "{args:?}");
        assert!(said.out.is_empty());
    }
}

#[cfg(unix)]
#[test]
fn the_program_speaks_of_itself_by_the_name_it_was_called_by() {
    let desk = Desk::new();
    let link = desk.folder.path().join("rewind");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_host"), &link).unwrap();
    let said = |args: &[&str]| -> Said { Command::new(&link).args(args).output().unwrap().into() };
    let help = said(&["--help"]).out;
    assert!(help.contains("Usage: rewind [OPTIONS]") && help.contains("rewind plan"));
    assert!(!help.contains("host"));
    assert!(said(&["plan"]).err.contains("Usage: rewind plan"));
    assert!(said(&["--version"]).out.starts_with("rewind "));
    assert!(
        said(&["completions", "bash"])
            .out
            .contains("complete -F _rewind")
    );
    assert!(said(&["man"]).out.contains(".TH rewind"));
    assert!(
        said(&["data", "list"])
            .out
            .contains("`rewind data fetch cifar10`")
    );
    assert!(said(&["plugin", "list"]).out.contains("imp"));
}

/// round(0.8^l * 22784), computed with exact rationals.
const KEEP: [u64; 15] = [
    22784, 18227, 14582, 11665, 9332, 7466, 5973, 4778, 3823, 3058, 2446, 1957, 1566, 1253, 1002,
];

#[test]
fn a_plan_counts_weights_steps_and_files_to_the_one() {
    let desk = Desk::new();
    let plan = desk.json(&["plan", &experiment("lrr.toml"), "--no-estimate"]);
    let keep: Vec<u64> = (plan["levels"].as_array().unwrap().iter())
        .map(|level| level["keep"].as_u64().unwrap())
        .collect();
    assert_eq!(keep, KEEP);
    assert_eq!(plan["prunable"], 40 * 128 + 128 * 128 + 128 * 10);
    // Weights, a bias for each output, scale and shift for each batch norm.
    assert_eq!(plan["parameters"], parameters(&plan));
    assert_eq!(plan["steps_per_epoch"], 32); // ceil(4000 / 128)
    assert_eq!(plan["steps_per_seed"], 32 * 20 * 15);
    assert_eq!(plan["started"], false);
    assert!(plan["levels"][1]["keep_per_layer"].is_null());
    assert!(!desk.folder.path().join("runs").exists());
    let text = desk
        .host(&["plan", &experiment("lrr.toml"), "--no-estimate"])
        .out;
    assert!(text.contains("2,446 of 22,784"), "{text}");
}

/// Of the batch-norm MLP: no bias before a batch norm.
fn parameters(plan: &Value) -> u64 {
    plan["prunable"].as_u64().unwrap() + 2 * (128 + 128) + (128 + 128 + 10)
}

#[test]
fn a_plan_counts_each_layer_where_the_distribution_is_fixed() {
    let desk = Desk::new();
    let file = experiment("random-mask.toml");
    for distribution in ["erk", "uniform", "balanced"] {
        let set = format!("strategy.mask.distribution={distribution}");
        let plan = desk.json(&["plan", &file, "--no-estimate", "--set", &set]);
        let mut before = vec![5120, 16384, 1280];
        for (level, keep) in plan["levels"].as_array().unwrap().iter().zip(KEEP) {
            let counts = level["keep_per_layer"].as_array().unwrap();
            let counts: Vec<u64> = counts.iter().map(|it| it.as_u64().unwrap()).collect();
            assert_eq!(counts.iter().sum::<u64>(), keep);
            assert!(
                counts
                    .iter()
                    .zip(&before)
                    .all(|(now, before)| now <= before)
            );
            before = counts;
        }
        let one = plan["levels"][1]["keep_per_layer"].clone();
        let expected = match distribution {
            "erk" => [5120, 11827, 1280],
            "uniform" => [4096, 13107, 1024],
            _ => [5120, 11827, 1280],
        };
        assert_eq!(one, serde_json::json!(expected), "{distribution}");
    }
}

#[test]
fn an_experiment_without_its_data_is_planned_with_the_command_that_gets_them() {
    let desk = Desk::new();
    let said = desk.host(&[
        "plan",
        &experiment("paper/cifar10-resnet20-lrr.toml"),
        "--no-estimate",
    ]);
    assert!(said.err.contains("dataset 'cifar10' lacks"), "{}", said.err);
    assert!(
        said.err.contains("`host data fetch cifar10`"),
        "{}",
        said.err
    );
    assert!(
        said.out.contains("270,896 of them prunable"),
        "{}",
        said.out
    );
    assert!(
        said.out.contains("50,000 + 10,000 samples of 3x32x32"),
        "{}",
        said.out
    );
    let run = desk.host(&["run", &experiment("paper/cifar10-resnet20-lrr.toml")]);
    assert_eq!(run.code, Some(2));
    assert!(run.err.contains("`host data fetch cifar10`"), "{}", run.err);
}

#[test]
fn all_mistakes_of_a_file_are_shown_together_with_their_lines() {
    let desk = Desk::new();
    let text = fs::read_to_string(experiment("imp.toml")).unwrap();
    let text = text
        .replace("\"mnist1d\"", "\"minst1d\"")
        .replace("\"mlp\"", "\"mpl\"")
        .replace("\"imp/magnitude\"", "\"inp/magnitude\"")
        .replace("\"imp/global\"", "\"imp/globl\"")
        .replace("to = \"init\"", "too = \"init\"");
    let file = desk.folder.path().join("wrong.toml");
    fs::write(&file, &text).unwrap();
    for command in ["plan", "run"] {
        let said = desk.host(&[command, "wrong.toml"]);
        assert_eq!(said.code, Some(2), "{}", said.err);
        for (mistake, nearest) in [
            ("minst1d", "`mnist1d`"),
            ("mpl\"", "`mlp`"),
            ("inp/magnitude", "`imp`"),
            ("imp/globl", "`imp/global`"),
            ("too = ", "`to`"),
        ] {
            let line = text
                .lines()
                .position(|line| line.contains(mistake))
                .unwrap()
                + 1;
            assert!(
                said.err.contains(&format!("wrong.toml:{line}:")),
                "{line}: {}",
                said.err
            );
            assert!(
                said.err.contains(&format!("did you mean {nearest}?")),
                "{nearest}: {}",
                said.err
            );
        }
        assert!(said.err.contains('^'));
    }
    let said = desk.host(&["plan", "wrong.toml", "--json"]);
    let errors: Value = serde_json::from_str(&said.err).unwrap();
    assert_eq!(errors["exit"], 2);
    assert!(errors["errors"].as_array().unwrap().len() >= 5);
    let said = desk.host(&["plan", "absent.toml"]);
    assert_eq!(said.code, Some(2));
    assert!(said.err.contains("absent.toml"), "{}", said.err);
}

#[test]
fn what_a_component_refuses_itself_is_shown_at_its_line() {
    let desk = Desk::new();
    let set = r#"strategy.rewind={ use = "imp/weights", to = "init", schedule_from_point = true }"#;
    let said = desk.host(&["plan", &experiment("imp.toml"), "--set", set]);
    assert_eq!(said.code, Some(2), "{}", said.err);
    assert!(said.err.contains("refuses its options"), "{}", said.err);
    assert!(
        said.err
            .contains("schedule_from_point wants a time of level 0"),
        "{}",
        said.err
    );
}

#[test]
fn plugins_are_listed_and_shown() {
    let desk = Desk::new();
    let list = desk.host(&["plugin", "list"]);
    assert_eq!(list.code, Some(0), "{}", list.err);
    for name in ["imp", "lrr", "random-mask", "sign-perturbation"] {
        assert!(list.out.contains(name), "{name}: {}", list.out);
    }
    assert!(list.out.contains("HOST_PLUGIN_PATH"));
    let shown = desk.host(&["plugin", "show", "imp"]);
    for text in [
        "imp/magnitude",
        "|w|",
        "schedule_from_point",
        "boolean",
        "false",
        "BLAKE3",
        "rustc",
    ] {
        assert!(shown.out.contains(text), "{text}: {}", shown.out);
    }
    let one = desk.host(&["plugin", "show", "sign-perturbation/flip"]).out;
    assert!(
        one.contains("number >= 0.0 and <= 1.0") && one.contains("0.2"),
        "{one}"
    );
    let json = desk.json(&["plugin", "show", "random-mask"]);
    assert_eq!(json["manifest"]["components"].as_array().unwrap().len(), 2);
    let path = json["path"].as_str().unwrap();
    let digest = blake3::hash(&fs::read(path).unwrap()).to_hex().to_string();
    assert_eq!(json["blake3"], digest);
    assert_eq!(desk.json(&["plugin", "show", path])["blake3"], digest);
    let said = desk.host(&["plugin", "show", "inp"]);
    assert_eq!(said.code, Some(2));
    assert!(said.err.contains("imp, lrr"), "{}", said.err);
    let said = desk.host(&["plugin", "show", "imp/local"]);
    assert_eq!(said.code, Some(2));
    assert!(said.err.contains("mask global"), "{}", said.err);
}

#[test]
fn a_file_that_is_no_plugin_fails_the_probe_with_3_and_a_reason_on_the_last_line() {
    let desk = Desk::new();
    let file = desk.folder.path().join("libmine.so");
    fs::write(&file, "no library").unwrap();
    let said = desk.host(&["plugin", "probe", file.to_str().unwrap()]);
    assert_eq!(said.code, Some(3));
    let last = said.err.lines().last().unwrap();
    assert!(
        last.starts_with("error: is not a dynamic library"),
        "{last}"
    );
    let good = desk.json(&["plugin", "show", "imp"])["path"].clone();
    assert_eq!(
        desk.host(&["plugin", "probe", good.as_str().unwrap()]).code,
        Some(0)
    );
}

#[test]
fn datasets_are_listed_and_an_unknown_one_is_refused() {
    let desk = Desk::new();
    let list = desk.host(&["data", "list"]);
    assert_eq!(list.code, Some(0));
    assert!(list.out.contains("embedded") && list.out.contains("`host data fetch cifar10`"));
    let lines = desk.host(&["data", "list", "--json"]).out;
    for line in lines.lines() {
        let item: Value = serde_json::from_str(line).unwrap();
        assert!(
            ["embedded", "found", "missing"]
                .iter()
                .any(|it| item["status"] == *it)
        );
    }
    assert_eq!(desk.host(&["data", "fetch", "mnist1d"]).code, Some(0));
    let said = desk.host(&["data", "fetch", "mnist2d"]);
    assert_eq!(said.code, Some(2));
    assert!(said.err.contains("mnist1d"), "{}", said.err);
}

const SHORT: [&str; 6] = [
    "--set",
    "train.epochs=1",
    "--set",
    "prune.levels=2",
    "--seeds",
    "0,1",
];

#[test]
fn a_run_is_planned_run_and_shown() {
    let desk = Desk::new();
    let file = experiment("lrr.toml");
    let plan = desk.json(&[&["plan", &file], &SHORT[..]].concat());
    assert!(plan["estimate"]["seconds"].as_f64().unwrap() > 0.0);
    let quiet = desk.host(&[&["run", &file, "--quiet"], &SHORT[..]].concat());
    assert_eq!(quiet.code, Some(0), "{}", quiet.err);
    assert_eq!(quiet.err, "");
    assert_eq!(quiet.out.lines().count(), 4, "{}", quiet.out); // A header and three levels.

    let run = plan["run"].as_str().unwrap();
    let folder = desk.folder.path().join(run);
    let length = |path: &Path| -> u64 {
        fs::read_dir(path)
            .unwrap()
            .map(|it| it.unwrap().metadata().unwrap().len())
            .sum()
    };
    let levels = [0, 1]
        .iter()
        .flat_map(|seed| (0..3).map(move |level| (seed, level)));
    let bytes: u64 = levels
        .map(|(seed, level)| length(&folder.join(format!("seed-{seed}/level-0{level}"))))
        .sum();
    let planned = plan["bytes"].as_u64().unwrap();
    assert!(
        planned.abs_diff(bytes) < bytes / 50,
        "planned {planned}, written {bytes}"
    );

    let again = desk.json(&[&["plan", &file], &SHORT[..]].concat());
    assert_eq!(again["started"], true);
    assert_eq!(again["seeds"][1]["levels_done"], 3);
    assert!(again["estimate"].is_null());
    let more = desk.host(&[
        "plan",
        &file,
        "--no-estimate",
        "--set",
        "train.epochs=1",
        "--set",
        "prune.levels=3",
    ]);
    assert!(
        more.out.contains("the dense level is shared"),
        "{}",
        more.out
    );

    let name = Path::new(run).file_name().unwrap().to_str().unwrap();
    for asked in [run, name] {
        let shown = desk.host(&["show", asked]);
        assert_eq!(shown.code, Some(0), "{}", shown.err);
        assert_eq!(shown.out, quiet.out);
    }
    let json = desk.json(&["show", run]);
    assert_eq!(json["summaries"].as_array().unwrap().len(), 6);

    fs::remove_dir_all(folder.join("seed-1/level-02")).unwrap();
    let failure = r#"{ "seed": 0, "level": 2, "reason": "the loss is no finite number" }"#;
    fs::write(folder.join("seed-0/failed.json"), failure).unwrap();
    let shown = desk.host(&["show", run]).out;
    assert!(
        shown.contains("seed 1 is not finished: 2 of 3 levels done"),
        "{shown}"
    );
    assert!(
        shown.contains("seed 0 was given up at level 2: the loss is no"),
        "{shown}"
    );
}

#[test]
fn a_level_is_exported_in_every_format_and_timed() {
    let desk = Desk::new();
    let file = experiment("lrr.toml");
    let short = [
        "--set",
        "train.epochs=1",
        "--set",
        "prune.levels=2",
        "--seeds",
        "3,4",
    ];
    let ran = desk.host(&[&["run", &file, "--threads", "1"], &short[..]].concat());
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let run = ran.out.lines().last().unwrap();
    let name = Path::new(run).file_name().unwrap().to_str().unwrap();
    for (format, ending) in [
        ("safetensors", "safetensors"),
        ("csr", "csr.safetensors"),
        ("onnx", "onnx"),
        ("rewind", "rewind.safetensors"),
    ] {
        let export = ["export", name, "--format", format, "--compact"];
        let told = desk.json(&export);
        let expected = format!("{name}-seed-3-level-02.{ending}");
        assert_eq!(told["file"], expected);
        let path = desk.folder.path().join(&expected);
        let bytes = fs::read(&path).unwrap();
        assert_eq!(told["bytes"], bytes.len());
        assert_eq!((&told["seed"], &told["level"]), (&3.into(), &2.into()));
        // The same again, and elsewhere.
        let again = [
            &export[..],
            &["-o", "deeper/model", "--seed", "3", "--level", "2"],
        ]
        .concat();
        let said = desk.host(&again);
        assert_eq!(said.code, Some(0), "{}", said.err);
        assert!(
            said.out
                .starts_with("deeper/model: level 2 of seed 3, 14582 of 22784 weights, ")
        );
        assert_eq!(
            fs::read(desk.folder.path().join("deeper/model")).unwrap(),
            bytes
        );
    }
    let file = format!("{name}-seed-3-level-02.rewind.safetensors");
    let said = desk.host(&["infer", &file, "--batch", "2", "--show"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    let logits: Vec<&str> = said.out.lines().take(2).collect();
    assert_eq!(logits[0], logits[1]);
    assert_eq!(logits[0].split(' ').count(), 10);
    assert!(said.out.contains("\nfolded: true\n"), "{}", said.out);
    let said = desk.host(&["infer", &file, "--kernels", "mmx"]);
    assert_eq!(said.code, Some(2));
    assert!(
        said.err.contains("kernels `mmx` are not of this processor"),
        "{}",
        said.err
    );
    let inside = format!("{run}/seed-3/level-02/new/end.safetensors");
    for (args, code, text) in [
        (
            &["--format", "onnx", "--normalise"][..],
            2,
            "`mnist1d` are no pixels",
        ),
        (
            &["--format", "csr", "--fold"],
            2,
            "--fold changes what is computed",
        ),
        (
            &["--format", "onnx", "-o", &inside],
            2,
            "name a file elsewhere with -o",
        ),
        (
            &["--format", "onnx", "-o", "deeper"],
            2,
            "deeper is a folder",
        ),
        (
            &["--format", "onnx", "--level", "3"],
            2,
            "no seed has level 3 finished",
        ),
        (
            &["--format", "onnx", "--seed", "9"],
            2,
            "is not a finished level",
        ),
        (
            &["--format", "csr", "--compact", "--multiple", "8"],
            2,
            "--multiple keeps units that are zero",
        ),
        (
            &["--format", "onnx", "--compact", "--multiple", "4000"],
            2,
            "the widest has 128",
        ),
        (
            &["--format", "onnx", "--compact", "--multiple", "0"],
            2,
            "0 is not in 1..=4096",
        ),
        (&["--format", "onnx", "--multiple", "8"], 2, "--compact"),
        (&[], 2, "--format"),
    ] {
        let said = desk.host(&[&["export", name], args].concat());
        assert_eq!(said.code, Some(code), "{args:?}");
        assert!(said.err.contains(text), "{}", said.err);
    }
    let filled = desk.json(&[
        "export",
        name,
        "--format",
        "onnx",
        "--compact",
        "--multiple",
        "16",
    ]);
    let layers = filled["compact"].as_array().unwrap();
    let kept = |it: &Value| it["kept"].as_u64().unwrap();
    assert!(
        layers
            .iter()
            .all(|it| kept(it) % 16 == 0 || it["kept"] == it["units"]),
        "{filled}"
    );
    let timed = desk.json(&[
        "bench-export",
        name,
        "--seconds",
        "0.01",
        "--threads",
        "1",
        "--batch",
        "1,8",
        "--python",
        "/no/python",
    ]);
    let rows = timed["latencies"].as_array().unwrap();
    assert_eq!(rows.len(), 14);
    for row in rows.iter().filter(|row| row["unavailable"].is_null()) {
        assert!(row["difference"].as_f64().unwrap() < 1e-5, "{row}");
        assert_eq!(row["accuracy"], timed["recorded_accuracy"], "{row}");
        let quartile = |i: usize| row["quartiles_ms"][i].as_f64().unwrap();
        assert!(0.0 < quartile(0) && quartile(0) <= quartile(1) && quartile(1) <= quartile(2));
    }
    let absent = rows.iter().filter(|row| !row["unavailable"].is_null());
    let absent: Vec<&Value> = absent.filter(|row| row["variant"] != "csr").collect();
    assert_eq!(absent.len(), 6);
    for row in absent {
        let reason = row["unavailable"].as_str().unwrap();
        assert!(
            reason.starts_with("`/no/python` cannot be started"),
            "{row}"
        );
        assert!(
            row["accuracy"].is_null() && row["quartiles_ms"].is_null(),
            "{row}"
        );
    }
    let plain = [
        "bench-export",
        name,
        "--seconds",
        "0.01",
        "--threads",
        "1",
        "--no-data",
    ];
    let table = desk.host(&plain).out;
    for text in [
        "sparse rows",
        "Batch 128, ",
        "Without accuracies: --no-data.",
    ] {
        assert!(table.contains(text), "{table}");
    }
    let end = format!("{run}/seed-3/level-02/end.safetensors");
    let end = desk.folder.path().join(end);
    let mut damaged = fs::read(&end).unwrap();
    *damaged.last_mut().unwrap() ^= 1;
    fs::remove_file(&end).unwrap();
    fs::write(&end, damaged).unwrap();
    let said = desk.host(&["export", name, "--format", "onnx", "--seed", "3"]);
    assert_eq!(said.code, Some(5));
    assert!(
        said.err
            .contains("end.safetensors is damaged: its BLAKE3 digest"),
        "{}",
        said.err
    );
}

#[test]
fn what_is_no_run_is_not_shown() {
    let desk = Desk::new();
    fs::create_dir(desk.folder.path().join("empty")).unwrap();
    for (asked, text) in [
        ("empty", "empty is no run"),
        ("absent", "there is no run absent"),
    ] {
        let said = desk.host(&["show", asked]);
        assert_eq!(said.code, Some(2));
        assert!(said.err.contains(text), "{}", said.err);
    }
}

#[test]
fn completions_and_the_manual_cover_every_command() {
    let desk = Desk::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let said = desk.host(&["completions", shell]);
        assert_eq!(said.code, Some(0));
        assert!(said.out.contains("no-estimate"), "{shell}");
    }
    let page = desk.host(&["man"]).out;
    for text in [
        ".TH host",
        "HOST PLUGIN SHOW",
        "HOST DATA FETCH",
        "EXIT STATUS",
        "checkpoint",
    ] {
        assert!(page.contains(text), "{text}");
    }
}

#[cfg(unix)]
#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let desk = Desk::new();
    for args in [
        &["man"][..],
        &["plan", &experiment("lrr.toml"), "--no-estimate"],
        &["--help"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let said: Said = desk.command(args).stdout(writer).output().unwrap().into();
        assert_eq!(said.code, Some(0), "{args:?}: {}", said.err);
        assert_eq!(said.err, "");
    }
}
