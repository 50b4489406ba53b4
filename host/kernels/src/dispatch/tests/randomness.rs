//! Random operations, which draw from libtorch's default generator.

use std::sync::Mutex;

use tch::Device;

use super::*;

/// The generator is the process's.
static GENERATOR: Mutex<()> = Mutex::new(());

fn numbers() -> Tensor {
    let count = Tensor::arange(64 * 1024, kind::FLOAT_CPU);
    count.sin().view([2, 4, 128, 64])
}

/// Each of the operations with its network.
fn random() -> Vec<(Network, Slot)> {
    let half = || ("p", Argument::Float(0.5));
    let train = || ("train", Argument::Bool(true));
    let input = || ("self", slot(Slot(0)));
    let networks = [
        ("dropout", vec![("input", slot(Slot(0))), half(), train()]),
        ("bernoulli.p", vec![input(), half()]),
        ("rand_like", vec![input()]),
        ("randn_like", vec![input()]),
    ];
    let mut all: Vec<(Network, Slot)> = networks
        .into_iter()
        .map(|(name, arguments)| {
            let mut net = Network::default();
            let [_] = net.inputs();
            let out = net.then(name, &arguments);
            (net, out)
        })
        .collect();
    let mut net = Network::default();
    let [_, out] = net.inputs();
    let arguments = [("input", slot(Slot(0))), half(), train()];
    let outputs = vec![Output::Slot(out), Output::None];
    let node = Node::call(&operator("native_dropout"), &arguments, outputs);
    net.nodes.push(node.unwrap());
    all.push((net, out));
    // Stochastic depth, as it is exported.
    let mut net = Network::default();
    let [_] = net.inputs();
    let size = ("size", Argument::Ints(vec![2, 1, 1, 1]));
    let made = net.then("new_empty", &[input(), size]);
    let drawn = net.then("bernoulli_.float", &[("self", slot(made)), half()]);
    let out = net.then("mul.Tensor", &[input(), ("other", slot(drawn))]);
    all.push((net, out));
    let mut net = Network::default();
    let [_] = net.inputs();
    let [q, k, v] = ["query", "key", "value"].map(|name| (name, slot(Slot(0))));
    let arguments = [q, k, v, ("dropout_p", Argument::Float(0.5))];
    let out = net.then("scaled_dot_product_attention", &arguments);
    all.push((net, out));
    all
}

#[test]
fn two_passes_with_one_seed_have_the_same_bits_on_any_threads() {
    let _alone = GENERATOR.lock().unwrap();
    let x = numbers();
    for (mut net, out) in random() {
        let names: Vec<String> = net.nodes.iter().map(|it| it.name().to_owned()).collect();
        assert!(net.nodes.iter().any(Node::is_random), "{names:?}");
        let mut drawn = |number: u64, threads: i32| {
            tch::set_num_threads(threads);
            seed(Device::Cpu, number).unwrap();
            bits(&net.run(&[&x], out))
        };
        let first = drawn(7, 2);
        assert_eq!(first, drawn(7, 2), "{names:?}");
        assert_eq!(first, drawn(7, 1), "{names:?}");
        // Stochastic depth draws but two bits, which some other seeds give, too.
        assert!((8..20).any(|number| first != drawn(number, 2)), "{names:?}");
    }
}

#[test]
fn a_seed_is_the_bindings() {
    let _alone = GENERATOR.lock().unwrap();
    let x = leaf([50, 50]);
    let mut net = Network::default();
    let [input] = net.inputs();
    let arguments = [
        ("input", slot(input)),
        ("p", Argument::Float(0.3)),
        ("train", Argument::Bool(true)),
    ];
    let out = net.then("dropout", &arguments);
    seed(Device::Cpu, 11).unwrap();
    let ours = net.run(&[&x], out);
    tch::manual_seed(11);
    let theirs = x.dropout(0.3, true);
    assert_same(&ours, &theirs, &[&x]);
}

#[test]
fn a_device_without_a_generator_is_refused() {
    assert!(seed(Device::Vulkan, 1).is_err());
    assert!(seed(Device::Cuda(120), 1).is_err());
}

#[test]
fn what_is_not_random_says_so() {
    for name in ["relu", "add.Tensor", "batch_norm", "linear"] {
        assert!(!operator(name).is_random(), "{name}");
    }
}
