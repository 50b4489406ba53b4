//! An experiment file from a stranger runs no code of the stranger's unless the user agreed.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use end_to_end::built::{loader, own};
use end_to_end::program::{expect, host};
use serde_json::Value;

/// An experiment with a library beside it, as somebody sends it, on a machine where nothing is trusted.
struct Desk {
    folder: tempfile::TempDir,
    library: PathBuf,
}

impl Desk {
    /// The library would end any process that loads it with this whim: `MISBEHAVE`.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let sent = folder.path().join("sent");
        fs::create_dir_all(&sent).unwrap();
        let real = loader(own()).load("misbehaving", None).unwrap();
        let library = sent.join(real.path.file_name().unwrap());
        fs::copy(&real.path, &library).unwrap();
        let library = library.canonicalize().unwrap();
        let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../experiments/lrr.toml");
        let text = format!(
            "base = {base:?}\nname = \"sent\"\nseeds = [0]\nprune.levels = 1\ntrain.epochs = 1\n\
             strategy.score = \"strange/aborts\"\nstrategy.rewind = \"imp/weights\"\n\n\
             [plugins]\nstrange = {{ path = {:?} }}\n",
            library.file_name().unwrap()
        );
        fs::write(sent.join("sent.toml"), text).unwrap();
        Self { folder, library }
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("config.toml")
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("sent/sent.toml")
    }

    fn runs(&self) -> PathBuf {
        self.folder.path().join("runs")
    }

    fn host(&self, args: &[&str]) -> Command {
        let mut command = Command::new(host());
        command.args(args).env("REWIND_CONFIG", self.config());
        command.current_dir(self.folder.path());
        command
    }

    fn command(&self, name: &str, more: &[&str]) -> Command {
        let mut command = self.host(&[name]);
        command.arg(self.file()).args(["--threads", "1"]).args(more);
        command
    }

    fn plugin_trust(&self, path: &Path, more: &[&str]) -> Command {
        let mut command = self.host(&["plugin", "trust"]);
        command.arg(path).args(more);
        command
    }

    /// Another build of the same plugin: other bytes, which do the same.
    fn rebuild(&self) {
        let mut bytes = fs::read(&self.library).unwrap();
        // Bytes behind the last section change the digest and nothing else.
        bytes.extend_from_slice(b"changed");
        fs::write(&self.library, bytes).unwrap();
    }

    fn digest(&self) -> String {
        blake3::hash(&fs::read(&self.library).unwrap())
            .to_hex()
            .to_string()
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The commands of a refusal, behind the words that say what they are for.
fn offered(said: &str, what: &str) -> Vec<String> {
    let line = said.lines().find_map(|line| line.split_once(what));
    let (_, line) = line.unwrap_or_else(|| panic!("{what}: {said}"));
    line.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn nothing_of_a_library_that_a_file_names_is_run_before_the_user_agrees() {
    let desk = Desk::new();
    for name in ["run", "plan"] {
        // A loaded one would end its process, a tried one its trial, with another message.
        let mut command = desk.command(name, &[]);
        let output = expect(command.env("MISBEHAVE", "aborts"), 3);
        let said = said(&output);
        for fragment in [
            "sent.toml:10:20",
            "failed to load plugin `strange`",
            desk.library.to_str().unwrap(),
            &desk.digest(),
            "nothing of it was run",
        ] {
            assert!(said.contains(fragment), "{fragment}: {said}");
        }
        assert!(!said.contains("trial"), "{said}");
    }
    assert!(!desk.runs().exists() && !desk.config().exists());
}

#[test]
fn each_way_to_agree_is_a_command_that_works_as_it_is_shown() {
    const WAYS: [&str; 3] = [
        "to agree this once: ",
        "to this very file, from now on: ",
        "to whatever lies in its folder, from now on: ",
    ];
    for way in WAYS {
        let desk = Desk::new();
        let output = expect(&mut desk.command("plan", &["--no-estimate"]), 3);
        let words = offered(&said(&output), way);
        assert_eq!(words[0], "host");
        let mut command = desk.host(&[]);
        expect(command.args(&words[1..]), 0);
        let agreed = if way == WAYS[0] { 3 } else { 0 };
        expect(&mut desk.command("plan", &["--no-estimate"]), agreed);
        // Another file is another question; what is built anew in a trusted folder is not.
        desk.rebuild();
        let agreed = if way == WAYS[2] { 0 } else { 3 };
        expect(&mut desk.command("plan", &["--no-estimate"]), agreed);
    }
}

#[test]
fn the_digest_that_a_file_pins_is_the_strangers_word() {
    let desk = Desk::new();
    let digest = desk.digest();
    let text = fs::read_to_string(desk.file()).unwrap();
    let pinned = text.replace(".so\" }", &format!(".so\", blake3 = \"{digest}\" }}"));
    assert_ne!(text, pinned);
    fs::write(desk.file(), pinned).unwrap();
    let output = expect(&mut desk.command("plan", &["--no-estimate"]), 3);
    assert!(said(&output).contains("nothing of it was run"));
    expect(
        &mut desk.command("plan", &["--no-estimate", "--allow-plugins"]),
        0,
    );
}

#[test]
fn a_trusted_file_trains_as_a_shipped_one_does() {
    let desk = Desk::new();
    expect(&mut desk.plugin_trust(&desk.library, &[]), 0);
    expect(&mut desk.command("run", &[]), 0);
    let of = |name: &str| {
        let run = end_to_end::program::only_run(&desk.runs(), name);
        end_to_end::program::digests(&run.join("seed-0"))
    };
    let own = [
        "--set",
        "strategy.score=misbehaving/aborts",
        "--set",
        "name=own",
    ];
    let mut command = desk.command("run", &own);
    expect(&mut command, 0);
    assert_eq!(of("sent"), of("own"));
}

#[test]
fn a_trusted_file_is_tried_like_any_other() {
    let desk = Desk::new();
    expect(&mut desk.plugin_trust(&desk.library, &[]), 0);
    let mut command = desk.command("plan", &["--no-estimate"]);
    let output = expect(command.env("MISBEHAVE", "aborts"), 3);
    let said = said(&output);
    assert!(
        said.contains("did not pass its trial: score component `aborts` of plugin `misbehaving`"),
        "{said}"
    );
}

#[test]
fn a_sweep_asks_once_and_passes_the_answer_to_its_runs() {
    let desk = Desk::new();
    let text = fs::read_to_string(desk.file()).unwrap();
    let text = format!(
        "{text}\n[sweep.methods.a]\nprune.rate = 0.2\n[sweep.methods.b]\nprune.rate = 0.5\n"
    );
    fs::write(desk.file(), text).unwrap();
    let output = expect(&mut desk.command("run", &[]), 3);
    assert_eq!(said(&output).matches("nothing of it was run").count(), 1);
    assert!(!desk.runs().exists());
    expect(&mut desk.command("run", &["--allow-plugins", "--quiet"]), 0);
    for cell in ["sent-a", "sent-b"] {
        end_to_end::program::only_run(&desk.runs(), cell);
    }
}

#[test]
fn a_name_cannot_lead_from_a_searched_folder_to_another_file() {
    let desk = Desk::new();
    let text = fs::read_to_string(desk.file()).unwrap();
    let library = desk.library.file_name().unwrap().to_str().unwrap();
    for name in ["torch/../../../strange", "a\\\\b"] {
        // A plugin's name alone is its default trio: any text, so also one with slashes.
        let start = text.split("strategy.score").next().unwrap();
        let hostile =
            format!("{start}strategy = \"{name}\"\n[plugins.\"{name}\"]\npath = \"{library}\"\n");
        fs::write(desk.file(), hostile).unwrap();
        let output = expect(&mut desk.command("plan", &["--allow-plugins"]), 3);
        assert!(
            said(&output).contains("is no plugin's name"),
            "{}",
            said(&output)
        );
    }
}

#[test]
fn what_is_no_file_is_not_opened() {
    let desk = Desk::new();
    let text = fs::read_to_string(desk.file()).unwrap();
    let library = desk.library.file_name().unwrap().to_str().unwrap();
    fs::write(desk.file(), text.replace(library, "/dev/zero")).unwrap();
    let output = expect(&mut desk.command("plan", &["--allow-plugins"]), 3);
    assert!(
        said(&output).contains("failed to read /dev/zero"),
        "{}",
        said(&output)
    );
}

#[test]
fn what_is_trusted_is_listed_and_can_be_taken_back() {
    let desk = Desk::new();
    let folder = desk.library.parent().unwrap();
    expect(&mut desk.plugin_trust(folder, &[]), 0);
    let output = expect(&mut desk.plugin_trust(&desk.library, &["--json"]), 0);
    let line: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(line["entry"]["blake3"], desk.digest());
    let list = expect(&mut desk.host(&["plugin", "list"]), 0);
    let list = String::from_utf8_lossy(&list.stdout).into_owned();
    for fragment in [
        format!("trusted, by {}", desk.config().display()),
        format!("whatever lies in {}", folder.display()),
        desk.digest(),
    ] {
        assert!(list.contains(&fragment), "{fragment}: {list}");
    }
    expect(&mut desk.plugin_trust(folder, &["--remove"]), 0);
    expect(&mut desk.command("plan", &["--no-estimate"]), 0);
    let digest = desk.digest();
    expect(&mut desk.plugin_trust(Path::new(&digest), &["--remove"]), 0);
    expect(&mut desk.command("plan", &["--no-estimate"]), 3);
    let output = expect(&mut desk.plugin_trust(folder, &["--remove"]), 2);
    assert!(said(&output).contains("nothing in"), "{}", said(&output));
}

#[test]
fn what_is_no_plugin_and_a_folder_of_everybody_cannot_be_trusted() {
    let desk = Desk::new();
    for (path, says) in [
        (desk.file(), "is no plugin"),
        (desk.folder.path().join("gone"), "failed to find"),
        ("/".into(), "the whole machine"),
        ("/dev/shm".into(), "everybody on this machine may write"),
    ] {
        let output = expect(&mut desk.plugin_trust(&path, &[]), 2);
        assert!(said(&output).contains(says), "{}", said(&output));
    }
    assert!(!desk.config().exists());
}

#[test]
fn a_configuration_with_a_mistake_trusts_nobody_and_is_shown_where() {
    let desk = Desk::new();
    let text = format!(
        "[[plugins.trusted]]\nfoldre = {:?}\n",
        desk.library.parent().unwrap()
    );
    fs::write(desk.config(), text).unwrap();
    let output = expect(&mut desk.command("plan", &["--no-estimate"]), 3);
    let said = said(&output);
    assert!(
        said.contains("config.toml:2:1") || said.contains("config.toml:1"),
        "{said}"
    );
    assert!(said.contains("foldre"), "{said}");
    // It is asked only where there is something to ask.
    let experiment = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../experiments/lrr.toml");
    let mut plan = desk.host(&["plan", "--no-estimate"]);
    expect(plan.arg(experiment), 0);
}

#[test]
fn a_new_crate_is_trusted_where_it_was_made_unless_told_otherwise() {
    let desk = Desk::new();
    let new = |name: &str, more: &[&str]| {
        let mut command = desk.host(&["plugin", "new", name]);
        let output = expect(command.args(more), 0);
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let out = new("tanh-score", &[]);
    assert!(
        out.contains("tanh-score/target is trusted from now on"),
        "{out}"
    );
    // What is built there has the component that its experiment names, as far as the refusal goes.
    let built = |name: &str| {
        let release = desk.folder.path().join(name).join("target/release");
        fs::create_dir_all(&release).unwrap();
        let file = format!(
            "lib{}{}",
            name.replace('-', "_"),
            std::env::consts::DLL_SUFFIX
        );
        fs::copy(&desk.library, release.join(file)).unwrap();
        let mut command = desk.host(&["plan", "--no-estimate"]);
        let output = command
            .arg(format!("{name}/experiment.toml"))
            .output()
            .unwrap();
        said(&output)
    };
    let text = built("tanh-score");
    assert!(
        text.contains("plugin `tanh-score` has no score `score`"),
        "{text}"
    );
    let out = new("other-score", &["--no-trust"]);
    assert!(out.contains("run experiment.toml --allow-plugins"), "{out}");
    let text = built("other-score");
    assert!(text.contains("nothing of it was run"), "{text}");
    // A configuration that cannot be written is said, and does not keep the crate from being made.
    fs::write(desk.config(), "[mistake]\n").unwrap();
    let out = new("third-score", &[]);
    assert!(
        out.contains("is not trusted") && out.contains("--allow-plugins"),
        "{out}"
    );
}

#[test]
fn a_searched_folder_is_the_users_word() {
    let desk = Desk::new();
    let folder = desk.library.parent().unwrap();
    let mut command = desk.host(&["plan", "--no-estimate"]);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../experiments/lrr.toml"));
    // Under a name that nothing beside the program has.
    let file = format!("libstrange{}", std::env::consts::DLL_SUFFIX);
    fs::copy(&desk.library, folder.join(file)).unwrap();
    command.args(["--set", "strategy.score=strange/aborts"]);
    expect(command.env("HOST_PLUGIN_PATH", folder), 0);
    assert!(!desk.config().exists());
}
