//! The units of values, and what operations do with them.

use std::collections::BTreeMap;

use tch::Tensor;

use super::Side;
use super::tie::{Id, NOBODY, Ties};
use super::value::{different, different_of, numbers, once, whole};

/// The units of a network while its operations are followed.
///
/// Units of a value are a tensor of int64 with the value's shape for one sample, batch first, that says of each number
/// which unit it belongs to.
#[derive(Clone)]
pub struct Trace {
    pub(super) ties: Ties,
    /// The units along dimensions of tensors.
    pub(super) axes: BTreeMap<(String, usize), Axis>,
}

/// The units along a dimension of a tensor.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    pub side: Side,
    pub ids: Vec<Id>,
}

/// A convolution's tensors and how its channels are grouped.
pub struct Channels<'a> {
    pub weight: &'a str,
    pub bias: Option<&'a str>,
    /// Its weight's outputs and inputs of an output.
    pub sizes: [i64; 2],
    pub groups: i64,
}

impl Trace {
    pub fn new() -> Self {
        Self {
            ties: Ties::new(),
            axes: BTreeMap::new(),
        }
    }

    /// The units along a dimension of a tensor, which stay the same ones however often it is used.
    pub fn axis(&mut self, tensor: &str, axis: usize, size: i64, side: Side) -> Vec<Id> {
        let key = (tensor.to_owned(), axis);
        if let Some(known) = self.axes.get_mut(&key) {
            known.side = known.side.min(side);
            return known.ids.clone();
        }
        let ids = self.ties.add(size as usize);
        let own = ids.clone();
        self.axes.insert(key, Axis { side, ids: own });
        ids
    }

    /// Has one unit stay.
    pub fn keep_one(&mut self, id: Id, reason: &str) {
        self.ties.keep(id, reason);
    }

    /// The dimensions whose units were asked for: tensor, dimension, size and side.
    pub fn known(&self) -> Vec<(String, usize, i64, Side)> {
        let of = |((tensor, axis), own): (&(String, usize), &Axis)| {
            (tensor.clone(), *axis, own.ids.len() as i64, own.side)
        };
        self.axes.iter().map(of).collect()
    }

    /// Ties a tensor's places to units.
    pub fn follow(&mut self, tensor: &str, axis: usize, units: &[Id]) {
        let own = self.axis(tensor, axis, units.len() as i64, Side::Follows);
        self.tie(&own, units);
    }

    fn tie(&mut self, one: &[Id], other: &[Id]) {
        for (one, other) in one.iter().zip(other) {
            self.ties.tie(*one, *other);
        }
    }

    /// A value of this shape whose numbers are no units that can go.
    pub fn staying(&mut self, shape: &[i64], reason: &str) -> Tensor {
        let id = self.ties.add(1)[0];
        self.ties.keep(id, reason);
        whole(&[id], &vec![1; shape.len()], shape)
    }

    /// Has all units of a value stay.
    pub fn keep(&mut self, value: &Tensor, reason: &str) {
        for id in different(&once(&[value])[0]) {
            self.ties.keep(id, reason);
        }
    }

    /// The unit at each place along a dimension. Where there are several they stay, as whoever reads them cannot do
    /// without one alone.
    pub fn along(&mut self, value: &Tensor, axis: i64, reader: &str) -> Vec<Id> {
        let (axis, size) = (axis.rem_euclid(value.dim() as i64), value.size());
        let count = size[axis as usize].max(1) as usize;
        let rows = once(&[&value.movedim_int(axis, 0)]).swap_remove(0);
        let ids = numbers(&rows);
        // A dimension in which all are the same has been left out.
        let rows = rows.size()[0].max(1) as usize;
        let each = (ids.len() / rows).max(1);
        let units: Vec<Id> = ids
            .chunks(each)
            .map(|own| self.one_of(own, reader))
            .collect();
        match rows == count {
            true => units,
            false => vec![units.first().copied().unwrap_or(NOBODY); count],
        }
    }

    /// The unit at each place along a dimension, if there is one at each.
    pub fn alone(&mut self, value: &Tensor, axis: i64) -> Option<Vec<Id>> {
        let rows = value.movedim_int(axis, 0);
        let ids = numbers(&rows);
        let each = (ids.len() / rows.size()[0].max(1) as usize).max(1);
        let mut units = Vec::new();
        for own in ids.chunks(each) {
            let roots: Vec<Id> = different_of(own)
                .iter()
                .map(|id| self.ties.root(*id))
                .collect();
            match roots.split_first() {
                Some((first, others)) if others.iter().all(|it| it == first) => units.push(*first),
                _ => return None,
            }
        }
        Some(units)
    }

    fn one_of(&mut self, ids: &[Id], reader: &str) -> Id {
        let (mut first, mut last, mut several) = (NOBODY, NOBODY, false);
        for &id in ids.iter().filter(|id| **id != NOBODY) {
            if id != last {
                last = id;
                let root = self.ties.root(id);
                several |= first != NOBODY && root != first;
                first = if first == NOBODY { root } else { first };
            }
        }
        if several {
            for &id in ids {
                self.ties.keep(id, &format!("`{reader}` mixes them"));
            }
        }
        first
    }

    /// A layer that adds up the last dimension of what it reads, by a weight whose dimensions for outputs and inputs
    /// are `[out, in]`, of these sizes.
    pub fn linear(
        &mut self,
        (weight, bias): (&str, Option<&str>),
        [out, inner]: [usize; 2],
        [outputs, inputs]: [i64; 2],
        value: &Tensor,
    ) -> Tensor {
        let read = self.along(value, -1, weight);
        let columns = self.axis(weight, inner, inputs, Side::Reads);
        self.tie(&columns, &read);
        let rows = self.axis(weight, out, outputs, Side::Makes);
        if let Some(bias) = bias {
            self.follow(bias, 0, &rows);
        }
        let mut shape = value.size();
        let last = shape.len() - 1;
        shape[last] = outputs;
        let mut own = vec![1; shape.len()];
        own[last] = outputs;
        whole(&rows, &own, &shape)
    }

    /// A convolution; `places` are the sizes behind the channels.
    pub fn convolution(&mut self, it: &Channels<'_>, value: &Tensor, places: &[i64]) -> Tensor {
        let [outputs, each] = it.sizes;
        let read = self.along(value, 1, it.weight);
        let rows = self.axis(it.weight, 0, outputs, Side::Makes);
        let of_group = (outputs / it.groups.max(1)) as usize;
        if it.groups == 1 || each > 1 {
            let columns = self.axis(it.weight, 1, each, Side::Reads);
            // All groups stay equally large: what stands at one place of each goes together.
            for group in read.chunks(columns.len().max(1)) {
                self.tie(&columns, group);
            }
        }
        if it.groups > 1 {
            for (place, &row) in rows.iter().enumerate() {
                let with = match each {
                    // A channel of its own makes them.
                    1 => read.get(place / of_group.max(1)).copied(),
                    _ => rows.get(place % of_group.max(1)).copied(),
                };
                self.ties.tie(row, with.unwrap_or(NOBODY));
            }
        }
        if let Some(bias) = it.bias {
            self.follow(bias, 0, &rows);
        }
        let shape = [&[1, outputs], places].concat();
        let mut own = vec![1; shape.len()];
        own[1] = outputs;
        whole(&rows, &own, &shape)
    }

    /// The rows of a table that indices choose from, `[rows, features]`: the features are units.
    pub fn embedding(&mut self, weight: &str, features: i64, shape: &[i64]) -> Tensor {
        let units = self.axis(weight, 1, features, Side::Makes);
        let mut own = vec![1; shape.len()];
        own[shape.len() - 1] = features;
        whole(&units, &own, shape)
    }

    /// The same channels at other places, such as windows of a pool.
    pub fn pool(&mut self, value: &Tensor, places: &[i64], reader: &str) -> Tensor {
        let channels = self.along(value, 1, reader);
        let count = channels.len() as i64;
        let shape = [&[1, count], places].concat();
        let mut own = vec![1; shape.len()];
        own[1] = count;
        whole(&channels, &own, &shape)
    }

    /// What takes a mean, a sum or an extreme over dimensions, which stay with size 1.
    pub fn reduce(&mut self, value: &Tensor, axes: &[i64], reader: &str) -> Tensor {
        let rank = value.dim() as i64;
        let axes: Vec<i64> = axes.iter().map(|axis| axis.rem_euclid(rank)).collect();
        let kept: Vec<i64> = (0..rank).filter(|axis| !axes.contains(axis)).collect();
        let mut shape = value.size();
        axes.iter().for_each(|axis| shape[*axis as usize] = 1);
        let order = [&kept[..], &axes].concat();
        let places: i64 = shape.iter().product();
        let rows = value.permute(order).reshape([places, -1]);
        whole(&self.along(&rows, 0, reader), &shape, &shape)
    }

    /// What takes means or sums over the last dimensions and gives each number back, such as a layer norm: its units
    /// stay, unless those of each mean are one.
    pub fn normalise(&mut self, value: &Tensor, last: usize, reader: &str) {
        let shape = value.size();
        let rows = value.reshape([shape[..shape.len() - last].iter().product(), -1]);
        let ids = once(&[&rows]).swap_remove(0);
        let reason = format!("`{reader}` adds them up to scale each");
        for own in numbers(&ids).chunks(ids.size()[1].max(1) as usize) {
            let several = different_of(own);
            let roots: Vec<Id> = several.iter().map(|id| self.ties.root(*id)).collect();
            if roots.iter().any(|root| *root != roots[0]) {
                several.iter().for_each(|id| self.ties.keep(*id, &reason));
            }
        }
    }

    /// A sum, a product and the like of two values, number by number: where both have a unit it is one.
    pub fn combine(&mut self, one: &Tensor, other: &Tensor) -> Tensor {
        let both = Tensor::broadcast_tensors(&[one, other]);
        let shape = both[0].size();
        let few = once(&[&both[0], &both[1]]);
        let (mut last, mut own) = ((NOBODY, NOBODY), numbers(&few[0]));
        for (own, other) in own.iter_mut().zip(numbers(&few[1])) {
            if (*own, other) != last && *own != other {
                last = (*own, other);
                self.ties.tie(*own, other);
            }
            *own = if *own == NOBODY { other } else { *own };
        }
        whole(&own, &few[0].size(), &shape)
    }

    /// Attention, or another product of values: all that it reads is one unit at each place of the leading dimensions,
    /// of which there are so many. The result has this shape.
    pub fn attend(&mut self, values: &[&Tensor], leading: usize, shape: &[i64]) -> Tensor {
        let size = values[0].size();
        let places: i64 = size[..leading].iter().product();
        let mut units = vec![NOBODY; places as usize];
        for value in values {
            let ids = numbers(&value.reshape([places, -1]));
            for (unit, own) in units
                .iter_mut()
                .zip(ids.chunks(ids.len() / places as usize))
            {
                for id in different_of(own) {
                    self.ties.tie(*unit, id);
                    *unit = if *unit == NOBODY { id } else { *unit };
                }
            }
        }
        let mut own = vec![1; shape.len()];
        own[..leading].copy_from_slice(&size[..leading]);
        whole(&units, &own, shape)
    }
}
