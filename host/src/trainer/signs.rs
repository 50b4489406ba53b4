//! The signs that weights had at the start of the level and of the epoch, and how many have crossed zero since.

use tch::{Kind, Tensor};

use super::{LaneStart, Layout, Progress, Session, TrainError};

/// What a checkpoint's tensors of signs are called, before the layer's name.
const PREFIX: &str = "signs";

/// How many weights of each prunable layer have crossed zero by the end of an epoch: survivors whose sign is the
/// opposite one. A weight that is 0 at either end, as one that just grew, has no sign.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Crossed {
    /// Survivors at the epoch's end.
    pub survivors: Vec<u64>,
    /// Of these, those that have crossed zero since the epoch's start.
    pub epoch: Vec<u64>,
    /// Of these, those that have crossed zero since the level's start.
    pub start: Vec<u64>,
}

/// Where the signs of the level's start and of the epoch's start lie.
const START: i64 = 0;
const EPOCH: i64 = 1;

/// The signs of all lanes.
pub(super) struct Signs {
    /// `[2, lanes, width]`, int8: -1, 0 or 1, at the level's start and at the epoch's start.
    before: Tensor,
    /// Whether those of a lane are known: checkpoints of earlier versions do not hold them.
    known: Vec<bool>,
    /// Survivors of each lane's layers, until a mask is another.
    survivors: Option<Vec<Vec<u64>>>,
}

/// -1, 0 or 1 in int8.
fn sign(weights: &Tensor) -> Tensor {
    weights.sign().to_kind(Kind::Int8)
}

impl Signs {
    /// Of weights of this shape, `[lanes, width]`, none of which has a sign yet.
    pub fn new(weights: &Tensor) -> Self {
        let (size, options) = (weights.size(), (Kind::Int8, weights.device()));
        Self {
            before: Tensor::zeros([&[2], &size[..]].concat(), options),
            known: vec![true; size[0] as usize],
            survivors: None,
        }
    }

    /// Takes the signs that lanes with these weights, `[lanes, width]`, start with, or go on with.
    pub fn begin(
        &mut self,
        layout: &Layout,
        weights: &Tensor,
        starts: &[LaneStart],
    ) -> Result<(), TrainError> {
        self.before.copy_(&sign(weights));
        for (lane, start) in starts.iter().enumerate() {
            if let Some(progress) = &start.resume {
                self.known[lane] = has_signs(layout, progress);
                if self.known[lane] {
                    self.read(layout, lane as i64, progress)?;
                }
            }
        }
        Ok(())
    }

    /// What a lane has to remember: 3 (start + 1) + epoch + 1 in one byte a weight; nothing if it is not known.
    pub fn tensors(&self, layout: &Layout, lane: i64) -> Vec<(String, Tensor)> {
        if !self.known[lane as usize] {
            return Vec::new();
        }
        let [start, epoch] = [START, EPOCH].map(|it| self.before.select(0, it).select(0, lane));
        let both = ((start + 1) * 3 + epoch + 1).to_kind(Kind::Uint8);
        let layers = layout.layers().iter().zip(layout.prunable(&both));
        layers
            .map(|(layer, view)| (tensor_of(&layer.name), super::layout::row_major(&view)))
            .collect()
    }

    fn read(&self, layout: &Layout, lane: i64, progress: &Progress) -> Result<(), TrainError> {
        let options = (Kind::Uint8, self.before.device());
        let both = Tensor::zeros([layout.width()], options);
        layout.pack_prunable(&both, |layer| progress.get(&tensor_of(layer)))?;
        let both = both.to_kind(Kind::Int8);
        let parts = [both.divide_scalar_mode(3, "floor"), both.remainder(3)];
        for (place, part) in [START, EPOCH].into_iter().zip(parts) {
            self.before
                .select(0, place)
                .select(0, lane)
                .copy_(&(part - 1));
        }
        Ok(())
    }

    /// Forgets the survivors, as a mask is another.
    pub fn forget_survivors(&mut self) {
        self.survivors = None;
    }

    /// Leaves these lanes alone, in the place of the one at `slot`.
    pub fn drop_lane(&mut self, slot: usize, rest: &Tensor) {
        self.before = self.before.index_select(1, rest);
        self.known.remove(slot);
        self.survivors = None;
    }

    /// Counts of each lane at an epoch's end, which is the start of the next one; none where the signs are not
    /// known.
    ///
    /// # Shapes
    /// `weights` and `mask`: `[lanes, width]`, pruned weights exactly 0.
    pub fn finish_epoch(
        &mut self,
        layout: &Layout,
        weights: &Tensor,
        mask: &Tensor,
    ) -> Result<Vec<Option<Crossed>>, TrainError> {
        let lanes = self.known.len();
        if self.known.iter().all(|known| !known) {
            return Ok(vec![None; lanes]);
        }
        let survivors = match self.survivors.take() {
            Some(survivors) => survivors,
            None => counts(layout, &mask.unsqueeze(0))?.remove(0),
        };
        let now = sign(weights);
        // Opposite signs multiply to -1. A comparison would take several times as long.
        let crossed = counts(layout, &(&self.before * &now).clamp_max(0))?;
        self.before.select(0, EPOCH).copy_(&now);
        let of_lane = |lane: usize| Crossed {
            survivors: survivors[lane].clone(),
            epoch: crossed[EPOCH as usize][lane].clone(),
            start: crossed[START as usize][lane].clone(),
        };
        let counted = (0..lanes).map(|lane| self.known[lane].then(|| of_lane(lane)));
        let counted = counted.collect();
        self.survivors = Some(survivors);
        Ok(counted)
    }
}

/// How many of each layer are not 0, by row and lane.
///
/// # Shapes
/// `flags`: `[rows, lanes, width]`, of 0 and 1, or of 0 and -1.
fn counts(layout: &Layout, flags: &Tensor) -> Result<Vec<Vec<Vec<u64>>>, TrainError> {
    let sums: Vec<Tensor> = layout
        .prunable_places()
        .map(|(offset, len)| {
            let layer = flags.narrow(2, offset, len);
            layer.sum_dim_intlist([2i64].as_slice(), false, Kind::Int64)
        })
        .collect();
    let [rows, lanes] = [0, 1].map(|dim| flags.size()[dim] as usize);
    let layers = sums.len();
    if layers == 0 {
        return Ok(vec![vec![Vec::new(); lanes]; rows]);
    }
    let sums = Tensor::stack(&sums, 2);
    let flat = Vec::<i64>::try_from(sums.reshape([-1]))
        .map_err(|error| TrainError::ReadBack(error.to_string()))?;
    let of = |row: usize, lane: usize| {
        let begin = (row * lanes + lane) * layers;
        flat[begin..begin + layers]
            .iter()
            .map(|&it| it.unsigned_abs())
    };
    Ok((0..rows)
        .map(|row| (0..lanes).map(|lane| of(row, lane).collect()).collect())
        .collect())
}

/// The name of a layer's signs in a checkpoint.
fn tensor_of(layer: &str) -> String {
    format!("{PREFIX}.{layer}")
}

/// Whether what a lane goes on from holds its signs.
fn has_signs(layout: &Layout, progress: &Progress) -> bool {
    let mut layers = layout.layers().iter();
    layers.all(|layer| progress.get(&tensor_of(&layer.name)).is_some())
}

impl Session<'_> {
    /// What crossed zero in the epoch that is complete, by slot.
    pub(super) fn crossed(&mut self) -> Result<Vec<Option<Crossed>>, TrainError> {
        let (layout, buffers) = (&self.trainer.layout, &self.buffers);
        tch::no_grad(|| (self.signs).finish_epoch(layout, &buffers.weights, &buffers.mask))
    }
}

#[cfg(test)]
mod tests;
