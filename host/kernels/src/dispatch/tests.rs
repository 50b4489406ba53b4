//! Calls by name against the same operations of the bindings, bit for bit.

mod errors;
mod networks;
mod passes;
mod randomness;

use tch::{Kind, Tensor, kind};

use super::*;

/// A network that is written down one operation after the other.
#[derive(Default)]
struct Network {
    nodes: Vec<Node>,
    slots: u32,
}

impl Network {
    fn slot(&mut self) -> Slot {
        self.slots += 1;
        Slot(self.slots - 1)
    }

    fn inputs<const N: usize>(&mut self) -> [Slot; N] {
        [(); N].map(|()| self.slot())
    }

    /// The one result of an operation such as `add.Tensor`.
    fn then(&mut self, name: &str, arguments: &[(&str, Argument)]) -> Slot {
        let out = self.slot();
        let outputs = vec![Output::Slot(out)];
        let node = Node::call(&operator(name), arguments, outputs).unwrap();
        self.nodes.push(node);
        out
    }

    /// The tensors of a list.
    fn then_list<const N: usize>(
        &mut self,
        name: &str,
        arguments: &[(&str, Argument)],
    ) -> [Slot; N] {
        let out = self.inputs::<N>();
        let outputs = vec![Output::List(out.map(Some).to_vec())];
        let node = Node::call(&operator(name), arguments, outputs).unwrap();
        self.nodes.push(node);
        out
    }

    fn compute(&mut self, arithmetic: Arithmetic, operands: [Whole; 2]) -> Slot {
        let out = self.slot();
        let node = Node::arithmetic(arithmetic, &operands, out).unwrap();
        self.nodes.push(node);
        out
    }

    /// The value of `out` for these inputs, which lie in the first slots.
    fn run(&mut self, inputs: &[&Tensor], out: Slot) -> Tensor {
        self.try_run(inputs, out).unwrap()
    }

    fn try_run(&mut self, inputs: &[&Tensor], out: Slot) -> Result<Tensor, crate::shim::ShimError> {
        drop_early(&mut self.nodes, &[out]).unwrap();
        let mut frame = Frame::new(self.slots as usize)?;
        for (slot, input) in (0..).zip(inputs) {
            frame.set(Slot(slot), input)?;
        }
        for node in &self.nodes {
            frame.call(node)?;
        }
        frame.tensor(out)
    }
}

/// The operation with this name and overload in `aten`.
fn operator(name: &str) -> Operator {
    let (name, overload) = name.split_once('.').unwrap_or((name, ""));
    Operator::find(&format!("aten::{name}"), overload).unwrap()
}

fn slot(slot: Slot) -> Argument {
    Argument::Slot(slot)
}

fn leaf<const N: usize>(shape: [i64; N]) -> Tensor {
    Tensor::randn(shape, kind::FLOAT_CPU).set_requires_grad(true)
}

/// Kind, shape and bits.
fn bits(tensor: &Tensor) -> (Kind, Vec<i64>, Vec<u8>) {
    let tensor = tensor.detach().contiguous();
    let bytes = Vec::try_from(tensor.view([-1]).view_dtype(Kind::Uint8)).unwrap();
    (tensor.kind(), tensor.size(), bytes)
}

/// Fails unless both values and their gradients, for the squares' sum, have the same bits.
fn assert_same(ours: &Tensor, theirs: &Tensor, leaves: &[&Tensor]) {
    assert_eq!(bits(ours), bits(theirs));
    let gradients = |out: &Tensor| {
        let loss = out.square().sum(Kind::Float);
        Tensor::run_backward(&[loss], leaves, false, false)
    };
    if leaves.is_empty() {
        return;
    }
    for (at, (ours, theirs)) in gradients(ours).iter().zip(gradients(theirs)).enumerate() {
        assert!(theirs.defined());
        assert_eq!(bits(ours), bits(&theirs), "gradient {at}");
    }
}
