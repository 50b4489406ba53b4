//! The passes on a GPU beside their forms on the CPU, where there is a GPU.

use std::ptr::null_mut;

use super::super::cache::Cache;
use super::super::driver::Gpu;
use super::super::nvrtc::Nvrtc;
use super::super::passes::{
    Draws, NormGradients, NormMemory, Normalise, SampleLosses, clip_factors, clip_pieces, coins,
    cross_entropy, gather, linear_bias_gradient, linear_forward, linear_input_gradient,
    linear_weight_gradient, masked_adamw_step, masked_sgd_step, norm_backward,
    norm_by_channel_backward, norm_by_channel_forward, norm_forward,
};
use super::*;
use crate::BatchNorm;
use crate::shim::{AdamwStep, SgdStep};

/// A pass over some tensors, the last of which are its results.
type Pass = fn(&dyn Launch, &mut [Tensor]);

/// A pass with its tensors, and how far apart results may be.
struct Case {
    name: &'static str,
    tensors: Vec<Tensor>,
    pass: Pass,
    tolerance: f64,
}

fn numbers(shape: &[i64]) -> Tensor {
    Tensor::zeros(shape, kind::FLOAT_CPU)
}

fn exact(name: &'static str, tensors: Vec<Tensor>, pass: Pass) -> Case {
    Case {
        name,
        tensors,
        pass,
        tolerance: 0.0,
    }
}

fn sgd() -> Case {
    let shape = [3, 70_001];
    let flat = [
        randn(&shape),
        randn(&shape),
        randn(&shape),
        mask(&shape, 0.3),
    ];
    let of_lanes = [
        Tensor::rand([3], kind::FLOAT_CPU),
        Tensor::rand([3], kind::FLOAT_CPU),
    ];
    exact(
        "sgd",
        flat.into_iter().chain(of_lanes).collect(),
        |on, t| {
            let step = SgdStep {
                momentum: 0.9,
                weight_decay: 5e-4,
                nesterov: true,
            };
            let [weights, gradients, momentum, mask, lr, factors] = t else {
                panic!("{}", t.len())
            };
            for _ in 0..2 {
                let state = Some(&mut *momentum);
                masked_sgd_step(on, weights, gradients, state, mask, lr, Some(factors), step)
                    .unwrap();
            }
        },
    )
}

fn adamw() -> Case {
    let shape = [3, 70_001];
    let mut tensors = vec![
        randn(&shape),
        randn(&shape),
        randn(&shape),
        randn(&shape).abs(),
    ];
    tensors.push(mask(&shape, 0.3));
    tensors.push(numbers(&[3, 3]));
    exact("adamw", tensors, |on, t| {
        let step = AdamwStep {
            betas: (0.9, 0.999),
            eps: 1e-8,
            weight_decay: 0.01,
        };
        let [weights, gradients, first, second, mask, rates] = t else {
            panic!("{}", t.len())
        };
        rates.copy_(&super::adamw_rates_of(
            &[0.1, 0.2, 0.3],
            &[1, 20, 3000],
            step,
        ));
        let averages = [first, second];
        masked_adamw_step(on, weights, gradients, averages, mask, rates, None, step).unwrap();
    })
}

fn clip() -> Case {
    let shape = [3, 70_001];
    let sums = Tensor::zeros([3, clip_pieces(shape[1])], kind::DOUBLE_CPU);
    let tensors = vec![randn(&shape), mask(&shape, 0.3), sums, numbers(&[3])];
    exact("clip", tensors, |on, t| {
        clip_factors(on, &t[0], &t[1], 10.0, &t[2], &t[3]).unwrap();
    })
}

fn norm(kind: Kind) -> Case {
    let shape = [37, 3, 5, 21];
    let mut tensors: Vec<_> = (0..6).map(|_| randn(&shape).to_kind(kind)).collect();
    tensors.extend((0..2).map(|_| randn(&[21])));
    tensors.extend((0..4).map(|_| numbers(&[21])));
    exact("norm", tensors, |on, t| {
        let [
            input,
            added,
            slopes,
            out,
            of_input,
            of_added,
            scale,
            shift,
            mean,
            variance,
            of_scale,
            of_shift,
        ] = t
        else {
            panic!("{}", t.len())
        };
        let memory = NormMemory::new(input.numel() as i64 / 21, 21, on.device()).unwrap();
        let norm = BatchNorm {
            scale,
            shift,
            running: [mean, variance],
            trains: true,
            epsilon: 1e-5,
            momentum: 0.1,
        };
        norm_forward(on, &norm, input, Some(added), true, &memory, out).unwrap();
        let gradients = NormGradients {
            input: of_input,
            added: Some(of_added),
            scale: of_scale,
            shift: of_shift,
        };
        norm_backward(on, scale, slopes, input, Some(out), &memory, gradients).unwrap();
    })
}

/// By the batch's statistics, with their gradients, and then by the running ones.
fn norm_by_channel(kind: Kind, shape: [i64; 3]) -> Case {
    let mut tensors: Vec<_> = (0..7).map(|_| randn(&shape).to_kind(kind)).collect();
    tensors.extend((0..2).map(|_| randn(&[shape[1]])));
    tensors.extend((0..4).map(|_| numbers(&[shape[1]])));
    tensors.push(numbers(&[2, shape[1]]));
    exact("norm by channel", tensors, |on, t| {
        let [
            input,
            added,
            slopes,
            out,
            known_out,
            of_input,
            of_added,
            scale,
            shift,
            mean,
            variance,
            of_scale,
            of_shift,
            statistics,
        ] = t
        else {
            panic!("{}", t.len())
        };
        let mut norm = BatchNorm {
            scale,
            shift,
            running: [mean, variance],
            trains: true,
            epsilon: 1e-5,
            momentum: 0.1,
        };
        norm_by_channel_forward(on, &norm, input, Some(added), true, statistics, out).unwrap();
        let gradients = NormGradients {
            input: of_input,
            added: Some(of_added),
            scale: of_scale,
            shift: of_shift,
        };
        norm_by_channel_backward(on, scale, slopes, input, Some(out), statistics, gradients)
            .unwrap();
        norm.trains = false;
        norm_by_channel_forward(on, &norm, input, None, false, statistics, known_out).unwrap();
    })
}

fn batch() -> Case {
    let images = Tensor::randint(256, [11, 3, 32, 32], kind::INT64_CPU).to_kind(Kind::Uint8);
    let index = Tensor::from_slice(&[3i64, 0, 10, 3]);
    let places = Tensor::from_slice2(&[[0i64, 36, 144, 72], [0, 33, 4, 35], [1, -1, 1, -1]]);
    let scale = Tensor::rand([3], kind::FLOAT_CPU) * 0.02;
    let tensors = vec![
        images,
        index,
        places,
        scale,
        randn(&[3]),
        numbers(&[4, 32, 32, 3]),
    ];
    exact("gather", tensors, |on, t| {
        let draws = Draws {
            places: &t[2],
            crop: 2,
        };
        let normalise = Normalise {
            scale: &t[3],
            shift: &t[4],
        };
        gather(on, &t[0], &t[1], Some(draws), normalise, true, &t[5]).unwrap();
    })
}

fn loss() -> Case {
    let labels = Tensor::randint(10, [3, 257], kind::INT64_CPU);
    let losses = Tensor::zeros([3], kind::DOUBLE_CPU);
    let correct = Tensor::zeros([3], kind::INT64_CPU);
    let logits = randn(&[3, 257, 10]) * 5.0;
    let tensors = vec![logits, labels, losses, correct, numbers(&[3, 257, 10])];
    Case {
        // A GPU's exponentials are others.
        tolerance: 1e-5,
        ..exact("cross-entropy", tensors, |on, t| {
            let samples = SampleLosses::new(3, 257, on.device());
            let sums = [&t[2], &t[3]];
            cross_entropy(
                on,
                &t[0],
                &t[1],
                0.1,
                &samples,
                sums[0],
                sums[1],
                Some(&t[4]),
            )
            .unwrap();
        })
    }
}

fn dropped() -> Case {
    let keys = Tensor::from_slice(&[5i64, -6, i64::MAX, 8, 0, 0, i64::MIN, -1, 1, 2, 3, 4]);
    let tensors = vec![keys.view([3, 4]), numbers(&[3, 70_001])];
    exact("coins", tensors, |on, t| {
        coins(on, &t[0], 0.9, &t[1]).unwrap()
    })
}

fn linear() -> Case {
    let (bias, weight) = (randn(&[3, 70]), randn(&[3, 70, 130]));
    let (input, slopes) = (randn(&[3, 130, 60]), randn(&[3, 70, 60]));
    let results = [&bias, &weight, &input, &slopes].map(|it| it.zeros_like());
    let tensors = [bias, weight, input, slopes].into_iter().chain(results);
    exact("linear", tensors.collect(), |on, t| {
        linear_forward(on, Some(&t[0]), &t[1], &t[2], &t[7]).unwrap();
        linear_input_gradient(on, &t[1], &t[3], &t[6]).unwrap();
        linear_weight_gradient(on, &t[3], &t[2], &t[5]).unwrap();
        linear_bias_gradient(on, &t[3], &t[4]).unwrap();
    })
}

/// Runs the pass on copies of its tensors, and gives them on the CPU.
fn run(case: &Case, on: &dyn Launch) -> Vec<Tensor> {
    let mut tensors: Vec<_> = (case.tensors.iter())
        .map(|it| copy(it).to_device(on.device()))
        .collect();
    (case.pass)(on, &mut tensors);
    // Copying waits for what was launched on the default stream, which is libtorch's, too.
    tensors.iter().map(|it| it.to_device(Device::Cpu)).collect()
}

#[test]
fn passes_on_a_gpu_have_the_bits_of_their_forms() {
    let cases = [
        sgd(),
        adamw(),
        clip(),
        norm(Kind::Float),
        norm(Kind::BFloat16),
        norm_by_channel(Kind::Float, [1, 300, 60]),
        norm_by_channel(Kind::Float, [37, 21, 1023]),
        norm_by_channel(Kind::Float, [517, 3, 1]),
        norm_by_channel(Kind::BFloat16, [5, 21, 63]),
        batch(),
        loss(),
        dropped(),
        linear(),
    ];
    let folder = tempfile::tempdir().unwrap();
    let gpu = tch::Cuda::is_available().then(|| {
        let compiler = Nvrtc::open(None).unwrap();
        Gpu::with_kernels(0, &compiler, &Cache::new(folder.path())).unwrap()
    });
    // SAFETY: the default stream lives as long as the process.
    let stream = gpu.as_ref().map(|gpu| unsafe { gpu.on_stream(null_mut()) });
    if stream.is_none() {
        say_skipped("libtorch knows no GPU; forms are compared with themselves");
    }
    for case in &cases {
        let expected = run(case, &OnCpu);
        let found = match &stream {
            Some(stream) => run(case, stream),
            None => run(case, &OnCpu),
        };
        for (place, (found, expected)) in found.iter().zip(&expected).enumerate() {
            let what = format!("{}: tensor {place}", case.name);
            if case.tolerance == 0.0 {
                assert_bits(found, expected, &what);
            } else {
                let apart = (found - expected).abs().max().double_value(&[]);
                let largest = expected.abs().max().double_value(&[]);
                assert!(apart <= case.tolerance * (1.0 + largest), "{what}: {apart}");
            }
        }
    }
}
