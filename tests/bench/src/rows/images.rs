//! Images from files: read, decoded, a random part of them resized.

use host::data::{DataContext, Draw, Inputs, Pick, load};
use serde_json::json;
use tch::Device;

use super::{IMAGES, Row};
use crate::bench::Bench;
use crate::error::BenchError;
use crate::measure::{Call, Measured, Side, in_turn};
use crate::pictures;
use crate::results::Unit;

/// Images of a batch.
const BATCH: usize = 64;
/// Height and width of what is made of them.
const INPUT: usize = 224;

/// The row.
pub(super) fn rows() -> Vec<Row> {
    let (width, height) = pictures::SIZE;
    let what = format!(
        "reads batches of {BATCH} JPEG files of {width}x{height} and makes random parts of them {INPUT}x{INPUT}, mirrored or not; \
         PyTorch by Pillow in as many processes as the host has threads"
    );
    vec![Row::new("images", IMAGES, what, Unit::Images, measure)]
}

fn measure(bench: &mut Bench, row: &str) -> Result<Measured, BenchError> {
    let folder = pictures::folder(&bench.settings)?;
    let options = json!({"dir": folder, "size": INPUT, "memory": 0, "augment": {"flip": true}});
    let options = serde_json::from_value(options).map_err(BenchError::ours)?;
    let context = DataContext {
        data_dir: folder.clone(),
        device: Device::Cpu,
    };
    let data = load("image-folder", &options, &context).map_err(BenchError::ours)?;
    let Inputs::Files(files) = &data.train.inputs else {
        return Err(BenchError::Ours("the images are in memory".to_owned()));
    };
    let mut next = 0;
    let read = || {
        let pick = |number: usize| Pick {
            sample: number % pictures::COUNT,
            drawn: Some(Draw {
                seed: 0,
                level: 0,
                epoch: (number / pictures::COUNT) as u64,
            }),
        };
        let picks: Vec<Pick> = (next..next + BATCH).map(pick).collect();
        next += BATCH;
        let batch = files.read(&picks, Device::Cpu).map_err(BenchError::ours)?;
        debug_assert_eq!(batch.size(), [BATCH as i64, 3, INPUT as i64, INPUT as i64]);
        Ok(())
    };
    let mut sides: Vec<Box<dyn Side>> = vec![Box::new(Call::new("host", BATCH as f64, read))];
    let task = json!({
        "folder": folder.join("train"), "batch": BATCH, "size": INPUT, "workers": bench.settings.threads,
    });
    let mut notes = bench.add_peers(&mut sides, row, "images", &["pillow"], &task, 1);
    let mut measured = in_turn(sides, &bench.settings)?;
    notes.append(&mut measured.notes);
    measured.notes = notes;
    Ok(measured)
}
