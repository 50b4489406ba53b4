//! Checkpoints on disk.

use host::store::{read_tensors, write_tensors};
use serde_json::json;
use tch::Tensor;

use super::{FILES, Row};
use crate::bench::Bench;
use crate::error::BenchError;
use crate::measure::{Call, Measured, Side, in_turn};
use crate::ours::{Data, Work};
use crate::results::Unit;
use crate::statistics::Quartiles;

/// Writing, and reading.
pub(super) fn rows() -> Vec<Row> {
    let what = "weights, statistics and momentum of a ResNet-18";
    let write = Row::new(
        "checkpoint-write",
        FILES,
        format!("writes {what}; the host waits until they are on the disk"),
        Unit::Bytes,
        |bench, row| measure(bench, row, &["torch.save", "torch.save, fsync"]),
    );
    let read = Row::new(
        "checkpoint-read",
        FILES,
        format!("reads {what}, which the system holds in memory"),
        Unit::Bytes,
        |bench, row| measure(bench, row, &["torch.load"]),
    );
    vec![write, read]
}

fn measure(bench: &mut Bench, row: &str, names: &[&str]) -> Result<Measured, BenchError> {
    let folder = bench.empty_folder(row)?;
    let trainer = Work::new("resnet-18", Data::Random(128, [3, 32, 32])).trainer()?;
    let mut tensors = trainer.initial(0).tensors;
    let momentum = trainer.layout().parameters().map(|parameter| {
        let float = (tch::Kind::Float, tch::Device::Cpu);
        let tensor = Tensor::randn(&parameter.shape[..], float);
        (format!("momentum.{}", parameter.name), tensor)
    });
    tensors.extend(momentum.collect::<Vec<_>>());
    let bytes: usize = tensors.iter().map(|(_, tensor)| 4 * tensor.numel()).sum();
    let path = folder.join("host.safetensors");
    write_tensors(&path, &tensors).map_err(BenchError::ours)?;
    let work = || match row {
        "checkpoint-read" => read_tensors(&path).map(|_| ()).map_err(BenchError::ours),
        _ => write_tensors(&path, &tensors).map_err(BenchError::ours),
    };
    let mut sides: Vec<Box<dyn Side>> = vec![Box::new(Call::new("host", bytes as f64, work))];
    let shapes: Vec<_> = tensors
        .iter()
        .map(|(name, it)| json!([name, it.size()]))
        .collect();
    let task = json!({"path": folder.join("peer.pt"), "tensors": shapes});
    let notes = bench.add_peers(&mut sides, row, "files", names, &task, 1);
    let mut measured = in_turn(sides, &bench.settings)?;
    measured.notes.extend(notes);
    let times = measured.series.iter().map(|it| {
        let seconds = bytes as f64 / Quartiles::of(&it.rates).median;
        format!("{} {:.0} ms", it.name, 1e3 * seconds)
    });
    let times: Vec<String> = times.collect();
    measured.notes.push(format!(
        "{:.0} MB: {}",
        bytes as f64 / 1e6,
        times.join(", ")
    ));
    Ok(measured)
}
