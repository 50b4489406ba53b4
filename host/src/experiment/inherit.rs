//! Reading a file together with the files it is based on.

use std::io;
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use super::diagnostic::{Diagnostic, Place};
use super::encoding;
use super::problems::Diagnostics;
use super::tree::{Node, Planter, Table, Tree};
use crate::plain_file;

/// No experiment file is larger: what people write has a few thousand bytes.
const MOST_BYTES: u64 = 1 << 20;

/// No chain of files that are based on each other is longer.
const MOST_BASES: usize = 32;

/// Reads experiment files; keeps the folder of each, where its relative paths start.
#[derive(Clone, Default)]
pub(super) struct Reader {
    pub problems: Diagnostics,
    /// Folder of each of the problems' files.
    pub folders: Vec<PathBuf>,
}

impl Reader {
    /// The file with its bases merged in; none if it cannot be read.
    pub fn read(&mut self, path: &Path) -> Option<Node> {
        self.read_chain(path, None, &mut Vec::new())
    }

    /// `named_at` is where another file names this one as its base, `chain` what led here.
    fn read_chain(
        &mut self,
        path: &Path,
        named_at: Option<&Place>,
        chain: &mut Vec<PathBuf>,
    ) -> Option<Node> {
        let text = match text_of(path, named_at.is_some()) {
            Ok(text) => text,
            Err(error) => {
                let message = format!("failed to read `{}`: {error}", path.display());
                self.problems.push(Diagnostic::new(named_at, message));
                return None;
            }
        };
        let identity = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        if chain.contains(&identity) {
            let message = format!("`{}` is based on itself", path.display());
            let problem = Diagnostic::new(named_at, message).label("leads back to it");
            self.problems.push(problem);
            return None;
        }
        if chain.len() == MOST_BASES {
            let message = format!("`{}` is the last of too many bases", path.display());
            let label = format!("expected at most {MOST_BASES} files that are based on each other");
            self.problems
                .push(Diagnostic::new(named_at, message).label(label));
            return None;
        }
        chain.push(identity);
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        let mut top = self.parse(&path.display().to_string(), text, folder.clone());
        let base = top.table_mut().and_then(|table| table.remove("base"));
        let Some((_, base)) = base else {
            return Some(top);
        };
        match &base.value {
            Tree::Text(name) => {
                let base = self.read_chain(&folder.join(name), Some(&base.place), chain);
                Some(match base {
                    Some(base) => overlay(base, top, &mut Vec::new()),
                    None => top,
                })
            }
            Tree::Invalid => Some(top),
            _ => {
                let message = "`base` must be the path of another experiment file";
                let problem = Diagnostic::new(Some(&base.place), message)
                    .label(format!("found {}", base.type_name()));
                self.problems.push(problem);
                Some(top)
            }
        }
    }

    /// The tree of a text; `name` is how problems name it.
    pub fn parse(&mut self, name: &str, text: String, folder: PathBuf) -> Node {
        let (table, errors) = DeTable::parse_recoverable(&text);
        let file = self.problems.add_file(name, text.as_str());
        self.folders.push(folder);
        let mut planter = Planter {
            file,
            offset: 0,
            problems: &mut self.problems,
            broken: Vec::new(),
        };
        for error in &errors {
            planter.syntax_error(error);
        }
        Node {
            place: Place::whole(file),
            value: Tree::Table(planter.table(table.get_ref())),
        }
    }
}

/// The text of an experiment file. One that another file names may be anything that a stranger wrote
/// there: a device without end, or a secret that would be shown with its syntax errors.
pub(super) fn text_of(path: &Path, is_named_by_a_file: bool) -> io::Result<String> {
    let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let bytes = plain_file::read(path, MOST_BYTES)?;
    let real = path.canonicalize()?;
    if is_named_by_a_file && real.extension().is_none_or(|it| it != "toml") {
        return Err(invalid(
            "the name of an experiment file that another one names ends in .toml",
        ));
    }
    encoding::utf8(bytes).map_err(|reason| invalid(&reason))
}

/// `top` laid over `base`: tables are merged key by key, everything else is replaced.
///
/// Two exceptions: where both choose a component by name and the names differ, the base's table
/// goes as a whole, because its options belong to another component; and `levels` drops an
/// inherited `densities`, and the reverse.
pub(super) fn overlay(mut base: Node, top: Node, path: &mut Vec<String>) -> Node {
    if let (Tree::Text(component), Tree::Table(_), Some("use")) =
        (&base.value, &top.value, name_key(path))
    {
        base = Node::singleton("use", component, &base.place);
    }
    let Tree::Table(ref mut base_table) = base.value else {
        return top;
    };
    let Tree::Table(top_table) = top.value else {
        return top;
    };
    if let Some(key) = name_key(path) {
        let differs = match (base_table.get(key), top_table.get(key)) {
            (Some(base), Some(top)) => base.value != top.value,
            _ => false,
        };
        if differs {
            *base_table = Table::default();
        }
    }
    if path == &["prune"] {
        for (given, dropped) in [
            ("levels", "densities"),
            ("rate", "densities"),
            ("densities", "levels"),
            ("densities", "rate"),
        ] {
            if top_table.get(given).is_some() {
                base_table.remove(dropped);
            }
        }
    }
    for (key, node) in top_table.iter() {
        let merged = match base_table.take_value(&key.text) {
            Some(inherited) => {
                path.push(key.text.clone());
                let merged = overlay(inherited, node.clone(), path);
                path.pop();
                merged
            }
            None => node.clone(),
        };
        base_table.insert(key.clone(), merged);
    }
    Node {
        place: top.place,
        value: base.value,
    }
}

/// The key by which the table at this path names a component, if it does.
pub(super) fn name_key(path: &[String]) -> Option<&'static str> {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    match path[..] {
        ["data" | "model"] | ["train", "optimizer" | "schedule"] => Some("name"),
        ["strategy", "score" | "mask" | "rewind" | "update"]
        | ["strategy", "rewind" | "update", _] => Some("use"),
        _ => None,
    }
}
