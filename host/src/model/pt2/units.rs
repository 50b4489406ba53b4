//! The units of an imported network, by its nodes.
//!
//! What only moves numbers - views, slices, concatenations - is called on the units themselves, by libtorch.

use std::collections::HashMap;

use ::pt2::{Archive, Argument, Graph, Mode, Node, Source, Target, ValueId};
use kernels::dispatch::Frame;
use tch::{Device, Kind, Tensor};

use super::lower::{mover, slot};
use super::names::MOVES;
use super::products::sizes;
use super::program::Setting;
use super::state::{Given, State};
use super::views;
use crate::model::units::{Side, Trace, Units};

/// The units of an archive's network.
pub fn units(archive: &Archive, state: &State) -> Units {
    Walk::of(archive, Mode::Eval, state).1
}

/// The nodes one after the other.
pub(super) struct Walk<'a> {
    pub(super) graph: &'a Graph,
    pub(super) state: &'a State,
    pub(super) trace: Trace,
    /// The units of values that depend on the input, for one sample.
    pub(super) values: HashMap<ValueId, Tensor>,
    /// Names of what the trainer holds, by the values of the graph.
    pub(super) names: HashMap<ValueId, String>,
    frame: Option<Frame>,
}

impl<'a> Walk<'a> {
    /// The nodes of an archive's graph, followed, and the units that they are about.
    pub(super) fn of(archive: &'a Archive, mode: Mode, state: &'a State) -> (Self, Units) {
        let mut walk = Self::new(archive.graph(mode), state);
        if let Err(reason) = walk.run() {
            let mut trace = Trace::new();
            let known = walk.trace.known();
            for (tensor, axis, size, side) in known {
                for id in trace.axis(&tensor, axis, size, side) {
                    trace.keep_one(id, &reason);
                }
            }
            walk.trace = trace;
        }
        let units = walk.trace.clone().sets(&state.parameters, &state.buffers);
        (walk, units)
    }

    fn new(graph: &'a Graph, state: &'a State) -> Self {
        let mut names = HashMap::new();
        for input in &graph.inputs {
            let name = match input.source {
                Source::Input => continue,
                source => match state.given(source) {
                    Given::Parameter(at) => &state.parameters[at].name,
                    Given::Buffer(at) => &state.buffers[at].name,
                    Given::Fixed => continue,
                },
            };
            names.insert(input.value, name.clone());
        }
        Self {
            graph,
            state,
            trace: Trace::new(),
            values: HashMap::new(),
            names,
            frame: Frame::new(graph.values.len()).ok(),
        }
    }

    /// Follows all nodes.
    ///
    /// # Errors
    /// Why nothing can be said of the network.
    fn run(&mut self) -> Result<(), String> {
        let shape = self
            .shape(self.graph.input)
            .ok_or("its input is no tensor")?;
        let input = (self.trace).staying(&shape, "they are the network's inputs");
        self.put(self.graph.input, input)?;
        for (at, node) in self.graph.nodes.iter().enumerate() {
            if matches!(node.target, Target::Scalar(_)) {
                self.moves(node);
                continue;
            }
            if !node.reads().iter().any(|it| self.values.contains_key(it)) {
                // What is made of parameters alone uses all of them.
                self.keep_parameters(node, &format!("`{}` reads them, too", node.target));
                continue;
            }
            if !self.follow(node) && !self.moves(node) {
                self.give_up(node)?;
            }
            if let Some(changed) = node.changes_in_place() {
                let seen = views::is_seen_elsewhere(self.graph, changed, node, at);
                let made = node.makes().next().and_then(|it| self.values.get(&it));
                match made.map(Tensor::shallow_clone) {
                    Some(made) if !seen => self.put(changed, made)?,
                    _ => {
                        return Err(format!(
                            "`{}` changes in place what is read under another name",
                            node.target
                        ));
                    }
                }
            }
        }
        if let Some(output) = self.values.get(&self.graph.output) {
            self.trace.keep(output, "they are the network's outputs");
        }
        Ok(())
    }

    /// The sizes of a value for one sample.
    pub(super) fn shape(&self, value: ValueId) -> Option<Vec<i64>> {
        let sizes = sizes(self.graph, value)?;
        Some(sizes.into_iter().map(|it| it as i64).collect())
    }

    pub(super) fn put(&mut self, value: ValueId, units: Tensor) -> Result<(), String> {
        if let Some(frame) = &mut self.frame {
            frame
                .set(slot(value), &units)
                .map_err(|error| error.to_string())?;
        }
        self.values.insert(value, units);
        Ok(())
    }

    /// Calls a node that only moves numbers, or takes sizes, on the units.
    fn moves(&mut self, node: &Node) -> bool {
        let name = views::name(node);
        if name.is_some_and(|it| !MOVES.contains(&it.trim_end_matches("_copy"))) {
            return false;
        }
        // Zeros are nobody's; other borders are constants that a layer would read.
        if name == Some("constant_pad_nd") || name == Some("pad") {
            let fill = node.argument("value");
            let zero = matches!(fill, None | Some(Argument::None | Argument::Int(0)))
                || fill == Some(&Argument::Float(0.0));
            let mode = node.argument("mode");
            let constant = matches!(mode, None | Some(Argument::None))
                || mode == Some(&Argument::String("constant".to_owned()));
            if !zero || !constant {
                return false;
            }
        }
        self.join(node);
        let setting = Setting {
            trains: false,
            draws: false,
            device: Device::Cpu,
            kind: Kind::Float,
        };
        let Some(frame) = &mut self.frame else {
            return false;
        };
        let called = mover(node, setting).and_then(|it| {
            let called = frame.call(&it);
            called.map_err(|error| error.to_string())
        });
        if called.is_err() {
            return false;
        }
        for made in node.makes() {
            // A size is a number, and stays in the frame.
            if self.graph.shape(made).is_some()
                && let Ok(units) = frame.tensor(slot(made))
            {
                self.values.insert(made, units);
            }
        }
        true
    }

    /// Constants that stand beside units are units that stay.
    fn join(&mut self, node: &Node) {
        let joined = node.inputs.iter().filter_map(|(_, it)| match it {
            Argument::Tensors(all) => Some(all.clone()),
            _ => None,
        });
        for value in joined.flatten() {
            if let (false, Some(shape)) = (self.values.contains_key(&value), self.shape(value)) {
                let constant = self.trace.staying(&shape, "a constant stands beside them");
                // What a frame does not take, the call refuses.
                let _ = self.put(value, constant);
            }
        }
    }

    /// Parameters that are used in other ways than layers do keep all that they make and read.
    fn keep_parameters(&mut self, node: &Node, reason: &str) {
        for value in node.reads() {
            let Some(name) = self.names.get(&value).cloned() else {
                continue;
            };
            let own = self.state.parameters.iter().find(|it| it.name == name);
            let shape = own.map_or(&[][..], |it| &it.shape);
            for (axis, &size) in shape.iter().enumerate() {
                for id in self.trace.axis(&name, axis, size, Side::Reads) {
                    self.trace.keep_one(id, reason);
                }
            }
        }
    }

    /// All that an unknown operation reads stays, and so does what it makes.
    fn give_up(&mut self, node: &Node) -> Result<(), String> {
        let reason = format!("`{}` is not known", node.target);
        for value in node.reads() {
            if let Some(units) = self.values.get(&value) {
                self.trace.keep(units, &reason);
            }
        }
        self.keep_parameters(node, &reason);
        for made in node.makes() {
            if self.graph.shape(made).is_none() {
                continue;
            }
            let shape = self
                .shape(made)
                .ok_or_else(|| format!("the size of what `{}` makes is not known", node.target))?;
            let units = self.trace.staying(&shape, &reason);
            self.put(made, units)?;
        }
        Ok(())
    }
}
