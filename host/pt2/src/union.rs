//! Two graphs as one network: their state is one, or the archive is refused.

use std::collections::{BTreeMap, BTreeSet};

use crate::archive::{Archive, Buffer, Parameter};
use crate::container::quoted;
use crate::error::Fault;
use crate::graph::{Graph, Source};
use crate::half::{Half, Stored};
use crate::parse::Names;

impl Archive {
    /// Takes the state from the first graph, and holds the second to it.
    pub(crate) fn unite(&mut self, halves: Vec<(Names, Half)>) -> Result<(), Fault> {
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
