//! Which convolution nets are computed at their survivors.

use kernels::Taps;
use tch::{Device, Kind, Tensor};

use super::{TrainError, Trainer};
use crate::experiment::Precision;

impl Trainer {
    /// The survivors of each parameter that is a convolution's weight, where the network is sparse
    /// enough to be computed at them: `train.sparse_below` decides, not what is faster, because the two
    /// ways round differently.
    ///
    /// # Shapes
    /// `flat`: one lane of masks or weights, `[width]`; what is not 0 survives.
    pub(super) fn taps(&self, flat: &Tensor) -> Result<Option<Vec<Option<Taps>>>, TrainError> {
        if self.sparse_below == 0.0
            || self.device != Device::Cpu
            || self.precision == Precision::Bf16
        {
            return Ok(None);
        }
        if !self.network.computes_at_survivors() {
            return Ok(None);
        }
        let kept = |view: &Tensor| view.count_nonzero(None).int64_value(&[]);
        let prunable = self.layout.prunable(flat);
        let survivors: i64 = prunable.iter().map(kept).sum();
        let weights: usize = prunable.iter().map(Tensor::numel).sum();
        if survivors as f64 >= self.sparse_below * weights as f64 {
            return Ok(None);
        }
        let views = self.layout.lane(flat);
        let mut taps: Vec<Option<Taps>> = views.iter().map(|_| None).collect();
        for (layer, stride, padding) in self.network.graph().convolutions() {
            let name = format!("{layer}.weight");
            if let Some(at) = self.layout.parameters().position(|it| it.name == name) {
                let mask = views[at].ne(0.0).to_kind(Kind::Float);
                taps[at] = Some(Taps::of(&mask, stride, padding)?);
            }
        }
        Ok(Some(taps))
    }
}
