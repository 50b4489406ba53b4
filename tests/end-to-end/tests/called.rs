//! Every message names commands under the name that the program was called by: `host` is a DNS tool on many
//! systems.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use end_to_end::program::{command, host, only_run};

/// What the program says and writes when it is called `rewind`.
struct Called {
    /// Holds the link, and is where commands run.
    home: tempfile::TempDir,
    /// Each command with what it said.
    said: Vec<(String, String)>,
}

impl Called {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        symlink(host(), home.path().join("rewind")).unwrap();
        Self {
            home,
            said: Vec::new(),
        }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.home.path().join(path)
    }

    /// Runs a command, keeps all that it said, and returns it.
    fn run(&mut self, words: &str, code: i32) -> String {
        let mut rewind = Command::new(self.path("rewind"));
        rewind.args(words.split_whitespace());
        rewind.current_dir(self.home.path());
        rewind.env("REWIND_CONFIG", self.path("configuration.toml"));
        let output = rewind.output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        assert_eq!(output.status.code(), Some(code), "{words}\n{text}");
        self.said.push((words.to_owned(), text.clone()));
        text
    }
}

/// Names of the commands that a help lists.
fn commands(help: &str) -> Vec<String> {
    let list = help.split("Commands:\n").nth(1).unwrap_or_default();
    let lines = list.lines().take_while(|line| !line.is_empty());
    // What goes on in a further line stands further in.
    let own = lines.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names = own.filter_map(|line| line.split_whitespace().next());
    names.map(str::to_owned).collect()
}

fn all_commands() -> Vec<String> {
    let help = command().arg("-h").output().unwrap();
    commands(&String::from_utf8(help.stdout).unwrap())
}

/// Where a text calls the program `host`, whatever it is called: a command line of it, or its name as code.
fn calls_it_host(text: &str, commands: &[String]) -> Vec<String> {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut found = Vec::new();
    for (at, _) in text.match_indices("host") {
        let before = text[..at].chars().next_back();
        let rest = &text[at + "host".len()..];
        let next = rest.strip_prefix(' ').unwrap_or_default();
        let word: String = (next.chars())
            .take_while(|c| c.is_alphanumeric() || *c == '-')
            .collect();
        let of_a_word = before.is_some_and(|c| c.is_alphanumeric() || "_-./".contains(c));
        let as_code = before == Some('`') && rest.starts_with([' ', '`']);
        if as_code || !of_a_word && commands.contains(&word) {
            found.push(text[at..].chars().take(40).collect());
        }
    }
    found
}

#[test]
fn commands_and_code_are_found_and_prose_is_not() {
    let commands = all_commands();
    for name in ["run", "plan", "data", "plugin", "bench-export"] {
        assert!(commands.iter().any(|it| it == name), "{commands:?}");
    }
    let found = |text: &str| calls_it_host(text, &commands).len();
    assert_eq!(found("get it with `host data fetch mnist`"), 1);
    assert_eq!(found("(host\n  run a.toml)"), 1);
    assert_eq!(found("what `host` comes with"), 1);
    assert_eq!(
        found("the host trains; localhost run; rewind run; a host of runs"),
        0
    );
}

#[test]
fn called_rewind_the_program_never_speaks_of_host() {
    let mut called = Called::new();
    let commands = commands(&called.run("--help", 0));
    called.run("-h", 0);
    for command in commands.iter().filter(|it| *it != "help") {
        let help = called.run(&format!("{command} --help"), 0);
        for sub in self::commands(&help).iter().filter(|it| *it != "help") {
            called.run(&format!("{command} {sub} --help"), 0);
        }
    }
    called.run("man", 0);
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        called.run(&format!("completions {shell}"), 0);
    }

    // Data that are not here, and names that are none.
    assert!(
        called
            .run("data list --data-dir data", 0)
            .contains("`rewind data fetch cifar10`")
    );
    called.run("data fetch nist", 2);
    called.run("data fetch tiny-imagenet --data-dir data", 5);
    let small = "seeds = [0, 1]\nmodel.name = \"lenet-300-100\"\n\
                 train = { epochs = 1, batch_size = 500, optimizer = { name = \"sgd\", lr = 0.1 }, \
                 schedule = { name = \"constant\" } }\nprune = { levels = 1, rate = 0.5 }\n\
                 strategy = { score = \"imp/magnitude\", mask = \"imp/global\", rewind = \"imp/weights\" }\n";
    let experiment =
        |name: &str, data: &str| format!("name = \"{name}\"\ndata.name = \"{data}\"\n{small}");
    fs::write(called.path("digits.toml"), experiment("digits", "mnist")).unwrap();
    assert!(
        called
            .run("run digits.toml --data-dir data", 2)
            .contains("`rewind data fetch mnist`")
    );
    called.run("plan digits.toml --data-dir data --no-estimate", 0);

    // A run that lacks a level, and its report.
    fs::write(called.path("half.toml"), experiment("half", "mnist1d")).unwrap();
    called.run("run half.toml --seeds 0 --threads 1", 0);
    let half = only_run(&called.path("runs"), "half");
    fs::remove_dir_all(half.join("seed-0/level-01")).unwrap();
    called.run(
        &format!("report {}", half.file_name().unwrap().to_str().unwrap()),
        0,
    );
    let page = fs::read_to_string(half.join("report.html")).unwrap();
    assert!(page.contains("<code>rewind run runs"), "{page}");
    called.said.push(("the page".to_owned(), page));

    // A whole one, and what is said where its files are gone.
    fs::write(called.path("small.toml"), experiment("small", "mnist1d")).unwrap();
    called.run("run small.toml --seeds 0 --threads 1", 0);
    let run = only_run(&called.path("runs"), "small");
    let name = run.file_name().unwrap().to_str().unwrap().to_owned();
    called.run(&format!("report {name}"), 0);
    called.run(&format!("show {name}"), 0);
    called.run(&format!("compare {name} {name} --level 9"), 2);
    called.run(&format!("overlap {name}#9"), 2);
    called.run(&format!("barrier {name} --seeds 7"), 2);
    for gone in [
        "identity.json",
        "summary.csv",
        "manifest.json",
        "report-manifest.json",
    ] {
        fs::remove_file(run.join(gone)).unwrap();
    }
    fs::remove_file(run.join("seed-0/level-00/done.json")).unwrap();
    called.run(&format!("verify {name}"), 5);
    called.run(&format!("export {name} --format csr"), 2);

    // A plugin of one's own, and one that nobody trusts.
    called.run("plugin new my-score --no-trust", 0);
    called.run("plugin list", 0);
    called.run("plugin show imp", 0);
    let library = called.path("my-score/libmy_score.so");
    fs::copy(end_to_end::built::own().join("libimp.so"), library).unwrap();
    let strange = experiment("strange", "mnist1d").replace("imp/magnitude", "my-score/score")
        + "[plugins]\nmy-score = { path = \"my-score/libmy_score.so\" }\n";
    fs::write(called.path("strange.toml"), strange).unwrap();
    assert!(
        called
            .run("run strange.toml", 3)
            .contains("rewind plugin trust ")
    );
    for file in files(&called.path("my-score")) {
        if let Ok(text) = fs::read_to_string(&file) {
            called.said.push((file.display().to_string(), text));
        }
    }

    for (words, said) in &called.said {
        let found = calls_it_host(said, &commands);
        assert!(found.is_empty(), "{words}: {found:?}");
    }
}

/// All files below a folder; links are not followed.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => found.extend(files(&entry.path())),
            kind if kind.is_file() => found.push(entry.path()),
            _ => {}
        }
    }
    found
}

/// What a source file may show to a user: its strings and, where clap or a schema makes help of them, its
/// documentation. Tests, at the foot, are left out.
fn shown(source: &str, with_documentation: bool) -> String {
    let foot = source
        .find("#[cfg(test)]\nmod ")
        .or(source.find("#[cfg(test)]\npub"));
    let mut rest = &source[..foot.unwrap_or(source.len())];
    let mut shown = String::new();
    while let Some(at) = rest.find(['"', '/', '\'']) {
        let before = &rest[..at];
        rest = &rest[at..];
        if let Some(comment) = rest.strip_prefix("//") {
            let end = comment.find('\n').unwrap_or(comment.len());
            if with_documentation && comment.starts_with('/') {
                shown += &comment[1..end];
                shown.push('\n');
            }
            rest = &comment[end..];
        } else if let Some(text) = rest.strip_prefix('"') {
            let hashes = before.len() - before.trim_end_matches('#').len();
            let raw = before.trim_end_matches('#').ends_with('r');
            let end = match raw {
                true => text.find(&format!("\"{}", "#".repeat(hashes))).unwrap(),
                false => end_of_string(text),
            };
            shown += &text[..end].replace("\\\n", " ");
            shown.push('\n');
            rest = &text[end + 1..];
        } else {
            // The quote of a character, or a slash.
            let quoted = ["'\"'", "'\\\"'", "'\\''", "'/'", "'\\\\'"];
            let length = quoted
                .iter()
                .find(|it| rest.starts_with(*it))
                .map_or(1, |it| it.len());
            rest = &rest[length..];
        }
    }
    shown
}

fn end_of_string(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            '"' if !escaped => return at,
            _ => escaped = c == '\\' && !escaped,
        }
    }
    panic!("a string without an end: {text:.60}")
}

#[test]
fn strings_are_told_from_comments_and_tests() {
    let source = "/// `host run`\nlet a = \"x \\\" // y\"; // host plan\nlet b = '\"'; let c = r#\"a \"b\"#;\n\
                  \"two \\\n   lines\"\n#[cfg(test)]\nmod tests { \"host data\" }";
    let strings: Vec<String> = (shown(source, false).lines())
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(strings, ["x \\\" // y", "a \"b", "two lines"]);
    assert!(shown(source, true).starts_with(" `host run`\n"));
}

#[test]
fn no_source_holds_a_command_under_a_name_of_its_own() {
    let commands = all_commands();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    // Without the folder of the tests in its paths.
    let root = root.canonicalize().unwrap();
    let mut looked = 0;
    for file in ["host/src", "plugin-api/src", "plugins"]
        .map(|it| files(&root.join(it)))
        .concat()
    {
        let name = file.display().to_string();
        let ending = file
            .extension()
            .and_then(|it| it.to_str())
            .unwrap_or_default();
        let of_tests = name.contains("/tests/") || name.ends_with("/tests.rs");
        // Fields of options become descriptions in schemas, those of arguments the help.
        let text = match ending {
            _ if of_tests => continue,
            "rs" => shown(
                &fs::read_to_string(&file).unwrap(),
                name.contains("/cli/args"),
            ),
            "html" | "j2" => fs::read_to_string(&file).unwrap(),
            _ => continue,
        };
        looked += 1;
        let found = calls_it_host(&text, &commands);
        assert!(
            found.is_empty(),
            "{name}: {found:?}; say it with `program::name()`"
        );
    }
    assert!(looked > 200, "{looked}");
}
