//! Training networks that are sparse already.

use super::training::beside_peers;
use super::{Row, SPARSE};
use crate::bench::Bench;
use crate::error::BenchError;
use crate::measure::{Measured, Side, in_turn};
use crate::ours::{Data, Stepping, Work, has_sparse_kernels, random_masks};
use crate::results::Unit;

/// LeNet beside a dense PyTorch, ResNet-20 beside the dense host.
pub(super) fn rows() -> Vec<Row> {
    let lenet = |density: f64, goal| {
        let name = format!("lenet-density-{density}");
        let what = format!("LeNet-300-100 of density {density}; `eager` computes it densely");
        let measure = move |bench: &mut Bench, row: &str| {
            let mut work = Work::new("lenet-300-100", Data::Fashion(bench.fashion()?.0));
            (work.density, work.sparse) = (density, true);
            Ok(noted(beside_peers(bench, row, &work, &["eager"])?))
        };
        Row::new(name, SPARSE, what, Unit::Images, measure).goals(&[("eager", goal)])
    };
    let resnet = Row::new(
        "resnet20-28-density-0.02",
        SPARSE,
        "ResNet-20 of density 0.02, 1x28x28, beside the host with a dense one",
        Unit::Images,
        |bench, _| Ok(noted(resnet(bench)?)),
    );
    vec![
        lenet(0.1, 2.0),
        lenet(0.02, 8.0),
        resnet.goals(&[("host, dense", 1.0)]),
    ]
}

fn resnet(bench: &mut Bench) -> Result<Measured, BenchError> {
    let mut work = Work::new("resnet-20", Data::Random(12_800, [1, 28, 28]));
    let dense = work.trainer()?;
    (work.density, work.sparse) = (0.02, true);
    let sparse = work.trainer()?;
    let masks = random_masks(sparse.layers(), work.density)?;
    let sides: Vec<Box<dyn Side>> = vec![
        Box::new(Stepping::new("host", &sparse, &masks)?),
        Box::new(Stepping::new("host, dense", &dense, &dense.dense_mask())?),
    ];
    in_turn(sides, &bench.settings)
}

fn noted(mut measured: Measured) -> Measured {
    if !has_sparse_kernels() {
        let text = "this host has no sparse kernels: it computes densely, too";
        measured.notes.push(text.to_owned());
    }
    measured
}
