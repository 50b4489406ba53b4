//! Training networks that are sparse already.

use super::training::beside_peers;
use super::{Row, SPARSE};
use crate::bench::Bench;
use crate::error::BenchError;
use crate::measure::{Measured, Side, in_turn};
use crate::ours::{Data, Stepping, Work, half_of_the_units, random_masks};
use crate::results::Unit;

/// Densities at which ResNet-20 is measured: where one side overtakes the other they break even.
const DENSITIES: [f64; 5] = [0.02, 0.1, 0.2, 0.3, 0.5];

/// LeNet beside a dense PyTorch, ResNet-20 beside the dense host.
pub(super) fn rows() -> Vec<Row> {
    let lenet = |density: f64, goal| {
        let name = format!("lenet-density-{density}");
        let what = format!("LeNet-300-100 of density {density}; `eager` computes it densely");
        let measure = move |bench: &mut Bench, row: &str| {
            let mut work = Work::new("lenet-300-100", Data::Fashion(bench.fashion()?.0));
            work.density = density;
            beside_peers(bench, row, &work, &["eager"])
        };
        Row::new(name, SPARSE, what, Unit::Images, measure).goals(&[("eager", goal)])
    };
    let resnet = |density: f64| {
        let name = format!("resnet20-28-density-{density}");
        let what =
            format!("ResNet-20 of density {density}, 1x28x28, beside the host with a dense one");
        let measure = move |bench: &mut Bench, _: &str| resnet(bench, density);
        let goals: &[(&str, f64)] = match density {
            0.02 => &[("host, dense", 1.0)],
            _ => &[],
        };
        Row::new(name, SPARSE, what, Unit::Images, measure).goals(goals)
    };
    let mut rows = vec![lenet(0.1, 2.0), lenet(0.02, 8.0)];
    rows.extend(DENSITIES.map(resnet));
    let what = "ResNet-20 without half of its units, 3x32x32, beside the host with all of them";
    let measure = |bench: &mut Bench, _: &str| units(bench);
    rows.push(
        Row::new(
            "resnet20-32-half-units",
            SPARSE,
            what,
            Unit::Images,
            measure,
        )
        .goals(&[("host, dense", 1.7)]),
    );
    rows
}

fn units(bench: &mut Bench) -> Result<Measured, BenchError> {
    let mut work = Work::new("resnet-20", Data::Random(12_800, [3, 32, 32]));
    let dense = work.trainer()?;
    work.compact = true;
    let compact = work.trainer()?;
    let masks = half_of_the_units(&dense);
    let sides: Vec<Box<dyn Side>> = vec![
        Box::new(Stepping::new("host", &compact, &masks)?),
        Box::new(Stepping::new("host, masked", &dense, &masks)?),
        Box::new(Stepping::new("host, dense", &dense, &dense.dense_mask())?),
    ];
    in_turn(sides, &bench.settings)
}

fn resnet(bench: &mut Bench, density: f64) -> Result<Measured, BenchError> {
    let mut work = Work::new("resnet-20", Data::Random(12_800, [1, 28, 28]));
    let dense = work.trainer()?;
    (work.density, work.sparse) = (density, true);
    let sparse = work.trainer()?;
    let masks = random_masks(sparse.layers(), work.density)?;
    let sides: Vec<Box<dyn Side>> = vec![
        Box::new(Stepping::new("host", &sparse, &masks)?),
        Box::new(Stepping::new("host, dense", &dense, &dense.dense_mask())?),
    ];
    in_turn(sides, &bench.settings)
}
