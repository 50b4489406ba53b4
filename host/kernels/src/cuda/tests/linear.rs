use super::super::passes::{
    linear_bias_gradient, linear_forward, linear_input_gradient, linear_weight_gradient,
};
use super::*;

const SIZES: [[i64; 3]; 5] = [
    [1, 1, 1],
    [10, 300, 60],
    [65, 17, 3],
    [64, 64, 64],
    [130, 1, 70],
];

fn numbers(tensor: &Tensor) -> Vec<f32> {
    Vec::try_from(tensor.contiguous().view([-1])).unwrap()
}

/// `start[row] + a * b` of one lane, `[rows, terms]` and `[terms, columns]`, term by term.
fn product(start: Option<&Tensor>, a: &Tensor, b: &Tensor) -> Tensor {
    let (rows, terms, columns) = (a.size()[0], a.size()[1], b.size()[1]);
    let start = start.map_or_else(|| vec![0.0; rows as usize], numbers);
    let (a, b) = (numbers(a), numbers(b));
    let mut out = Vec::new();
    for row in 0..rows as usize {
        for column in 0..columns as usize {
            let mut sum = start[row];
            for term in 0..terms as usize {
                let (left, right) = (
                    a[row * terms as usize + term],
                    b[term * columns as usize + column],
                );
                sum = left.mul_add(right, sum);
            }
            out.push(sum);
        }
    }
    Tensor::from_slice(&out).view([rows, columns])
}

#[test]
fn linear_layers_add_up_term_by_term_in_every_lane() {
    for ([outputs, inputs, batch], lanes) in SIZES.iter().flat_map(|&s| [1, 3].map(|l| (s, l))) {
        let what = format!("{outputs} {inputs} {batch} {lanes}");
        let bias = randn(&[lanes, outputs]);
        let mask = mask(&[lanes, outputs, inputs], 0.5);
        let weight = randn(&[lanes, outputs, inputs]) * mask;
        let input = randn(&[lanes, inputs, batch]);
        let slopes = randn(&[lanes, outputs, batch]);
        let [out, plain] = [(); 2].map(|()| slopes.zeros_like());
        let (of_weight, of_input) = (weight.zeros_like(), input.zeros_like());
        let of_bias = bias.zeros_like();
        linear_forward(&OnCpu, Some(&bias), &weight, &input, &out).unwrap();
        linear_forward(&OnCpu, None, &weight, &input, &plain).unwrap();
        linear_input_gradient(&OnCpu, &weight, &slopes, &of_input).unwrap();
        linear_weight_gradient(&OnCpu, &slopes, &input, &of_weight).unwrap();
        linear_bias_gradient(&OnCpu, &slopes, &of_bias).unwrap();
        for lane in 0..lanes {
            let [bias, weight, input, slopes] =
                [&bias, &weight, &input, &slopes].map(|it| it.get(lane));
            let expected = product(Some(&bias), &weight, &input);
            assert_bits(&out.get(lane), &expected, &what);
            let expected = product(None, &weight, &input);
            assert_bits(&plain.get(lane), &expected, &what);
            let expected = product(None, &weight.transpose(0, 1), &slopes);
            assert_bits(&of_input.get(lane), &expected, &what);
            let expected = product(None, &slopes, &input.transpose(0, 1));
            assert_bits(&of_weight.get(lane), &expected, &what);
            let ones = Tensor::ones([batch, 1], kind::FLOAT_CPU);
            let expected = product(None, &slopes, &ones).squeeze_dim(1);
            assert_bits(&of_bias.get(lane), &expected, &what);
        }
        let libtorchs = weight.bmm(&input) + bias.unsqueeze(2);
        let apart = (&out - libtorchs).abs().max().double_value(&[]);
        assert!(apart < 1e-4, "{what}: {apart}");
    }
}
