//! `host init`, `ls` and `clean`: an experiment is begun, what came of several is listed, and what nobody needs goes.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use attack::hold::Hold;
use end_to_end::program::{self, digests, expect, only_run, run};
use serde_json::Value;

fn said(command: &mut Command, code: i32) -> String {
    let output = expect(command, code);
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn words(folder: &Path, line: &str) -> Command {
    let mut command = program::command();
    command.current_dir(folder).args(line.split(' '));
    command
}

/// What `ls` lists, by name.
fn listed(folder: &Path) -> BTreeMap<String, Value> {
    let output = expect(&mut words(folder, "ls --json"), 0);
    let list: Value = serde_json::from_slice(&output.stdout).unwrap();
    let entries = list["entries"].as_array().unwrap().clone();
    let named = |it: Value| (it["name"].as_str().unwrap().to_owned(), it);
    entries.into_iter().map(named).collect()
}

fn small(runs: &Path, experiment: &str, more: &[&str]) -> Command {
    let few = [
        "--set",
        "prune.levels=2",
        "--set",
        "model.hidden=[8]",
        "--set",
        "train.epochs=2",
    ];
    run(experiment, runs, &[&few, more].concat())
}

#[test]
fn an_experiment_that_init_wrote_runs_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let first = said(&mut words(folder.path(), "init mine.toml"), 0);
    assert!(
        first.contains("host plan mine.toml") && first.contains("host run mine.toml"),
        "{first}"
    );
    let plan = said(&mut words(folder.path(), "plan mine.toml"), 0);
    assert!(
        plan.contains("mnist1d: 3,600 + 1,000 + 400 validation samples")
            && !plan.contains("warning"),
        "{plan}"
    );
    let ran = said(&mut words(folder.path(), "run mine.toml"), 0);
    assert!(ran.contains("level 10/10"), "{ran}");

    // What is there is not written over.
    let again = said(
        &mut words(folder.path(), "init mine.toml --data fashion-mnist"),
        2,
    );
    assert!(again.contains("mine.toml is there already"), "{again}");

    // A table, and a network of PyTorch's.
    let rows = (0..200).map(|i| format!("{},{},{}\n", i % 7, (i * 13) % 11, u8::from(i % 7 > 3)));
    let table: String = std::iter::once("a,b,target\n".to_owned())
        .chain(rows)
        .collect();
    fs::write(folder.path().join("table.csv"), table).unwrap();
    let archive = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../experiments/networks/mlp.pt2");
    fs::copy(archive, folder.path().join("mlp.pt2")).unwrap();
    for line in [
        "init table.toml --data table.csv --strategy imp",
        "init net.toml --model mlp.pt2",
        "init clothes.toml --data fashion-mnist --model resnet-20",
    ] {
        said(&mut words(folder.path(), line), 0);
        let file = line.split(' ').nth(1).unwrap();
        let plan = said(&mut words(folder.path(), &format!("plan {file}")), 0);
        assert!(plan.contains("0.107374"), "{plan}");
    }
    let unknown = said(&mut words(folder.path(), "init x.toml --strategy lrrr"), 2);
    assert!(
        unknown.contains("no plugin `lrrr`: expected one of "),
        "{unknown}"
    );
}

#[test]
fn what_nobody_needs_goes_and_everything_else_keeps_its_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let runs = folder.path().join("runs");
    let clean = |line: &str, code| {
        said(
            &mut words(folder.path(), format!("clean {line}").trim_end()),
            code,
        )
    };
    let finish = |experiment: &str, more: &[&str]| {
        expect(
            &mut small(&runs, experiment, &[&["--seeds", "0"], more].concat()),
            0,
        );
    };
    // A run, another one on its masks, and one of the same name with another dense level.
    finish("lrr.toml", &[]);
    let source = only_run(&runs, "lrr");
    let masks = format!(
        "strategy.mask={{ use = \"transplant/levels\", run = \"{}\" }}",
        source.display()
    );
    finish("imp.toml", &["--set", &masks]);
    finish("lrr.toml", &["--set", "train.batch_size=100"]);
    let list = listed(folder.path());
    let kinds = |kind: &str| list.values().filter(|it| it["kind"] == kind).count();
    assert_eq!((kinds("run"), kinds("dense")), (3, 2), "{list:#?}");
    let name = source.file_name().unwrap().to_string_lossy().into_owned();
    let crossed = only_run(&runs, "imp");
    let crossed = crossed.file_name().unwrap().to_string_lossy().into_owned();
    assert_eq!(list[&name]["used_by"], serde_json::json!([crossed]));
    assert_eq!(list[&name]["levels_done"], 3);
    assert!(
        list.values()
            .all(|it| it["state"] == "done" && it["bytes"].as_u64() > Some(1000))
    );
    let shown = said(&mut words(folder.path(), "ls --by size"), 0);
    assert!(shown.contains("3 runs, 2 shared dense levels; "), "{shown}");

    // Nothing goes without --yes, nor what something else needs.
    let before = digests(&runs);
    let needed = clean(&format!("{name} --yes"), 0);
    assert!(
        needed.contains(&format!("{name} stays: {crossed} needs it")),
        "{needed}"
    );
    assert!(clean("--superseded", 0).contains("nothing to remove"));
    let dry = clean("--older-than 0h", 0);
    assert!(
        dry.contains("would remove 3 folders") && dry.contains("add --yes"),
        "{dry}"
    );
    assert!(clean("", 2).contains("nothing says what to remove"));
    assert!(clean("lrr-00000000", 2).contains("there is no lrr-00000000 in runs"));
    assert_eq!(digests(&runs), before);

    // A process at work keeps what it has.
    let mut command = small(
        &runs,
        "wr.toml",
        &["--seeds", "1", "--set", "strategy.rewind.to=1ep"],
    );
    let mut hold = Hold::at_events(&mut command);
    let mut child = command.spawn().unwrap();
    hold.until(&mut child, "a pruned level", |it| {
        it.has(|event| event["event"] == "level-started" && event["level"] == 1)
    });
    let busy = clean("--older-than 0h --yes", 0);
    assert!(busy.contains("is in use by process"), "{busy}");
    child.kill().unwrap();
    child.wait().unwrap();
    hold.release();
    let wr = only_run(&runs, "wr");
    assert!(wr.join("seed-1/level-00/done.json").exists());

    // Unfinished now, it goes with the levels that it alone needed; a removal that broke off is ended.
    assert_eq!(
        listed(folder.path()).len(),
        2 + 1,
        "{:#?}",
        listed(folder.path())
    );
    fs::create_dir_all(runs.join(".removed-old/seed-0")).unwrap();
    let all = clean("--unfinished --unused --yes", 0);
    assert!(all.contains("removed "), "{all}");
    assert!(
        listed(folder.path()).is_empty(),
        "{:#?}",
        listed(folder.path())
    );
    let left: Vec<_> = fs::read_dir(&runs).unwrap().flatten().collect();
    assert!(left.is_empty(), "{left:?}");
    // What was removed is made again.
    finish("lrr.toml", &[]);
    let again = digests(&source);
    assert!(again.iter().all(|(path, digest)| {
        before.get(&Path::new(source.file_name().unwrap()).join(path)) == Some(digest)
    }));
}

#[test]
fn bash_completes_the_names_of_runs_and_sweeps() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("lrr-301ce8ac");
    fs::create_dir(&run).unwrap();
    fs::write(run.join("identity.json"), "{}").unwrap();
    let script = r#"
        source <("$HOST" completions bash)
        complete -p host
        COMP_WORDS=("$HOST" show --runs "$RUNS" l)
        COMP_CWORD=4
        _host_or_names "$HOST" l "$RUNS"
        printf '<%s>\n' "${COMPREPLY[@]}"
        COMP_WORDS=("$HOST" sta)
        COMP_CWORD=1
        _host_or_names "$HOST" sta "$HOST"
        printf '<%s>\n' "${COMPREPLY[@]}"
    "#;
    let mut bash = Command::new("bash");
    bash.args(["--norc", "-c", script])
        .env("RUNS", folder.path());
    let said = bash.env("HOST", program::host()).output().unwrap();
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert_eq!(
        said.lines().collect::<Vec<_>>(),
        [
            "complete -o bashdefault -o default -F _host_or_names host",
            "<lrr-301ce8ac>",
            "<status>"
        ]
    );
}
