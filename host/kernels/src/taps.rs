//! Convolutions at their surviving weights.

use std::ffi::c_void;
use std::ptr::{NonNull, null_mut};

use tch::Tensor;
use torch_sys::C_tensor;

use crate::shim::{ShimError, Text, check};

unsafe extern "C" {
    fn rewind_taps_new(
        mask: *const C_tensor,
        stride: i64,
        padding: i64,
        out: *mut *mut c_void,
    ) -> Text;
    fn rewind_taps_free(taps: *mut c_void);
    fn rewind_taps_convolve(
        taps: *mut c_void,
        weight: *const C_tensor,
        input: *const C_tensor,
        out: *mut *mut C_tensor,
    ) -> Text;
}

/// The surviving weights of a convolution, and which pixels they read.
#[derive(Debug)]
pub struct Taps(NonNull<c_void>);

// SAFETY: nothing in it belongs to a thread; it is not `Sync`, so that one thread uses it at a time.
unsafe impl Send for Taps {}

impl Taps {
    /// The places of `mask`, `[out, in, height, width]` f32 on the CPU, that are not 0, in a convolution
    /// of this stride and padding.
    ///
    /// # Errors
    /// If the mask is another.
    pub fn of(mask: &Tensor, stride: i64, padding: i64) -> Result<Self, ShimError> {
        let mut taps = null_mut();
        // SAFETY: the mask outlives the call.
        check(unsafe { rewind_taps_new(mask.as_ptr(), stride, padding, &mut taps) })?;
        NonNull::new(taps)
            .map(Self)
            .ok_or_else(|| ShimError::new("no taps were made".to_owned()))
    }

    /// The convolution with a weight whose pruned elements are 0. The gradient of the weight is that
    /// of its survivors and 0 elsewhere. The backward pass must end while the taps live.
    ///
    /// # Shapes
    /// `weight`: the mask's shape and memory order; `input`: `[in, height, width, samples]`, contiguous;
    /// result: `[out, height', width', samples]`.
    ///
    /// # Errors
    /// If a shape is another, or the image smaller than the kernel.
    pub fn convolve(&self, weight: &Tensor, input: &Tensor) -> Result<Tensor, ShimError> {
        let mut out = null_mut();
        // SAFETY: all outlive the call; on success `out` is a tensor that is ours.
        check(unsafe {
            rewind_taps_convolve(self.0.as_ptr(), weight.as_ptr(), input.as_ptr(), &mut out)
        })?;
        // SAFETY: see above.
        Ok(unsafe { Tensor::from_ptr(out) })
    }
}

impl Drop for Taps {
    fn drop(&mut self) {
        // SAFETY: it was made by `rewind_taps_new` and is freed once.
        unsafe { rewind_taps_free(self.0.as_ptr()) }
    }
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind, kind};

    use super::*;

    /// The largest difference from what autograd and libtorch make of it in double precision.
    fn error(
        [outputs, inputs, kernel]: [i64; 3],
        [height, width, samples]: [i64; 3],
        stride: i64,
        density: f64,
        channels_last: bool,
    ) -> f64 {
        let shape = [outputs, inputs, kernel, kernel];
        let arrange = |tensor: Tensor| match channels_last {
            true => crate::shim::channels_last(&tensor).unwrap(),
            false => tensor,
        };
        let kept = Tensor::rand(shape, kind::FLOAT_CPU).lt(density);
        let mask = arrange(kept.to_kind(Kind::Float));
        let weight = arrange(Tensor::randn(shape, kind::FLOAT_CPU) * &mask).set_requires_grad(true);
        let input = Tensor::randn([inputs, height, width, samples], kind::FLOAT_CPU);
        let input = input.set_requires_grad(true);
        let padding = kernel / 2;
        let taps = Taps::of(&mask, stride, padding).unwrap();
        let got = taps.convolve(&weight, &input).unwrap();

        let double = |tensor: &Tensor| tensor.detach().to_kind(Kind::Double);
        let wide = double(&input).permute([3, 0, 1, 2]).set_requires_grad(true);
        let deep = double(&weight).set_requires_grad(true);
        let none = None::<&Tensor>;
        let expected = wide.conv2d(&deep, none, [stride; 2], [padding; 2], [1; 2], 1);
        assert_eq!(got.size(), expected.permute([1, 2, 3, 0]).size());
        let slope = Tensor::randn(expected.size(), (Kind::Double, Device::Cpu));
        let wanted = (&expected * &slope).sum(Kind::Double);
        let wanted = Tensor::run_backward(&[wanted], &[&wide, &deep], false, false);
        let slope = slope.permute([1, 2, 3, 0]).to_kind(Kind::Float);
        let loss = (&got * slope).sum(Kind::Float);
        let found = Tensor::run_backward(&[loss], &[&input, &weight], false, false);
        let pairs = [
            (double(&got), expected.permute([1, 2, 3, 0])),
            (double(&found[0]), wanted[0].permute([1, 2, 3, 0])),
            (double(&found[1]), &wanted[1] * double(&mask)),
        ];
        let distances = pairs.map(|(got, wanted)| (got - wanted).abs().max().double_value(&[]));
        distances.into_iter().fold(0.0, f64::max)
    }

    #[test]
    fn are_the_convolution_and_its_gradients() {
        for (shape, image, stride) in [
            ([5, 3, 3], [6, 7, 9], 1),
            ([5, 3, 3], [6, 7, 9], 2),
            ([4, 6, 1], [5, 8, 70], 2),
            ([4, 6, 1], [5, 4, 16], 1),
            ([3, 2, 7], [9, 8, 3], 2),
            ([2, 3, 5], [3, 3, 8], 1),
            ([2, 3, 3], [1, 1, 8], 1),
            ([2, 3, 3], [2, 1, 8], 2),
        ] {
            for density in [0.0, 0.1, 1.0] {
                for channels_last in [false, true] {
                    let error = error(shape, image, stride, density, channels_last);
                    assert!(
                        error < 1e-4,
                        "{shape:?} {image:?} {stride} {density}: {error}"
                    );
                }
            }
        }
    }

    #[test]
    fn have_the_same_bits_on_one_thread_and_two() {
        let mask = Tensor::rand([16, 16, 3, 3], kind::FLOAT_CPU).lt(0.1);
        let mask = mask.to_kind(Kind::Float);
        let weight =
            (Tensor::randn([16, 16, 3, 3], kind::FLOAT_CPU) * &mask).set_requires_grad(true);
        let input = Tensor::randn([16, 8, 8, 24], kind::FLOAT_CPU).set_requires_grad(true);
        let run = |threads| {
            tch::set_num_threads(threads);
            let taps = Taps::of(&mask, 1, 1).unwrap();
            let out = taps.convolve(&weight, &input).unwrap();
            let loss = (&out * &out).sum(Kind::Float);
            let found = Tensor::run_backward(&[loss], &[&input, &weight], false, false);
            [&out.detach(), &found[0], &found[1]].map(|it| it.view_dtype(Kind::Int))
        };
        assert_eq!(run(1), run(2));
    }

    #[test]
    fn refuse_other_weights_and_inputs() {
        let mask = Tensor::ones([4, 2, 3, 3], kind::FLOAT_CPU);
        let taps = Taps::of(&mask, 1, 0).unwrap();
        let try_with = |weight: [i64; 4], input: [i64; 4]| {
            let [weight, input] = [weight, input].map(|shape| Tensor::ones(shape, kind::FLOAT_CPU));
            taps.convolve(&weight, &input).unwrap_err().to_string()
        };
        let other = try_with([4, 3, 3, 3], [2, 5, 5, 8]);
        assert!(other.contains("not that of the mask"), "{other}");
        let other = try_with([4, 2, 3, 3], [3, 5, 5, 8]);
        assert!(other.contains("the input must be"), "{other}");
        let small = try_with([4, 2, 3, 3], [2, 2, 5, 8]);
        assert!(small.contains("smaller than the kernel"), "{small}");
    }
}
