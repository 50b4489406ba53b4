//! `host plugin new --python`: a file with a strategy, its test and an experiment, which runs as it is.

use std::path::Path;
use std::{fs, io};

use minijinja::{Environment, context};
use serde_json::json;

use super::expect_free;
use crate::cli::args::{NewArgs, NewKind, Output};
use crate::cli::exit::{Exit, Failure};
use crate::cli::plugin::trust::trust_own;
use crate::cli::stdout;
use crate::store;

/// The files of the folder, each with its template; `NAME` is the module's name.
const TEMPLATES: [(&str, &str); 4] = [
    ("NAME.py", include_str!("template/python/strategy.py.j2")),
    ("test_NAME.py", include_str!("template/python/test.py.j2")),
    (
        "experiment.toml",
        include_str!("template/python/experiment.toml.j2"),
    ),
    (".gitignore", include_str!("template/python/gitignore.j2")),
];

/// Writes the file into a new folder.
///
/// # Errors
/// A kind that there is in Rust alone, a folder that is not empty, or one that cannot be written.
pub(super) fn new(args: &NewArgs, output: &Output) -> Result<(), Failure> {
    if args.kind == NewKind::Update {
        return Err(Failure::bad_input(
            "a file of Python has no update, which is called at every step of training: leave out --python, and \
             write it in Rust",
        ));
    }
    let folder = Path::new(&args.name);
    expect_free(folder)?;
    let module = args.name.replace('-', "_");
    write(folder, args, &module)
        .map_err(|error| Failure::new(Exit::Failed, format!("{}: {error}", folder.display())))?;
    // Whoever calls this here will write what lies there.
    let trusted = (!args.no_trust).then(|| trust_own(folder, None));
    let file = format!("{module}.py");
    if output.json {
        let trusted = matches!(trusted, Some(Ok(_)));
        let json = json!({ "name": args.name, "folder": folder, "file": file, "trusted": trusted });
        return stdout::line(json);
    }
    let program = crate::program::name();
    let (flag, said) = match trusted {
        Some(Ok(config)) => (
            "",
            format!(
                "what lies in {} is trusted from now on, by {}",
                args.name,
                config.display()
            ),
        ),
        Some(Err(failure)) => (
            " --allow-plugins",
            format!("it is not trusted, so `run` and `plan` take --allow-plugins: {failure}"),
        ),
        None => (
            " --allow-plugins",
            "it is not trusted, so `run` and `plan` take --allow-plugins".to_owned(),
        ),
    };
    stdout::line(format!(
        "wrote {name}/{file}; to check it against every rule, and to run it:\n\n  \
         cd {name}\n  \
         {program} plugin check {file}\n  \
         {program} run experiment.toml{flag}\n\n{said}",
        name = args.name
    ))
}

fn write(folder: &Path, args: &NewArgs, module: &str) -> io::Result<()> {
    let is = |kind| args.kind == NewKind::All || args.kind == kind;
    let values = context! {
        name => &args.name,
        module => module,
        score => is(NewKind::Score),
        mask => is(NewKind::Mask),
        rewind => is(NewKind::Rewind),
    };
    let environment = Environment::new();
    fs::create_dir_all(folder)?;
    for (path, template) in TEMPLATES {
        let text = environment
            .render_str(template, &values)
            .map_err(io::Error::other)?
            // It leaves out a template's last line break.
            + "\n";
        let path = folder.join(path.replace("NAME", module));
        store::write(&path, text.as_bytes()).map_err(io::Error::other)?;
    }
    Ok(())
}
