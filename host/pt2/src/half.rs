//! A graph of an archive with the tensors that it is given, as they lie in a file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::archive::Part;
use crate::container::{Bytes, Container, quoted};
use crate::error::{ArchiveError, Fault};
use crate::graph::{Dim, Graph, Source, ValueKind};
use crate::parse::{self, Names};
use crate::schema::{ExportedProgram, Payload, PayloadConfig, SymInt, Versioned};
use crate::tensor::{Dtype, View};

/// Bytes of a graph's JSON. Networks with ten thousand nodes take 20 million.
const JSON_LIMIT: u64 = 256 << 20;

/// Bytes of a record that holds a word.
const WORD_LIMIT: u64 = 64;

/// A file of the archive.
#[derive(Debug)]
pub struct ArchiveFile {
    pub part: Part,
    pub path: PathBuf,
    pub container: Container,
}

/// A graph with the tensors that it is given.
#[derive(Debug)]
pub struct Half {
    pub graph: Graph,
    /// Place in [`Archive::files`].
    pub file: usize,
    /// By the archive's places.
    pub parameters: Vec<Stored>,
    /// By the archive's places.
    pub buffers: Vec<Stored>,
    /// By the graph's places.
    pub constants: Vec<Stored>,
    /// Everything that has a name in the state_dict.
    pub state: BTreeMap<String, Stored>,
}

/// Where a tensor lies.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stored {
    /// Its memory.
    pub record: String,
    pub view: View,
    pub dtype: Dtype,
    pub trainable: bool,
}

impl ArchiveFile {
    pub fn new(part: Part, path: PathBuf, bytes: Bytes) -> Result<Self, ArchiveError> {
        let container = Container::open(bytes).map_err(|fault| fault.of(&path))?;
        Ok(Self {
            part,
            path,
            container,
        })
    }

    fn word(&self, record: &str) -> Result<Option<String>, Fault> {
        let Some(found) = self.container.find(record) else {
            return Ok(None);
        };
        let bytes = self.container.read(found, WORD_LIMIT)?;
        Ok(Some(quoted(String::from_utf8_lossy(&bytes).trim())))
    }
}

/// The graphs of a file, that for training first.
pub fn graphs(file: &ArchiveFile) -> Result<Vec<(Names, Half)>, Fault> {
    let expect = |what, record, expected: &'static str| match file.word(record)? {
        Some(got) if got == expected => Ok(()),
        got => Err(Fault::Version {
            what,
            got: got.unwrap_or_else(|| "missing".to_owned()),
            expected,
        }),
    };
    expect("archive format", "archive_format", "pt2")?;
    expect("archive version", "archive_version", "0")?;
    if file.word("byteorder")?.is_some() {
        expect("byte order", "byteorder", "little")?;
    }
    let records = file.container.records.iter();
    let names = records.filter_map(|it| it.name.strip_prefix("models/")?.strip_suffix(".json"));
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    let expected: &[&str] = match names.as_slice() {
        ["eval", "train"] => &["train", "eval"],
        [name @ ("model" | "train" | "eval")] => &[*name],
        _ => {
            let found = names.iter().map(|name| format!("`{}`", quoted(name)));
            return Err(Fault::Graphs {
                found: found.take(10).collect(),
            });
        }
    };
    expected.iter().map(|name| graph(file, name)).collect()
}

/// The graph of this name, and what its inputs are called.
fn graph(file: &ArchiveFile, name: &str) -> Result<(Names, Half), Fault> {
    let path = format!("models/{name}.json");
    let record = file.container.find(&path).ok_or_else(|| missing(&path))?;
    let bytes = file.container.read(record, JSON_LIMIT)?;
    let version = parse_json::<Versioned>(&path, &bytes)?.schema_version;
    if version.major != 8 {
        return Err(Fault::Version {
            what: "schema version",
            got: format!("{}.{}", version.major, version.minor),
            expected: "8.x",
        });
    }
    let program: ExportedProgram = parse_json(&path, &bytes)?;
    drop(bytes);
    let (graph, names) = parse::parse(name, program)?;
    let weights = payloads(file, name, "weights")?;
    let constants = payloads(file, name, "constants")?;
    let mut half = Half {
        file: 0,
        parameters: Vec::with_capacity(names.parameters.len()),
        buffers: Vec::with_capacity(names.buffers.len()),
        constants: Vec::with_capacity(names.constants.len()),
        state: BTreeMap::new(),
        graph,
    };
    for input in &half.graph.inputs {
        let (name, payload, list) = match input.source {
            Source::Input => continue,
            Source::Parameter(at) => {
                let name = &names.parameters[at];
                (name, weights.get(name), &mut half.parameters)
            }
            Source::Buffer(at) => {
                let (name, persistent) = &names.buffers[at];
                let from = if *persistent { &weights } else { &constants };
                (name, from.get(name), &mut half.buffers)
            }
            Source::Constant(at) => {
                let name = &names.constants[at];
                (name, constants.get(name), &mut half.constants)
            }
        };
        let Some(stored) = payload else {
            return Err(Fault::damaged(
                format!("tensor {}", quoted(name)),
                "its values are not there",
            ));
        };
        if matches!(input.source, Source::Parameter(_)) && stored.dtype != Dtype::F32 {
            return Err(Fault::Precision {
                name: quoted(name),
                dtype: stored.dtype,
            });
        }
        let sizes = stored.view.sizes().iter().map(|&size| Dim::Fixed(size));
        let kind = ValueKind::Tensor {
            dtype: stored.dtype,
            shape: sizes.collect(),
        };
        if half.graph.value(input.value).kind != kind {
            let reason =
                "its shape or type is another one in the graph than in the list of tensors";
            return Err(Fault::damaged(format!("tensor {}", quoted(name)), reason));
        }
        list.push(stored.clone());
    }
    half.state = weights;
    expect_apart(&names, &half)?;
    Ok((names, half))
}

/// Where the tensors of a graph lie, by name.
fn payloads(
    file: &ArchiveFile,
    graph: &str,
    folder: &str,
) -> Result<BTreeMap<String, Stored>, Fault> {
    let path = format!("data/{folder}/{graph}_{folder}_config.json");
    let Some(record) = file.container.find(&path) else {
        let pickled = file.container.find(&format!("data/{folder}/{graph}.pt"));
        return Err(match pickled {
            Some(_) => Fault::Version {
                what: "way of storing tensors",
                got: "one file for all".to_owned(),
                expected: "one for each",
            },
            None => missing(&path),
        });
    };
    let bytes = file.container.read(record, JSON_LIMIT)?;
    let config: PayloadConfig = parse_json(&path, &bytes)?;
    let payloads = config.config.0.into_iter();
    let placed = payloads.map(|(name, payload)| {
        let stored = place(file, folder, &name, payload)?;
        Ok((name, stored))
    });
    placed.collect()
}

/// Where a tensor lies.
fn place(file: &ArchiveFile, folder: &str, name: &str, payload: Payload) -> Result<Stored, Fault> {
    let wrong = |reason: String| Fault::damaged(format!("tensor {}", quoted(name)), reason);
    let (false, Some(meta)) = (payload.use_pickle, payload.tensor_meta) else {
        return Err(Fault::Pickled { name: quoted(name) });
    };
    let path = format!("data/{folder}/{}", payload.path_name);
    let record = file.container.find(&path).ok_or_else(|| missing(&path))?;
    if record.deflated {
        return Err(wrong(format!("its record {} is compressed", quoted(&path))));
    }
    if meta.layout != parse::STRIDED {
        return Err(wrong("it is sparse".to_owned()));
    }
    let dtype = Dtype::numbered(meta.dtype)?;
    let number = |size: &SymInt| match size {
        SymInt::Int(int) => usize::try_from(*int).ok(),
        SymInt::Expr(_) => None,
    };
    let numbers = |list: &[SymInt]| list.iter().map(number).collect::<Option<Vec<usize>>>();
    let lies = || {
        Some((
            numbers(&meta.sizes)?,
            numbers(&meta.strides)?,
            number(&meta.storage_offset)?,
        ))
    };
    let Some((sizes, strides, offset)) = lies() else {
        return Err(wrong("its sizes are no sizes".to_owned()));
    };
    let view = View::new(dtype, sizes, strides, offset, record.size).map_err(wrong)?;
    Ok(Stored {
        record: path,
        view,
        dtype,
        trainable: meta.requires_grad,
    })
}

/// Of a tensor: its memory, where it lies in it, its name, and how it lies there.
type Place<'a> = (&'a str, std::ops::Range<usize>, &'a str, &'a View);

/// No parameter may share a part of its memory: what is trained here has memory of its own.
fn expect_apart(names: &Names, half: &Half) -> Result<(), Fault> {
    let parameters: BTreeSet<&str> = names.parameters.iter().map(String::as_str).collect();
    let mut all: Vec<Place> = Vec::new();
    for (name, stored) in &half.state {
        if parameters.contains(name.as_str()) && !stored.view.is_plain() {
            return Err(Fault::Shared {
                first: quoted(name),
                second: quoted(name),
            });
        }
        let extent = stored.view.extent();
        if !extent.is_empty() {
            all.push((&stored.record, extent, name, &stored.view));
        }
    }
    all.sort_unstable_by_key(|(record, extent, name, _)| (*record, extent.start, *name));
    // The one that reaches furthest of those before, and the parameter that does.
    let mut furthest: [Option<&Place>; 2] = [None; 2];
    for this in &all {
        let is_parameter = parameters.contains(this.2);
        for (before, must_be_parameter) in furthest.iter().zip([is_parameter, true]) {
            let Some(before) = before.filter(|it| it.0 == this.0 && it.1.end > this.1.start) else {
                continue;
            };
            let both = is_parameter && parameters.contains(before.2);
            if must_be_parameter && !(both && before.3 == this.3) {
                return Err(Fault::Shared {
                    first: quoted(before.2),
                    second: quoted(this.2),
                });
            }
        }
        for (place, counts) in furthest.iter_mut().zip([true, is_parameter]) {
            let further = place.is_none_or(|it| it.0 != this.0 || it.1.end < this.1.end);
            if counts && further {
                *place = Some(this);
            }
        }
    }
    Ok(())
}

fn parse_json<T: serde::de::DeserializeOwned>(record: &str, bytes: &[u8]) -> Result<T, Fault> {
    let wrong = |error: serde_json::Error| {
        Fault::damaged(
            format!("record {}", quoted(record)),
            quoted(&error.to_string()),
        )
    };
    serde_json::from_slice(bytes).map_err(wrong)
}

pub fn missing(record: &str) -> Fault {
    Fault::damaged(format!("record {}", quoted(record)), "it is not there")
}
