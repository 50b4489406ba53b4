//! A global magnitude mask, from weights to masks.

use host::strategy::select::select;
use plugin_api::{Among, Counts, Layer, LayerKind};
use serde_json::json;
use tch::{Device, Kind, Tensor};

use super::{MASKS, Row};
use crate::bench::Bench;
use crate::error::BenchError;
use crate::measure::{Call, Measured, Side, in_turn};
use crate::results::Unit;

/// Widths at which a ResNet-18 has about 1, 11 and 25 million weights.
const SIZES: [(&str, i64); 3] = [("1M", 19), ("11M", 64), ("25M", 96)];

/// One row for each size.
pub(super) fn rows() -> Vec<Row> {
    let row = |(size, width): (&'static str, i64)| {
        let goals: &[(&str, f64)] = match size {
            "11M" => &[("global_unstructured", 20.0), ("np.partition", 2.0)],
            _ => &[],
        };
        let what = format!("prunes a fifth of {size} weights in the layers of a ResNet-18");
        let measure = move |bench: &mut Bench, row: &str| measure(bench, row, width);
        Row::new(format!("mask-{size}"), MASKS, what, Unit::Weights, measure).goals(goals)
    };
    SIZES.into_iter().map(row).collect()
}

/// The prunable layers of a ResNet-18 of this width for small images of 10 classes.
pub(super) fn shapes(width: i64) -> Vec<Vec<i64>> {
    let mut shapes = vec![vec![width, 3, 3, 3]];
    let mut inputs = width;
    for outputs in [width, 2 * width, 4 * width, 8 * width] {
        for block in 0..2 {
            shapes.push(vec![outputs, inputs, 3, 3]);
            shapes.push(vec![outputs, outputs, 3, 3]);
            if block == 0 && outputs != width {
                shapes.push(vec![outputs, inputs, 1, 1]);
            }
            inputs = outputs;
        }
    }
    shapes.push(vec![10, inputs]);
    shapes
}

fn measure(bench: &mut Bench, row: &str, width: i64) -> Result<Measured, BenchError> {
    let shapes = shapes(width);
    let layer = |(place, shape): (usize, &Vec<i64>)| {
        Layer::new(
            format!("layer{place}.weight"),
            LayerKind::Conv2d,
            shape.clone(),
        )
    };
    let layers: Vec<Layer> = shapes.iter().enumerate().map(layer).collect();
    let total: u64 = layers.iter().map(Layer::len).sum();
    let keep = (0.8 * total as f64).round() as u64;
    let float = (Kind::Float, Device::Cpu);
    let weights: Vec<Tensor> = shapes
        .iter()
        .map(|it| Tensor::randn(&it[..], float))
        .collect();
    let ones: Vec<Tensor> = shapes
        .iter()
        .map(|it| Tensor::ones(&it[..], float))
        .collect();
    let choose = || {
        let scores: Vec<Tensor> = weights.iter().map(Tensor::abs).collect();
        let counts = Counts::Total(keep);
        let masks = select(&layers, &scores, &ones, Among::Survivors, &counts);
        masks.map(|_| ()).map_err(BenchError::ours)
    };
    let mut sides: Vec<Box<dyn Side>> = vec![Box::new(Call::new("host", total as f64, choose))];
    let names = ["global_unstructured", "kthvalue", "np.partition"];
    let task = json!({"shapes": shapes, "keep": keep});
    let mut notes = bench.add_peers(&mut sides, row, "selection", &names, &task, 1);
    let mut measured = in_turn(sides, &bench.settings)?;
    notes.append(&mut measured.notes);
    measured.notes = notes;
    Ok(measured)
}
