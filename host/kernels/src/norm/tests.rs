use tch::{Device, Kind, kind};

use super::*;

const EPSILON: f64 = 1e-5;

fn norm<'a>(
    [scale, shift]: [&'a Tensor; 2],
    [mean, variance]: [&'a Tensor; 2],
    trains: bool,
) -> BatchNorm<'a> {
    BatchNorm {
        scale,
        shift,
        running: [mean, variance],
        trains,
        epsilon: EPSILON,
        momentum: 0.1,
    }
}

/// Where the channels are, and in which order they lie in memory.
#[derive(Clone, Copy, Debug)]
enum Order {
    First,
    Middle,
    Last,
}

impl Order {
    fn dimension(self) -> i64 {
        match self {
            Self::First => 0,
            _ => 1,
        }
    }

    fn random(self, [channels, count]: [i64; 2]) -> Tensor {
        let shape = match self {
            Self::First => [channels, 3, 5, count],
            Self::Middle => [count, channels, 3, 5],
            Self::Last => [count, 3, 5, channels],
        };
        let random = Tensor::randn(shape, kind::FLOAT_CPU) * 2.0 + 3.0;
        match self {
            Self::Last => random.permute([0, 3, 1, 2]),
            _ => random,
        }
    }
}

/// The same by libtorch in double precision: output, gradients, gradients of their squares' sum,
/// and statistics.
fn expected(
    [input, added, scale, shift]: [&Tensor; 4],
    order: Order,
    [adds, relu]: [bool; 2],
    slope: &Tensor,
) -> Vec<Tensor> {
    let double = |tensor: &Tensor| {
        let wide = tensor.detach().to_kind(Kind::Double);
        wide.set_requires_grad(true)
    };
    let leaves = [input, added, scale, shift].map(double);
    let [input, added, scale, shift] = &leaves;
    let first = order.dimension() == 0;
    let to_middle = |tensor: &Tensor| match first {
        true => tensor.transpose(0, 1),
        false => tensor.shallow_clone(),
    };
    let channels = scale.size()[0];
    let running = [Tensor::zeros, Tensor::ones].map(|of| of(channels, kind::DOUBLE_CPU));
    let [mean, variance] = &running;
    let mut out = to_middle(&to_middle(input).batch_norm(
        Some(scale),
        Some(shift),
        Some(mean),
        Some(variance),
        true,
        0.1,
        EPSILON,
        false,
    ));
    if adds {
        out += added;
    }
    if relu {
        out = out.relu();
    }
    let mut found = differentiate(&out, &leaves, adds, &slope.to_kind(Kind::Double));
    found.extend(running);
    found
}

fn differentiate(
    out: &Tensor,
    [input, added, scale, shift]: &[Tensor; 4],
    adds: bool,
    slope: &Tensor,
) -> Vec<Tensor> {
    let mut leaves = vec![input, scale, shift];
    if adds {
        leaves.push(added);
    }
    let loss = (out * slope).sum(out.kind());
    let plain = Tensor::run_backward(&[&loss], &leaves, true, false);
    let again = Tensor::run_backward(&[&loss], &leaves, true, true);
    let squares = again[..2].iter().map(|it| (it * it).sum(it.kind()));
    let squares = squares.reduce(|a, b| a + b).unwrap();
    let second = Tensor::run_backward(&[squares], &[input, scale], false, false);
    let found = [vec![out.shallow_clone()], plain, again, second].into_iter();
    found.flatten().map(|it| it.detach()).collect()
}

#[test]
fn is_libtorchs_with_its_gradients_and_theirs() {
    for order in [Order::First, Order::Middle, Order::Last] {
        for shape in [[1, 4], [5, 3], [16, 40], [19, 300], [300, 20]] {
            for [adds, relu] in [[false, false], [false, true], [true, false], [true, true]] {
                let leaf = |tensor: Tensor| tensor.set_requires_grad(true);
                let leaves = [
                    leaf(order.random(shape)),
                    leaf(order.random(shape) - 3.0),
                    leaf(Tensor::randn([shape[0]], kind::FLOAT_CPU)),
                    leaf(Tensor::randn([shape[0]], kind::FLOAT_CPU)),
                ];
                let [input, added, scale, shift] = &leaves;
                let slope = order.random(shape) - 3.0;
                // Which side of the ReLU's kink a value lies on is rounding where it is nearly 0.
                let all = [input, added, scale, shift];
                let sums = &expected(all, order, [adds, false], &slope)[0];
                let slope = slope.masked_fill(&sums.abs().lt(1e-5), 0.0);
                let running = [Tensor::zeros, Tensor::ones].map(|of| of(shape[0], kind::FLOAT_CPU));
                let norm = norm([scale, shift], [&running[0], &running[1]], true);
                let dimension = order.dimension();
                let added = adds.then_some(added);
                assert!(norm.fits(input, dimension, added));
                let out = norm.apply(input, dimension, added, relu).unwrap();
                assert_eq!(out.stride(), input.stride());
                let mut found = differentiate(&out, &leaves, adds, &slope);
                found.extend(running);
                let [input, added, scale, shift] = &leaves;
                let leaves = [input, added, scale, shift];
                let wanted = expected(leaves, order, [adds, relu], &slope);
                assert_eq!(found.len(), wanted.len());
                for (at, (found, wanted)) in found.iter().zip(&wanted).enumerate() {
                    let size = wanted.abs().max().double_value(&[]).max(1.0);
                    let error = (found.to_kind(Kind::Double) - wanted).abs().max();
                    let error = error.double_value(&[]) / size;
                    let case = (order, shape, adds, relu, at);
                    assert!(error < 2e-5, "{case:?}: {error}");
                }
            }
        }
    }
}

#[test]
fn of_running_statistics_is_libtorchs() {
    for order in [Order::First, Order::Middle, Order::Last] {
        let input = order.random([19, 30]);
        let [scale, shift, mean] = [(); 3].map(|()| Tensor::randn([19], kind::FLOAT_CPU));
        let variance = Tensor::rand([19], kind::FLOAT_CPU) + 0.5;
        let norm = norm([&scale, &shift], [&mean, &variance], false);
        let got = norm.apply(&input, order.dimension(), Some(&input), true);
        let along = |tensor: &Tensor| match order {
            Order::First => tensor.view([19, 1, 1, 1]),
            _ => tensor.view([1, 19, 1, 1]),
        };
        let wanted = (&input - along(&mean)) / (along(&variance) + EPSILON).sqrt();
        let wanted = (wanted * along(&scale) + along(&shift) + &input).relu();
        let error = (got.unwrap() - wanted).abs().max().double_value(&[]);
        assert!(error < 1e-4, "{order:?}: {error}");
        let needs = input.detach().set_requires_grad(true);
        assert!(!norm.fits(&needs, order.dimension(), None));
        assert!(!norm.fits(&input, order.dimension(), Some(&needs)));
    }
}

#[test]
fn has_the_same_bits_on_one_thread_and_two_and_keeps_what_is_not_a_number() {
    for order in [Order::First, Order::Middle, Order::Last] {
        let input = order.random([24, 300]).set_requires_grad(true);
        let slope = order.random([24, 300]);
        let ones = Tensor::ones([24], kind::FLOAT_CPU);
        let run = |input: &Tensor| {
            let running = [(); 2].map(|()| Tensor::zeros([24], kind::FLOAT_CPU));
            let norm = norm([&ones, &ones], [&running[0], &running[1]], true);
            norm.apply(input, order.dimension(), Some(input), true)
                .unwrap()
        };
        let on = |threads| {
            tch::set_num_threads(threads);
            let out = run(&input);
            let loss = (&out * &slope).sum(Kind::Float);
            let found = Tensor::run_backward(&[loss], &[&input], false, false);
            [&out.detach(), &found[0]].map(|it| it.contiguous().view_dtype(Kind::Int))
        };
        assert_eq!(on(1), on(2));
        let broken = input.detach().copy();
        let _ = broken.as_strided([1], [1], 0).fill_(f64::NAN);
        assert!(run(&broken).isnan().any().int64_value(&[]) == 1);
    }
}

#[test]
fn in_bf16_is_the_result_in_fp32_rounded_once() {
    for order in [Order::First, Order::Middle, Order::Last] {
        for shape in [[5, 3], [19, 70], [40, 16]] {
            let [values, added, slope] = [3.0, 0.0, 0.0].map(|mean| {
                let numbers: Tensor = order.random(shape) - 3.0 + mean;
                numbers.to_kind(Kind::BFloat16)
            });
            let [scale, shift] = [(); 2]
                .map(|()| Tensor::randn([shape[0]], kind::FLOAT_CPU).set_requires_grad(true));
            let run = |kind: Kind, trains: bool| {
                let running = [Tensor::zeros, Tensor::ones].map(|of| of(shape[0], kind::FLOAT_CPU));
                let grad = |it: &Tensor| it.to_kind(kind).detach().set_requires_grad(trains);
                let [values, added] = [&values, &added].map(grad);
                let plain = [scale.detach(), shift.detach()];
                let [scale, shift] = if trains {
                    [&scale, &shift]
                } else {
                    [&plain[0], &plain[1]]
                };
                let norm = norm([scale, shift], [&running[0], &running[1]], trains);
                assert!(norm.fits(&values, order.dimension(), Some(&added)));
                let out = norm.apply(&values, order.dimension(), Some(&added), true);
                let out = out.unwrap();
                assert_eq!(out.kind(), kind);
                let mut found = vec![out.detach()];
                if trains {
                    let loss = (&out * slope.to_kind(kind)).sum(Kind::Float);
                    let leaves = [&values, &added, scale, shift];
                    found.extend(Tensor::run_backward(&[loss], &leaves, false, false));
                }
                found.extend(running);
                found
            };
            for trains in [false, true] {
                let wide = run(Kind::Float, trains);
                for (at, (got, wanted)) in run(Kind::BFloat16, trains).iter().zip(&wide).enumerate()
                {
                    let case = (order, shape, trains, at);
                    assert_eq!(got, &wanted.to_kind(got.kind()), "{case:?}");
                }
            }
        }
    }
}

#[test]
fn refuses_what_it_cannot_compute() {
    let ones = Tensor::ones([4], kind::FLOAT_CPU);
    let norm = norm([&ones, &ones], [&ones, &ones], true);
    let double = Tensor::ones([2, 4, 3], (Kind::Double, Device::Cpu));
    let strided = Tensor::ones([2, 4, 6], kind::FLOAT_CPU).slice(2, None, None, 2);
    for input in [&double, &strided] {
        assert!(!norm.fits(input, 1, None));
        let error = norm.apply(input, 1, None, true).unwrap_err().to_string();
        assert!(error.contains("in no known order"), "{error}");
    }
    let three = Tensor::ones([2, 3, 3], kind::FLOAT_CPU);
    let error = norm.apply(&three, 1, None, true).unwrap_err().to_string();
    assert!(error.contains("a batch norm of 3 channels"), "{error}");
}
