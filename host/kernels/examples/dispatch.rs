//! What a call by name costs beside the same call through the bindings: chains of operations on tensors of
//! one element, where little else takes time.
//!
//! ```sh
//! cargo run --release -p kernels --example dispatch
//! ```

use std::time::Instant;

use kernels::dispatch::{Argument, Frame, Node, Operator, Output, Slot, drop_early};
use kernels_native as _;
use tch::{Tensor, kind};

/// Operations of a pass, passes of a measurement, and measurements of which the fastest counts.
const LENGTH: u32 = 200;
const PASSES: u32 = 200;
const TIMES: u32 = 15;

/// An operation of one tensor with what else it takes, and the bindings' of the same.
struct Case {
    name: &'static str,
    tensor: &'static str,
    others: fn() -> Vec<(&'static str, Argument)>,
    bound: fn(&Tensor) -> Tensor,
}

const CASES: [Case; 4] = [
    Case {
        name: "relu",
        tensor: "self",
        others: Vec::new,
        bound: Tensor::relu,
    },
    Case {
        name: "add.Tensor",
        tensor: "self",
        others: || vec![("other", Argument::Slot(Slot(0)))],
        bound: |x| x + x,
    },
    Case {
        name: "max_pool2d",
        tensor: "self",
        others: || vec![("kernel_size", Argument::Ints(vec![1, 1]))],
        bound: |x| x.max_pool2d([1, 1], [1, 1], [0, 0], [1, 1], false),
    },
    Case {
        name: "view",
        tensor: "self",
        others: || vec![("size", Argument::Ints(vec![1, 1, 1, 1]))],
        bound: |x| x.view([1, 1, 1, 1]),
    },
];

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    println!("ns for each call       by name  bindings  difference");
    for case in &CASES {
        for grad in [false, true] {
            let [ours, theirs] = measure(case, grad)?;
            let how = if grad { "with autograd" } else { "" };
            let difference = ours - theirs;
            println!(
                "{:10} {how:14} {ours:6.0} {theirs:9.0} {difference:11.0}",
                case.name
            );
        }
    }
    Ok(())
}

/// Nanoseconds of a call, by name and through the bindings.
fn measure(case: &Case, grad: bool) -> Result<[f64; 2], Failure> {
    let (name, overload) = case.name.split_once('.').unwrap_or((case.name, ""));
    let operator = Operator::find(&format!("aten::{name}"), overload)?;
    let mut nodes = Vec::new();
    for at in 0..LENGTH {
        let mut arguments = (case.others)();
        for (_, argument) in &mut arguments {
            if let Argument::Slot(slot) = argument {
                *slot = Slot(at);
            }
        }
        arguments.push((case.tensor, Argument::Slot(Slot(at))));
        let outputs = vec![Output::Slot(Slot(at + 1))];
        nodes.push(Node::call(&operator, &arguments, outputs)?);
    }
    drop_early(&mut nodes, &[Slot(0)])?;
    let x = Tensor::zeros([1, 1, 1, 1], kind::FLOAT_CPU).set_requires_grad(grad);
    let mut frame = Frame::new(LENGTH as usize + 1)?;
    frame.set(Slot(0), &x)?;
    let mut best = [f64::INFINITY; 2];
    for _ in 0..TIMES {
        let start = Instant::now();
        for _ in 0..PASSES {
            for node in &nodes {
                frame.call(node)?;
            }
        }
        best[0] = best[0].min(start.elapsed().as_secs_f64());
        let start = Instant::now();
        for _ in 0..PASSES {
            let mut value = x.shallow_clone();
            for _ in 0..LENGTH {
                value = (case.bound)(&value);
            }
        }
        best[1] = best[1].min(start.elapsed().as_secs_f64());
    }
    Ok(best.map(|seconds| seconds * 1e9 / f64::from(LENGTH * PASSES)))
}
