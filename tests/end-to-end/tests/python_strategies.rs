//! Strategies in Python: the same bytes as in Rust, the same errors, and what a file does to its process costs a run
//! nothing. Left out where no Python with NumPy is found.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use attack::patience::PATIENCE;
use end_to_end::program::{self, command, digests, expect, only_run, typed, wait_until};
use serde_json::Value;

use crate::python::python;

/// A folder with a file of Python, an experiment that names it, and its runs.
struct Desk {
    folder: tempfile::TempDir,
    python: String,
}

/// As long as it takes, and no longer: a level of a perceptron in a moment.
const EXPERIMENT: &str = r#"name = "NAME"
seeds = [0]
data = { name = "mnist1d" }
model = { name = "mlp", hidden = [16] }
train = { epochs = 1, batch_size = 500, optimizer = { name = "sgd", lr = 0.1 } }
prune = { levels = 2, rate = 0.5 }

[strategy]
score = SCORE
mask = MASK
rewind = REWIND
"#;

impl Desk {
    /// None where there is no Python to run it, which is said.
    fn new() -> Option<Self> {
        match python() {
            Ok(python) => Some(Self {
                folder: tempfile::tempdir().unwrap(),
                python,
            }),
            Err(reason) => {
                program::leave_out(&format!(
                    "a test of strategies in Python is left out: {reason}; `PYTHON=...` names one"
                ));
                None
            }
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// Writes an experiment of this name with these parts.
    fn experiment(&self, name: &str, score: &str, mask: &str, rewind: &str) -> PathBuf {
        let text = EXPERIMENT
            .replace("NAME", name)
            .replace("SCORE", score)
            .replace("MASK", mask)
            .replace("REWIND", rewind);
        self.write(&format!("{name}.toml"), &text)
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = command();
        command
            .args(words)
            .env("REWIND_PYTHON", &self.python)
            .env_remove("VIRTUAL_ENV");
        command
    }

    fn run(&self, experiment: &Path, more: &[&str]) -> Command {
        let mut command = self.command(&["run", "--threads", "1", "--allow-plugins"]);
        command
            .arg("--runs")
            .arg(self.path("runs"))
            .args(more)
            .arg(experiment);
        command
    }

    /// The digests of all masks of the only run of this name.
    fn masks(&self, name: &str) -> Vec<String> {
        let all = digests(&only_run(&self.path("runs"), name));
        let masks = all.into_iter();
        let masks = masks.filter(|(path, _)| path.ends_with("mask.safetensors"));
        let masks: Vec<String> = masks.map(|(_, digest)| digest).collect();
        assert!(masks.len() >= 2);
        masks
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Everything that a strategy is made of, each as the shipped plugins have it.
const WHOLE: &str = r#"
import rewind.strategy as rs

@rs.score
def magnitude(ctx):
    return [abs(w) for w in ctx.weights()]

@rs.mask
def best(ctx):
    assert len(ctx.scores()) == len(ctx.layers) and ctx.survivors() == [int(m.sum()) for m in ctx.masks()]
    return ctx.select(ctx.scores())

@rs.rewind
def back(ctx, to: rs.Point = "init"):
    return rs.to_point(to)
"#;

#[test]
fn a_strategy_in_python_gives_the_bytes_of_its_twin_in_rust() {
    let Some(desk) = Desk::new() else { return };
    desk.write("whole.py", WHOLE);
    let own = |component: &str| format!(r#"{{ use = "{component}", file = "whole.py" }}"#);
    let back = r#"{ use = "imp/weights", to = "init" }"#;
    let rust = desk.experiment("rust", r#""imp/magnitude""#, r#""imp/global""#, back);
    let python = desk.experiment(
        "python",
        &own("python/score"),
        &own("python/mask"),
        &own("python/rewind"),
    );
    for experiment in [&rust, &python] {
        expect(&mut desk.run(experiment, &["--quiet"]), 0);
    }
    assert_eq!(desk.masks("python"), desk.masks("rust"));
    // The weights that levels end with say the same of the rewind policy.
    let ends = |name: &str| -> Vec<String> {
        let all = digests(&only_run(&desk.path("runs"), name)).into_iter();
        let ends = all.filter(|(path, _)| path.ends_with("end.safetensors"));
        ends.map(|(_, digest)| digest).collect()
    };
    assert!(ends("rust").len() >= 2);
    assert_eq!(ends("python"), ends("rust"));
    // The file's digest is recorded as a plugin's is.
    let run = only_run(&desk.path("runs"), "python");
    let identity = fs::read_to_string(run.join("identity.json")).unwrap();
    let identity: Value = serde_json::from_str(&identity).unwrap();
    let digest = blake3::hash(WHOLE.as_bytes()).to_hex();
    assert_eq!(
        identity["plugins"]["whole.py"]["blake3"],
        digest.as_str(),
        "{identity}"
    );
    // Another file of that name is another build of the same strategy.
    desk.write("whole.py", &format!("{WHOLE}\n# changed"));
    let refused = said(&expect(&mut desk.run(&python, &["--quiet"]), 3));
    assert!(refused.contains("`whole.py`"), "{refused}");
    expect(&mut desk.run(&python, &["--quiet", "--fresh"]), 0);
    assert_eq!(desk.masks("python"), desk.masks("rust"));
}

/// Strategies that ask for more than weights, as the shipped plugins `synflow`, `rigl` and `structured` have them.
const FLOW: &str = r#"
import rewind.strategy as rs

@rs.score
def flow(ctx):
    slopes = ctx.gradients("sum-of-outputs", "ones", on_absolute_weights=True, eval_mode=True, double_precision=True)
    flows = [(w * g).abs() for w, g in zip(ctx.weights(), slopes)]
    largest = max(float(it.max()) for it in flows)
    return [(it / largest).astype("float32") for it in flows]
"#;

const EXCHANGE: &str = r#"
import rewind.strategy as rs

@rs.mask(cadence=lambda every: rs.Cadence(between_levels=True, every=every))
def exchange(ctx, every: str = "2it", fraction: rs.Range(0, 1) = 0.3):
    if ctx.phase != "within-level":
        return ctx.select(ctx.scores(), per_layer=ctx.counts("erk"))
    exchanged = ctx.exchanged(fraction * ctx.cosine(0.75))
    if sum(exchanged) == 0:
        return ctx.masks()
    growth = [g.abs() for g in ctx.gradients(batches="next")]
    return ctx.drop_and_grow([w.abs() for w in ctx.weights()], growth, exchanged)
"#;

const UNITS: &str = r#"
import rewind.strategy as rs

RULE = rs.UnitRule(measure="units")

@rs.mask(units=RULE)
def whole(ctx):
    assert sum(it["units"] for it in ctx.units()["sets"]) == 16
    return ctx.select_units(ctx.scores(), RULE)
"#;

#[test]
fn gradients_exchanges_and_whole_units_in_python_give_the_bytes_of_their_twins_in_rust() {
    let Some(desk) = Desk::new() else { return };
    let with_torch = Command::new(&desk.python)
        .args(["-c", "import torch"])
        .output();
    let with_torch = with_torch.is_ok_and(|output| output.status.success());
    desk.write("flow.py", FLOW);
    let of_torch = FLOW.replace(r#".astype("float32")"#, ".float()");
    desk.write("of_torch.py", &format!("import torch{of_torch}"));
    desk.write("exchange.py", EXCHANGE);
    desk.write("units.py", UNITS);
    let (magnitude, global, back) = (r#""imp/magnitude""#, r#""imp/global""#, r#""imp/weights""#);
    let own =
        |kind: &str, file: &str| format!(r#"{{ use = "python/{kind}", file = "{file}.py" }}"#);
    let flow = r#""synflow/flow""#;
    let rigl = r#"{ use = "rigl/drop-and-grow", every = "2it" }"#;
    let units = r#"{ use = "structured/mask", target = "units" }"#;
    // A name; the score and the mask in Rust; their twins.
    let own_units = own("mask", "units");
    let own_exchange = own("mask", "exchange");
    let (own_flow, of_torch) = (own("score", "flow"), own("score", "of_torch"));
    let mut twins = vec![
        ["flow", flow, global, &own_flow, global],
        ["rigl", magnitude, rigl, magnitude, &own_exchange],
        ["units", magnitude, units, magnitude, &own_units],
    ];
    if with_torch {
        twins.push(["torch", flow, global, &of_torch, global]);
    }
    for [name, score, mask, own_score, own_mask] in twins {
        let (rust, python) = (format!("{name}-rust"), format!("{name}-python"));
        let files = [
            desk.experiment(&rust, score, mask, back),
            desk.experiment(&python, own_score, own_mask, back),
        ];
        for file in files {
            expect(&mut desk.run(&file, &["--quiet"]), 0);
        }
        assert_eq!(desk.masks(&python), desk.masks(&rust), "{name}");
    }
}

/// A score that does, at level 1, what the environment says.
const FAULTY: &str = r#"
import ctypes, os, signal, sys
import numpy as np
import rewind.strategy as rs

def deep(fault, scores):
    if fault == "raise": return 1 / 0
    if fault == "exit": sys.exit("enough")
    if fault == "_exit": os._exit(7)
    if fault == "segfault": ctypes.string_at(0)
    if fault == "kill": os.kill(os.getpid(), signal.SIGKILL)
    if fault == "hang" and open(os.environ["MARK"] + "/hangs", "w"):
        while True: pass
    if fault == "bomb":
        while True: os.fork()
    if fault == "shell": os.posix_spawn("/bin/sleep", ["sleep", "1000"], os.environ)
    if fault == "memory": return [np.ones(10 << 30, np.uint8)]
    if fault == "float64": return [s.astype("float64") for s in scores]
    if fault == "length": return scores[1:]
    if fault == "shape": return [s.T for s in scores]
    if fault == "kind": return "scores"
    if fault == "nan": scores[1][2, 3] = np.nan
    return scores

@rs.score
def mine(ctx):
    print("at level", ctx.level)
    ctx.state["calls"] = ctx.state.get("calls", 0) + 1
    ctx.state["first"] = ctx.state.get("first", ctx.weights()[0])
    scores = [abs(w) for w in ctx.weights()]
    scores[0] = scores[0] + ctx.state["calls"] * abs(ctx.state["first"])
    return deep(os.environ.get("FAULT") if ctx.level == 1 else "", scores)
"#;

/// What is asked to be done, and what the one message says of it.
const FAULTS: [(&str, &str); 14] = [
    (
        "raise",
        "faulty.py:7 in deep (from faulty.py:32 in mine): ZeroDivisionError: division by zero",
    ),
    (
        "exit",
        "faulty.py:8 in deep (from faulty.py:32 in mine): SystemExit: enough",
    ),
    ("_exit", "faulty.py: its process ended with exit code 7"),
    (
        "segfault",
        "faulty.py: its process ended by SIGSEGV at faulty.py:10 in deep",
    ),
    ("kill", "faulty.py: its process ended by SIGKILL"),
    (
        "hang",
        "faulty.py did not return within 4.0 s: it was at faulty.py:13 in deep",
    ),
    (
        "bomb",
        "faulty.py:15 in deep (from faulty.py:32 in mine): PermissionError",
    ),
    (
        "shell",
        "faulty.py:16 in deep (from faulty.py:32 in mine): PermissionError",
    ),
    (
        "memory",
        "faulty.py:17 in deep (from faulty.py:32 in mine): ",
    ),
    (
        "float64",
        "`mine` gave as the score of layer `fc1.weight` an array of float64, expected float32",
    ),
    (
        "length",
        "`mine` gave 1 arrays as the score, expected 2: one for each prunable layer",
    ),
    (
        "shape",
        "`mine` gave as the score of layer `fc1.weight` an array of shape (40, 16), expected (16, 40)",
    ),
    (
        "kind",
        "`mine` gave a str as the score, expected a list with one array for each layer",
    ),
    ("nan", "layer `fc2.weight` whose element 35 is NaN"),
];

#[test]
fn whatever_a_file_does_costs_one_message_and_the_run_goes_on_with_the_same_bytes() {
    let Some(desk) = Desk::new() else { return };
    desk.write("faulty.py", FAULTY);
    let score = r#"{ use = "python/score", file = "faulty.py", memory = 1 }"#;
    let parts = (r#""imp/global""#, r#""lrr/learning-rate""#);
    let once = desk.experiment("once", score, parts.0, parts.1);
    let output = expect(&mut desk.run(&once, &[]), 0);
    assert!(
        said(&output).contains("faulty.py: at level 0"),
        "{}",
        said(&output)
    );
    let again = desk.experiment("again", score, parts.0, parts.1);
    let mark = format!("MARK={}", desk.folder.path().display());
    for (fault, expected) in FAULTS {
        let mut run = desk.run(&again, &["--quiet"]);
        run.env("FAULT", fault).env("MARK", desk.folder.path());
        if fault == "hang" {
            run.args(["--plugin-time-limit", "5"]);
        }
        let said = said(&expect(&mut run, 3));
        assert!(said.contains(expected), "{fault}: {said}");
        assert!(
            said.contains("score component `score` of plugin `python`"),
            "{fault}: {said}"
        );
        assert_eq!(
            said.matches("error").count(),
            said.matches("error:").count(),
            "{said}"
        );
        wait_until_gone(&mark, fault);
    }
    // A program that is killed takes the file's process with it, whatever that is at.
    let hangs = desk.path("hangs");
    fs::remove_file(&hangs).unwrap();
    let mut run = desk.run(&again, &["--quiet"]);
    run.env("FAULT", "hang").env("MARK", desk.folder.path());
    let mut host = run.spawn().unwrap();
    wait_until(&mut host, "the score hangs", || hangs.exists());
    assert!(alive(&mark).len() >= 2);
    host.kill().unwrap();
    host.wait().unwrap();
    wait_until_gone(&mark, "a host that was killed");
    expect(&mut desk.run(&again, &["--quiet"]), 0);
    assert_eq!(desk.masks("again"), desk.masks("once"));
}

/// Waits until no process has this in its environment: the system ends a file's process after the host's own end,
/// when it comes to it.
fn wait_until_gone(mark: &str, left_by: &str) {
    let start = Instant::now();
    while !alive(mark).is_empty() {
        assert!(start.elapsed() < PATIENCE, "{left_by}: {:?}", alive(mark));
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Processes that have this in their environment.
fn alive(mark: &str) -> Vec<String> {
    let has_it = |path: &PathBuf| {
        let environment = fs::read(path.join("environ")).unwrap_or_default();
        environment
            .split(|byte| *byte == 0)
            .any(|it| it == mark.as_bytes())
    };
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let processes = processes.map(|entry| entry.path()).filter(has_it);
    processes
        .map(|path| fs::read_to_string(path.join("cmdline")).unwrap_or_default())
        .collect()
}

/// The ten lines of the documentation.
const TEN_LINES: &str = include_str!("../../../experiments/python/fan_in.py");

#[test]
fn mistakes_stand_at_their_line_before_anything_trains() {
    let Some(desk) = Desk::new() else { return };
    desk.write("ten.py", TEN_LINES);
    desk.write("broken.py", "import rewind.strategy as rs\n\nx = [1\n");
    desk.write("absent.py", "\nimport nowhere_to_be_found\n");
    desk.write("empty.py", "x = 1\n");
    desk.write(
        "required.py",
        "import rewind.strategy as rs\n@rs.score\ndef s(ctx, a: float):\n    return []\n",
    );
    let cases = [
        (
            r#"file = "ten.py", powr = 1.0"#,
            2,
            "unknown key `powr` in `strategy.score`",
            "powr",
        ),
        (
            r#"file = "ten.py", power = "x""#,
            2,
            "`strategy.score.power` must be a number",
            r#""x""#,
        ),
        (
            r#"power = 1.0"#,
            2,
            "missing key `file` in `strategy.score`",
            "",
        ),
        (
            r#"file = "none.py""#,
            3,
            "failed to load `none.py`: failed to read",
            r#""none.py""#,
        ),
        (
            r#"file = "broken.py""#,
            3,
            "failed to load `broken.py`: broken.py:3: SyntaxError",
            r#""broken.py""#,
        ),
        (
            r#"file = "absent.py""#,
            3,
            "failed to load `absent.py`: absent.py:2: ModuleNotFoundError: No module named 'nowhere_to_be_found'",
            r#""absent.py""#,
        ),
        (
            r#"file = "empty.py""#,
            3,
            "failed to load `empty.py`: empty.py has no score: mark a function with `@rs.score`",
            r#""empty.py""#,
        ),
        (
            r#"file = "required.py""#,
            3,
            "`s`: the argument `a` has no default, and every option has one",
            r#""required.py""#,
        ),
        (
            r#"file = "ten.py", python = "/bin/true""#,
            3,
            "its process ended with exit code 0 before it answered",
            r#""ten.py""#,
        ),
        (
            r#"file = "ten.py", python = "/nowhere/python""#,
            3,
            "failed to start the Python `/nowhere/python`",
            r#""ten.py""#,
        ),
    ];
    for (options, code, expected, pointed) in cases {
        let score = format!(r#"{{ use = "python/score", {options} }}"#);
        let file = desk.experiment("wrong", &score, r#""imp/global""#, "[]");
        let said = said(&expect(&mut desk.run(&file, &["--quiet"]), code));
        assert!(said.contains(expected), "{options}: {said}");
        assert!(said.contains("wrong.toml:9:"), "{options}: {said}");
        let carets = "^".repeat(pointed.len());
        assert!(said.contains(&carets), "{options}: {said}");
        assert!(!desk.path("runs").exists(), "{options}");
    }
    let file = desk.experiment(
        "untrusted",
        r#"{ use = "python/score", file = "ten.py" }"#,
        r#""imp/global""#,
        "[]",
    );
    let mut plan = desk.command(&["plan"]);
    let said = said(&expect(plan.arg(&file), 3));
    assert!(
        said.contains("you have not agreed to run this one"),
        "{said}"
    );
    let digest = blake3::hash(TEN_LINES.as_bytes()).to_hex();
    assert!(said.contains(digest.as_str()), "{said}");
}

#[test]
fn from_nothing_to_a_figure_as_the_page_says() {
    let Some(desk) = Desk::new() else { return };
    let page = include_str!("../../../docs/write-a-strategy-in-python.md");
    let mut typed = typed(page, desk.folder.path());
    typed
        .env("REWIND_PYTHON", &desk.python)
        .env_remove("VIRTUAL_ENV");
    let output = expect(&mut typed, 0);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let report = desk.path("fan-in").join(said.lines().last().unwrap());
    assert!(report.is_file(), "{said}");
}

#[test]
fn a_file_is_checked_against_every_rule_shown_and_made() {
    let Some(desk) = Desk::new() else { return };
    let ten = desk.write("ten.py", TEN_LINES);
    assert!(TEN_LINES.lines().count() <= 10);
    let mut check = desk.command(&["plugin", "check", "--quick", "--json"]);
    let report = expect(check.arg(&ten), 0);
    let report: Value = serde_json::from_slice(&report.stdout).unwrap();
    let components = report["components"].as_array().unwrap();
    assert_eq!(components.len(), 1, "{report}");
    assert!(components[0]["rules"].as_array().unwrap().len() >= 10);
    // A score that keeps something for itself, without the state, is found.
    let forgetful = desk.write(
        "forgetful.py",
        "import rewind.strategy as rs\ncalls = 0\n@rs.score\ndef s(ctx):\n    global calls\n    calls += 1\n    \
         return [abs(w) + calls for w in ctx.weights()]\n",
    );
    let mut check = desk.command(&["plugin", "check", "--rule", "repeats", "--quick"]);
    expect(check.arg(&forgetful), 3);
    let mut show = desk.command(&["plugin", "show"]);
    let shown = expect(show.arg(&ten), 0);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(
        shown.contains(r#"score = { use = "python/score", file = "ten.py" }"#)
            && shown.contains("power: "),
        "{shown}"
    );
    let mut new = desk.command(&[
        "plugin",
        "new",
        "my-own",
        "--python",
        "--kind",
        "all",
        "--no-trust",
    ]);
    expect(new.current_dir(desk.folder.path()), 0);
    let own = desk.path("my-own");
    let mut check = desk.command(&["plugin", "check", "--quick", "my_own.py"]);
    expect(check.current_dir(&own), 0);
    let mut test = Command::new(&desk.python);
    test.args(["-m", "unittest"])
        .env(
            "PYTHONPATH",
            concat!(env!("CARGO_MANIFEST_DIR"), "/../../host/python"),
        )
        .env("PYTHONDONTWRITEBYTECODE", "1");
    expect(test.current_dir(&own), 0);
    let mut plan = desk.command(&["plan", "--allow-plugins", "experiment.toml"]);
    expect(plan.current_dir(&own), 0);
}
