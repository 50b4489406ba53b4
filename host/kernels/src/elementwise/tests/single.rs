//! Operations one by one, and how exact they are.

use super::*;

#[test]
fn operations_are_those_of_libtorch() {
    let (nan, infinity) = (f32::NAN, f32::INFINITY);
    let tiny = f32::MIN_POSITIVE / 1024.0;
    let x = [0.0, -0.0, 2.25, -tiny, nan, -infinity];
    let unaries: [(Unary, [f32; 6]); 10] = [
        (Unary::Neg, [-0.0, 0.0, -2.25, tiny, nan, infinity]),
        (Unary::Abs, [0.0, 0.0, 2.25, tiny, nan, infinity]),
        (Unary::Sign, [0.0, 0.0, 1.0, -1.0, 0.0, -1.0]),
        (Unary::Sqrt, [0.0, -0.0, 1.5, nan, nan, nan]),
        (Unary::Square, [0.0, 0.0, 5.0625, 0.0, nan, infinity]),
        (Unary::Exp, [1.0, 1.0, 9.487_736, 1.0, nan, 0.0]),
        (
            Unary::Log,
            [-infinity, -infinity, 0.810_930_2, nan, nan, nan],
        ),
        (
            Unary::Reciprocal,
            [infinity, -infinity, 0.444_444_45, -infinity, nan, -0.0],
        ),
        (Unary::Tanh, [0.0, -0.0, 0.978_026_1, -tiny, nan, -1.0]),
        (Unary::IsFinite, [1.0, 1.0, 1.0, 1.0, 0.0, 0.0]),
    ];
    let y = [-0.0, 0.0, 1.0, -tiny, 1.0, nan];
    let binaries: [(Binary, [f32; 6]); 11] = [
        (Binary::Add, [0.0, 0.0, 3.25, -2.0 * tiny, nan, nan]),
        (Binary::Sub, [0.0, -0.0, 1.25, 0.0, nan, nan]),
        (Binary::Mul, [-0.0, -0.0, 2.25, 0.0, nan, nan]),
        (Binary::Div, [nan, nan, 2.25, 1.0, nan, nan]),
        (Binary::Maximum, [-0.0, 0.0, 2.25, -tiny, nan, nan]),
        (Binary::Minimum, [-0.0, 0.0, 1.0, -tiny, nan, nan]),
        (Binary::Gt, [0.0, 0.0, 1.0, 0.0, 0.0, 0.0]),
        (Binary::Ge, [1.0, 1.0, 1.0, 1.0, 0.0, 0.0]),
        (Binary::Lt, [0.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
        (Binary::Le, [1.0, 1.0, 0.0, 1.0, 0.0, 0.0]),
        (Binary::Eq, [1.0, 1.0, 0.0, 1.0, 0.0, 0.0]),
    ];
    let (mut to, x, y) = ([7.0; 6], Operand::Array(&x), Operand::Array(&y));
    for (operation, expected) in unaries {
        unary(operation, x, &mut to);
        assert_same(&to, &expected, &format!("{operation:?}"));
    }
    for (operation, expected) in binaries {
        binary(operation, x, y, &mut to);
        assert_same(&to, &expected, &format!("{operation:?}"));
    }
    clamp(x, -1.0, 1.0, &mut to);
    assert_same(&to, &[0.0, -0.0, 1.0, -tiny, nan, -1.0], "clamp");
    select(x, Operand::Number(3.0), y, &mut to);
    assert_same(&to, &[-0.0, 0.0, 3.0, 3.0, 3.0, 3.0], "select");
}

/// How many units in the last place of `exact` the two are apart.
fn units(got: f32, exact: f64) -> f64 {
    let overflow = 2.0_f64.powi(128);
    let got = if got.is_infinite() {
        overflow.copysign(f64::from(got))
    } else {
        f64::from(got)
    };
    let exact = exact.clamp(-overflow, overflow);
    let exponent = (exact.abs().max(f64::from(f32::MIN_POSITIVE)).to_bits() >> 52) as i32 - 1023;
    (got - exact).abs() / 2.0_f64.powi(exponent.min(127) - 23)
}

#[test]
fn exp_log_and_tanh_are_at_most_two_units_off_from_the_least_to_the_greatest_number() {
    let step = 1543;
    let x: Vec<f32> = (0..u32::MAX / step)
        .map(|nth| f32::from_bits(nth * step))
        .filter(|x| x.is_finite())
        .chain((0..100_000).map(|nth| nth as f32 / 500.0 - 104.5))
        .collect();
    let mut to = vec![0.0; x.len()];
    for (operation, exact) in [
        (Unary::Exp, f64::exp as fn(f64) -> f64),
        (Unary::Log, f64::ln),
        (Unary::Tanh, f64::tanh),
    ] {
        unary(operation, Operand::Array(&x), &mut to);
        for (&x, &got) in x.iter().zip(&to) {
            let exact = exact(f64::from(x));
            let is_right = if exact.is_nan() {
                got.is_nan()
            } else {
                units(got, exact) <= 2.0
            };
            assert!(
                is_right,
                "{operation:?} of {x:e}: got {got:e}, expected {exact:e}"
            );
        }
        let mut others = vec![0.0; x.len()];
        for (name, width) in Width::all() {
            width.whole_unary(operation, Operand::Array(&x), &mut others);
            assert_same(&others, &to, &format!("{operation:?}, {name}"));
        }
    }
}

#[test]
fn exp_underflows_gradually_and_overflows_where_it_must() {
    let x = [
        -87.5,
        -103.27,
        -103.98,
        -1e30,
        88.722_83,
        88.722_84,
        1e30,
        f32::INFINITY,
    ];
    let mut to = [0.0; 8];
    unary(Unary::Exp, Operand::Array(&x), &mut to);
    assert!(to[0] > 0.0 && to[0] < f32::MIN_POSITIVE);
    assert_eq!(to[1], f32::from_bits(1));
    assert_eq!(to[2..4], [0.0; 2]);
    assert!(to[4].is_finite() && to[4] > 3.4e38);
    assert_eq!(to[5..], [f32::INFINITY; 3]);
}
