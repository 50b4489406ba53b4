use super::*;

fn lane(tensor: &Tensor, lane: i64) -> Tensor {
    tensor.narrow(0, lane, 1).copy()
}

#[test]
fn a_linear_layer_of_lanes_has_the_bits_of_each_lane_alone_and_one_thread() {
    let sizes = [1, 5, 9, 13, 25, 65, 300];
    let triples = sizes
        .iter()
        .flat_map(|&m| sizes.iter().map(move |&n| (m, n)))
        .flat_map(|(m, n)| sizes.iter().map(move |&k| (m, n, k)));
    for (m, n, k) in triples.filter(|(m, n, k)| m * n * k < 3_000_000) {
        let random = |shape: [i64; 3]| Tensor::randn(shape, tch::kind::FLOAT_CPU);
        let bias = random([3, m, 1]).squeeze_dim(2);
        let (weight, input) = (random([3, m, k]), random([3, n, k]).transpose(1, 2));
        tch::set_num_threads(2);
        let together = lane_linear(&bias, &weight, &input).unwrap();
        let expected = weight.bmm(&input) + bias.unsqueeze(2);
        let error = (&together - expected).abs().max().double_value(&[]);
        assert!(error < 1e-4, "{m} {n} {k}: {error}");
        tch::set_num_threads(1);
        for l in 0..3 {
            let input = lane(&input.transpose(1, 2), l).transpose(1, 2);
            let alone = lane_linear(&lane(&bias, l), &lane(&weight, l), &input).unwrap();
            assert_eq!(alone, lane(&together, l), "{m} {n} {k}");
        }
    }
}

#[test]
fn cross_entropy_is_libtorchs_with_its_gradient() {
    for smoothing in [0.0, 0.1] {
        let logits = Tensor::randn([2, 33, 7], tch::kind::FLOAT_CPU).set_requires_grad(true);
        let labels = Tensor::randint(7, [2, 33], tch::kind::INT64_CPU);
        let losses = Tensor::zeros([2], (tch::Kind::Double, Device::Cpu));
        let correct = Tensor::zeros([2], tch::kind::INT64_CPU);
        let slope = cross_entropy(&logits.detach(), &labels, smoothing, &losses, &correct).unwrap();
        let mut total = Tensor::zeros([], tch::kind::FLOAT_CPU);
        for lane in 0..2 {
            let loss = logits.get(lane).cross_entropy_loss::<Tensor>(
                &labels.get(lane),
                None,
                tch::Reduction::Mean,
                -100,
                smoothing,
            );
            let sum = losses.double_value(&[lane]);
            assert!((loss.double_value(&[]) - sum / 33.0).abs() < 1e-6);
            total += loss;
        }
        let right = logits.argmax(2, false).eq_tensor(&labels);
        let right = right.sum_dim_intlist([1i64].as_slice(), false, tch::Kind::Int64);
        assert_eq!(right, correct);
        let expected = Tensor::run_backward(&[total], &[&logits], false, false);
        let error = (slope - &expected[0]).abs().max().double_value(&[]);
        assert!(error < 1e-7, "{error}");
    }
}

#[test]
fn a_label_that_is_no_class_is_refused_without_a_backtrace() {
    let logits = Tensor::zeros([1, 2, 3], tch::kind::FLOAT_CPU);
    let labels = Tensor::from_slice(&[0i64, 3]).view([1, 2]);
    let losses = Tensor::zeros([1], (tch::Kind::Double, Device::Cpu));
    let correct = Tensor::zeros([1], tch::kind::INT64_CPU);
    let error = cross_entropy(&logits, &labels, 0.0, &losses, &correct).unwrap_err();
    assert_eq!(
        error.to_string(),
        "libtorch: label 3 is not one of 3 classes"
    );
}

#[test]
fn bytes_that_were_written_are_the_tensor_without_a_copy() {
    let mut bytes = Bytes::new(&[2, 3], Device::Cpu).unwrap();
    assert_eq!(bytes.as_mut_slice(), [0; 6]);
    bytes.as_mut_slice()[4] = 7;
    let place = bytes.as_mut_slice().as_ptr();
    let tensor = bytes.into_tensor();
    assert_eq!(
        (tensor.size(), tensor.kind()),
        (vec![2, 3], tch::Kind::Uint8)
    );
    assert_eq!(
        (
            tensor.int64_value(&[1, 1]),
            tensor.sum(tch::Kind::Int64).int64_value(&[])
        ),
        (7, 7)
    );
    assert_eq!(tensor.data_ptr().cast_const().cast(), place);
    let moved = to_device(&tensor, Device::Cpu).unwrap();
    assert_eq!(moved.data_ptr().cast_const().cast(), place);
    assert!(
        Bytes::new(&[0, 3], Device::Cpu)
            .unwrap()
            .as_mut_slice()
            .is_empty()
    );
    assert!(Bytes::new(&[-1], Device::Cpu).is_err());
}

#[test]
fn libtorch_says_why_it_computes_on_no_gpu() {
    assert_eq!(why_no_gpu().is_none(), tch::Cuda::is_available());
}

#[test]
fn a_tensor_comes_back_from_dlpack_with_the_same_memory() {
    let tensor = Tensor::from_slice(&[1f32, 2.0, 3.0]);
    let managed = to_dlpack(&tensor).unwrap();
    // SAFETY: it was just made and is used once.
    let back = unsafe { from_dlpack(managed) }.unwrap();
    assert_eq!(back.data_ptr(), tensor.data_ptr());
    assert_eq!(back, tensor);
}

#[test]
fn autocast_computes_in_bfloat16_while_it_lives() {
    let tensor = Tensor::ones([4, 4], tch::kind::FLOAT_CPU);
    {
        let _outer = Autocast::enter(Device::Cpu).unwrap();
        let _inner = Autocast::enter(Device::Cpu).unwrap();
        assert_eq!(tensor.matmul(&tensor).kind(), tch::Kind::BFloat16);
        let pause = Autocast::pause(Device::Cpu).unwrap();
        assert_eq!(tensor.matmul(&tensor).kind(), tch::Kind::Float);
        drop(pause);
        assert_eq!(tensor.matmul(&tensor).kind(), tch::Kind::BFloat16);
    }
    assert_eq!(tensor.matmul(&tensor).kind(), tch::Kind::Float);
}
