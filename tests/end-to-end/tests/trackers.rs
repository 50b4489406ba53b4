//! The adapters of docs/trackers.md read what a run says, as the page has them. The trackers' clients are stand-ins that
//! take down what they are told.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use end_to_end::program::{expect, only_run, run};
use serde_json::Value;

const MLFLOW: &str = r#"
import json, types

class MlflowClient:
    def __init__(self, uri):
        self.uri, self.runs = uri, {}
    def get_experiment_by_name(self, name):
        return None
    def create_experiment(self, name):
        return name
    def search_runs(self, experiments, filter_string):
        assert filter_string.startswith("attributes.run_name = '"), filter_string
        return []
    def create_run(self, experiment, run_name):
        return types.SimpleNamespace(info=types.SimpleNamespace(run_id=run_name))
    def log_metric(self, run_id, key, value, step):
        print(json.dumps([run_id, key, value, step]))
"#;

const WANDB: &str = r#"
import json

class Run:
    def __init__(self, name):
        self.name = name
    def log(self, values):
        for key, value in values.items():
            print(json.dumps([self.name, key, value, None]))
    def finish(self):
        print(json.dumps([self.name, "finished", 1, None]))

def init(project, group, name, id, resume, reinit):
    assert (resume, reinit) == ("allow", "create_new") and name.startswith(group)
    return Run(name)
"#;

/// The script of the page that imports this module.
fn script(module: &str) -> String {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/trackers.md");
    let page = fs::read_to_string(page).unwrap();
    let blocks = page.split("```python\n").skip(1);
    let blocks = blocks.map(|it| it.split("```").next().unwrap().to_owned());
    let found: Vec<String> = blocks
        .filter(|it| it.contains(&format!(" {module}")))
        .collect();
    assert_eq!(found.len(), 1, "{module}");
    found[0].clone()
}

/// What a tracker was told: run, key, value, step.
fn told(
    folder: &Path,
    module: &str,
    client: &str,
    events: &[u8],
) -> Vec<(String, String, f64, Option<u64>)> {
    fs::write(folder.join(format!("{module}.py")), client).unwrap();
    let adapter = folder.join("adapter.py");
    fs::write(&adapter, script(module)).unwrap();
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let mut child = Command::new(python)
        .arg(&adapter)
        .arg("somewhere")
        .env("PYTHONPATH", folder)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 starts");
    child.stdin.take().unwrap().write_all(events).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{module}");
    let lines = String::from_utf8(output.stdout).unwrap();
    let line = |line: &str| {
        let told: Value = serde_json::from_str(line).unwrap();
        (
            told[0].as_str().unwrap().to_owned(),
            told[1].as_str().unwrap().to_owned(),
            told[2].as_f64().unwrap(),
            told[3].as_u64(),
        )
    };
    lines.lines().map(line).collect()
}

#[test]
fn the_adapters_of_the_page_tell_their_trackers_every_number() {
    let folder = tempfile::tempdir().unwrap();
    let runs = folder.path().join("runs");
    let few = [
        "--json",
        "--seeds",
        "0,1",
        "--set",
        "prune.levels=1",
        "--set",
        "train.epochs=2",
    ];
    let output = expect(&mut run("imp.toml", &runs, &few), 0);
    let name = only_run(&runs, "imp");
    let name = name.file_name().unwrap().to_string_lossy().into_owned();
    let csv = fs::read_to_string(runs.join(&name).join("summary.csv")).unwrap();
    for (module, client) in [("mlflow", MLFLOW), ("wandb", WANDB)] {
        let told = told(folder.path(), module, client, &output.stdout);
        let seeds: BTreeSet<&str> = told.iter().map(|it| it.0.as_str()).collect();
        let expected = [format!("{name}/seed-0"), format!("{name}/seed-1")];
        assert_eq!(seeds, expected.iter().map(String::as_str).collect());
        for seed in expected {
            let of = |key: &str| -> Vec<(f64, Option<u64>)> {
                let own = told.iter().filter(|it| it.0 == seed && it.1 == key);
                own.map(|it| (it.2, it.3)).collect()
            };
            assert_eq!(of("train_loss").len(), 4);
            let survivors: Vec<f64> = of("level/survivors").iter().map(|it| it.0).collect();
            assert_eq!(survivors, [22_784.0, 18_227.0]);
            for (accuracy, _) in of("level/test_accuracy") {
                assert!(csv.contains(&accuracy.to_string()), "{accuracy} in {csv}");
            }
            let steps: Vec<Option<u64>> = of("train_loss").iter().map(|it| it.1).collect();
            match module {
                // Each of two levels has two epochs of 32 steps.
                "mlflow" => assert_eq!(steps, [32, 64, 96, 128].map(Some)),
                _ => {
                    let total: Vec<f64> = of("total_steps").iter().map(|it| it.0).collect();
                    assert_eq!(total, [32.0, 64.0, 96.0, 128.0]);
                    assert_eq!(of("finished").len(), 1);
                }
            }
        }
    }
}
