use super::kernels::{BLOCK, Width};
use super::plan::{Instruction, Plan};
use super::*;

mod single;

const UNARY: [Unary; 10] = [
    Unary::Neg,
    Unary::Abs,
    Unary::Sign,
    Unary::Sqrt,
    Unary::Square,
    Unary::Exp,
    Unary::Log,
    Unary::Reciprocal,
    Unary::Tanh,
    Unary::IsFinite,
];
const BINARY: [Binary; 11] = [
    Binary::Add,
    Binary::Sub,
    Binary::Mul,
    Binary::Div,
    Binary::Maximum,
    Binary::Minimum,
    Binary::Gt,
    Binary::Ge,
    Binary::Lt,
    Binary::Le,
    Binary::Eq,
];
const UNUSUAL: [f32; 14] = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    f32::NAN,
    f32::INFINITY,
    f32::NEG_INFINITY,
    f32::MAX,
    f32::MIN,
    f32::MIN_POSITIVE,
    1e-45,
    -1e-40,
    88.8,
    -103.9,
];

/// Numbers without a pattern (xorshift64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as usize % bound
    }

    fn number(&mut self) -> f32 {
        match self.below(8) {
            0 => UNUSUAL[self.below(UNUSUAL.len())],
            1 => f32::from_bits(self.below(1 << 16) as u32 * 65_537),
            _ => self.below(4001) as f32 / 500.0 - 4.0,
        }
    }

    fn numbers(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.number()).collect()
    }

    /// Of three arrays and two scalars.
    fn program(&mut self) -> Program {
        let mut operations = vec![Operation::Array(0), Operation::Scalar(0)];
        for index in 2..4 + self.below(20) {
            let [a, b, c] = [(); 3].map(|()| self.below(index));
            operations.push(match self.below(12) {
                0 => Operation::Array(self.below(3)),
                1 => Operation::Scalar(self.below(2)),
                2 => Operation::Constant(self.number()),
                3..6 => Operation::Unary(UNARY[self.below(UNARY.len())], a),
                6..8 => Operation::Binary(BINARY[self.below(3)], index - 1, b),
                8..10 => Operation::Binary(BINARY[self.below(BINARY.len())], a, b),
                10 => Operation::Clamp(a, -1.5, 2.0),
                _ => Operation::Select(a, b, c),
            });
        }
        let last = operations.len() - 1;
        let writes = vec![(last, self.below(2)), (self.below(last + 1), 2)];
        Program::new(operations, writes).unwrap()
    }
}

/// Equal to the bit; any NaN is any other.
fn assert_same(got: &[f32], expected: &[f32], what: &str) {
    assert_eq!(got.len(), expected.len(), "{what}");
    for (place, (a, b)) in got.iter().zip(expected).enumerate() {
        let is_same = a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan());
        assert!(is_same, "{what} at {place}: got {a:e}, expected {b:e}");
    }
}

/// The results of the operations one by one, on whole arrays.
fn one_by_one(
    program: &Program,
    width: Width,
    arrays: &[Vec<f32>],
    mask: Option<&[f32]>,
    scalars: &[f32],
) -> Vec<Vec<f32>> {
    let length = arrays[0].len();
    let mut values: Vec<Vec<f32>> = Vec::new();
    for operation in &program.operations {
        let mut to = vec![0.0; length];
        let at = |operand: usize| Operand::Array(&values[operand]);
        match *operation {
            Operation::Array(array) => to.clone_from(&arrays[array]),
            Operation::Scalar(scalar) => to.fill(scalars[scalar]),
            Operation::Constant(value) => to.fill(value),
            Operation::Unary(what, a) => width.whole_unary(what, at(a), &mut to),
            Operation::Binary(what, a, b) => width.whole_binary(what, at(a), at(b), &mut to),
            Operation::Clamp(a, low, high) => width.whole_clamp(at(a), low, high, &mut to),
            Operation::Select(condition, a, b) => {
                width.whole_select([at(condition), at(a), at(b)], &mut to)
            }
        }
        values.push(to);
    }
    let mut results = arrays.to_vec();
    for &(operation, array) in &program.writes {
        results[array].clone_from(&values[operation]);
        for (value, kept) in results[array]
            .iter_mut()
            .zip(mask.unwrap_or(&vec![1.0; length]))
        {
            if *kept == 0.0 {
                *value = 0.0;
            }
        }
    }
    results
}

/// The program's run in so many pieces, none of which need be whole blocks.
fn run_with(
    program: &Program,
    width: Width,
    arrays: &[Vec<f32>],
    mask: Option<&[f32]>,
    scalars: &[f32],
    pieces: usize,
) -> Vec<Vec<f32>> {
    let mut results = arrays.to_vec();
    let length = arrays[0].len();
    let size = length.div_ceil(pieces).max(1);
    let mut run = Run::at(width, program, scalars);
    for start in (0..length).step_by(size) {
        let piece = start..length.min(start + size);
        let mut views: Vec<&mut [f32]> = (results.iter_mut())
            .map(|array| &mut array[piece.clone()])
            .collect();
        run.pass(&mut views, mask.map(|mask| &mask[piece]));
    }
    results
}

#[test]
fn a_run_has_the_bits_of_the_operations_one_by_one_at_every_width_and_in_any_pieces() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let widths = Width::all();
    let (_, plain) = widths[widths.len() - 1];
    let lengths = [
        0,
        1,
        300,
        BLOCK - 1,
        BLOCK,
        BLOCK + 1,
        3 * BLOCK,
        4 * BLOCK + 77,
    ];
    for nth in 0..300 {
        let program = random.program();
        let length = lengths[nth % lengths.len()];
        let arrays: Vec<_> = (0..3).map(|_| random.numbers(length)).collect();
        let scalars = random.numbers(2);
        let mut mask: Vec<f32> = (0..length).map(|_| random.below(2) as f32).collect();
        mask[length.min(BLOCK)..length.min(2 * BLOCK)].fill(0.0);
        for mask in [None, Some(mask.as_slice())] {
            let expected = one_by_one(&program, plain, &arrays, mask, &scalars);
            for &(name, width) in &widths {
                let pieces = 1 + nth % 5;
                let got = run_with(&program, width, &arrays, mask, &scalars, pieces);
                for (got, expected) in got.iter().zip(&expected) {
                    assert_same(
                        got,
                        expected,
                        &format!("{name}, {length} numbers of {program:?}"),
                    );
                }
            }
        }
    }
}

#[test]
fn arrays_can_change_places() {
    let program = Program::new(
        vec![Operation::Array(0), Operation::Array(1)],
        vec![(1, 0), (0, 1)],
    )
    .unwrap();
    let (mut a, mut b) = (vec![1.0; BLOCK + 3], vec![2.0; BLOCK + 3]);
    program.run(&mut [&mut a, &mut b], None, &[]);
    assert!(a.iter().all(|&x| x == 2.0) && b.iter().all(|&x| x == 1.0));
}

#[test]
fn what_is_dropped_becomes_a_positive_zero_whatever_was_computed() {
    let program = Program::new(vec![Operation::Constant(f32::NAN)], vec![(0, 0)]).unwrap();
    let mut a = [-1.0; 4];
    program.run(&mut [&mut a], Some(&[0.0, 1.0, -0.0, 0.5]), &[]);
    assert_same(&a, &[0.0, f32::NAN, 0.0, f32::NAN], "masked");
}

#[test]
fn the_branch_that_is_not_taken_is_not_computed() {
    let operations = vec![
        Operation::Array(0),
        Operation::Scalar(0),
        Operation::Unary(Unary::Exp, 0),
        Operation::Unary(Unary::Log, 0),
        Operation::Select(1, 2, 3),
        Operation::Unary(Unary::Neg, 4),
    ];
    let program = Program::new(operations, vec![(5, 0)]).unwrap();
    for (scalar, taken) in [
        (1.0, Unary::Exp),
        (f32::NAN, Unary::Exp),
        (0.0, Unary::Log),
        (-0.0, Unary::Log),
    ] {
        let plan = Plan::of(&program, &[scalar], Width::chosen());
        let [
            (Instruction::Unary(first, _), _),
            (Instruction::Unary(Unary::Neg, _), _),
        ] = plan.instructions[..]
        else {
            panic!("{:?}", plan.instructions);
        };
        assert_eq!((first, plan.registers), (taken, 1));
    }
}

#[test]
fn what_is_the_same_for_all_elements_is_computed_before_the_first() {
    let operations = vec![
        Operation::Array(0),
        Operation::Scalar(0),
        Operation::Constant(2.0),
        Operation::Binary(Binary::Mul, 1, 2),
        Operation::Binary(Binary::Add, 0, 3),
        Operation::Binary(Binary::Mul, 4, 0),
    ];
    let program = Program::new(operations, vec![(5, 0)]).unwrap();
    let uniform: Vec<bool> = (0..6)
        .map(|operation| program.is_uniform(operation))
        .collect();
    assert_eq!(uniform, [false, true, true, true, false, false]);
    let plan = Plan::of(&program, &[1.5], Width::chosen());
    assert_eq!(plan.uniform, [(0, 3.0)]);
    assert!(matches!(
        plan.instructions[..],
        [(Instruction::Chain(Binary::Add, ..), 1)]
    ));
}

#[test]
fn programs_that_cannot_be_run_are_refused() {
    let array = Operation::Array(0);
    let of = |operand| vec![array, Operation::Unary(Unary::Neg, operand)];
    assert!(Program::new(of(0), vec![(1, 0)]).is_some());
    assert_eq!(Program::new(of(1), vec![(1, 0)]), None);
    assert_eq!(Program::new(of(0), vec![(2, 0)]), None);
    assert_eq!(Program::new(of(0), vec![(1, 0), (0, 0)]), None);
    let program = Program::new(vec![array, Operation::Scalar(4)], vec![(1, 2)]).unwrap();
    assert_eq!((program.arrays(), program.scalars()), (3, 5));
}

#[test]
#[should_panic(expected = "a mask of another length")]
fn a_mask_of_another_length_is_refused() {
    let program = Program::new(vec![Operation::Array(0)], vec![(0, 0)]).unwrap();
    program.run(&mut [&mut [1.0, 2.0]], Some(&[1.0]), &[]);
}

#[test]
fn a_name_asks_for_no_wider_vectors() {
    let all = Width::all();
    let plain = all[all.len() - 1].1;
    assert_eq!(Width::at_most("plain"), plain);
    assert_eq!(Width::at_most(""), all[0].1);
    assert_eq!(Width::at_most("avx512"), all[0].1);
    assert_eq!(
        Width::at_most("avx2"),
        if all.len() > 1 {
            all[all.len() - 2].1
        } else {
            plain
        }
    );
}
