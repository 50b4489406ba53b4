use super::super::passes::{Draws, Normalise, gather};
use super::*;

const CROP: i64 = 2;

/// Draws in the order and layout of the augmentation of images in memory, `[3, n]`.
fn draws(count: i64, width: i64, crop: i64) -> Tensor {
    let options = kind::INT64_CPU;
    let below = |most: i64| Tensor::randint(most, [count], options);
    let flipped = below(2);
    let rows = below(2 * crop + 1) * (width + 2 * crop);
    let columns = below(2 * crop + 1) + &flipped * (width - 1);
    Tensor::stack(&[rows, columns, 1 - flipped * 2], 0)
}

/// The same batch by libtorch's operations, one after another.
fn expected(
    images: &Tensor,
    index: &Tensor,
    draws: Option<&Tensor>,
    crop: i64,
    [scale, shift]: [&Tensor; 2],
) -> Tensor {
    let mut batch = images.index_select(0, index);
    let shape = batch.size();
    let [n, channels, height, width] = shape[..] else {
        panic!("{shape:?}")
    };
    if let Some(draws) = draws {
        let draws = draws.view([3, n, 1]);
        let rows = draws.get(0) + Tensor::arange(height, kind::INT64_CPU) * (width + 2 * crop);
        let columns = draws.get(1) + draws.get(2) * Tensor::arange(width, kind::INT64_CPU);
        let source = (rows.unsqueeze(2) + columns.unsqueeze(1)).view([n, 1, height * width]);
        batch = batch
            .constant_pad_nd([crop, crop, crop, crop])
            .reshape([n, channels, -1])
            .gather(
                2,
                &source.expand([n, channels, height * width], false),
                false,
            )
            .view([n, channels, height, width]);
    }
    let each = |tensor: &Tensor| tensor.view([1, -1, 1, 1]);
    (batch * each(scale)).g_add_(&each(shift))
}

#[test]
fn batches_have_the_bits_of_libtorchs_operations_one_by_one() {
    for [channels, height, width] in [[1, 28, 28], [3, 32, 32], [3, 5, 7], [4, 1, 1]] {
        for crop in [None, Some(0), Some(CROP)] {
            let images = Tensor::randint(256, [11, channels, height, width], kind::INT64_CPU);
            let images = images.to_kind(Kind::Uint8);
            let index = Tensor::from_slice(&[3i64, 0, 10, 3, 7]);
            let scale = Tensor::rand([channels], kind::FLOAT_CPU) * 0.02 + 0.003;
            let shift = randn(&[channels]);
            let places = crop.map(|crop| draws(5, width, crop));
            let expected = expected(
                &images,
                &index,
                places.as_ref(),
                crop.unwrap_or(0),
                [&scale, &shift],
            );
            for last in [false, true] {
                let out = match last {
                    true => Tensor::zeros([5, height, width, channels], kind::FLOAT_CPU),
                    false => expected.zeros_like(),
                };
                let draws = places.as_ref().map(|places| Draws {
                    places,
                    crop: crop.unwrap_or(0),
                });
                let normalise = Normalise {
                    scale: &scale,
                    shift: &shift,
                };
                gather(&OnCpu, &images, &index, draws, normalise, last, &out).unwrap();
                let out = if last { out.permute([0, 3, 1, 2]) } else { out };
                let what = format!("{channels} {height} {width} {crop:?} {last}");
                assert_bits(&out, &expected, &what);
            }
        }
    }
}

#[test]
fn an_index_beyond_the_images_makes_nan_of_its_image_alone() {
    let images = Tensor::ones([2, 1, 2, 2], (Kind::Uint8, Device::Cpu));
    let [scale, shift] = [0.5, 1.0].map(|it| Tensor::from_slice(&[it as f32]));
    let out = Tensor::zeros([3, 1, 2, 2], kind::FLOAT_CPU);
    let normalise = Normalise {
        scale: &scale,
        shift: &shift,
    };
    let index = Tensor::from_slice(&[2i64, 1, -1]);
    gather(&OnCpu, &images, &index, None, normalise, false, &out).unwrap();
    let found = Vec::<f32>::try_from(out.view([-1])).unwrap();
    assert!(found[..4].iter().chain(&found[8..]).all(|it| it.is_nan()));
    assert_eq!(found[4..8], [1.5; 4]);
}
