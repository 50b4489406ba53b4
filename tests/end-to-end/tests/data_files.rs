//! Files that users bring, as they bring them: data sets, experiment files, names, plugins not built yet.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;

use end_to_end::program::command;

/// An experiment of this name on these data.
fn experiment(name: &str, data: &str) -> String {
    format!(
        "name = \"{name}\"\nseeds = [0]\ndata.name = \"{data}\"\nmodel.name = \"lenet-300-100\"\n\
         train = {{ epochs = 1, batch_size = 500, optimizer = {{ name = \"sgd\", lr = 0.1 }}, \
         schedule = {{ name = \"constant\" }} }}\nprune = {{ levels = 1, rate = 0.5 }}\n\
         strategy = {{ score = \"imp/magnitude\", mask = \"imp/global\", rewind = \"imp/weights\" }}\n"
    )
}

/// What the program says to these words in a folder, where it ends with this code.
fn said(folder: &Path, words: &[&str], code: i32) -> String {
    expect(command().args(words).current_dir(folder), code)
}

fn expect(command: &mut Command, code: i32) -> String {
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert_eq!(output.status.code(), Some(code), "{command:?}\n{text}");
    text
}

/// MNIST's files of the right length, in which all is 0.
fn zeros(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    for (name, count) in [("train", 60_000u32), ("t10k", 10_000)] {
        let images = [
            &[0, 0, 8, 3][..],
            &count.to_be_bytes(),
            &[0, 0, 0, 28, 0, 0, 0, 28],
        ];
        let labels = [&[0, 0, 8, 1][..], &count.to_be_bytes()];
        for (file, header, values) in [
            (
                format!("{name}-images-idx3-ubyte"),
                images.concat(),
                28 * 28,
            ),
            (format!("{name}-labels-idx1-ubyte"), labels.concat(), 1),
        ] {
            let length = header.len() as u64 + u64::from(count) * values;
            let mut file = File::create(folder.join(file)).unwrap();
            file.write_all(&header).unwrap();
            file.set_len(length).unwrap();
        }
    }
}

#[test]
fn data_that_are_not_the_published_ones_are_trained_on_with_a_word() {
    let home = tempfile::tempdir().unwrap();
    zeros(&home.path().join("data/mnist"));
    fs::write(
        home.path().join("digits.toml"),
        experiment("digits", "mnist"),
    )
    .unwrap();
    let plan = ["plan", "digits.toml", "--data-dir", "data", "--no-estimate"];
    let text = said(home.path(), &plan, 0);
    for file in [
        "train-images-idx3",
        "train-labels-idx1",
        "t10k-images-idx3",
        "t10k-labels-idx1",
    ] {
        let line = text.lines().find(|line| line.contains(file)).unwrap();
        assert!(
            line.contains("is not as dataset 'mnist' was published"),
            "{line}"
        );
        assert!(line.contains("its contents have SHA-256 ") && line.contains(", expected "));
        assert!(line.contains("`host data fetch mnist`"), "{line}");
    }
    assert_eq!(text.matches("was published").count(), 4, "{text}");
    // Here they are all the same, so that the command that fetches says so, too.
    let fetch = ["data", "fetch", "mnist", "--no-apt", "--data-dir", "data"];
    let text = said(home.path(), &fetch, 0);
    assert!(text.contains("mnist is already in data/mnist"), "{text}");
    assert_eq!(text.matches("was published").count(), 4, "{text}");
}

#[test]
fn the_published_files_need_no_word() {
    let folder = Path::new("/usr/share/datasets/fashion-mnist");
    if !folder.is_dir() {
        println!("skipped: {} is absent", folder.display());
        return;
    }
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("a.toml"), experiment("a", "fashion-mnist")).unwrap();
    let text = said(
        home.path(),
        &["plan", "a.toml", "--data-dir", "data", "--no-estimate"],
        0,
    );
    assert!(!text.contains("published"), "{text}");
}

#[test]
fn what_was_fetched_is_whole_or_said_not_to_be() {
    let home = tempfile::tempdir().unwrap();
    let mnist = home.path().join("data/mnist");
    zeros(&mnist);
    let fetch = ["data", "fetch", "mnist", "--no-apt", "--data-dir", "data"];
    // Cut off: nothing is fetched over what somebody may need.
    let cut = File::options()
        .write(true)
        .open(mnist.join("t10k-labels-idx1-ubyte"));
    cut.unwrap().set_len(5000).unwrap();
    let text = said(home.path(), &fetch, 5);
    assert!(
        text.contains("t10k-labels-idx1-ubyte: the data should be 10000 bytes"),
        "{text}"
    );
    assert!(
        text.contains("remove it and get it with `host data fetch mnist`"),
        "{text}"
    );
    // Empty: as if it were not there. Nothing listens on the discard port.
    File::create(mnist.join("t10k-labels-idx1-ubyte")).unwrap();
    let list = said(home.path(), &["data", "list", "--data-dir", "data"], 0);
    let line = list
        .lines()
        .find(|line| line.trim_start().starts_with("mnist "))
        .unwrap();
    assert!(line.contains("missing"), "{line}");
    let mut command = command();
    command.args(fetch).current_dir(home.path());
    command.env("HOST_DATA_MIRROR", "http://127.0.0.1:9");
    let text = expect(&mut command, 5);
    assert!(
        text.contains("failed to download http://127.0.0.1:9/mnist/"),
        "{text}"
    );
}

#[test]
fn files_of_other_programs_are_named_with_what_to_do() {
    let home = tempfile::tempdir().unwrap();
    zeros(&home.path().join("data/MNIST/raw"));
    fs::write(
        home.path().join("digits.toml"),
        experiment("digits", "mnist"),
    )
    .unwrap();
    let run = ["run", "digits.toml", "--data-dir", "data"];
    let text = said(home.path(), &run, 2);
    assert!(
        text.contains("all of them are in data/MNIST/raw: say `data.dir = "),
        "{text}"
    );
    // What it says works.
    let plan = [
        "plan",
        "digits.toml",
        "--no-estimate",
        "--set",
        "data.dir=\"data/MNIST/raw\"",
    ];
    said(home.path(), &plan, 0);
}

#[test]
fn other_encodings_are_named() {
    let home = tempfile::tempdir().unwrap();
    let text = format!("# Trägheit\n{}", experiment("a", "mnist1d"));
    let utf16: Vec<u8> = [0xfeff]
        .into_iter()
        .chain(text.encode_utf16())
        .flat_map(u16::to_le_bytes)
        .collect();
    let latin1: Vec<u8> = text.chars().map(|c| c as u8).collect();
    for (bytes, expected) in [
        (
            utf16,
            "failed to read `a.toml`: it looks like UTF-16 (little endian), expected UTF-8",
        ),
        (
            latin1,
            "failed to read `a.toml`: the byte 0xe4 in line 1 is no UTF-8; it looks like Latin-1",
        ),
    ] {
        fs::write(home.path().join("a.toml"), bytes).unwrap();
        let text = said(home.path(), &["plan", "a.toml"], 2);
        assert!(
            text.contains(expected) && text.contains("iconv -f "),
            "{text}"
        );
    }
}

#[test]
fn the_longest_name_works_and_a_longer_one_is_refused_at_its_line() {
    let home = tempfile::tempdir().unwrap();
    let longest = "a".repeat(175);
    let file = home.path().join("a.toml");
    fs::write(&file, experiment(&longest, "mnist1d")).unwrap();
    said(
        home.path(),
        &["run", "a.toml", "--threads", "1", "--quiet"],
        0,
    );
    let run = fs::read_dir(home.path().join("runs")).unwrap().flatten();
    let mut names = run.map(|entry| entry.file_name().into_string().unwrap());
    let run = names.find(|name| name.starts_with("aaa")).unwrap();
    said(home.path(), &["report", &run], 0);
    said(home.path(), &["export", &run, "--format", "csr"], 0);
    fs::write(&file, experiment(&format!("{longest}a"), "mnist1d")).unwrap();
    let text = said(home.path(), &["run", "a.toml"], 2);
    assert!(
        text.contains("`name` must have at most 175 characters"),
        "{text}"
    );
    assert!(
        text.contains("a.toml:1:8") && text.contains("found 176"),
        "{text}"
    );
    // A sweep's cells have longer ones.
    let methods = "[sweep.methods.one]\n[sweep.methods.another]\n";
    fs::write(&file, experiment(&"a".repeat(170), "mnist1d") + methods).unwrap();
    let text = said(home.path(), &["plan", "a.toml"], 2);
    assert!(
        text.contains("the sweep's name is too long for its cell `another`"),
        "{text}"
    );
    assert!(
        text.contains("together they have 178 characters, expected at most 175"),
        "{text}"
    );
    let text = said(home.path(), &["plugin", "new", &"a".repeat(65)], 2);
    assert!(
        text.contains("the name has 65 characters, expected at most 64"),
        "{text}"
    );
}

#[test]
fn a_plugin_that_is_not_built_yet_names_the_command() {
    let home = tempfile::tempdir().unwrap();
    let krate = home.path().canonicalize().unwrap().join("my score");
    fs::create_dir(&krate).unwrap();
    fs::write(krate.join("Cargo.toml"), "").unwrap();
    let plugins = |path: &str| {
        experiment("a", "mnist1d").replace("imp/magnitude", "mine/score")
            + &format!("[plugins]\nmine = {{ path = \"{path}\" }}\n")
    };
    let text = |path: &str| {
        fs::write(krate.join("a.toml"), plugins(path)).unwrap();
        said(&krate, &["plan", "a.toml"], 3)
    };
    let manifest = krate.join("Cargo.toml");
    let expected = format!(
        "not built yet? `cargo build --release --manifest-path '{}'`",
        manifest.display()
    );
    let said = text("target/release/libmine.so");
    assert!(said.contains(&expected), "{said}");
    let said = text("target/debug/libmine.so");
    assert!(
        said.contains("not built yet? `cargo build --manifest-path '"),
        "{said}"
    );
    let said = text("elsewhere/libmine.so");
    assert!(
        said.contains("build it, or correct its path under [plugins]"),
        "{said}"
    );
}

#[test]
fn what_cannot_be_written_speaks_of_checkpoints_only_where_there_are_any() {
    let home = tempfile::tempdir().unwrap();
    // A file in a folder's place.
    fs::write(home.path().join("no-folder"), "").unwrap();
    let mut trust = command();
    trust
        .args(["plugin", "trust", "."])
        .current_dir(home.path());
    trust.env("REWIND_CONFIG", home.path().join("no-folder/config.toml"));
    let text = expect(&mut trust, 2);
    assert!(
        text.contains("no-folder") && !text.contains("checkpoint"),
        "{text}"
    );
    fs::write(home.path().join("a.toml"), experiment("a", "mnist1d")).unwrap();
    said(
        home.path(),
        &["run", "a.toml", "--threads", "1", "--quiet"],
        0,
    );
    let run = fs::read_dir(home.path().join("runs")).unwrap().flatten();
    let mut names = run.map(|entry| entry.file_name().into_string().unwrap());
    let run = names.find(|name| name.starts_with("a-")).unwrap();
    for words in [
        &["report", &run, "--out", "no-folder/report"][..],
        &[
            "export",
            &run,
            "--format",
            "safetensors",
            "-o",
            "no-folder/model.safetensors",
        ],
    ] {
        let text = said(home.path(), words, 5);
        assert!(
            text.contains("failed to ") && text.contains("no-folder/"),
            "{text}"
        );
        assert!(
            text.contains("run the same command again") && !text.contains("checkpoint"),
            "{text}"
        );
    }
    let run = [
        "run",
        "a.toml",
        "--threads",
        "1",
        "--runs",
        "no-folder/runs",
    ];
    let text = said(home.path(), &run, 5);
    assert!(text.contains("no-folder"), "{text}");
}

#[test]
fn a_help_without_columns_has_lines() {
    let lines = |columns: &str| {
        let mut help = command();
        help.args(["run", "--help"]).env("COLUMNS", columns);
        expect(&mut help, 0).lines().count()
    };
    assert_eq!(lines("0"), lines("100"));
    assert!(lines("60") > lines("100"));
}
