//! Batch norms and products of autograd, by the kernels' forms.

use std::sync::Arc;

use super::super::{AutogradBy, Kernels};
use super::{OnCpu, assert_bits, copy, randn};
use crate::BatchNorm;
use tch::{Kind, Tensor};

/// What a batch norm is computed of: activations `[5, 24, 7, 7]` with the channels last in memory, what is added to
/// them, their result's gradient; scale, shift, mean and variance.
struct Case {
    images: [Tensor; 3],
    channels: [Tensor; 4],
}

impl Case {
    fn new(kind: Kind) -> Self {
        let image = |_| randn(&[5, 7, 7, 24]).to_kind(kind).permute([0, 3, 1, 2]);
        Self {
            images: [0, 1, 2].map(image),
            channels: [randn(&[24]), randn(&[24]), randn(&[24]), randn(&[24]).abs()],
        }
    }

    /// The result, the running statistics, and the gradients of all that has one.
    fn run(&self, adds: bool, relu: bool, trains: bool) -> Vec<Tensor> {
        let leaf = |tensor: &Tensor| tensor.detach().set_requires_grad(trains);
        let [input, added, slope] = &self.images;
        let (input, added) = (leaf(input), adds.then(|| leaf(added)));
        let [scale, shift, mean, variance] = &self.channels;
        let (scale, shift) = (leaf(scale), leaf(shift));
        let running = [copy(mean), copy(variance)];
        let norm = BatchNorm {
            scale: &scale,
            shift: &shift,
            running: running.each_ref(),
            trains,
            epsilon: 1e-5,
            momentum: 0.1,
        };
        assert!(norm.fits(&input, 1, added.as_ref()));
        let out = norm.apply(&input, 1, added.as_ref(), relu).unwrap();
        let mut all = vec![out.detach(), copy(&running[0]), copy(&running[1])];
        if trains {
            let total = (&out * slope).sum(Kind::Float);
            let leaves: Vec<&Tensor> = [Some(&input), added.as_ref(), Some(&scale), Some(&shift)]
                .into_iter()
                .flatten()
                .collect();
            all.extend(Tensor::run_backward(&[&total], &leaves, false, false));
        }
        all
    }
}

#[test]
fn autograd_has_the_bits_that_it_has_by_the_passes_for_cpus() {
    let kernels: Kernels = Arc::new(OnCpu);
    for kind in [Kind::Float, Kind::BFloat16] {
        let case = Case::new(kind);
        for (adds, relu) in [(false, false), (false, true), (true, false), (true, true)] {
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

#[test]
fn what_a_pass_says_is_an_error_of_libtorchs() {
    struct Refuses;
    impl super::Launch for Refuses {
        fn device(&self) -> tch::Device {
            tch::Device::Cpu
        }
        unsafe fn launch(
            &self,
            _: &str,
            _: u32,
            _: u32,
            _: &[super::Argument],
        ) -> Result<(), super::CudaError> {
            Err(super::CudaError::Argument("this one does not".to_owned()))
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
}
