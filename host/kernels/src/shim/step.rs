//! Steps of optimizers in one pass, by which pruned weights and their state stay exactly 0.

use std::ptr::{null, null_mut};

use tch::{Device, Tensor};
use torch_sys::C_tensor;

use super::{ShimError, Text, check};

unsafe extern "C" {
    fn rewind_sgd_piece(
        weights: *mut f32,
        gradients: *const f32,
        momentum: *mut f32,
        mask: *const f32,
        count: i64,
        lr: f64,
        mu: f64,
        decay: f64,
        nesterov: bool,
    );
    fn rewind_adamw_piece(
        weights: *mut f32,
        gradients: *const f32,
        exp_avg: *mut f32,
        exp_avg_sq: *mut f32,
        mask: *const f32,
        count: i64,
        lr: f64,
        step: i64,
        beta1: f64,
        beta2: f64,
        eps: f64,
        decay: f64,
    );
    fn rewind_masked_sgd_step(
        weights: *const C_tensor,
        gradients: *const C_tensor,
        momentum: *const C_tensor,
        mask: *const C_tensor,
        places: *const i32,
        starts: *const i64,
        rates: *const C_tensor,
        mu: f64,
        decay: f64,
        nesterov: bool,
    ) -> Text;
    fn rewind_masked_adamw_step(
        weights: *const C_tensor,
        gradients: *const C_tensor,
        exp_avg: *const C_tensor,
        exp_avg_sq: *const C_tensor,
        mask: *const C_tensor,
        places: *const i32,
        starts: *const i64,
        rates: *const C_tensor,
        beta1: f64,
        beta2: f64,
        eps: f64,
    ) -> Text;
    fn rewind_adamw_rates(lr: f64, step: i64, beta1: f64, beta2: f64, decay: f64, out: *mut f32);
}

/// The elements of `[lanes, elements]` that are not pruned, for steps that look at nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Places within a lane, one lane's after another's.
    places: Vec<i32>,
    /// First of each lane's places, and their number.
    starts: Vec<i64>,
    width: i64,
}

/// What a step must not move.
#[derive(Clone, Copy, Debug)]
pub struct Pruning<'a> {
    /// `[lanes, elements]`: 0 where an element is pruned.
    pub mask: &'a Tensor,
    /// The other elements, if nothing else needs to be looked at: all that is pruned is 0 already.
    pub kept: Option<&'a Kept>,
}

impl Kept {
    /// Where `mask`, `[lanes, elements]` f32 on the CPU, is not 0; none if these are more than this
    /// share of it, or there is another reason to look at everything.
    pub fn of(mask: &Tensor, most: f64) -> Option<Self> {
        let [lanes, width] = mask.size()[..] else {
            return None;
        };
        if mask.device() != Device::Cpu || i32::try_from(width).is_err() {
            return None;
        }
        let kept = mask.count_nonzero(None).int64_value(&[]);
        if kept as f64 > most * mask.numel() as f64 {
            return None;
        }
        let mut places = Vec::with_capacity(kept as usize);
        let mut starts = vec![0];
        for lane in 0..lanes {
            let values = Vec::<f32>::try_from(mask.get(lane)).ok()?;
            let of_lane = (0i32..).zip(values).filter(|(_, kept)| *kept != 0.0);
            places.extend(of_lane.map(|(place, _)| place));
            starts.push(places.len() as i64);
        }
        Some(Self {
            places,
            starts,
            width,
        })
    }

    /// What the shim takes: nulls for all elements.
    fn pointers(
        kept: Option<&Self>,
        weights: &Tensor,
    ) -> Result<(*const i32, *const i64), ShimError> {
        let Some(kept) = kept else {
            return Ok((null(), null()));
        };
        if weights.size() != [kept.starts.len() as i64 - 1, kept.width] {
            return Err(ShimError::new(
                "the kept elements are another buffer's".to_owned(),
            ));
        }
        Ok((kept.places.as_ptr(), kept.starts.as_ptr()))
    }
}

/// Some elements of a lane: slices of one length.
#[derive(Debug)]
pub struct Piece<'a> {
    /// Their weights.
    pub weights: &'a mut [f32],
    /// Their gradients.
    pub gradients: &'a [f32],
    /// 0 where an element is pruned.
    pub mask: &'a [f32],
}

impl Piece<'_> {
    /// How many there are.
    ///
    /// # Panics
    /// If a slice, or one of these of states, is of another length.
    fn len(&self, states: &[&mut [f32]]) -> i64 {
        let len = self.weights.len();
        let others = [self.gradients.len(), self.mask.len()];
        let mut others = others
            .into_iter()
            .chain(states.iter().map(|state| state.len()));
        assert!(
            others.all(|other| other == len),
            "slices of several lengths"
        );
        len as i64
    }
}

/// Constants of an SGD step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SgdStep {
    /// Share of the momentum that stays.
    pub momentum: f64,
    /// L2 penalty added to the gradient.
    pub weight_decay: f64,
    /// Whether the step looks ahead along the momentum.
    pub nesterov: bool,
}

/// One step of SGD in one pass; where the mask is 0, weights and momentum become exactly +0.
///
/// The formulas are `torch.optim.SGD`'s with dampening 0. Its first step copies the gradient into
/// the momentum, which is what a momentum of zero gives here.
///
/// # Shapes
/// Everything `[lanes, elements]`, contiguous f32; `rates`: `[1, lanes]` contiguous f32 on the same device, the learning
/// rate of each lane.
///
/// # Errors
/// If a shape, kind or device is another.
pub fn masked_sgd_step(
    weights: &mut Tensor,
    gradients: &Tensor,
    momentum: Option<&mut Tensor>,
    pruning: Pruning<'_>,
    rates: &Tensor,
    step: SgdStep,
) -> Result<(), ShimError> {
    let (places, starts) = Kept::pointers(pruning.kept, weights)?;
    // SAFETY: the tensors outlive the call.
    check(unsafe {
        rewind_masked_sgd_step(
            weights.as_ptr(),
            gradients.as_ptr(),
            momentum.map_or(null(), |tensor| tensor.as_ptr()),
            pruning.mask.as_ptr(),
            places,
            starts,
            rates.as_ptr(),
            step.momentum,
            step.weight_decay,
            step.nesterov,
        )
    })
}

/// What [`masked_sgd_step`] does to these elements, on the thread that calls it; `states` has the momentum, if any.
///
/// # Panics
/// If the slices are of several lengths.
pub fn sgd_step_of(piece: Piece<'_>, states: &mut [&mut [f32]], lr: f64, step: SgdStep) {
    let len = piece.len(states);
    // SAFETY: each pointer is to `len` numbers.
    unsafe {
        rewind_sgd_piece(
            piece.weights.as_mut_ptr(),
            piece.gradients.as_ptr(),
            (states.first_mut()).map_or(null_mut(), |momentum| momentum.as_mut_ptr()),
            piece.mask.as_ptr(),
            len,
            lr,
            step.momentum,
            step.weight_decay,
            step.nesterov,
        );
    }
}

/// Constants of an AdamW step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamwStep {
    /// Decay of the averages of the gradient and of its square.
    pub betas: (f64, f64),
    /// Added to the denominator.
    pub eps: f64,
    /// Share of a weight, times the learning rate, that a step takes away.
    pub weight_decay: f64,
}

/// One step of AdamW in one pass; where the mask is 0, weights and averages become exactly +0.
///
/// # Shapes
/// Everything `[lanes, elements]`, contiguous f32; `rates`: `[3, lanes]` contiguous f32 on the same device, those of
/// [`adamw_rates`] for each lane.
///
/// # Errors
/// If a shape, kind or device is another.
pub fn masked_adamw_step(
    weights: &mut Tensor,
    gradients: &Tensor,
    [exp_avg, exp_avg_sq]: [&mut Tensor; 2],
    pruning: Pruning<'_>,
    rates: &Tensor,
    step: AdamwStep,
) -> Result<(), ShimError> {
    let (places, starts) = Kept::pointers(pruning.kept, weights)?;
    // SAFETY: the tensors outlive the call.
    check(unsafe {
        rewind_masked_adamw_step(
            weights.as_ptr(),
            gradients.as_ptr(),
            exp_avg.as_ptr(),
            exp_avg_sq.as_ptr(),
            pruning.mask.as_ptr(),
            places,
            starts,
            rates.as_ptr(),
            step.betas.0,
            step.betas.1,
            step.eps,
        )
    })
}

/// What of the AdamW step of this number, from 1, depends on its learning rate: what weights are multiplied with first,
/// the size of a step, and what the root of the second average is divided by.
///
/// # Source
/// Loshchilov & Hutter 2019 (arXiv:1711.05101), algorithm 2, with the corrections of the averages put together.
pub fn adamw_rates(lr: f64, number: i64, step: AdamwStep) -> [f32; 3] {
    let mut rates = [0.0; 3];
    let (beta1, beta2) = step.betas;
    // SAFETY: it writes three numbers.
    unsafe {
        rewind_adamw_rates(
            lr,
            number,
            beta1,
            beta2,
            step.weight_decay,
            rates.as_mut_ptr(),
        );
    }
    rates
}

/// What [`masked_adamw_step`] does to these elements, on the thread that calls it, in the step of this number.
///
/// # Panics
/// If the slices are of several lengths.
pub fn adamw_step_of(
    piece: Piece<'_>,
    [exp_avg, exp_avg_sq]: [&mut [f32]; 2],
    lr: f64,
    number: i64,
    step: AdamwStep,
) {
    let averages = [exp_avg, exp_avg_sq];
    let len = piece.len(&averages);
    let [exp_avg, exp_avg_sq] = averages;
    // SAFETY: each pointer is to `len` numbers.
    unsafe {
        rewind_adamw_piece(
            piece.weights.as_mut_ptr(),
            piece.gradients.as_ptr(),
            exp_avg.as_mut_ptr(),
            exp_avg_sq.as_mut_ptr(),
            piece.mask.as_ptr(),
            len,
            lr,
            number,
            step.betas.0,
            step.betas.1,
            step.eps,
            step.weight_decay,
        );
    }
}
