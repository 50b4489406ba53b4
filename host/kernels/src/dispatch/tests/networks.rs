//! Networks of several operations.

use tch::Device;

use super::*;
use crate::shim::Autocast;

const NONE: Option<&Tensor> = None;

#[test]
fn a_perceptron_is_the_bindings() {
    let leaves = [leaf([7, 5]), leaf([7]), leaf([3, 7]), leaf([3])];
    let x = Tensor::randn([6, 5], kind::FLOAT_CPU);
    let mut net = Network::default();
    let [input, w1, b1, w2, b2] = net.inputs();
    let linear = |input: Slot, weight: Slot, bias: Slot| {
        [("input", input), ("weight", weight), ("bias", bias)].map(|(n, s)| (n, slot(s)))
    };
    let hidden = net.then("linear", &linear(input, w1, b1));
    let hidden = net.then("relu", &[("self", slot(hidden))]);
    let out = net.then("linear", &linear(hidden, w2, b2));
    let [w1, b1, w2, b2] = &leaves;
    let ours = net.run(&[&x, w1, b1, w2, b2], out);
    let theirs = x.linear(w1, Some(b1)).relu().linear(w2, Some(b2));
    assert_same(&ours, &theirs, &[w1, b1, w2, b2]);
    let _bf16 = Autocast::enter(Device::Cpu).unwrap();
    let ours = net.run(&[&x, w1, b1, w2, b2], out);
    let theirs = x.linear(w1, Some(b1)).relu().linear(w2, Some(b2));
    assert_eq!(ours.kind(), Kind::BFloat16);
    assert_same(&ours, &theirs, &[w1, b1, w2, b2]);
}

#[test]
fn a_batch_norm_moves_its_statistics_in_views_of_a_flat_buffer() {
    let [x, weight, scale, shift] = [leaf([4, 3, 8, 8]), leaf([6, 3, 3, 3]), leaf([6]), leaf([6])];
    for training in [true, false] {
        let mut net = Network::default();
        let [input, w, g, b, mean, variance, count] = net.inputs();
        let arguments = [
            ("input", slot(input)),
            ("weight", slot(w)),
            ("padding", Argument::Ints(vec![1, 1])),
        ];
        let made = net.then("conv2d", &arguments);
        net.then(
            "add_.Tensor",
            &[("self", slot(count)), ("other", Argument::Int(1))],
        );
        let arguments = [
            ("input", slot(made)),
            ("weight", slot(g)),
            ("bias", slot(b)),
            ("running_mean", slot(mean)),
            ("running_var", slot(variance)),
            ("training", Argument::Bool(training)),
            // A whole number for a float.
            ("momentum", Argument::Int(1)),
            ("eps", Argument::Float(1e-5)),
            ("cudnn_enabled", Argument::Bool(true)),
        ];
        let normed = net.then("batch_norm", &arguments);
        assert_eq!(net.nodes[1].changes(), [count]);
        assert_eq!(net.nodes[2].changes(), [mean, variance]);
        let out = net.then("relu_", &[("self", slot(normed))]);
        let flat = || Tensor::arange(12, kind::FLOAT_CPU) + 1.0;
        let counted = || Tensor::from(41i64);
        let (ours, theirs) = ((flat(), counted()), (flat(), counted()));
        let [our_mean, our_variance] = [0, 6].map(|at| ours.0.narrow(0, at, 6));
        let inputs = [
            &x,
            &weight,
            &scale,
            &shift,
            &our_mean,
            &our_variance,
            &ours.1,
        ];
        let got = net.run(&inputs, out);
        let [mean, variance] = [0, 6].map(|at| theirs.0.narrow(0, at, 6));
        let wanted = x
            .conv2d(&weight, NONE, [1, 1], [1, 1], [1, 1], 1)
            .batch_norm(
                Some(&scale),
                Some(&shift),
                Some(&mean),
                Some(&variance),
                training,
                1.0,
                1e-5,
                true,
            );
        assert_same(&got, &wanted.relu(), &[&x, &weight, &scale, &shift]);
        assert_eq!(bits(&ours.0), bits(&theirs.0));
        assert_eq!(training, ours.0 != flat());
        assert_eq!(ours.1.int64_value(&[]), 42);
    }
}

#[test]
fn a_pool_may_leave_out_what_nobody_wants() {
    let x = leaf([2, 3, 8, 8]);
    let mut net = Network::default();
    let [input, pooled] = net.inputs();
    let arguments = [
        ("self", slot(input)),
        // One number for both sides.
        ("kernel_size", Argument::Int(2)),
        ("stride", Argument::Ints(vec![2, 2])),
    ];
    let outputs = vec![Output::Slot(pooled), Output::None];
    let node = Node::call(&operator("max_pool2d_with_indices"), &arguments, outputs);
    net.nodes.push(node.unwrap());
    let [kernel, padding, dilation] = [[2, 2], [0, 0], [1, 1]];
    let theirs = x.max_pool2d(kernel, kernel, padding, dilation, false);
    assert_same(&net.run(&[&x], pooled), &theirs, &[&x]);
}

#[test]
fn attention_of_chunks_is_the_bindings() {
    let x = leaf([2, 4, 10, 24]);
    let mut net = Network::default();
    let [input] = net.inputs();
    let arguments = [
        ("self", slot(input)),
        ("chunks", Argument::Int(3)),
        ("dim", Argument::Int(-1)),
    ];
    let [q, k, v] = net.then_list("chunk", &arguments);
    let arguments = [
        ("query", slot(q)),
        ("key", slot(k)),
        ("value", slot(v)),
        ("is_causal", Argument::Bool(true)),
    ];
    let out = net.then("scaled_dot_product_attention", &arguments);
    let [q, k, v] = &x.chunk(3, -1)[..] else {
        panic!("three chunks")
    };
    let theirs = Tensor::scaled_dot_product_attention(q, k, v, NONE, 0.0, true, None, false);
    assert_same(&net.run(&[&x], out), &theirs, &[&x]);
}

#[test]
fn pieces_of_a_split_are_joined_again() {
    let x = leaf([5, 7]);
    let mut net = Network::default();
    let [input, whole] = net.inputs();
    let arguments = [
        ("self", slot(input)),
        ("split_size", Argument::Int(3)),
        ("dim", Argument::Int(1)),
    ];
    let [a, b, c] = net.then_list("split.Tensor", &arguments);
    let tensors = Argument::Slots(vec![c, a, b]);
    let joined = net.then("cat", &[("tensors", tensors), ("dim", Argument::Int(1))]);
    // A list may also stay one.
    let split = [("self", slot(joined)), ("split_size", Argument::Int(2))];
    let node = Node::call(&operator("split.Tensor"), &split, vec![Output::Slot(whole)]);
    net.nodes.push(node.unwrap());
    let out = net.then("cat", &[("tensors", slot(whole))]);
    let pieces = x.split(3, 1);
    let theirs = Tensor::cat(&[&pieces[2], &pieces[0], &pieces[1]], 1);
    assert_same(&net.run(&[&x], out), &theirs, &[&x]);
}

#[test]
fn sizes_follow_the_batch() {
    let mut net = Network::default();
    let [input, batch, width] = net.inputs();
    net.nodes.push(Node::size(input, 0, batch).unwrap());
    net.nodes.push(Node::size(input, -1, width).unwrap());
    let double = net.compute(Arithmetic::Mul, [Whole::Slot(batch), Whole::Given(2)]);
    let half = net.compute(Arithmetic::FloorDiv, [Whole::Slot(width), Whole::Given(2)]);
    let shape = Argument::IntSlots([double, half].map(Whole::Slot).to_vec());
    let seen = net.then("view", &[("self", slot(input)), ("size", shape)]);
    // A whole number from a slot does for a tensor and for a scalar.
    let arguments = [("self", slot(seen)), ("other", slot(half))];
    let scaled = net.then("mul.Tensor", &arguments);
    let out = net.then(
        "div.Scalar",
        &[("self", slot(scaled)), ("other", slot(batch))],
    );
    for batch in [2, 6] {
        let x = leaf([batch, 10]);
        let theirs = (x.view([2 * batch, 5]) * 5) / batch;
        assert_same(&net.run(&[&x], out), &theirs, &[&x]);
    }
}

#[test]
fn what_is_written_in_place_is_differentiated() {
    let [x, y] = [leaf([4, 4]), leaf([4, 4])];
    let mut net = Network::default();
    let [a, b] = net.inputs();
    let product = net.then("mul.Tensor", &[("self", slot(a)), ("other", slot(b))]);
    let arguments = [
        ("self", slot(product)),
        ("other", slot(b)),
        // A whole number for a scalar.
        ("alpha", Argument::Int(2)),
    ];
    net.then("add_.Tensor", &arguments);
    net.then("relu_", &[("self", slot(product))]);
    let theirs = (&x * &y + &y * 2).relu();
    assert_same(&net.run(&[&x, &y], product), &theirs, &[&x, &y]);
}

#[test]
fn a_number_among_tensors_does_not_change_their_kind() {
    for kind in [Kind::Float, Kind::BFloat16, Kind::Double, Kind::Int64] {
        let x = Tensor::arange(5, (kind, Device::Cpu));
        for number in [Argument::Int(3), Argument::Float(2.5), Argument::Bool(true)] {
            let theirs = match number {
                Argument::Int(number) => &x * number,
                Argument::Float(number) => &x * number,
                _ => x.shallow_clone(),
            };
            let mut net = Network::default();
            let [input] = net.inputs();
            let out = net.then("mul.Tensor", &[("self", slot(input)), ("other", number)]);
            assert_same(&net.run(&[&x], out), &theirs, &[]);
        }
    }
}

#[test]
fn arguments_of_every_type_arrive() {
    let x = leaf([1, 2, 4, 4]);
    let mut net = Network::default();
    let [input] = net.inputs();
    let arguments = [
        ("self", slot(input)),
        ("dtype", Argument::ScalarType(Kind::Double)),
        ("layout", Argument::Strided),
        ("device", Argument::Device(Device::Cpu)),
        (
            "memory_format",
            Argument::MemoryFormat(MemoryFormat::ChannelsLast),
        ),
    ];
    let wide = net.then("_to_copy", &arguments);
    let arguments = [
        ("input", slot(wide)),
        ("output_size", Argument::None),
        // Whole numbers for floats.
        ("scale_factors", Argument::Ints(vec![2, 2])),
    ];
    let large = net.then("upsample_nearest2d.vec", &arguments);
    let arguments = [
        ("self", slot(large)),
        ("other", Argument::Tensor(Tensor::from(3.0))),
        ("rounding_mode", Argument::String("floor".to_owned())),
    ];
    let divided = net.then("div.Tensor_mode", &arguments);
    let index = Argument::OptionalSlots(vec![None, Some(Slot(4))]);
    net.slots += 1;
    let out = net.then(
        "index.Tensor",
        &[("self", slot(divided)), ("indices", index)],
    );
    let last = Tensor::from_slice(&[1i64]);
    let got = net.run(&[&x, &x, &x, &x, &last], out);
    let theirs = x
        .to_kind(Kind::Double)
        .repeat_interleave_self_int(2, 2, None);
    let theirs = theirs.repeat_interleave_self_int(2, 3, None);
    let theirs = (theirs / 3.0).floor().narrow(1, 1, 1);
    assert_eq!(bits(&got), bits(&theirs));
}
