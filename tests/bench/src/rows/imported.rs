//! Networks from PyTorch's archives: beside the same network of the host, and beside PyTorch.

use serde_json::json;

use super::{IMPORTED, Row};
use crate::bench::Bench;
use crate::error::BenchError;
use crate::files;
use crate::measure::{Measured, Side, in_turn};
use crate::ours::{Data, Stepping, Work, random_masks};
use crate::results::Unit;

/// Images of the synthetic data sets: whole batches.
const IMAGES: i64 = 12_800;

struct Spec {
    name: &'static str,
    what: &'static str,
    model: &'static str,
    /// None for Fashion-MNIST.
    shape: Option<[i64; 3]>,
    /// Whether the host has the network too.
    is_built_in: bool,
    goals: &'static [(&'static str, f64)],
}

const SPECS: [Spec; 4] = [
    Spec {
        name: "imported-lenet",
        what: "LeNet-300-100 from an archive, 60,000 images of Fashion-MNIST",
        model: "lenet-300-100",
        shape: None,
        is_built_in: true,
        goals: &[("built-in", 0.8)],
    },
    Spec {
        name: "imported-resnet20",
        what: "ResNet-20 from an archive, 1x28x28",
        model: "resnet-20",
        shape: Some([1, 28, 28]),
        is_built_in: true,
        goals: &[("built-in", 0.9)],
    },
    Spec {
        name: "imported-mobilenet-v2",
        what: "MobileNetV2 for small images from an archive, 3x32x32",
        model: "mobilenet-v2",
        shape: Some([3, 32, 32]),
        is_built_in: false,
        goals: &[],
    },
    Spec {
        name: "imported-vit",
        what: "ViT from an archive (patches of 4, width 192, 6 blocks, 3 heads), 3x32x32",
        model: "vit",
        shape: Some([3, 32, 32]),
        is_built_in: false,
        goals: &[],
    },
];

/// A row for each network.
pub(super) fn rows() -> Vec<Row> {
    let row = |spec: &'static Spec| {
        let measure = |bench: &mut Bench, row: &str| spec.measure(bench, row);
        Row::new(spec.name, IMPORTED, spec.what, Unit::Images, measure).goals(spec.goals)
    };
    SPECS.iter().map(row).collect()
}

impl Spec {
    fn measure(&self, bench: &mut Bench, row: &str) -> Result<Measured, BenchError> {
        let data = match self.shape {
            None => Data::Fashion(bench.fashion()?.0),
            Some(shape) => Data::Random(IMAGES, shape),
        };
        let shape = self.shape.unwrap_or([1, 28, 28]);
        let archive = files::archive(&bench.settings, self.model, &shape)?;
        let mut work = Work::new("pt2", data.clone());
        work.options = json!({ "file": archive });
        work.peer = self.model;
        let imported = work.trainer()?;
        let built_in = match self.is_built_in {
            true => Some(Work::new(self.model, data).trainer()?),
            false => None,
        };
        let masks = random_masks(imported.layers(), work.density)?;
        let mut sides: Vec<Box<dyn Side + '_>> =
            vec![Box::new(Stepping::new("imported", &imported, &masks)?)];
        if let Some(built_in) = &built_in {
            sides.push(Box::new(Stepping::new("built-in", built_in, &masks)?));
        }
        let (task, period) = (work.for_peer(&imported), imported.steps_per_epoch());
        let mut notes = bench.add_peers(&mut sides, row, "training", &["eager"], &task, period);
        let mut measured = in_turn(sides, &bench.settings)?;
        notes.append(&mut measured.notes);
        measured.notes = notes;
        Ok(measured)
    }
}
