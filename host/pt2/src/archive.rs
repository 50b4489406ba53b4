//! An archive: its graphs, the state that they share, and copies with another state.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};

use crate::container::{Bytes, Container, Record, quoted};
use crate::error::{ArchiveError, Fault};
use crate::graph::{Dim, Graph, Source, ValueKind};
use crate::parse::{self, Names};
use crate::schema::{ExportedProgram, Payload, PayloadConfig, SymInt, Versioned};
use crate::tensor::{Dtype, View};

/// Bytes of a graph's JSON. Networks with ten thousand nodes take 20 million.
const JSON_LIMIT: u64 = 256 << 20;

/// Bytes of a record that holds a word.
const WORD_LIMIT: u64 = 64;

/// What a network is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// As after `model.train()`.
    Train,
    /// As after `model.eval()`.
    Eval,
}

/// A file of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The only one.
    Whole,
    /// With the graph for training, `NAME.train.pt2`.
    Train,
    /// With the graph for evaluation, `NAME.eval.pt2`.
    Eval,
}

impl Part {
    /// The name of this file of the archive `NAME.pt2`.
    pub fn path(self, archive: &Path) -> PathBuf {
        match self {
            Self::Whole => archive.to_owned(),
            Self::Train => archive.with_extension("train.pt2"),
            Self::Eval => archive.with_extension("eval.pt2"),
        }
    }
}

/// A parameter: a tensor of float32 that has a gradient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// In the state_dict.
    pub name: String,
    /// Its dimensions.
    pub shape: Vec<usize>,
    /// Whether it is trained: PyTorch's `requires_grad`.
    pub trainable: bool,
    /// The place in [`Archive::parameters`] of the first name of the same tensor; none for that name itself.
    pub tied_to: Option<usize>,
}

/// A buffer: state that has no gradient, such as running statistics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Buffer {
    /// In the state_dict, if that has it.
    pub name: String,
    /// Of its elements.
    pub dtype: Dtype,
    /// Its dimensions.
    pub shape: Vec<usize>,
    /// Whether the state_dict has it.
    pub persistent: bool,
    /// The place in [`Archive::buffers`] of the first name of the same tensor; none for that name itself.
    pub tied_to: Option<usize>,
}

/// A network as `torch.export` archived it: a graph for each mode, and the state that both share.
#[derive(Debug)]
pub struct Archive {
    parameters: Vec<Parameter>,
    buffers: Vec<Buffer>,
    /// One, or those for training and evaluation.
    halves: Vec<Half>,
    /// One, or one for each half.
    pub(crate) files: Vec<ArchiveFile>,
}

/// A file of the archive.
#[derive(Debug)]
pub(crate) struct ArchiveFile {
    pub part: Part,
    pub path: PathBuf,
    pub container: Container,
}

/// A graph with the tensors that it is given.
#[derive(Debug)]
struct Half {
    graph: Graph,
    /// Place in [`Archive::files`].
    file: usize,
    /// By the archive's places.
    parameters: Vec<Stored>,
    /// By the archive's places.
    buffers: Vec<Stored>,
    /// By the graph's places.
    constants: Vec<Stored>,
    /// Everything that has a name in the state_dict.
    state: BTreeMap<String, Stored>,
}

/// Where a tensor lies.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Stored {
    /// Its memory.
    pub record: String,
    pub view: View,
    dtype: Dtype,
    trainable: bool,
}

impl Archive {
    /// Opens an archive and checks everything but the bytes of the tensors, which are read when they are asked
    /// for. If there is no file `NAME.pt2`, it is the pair `NAME.train.pt2` and `NAME.eval.pt2`, which may be
    /// named by either, too.
    ///
    /// # Errors
    /// What is wrong, where, and what to do about it.
    pub fn open(path: &Path) -> Result<Self, ArchiveError> {
        let name = path.to_string_lossy();
        let stem = [".train.pt2", ".eval.pt2"]
            .iter()
            .find_map(|end| name.strip_suffix(end));
        let whole = match stem {
            Some(stem) => PathBuf::from(format!("{stem}.pt2")),
            None => path.to_owned(),
        };
        let pair = [Part::Train, Part::Eval].map(|part| (part, part.path(&whole)));
        let is_pair = stem.is_some() || (!path.exists() && pair[0].1.exists());
        let parts = match is_pair {
            true => pair.to_vec(),
            false => vec![(Part::Whole, whole)],
        };
        let mut files = Vec::new();
        for (part, path) in parts {
            if is_pair && !path.exists() {
                let (_, other) = pair
                    .iter()
                    .find(|(other, _)| *other != part)
                    .unwrap_or(&pair[0]);
                return Err(Fault::Half { missing: path }.of(other));
            }
            let bytes = open(&path).map_err(|fault| fault.of(&path))?;
            files.push(ArchiveFile::new(part, path, bytes)?);
        }
        Self::of_files(files)
    }

    /// Opens an archive in memory. The path is what messages call it.
    ///
    /// # Errors
    /// As [`Archive::open`].
    pub fn from_bytes(path: &Path, bytes: Vec<u8>) -> Result<Self, ArchiveError> {
        let bytes = Bytes::Memory(bytes);
        Self::of_files(vec![ArchiveFile::new(Part::Whole, path.to_owned(), bytes)?])
    }

    fn of_files(files: Vec<ArchiveFile>) -> Result<Self, ArchiveError> {
        let path = files[0].path.clone();
        let mut halves = Vec::new();
        for (at, file) in files.iter().enumerate() {
            let read = graphs(file).map_err(|fault| fault.of(&file.path))?;
            for (names, mut half) in read {
                half.file = at;
                halves.push((names, half));
            }
        }
        let mut archive = Self {
            parameters: Vec::new(),
            buffers: Vec::new(),
            halves: Vec::new(),
            files,
        };
        archive.unite(halves).map_err(|fault| fault.of(&path))?;
        Ok(archive)
    }

    /// Takes the state from the first graph, and holds the second to it.
    fn unite(&mut self, halves: Vec<(Names, Half)>) -> Result<(), Fault> {
        let mut halves = halves.into_iter();
        let (Some((names, mut first)), second, None) =
            (halves.next(), halves.next(), halves.next())
        else {
            let found = vec!["more than two".to_owned()];
            return Err(Fault::Graphs { found });
        };
        let tied = firsts(&first.parameters);
        for ((name, stored), tied_to) in names
            .parameters
            .into_iter()
            .zip(&first.parameters)
            .zip(tied)
        {
            self.parameters.push(Parameter {
                name,
                shape: stored.view.sizes().to_vec(),
                trainable: stored.trainable,
                tied_to,
            });
        }
        let tied = firsts(&first.buffers);
        for (((name, persistent), stored), tied_to) in
            names.buffers.into_iter().zip(&first.buffers).zip(tied)
        {
            self.buffers.push(Buffer {
                name,
                dtype: stored.dtype,
                shape: stored.view.sizes().to_vec(),
                persistent,
                tied_to,
            });
        }
        first.graph.take_firsts(&self.parameters, &self.buffers);
        self.halves.push(first);
        match second {
            Some((names, second)) => self.add_second(&names, second),
            None => self.expect_one_mode(),
        }
    }

    /// Adds the graph for evaluation, whose state must be the archive's.
    fn add_second(&mut self, names: &Names, mut half: Half) -> Result<(), Fault> {
        let first = &self.halves[0];
        let parameters: Vec<&str> = self.parameters.iter().map(|it| it.name.as_str()).collect();
        let theirs: Vec<&str> = names.parameters.iter().map(String::as_str).collect();
        let places = same_names(&parameters, &theirs, "parameter")?;
        half.parameters = in_order(&half.parameters, &places);
        let buffers: Vec<&str> = self.buffers.iter().map(|it| it.name.as_str()).collect();
        let theirs: Vec<&str> = names
            .buffers
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        let buffer_places = same_names(&buffers, &theirs, "buffer")?;
        half.buffers = in_order(&half.buffers, &buffer_places);
        half.graph.renumber(&places, &buffer_places);
        half.graph.take_firsts(&self.parameters, &self.buffers);
        for (name, one, other) in (parameters
            .iter()
            .zip(&first.parameters)
            .zip(&half.parameters))
        .chain(buffers.iter().zip(&first.buffers).zip(&half.buffers))
        .map(|((name, one), other)| (name, one, other))
        {
            expect_same(name, one, other)?;
        }
        for (what, names, one, other) in [
            (
                "parameter",
                &parameters,
                &first.parameters,
                &half.parameters,
            ),
            ("buffer", &buffers, &first.buffers, &half.buffers),
        ] {
            let ties = firsts(one).into_iter().zip(firsts(other));
            if let Some((name, _)) = names
                .iter()
                .zip(ties)
                .find(|(_, (one, other))| one != other)
            {
                return Err(Fault::Differ {
                    name: quoted(name),
                    how: format!("it is another name of a {what} in one of them alone"),
                });
            }
        }
        let (train, eval) = (&first.graph, &half.graph);
        for (what, one, other) in [
            (
                "the input",
                train.value(train.input),
                eval.value(eval.input),
            ),
            (
                "the output",
                train.value(train.output),
                eval.value(eval.output),
            ),
        ] {
            if one.kind != other.kind {
                return Err(Fault::Differ {
                    name: what.to_owned(),
                    how: "its shape or type is another one".to_owned(),
                });
            }
        }
        self.halves.push(half);
        self.expect_same_values()
    }

    /// Both graphs were stored with their state; it has to be one.
    fn expect_same_values(&self) -> Result<(), Fault> {
        let [train, eval] = self.halves.as_slice() else {
            return Ok(());
        };
        let parameters = self.parameters.iter().map(|it| it.name.as_str());
        let buffers = self.buffers.iter().map(|it| it.name.as_str());
        let names = parameters.chain(buffers);
        let stored = |half: &Half| -> Vec<Stored> {
            half.parameters
                .iter()
                .chain(&half.buffers)
                .cloned()
                .collect()
        };
        for ((name, one), other) in names.zip(stored(train)).zip(stored(eval)) {
            let (first, second) = (self.record(train, &one)?, self.record(eval, &other)?);
            // Equal checksums of equal lengths are enough: when a tensor is read, it has to fit them.
            let same =
                first.crc == second.crc && first.size == second.size && one.view == other.view;
            if !same && self.read(train, &one)? != self.read(eval, &other)? {
                return Err(Fault::Differ {
                    name: quoted(name),
                    how: "its values are other ones".to_owned(),
                });
            }
        }
        Ok(())
    }

    /// One graph has to serve both modes.
    fn expect_one_mode(&self) -> Result<(), Fault> {
        let graph = &self.halves[0].graph;
        let mut nodes: Vec<String> = graph
            .nodes_of_mode()
            .take(5)
            .map(|node| format!("{} ({})", quoted(&node.name), node.target))
            .collect();
        for source in graph.changes() {
            if let (Source::Buffer(at), true) = (source, nodes.len() < 5) {
                nodes.push(format!("that change {}", quoted(&self.buffers[at].name)));
            }
        }
        match nodes.is_empty() {
            true => Ok(()),
            false => Err(Fault::Mode { nodes }),
        }
    }

    /// The parameters, in the order of the network's `parameters()`; of tied ones every name.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// The buffers, in the order of the graph's signature; of tied ones every name.
    pub fn buffers(&self) -> &[Buffer] {
        &self.buffers
    }

    /// What the network computes in a mode. Where nothing depends on it, both modes have the same graph.
    pub fn graph(&self, mode: Mode) -> &Graph {
        &self.half(mode).graph
    }

    /// Whether each mode has a graph of its own.
    pub fn has_two_graphs(&self) -> bool {
        self.halves.len() == 2
    }

    fn half(&self, mode: Mode) -> &Half {
        match mode {
            Mode::Train => &self.halves[0],
            Mode::Eval => &self.halves[self.halves.len() - 1],
        }
    }

    /// The values of a parameter: float32, little-endian, in one piece, the last dimension fastest.
    ///
    /// # Errors
    /// If they cannot be read, or do not fit their checksum.
    ///
    /// # Panics
    /// If there is no such parameter.
    pub fn read_parameter(&self, at: usize) -> Result<Vec<u8>, ArchiveError> {
        self.read_stored(&self.halves[0], |half| &half.parameters[at])
    }

    /// The values of a buffer, as [`Archive::read_parameter`] gives them, in the buffer's type.
    ///
    /// # Errors
    /// If they cannot be read, or do not fit their checksum.
    ///
    /// # Panics
    /// If there is no such buffer.
    pub fn read_buffer(&self, at: usize) -> Result<Vec<u8>, ArchiveError> {
        self.read_stored(&self.halves[0], |half| &half.buffers[at])
    }

    /// The values of one of [`Graph::constants`] of the graph of a mode, in the constant's type.
    ///
    /// # Errors
    /// If they cannot be read, or do not fit their checksum.
    ///
    /// # Panics
    /// If there is no such constant.
    pub fn read_constant(&self, mode: Mode, at: usize) -> Result<Vec<u8>, ArchiveError> {
        self.read_stored(self.half(mode), |half| &half.constants[at])
    }

    fn read_stored(
        &self,
        half: &Half,
        stored: impl Fn(&Half) -> &Stored,
    ) -> Result<Vec<u8>, ArchiveError> {
        let read = self.read(half, stored(half));
        read.map_err(|fault| fault.of(&self.files[half.file].path))
    }

    fn record<'a>(&'a self, half: &Half, stored: &Stored) -> Result<&'a Record, Fault> {
        let found = self.files[half.file].container.find(&stored.record);
        found.ok_or_else(|| missing(&stored.record))
    }

    fn read(&self, half: &Half, stored: &Stored) -> Result<Vec<u8>, Fault> {
        let record = self.record(half, stored)?;
        let container = &self.files[half.file].container;
        Ok(stored.view.gather(container.read(record, u64::MAX)?))
    }

    /// The files of the archive.
    pub fn parts(&self) -> impl Iterator<Item = (Part, &Path)> {
        self.files
            .iter()
            .map(|file| (file.part, file.path.as_path()))
    }

    /// Each name of the state_dict with its place, by the place of its memory in one of the files.
    pub(crate) fn state_of(&self, file: usize) -> BTreeMap<&str, Vec<(&str, &View)>> {
        let mut memories: BTreeMap<&str, Vec<(&str, &View)>> = BTreeMap::new();
        for half in self.halves.iter().filter(|half| half.file == file) {
            for (name, stored) in &half.state {
                memories
                    .entry(&stored.record)
                    .or_default()
                    .push((name, &stored.view));
            }
        }
        memories
    }
}

impl Graph {
    /// Names the first of tied tensors in the place of each.
    fn take_firsts(&mut self, parameters: &[Parameter], buffers: &[Buffer]) {
        self.rename(|source| match source {
            Source::Parameter(at) => Source::Parameter(parameters[at].tied_to.unwrap_or(at)),
            Source::Buffer(at) => Source::Buffer(buffers[at].tied_to.unwrap_or(at)),
            other => other,
        });
    }

    /// Puts other places in the place of its own.
    fn renumber(&mut self, parameters: &[usize], buffers: &[usize]) {
        self.rename(|source| match source {
            Source::Parameter(at) => Source::Parameter(parameters[at]),
            Source::Buffer(at) => Source::Buffer(buffers[at]),
            other => other,
        });
    }

    fn rename(&mut self, new: impl Fn(Source) -> Source) {
        for input in &mut self.inputs {
            input.source = new(input.source);
        }
        for update in &mut self.updates {
            update.target = new(update.target);
        }
    }
}

/// Opens a plain file: a pipe would block, and a folder has no bytes.
fn open(path: &Path) -> Result<Bytes, Fault> {
    let plain = |it: std::fs::Metadata| match it.is_file() {
        true => Ok(()),
        false => {
            let message = "it is no plain file";
            Err(std::io::Error::new(
                std::io::ErrorKind::InvalidInput,
                message,
            ))
        }
    };
    let opened = std::fs::metadata(path)
        .and_then(plain)
        .and_then(|()| File::open(path));
    opened.map(Bytes::File).map_err(Fault::Read)
}

impl ArchiveFile {
    fn new(part: Part, path: PathBuf, bytes: Bytes) -> Result<Self, ArchiveError> {
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

fn parse_json<T: serde::de::DeserializeOwned>(record: &str, bytes: &[u8]) -> Result<T, Fault> {
    let wrong = |error: serde_json::Error| {
        Fault::damaged(
            format!("record {}", quoted(record)),
            quoted(&error.to_string()),
        )
    };
    serde_json::from_slice(bytes).map_err(wrong)
}

fn missing(record: &str) -> Fault {
    Fault::damaged(format!("record {}", quoted(record)), "it is not there")
}

/// The graphs of a file, that for training first.
fn graphs(file: &ArchiveFile) -> Result<Vec<(Names, Half)>, Fault> {
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

fn expect_same(name: &str, one: &Stored, other: &Stored) -> Result<(), Fault> {
    let shapes = (one.view.sizes(), other.view.sizes());
    let how = if shapes.0 != shapes.1 {
        format!(
            "its shape is {:?} in `train` and {:?} in `eval`",
            shapes.0, shapes.1
        )
    } else if one.dtype != other.dtype {
        format!(
            "it is {} in `train` and {} in `eval`",
            one.dtype, other.dtype
        )
    } else {
        return Ok(());
    };
    Err(Fault::Differ {
        name: quoted(name),
        how,
    })
}

/// For every place in a list the first that is the same tensor.
fn firsts(stored: &[Stored]) -> Vec<Option<usize>> {
    let mut first = BTreeMap::new();
    let places = stored.iter().enumerate().map(|(at, it)| {
        // Tensors without elements share nothing.
        let memory = (it.view.count() > 0).then_some((&it.record, &it.view, it.dtype));
        let first = memory.map_or(at, |memory| *first.entry(memory).or_insert(at));
        (first != at).then_some(first)
    });
    places.collect()
}

/// For every name of the second list its place in the first, which has to have the same names.
fn same_names(train: &[&str], eval: &[&str], what: &str) -> Result<Vec<usize>, Fault> {
    let alone = |name: &str, graph: &str| Fault::Differ {
        name: quoted(name),
        how: format!("the {what} is in `{graph}` alone"),
    };
    let known: BTreeMap<&str, usize> = train.iter().copied().zip(0..).collect();
    let place = |name: &&str| known.get(name).copied().ok_or_else(|| alone(name, "eval"));
    let places: Vec<usize> = eval.iter().map(place).collect::<Result<_, _>>()?;
    let theirs: BTreeSet<&str> = eval.iter().copied().collect();
    match train.iter().find(|name| !theirs.contains(**name)) {
        Some(name) => Err(alone(name, "train")),
        None => Ok(places),
    }
}

/// The tensors in the order of their places, which are all places, each once.
fn in_order(stored: &[Stored], places: &[usize]) -> Vec<Stored> {
    let mut sorted: Vec<(usize, &Stored)> = places.iter().copied().zip(stored).collect();
    sorted.sort_by_key(|(place, _)| *place);
    sorted
        .into_iter()
        .map(|(_, stored)| stored.clone())
        .collect()
}
