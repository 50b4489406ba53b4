//! What a run does for each block, its scalars being known.

use super::kernels::{Then, Width};
use super::{Binary, Operand, Operation, Program, Unary};

/// Where a block of values is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Array(usize),
    Register(usize),
}

/// How to fill a register, which may be one that is read.
#[derive(Clone, Copy, Debug)]
pub(super) enum Instruction {
    Copy(Place),
    Unary(Unary, Place),
    Binary(Binary, Place, Place),
    Chain(Binary, Then, [Place; 3]),
    Clamp(Place, f32, f32),
    Select(Place, Place, Place),
}

/// The operations that are left: those that a result needs and that differ between elements.
#[derive(Clone, Debug, Default)]
pub(super) struct Plan {
    /// Each with the register it fills.
    pub instructions: Vec<(Instruction, usize)>,
    /// How many registers they need.
    pub registers: usize,
    /// The registers that hold one number throughout.
    pub uniform: Vec<(usize, f32)>,
    /// What becomes of which array, all of it in registers.
    pub writes: Vec<(usize, usize)>,
}

impl Plan {
    pub(super) fn of(program: &Program, scalars: &[f32], width: Width) -> Self {
        let Program {
            operations, writes, ..
        } = program;
        let known = Known::of(operations, scalars, width);
        let last_use = known.last_uses(operations, writes);
        let mut plan = Self::default();
        // Of what nothing needs they stay as they are here, and nothing reads them.
        let mut places = vec![Place::Register(0); operations.len()];
        let mut free = Vec::new();
        for (index, operation) in operations.iter().enumerate() {
            let Some(last) = last_use[index] else {
                continue;
            };
            if let Some(value) = known.values[index] {
                let register = plan.register();
                plan.uniform.push((register, value));
                places[index] = Place::Register(register);
                continue;
            }
            // What is written must be read before: it needs a copy.
            if let (&Operation::Array(array), true) = (operation, last < operations.len()) {
                places[index] = Place::Array(array);
                continue;
            }
            let at = |operand: usize| places[known.same[operand]];
            let is_last = |operand: usize| {
                last_use[operand] == Some(index) && known.values[operand].is_none()
            };
            let mut instruction = match *operation {
                Operation::Array(array) => Instruction::Copy(Place::Array(array)),
                Operation::Unary(what, a) => Instruction::Unary(what, at(a)),
                Operation::Binary(what, a, b) => Instruction::Binary(what, at(a), at(b)),
                Operation::Clamp(a, low, high) => Instruction::Clamp(at(a), low, high),
                Operation::Select(condition, a, b) => {
                    Instruction::Select(at(condition), at(a), at(b))
                }
                Operation::Scalar(_) | Operation::Constant(_) => continue,
            };
            // Nothing was filled since the one that it takes in, so what that one reads is still there.
            if let Some(chain) = plan.chained(operation, |operand| {
                let operand = known.same[operand];
                (places[operand], is_last(operand))
            }) {
                plan.instructions.pop();
                instruction = chain;
            }
            for operand in operation.operands().map(|operand| known.same[operand]) {
                if let (true, Place::Register(register)) = (is_last(operand), places[operand])
                    && !free.contains(&register)
                {
                    free.push(register);
                }
            }
            let to = free.pop().unwrap_or_else(|| plan.register());
            plan.instructions.push((instruction, to));
            places[index] = Place::Register(to);
        }
        for &(operation, array) in writes {
            if let Place::Register(register) = places[known.same[operation]] {
                plan.writes.push((register, array));
            }
        }
        plan
    }

    /// `operation` together with the instruction before, if that one's value is for nothing else.
    ///
    /// `at` is where an operand is and whether it is needed for the last time.
    fn chained(
        &self,
        operation: &Operation,
        at: impl Fn(usize) -> (Place, bool),
    ) -> Option<Instruction> {
        let (&(Instruction::Binary(first, a, b), register), &Operation::Binary(second, x, y)) =
            (self.instructions.last()?, operation)
        else {
            return None;
        };
        let is_before = |operand| at(operand) == (Place::Register(register), true);
        let (then, other) = match (second, is_before(x), is_before(y)) {
            (Binary::Add, true, false) => (Then::Add, y),
            (Binary::Add, false, true) => (Then::Add, x),
            (Binary::Sub, true, false) => (Then::Sub, y),
            (Binary::Sub, false, true) => (Then::From, x),
            (Binary::Mul, true, false) => (Then::Mul, y),
            (Binary::Mul, false, true) => (Then::Mul, x),
            _ => return None,
        };
        let is_short = matches!(first, Binary::Add | Binary::Sub | Binary::Mul);
        is_short.then(|| Instruction::Chain(first, then, [a, b, at(other).0]))
    }

    /// One that was never used: what is uniform stays where it is from block to block.
    fn register(&mut self) -> usize {
        self.registers += 1;
        self.registers - 1
    }
}

/// What a run knows before its first block.
struct Known {
    /// The values of the operations that are the same for all elements.
    values: Vec<Option<f32>>,
    /// The operation that computes each one's value: another one where a selection is known.
    same: Vec<usize>,
}

impl Known {
    fn of(operations: &[Operation], scalars: &[f32], width: Width) -> Self {
        let mut values: Vec<Option<f32>> = Vec::with_capacity(operations.len());
        let mut same = Vec::with_capacity(operations.len());
        for (index, operation) in operations.iter().enumerate() {
            let mut source = index;
            let number = |operand: usize| values[operand].map(Operand::Number);
            let mut to = [0.0];
            let value = match *operation {
                Operation::Array(_) => None,
                Operation::Scalar(scalar) => Some(scalars[scalar]),
                Operation::Constant(value) => Some(value),
                Operation::Unary(what, a) => number(a).map(|a| {
                    width.whole_unary(what, a, &mut to);
                    to[0]
                }),
                Operation::Binary(what, a, b) => number(a).zip(number(b)).map(|(a, b)| {
                    width.whole_binary(what, a, b, &mut to);
                    to[0]
                }),
                Operation::Clamp(a, low, high) => number(a).map(|a| {
                    width.whole_clamp(a, low, high, &mut to);
                    to[0]
                }),
                Operation::Select(condition, a, b) => values[condition].and_then(|condition| {
                    let taken = if condition != 0.0 { a } else { b };
                    source = same[taken];
                    values[taken]
                }),
            };
            values.push(value);
            same.push(source);
        }
        Self { values, same }
    }

    /// The last operation that reads each one's value, one past the last for a result; none if nothing does.
    fn last_uses(&self, operations: &[Operation], writes: &[(usize, usize)]) -> Vec<Option<usize>> {
        let mut last_use = vec![None; operations.len()];
        for &(operation, _) in writes {
            last_use[self.same[operation]] = Some(operations.len());
        }
        for (index, operation) in operations.iter().enumerate().rev() {
            if last_use[index].is_some() && self.values[index].is_none() {
                for operand in operation.operands() {
                    last_use[self.same[operand]].get_or_insert(index);
                }
            }
        }
        last_use
    }
}
