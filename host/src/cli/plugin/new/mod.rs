//! `host plugin new`: a crate that builds, passes its tests and runs as it is.

mod python;

use std::path::{Path, PathBuf};
use std::{env, fs, io};

use minijinja::{Environment, context};
use serde_json::json;

use crate::cli::args::{NewArgs, NewKind, Output};
use crate::cli::exit::{Exit, Failure};
use crate::cli::plugin::trust::trust_own;
use crate::cli::stdout;
use crate::store;
use crate::strategy::{Loader, Trust};

/// Link in the new crate that leads to the plugin API's sources.
const LINK: &str = ".rewind";

/// What CI services of one kind look for.
const CI: &str = ".github/workflows/ci.yml";

/// Characters of a crate's name.
const MOST_NAME: usize = 64;

/// A file of the new crate, and the kinds that have it.
struct Template {
    path: &'static str,
    text: &'static str,
    is_of: fn(NewKind) -> bool,
}

impl Template {
    /// Whether the crate gets it. CI installs Rewind: from where is for the author to say.
    fn is_wanted(&self, args: &NewArgs) -> bool {
        (self.is_of)(args.kind) && (self.path != CI || args.repository.is_some())
    }
}

macro_rules! template {
    ($path:literal, $file:literal, $is_of:expr) => {
        Template {
            path: $path,
            text: include_str!(concat!("template/", $file)),
            is_of: $is_of,
        }
    };
}

const TEMPLATES: &[Template] = &[
    template!("Cargo.toml", "Cargo.toml.j2", |_| true),
    template!("src/lib.rs", "score.rs.j2", |kind| kind == NewKind::Score),
    template!("src/lib.rs", "mask.rs.j2", |kind| kind == NewKind::Mask),
    template!("src/lib.rs", "rewind.rs.j2", |kind| kind == NewKind::Rewind),
    template!("src/lib.rs", "update.rs.j2", |kind| kind == NewKind::Update),
    template!("src/lib.rs", "lib.rs.j2", |kind| kind == NewKind::All),
    template!("src/score.rs", "score.rs.j2", |kind| kind == NewKind::All),
    template!("src/mask.rs", "mask.rs.j2", |kind| kind == NewKind::All),
    template!("src/rewind.rs", "rewind.rs.j2", |kind| kind == NewKind::All),
    template!("src/update.rs", "update.rs.j2", |kind| kind == NewKind::All),
    template!("tests/conformance.rs", "conformance.rs.j2", |_| true),
    template!("experiment.toml", "experiment.toml.j2", |_| true),
    template!("README.md", "README.md.j2", |_| true),
    Template {
        path: CI,
        text: include_str!("template/ci.yml.j2"),
        is_of: |_| true,
    },
    template!(".gitignore", "gitignore.j2", |_| true),
];

/// Writes the crate into a new folder.
///
/// # Errors
/// A name that no crate can have or a plugin has already, a folder that is not empty, or one that
/// cannot be written.
pub fn new(args: &NewArgs, output: &Output) -> Result<(), Failure> {
    check_name(&args.name).map_err(Failure::bad_input)?;
    if args.python {
        return python::new(args, output);
    }
    check_origin(args).map_err(Failure::bad_input)?;
    let sdk = sdk(args.sdk.as_deref())?;
    let folder = Path::new(&args.name);
    expect_free(folder)?;
    write(folder, args, &sdk)
        .map_err(|error| Failure::new(Exit::Failed, format!("{}: {error}", folder.display())))?;
    let file = library_file(&args.name);
    // Whoever calls this here will write what is built there.
    let trusted = match args.no_trust {
        true => None,
        false => Some(trust_own(folder, Some("target"))),
    };
    if output.json {
        let trusted = matches!(trusted, Some(Ok(_)));
        let json = json!({
            "name": args.name, "folder": folder, "library": file, "trusted": trusted,
        });
        return stdout::line(json);
    }
    let program = crate::program::name();
    let (flag, said) = match trusted {
        Some(Ok(config)) => {
            let said = format!(
                "what is built in {}/target is trusted from now on, by {}",
                args.name,
                config.display()
            );
            ("", said)
        }
        Some(Err(failure)) => {
            let said = format!(
                "what is built there is not trusted, so `run` and `plan` take --allow-plugins: {failure}"
            );
            (" --allow-plugins", said)
        }
        None => {
            let said =
                "what is built there is not trusted, so `run` and `plan` take --allow-plugins";
            (" --allow-plugins", said.to_owned())
        }
    };
    let ci = match args.repository {
        Some(_) => "",
        None => "; no CI was written, for which --repository and --commit say what to install",
    };
    stdout::line(format!(
        "wrote the crate {name}; to test, build, check and run it:\n\n  \
         cd {name}\n  \
         cargo test\n  \
         cargo build --release\n  \
         {program} plugin check target/release/{file}\n  \
         {program} run experiment.toml{flag}\n\n{said}{ci}",
        name = args.name
    ))
}

/// Refuses a folder that holds something.
fn expect_free(folder: &Path) -> Result<(), Failure> {
    if fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some()) || folder.is_file() {
        return Err(Failure::bad_input(format!(
            "{} is there already and not empty: choose another name, or remove it",
            folder.display()
        )));
    }
    Ok(())
}

/// Whether cargo takes the name, and no shipped plugin has it.
fn check_name(name: &str) -> Result<(), String> {
    let is_crate = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if name.len() > MOST_NAME {
        return Err(format!(
            "the name has {} characters, expected at most {MOST_NAME}, which is what registries of crates take",
            name.len()
        ));
    }
    if !is_crate {
        return Err(format!(
            "{name:?} cannot be a plugin's name: use lowercase letters, digits and -, with a letter first"
        ));
    }
    // `cargo` refuses these as names of crates that are built into tests.
    if [
        "test",
        "core",
        "std",
        "alloc",
        "proc-macro",
        "host",
        "plugin-api",
    ]
    .contains(&name)
    {
        return Err(format!("the name {name:?} is taken: choose another"));
    }
    let known = Loader::for_this_program(Trust::Own).names();
    if known.iter().any(|known| known == name) {
        return Err(format!(
            "there is a plugin {name:?} already (`plugin list` says where): choose another name"
        ));
    }
    Ok(())
}

/// Whether a shell and YAML take repository and commit as they are.
fn check_origin(args: &NewArgs) -> Result<(), String> {
    for (flag, value) in [
        ("--repository", &args.repository),
        ("--commit", &args.commit),
    ] {
        let Some(value) = value else { continue };
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._~/:@+%".contains(c);
        if value.is_empty() || value.starts_with('-') || !value.chars().all(plain) {
            let example = match flag {
                "--repository" => "a URL such as https://example.org/rewind.git",
                _ => "a commit or tag, such as v1.0.0",
            };
            return Err(format!("{flag} is {value:?}, expected {example}"));
        }
    }
    Ok(())
}

/// The folder with the plugin API's sources: as given, beside the installed program, or the
/// checkout that the program was built in.
fn sdk(given: Option<&Path>) -> Result<PathBuf, Failure> {
    let is_sdk = |folder: &Path| folder.join("plugin-api/Cargo.toml").is_file();
    if let Some(folder) = given {
        let whole = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
        return if is_sdk(&whole) {
            Ok(whole)
        } else {
            Err(Failure::bad_input(format!(
                "--sdk {} has no plugin-api/Cargo.toml: name the folder `sdk` of an installed program, or a checkout",
                folder.display()
            )))
        };
    }
    let program = env::current_exe().and_then(|path| path.canonicalize());
    let program = program.unwrap_or_default();
    let beside = program.parent().map(|folder| folder.join("sdk"));
    let checkout = program.ancestors().map(Path::to_owned);
    beside
        .into_iter()
        .chain(checkout)
        .find(|folder| is_sdk(folder))
        .ok_or_else(|| {
            Failure::bad_input(
                "the plugin API's sources are not beside this program, as `make install` puts them: \
                 name a checkout with --sdk",
            )
        })
}

/// `libtanh_score.so` on Linux.
fn library_file(name: &str) -> String {
    libloading::library_filename(name.replace('-', "_"))
        .to_string_lossy()
        .into_owned()
}

fn write(folder: &Path, args: &NewArgs, sdk: &Path) -> io::Result<()> {
    let kind = args.kind;
    let all = kind == NewKind::All;
    let what = match kind {
        NewKind::Score => "a score",
        NewKind::Mask => "a mask update",
        NewKind::Rewind => "a rewind policy",
        NewKind::Update => "an update",
        NewKind::All => "a score, a mask update, a rewind policy and an update",
    };
    let values = context! {
        name => &args.name,
        summary => format!("{}: {what} for Rewind", args.name),
        file => library_file(&args.name),
        alone => !all,
        score => all || kind == NewKind::Score,
        mask => all || kind == NewKind::Mask,
        rewind => all || kind == NewKind::Rewind,
        update => all || kind == NewKind::Update,
        repository => &args.repository,
        commit => &args.commit,
    };
    let environment = Environment::new();
    for template in TEMPLATES.iter().filter(|template| template.is_wanted(args)) {
        let text = environment
            .render_str(template.text, &values)
            .map_err(io::Error::other)?
            // It leaves out a template's last line break.
            + "\n";
        let path = folder.join(template.path);
        fs::create_dir_all(path.parent().unwrap_or(folder))?;
        store::write(&path, text.as_bytes()).map_err(io::Error::other)?;
    }
    std::os::unix::fs::symlink(sdk, folder.join(LINK))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(kind: NewKind) -> NewArgs {
        NewArgs {
            name: "tanh-score".to_owned(),
            kind,
            python: false,
            sdk: None,
            repository: Some("https://example.org/rewind.git".to_owned()),
            commit: Some("0123abcd".to_owned()),
            no_trust: true,
        }
    }

    fn written(args: &NewArgs) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let crate_folder = folder.path().join("tanh-score");
        write(&crate_folder, args, folder.path()).unwrap();
        (folder, crate_folder)
    }

    #[test]
    fn ci_installs_what_the_author_named_and_nothing_else() {
        let (_folder, path) = written(&args(NewKind::Score));
        let ci = fs::read_to_string(path.join(CI)).unwrap();
        let fetch = "git -C ../rewind fetch --depth 1 https://example.org/rewind.git 0123abcd";
        assert!(ci.contains(fetch), "{ci}");
        assert!(ci.contains("key: rewind-0123abcd"), "{ci}");
        let mut unnamed = args(NewKind::Score);
        (unnamed.repository, unnamed.commit) = (None, None);
        let (_folder, path) = written(&unnamed);
        assert!(!path.join(CI).exists());
        let readme = fs::read_to_string(path.join("README.md")).unwrap();
        assert!(
            !readme.contains("http") && readme.contains("a checkout of\nRewind."),
            "{readme}"
        );
    }

    #[test]
    fn a_repository_or_commit_that_a_shell_would_split_is_refused() {
        for (repository, commit) in [
            ("a b", "v1"),
            ("https://x", "v1; x"),
            ("--x", "v1"),
            ("u", ""),
        ] {
            let mut args = args(NewKind::Score);
            (args.repository, args.commit) = (Some(repository.to_owned()), Some(commit.to_owned()));
            assert!(check_origin(&args).unwrap_err().contains(", expected a "));
        }
        assert!(check_origin(&args(NewKind::Score)).is_ok());
    }

    const ALONE: [NewKind; 4] = [
        NewKind::Score,
        NewKind::Mask,
        NewKind::Rewind,
        NewKind::Update,
    ];

    #[test]
    fn a_component_without_its_tests_has_at_most_40_lines() {
        for kind in ALONE {
            let (_folder, path) = written(&args(kind));
            let text = fs::read_to_string(path.join("src/lib.rs")).unwrap();
            let component = text.split("\n#[cfg(test)]").next().unwrap();
            assert!(component.contains("export_plugin!"));
            assert!(component.lines().count() <= 40, "{kind:?}: {component}");
        }
    }

    #[test]
    fn nothing_of_a_template_is_left_in_what_is_written() {
        for kind in ALONE.into_iter().chain([NewKind::All]) {
            let (_folder, path) = written(&args(kind));
            for template in TEMPLATES.iter().filter(|it| (it.is_of)(kind)) {
                let text = fs::read_to_string(path.join(template.path)).unwrap();
                assert!(!text.contains("{{ ") && !text.contains("{%"), "{text}");
                assert!(text.ends_with('\n') && !text.ends_with("\n\n"), "{text:?}");
            }
            assert!(fs::symlink_metadata(path.join(LINK)).unwrap().is_symlink());
        }
    }

    #[test]
    fn a_name_that_no_crate_can_have_is_refused() {
        for name in ["", "Tanh", "1x", "a b", "../a", "-a", "a_b"] {
            assert!(
                check_name(name).unwrap_err().contains("cannot be"),
                "{name}"
            );
        }
        assert!(check_name("std").unwrap_err().contains("is taken"));
        assert!(check_name("tanh-score-2").is_ok());
    }
}
