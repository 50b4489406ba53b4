//! A lane's numbers do not depend on how many lanes are computed beside it, nor on the threads.
//!
//! MKL, which computes libtorch's products on x86, by default chooses how to add up a product by
//! where its matrices lie in memory and by the threads at hand. `MKL_CBWR=AUTO,STRICT` makes it add
//! up in one order, at no measurable cost, if it is set before the first product of the process.
#![allow(clippy::unwrap_used, unsafe_code)]

use std::sync::{Mutex, MutexGuard, Once};

use host::model::{InputSpec, Keys, MODELS, Mode, Network, Parameter};
use host::registry::{Options, find};
use host::rng::{Moment, Purpose, Stream};
use kernels_native as _;
use serde_json::json;
use tch::{Kind, Tensor};

static MKL: Once = Once::new();
// The number of threads is MKL's in all of the process: one test at a time.
static THREADS: Mutex<()> = Mutex::new(());

fn lock() -> MutexGuard<'static, ()> {
    // SAFETY: every test comes here before it does anything, and no other thread reads or writes the
    // environment meanwhile.
    MKL.call_once(|| unsafe { std::env::set_var("MKL_CBWR", "AUTO,STRICT") });
    THREADS
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn build(name: &str, options: serde_json::Value, shape: &[i64]) -> Box<dyn Network> {
    let options: Options = serde_json::from_value(options).unwrap();
    let spec = InputSpec {
        shape: shape.to_vec(),
        classes: outputs(name),
        ..InputSpec::default()
    };
    (find(MODELS, name).unwrap().build)(&options, &spec).unwrap()
}

/// Outputs of a model: ten classes, or one number.
fn outputs(name: &str) -> i64 {
    if name == "hidden-neuron" { 1 } else { 10 }
}

/// Standard normal numbers of lane `lane`.
fn draw(lane: u64, what: &str, shape: &[i64]) -> Tensor {
    let mut stream = Stream::new(lane, Purpose::Init(what), Moment::default());
    let count = shape.iter().product::<i64>();
    let values: Vec<f32> = (0..count).map(|_| stream.normal()).collect();
    Tensor::from_slice(&values).view(shape)
}

/// Everything that three steps of training compute for each of `lanes`, one list of tensors a lane.
fn train(network: &dyn Network, shape: &[i64], batch: i64, lanes: &[u64]) -> Vec<Vec<Tensor>> {
    let stack = |what: &str, shape: &[i64]| {
        let lanes: Vec<Tensor> = lanes.iter().map(|&lane| draw(lane, what, shape)).collect();
        Tensor::stack(&lanes, 0)
    };
    let size = |parameter: &Parameter| parameter.shape.iter().product::<i64>();
    let count: i64 = network.parameters().iter().map(size).sum();
    let lane_count = lanes.len() as i64;

    let mut flat = stack("weights", &[count]) * 0.1;
    let mut offset = 0;
    let mut parameters = Vec::new();
    for parameter in network.parameters() {
        let whole = [&[lane_count], &parameter.shape[..]].concat();
        parameters.push(flat.narrow(1, offset, size(parameter)).view(&whole[..]));
        offset += size(parameter);
    }
    let buffers: Vec<Tensor> = network
        .buffers()
        .iter()
        .map(|buffer| stack(&buffer.name, &[buffer.features]).abs() + 0.5)
        .collect();
    let input = stack("input", &[&[batch], shape].concat());
    let labels = Tensor::arange(batch, (Kind::Int64, tch::Device::Cpu))
        .remainder(10)
        .repeat([lane_count]);

    let mut seen = Vec::new();
    for _ in 0..3 {
        let leaves: Vec<Tensor> = parameters
            .iter()
            .map(|parameter| parameter.detach().set_requires_grad(true))
            .collect();
        let logits = network.forward(&leaves, &buffers, &input, Mode::Train(Keys::NONE));
        assert_eq!(logits.size()[..2], [lane_count, batch]);
        // A lane's loss is its own mean over its samples.
        let sum = match logits.size()[2] {
            1 => (&logits - 1.0).square().sum(Kind::Float),
            outputs => logits.view([-1, outputs]).cross_entropy_loss::<Tensor>(
                &labels,
                None,
                tch::Reduction::Sum,
                -100,
                0.0,
            ),
        };
        let loss = sum / batch as f64;
        let gradients = Tensor::run_backward(&[loss], &leaves, false, false);
        let flat_gradients: Vec<Tensor> = gradients
            .iter()
            .map(|gradient| gradient.reshape([lane_count, -1]))
            .collect();
        flat -= Tensor::cat(&flat_gradients, 1) * 0.1;
        seen.push(logits.detach());
        seen.extend(gradients);
        seen.extend(buffers.iter().map(Tensor::copy));
    }
    seen.push(tch::no_grad(|| {
        network.forward(&parameters, &buffers, &input, Mode::Eval)
    }));
    let lane = |i| seen.iter().map(|tensor| tensor.get(i).copy()).collect();
    (0..lane_count).map(lane).collect()
}

fn bits(tensor: &Tensor) -> Vec<u32> {
    let values = Vec::<f32>::try_from(tensor.reshape([-1])).unwrap();
    values.into_iter().map(f32::to_bits).collect()
}

fn check(name: &str, options: serde_json::Value, shape: &[i64]) {
    let _alone = lock();
    let network = build(name, options, shape);
    let network = network.as_ref();
    assert!(network.lanes());
    for batch in [128, 100, 32] {
        tch::set_num_threads(1);
        let alone: Vec<Vec<Tensor>> = (0..6)
            .map(|lane| train(network, shape, batch, &[lane]).remove(0))
            .collect();
        for threads in [1, 2] {
            tch::set_num_threads(threads);
            for lanes in [
                &[0][..],
                &[0, 1],
                &[1, 0],
                &[0, 1, 2],
                &[3, 4, 5],
                &[0, 1, 2, 3, 4, 5],
            ] {
                let together = train(network, shape, batch, lanes);
                for (&lane, together) in lanes.iter().zip(together) {
                    let pairs = alone[lane as usize].iter().zip(&together);
                    for (i, (alone, together)) in pairs.enumerate() {
                        assert!(
                            bits(alone) == bits(together),
                            "tensor {i} of lane {lane} among {lanes:?}, batch {batch}, {threads} threads, differs by {}",
                            (alone - together).abs().max().double_value(&[])
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn a_lane_of_the_mlp_has_the_same_bits_alone_and_among_others_at_any_thread_count() {
    check("mlp", json!({}), &[40]);
}

#[test]
fn a_lane_of_odd_sizes_has_the_same_bits_alone_and_among_others() {
    let options = json!({"hidden": [33, 7], "batch_norm": true});
    check("mlp", options, &[3, 5, 5]);
}

#[test]
fn a_lane_of_lenet_has_the_same_bits_alone_and_among_others() {
    check("lenet-300-100", json!({}), &[1, 28, 28]);
}

#[test]
fn a_lane_of_the_hidden_neuron_has_the_same_bits_alone_and_among_others() {
    check("hidden-neuron", json!({}), &[5]);
}
