//! Products in bf16 on processors without instructions for it.

use tch::{Device, Kind, Tensor};

use crate::shim::Autocast;

/// A product or a convolution of these operands, on the CPU or a GPU. Where
/// [bf16 is emulated](Autocast::is_emulated) it is one in fp32 of operands rounded to bf16, then rounded
/// itself, and so are its gradients: the emulation computes the same, but for the order of its sums, in
/// several times as long.
pub fn rounded<const N: usize>(
    operands: [&Tensor; N],
    product: impl FnOnce([&Tensor; N]) -> Tensor,
) -> Tensor {
    if !Autocast::is_emulated() {
        return product(operands);
    }
    let _paused = Autocast::pause(Device::Cpu).unwrap_or_else(|error| panic!("{error}"));
    let operands = operands.map(|it| it.to_kind(Kind::BFloat16).to_kind(Kind::Float));
    product(operands.each_ref()).to_kind(Kind::BFloat16)
}

#[cfg(test)]
mod tests {
    use tch::kind;

    use super::*;
    use crate::shim::lane_linear;

    type Product = fn([&Tensor; 3]) -> Tensor;

    fn linear([bias, weight, input]: [&Tensor; 3]) -> Tensor {
        input.linear(weight, Some(bias))
    }

    fn lanes([bias, weight, input]: [&Tensor; 3]) -> Tensor {
        lane_linear(bias, weight, input).unwrap()
    }

    fn conv1d([bias, weight, input]: [&Tensor; 3]) -> Tensor {
        input.conv1d(weight, Some(bias), [2], [1], [1], 1)
    }

    /// The result and the gradients of the operands, by `compute`.
    fn run(
        leaves: &[Tensor; 3],
        kind: Kind,
        compute: impl FnOnce([&Tensor; 3]) -> Tensor,
    ) -> Vec<Tensor> {
        let leaves = leaves
            .each_ref()
            .map(|it| it.to_kind(kind).set_requires_grad(true));
        let out = compute(leaves.each_ref());
        let loss = (out.to_kind(kind).sin() * 3.0).sum(kind);
        let mut found = vec![out.detach()];
        found.extend(Tensor::run_backward(
            &[loss],
            &leaves.each_ref(),
            false,
            false,
        ));
        found
    }

    #[test]
    fn is_the_product_of_rounded_numbers_rounded_with_its_gradients() {
        let cases: [(Product, [&[i64]; 3]); 3] = [
            (linear, [&[7], &[7, 33], &[12, 33]]),
            (lanes, [&[2, 7], &[2, 7, 33], &[2, 33, 12]]),
            (conv1d, [&[6], &[6, 5, 3], &[4, 5, 21]]),
        ];
        for (product, shapes) in cases {
            let leaves = shapes.map(|shape| {
                // What is rounded already, so that double precision starts from the same numbers.
                let random = Tensor::randn(shape, kind::FLOAT_CPU);
                random.to_kind(Kind::BFloat16).to_kind(Kind::Float)
            });
            let found = {
                let _rounds = Autocast::enter(Device::Cpu).unwrap();
                run(&leaves, Kind::Float, |operands| rounded(operands, product))
            };
            assert_eq!(found[0].kind(), Kind::BFloat16);
            let wanted = run(&leaves, Kind::Double, |operands| {
                // Rounded in between, as bf16's 8 bits move the slopes.
                let out = product(operands);
                &out + (out.to_kind(Kind::BFloat16).to_kind(Kind::Double) - &out).detach()
            });
            for (at, (got, wanted)) in found.iter().zip(&wanted).enumerate() {
                assert_eq!(got, &got.to_kind(Kind::BFloat16).to_kind(got.kind()));
                let error = (got.to_kind(Kind::Double) - wanted).abs();
                let scale = wanted.abs().max().double_value(&[]);
                // Slopes are rounded before gradients are made of them, and these again.
                let most = error.max().double_value(&[]) / scale;
                assert!(most < 2f64.powi(-7), "{shapes:?}, {at}: {most}");
            }
        }
    }

    #[test]
    fn without_autocast_and_while_it_pauses_nothing_is_rounded() {
        let operands =
            [[7].as_slice(), &[7, 33], &[12, 33]].map(|it| Tensor::randn(it, kind::FLOAT_CPU));
        let plain = linear(operands.each_ref());
        assert_eq!(rounded(operands.each_ref(), linear), plain);
        let _rounds = Autocast::enter(Device::Cpu).unwrap();
        let _paused = Autocast::pause(Device::Cpu).unwrap();
        assert_eq!(rounded(operands.each_ref(), linear), plain);
    }
}
