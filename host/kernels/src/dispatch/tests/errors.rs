//! What cannot be made or called says so.

use super::*;
use crate::shim::backward;

fn refused(name: &str, arguments: &[(&str, Argument)], outputs: Vec<Output>) -> String {
    let error = Node::call(&operator(name), arguments, outputs).unwrap_err();
    error.to_string()
}

fn one() -> Vec<Output> {
    vec![Output::Slot(Slot(9))]
}

/// The error of a network whose first slots are given.
fn fails(net: &mut Network, inputs: &[&Tensor], out: Slot) -> String {
    net.try_run(inputs, out).unwrap_err().to_string()
}

#[test]
fn an_unknown_operation_is_named() {
    for (name, overload, message) in [
        ("aten::ad", "", "libtorch: there is no operation aten::ad"),
        (
            "aten::add",
            "Tensr",
            "libtorch: there is no operation aten::add.Tensr",
        ),
        ("", "", "libtorch: there is no operation "),
        ("a\0", "", "libtorch: \"a\\0\" has a zero byte"),
    ] {
        let error = Operator::find(name, overload).unwrap_err();
        assert_eq!(error.to_string(), message);
    }
}

#[test]
fn arguments_that_do_not_fit_are_named_with_what_was_expected() {
    let input = || ("self", slot(Slot(0)));
    assert_eq!(
        refused("relu", &[("inptu", slot(Slot(0)))], one()),
        "aten::relu has no parameter \"inptu\"; it takes self"
    );
    assert_eq!(
        refused("relu", &[input(), input()], one()),
        "aten::relu: argument self is given twice"
    );
    assert_eq!(
        refused("add.Tensor", &[input()], one()),
        "aten::add.Tensor: argument other is missing, expected Tensor"
    );
    let text = Argument::String("4".to_owned());
    assert_eq!(
        refused("view", &[input(), ("size", text)], one()),
        "aten::view: argument size is the text \"4\", expected int[]"
    );
    let cases = [
        (
            "transpose.int",
            "dim0",
            Argument::Float(1.0),
            "the float 1.0, expected int",
        ),
        (
            "transpose.int",
            "dim0",
            Argument::Bool(true),
            "the bool true, expected int",
        ),
        (
            "dropout",
            "train",
            Argument::Int(1),
            "the int 1, expected bool",
        ),
        ("dropout", "p", Argument::None, "None, expected float"),
        (
            "add.Tensor",
            "alpha",
            Argument::Ints(vec![1]),
            "the ints [1], expected Scalar",
        ),
        (
            "add.Tensor",
            "other",
            Argument::None,
            "None, expected Tensor",
        ),
        (
            "sum",
            "dtype",
            Argument::Int(6),
            "the int 6, expected ScalarType?",
        ),
        (
            "index.Tensor",
            "indices",
            Argument::Ints(vec![0]),
            "the ints [0], expected Tensor?[]",
        ),
        (
            "view",
            "size",
            Argument::Int(4),
            "the int 4, expected int[]",
        ),
        (
            "bernoulli",
            "generator",
            slot(Slot(1)),
            "slot 1, expected Generator?",
        ),
    ];
    for (name, argument, given, message) in cases {
        let got = refused(name, &[(argument, given)], one());
        assert_eq!(
            got,
            format!("aten::{name}: argument {argument} is {message}")
        );
    }
    assert_eq!(
        refused(
            "add_.Tensor",
            &[("self", Argument::Int(1)), ("other", slot(Slot(0)))],
            one()
        ),
        "aten::add_.Tensor: argument self is the int 1, expected a slot with the Tensor that is \
         written to"
    );
}

#[test]
fn results_without_a_place_are_counted() {
    let input = [("self", slot(Slot(0)))];
    assert_eq!(
        refused("relu", &input, vec![]),
        "aten::relu gives 1 results, but places for 0 are given"
    );
    assert_eq!(
        refused("relu", &input, vec![Output::List(vec![])]),
        "aten::relu: result 0 is Tensor, expected a list of tensors"
    );
    let x = Tensor::zeros([6], kind::FLOAT_CPU);
    let mut net = Network::default();
    let [input] = net.inputs();
    let arguments = [("self", slot(input)), ("chunks", Argument::Int(3))];
    let [first, _] = net.then_list("chunk", &arguments);
    assert_eq!(
        fails(&mut net, &[&x], first),
        "libtorch: aten::chunk: gave 3 tensors, expected 2"
    );
}

#[test]
fn slots_that_hold_something_else_are_named() {
    let x = Tensor::zeros([6], kind::FLOAT_CPU);
    let mut net = Network::default();
    let [input, other] = net.inputs();
    let arguments = [("self", slot(input)), ("other", slot(other))];
    let out = net.then("add.Tensor", &arguments);
    assert_eq!(
        fails(&mut net, &[&x], out),
        "libtorch: aten::add.Tensor: argument other: slot 1 holds nothing"
    );
    let mut net = Network::default();
    let [input] = net.inputs();
    let arguments = [("self", slot(input)), ("chunks", slot(input))];
    let [out] = net.then_list("chunk", &arguments);
    assert_eq!(
        fails(&mut net, &[&x], out),
        "libtorch: aten::chunk: argument chunks: slot 0 holds Tensor, expected Int"
    );
    let mut net = Network::default();
    let [input] = net.inputs();
    let size = Argument::IntSlots(vec![Whole::Slot(input)]);
    let out = net.then("view", &[("self", slot(input)), ("size", size)]);
    assert_eq!(
        fails(&mut net, &[&x], out),
        "libtorch: aten::view: argument size: slot 0 holds Tensor, expected Int"
    );
    let mut frame = Frame::new(2).unwrap();
    let error = frame.call(&net.nodes[0]).unwrap_err().to_string();
    assert_eq!(
        error,
        "libtorch: aten::view: argument self: slot 0 holds nothing"
    );
    let node = Node::size(Slot(2), 0, Slot(0)).unwrap();
    let error = frame.call(&node).unwrap_err().to_string();
    assert_eq!(error, "libtorch: size: slot 2 is not one of 2");
    for error in [
        frame.set(Slot(2), &x).unwrap_err(),
        frame.set_int(Slot(2), 1).unwrap_err(),
        frame.tensor(Slot(2)).unwrap_err(),
        frame.int(Slot(2)).unwrap_err(),
        frame.clear(Slot(2)).unwrap_err(),
    ] {
        assert_eq!(error.to_string(), "libtorch: slot 2 is not one of 2");
    }
    frame.set_int(Slot(0), 1).unwrap();
    let error = frame.tensor(Slot(0)).unwrap_err().to_string();
    assert_eq!(error, "libtorch: slot 0 holds Int, expected Tensor");
    assert!(Frame::new(usize::MAX).is_err());
}

#[test]
fn libtorchs_errors_come_back_with_the_operations_name_and_the_frame_goes_on() {
    let x = leaf([2, 3]);
    let mut net = Network::default();
    let [input, weight] = net.inputs();
    let arguments = [("input", slot(input)), ("weight", slot(weight))];
    let out = net.then("linear", &arguments);
    drop_early(&mut net.nodes, &[out]).unwrap();
    let mut frame = Frame::new(net.slots as usize).unwrap();
    frame.set(input, &x).unwrap();
    frame
        .set(weight, &Tensor::ones([4, 4], kind::FLOAT_CPU))
        .unwrap();
    let error = frame.call(&net.nodes[0]).unwrap_err().to_string();
    assert!(
        error.starts_with("libtorch: aten::linear: mat1 and mat2"),
        "{error}"
    );
    assert!(!error.contains("Exception raised"), "{error}");
    frame
        .set(weight, &Tensor::ones([4, 3], kind::FLOAT_CPU))
        .unwrap();
    frame.call(&net.nodes[0]).unwrap();
    assert_eq!(frame.tensor(out).unwrap().size(), [2, 4]);
}

#[test]
fn a_leaf_is_not_written_to() {
    let x = leaf([2]);
    let mut net = Network::default();
    let [input] = net.inputs();
    let out = net.then("relu_", &[("self", slot(input))]);
    let error = fails(&mut net, &[&x], out);
    let expected = "libtorch: aten::relu_: a leaf Variable that requires grad is being used in an";
    assert!(error.starts_with(expected), "{error}");
    let view = x.narrow(0, 0, 1);
    let error = fails(&mut net, &[&view], out);
    assert!(error.contains("a view of a leaf Variable"), "{error}");
}

#[test]
fn what_autograd_needs_and_was_written_to_fails_in_the_backward_pass() {
    let x = leaf([2]);
    let mut net = Network::default();
    let [input] = net.inputs();
    let made = net.then("exp", &[("self", slot(input))]);
    let out = net.then(
        "add_.Tensor",
        &[("self", slot(made)), ("other", Argument::Int(1))],
    );
    let out = net.run(&[&x], out);
    let into = [Tensor::zeros([2], kind::FLOAT_CPU)];
    let error = backward(&out, &out.ones_like(), &[x], &into, false).unwrap_err();
    let error = error.to_string();
    assert!(
        error.contains("modified by an inplace operation"),
        "{error}"
    );
}

#[test]
fn arithmetic_that_no_number_holds_fails() {
    let max = Whole::Given(i64::MAX);
    let min = Whole::Given(i64::MIN);
    let too_large = "a result that no Int holds";
    for (arithmetic, operands, message) in [
        (Arithmetic::Add, vec![max, max], too_large),
        (Arithmetic::Sub, vec![min, max], too_large),
        (Arithmetic::Mul, vec![max, max], too_large),
        (Arithmetic::Neg, vec![min], too_large),
        (Arithmetic::FloorDiv, vec![min, Whole::Given(-1)], too_large),
        (
            Arithmetic::FloorDiv,
            vec![Whole::Given(7), Whole::Given(0)],
            "division of 7 by zero",
        ),
        (
            Arithmetic::Mod,
            vec![Whole::Given(7), Whole::Given(0)],
            "division of 7 by zero",
        ),
        (
            Arithmetic::Neg,
            vec![Whole::Slot(Slot(0))],
            "slot 0 holds nothing",
        ),
    ] {
        let node = Node::arithmetic(arithmetic, &operands, Slot(0)).unwrap();
        let error = Frame::new(1).unwrap().call(&node).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("libtorch: {arithmetic:?}: {message}")
        );
    }
    let error = Node::arithmetic(Arithmetic::Add, &[max], Slot(0)).unwrap_err();
    assert_eq!(error.to_string(), "Add takes 2 operands, not 1");
}
