//! Convolutions of images whose channels lie last in memory.

use std::ptr::null_mut;

use tch::Tensor;
use torch_sys::C_tensor;

use crate::shim::{ShimError, Text, check};

unsafe extern "C" {
    fn rewind_convolution_fits(input: *const C_tensor, weight: *const C_tensor) -> bool;
    fn rewind_convolve(
        input: *const C_tensor,
        weight: *const C_tensor,
        stride: i64,
        padding: i64,
        out: *mut *mut C_tensor,
    ) -> Text;
}

/// Whether [`convolve`] computes this: fp32 on the CPU, channels last, multiples of 8 of them where they are
/// written, and a processor with AVX2; bf16 under autocast too, where there are no longer vectors, which
/// libtorch makes more of.
pub fn convolves(input: &Tensor, weight: &Tensor) -> bool {
    // SAFETY: the tensors outlive the call.
    unsafe { rewind_convolution_fits(input.as_ptr(), weight.as_ptr()) }
}

/// The convolution without bias. It can be differentiated twice, and its bits and those of its first
/// gradients do not depend on the number of threads. Under autocast it is that of numbers rounded to bf16,
/// added up in fp32 and rounded to bf16.
///
/// # Shapes
/// `input`: `[batch, in, height, width]`; `weight`: `[out, in, kernel, kernel']`; result:
/// `[batch, out, height', width']`, channels last.
///
/// # Errors
/// If it is not [computed](convolves), or the image with its padding is smaller than the kernel.
pub fn convolve(
    input: &Tensor,
    weight: &Tensor,
    stride: i64,
    padding: i64,
) -> Result<Tensor, ShimError> {
    let mut out = null_mut();
    // SAFETY: both outlive the call; on success `out` is a tensor that is ours.
    check(unsafe { rewind_convolve(input.as_ptr(), weight.as_ptr(), stride, padding, &mut out) })?;
    // SAFETY: see above.
    Ok(unsafe { Tensor::from_ptr(out) })
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind, kind};

    use super::*;

    const NO_BIAS: Option<&Tensor> = None;

    /// Numbers about normal, which are the same in every run: those of libtorch follow from what tests beside this one
    /// draw. Box and Muller 1958, of two numbers between 0 and 1 for each.
    fn normal(shape: &[i64], salt: f64) -> Tensor {
        let count = shape.iter().product::<i64>();
        let places = Tensor::arange(count, (Kind::Double, Device::Cpu));
        let uniform = |salt: f64| {
            let wild = ((&places + salt * 78.233) * 12.9898).sin() * 43_758.545_3;
            &wild - wild.floor()
        };
        let radius = (uniform(salt).clamp_min(1e-12).log() * -2.0).sqrt();
        let angle = (uniform(salt + 0.5) * std::f64::consts::TAU).cos();
        (radius * angle).view(shape)
    }

    fn channels_last([n, c, h, w]: [i64; 4]) -> Tensor {
        let numbers = normal(&[n, h, w, c], 1.0).to_kind(Kind::Float);
        numbers.permute([0, 3, 1, 2])
    }

    /// Whether this processor has kernels of ours, which there is nothing to test of else.
    fn is_ours() -> bool {
        let [input, weight] = [[1, 8, 3, 3], [8, 8, 3, 3]].map(channels_last);
        let ours = convolves(&input, &weight);
        #[cfg(target_arch = "x86_64")]
        if std::env::var_os("REWIND_KERNELS").is_none() {
            let eight = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            assert_eq!(ours, eight);
        }
        ours
    }

    /// Whether they compute in bf16, too.
    fn is_ours_in_bf16() -> bool {
        let [input, weight] = [[1, 8, 3, 3], [8, 8, 3, 3]].map(channels_last);
        let _rounds = crate::shim::Autocast::enter(Device::Cpu).unwrap();
        let ours = convolves(&input, &weight);
        #[cfg(target_arch = "x86_64")]
        if std::env::var_os("REWIND_KERNELS").is_none() {
            let sixteen = is_x86_feature_detected!("avx512f");
            assert_eq!(ours, is_x86_feature_detected!("avx2") && !sixteen);
        }
        ours
    }

    fn double(tensor: &Tensor) -> Tensor {
        let deep = tensor.detach().to_kind(Kind::Double);
        deep.set_requires_grad(tensor.requires_grad())
    }

    /// The largest difference of result and gradients from libtorch's in double precision, in units of
    /// the largest number.
    fn error(
        [outputs, inputs, kernel]: [i64; 3],
        [samples, height, width]: [i64; 3],
        [stride, padding]: [i64; 2],
        weight_last: bool,
    ) -> f64 {
        let input = channels_last([samples, inputs, height, width]);
        let input = input.set_requires_grad(inputs % 8 == 0);
        let shape = [outputs, inputs, kernel, kernel];
        let weight = match weight_last {
            true => channels_last(shape),
            false => normal(&shape, 2.0).to_kind(Kind::Float),
        };
        let weight = weight.set_requires_grad(true);
        assert!(convolves(&input, &weight));
        let got = convolve(&input, &weight, stride, padding).unwrap();
        let [wide, deep] = [&input, &weight].map(double);
        let expected = wide.conv2d(&deep, NO_BIAS, [stride; 2], [padding; 2], [1; 2], 1);
        assert_eq!(got.size(), expected.size());
        let slope = normal(&expected.size(), 3.0);
        let found = (&got * slope.to_kind(Kind::Float)).sum(Kind::Float);
        let wanted = (&expected * &slope).sum(Kind::Double);
        let mut pairs = vec![(double(&got), expected)];
        let leaves = if inputs % 8 == 0 { 2 } else { 1 };
        let found = Tensor::run_backward(&[found], &[&weight, &input][..leaves], false, false);
        let wanted = Tensor::run_backward(&[wanted], &[&deep, &wide][..leaves], false, false);
        pairs.extend(found.iter().map(double).zip(wanted));
        let relative = |(got, wanted): (Tensor, Tensor)| {
            assert_eq!(got.size(), wanted.size());
            let most = wanted.abs().max().double_value(&[]).max(1.0);
            (got - wanted).abs().max().double_value(&[]) / most
        };
        pairs.into_iter().map(relative).fold(0.0, f64::max)
    }

    #[test]
    fn is_the_convolution_and_its_gradients() {
        if !is_ours() {
            return;
        }
        for (shape, image, way) in [
            ([16, 16, 3], [3, 12, 13], [1, 1]),
            ([32, 16, 3], [2, 9, 14], [2, 1]),
            ([32, 16, 3], [2, 8, 8], [2, 1]),
            ([16, 8, 1], [5, 8, 7], [2, 0]),
            ([8, 24, 1], [70, 1, 1], [1, 0]),
            ([40, 8, 3], [67, 4, 4], [1, 1]),
            ([64, 64, 3], [9, 7, 7], [1, 1]),
            ([16, 3, 3], [4, 10, 9], [1, 1]),
            ([24, 1, 7], [4, 11, 9], [2, 3]),
            ([8, 8, 5], [2, 3, 3], [3, 2]),
            ([8, 8, 3], [2, 9, 9], [4, 0]),
            ([8, 8, 2], [2, 5, 6], [1, 0]),
            ([8, 8, 3], [3, 1, 2], [1, 1]),
            ([144, 16, 3], [130, 5, 5], [1, 1]),
            // Large enough for minimal filtering.
            ([32, 32, 3], [3, 12, 13], [1, 1]),
            ([64, 40, 3], [9, 7, 7], [1, 1]),
            ([32, 48, 3], [2, 9, 8], [1, 0]),
            ([40, 64, 3], [5, 4, 4], [1, 2]),
            ([128, 256, 3], [37, 2, 2], [1, 1]),
            ([512, 512, 3], [19, 4, 4], [1, 1]),
        ] {
            for weight_last in [false, true] {
                let error = error(shape, image, way, weight_last);
                assert!(error < 2e-6, "{shape:?} {image:?} {way:?}: {error:e}");
            }
        }
    }

    #[test]
    fn has_the_same_bits_whatever_the_threads() {
        if !is_ours() {
            return;
        }
        for (channels, stride) in [(16, 2), (48, 1)] {
            let input = channels_last([37, channels, 11, 12]).set_requires_grad(true);
            let weight = channels_last([72, channels, 3, 3]).set_requires_grad(true);
            let run = |threads| {
                tch::set_num_threads(threads);
                let out = convolve(&input, &weight, stride, 1).unwrap();
                let loss = (&out * &out).sum(Kind::Float);
                let found = Tensor::run_backward(&[loss], &[&input, &weight], false, false);
                let all = [&out.detach(), &found[0], &found[1]];
                all.map(|it| it.contiguous().view_dtype(Kind::Int))
            };
            let expected = run(1);
            for threads in [2, 3, 5] {
                assert_eq!(run(threads), expected, "{threads} threads");
            }
        }
    }

    #[test]
    fn in_bf16_is_the_result_in_fp32_rounded() {
        if !is_ours_in_bf16() {
            return;
        }
        for (shape, image, way) in [
            ([16, 8, 3], [5, 9, 7], [2, 1]),
            ([24, 8, 1], [70, 2, 2], [1, 0]),
            ([40, 32, 3], [7, 8, 6], [1, 1]),
        ] {
            let [outputs, inputs, kernel] = shape;
            let [samples, height, width] = image;
            let random = |shape| channels_last(shape).to_kind(Kind::BFloat16);
            let input = random([samples, inputs, height, width]);
            let weight = random([outputs, inputs, kernel, kernel]).to_kind(Kind::Float);
            let weight = weight.set_requires_grad(true);
            let run = |kind: Kind| {
                let input = input.to_kind(kind).set_requires_grad(true);
                let out = {
                    let _rounds = (kind == Kind::BFloat16)
                        .then(|| crate::shim::Autocast::enter(Device::Cpu).unwrap());
                    assert!(convolves(&input, &weight));
                    convolve(&input, &weight, way[0], way[1]).unwrap()
                };
                assert_eq!(out.kind(), kind);
                // Its numbers are the same in both kinds.
                let slope = Tensor::arange(out.numel() as i64, kind::FLOAT_CPU).remainder(7.0);
                let loss = (&out * slope.view_as(&out).to_kind(kind)).sum(Kind::Float);
                let found = Tensor::run_backward(&[loss], &[&input, &weight], false, false);
                let all = [&out.detach(), &found[0], &found[1]];
                all.map(|it| it.to_kind(Kind::BFloat16).to_kind(Kind::Float))
            };
            assert_eq!(run(Kind::BFloat16), run(Kind::Float), "{shape:?}");
        }
    }

    #[test]
    fn has_second_derivatives() {
        if !is_ours() {
            return;
        }
        let input = channels_last([3, 8, 6, 5]).set_requires_grad(true);
        let weight = channels_last([16, 8, 3, 3]).set_requires_grad(true);
        let along = Tensor::randn([16, 8, 3, 3], (Kind::Double, Device::Cpu));
        // The Hessian of a curved function of the result, along a direction of the weights.
        let curved = |out: &Tensor, leaves: [&Tensor; 2]| {
            let loss = (out * out * out).sum(out.kind());
            let slope = Tensor::run_backward(&[loss], &leaves[1..], true, true);
            let inner = (&slope[0] * along.to_kind(out.kind())).sum(out.kind());
            Tensor::run_backward(&[inner], &leaves, false, false)
        };
        let found = curved(&convolve(&input, &weight, 1, 1).unwrap(), [&input, &weight]);
        let [wide, deep] = [&input, &weight].map(double);
        let expected = wide.conv2d(&deep, NO_BIAS, [1; 2], [1; 2], [1; 2], 1);
        let wanted = curved(&expected, [&wide, &deep]);
        for (found, wanted) in found.iter().zip(wanted) {
            let most = wanted.abs().max().double_value(&[]);
            let error = (double(found) - wanted).abs().max().double_value(&[]) / most;
            assert!(error < 1e-5, "{error:e}");
        }
    }

    #[test]
    fn refuses_what_it_does_not_compute() {
        let [input, weight] = [[2, 8, 5, 5], [8, 8, 3, 3]].map(channels_last);
        let none = |input: &Tensor, weight: &Tensor| {
            assert!(!convolves(input, weight));
            let error = convolve(input, weight, 1, 1).unwrap_err().to_string();
            assert!(error.contains("not computed here"), "{error}");
        };
        none(&input.contiguous(), &weight);
        let [one, of_one] = [[2, 1, 5, 5], [8, 1, 3, 3]]
            .map(|shape: [i64; 4]| Tensor::ones(shape, kind::FLOAT_CPU));
        none(&one, &of_one);
        none(&double(&input), &double(&weight));
        none(&input, &channels_last([6, 8, 3, 3]));
        none(&input, &channels_last([8, 4, 3, 3]));
        none(
            &channels_last([2, 3, 5, 5]).set_requires_grad(true),
            &channels_last([8, 3, 3, 3]),
        );
        if is_ours() {
            let small = convolve(&input, &channels_last([8, 8, 7, 7]), 1, 0).unwrap_err();
            let small = small.to_string();
            assert!(small.contains("smaller than the kernel"), "{small}");
        }
    }
}
