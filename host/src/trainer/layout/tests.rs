use super::*;
use crate::trainer::testing::{ConvNet, LaneMlp};

fn random_snapshot(layout: &Layout) -> Snapshot {
    let parameters = layout
        .parameters()
        .map(|p| (p.name.clone(), p.shape.clone()));
    let buffers = layout
        .buffers()
        .iter()
        .map(|b| (b.name.clone(), vec![b.features]));
    let tensors = parameters
        .chain(buffers)
        .map(|(name, shape)| (name, Tensor::randn(shape, tch::kind::FLOAT_CPU)))
        .collect();
    Snapshot { tensors }
}

#[test]
fn what_is_stored_comes_back_bit_by_bit_in_either_memory_order() {
    for channels_last in [false, true] {
        let layout = Layout::new(&ConvNet::new(), channels_last);
        let flat = Tensor::zeros([1, layout.width()], tch::kind::FLOAT_CPU);
        let statistics = layout.new_statistics(1, Device::Cpu);
        let snapshot = random_snapshot(&layout);
        layout
            .load(&snapshot, &flat.select(0, 0), &statistics)
            .unwrap();
        let back = layout.store(&flat.select(0, 0), &statistics);
        assert_eq!(back, snapshot);
        for (_, tensor) in &back.tensors {
            assert!(tensor.is_contiguous());
        }
    }
}

#[test]
fn a_channels_last_weight_is_channels_last_contiguous_in_the_flat_buffer() {
    let layout = Layout::new(&ConvNet::new(), true);
    let flat = Tensor::zeros([1, layout.width()], tch::kind::FLOAT_CPU);
    let weight = &layout.views(&flat)[0];
    let [_, i, _, w] = weight.size()[..] else {
        panic!("not a convolution weight")
    };
    assert_eq!(weight.stride()[1..], [1, w * i, i]);
    assert_eq!(
        kernels::shim::channels_last(weight).unwrap().data_ptr(),
        weight.data_ptr()
    );
}

#[test]
fn every_parameter_of_every_lane_is_aligned_alike() {
    let layout = Layout::new(&LaneMlp::new(7, &[5, 3], 3), false);
    let flat = Tensor::zeros([3, layout.width()], tch::kind::FLOAT_CPU);
    for lane in 0..3 {
        for view in layout.lane(&flat.select(0, lane)) {
            assert_eq!(
                (view.data_ptr() as usize - flat.data_ptr() as usize) % 64,
                0
            );
        }
    }
}

#[test]
fn a_wrong_shape_is_refused_with_the_parameters_name() {
    let layout = Layout::new(&ConvNet::new(), true);
    let flat = Tensor::zeros([1, layout.width()], tch::kind::FLOAT_CPU);
    let mut snapshot = random_snapshot(&layout);
    snapshot.tensors[0].1 = Tensor::zeros([2, 2], tch::kind::FLOAT_CPU);
    let error = layout
        .load(
            &snapshot,
            &flat.select(0, 0),
            &layout.new_statistics(1, Device::Cpu),
        )
        .unwrap_err();
    assert!(error.to_string().contains("conv1.weight"), "{error}");
}

#[test]
fn an_excluded_weight_is_trained_but_not_prunable() {
    let mut layout = Layout::new(&ConvNet::new(), true);
    layout.exclude(&["fc.weight".to_owned()]).unwrap();
    assert!(layout.layers().iter().all(|l| l.name != "fc.weight"));
    let flat = Tensor::zeros([1, layout.width()], tch::kind::FLOAT_CPU);
    let masks: Vec<_> = layout
        .layers()
        .iter()
        .map(|l| Tensor::zeros(&l.shape[..], tch::kind::FLOAT_CPU))
        .collect();
    layout.pack_masks(&flat.select(0, 0), &masks).unwrap();
    for (name, mask) in layout.unpack(&flat.select(0, 0)) {
        let expected = if layout.layers().iter().any(|l| l.name == name) {
            0.0
        } else {
            1.0
        };
        assert_eq!(mask.min().double_value(&[]), expected, "{name}");
    }
    let mut layout = Layout::new(&ConvNet::new(), true);
    let names = ["conv1.weight", "conv1.weight", "nope"].map(str::to_owned);
    let error = layout.exclude(&names).unwrap_err().to_string();
    assert!(
        error.contains("nope") && error.contains("conv1.weight"),
        "{error}"
    );
    let mut layout = Layout::new(&ConvNet::new(), true);
    let whole = layout.layers().len();
    layout.exclude(&["conv?.*".to_owned()]).unwrap();
    let left: Vec<&str> = layout.layers().iter().map(|it| it.name.as_str()).collect();
    assert!(
        left.len() < whole && left.contains(&"fc.weight"),
        "{left:?}"
    );
    assert!(!left.iter().any(|it| it.starts_with("conv")), "{left:?}");
}

#[test]
fn what_is_included_is_prunable_in_the_networks_order_and_keeps_its_role() {
    let mut layout = Layout::new(&ConvNet::new(), true);
    let before = layout.layers().to_vec();
    let roles = |layout: &Layout| layout.parameters().map(|it| it.role).collect::<Vec<_>>();
    let as_before = roles(&layout);
    layout
        .include(&["*.bias", "fc.weight"].map(str::to_owned))
        .unwrap();
    let order: Vec<&str> = layout.parameters().map(|it| it.name.as_str()).collect();
    let expected = order
        .iter()
        .filter(|name| name.ends_with(".bias") || before.iter().any(|it| it.name == **name));
    let expected: Vec<&&str> = expected.collect();
    let names: Vec<&str> = layout.layers().iter().map(|it| it.name.as_str()).collect();
    assert!(names.iter().eq(expected.into_iter()), "{names:?}");
    assert!(names.len() > before.len());
    for layer in layout.layers() {
        let own = before.iter().find(|it| it.name == layer.name);
        let kind = own.map_or(LayerKind::Other, |it| it.kind);
        assert_eq!(layer.kind, kind, "{}", layer.name);
    }
    assert_eq!(roles(&layout), as_before);
    // What is excluded is not pruned, whatever includes it.
    layout.exclude(&["*.bias".to_owned()]).unwrap();
    assert_eq!(layout.layers(), before);
    let error = layout.include(&["conv9.*".to_owned()]).unwrap_err();
    let error = error.to_string();
    assert!(
        error.contains("`conv9.*`") && error.contains("conv1.weight"),
        "{error}"
    );
}
