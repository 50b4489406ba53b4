//! Batch norms and products of autograd, by the kernels' forms.

use std::sync::{Arc, Mutex};

use super::super::{AutogradBy, Kernels};
use super::{Argument, CudaError, Launch, OnCpu, assert_bits, copy, randn};
use crate::BatchNorm;
use tch::{Device, Kind, Tensor};

/// What a batch norm of 24 channels is computed of: activations, what is added to them, their result's gradient; scale,
/// shift, mean and variance.
struct Case {
    images: [Tensor; 3],
    dimension: i64,
    channels: [Tensor; 4],
}

impl Case {
    fn new(image: impl Fn() -> Tensor, dimension: i64) -> Self {
        Self {
            images: [(); 3].map(|()| image()),
            dimension,
            channels: [randn(&[24]), randn(&[24]), randn(&[24]), randn(&[24]).abs()],
        }
    }

    /// Of `[5, 24, 7, 7]` with the channels last in memory.
    fn last(kind: Kind) -> Self {
        Self::new(
            || randn(&[5, 7, 7, 24]).to_kind(kind).permute([0, 3, 1, 2]),
            1,
        )
    }

    /// The result of leaves: input, added, scale and shift.
    fn apply(
        &self,
        [input, added, scale, shift]: [&Tensor; 4],
        running: &[Tensor; 2],
        [adds, relu, trains]: [bool; 3],
    ) -> Tensor {
        let norm = BatchNorm {
            scale,
            shift,
            running: running.each_ref(),
            trains,
            epsilon: 1e-5,
            momentum: 0.1,
        };
        let added = adds.then_some(added);
        assert!(norm.fits(input, self.dimension, added));
        norm.apply(input, self.dimension, added, relu).unwrap()
    }

    /// Leaves of autograd in the order of [`apply`](Case::apply), and the running statistics.
    fn leaves(&self, trains: bool) -> ([Tensor; 4], [Tensor; 2]) {
        let [input, added, _] = &self.images;
        let [scale, shift, mean, variance] = &self.channels;
        let leaf = |tensor: &Tensor| tensor.detach().set_requires_grad(trains);
        let running = [copy(mean), copy(variance)];
        ([input, added, scale, shift].map(leaf), running)
    }

    /// The result, the running statistics, and the gradients of all that has one.
    fn run(&self, adds: bool, relu: bool, trains: bool) -> Vec<Tensor> {
        let (leaves, running) = self.leaves(trains);
        let out = self.apply(leaves.each_ref(), &running, [adds, relu, trains]);
        let mut all = vec![out.detach(), copy(&running[0]), copy(&running[1])];
        if trains {
            let total = (&out * &self.images[2]).sum(Kind::Float);
            let [input, added, scale, shift] = &leaves;
            let mut of = vec![input, scale, shift];
            of.extend(adds.then_some(added));
            all.extend(Tensor::run_backward(&[&total], &of, false, false));
        }
        all
    }

    /// The gradients of the squares of the gradients.
    fn run_twice(&self) -> Vec<Tensor> {
        let (leaves, running) = self.leaves(true);
        let out = self.apply(leaves.each_ref(), &running, [true; 3]);
        let total = (&out * &self.images[2]).sum(Kind::Float);
        let of = leaves.each_ref();
        let first = Tensor::run_backward(&[&total], &of, true, true);
        let squares = [0, 2].map(|at| (&first[at] * &first[at]).sum(Kind::Float));
        let [input, _, scale, _] = of;
        Tensor::run_backward(&[&squares[0] + &squares[1]], &[input, scale], false, false)
    }
}

const WAYS: [[bool; 2]; 4] = [[false, false], [false, true], [true, false], [true, true]];

#[test]
fn autograd_has_the_bits_that_it_has_by_the_passes_for_cpus() {
    let kernels: Kernels = Arc::new(OnCpu);
    for kind in [Kind::Float, Kind::BFloat16] {
        let case = Case::last(kind);
        for [adds, relu] in WAYS {
            for trains in [true, false] {
                let expected = case.run(adds, relu, trains);
                let _forms = AutogradBy::enter(&kernels);
                let got = case.run(adds, relu, trains);
                assert_eq!(got.len(), expected.len());
                for (at, (got, expected)) in got.iter().zip(&expected).enumerate() {
                    assert_bits(
                        got,
                        expected,
                        &format!("{kind:?} {adds} {relu} {trains} {at}"),
                    );
                }
            }
        }
    }
}

/// The forms, and the names of the kernels that were launched.
#[derive(Default)]
struct Listed(Mutex<Vec<String>>);

impl Launch for Listed {
    fn device(&self) -> Device {
        OnCpu.device()
    }

    unsafe fn launch(
        &self,
        kernel: &str,
        grid: u32,
        block: u32,
        arguments: &[Argument],
    ) -> Result<(), CudaError> {
        self.0.lock().unwrap().push(kernel.to_owned());
        // SAFETY: by the caller's promise.
        unsafe { OnCpu.launch(kernel, grid, block, arguments) }
    }
}

#[test]
fn norms_of_channels_that_lie_together_are_those_for_cpus_to_rounding() {
    type Make = fn() -> Tensor;
    // Images, lanes of perceptrons, sequences, channels before all else, and views of memory that begins before them.
    let orders: [(Make, i64); 5] = [
        (|| randn(&[5, 24, 7, 7]), 1),
        (|| randn(&[1, 24, 60]), 1),
        (|| randn(&[9, 24, 5]), 1),
        (|| randn(&[24, 3, 30]), 0),
        (|| randn(&[6, 24, 7, 7]).narrow(0, 1, 5), 1),
    ];
    for (kind, (make, dimension)) in [Kind::Float, Kind::BFloat16]
        .into_iter()
        .flat_map(|kind| orders.map(|order| (kind, order)))
    {
        let mut case = Case::new(|| make().to_kind(kind), dimension);
        // Which side of the ReLU's kink a value lies on is rounding where it is nearly 0.
        for adds in [false, true] {
            let near_kink = case.run(adds, false, true)[0].abs().lt(1e-4);
            case.images[2] = case.images[2].masked_fill(&near_kink, 0.0);
        }
        let tolerance = if kind == Kind::Float { 2e-5 } else { 2e-2 };
        let near = |got: &[Tensor], expected: &[Tensor], what: &str| {
            assert_eq!(got.len(), expected.len());
            for (at, (got, expected)) in got.iter().zip(expected).enumerate() {
                assert_eq!((got.size(), got.kind()), (expected.size(), expected.kind()));
                let wide = |it: &Tensor| it.to_kind(Kind::Double);
                let apart = (wide(got) - wide(expected)).abs().max().double_value(&[]);
                let largest = wide(expected).abs().max().double_value(&[]);
                assert!(apart <= tolerance * (1.0 + largest), "{what} {at}: {apart}");
            }
        };
        for ([adds, relu], trains) in WAYS.iter().flat_map(|way| [(*way, true), (*way, false)]) {
            let what = format!("{kind:?} {:?} {adds} {relu} {trains}", make().size());
            let expected = case.run(adds, relu, trains);
            let listed = Arc::new(Listed::default());
            let kernels: Kernels = listed.clone();
            let _forms = AutogradBy::enter(&kernels);
            near(&case.run(adds, relu, trains), &expected, &what);
            let suffix = if kind == Kind::Float { "f32" } else { "bf16" };
            let names = match trains {
                true => vec!["norm_by_channel", "norm_by_channel_slopes"],
                false => vec!["norm_by_channel_known"],
            };
            let names: Vec<_> = names
                .iter()
                .map(|name| format!("{name}_{suffix}"))
                .collect();
            assert_eq!(*listed.0.lock().unwrap(), names, "{what}");
        }
        if kind == Kind::Float {
            let expected = case.run_twice();
            let kernels: Kernels = Arc::new(OnCpu);
            let _forms = AutogradBy::enter(&kernels);
            near(&case.run_twice(), &expected, "twice");
        }
    }
}

#[test]
fn what_a_pass_says_is_an_error_of_libtorchs() {
    struct Refuses;
    impl Launch for Refuses {
        fn device(&self) -> Device {
            Device::Cpu
        }
        unsafe fn launch(&self, _: &str, _: u32, _: u32, _: &[Argument]) -> Result<(), CudaError> {
            Err(CudaError::Argument("this one does not".to_owned()))
        }
    }
    let kernels: Kernels = Arc::new(Refuses);
    let _refuses = AutogradBy::enter(&kernels);
    let (input, ones) = (randn(&[6, 4]), Tensor::ones([4], tch::kind::FLOAT_CPU));
    let norm = BatchNorm {
        scale: &ones,
        shift: &ones,
        running: [&ones, &ones],
        trains: true,
        epsilon: 1e-5,
        momentum: 0.1,
    };
    let error = norm.apply(&input, 1, None, false).unwrap_err();
    assert!(error.to_string().contains("this one does not"), "{error}");
}

#[test]
fn layers_of_lanes_are_computed_lane_by_lane_in_one_order() {
    let leaf = |shape: &[i64]| randn(shape).set_requires_grad(true);
    let (bias, weight, input) = (leaf(&[3, 20]), leaf(&[3, 20, 30]), leaf(&[3, 9, 30]));
    let slope = randn(&[3, 20, 9]);
    let run = |lanes: &[i64]| {
        let index = Tensor::from_slice(lanes);
        let pick = |it: &Tensor| it.detach().index_select(0, &index).set_requires_grad(true);
        let (bias, weight, input) = (pick(&bias), pick(&weight), pick(&input));
        // As a batch lies in memory: the samples before the features.
        let out = crate::shim::lane_linear(&bias, &weight, &input.transpose(1, 2)).unwrap();
        let total = (&out * slope.index_select(0, &index)).sum(Kind::Float);
        let mut all = vec![out.detach()];
        all.extend(Tensor::run_backward(
            &[&total],
            &[&bias, &weight, &input],
            false,
            false,
        ));
        all
    };
    let expected = run(&[0, 1, 2]);
    let kernels: Kernels = Arc::new(OnCpu);
    let _forms = AutogradBy::enter(&kernels);
    let (together, alone) = (run(&[0, 1, 2]), run(&[1]));
    for (at, (together, expected)) in together.iter().zip(&expected).enumerate() {
        let apart = (together - expected).abs().max().double_value(&[]);
        assert!(apart < 1e-4, "{at}: {apart}");
    }
    for (together, alone) in together.iter().zip(&alone) {
        assert_bits(
            &together.narrow(0, 1, 1).contiguous(),
            alone,
            "a lane alone",
        );
    }
    // Added up term by term, with one rounding each.
    let number = |of: &Tensor, place: &[i64]| of.double_value(place) as f32;
    let mut sum = number(&bias, &[2, 5]);
    for k in 0..30 {
        sum = number(&weight, &[2, 5, k]).mul_add(number(&input, &[2, 7, k]), sum);
    }
    assert_eq!(number(&together[0], &[2, 5, 7]), sum);
    let of_bias = (0..9).fold(0.0, |sum, k| sum + number(&slope, &[2, 5, k]));
    assert_eq!(number(&together[1], &[2, 5]), of_bias);
}
