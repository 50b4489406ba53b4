//! Imported networks without some of their units.
//!
//! A graph's nodes where layers lost some of their units: what its author's sizes were is what is left of them.

use std::collections::BTreeMap;

use ::pt2::{Archive, Argument, Dtype, Mode, Node, Output, Scalar, Target, ValueId};
use tch::{Device, Kind, Tensor};

use super::Imported;
use super::products;
use super::program::{Program, Setting};
use super::state::State;
use super::topology::{ints, same};
use super::units::Walk;
use super::views::{self, set};
use crate::model::units::{self, Left, Side, UnitSet, Units, first_of};

/// How far outputs may be away from those with all units, of the largest.
const TOLERANCE: f64 = 1e-6;

/// How large a graph's values are without some of the units.
pub struct Fewer<'a> {
    walk: Walk<'a>,
    left: Left,
    units: Units,
    survives: Vec<Vec<bool>>,
}

impl<'a> Fewer<'a> {
    /// With parameters of these shapes, in the trainer's order.
    ///
    /// # Errors
    /// If no number of units leaves these shapes.
    pub fn of(
        archive: &'a Archive,
        mode: Mode,
        state: &'a State,
        shapes: &[Vec<i64>],
    ) -> Result<Self, String> {
        let (mut walk, units) = Walk::of(archive, mode, state);
        let own = state.parameters.iter();
        let full: BTreeMap<&str, &[i64]> = own
            .clone()
            .map(|it| (&it.name[..], &it.shape[..]))
            .collect();
        let left = own.zip(shapes).map(|(it, left)| (&it.name[..], &left[..]));
        let survives = first_of(&units.sets, &full, &left.collect())?;
        let left = Left::of(&mut walk.trace, &units.sets, survives.clone());
        Ok(Self {
            walk,
            left,
            units,
            survives,
        })
    }

    /// The network's units, and which are left in the one that stands for all of these shapes.
    pub fn survivors(&self) -> (&Units, &[Vec<bool>]) {
        (&self.units, &self.survives)
    }

    /// The node with the sizes that are left.
    ///
    /// # Errors
    /// If there are none that hold whichever units are left.
    pub fn node(&mut self, node: &Node) -> Result<Node, String> {
        let mut node = node.clone();
        let (Some(name), Some(first)) =
            (views::name(&node).map(str::to_owned), views::first(&node))
        else {
            return Ok(node);
        };
        match name.trim_end_matches("_copy") {
            "view" | "reshape" | "_unsafe_view" | "expand" => {
                let made = node.makes().next().ok_or("its result goes nowhere")?;
                for argument in ["size", "shape"] {
                    self.resize(&mut node, argument, made, 0)?;
                }
            }
            "unflatten" => {
                let made = node.makes().next().ok_or("its result goes nowhere")?;
                let rank = self.units_of(first).map_or(0, |it| it.dim() as i64);
                let at = number(&node, "dim", 0)?.rem_euclid(rank.max(1));
                self.resize(&mut node, "sizes", made, at as usize)?;
            }
            "conv1d" | "conv2d" | "conv3d" | "convolution" => {
                let groups = number(&node, "groups", 1)?;
                let weight = views::tensor(&node, "weight");
                let each = weight.and_then(|it| self.walk.shape(it)?.get(1).copied());
                // Groups of several channels stay; one of its own goes with its group.
                if groups > 1 && each == Some(1) {
                    let channels = self.size(first, 1)?.1;
                    set(&mut node.inputs, "groups", Argument::Int(channels));
                }
            }
            "group_norm" => {
                let (full, left) = self.size(first, 1)?;
                let groups = number(&node, "num_groups", 1)?;
                if full != left {
                    if groups * left % full != 0 {
                        return Err("its groups would not be equally large".to_owned());
                    }
                    set(
                        &mut node.inputs,
                        "num_groups",
                        Argument::Int(groups * left / full),
                    );
                }
            }
            "slice" | "narrow" | "split" | "split_with_sizes" | "chunk" => {
                self.cut(&mut node, &name, first)?;
            }
            "squeeze" => {
                for axis in 0..self.rank(first) {
                    let (full, left) = self.size(first, axis)?;
                    if full != 1 && left == 1 {
                        return Err(format!("dimension {axis} has size 1 by now"));
                    }
                }
            }
            "select" | "unbind" | "roll" | "channel_shuffle" => {
                let axis = match name.as_str() {
                    "channel_shuffle" => 1,
                    _ => self.axis(&node, first)?,
                };
                self.is_whole(first, axis)?;
            }
            "layer_norm" | "rms_norm" => {
                let last = ints(&node, "normalized_shape").map_or(0, |it| it.len());
                let rank = self.rank(first);
                for axis in rank.saturating_sub(last)..rank {
                    self.is_whole(first, axis)?;
                }
            }
            _ => {}
        }
        Ok(node)
    }

    fn units_of(&self, value: ValueId) -> Option<Tensor> {
        self.walk.values.get(&value).map(Tensor::shallow_clone)
    }

    fn rank(&self, value: ValueId) -> usize {
        self.units_of(value).map_or(0, |it| it.dim())
    }

    /// The size of a value along a dimension, in full and as it is left.
    fn size(&mut self, value: ValueId, axis: usize) -> Result<(i64, i64), String> {
        let Some(units) = self.units_of(value) else {
            return Err("it reads what is made of parameters alone".to_owned());
        };
        let full = (units.size().get(axis).copied()).ok_or("it has no such dimension")?;
        let trace = &mut self.walk.trace;
        Ok((full, self.left.count(trace, &units, axis as i64, 0..full)?))
    }

    fn is_whole(&mut self, value: ValueId, axis: usize) -> Result<(), String> {
        if self.units_of(value).is_none() {
            return Ok(());
        }
        match self.size(value, axis)? {
            (full, left) if full == left => Ok(()),
            (full, left) => Err(format!(
                "of dimension {axis} {left} of {full} places are left, and which it needs is not known"
            )),
        }
    }

    /// The dimension that an operation is about.
    fn axis(&self, node: &Node, value: ValueId) -> Result<usize, String> {
        let name = ["dim", "dims"]
            .into_iter()
            .find(|it| node.argument(it).is_some());
        let given = name.map_or(Some(0), |name| same(node, name, 0));
        let given = given.ok_or("it is about several dimensions")?;
        Ok(given.rem_euclid(self.rank(value).max(1) as i64) as usize)
    }

    /// Gives the numbers of an argument the sizes of the result's dimensions from `from` on.
    fn resize(
        &mut self,
        node: &mut Node,
        argument: &str,
        made: ValueId,
        from: usize,
    ) -> Result<(), String> {
        if self.units_of(made).is_none() {
            return Ok(());
        }
        let Some((_, given)) = node.inputs.iter_mut().find(|(name, _)| name == argument) else {
            return Ok(());
        };
        let fixed: Vec<(usize, &mut i64)> = match given {
            Argument::Ints(numbers) => numbers.iter_mut().enumerate().collect(),
            Argument::SymInts(numbers) => (numbers.iter_mut().enumerate())
                .filter_map(|(axis, it)| match it {
                    Scalar::Fixed(number) => Some((axis, number)),
                    Scalar::Value(_) => None,
                })
                .collect(),
            _ => return Ok(()),
        };
        for (axis, number) in fixed.into_iter().filter(|(_, number)| **number > 0) {
            let (full, left) = self.size(made, from + axis)?;
            if *number == full {
                *number = left;
            }
        }
        Ok(())
    }

    /// What takes a part of a dimension, or cuts it into parts.
    fn cut(&mut self, node: &mut Node, name: &str, value: ValueId) -> Result<(), String> {
        let Some(units) = self.units_of(value) else {
            return Ok(());
        };
        let axis = self.axis(node, value)?;
        let (full, left) = self.size(value, axis)?;
        if full == left {
            return Ok(());
        }
        let mut count = |from: i64, to: i64| {
            let trace = &mut self.walk.trace;
            self.left.count(trace, &units, axis as i64, from..to)
        };
        let place = |at: i64| match at < 0 {
            true => (at + full).max(0),
            false => at.min(full),
        };
        if name == "slice" {
            let (start, end) = (
                place(number(node, "start", 0)?),
                place(number(node, "end", full)?),
            );
            if number(node, "step", 1)? != 1 {
                return Err("it leaves out places between".to_owned());
            }
            let start = [count(0, start)?, count(start, end.max(start))?];
            set(&mut node.inputs, "start", Argument::Int(start[0]));
            set(&mut node.inputs, "end", Argument::Int(start[0] + start[1]));
            return Ok(());
        }
        if name == "narrow" {
            let (start, length) = (
                place(number(node, "start", 0)?),
                number(node, "length", full)?,
            );
            let cut = [count(0, start)?, count(start, start + length)?];
            set(&mut node.inputs, "start", Argument::Int(cut[0]));
            set(&mut node.inputs, "length", Argument::Int(cut[1]));
            return Ok(());
        }
        let [Output::List(parts)] = &node.outputs[..] else {
            return Err("its parts are no list".to_owned());
        };
        let mut sizes = Vec::new();
        let mut from = 0;
        for part in parts {
            let sizes_of = products::sizes(self.walk.graph, *part);
            let size = sizes_of.and_then(|it| it.get(axis).copied());
            let to = from + size.ok_or("the size of a part is not known")? as i64;
            sizes.push(count(from, to)?);
            from = to;
        }
        if let Target::Aten { name, overload } = &mut node.target {
            *name = "split_with_sizes".to_owned();
            overload.clear();
        }
        node.inputs
            .retain(|(name, _)| name == "self" || name == "dim");
        set(&mut node.inputs, "split_sizes", Argument::Ints(sizes));
        Ok(())
    }
}

/// A number of a node's, or this one if it is left out.
fn number(node: &Node, name: &str, default: i64) -> Result<i64, String> {
    same(node, name, default).ok_or_else(|| format!("its {name} is no fixed number"))
}

impl Imported {
    /// Compares what is left of the network, where its parameters have these shapes, with all of it.
    ///
    /// # Errors
    /// Which node stands against it, or how far the outputs are apart.
    pub(super) fn computes_the_same(&self, shapes: &[Vec<i64>]) -> Result<(), String> {
        let own = &self.state.parameters;
        if own.iter().map(|it| &it.shape).eq(shapes) {
            return Ok(());
        }
        let _no_grad = tch::no_grad_guard();
        for (mode, trains) in [(Mode::Eval, false), (Mode::Train, true)] {
            let setting = Setting {
                trains,
                draws: false,
                device: Device::Cpu,
                kind: Kind::Double,
            };
            let fewer = Fewer::of(&self.archive, mode, &self.state, shapes)?;
            let (known, survives) = fewer.survivors();
            let (full, buffers) = self.without(&known.sets, survives);
            let places = units::places(&known.sets, survives);
            let left = |name: &str, tensor: &Tensor| {
                let axes = 0..tensor.dim();
                axes.fold(tensor.copy(), |tensor, axis| {
                    match places.get(&(name, axis)) {
                        Some(kept) => tensor.index_select(axis as i64, &units::indices(kept)),
                        None => tensor,
                    }
                })
            };
            let fewer: Vec<Tensor> = own
                .iter()
                .zip(&full)
                .map(|(it, all)| left(&it.name, all))
                .collect();
            let statistics = self.state.buffers.iter().zip(&buffers);
            let statistics: Vec<Tensor> = statistics.map(|(it, all)| left(&it.name, all)).collect();
            let input = self.sample()?;
            let run = |program: Program, parameters: &[Tensor], buffers: &[Tensor]| {
                program.run(parameters, buffers, &input, 0)
            };
            let small = run(
                self.new_program(setting, Some(shapes))?,
                &fewer,
                &statistics,
            )?;
            let large = run(self.new_program(setting, None)?, &full, &buffers)?;
            let apart = (&small - &large).abs().max().double_value(&[]);
            let size = large.abs().max().double_value(&[]);
            // What is not finite is not the same.
            let same = apart <= TOLERANCE * size.max(1e-6);
            if !same {
                return Err(format!(
                    "without units its outputs are {apart:.1e} away from those with them, of {size:.1e}"
                ));
            }
        }
        Ok(())
    }

    /// Parameters and running statistics of this network, with 0 where weights make or read what is gone.
    fn without(&self, sets: &[UnitSet], survives: &[Vec<bool>]) -> (Vec<Tensor>, Vec<Tensor>) {
        // Any numbers do, as long as layers keep the size of what goes through them.
        let numbers = |at: usize, shape: &[i64]| {
            let count: i64 = shape.iter().product();
            let each = Tensor::arange(count, (Kind::Double, Device::Cpu)) * 0.7 + at as f64;
            each.sin().reshape(shape)
        };
        let parameters = self.state.parameters.iter().enumerate().map(|(at, it)| {
            let drawn = numbers(at, &it.shape);
            match it.shape.len() {
                0 | 1 => drawn * 0.1 + 1.0,
                _ => {
                    let fan_in: i64 = it.shape[1..].iter().product();
                    drawn * (4.0 / fan_in as f64).sqrt()
                }
            }
        });
        let parameters: Vec<Tensor> = parameters.collect();
        for (set, survives) in sets.iter().zip(survives) {
            for slice in set.slices.iter().filter(|it| it.side != Side::Follows) {
                let own = self
                    .state
                    .parameters
                    .iter()
                    .position(|it| it.name == slice.tensor);
                let Some(own) = own.map(|at| parameters[at].shallow_clone()) else {
                    continue;
                };
                for (place, unit) in (0..).zip(&slice.units) {
                    if unit.is_some_and(|unit| !survives[unit]) {
                        let _ = own.narrow(slice.axis as i64, place, 1).zero_();
                    }
                }
            }
        }
        let buffers = self
            .state
            .buffers
            .iter()
            .enumerate()
            .map(|(at, it)| numbers(at, &[it.features]) * 0.1 + f64::from(it.initial));
        (parameters, buffers.collect())
    }

    /// Two samples.
    fn sample(&self) -> Result<Tensor, String> {
        let graph = self.archive.graph(Mode::Eval);
        let (shape, dtype) = views::sample(graph, graph.input)?;
        let shape = [&[2], &shape[..]].concat();
        let count: i64 = shape.iter().product();
        let each = Tensor::arange(count, (Kind::Double, Device::Cpu));
        Ok(match dtype {
            Dtype::I64 => each.remainder(2).to_kind(Kind::Int64),
            _ => (each * 1.3).sin(),
        }
        .reshape(shape))
    }
}
