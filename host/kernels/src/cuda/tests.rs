use std::io::Write;

use tch::{Device, Kind, Tensor, kind};

use super::CudaError;
use super::passes::{Argument, Launch, by_pointers};
use crate::shim::{AdamwStep, adamw_rates};

mod autograd;
mod batch;
mod compiled;
mod kept;
mod linear;
mod loss;
mod norm;
mod norm_by_channel;
mod on_gpu;
mod step;

/// The kernels as C++, on the thread that launches them.
pub struct OnCpu;

impl Launch for OnCpu {
    fn device(&self) -> Device {
        Device::Cpu
    }

    unsafe fn launch(
        &self,
        kernel: &str,
        grid: u32,
        block: u32,
        arguments: &[Argument],
    ) -> Result<(), CudaError> {
        by_pointers(arguments, |pointers| {
            // SAFETY: by the caller's promise.
            unsafe { kernels_forms::launch(kernel, grid, block, pointers) }
                .map_err(CudaError::Argument)
        })
    }
}

/// Says that the running test did not do all, also where the output of tests that pass is not shown.
fn say_skipped(reason: &str) {
    let test = std::thread::current();
    let line = format!("{} skipped: {reason}\n", test.name().unwrap_or("a test"));
    // A test does not fail for want of somebody who reads it.
    let _ = std::io::stderr().write_all(line.as_bytes());
}

fn randn(shape: &[i64]) -> Tensor {
    Tensor::randn(shape, kind::FLOAT_CPU)
}

/// The rates of lanes with these learning rates and numbers of steps, `[3, lanes]`.
fn adamw_rates_of(lr: &[f64], steps: &[i64], step: AdamwStep) -> Tensor {
    let pairs = lr.iter().zip(steps);
    let each: Vec<[f32; 3]> = (pairs.map(|(lr, steps)| adamw_rates(*lr, *steps, step))).collect();
    let by_lane = Tensor::from_slice(&each.concat()).view([-1, 3]);
    by_lane.tr().contiguous()
}

fn mask(shape: &[i64], density: f64) -> Tensor {
    let kept = Tensor::rand(shape, kind::FLOAT_CPU).lt(density);
    kept.to_kind(Kind::Float)
}

/// A copy in memory of its own.
fn copy(tensor: &Tensor) -> Tensor {
    tensor.detach().copy()
}

/// The numbers' bits, in the order of the indices.
fn bits(tensor: &Tensor) -> Vec<u64> {
    let count = tensor.numel();
    let flat = tensor.detach().contiguous().view([-1]);
    match tensor.kind() {
        Kind::Double => {
            let mut numbers = vec![0f64; count];
            flat.copy_data(&mut numbers, count);
            numbers.into_iter().map(f64::to_bits).collect()
        }
        Kind::Int64 => {
            let mut numbers = vec![0i64; count];
            flat.copy_data(&mut numbers, count);
            numbers.into_iter().map(|it| it as u64).collect()
        }
        _ => {
            let mut numbers = vec![0f32; count];
            flat.to_kind(Kind::Float).copy_data(&mut numbers, count);
            let bits = numbers.into_iter().map(f32::to_bits);
            bits.map(u64::from).collect()
        }
    }
}

/// Fails with the first place in which two tensors have other bits.
#[track_caller]
fn assert_bits(got: &Tensor, expected: &Tensor, what: &str) {
    assert_eq!(got.size(), expected.size(), "{what}");
    assert_eq!(got.kind(), expected.kind(), "{what}");
    let (one, other) = (bits(got), bits(expected));
    let differing = one.iter().zip(&other).filter(|(a, b)| a != b).count();
    let first = one.iter().zip(&other).position(|(a, b)| a != b);
    assert_eq!(first, None, "{what}: {differing} of {} differ", one.len());
}

#[test]
fn a_pass_takes_no_tensor_of_another_shape_kind_order_or_device() {
    let weights = randn(&[2, 6]);
    let lr = Tensor::ones([2], kind::FLOAT_CPU);
    let step = crate::shim::SgdStep {
        momentum: 0.0,
        weight_decay: 0.0,
        nesterov: false,
    };
    let refused = |gradients: &Tensor, lr: &Tensor| {
        let (mut weights, mask) = (copy(&weights), copy(&weights));
        super::passes::masked_sgd_step(&OnCpu, &mut weights, gradients, None, &mask, lr, None, step)
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        refused(&randn(&[2, 5]), &lr),
        "gradients must be a contiguous Float [2, 6] on Cpu, not Float [2, 5] on Cpu"
    );
    assert_eq!(
        refused(&randn(&[6, 2]).transpose(0, 1), &lr),
        "gradients must be a contiguous Float [2, 6] on Cpu, not strided Float [2, 6] on Cpu"
    );
    assert_eq!(
        refused(&weights, &lr.to_kind(Kind::Double)),
        "lr must be a contiguous Float [2] on Cpu, not Double [2] on Cpu"
    );
}
