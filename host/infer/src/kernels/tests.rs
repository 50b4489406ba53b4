//! Kernels of each kind of processor against plain sums in f64.

#![allow(clippy::undocumented_unsafe_blocks)]

use super::*;

/// Numbers between -1 and 1, the same each time.
fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..count)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        })
        .collect()
}

fn close(got: f32, expected: f64, scale: f64) -> bool {
    (f64::from(got) - expected).abs() <= 4e-6 * scale.max(1e-30)
}

#[test]
fn products_in_blocks_are_sums_at_the_survivors_and_the_same_in_every_block() {
    let (rows, columns) = (11, 23);
    for span in [1usize, 7, 16, 40, 100, 131] {
        let stride = span.next_multiple_of(LONGEST);
        let weights: Vec<f32> = (numbers(rows * columns, 1).iter().enumerate())
            .map(|(at, &it)| if at % 3 == 0 { it } else { 0.0 })
            .collect();
        let source = numbers(columns * stride, 2);
        let other = numbers(rows * stride, 3);
        let biases = numbers(rows, 4);
        let offsets = (0..columns).map(|it| (it * stride) as i32).collect();
        let weight = crate::program::Weight {
            numbers: &weights,
            rows,
            biases: Some(&biases),
            offsets,
        };
        for kernels in all() {
            let mut first: Option<Vec<f32>> = None;
            for block in [1, 2, 4, 8] {
                let packed = weight.in_blocks(block);
                let mut out = vec![9.0f32; rows * stride];
                let product = Product {
                    rows: &packed,
                    source: source.as_ptr(),
                    out: out.as_mut_ptr(),
                    stride,
                    span,
                    other: other.as_ptr(),
                    relu: true,
                    pads: &[(0, 1)],
                };
                let blocks = packed.starts.len() - 1;
                unsafe {
                    (kernels.product)(&product, 0..blocks / 2);
                    (kernels.product)(&product, blocks / 2..blocks);
                }
                for row in 0..rows {
                    assert_eq!(out[row * stride], 0.0);
                    for at in 1..span {
                        let sum = (0..columns).map(|column| {
                            let weight = f64::from(weights[row * columns + column]);
                            weight * f64::from(source[column * stride + at])
                        });
                        let place = row * stride + at;
                        let sum =
                            sum.sum::<f64>() + f64::from(biases[row]) + f64::from(other[place]);
                        let name = kernels.name;
                        assert!(
                            close(out[place], sum.max(0.0), 4.0),
                            "{name} {block} {row} {at}"
                        );
                    }
                }
                let used: Vec<f32> = (0..rows * stride)
                    .filter(|at| at % stride < span)
                    .map(|at| out[at])
                    .collect();
                match &first {
                    None => first = Some(used),
                    Some(first) => assert_eq!(*first, used, "{} {block}", kernels.name),
                }
            }
        }
    }
}

#[test]
fn products_in_groups_have_the_bits_of_products_in_blocks() {
    let (rows, columns) = (19, 23);
    for span in [1usize, 16, 33, 64] {
        let stride = span.next_multiple_of(LONGEST);
        let weights: Vec<f32> = (numbers(rows * columns, 1).iter().enumerate())
            .map(|(at, &it)| if at % 7 < at / columns % 5 { it } else { 0.0 })
            .collect();
        let (source, other) = (numbers(columns * stride, 2), numbers(rows * stride, 3));
        let biases = numbers(rows, 4);
        let weight = crate::program::Weight {
            numbers: &weights,
            rows,
            biases: Some(&biases),
            offsets: (0..columns).map(|it| (it * stride) as i32).collect(),
        };
        let (blocks, groups) = (weight.in_blocks(1), weight.in_groups());
        for kernels in all() {
            for (other, relu) in [(std::ptr::null(), false), (other.as_ptr(), true)] {
                let mut outs = [vec![9.0f32; rows * stride], vec![9.0f32; rows * stride]];
                let product = Product {
                    rows: &blocks,
                    source: source.as_ptr(),
                    out: outs[0].as_mut_ptr(),
                    stride,
                    span,
                    other,
                    relu,
                    pads: &[],
                };
                let grouped = Grouped {
                    groups: &groups,
                    rows,
                    source: source.as_ptr(),
                    out: outs[1].as_mut_ptr(),
                    stride,
                    span,
                    other,
                    relu,
                };
                let count = groups.starts.len() - 1;
                unsafe {
                    (kernels.product)(&product, 0..rows);
                    (kernels.grouped)(&grouped, 0..1);
                    (kernels.grouped)(&grouped, 1..count);
                }
                let bits = |out: &Vec<f32>| out.iter().map(|it| it.to_bits()).collect::<Vec<_>>();
                assert_eq!(bits(&outs[0]), bits(&outs[1]), "{} {span}", kernels.name);
            }
        }
    }
}

#[test]
fn products_with_one_column_are_sums_sparse_and_in_full() {
    for (rows, columns) in [(1, 1), (13, 50), (8, 16), (300, 784)] {
        let weights: Vec<f32> = (numbers(rows * columns, 5).iter().enumerate())
            .map(|(at, &it)| if at % 4 == 0 { it } else { 0.0 })
            .collect();
        let mut source = numbers(columns, 6);
        source.resize(columns.next_multiple_of(SEGMENT), 0.0);
        let (biases, other) = (numbers(rows, 7), numbers(rows, 8));
        let weight = crate::program::Weight {
            numbers: &weights,
            rows,
            biases: Some(&biases),
            offsets: (0..columns as i32).collect(),
        };
        let groups = weight.in_groups();
        let segments = weight.in_segments();
        let (full, length, full_biases) = weight.in_full();
        for kernels in all() {
            for form in ["sparse", "segments", "full"] {
                let mut out = vec![0.0; rows];
                let single = Single {
                    groups: &groups,
                    rows,
                    source: source.as_ptr(),
                    out: out.as_mut_ptr(),
                    other: other.as_ptr(),
                    relu: true,
                };
                let in_full = Full {
                    weights: &full,
                    length,
                    biases: &full_biases,
                    source: source.as_ptr(),
                    product: single,
                };
                let in_segments = InSegments {
                    segments: &segments,
                    product: single,
                };
                unsafe {
                    match (form, kernels.segments) {
                        ("sparse", _) => (kernels.single)(&single, 0..groups.starts.len() - 1),
                        ("segments", Some(kernel)) => {
                            kernel(&in_segments, 0..segments.entries.len())
                        }
                        ("segments", None) => continue,
                        _ => (kernels.full)(&in_full, 0..full_biases.len() / TOGETHER),
                    }
                }
                for row in 0..rows {
                    let products = (0..columns).map(|column| {
                        f64::from(weights[row * columns + column]) * f64::from(source[column])
                    });
                    let sum =
                        products.sum::<f64>() + f64::from(biases[row]) + f64::from(other[row]);
                    assert!(
                        close(out[row], sum.max(0.0), 10.0),
                        "{} {form} {row}",
                        kernels.name
                    );
                }
            }
        }
    }
}

/// The share of a standard normal distribution below x, by its series.
fn below(x: f64) -> f64 {
    let (mut term, mut sum) = (x, x);
    for n in 1..200 {
        term *= -x * x / 2.0 / f64::from(n);
        sum += term / f64::from(2 * n + 1);
    }
    0.5 + sum / (2.0 * std::f64::consts::PI).sqrt()
}

#[test]
fn gelu_is_the_share_of_a_normal_distribution() {
    let numbers: Vec<f32> = (-112..=112).map(|it| it as f32 / 20.0).collect();
    let numbers = [&numbers[..], &[-40.0, 40.0, 0.0]].concat();
    let length = numbers.len().next_multiple_of(LONGEST);
    let mut padded = numbers.clone();
    padded.resize(length, f32::NAN);
    for kernels in all() {
        let mut out = vec![0.0; length];
        unsafe { (kernels.gelu)(padded.as_ptr(), out.as_mut_ptr(), length) };
        for (&x, &got) in numbers.iter().zip(&out) {
            let x = f64::from(x);
            let share = if x.abs() < 6.0 {
                below(x)
            } else {
                f64::from(u8::from(x > 0.0))
            };
            assert!(
                (f64::from(got) - x * share).abs() <= 1e-6 * x.abs().max(1.0),
                "{x}: {got}"
            );
        }
        assert!(out[numbers.len()].is_nan());
    }
}

#[test]
fn attention_is_a_mean_of_values_by_their_products() {
    for (tokens, features) in [(1, 1), (5, 6), (65, 8), (50, 3)] {
        let stride = usize::next_multiple_of(tokens, LONGEST);
        let parts = [11, 12, 13].map(|seed| {
            let mut part = numbers(features * stride, seed);
            part.iter_mut().for_each(|it| *it *= 4.0);
            part
        });
        let by_feature: Vec<i32> = (0..features).map(|it| (it * stride) as i32).collect();
        let by_token: Vec<i32> = (0..tokens).map(|it| (it * STRIP) as i32).collect();
        for kernels in all() {
            let mut out = vec![0.0; features * stride];
            let mut weights = vec![0.0; tokens * STRIP];
            let attention = Attention {
                parts: parts.each_ref().map(|it| it.as_ptr()),
                out: out.as_mut_ptr(),
                stride,
                tokens,
                features,
                offsets: [&by_feature, &by_token],
                weights: weights.as_mut_ptr(),
            };
            unsafe { (kernels.attention)(&attention) };
            let at = |part: usize, feature: usize, token: usize| {
                f64::from(parts[part][feature * stride + token])
            };
            for asks in 0..tokens {
                let weights: Vec<f64> = (0..tokens)
                    .map(|seen| {
                        let products = (0..features).map(|it| at(0, it, asks) * at(1, it, seen));
                        (products.sum::<f64>() / (features as f64).sqrt()).exp()
                    })
                    .collect();
                let total: f64 = weights.iter().sum();
                for feature in 0..features {
                    let sum = (0..tokens).map(|seen| weights[seen] * at(2, feature, seen));
                    let expected = sum.sum::<f64>() / total;
                    let got = out[feature * stride + asks];
                    assert!(
                        close(got, expected, 10.0),
                        "{} {asks} {feature}",
                        kernels.name
                    );
                }
            }
        }
    }
}

#[test]
fn layer_norms_have_mean_0_and_deviation_1_at_each_position() {
    let (features, span, stride) = (24, 37, 48);
    let from = numbers(features * stride, 21);
    let (weight, bias) = (numbers(features, 22), numbers(features, 23));
    for kernels in all() {
        let mut out = vec![0.0; features * stride];
        let norm = LayerNorm {
            from: from.as_ptr(),
            out: out.as_mut_ptr(),
            stride,
            span,
            weight: &weight,
            bias: &bias,
            epsilon: 1e-6,
        };
        unsafe { (kernels.layer_norm)(&norm) };
        for at in 0..span {
            let column: Vec<f64> = (0..features)
                .map(|it| f64::from(from[it * stride + at]))
                .collect();
            let mean = column.iter().sum::<f64>() / features as f64;
            let square = column.iter().map(|it| (it - mean).powi(2)).sum::<f64>();
            let deviation = (square / features as f64 + 1e-6).sqrt();
            for row in 0..features {
                let scaled = (column[row] - mean) / deviation;
                let expected = scaled * f64::from(weight[row]) + f64::from(bias[row]);
                assert!(
                    close(out[row * stride + at], expected, 2.0),
                    "{} {row} {at}",
                    kernels.name
                );
            }
        }
    }
}

#[test]
fn turned_samples_lie_side_by_side() {
    for (samples, count, lanes) in [(1, 5, 16), (16, 16, 16), (37, 40, 64), (128, 35, 128)] {
        let length = count + 3;
        let from = numbers(samples * length, 1);
        for kernels in all() {
            let mut to = vec![9.0f32; count * lanes];
            let turn = Turn {
                from: from.as_ptr(),
                length,
                samples,
                count,
                to: to.as_mut_ptr(),
                lanes,
            };
            unsafe { (kernels.turn)(&turn) };
            for at in 0..count {
                for lane in 0..lanes {
                    let expected = match lane < samples {
                        true => from[lane * length + at],
                        false => 9.0,
                    };
                    assert_eq!(
                        to[at * lanes + lane],
                        expected,
                        "{} {at} {lane}",
                        kernels.name
                    );
                }
            }
        }
    }
}
