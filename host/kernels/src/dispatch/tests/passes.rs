//! Schemas, arithmetic, and frames from pass to pass.

use std::fs;
use std::thread;

use super::*;

#[test]
fn a_schema_says_types_defaults_and_what_is_written() {
    let add = operator("add_.Tensor");
    assert_eq!(add.name(), "aten::add_.Tensor");
    let shown = |operator: &Operator| {
        let parameters = operator.parameters().iter();
        let shown = parameters.map(|it| format!("{} {} {:?}", it.kind, it.name, it.default));
        shown.collect::<Vec<_>>()
    };
    let expected = [
        "Tensor self None",
        "Tensor other None",
        "Scalar alpha Some(Int(1))",
    ];
    assert_eq!(shown(&add), expected);
    let written: Vec<bool> = add.parameters().iter().map(|it| it.writes).collect();
    assert_eq!(written, [true, false, false]);
    assert_eq!(add.results(), [Type::Tensor]);
    let pool = operator("max_pool2d_with_indices");
    let expected = [
        "Tensor self None",
        "int[] kernel_size None",
        "int[] stride Some(Ints([]))",
        "int[] padding Some(Ints([0, 0]))",
        "int[] dilation Some(Ints([1, 1]))",
        "bool ceil_mode Some(Bool(false))",
    ];
    assert_eq!(shown(&pool), expected);
    assert_eq!(pool.results(), [Type::Tensor, Type::Tensor]);
    let types = |name| -> Vec<String> {
        let operator = operator(name);
        operator
            .parameters()
            .iter()
            .map(|it| it.kind.to_string())
            .collect()
    };
    assert_eq!(types("index.Tensor"), ["Tensor", "Tensor?[]"]);
    let made = [
        "Tensor",
        "ScalarType?",
        "Layout?",
        "Device?",
        "bool?",
        "bool",
        "MemoryFormat?",
    ];
    assert_eq!(types("_to_copy"), made);
    assert_eq!(types("bernoulli"), ["Tensor", "Generator?"]);
    assert_eq!(
        types("upsample_nearest2d.vec"),
        ["Tensor", "int[]?", "float[]?"]
    );
    assert_eq!(operator("chunk").results()[0].to_string(), "Tensor[]");
}

#[test]
fn arithmetic_is_pythons() {
    let mut frame = Frame::new(2).unwrap();
    for a in -7..=7i64 {
        for b in [-3, -2, -1, 1, 2, 3, 7i64] {
            let floor = (a as f64 / b as f64).floor() as i64;
            let cases = [
                (Arithmetic::Add, a + b),
                (Arithmetic::Sub, a - b),
                (Arithmetic::Mul, a * b),
                (Arithmetic::FloorDiv, floor),
                (Arithmetic::Mod, a - floor * b),
                (Arithmetic::Min, a.min(b)),
                (Arithmetic::Max, a.max(b)),
            ];
            for (arithmetic, expected) in cases {
                frame.set_int(Slot(0), a).unwrap();
                let operands = [Whole::Slot(Slot(0)), Whole::Given(b)];
                let node = Node::arithmetic(arithmetic, &operands, Slot(1)).unwrap();
                frame.call(&node).unwrap();
                assert_eq!(
                    frame.int(Slot(1)).unwrap(),
                    expected,
                    "{a} {arithmetic:?} {b}"
                );
            }
            let node = Node::arithmetic(Arithmetic::Neg, &[Whole::Slot(Slot(0))], Slot(1));
            frame.call(&node.unwrap()).unwrap();
            assert_eq!(frame.int(Slot(1)).unwrap(), -a);
            let cases = [
                (Arithmetic::Eq, a == b),
                (Arithmetic::Ne, a != b),
                (Arithmetic::Lt, a < b),
                (Arithmetic::Le, a <= b),
                (Arithmetic::Gt, a > b),
                (Arithmetic::Ge, a >= b),
            ];
            for (arithmetic, expected) in cases {
                let mut net = Network::default();
                let truth = net.compute(arithmetic, [Whole::Given(a), Whole::Given(b)]);
                // A comparison's result does for a scalar.
                let out = net.then("scalar_tensor", &[("s", slot(truth))]);
                assert_eq!(net.run(&[], out).double_value(&[]) == 1.0, expected);
            }
        }
    }
    let x = Tensor::zeros([3, 4], kind::FLOAT_CPU);
    frame.set(Slot(0), &x).unwrap();
    for (node, expected) in [
        (Node::size(Slot(0), -1, Slot(1)), 4),
        (Node::stride(Slot(0), 0, Slot(1)), 4),
        (Node::numel(Slot(0), Slot(1)), 12),
    ] {
        frame.call(&node.unwrap()).unwrap();
        assert_eq!(frame.int(Slot(1)).unwrap(), expected);
    }
    let node = Node::size(Slot(0), 2, Slot(1)).unwrap();
    let error = frame.call(&node).unwrap_err().to_string();
    assert!(
        error.starts_with("libtorch: size: Dimension out of range"),
        "{error}"
    );
}

#[test]
fn a_slot_is_empty_after_its_last_reader() {
    let mut net = Network::default();
    let [input] = net.inputs();
    let a = net.then("relu", &[("self", slot(input))]);
    let b = net.then("mul.Tensor", &[("self", slot(a)), ("other", slot(a))]);
    let unread = net.then("neg", &[("self", slot(a))]);
    let out = net.then("exp", &[("self", slot(b))]);
    drop_early(&mut net.nodes, &[input, out]).unwrap();
    let mut frame = Frame::new(net.slots as usize).unwrap();
    frame
        .set(input, &Tensor::ones([2], kind::FLOAT_CPU))
        .unwrap();
    let full = [vec![a], vec![a, b], vec![b], vec![out]];
    for (node, expected) in net.nodes.iter().zip(full) {
        frame.call(node).unwrap();
        let slots = [a, b, unread, out].into_iter();
        let got: Vec<Slot> = slots.filter(|it| frame.tensor(*it).is_ok()).collect();
        assert_eq!(got, expected, "after {}", node.name());
    }
    assert!(frame.tensor(input).is_ok());
    frame.clear_all();
    assert!(frame.tensor(input).is_err());
}

#[test]
fn nodes_serve_several_threads_each_with_a_frame() {
    let mut net = Network::default();
    let [input, batch] = net.inputs();
    net.nodes.push(Node::size(input, 0, batch).unwrap());
    let size = Argument::IntSlots(vec![Whole::Given(2), Whole::Given(-1), Whole::Slot(batch)]);
    let seen = net.then("view", &[("self", slot(input)), ("size", size)]);
    let out = net.then(
        "mul.Tensor",
        &[("self", slot(seen)), ("other", Argument::Float(0.5))],
    );
    drop_early(&mut net.nodes, &[input, out]).unwrap();
    let (nodes, slots) = (&net.nodes, net.slots as usize);
    thread::scope(|scope| {
        for thread in 2..6 {
            scope.spawn(move || {
                let x = Tensor::arange(thread * 8, kind::FLOAT_CPU).view([thread, 8]);
                let mut frame = Frame::new(slots).unwrap();
                frame.set(input, &x).unwrap();
                for _ in 0..200 {
                    for node in nodes {
                        frame.call(node).unwrap();
                    }
                    let theirs = x.view([2, -1, thread]) * 0.5;
                    assert_eq!(bits(&frame.tensor(out).unwrap()), bits(&theirs));
                }
            });
        }
    });
}

/// Bytes of memory that the process has.
fn resident() -> usize {
    let text = fs::read_to_string("/proc/self/statm").unwrap();
    let pages = text.split(' ').nth(1).unwrap().parse::<usize>().unwrap();
    pages * 4096
}

/// In a process of its own: tests beside it hold memory, too.
#[test]
#[cfg(target_os = "linux")]
fn a_thousand_passes_leave_nothing_behind() {
    let alone = std::process::Command::new(std::env::current_exe().unwrap())
        .args([
            "--ignored",
            "--exact",
            "dispatch::tests::passes::a_thousand_passes",
        ])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&alone.stdout);
    assert!(
        alone.status.success() && said.contains("1 passed"),
        "{said}"
    );
}

#[test]
#[cfg(target_os = "linux")]
#[ignore = "is run alone, by the test above"]
fn a_thousand_passes() {
    // Every pass makes a list, wrapped numbers and six tensors of 256 KiB; some fail.
    let mut net = Network::default();
    let [input, weight] = net.inputs();
    let arguments = [("input", slot(input)), ("weight", slot(weight))];
    let made = net.then("linear", &arguments);
    let [a, b] = net.then_list(
        "chunk",
        &[("self", slot(made)), ("chunks", Argument::Int(2))],
    );
    let joined = net.then("cat", &[("tensors", Argument::Slots(vec![b, a]))]);
    let moved = net.then(
        "add.Tensor",
        &[("self", slot(joined)), ("other", Argument::Int(1))],
    );
    let out = net.then("relu", &[("self", slot(moved))]);
    drop_early(&mut net.nodes, &[input, weight, out]).unwrap();
    let mut frame = Frame::new(net.slots as usize).unwrap();
    let x = Tensor::randn([4096, 16], kind::FLOAT_CPU);
    let w = leaf([16, 16]);
    let broken = Tensor::ones([3, 3], kind::FLOAT_CPU);
    let mut pass = |fails: bool| {
        frame.set(input, &x).unwrap();
        frame.set(weight, if fails { &broken } else { &w }).unwrap();
        for node in &net.nodes {
            if frame.call(node).is_err() {
                assert!(fails);
                break;
            }
        }
        if !fails {
            let loss = frame.tensor(out).unwrap().sum(Kind::Float);
            let found = Tensor::run_backward(&[loss], &[&w], false, false);
            assert!(found[0].defined());
        }
        frame.clear(out).unwrap();
    };
    (0..100).for_each(|i| pass(i % 10 == 9));
    let before = resident();
    (0..1000).for_each(|i| pass(i % 10 == 9));
    let grown = resident().saturating_sub(before);
    // One tensor a pass would be 250 MiB.
    assert!(grown < 50 << 20, "{grown} bytes");
}
