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
        self.run_at(Width::chosen(), arrays, mask, scalars);
    }

    /// As [`Program::run`], with vectors of this width.
    pub(super) fn run_at(
        &self,
        width: Width,
        arrays: &mut [&mut [f32]],
        mask: Option<&[f32]>,
        scalars: &[f32],
    ) {
        assert!(arrays.len() >= self.arrays(), "too few arrays");
        assert!(scalars.len() >= self.scalars(), "too few scalars");
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

        let plan = Plan::of(self, scalars, width);
        let (mut blocks, rests): (Vec<_>, Vec<_>) = arrays
            .iter_mut()
            .map(|array| array.as_chunks_mut::<BLOCK>())
            .unzip();
        let (mask, mask_rest) = mask.map(|mask| mask.as_chunks::<BLOCK>()).unzip();
        let mut registers = Registers::of(&plan, width);
        registers.pass(&mut blocks, mask);
        if !length.is_multiple_of(BLOCK) {
            let mut padded_rests: Vec<Block> = rests.iter().map(|rest| padded(rest)).collect();
            let mut views: Vec<_> = padded_rests.iter_mut().map(std::slice::from_mut).collect();
            let mask_rest = mask_rest.map(padded);
            registers.pass(&mut views, mask_rest.as_ref().map(std::slice::from_ref));
            for (rest, padded) in rests.into_iter().zip(&padded_rests) {
                rest.copy_from_slice(&padded[..rest.len()]);
            }
        }
    }
}

/// A block where no vector lies across two cache lines.
#[derive(Clone)]
#[repr(align(64))]
struct Register(Block);

/// The values of a block's operations.
struct Registers<'a> {
    plan: &'a Plan,
    width: Width,
    #[expect(clippy::vec_box, reason = "exchanged by their addresses")]
    all: Vec<Box<Register>>,
    /// Filled while the others are read, then exchanged for the one that was to be filled.
    spare: Box<Register>,
}

impl<'a> Registers<'a> {
    fn of(plan: &'a Plan, width: Width) -> Self {
        let spare = Box::new(Register([0.0; BLOCK]));
        let mut all = vec![spare.clone(); plan.registers];
        for &(register, value) in &plan.uniform {
            all[register].0.fill(value);
        }
        Self {
            plan,
            width,
            all,
            spare,
        }
    }

    /// Runs the plan on each block of the arrays.
    fn pass(&mut self, arrays: &mut [&mut [Block]], mask: Option<&[Block]>) {
        for nth in 0..arrays[0].len() {
            let mask = mask.map(|mask| &mask[nth]);
            if mask.is_some_and(drops_all) {
                for &(_, array) in &self.plan.writes {
                    arrays[array][nth].fill(0.0);
                }
                continue;
            }
            for (instruction, to) in &self.plan.instructions {
                self.fill(instruction, arrays, nth);
                mem::swap(&mut self.spare, &mut self.all[*to]);
            }
            for &(register, array) in &self.plan.writes {
                let (value, to) = (&self.all[register].0, &mut arrays[array][nth]);
                match mask {
                    Some(mask) => self.width.keep(value, mask, to),
                    None => to.copy_from_slice(value),
                }
            }
        }
    }

    /// Computes the instruction's values into the spare register.
    fn fill(&mut self, instruction: &Instruction, arrays: &[&mut [Block]], nth: usize) {
        let Self {
            width, all, spare, ..
        } = self;
        let to = &mut spare.0;
        let at = |place: Place| match place {
            Place::Array(array) => &arrays[array][nth],
            Place::Register(register) => &all[register].0,
        };
        match *instruction {
            Instruction::Copy(a) => to.copy_from_slice(at(a)),
            Instruction::Unary(what, a) => width.unary(what, at(a), to),
            Instruction::Binary(what, a, b) => width.binary(what, at(a), at(b), to),
            Instruction::Chain(first, then, operands) => {
                width.chain(first, then, operands.map(at), to)
            }
            Instruction::Clamp(a, low, high) => width.clamp(at(a), low, high, to),
            Instruction::Select(condition, a, b) => width.select(at(condition), at(a), at(b), to),
        }
    }
}

/// Whether nothing of a block is kept. A dense block says so at its first numbers.
fn drops_all(mask: &Block) -> bool {
    mask.as_chunks::<64>().0.iter().all(|some| {
        some.iter()
            .fold(true, |dropped, &kept| dropped & (kept == 0.0))
    })
}
