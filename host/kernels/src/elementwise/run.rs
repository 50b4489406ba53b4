//! A program's pass over its arrays.

use super::Program;
use super::kernels::{BLOCK, Block, Width};
use super::plan::{Instruction, Place, Plan};
use super::single::padded;
use std::mem;

impl Program {
    /// Computes the results of all elements; +0 where `mask` is 0.
    ///
    /// An array may be both read and written. Pieces of the arrays give the bits of the whole: several threads share
    /// the work by a run for each piece.
    ///
    /// # Panics
    /// If there are fewer arrays or scalars than the program needs, or if the arrays and the mask are not all
    /// of the same length.
    pub fn run(&self, arrays: &mut [&mut [f32]], mask: Option<&[f32]>, scalars: &[f32]) {
        Run::new(self, scalars).pass(arrays, mask);
    }
}

/// A program with its scalars, for many passes over pieces of arrays. Each thread takes a copy.
#[derive(Clone, Debug)]
pub struct Run {
    plan: Plan,
    width: Width,
    /// How many arrays a pass takes at least.
    arrays: usize,
    #[expect(clippy::vec_box, reason = "exchanged by their addresses")]
    registers: Vec<Box<Register>>,
    /// Filled while the others are read, then exchanged for the one that was to be filled.
    spare: Box<Register>,
}

/// A block where no vector lies across two cache lines.
#[derive(Clone, Debug)]
#[repr(align(64))]
struct Register(Block);

impl Run {
    /// # Panics
    /// If there are fewer scalars than the program needs.
    pub fn new(program: &Program, scalars: &[f32]) -> Self {
        Self::at(Width::chosen(), program, scalars)
    }

    /// The same with vectors of this width.
    pub(super) fn at(width: Width, program: &Program, scalars: &[f32]) -> Self {
        assert!(scalars.len() >= program.scalars(), "too few scalars");
        let plan = Plan::of(program, scalars, width);
        let spare = Box::new(Register([0.0; BLOCK]));
        let mut registers = vec![spare.clone(); plan.registers];
        for &(register, value) in &plan.uniform {
            registers[register].0.fill(value);
        }
        Self {
            plan,
            width,
            arrays: program.arrays(),
            registers,
            spare,
        }
    }

    /// As [`Program::run`].
    ///
    /// # Panics
    /// If there are fewer arrays than the program needs, or if the arrays and the mask are not all of the same
    /// length.
    pub fn pass(&mut self, arrays: &mut [&mut [f32]], mask: Option<&[f32]>) {
        assert!(arrays.len() >= self.arrays, "too few arrays");
        let Some(length) = arrays.first().map(|array| array.len()) else {
            return;
        };
        assert!(
            arrays.iter().all(|array| array.len() == length),
            "arrays of several lengths"
        );
        assert!(
            mask.is_none_or(|mask| mask.len() == length),
            "a mask of another length"
        );
        self.whole_blocks(arrays, mask);
        let whole = length - length % BLOCK;
        if whole < length {
            let mut rests: Vec<Block> = arrays.iter().map(|it| padded(&it[whole..])).collect();
            let mut views: Vec<_> = rests.iter_mut().map(<[f32; BLOCK]>::as_mut_slice).collect();
            let mask = mask.map(|mask| padded(&mask[whole..]));
            self.whole_blocks(&mut views, mask.as_ref().map(<[f32; BLOCK]>::as_slice));
            for (array, rest) in arrays.iter_mut().zip(&rests) {
                array[whole..].copy_from_slice(&rest[..length - whole]);
            }
        }
    }

    /// Runs the plan on each whole block of the arrays.
    fn whole_blocks(&mut self, arrays: &mut [&mut [f32]], mask: Option<&[f32]>) {
        for nth in 0..arrays[0].len() / BLOCK {
            let mask = mask.map(|mask| &mask.as_chunks::<BLOCK>().0[nth]);
            if mask.is_some_and(drops_all) {
                for &(_, array) in &self.plan.writes {
                    block_of(arrays[array], nth).fill(0.0);
                }
                continue;
            }
            for (instruction, to) in &self.plan.instructions {
                let registers = &self.registers;
                let at = |place: Place| match place {
                    Place::Array(array) => &arrays[array].as_chunks::<BLOCK>().0[nth],
                    Place::Register(register) => &registers[register].0,
                };
                fill(self.width, instruction, at, &mut self.spare.0);
                mem::swap(&mut self.spare, &mut self.registers[*to]);
            }
            for &(register, array) in &self.plan.writes {
                let (value, to) = (&self.registers[register].0, block_of(arrays[array], nth));
                match mask {
                    Some(mask) => self.width.keep(value, mask, to),
                    None => to.copy_from_slice(value),
                }
            }
        }
    }
}

fn block_of(array: &mut [f32], nth: usize) -> &mut Block {
    &mut array.as_chunks_mut::<BLOCK>().0[nth]
}

/// Computes the instruction's values.
fn fill<'a>(
    width: Width,
    instruction: &Instruction,
    at: impl Fn(Place) -> &'a Block,
    to: &mut Block,
) {
    match *instruction {
        Instruction::Copy(a) => to.copy_from_slice(at(a)),
        Instruction::Unary(what, a) => width.unary(what, at(a), to),
        Instruction::Binary(what, a, b) => width.binary(what, at(a), at(b), to),
        Instruction::Chain(first, then, operands) => width.chain(first, then, operands.map(at), to),
        Instruction::Clamp(a, low, high) => width.clamp(at(a), low, high, to),
        Instruction::Select(condition, a, b) => width.select(at(condition), at(a), at(b), to),
    }
}

/// Whether nothing of a block is kept. A dense block says so at its first numbers.
fn drops_all(mask: &Block) -> bool {
    mask.as_chunks::<64>().0.iter().all(|some| {
        some.iter()
            .fold(true, |dropped, &kept| dropped & (kept == 0.0))
    })
}
