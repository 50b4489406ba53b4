use tch::{Device, Kind};

use super::*;

#[test]
fn convolution_norm_and_relu_keep_the_channels_last_in_memory() {
    let cpu = (Kind::Float, Device::Cpu);
    let mut assembly = Assembly::new(Initialisation::default());
    let conv = assembly.conv2d("conv", [8, 16], 3).stride(2);
    let norm = assembly.norm("bn", 16);
    let channels_last = |shape: [i64; 4]| {
        let [n, c, h, w] = shape;
        Tensor::ones([n, h, w, c], cpu).permute([0, 3, 1, 2])
    };
    let pass = Pass {
        parameters: &[
            channels_last([16, 8, 3, 3]),
            Tensor::ones([16], cpu),
            Tensor::zeros([16], cpu),
        ],
        buffers: &[Tensor::zeros([16], cpu), Tensor::ones([16], cpu)],
        mode: Mode::Train(crate::model::Keys::NONE),
        taps: &[],
    };
    let output = norm.forward_relu(pass, conv.forward(pass, &channels_last([2, 8, 6, 6])));
    assert_eq!(output.size(), [2, 16, 3, 3]);
    assert_eq!(output.stride(), [144, 1, 48, 16]);
}

#[test]
fn a_strided_convolution_of_1x1_has_its_gradient_whatever_the_number_of_channels() {
    let double = |shape: &[i64]| Tensor::randn(shape, (Kind::Double, Device::Cpu));
    for channels in [2, 4, 6, 12, 16, 20] {
        let mut assembly = Assembly::new(Initialisation::default());
        let conv = assembly.conv2d("conv", [channels, 8], 1).stride(2);
        let (input, weight) = (double(&[8, 15, 15, channels]), double(&[8, channels]));
        let slope = double(&[8, 8, 8, 8]);
        // Channels last in memory, as networks are trained.
        let single = input.to_kind(Kind::Float).permute([0, 3, 1, 2]);
        let leaf = weight.to_kind(Kind::Float).view([8, channels, 1, 1]);
        let leaf = leaf.set_requires_grad(true);
        let pass = Pass {
            parameters: &[leaf.shallow_clone()],
            buffers: &[],
            mode: Mode::Eval,
            taps: &[],
        };
        let output = conv.forward(pass, &single);
        let loss = (output * slope.to_kind(Kind::Float)).sum(Kind::Float);
        let got = Tensor::run_backward(&[&loss], &[&leaf], false, false);
        // Every second pixel of each row and column, as a product of matrices.
        let seen = input.slice(1, None, None, 2).slice(2, None, None, 2);
        let seen = seen.reshape([-1, channels]);
        let expected = slope.transpose(0, 1).reshape([8, -1]).matmul(&seen);
        let got = got[0].view([8, channels]).to_kind(Kind::Double);
        let error = (got - expected).abs().max().double_value(&[]);
        assert!(error < 1e-3, "{channels} channels: {error}");
    }
}
