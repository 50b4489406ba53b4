//! `host man`.

use clap::Command;
use clap_mangen::Man;

use super::exit::{Exit, Failure};
use super::{stdout, usage};
use crate::program;

/// Writes the manual page: the program, then a section for each command.
///
/// # Errors
/// If stdout cannot be written.
pub fn man() -> Result<Exit, Failure> {
    let mut command = usage::command();
    command.build();
    let failed = |error| Failure::new(Exit::Failed, format!("failed to render: {error}"));
    let (man, mut page) = (Man::new(command.clone()), Vec::new());
    man.render_title(&mut page)
        .and_then(|()| man.render_name_section(&mut page))
        .and_then(|()| man.render_synopsis_section(&mut page))
        .and_then(|()| man.render_options_section(&mut page))
        .map_err(failed)?;
    for sub in leaves(&command) {
        let name = sub.get_bin_name().unwrap_or(sub.get_name()).to_owned();
        page.extend(format!(".SH \"{}\"\n", name.to_uppercase()).bytes());
        let (man, mut section) = (Man::new(sub.clone()), Vec::new());
        man.render_synopsis_section(&mut section)
            .and_then(|()| man.render_description_section(&mut section))
            .and_then(|()| man.render_options_section(&mut section))
            .map_err(failed)?;
        let section = String::from_utf8_lossy(&section).replace(".SH ", ".SS ");
        page.extend(section.bytes());
    }
    let name = program::name();
    for (title, text) in [
        ("EXIT STATUS", &usage::exit_codes()),
        ("EXAMPLES", &usage::examples(&name)),
    ] {
        // As it stands: these lines are laid out already.
        let text = text.replace('\\', "\\e").replace('-', "\\-");
        page.extend(format!(".SH {title:?}\n.nf\n{text}\n.fi\n").bytes());
    }
    stdout::whole(&page)?;
    Ok(Exit::Success)
}

/// The commands that do something themselves.
fn leaves(command: &Command) -> Vec<&Command> {
    let mut found = Vec::new();
    for sub in command.get_subcommands() {
        match sub.has_subcommands() {
            _ if sub.is_hide_set() || sub.get_name() == "help" => {}
            true => found.extend(leaves(sub)),
            false => found.push(sub),
        }
    }
    found
}
