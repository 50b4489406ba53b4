//! What a step adds up over shards.

use tch::{Device, Kind, Tensor};

use crate::trainer::Layout;

/// Numbers to whose multiple a bundle is made longer, so that every part of it is aligned alike.
const ALIGNMENT: i64 = 16;

/// Gradients, and how far the running statistics move, in one flat tensor.
pub(in crate::trainer) struct Bundle {
    /// All of it, f32.
    pub flat: Tensor,
    /// `[lanes, width]`, a view.
    pub gradients: Tensor,
    /// Views of the gradients, laid out like the parameters.
    pub slopes: Vec<Tensor>,
    /// Views, each like a running statistic of all lanes.
    pub moves: Vec<Tensor>,
}

impl Bundle {
    /// Zeros for these lanes and running statistics.
    pub fn new(layout: &Layout, lanes: i64, statistics: &[Tensor], device: Device) -> Self {
        let weights = lanes * layout.width();
        let mut places = Vec::with_capacity(statistics.len());
        let mut end = weights;
        for statistic in statistics {
            places.push(end);
            let len = statistic.numel() as i64;
            end += (len + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
        }
        let flat = Tensor::zeros([end], (Kind::Float, device));
        let gradients = flat.narrow(0, 0, weights).view([lanes, layout.width()]);
        let view = |(start, like): (&i64, &Tensor)| {
            let len = like.numel() as i64;
            flat.narrow(0, *start, len).view_as(like)
        };
        Self {
            slopes: layout.views(&gradients),
            moves: places.iter().zip(statistics).map(view).collect(),
            gradients,
            flat,
        }
    }

    /// Adds another one to it.
    pub fn add(&mut self, other: &Self) {
        let _ = self.flat.g_add_(&other.flat);
    }
}
