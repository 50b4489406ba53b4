//! What is recorded of signs within a level, as far as the stored weights say.

use tch::{Kind, Tensor};

use super::levels::Level;
use super::masks::Stored;
use crate::records::{Epoch, LayerRecord, SignRecord, read_lines};

const FILE: &str = "signs.jsonl";

/// The lines are those of the epochs, no count exceeds the survivors, and the last line is what the weights at the
/// level's start and end give. Levels of earlier versions have no such file.
pub(super) fn check(
    level: &Level<'_>,
    stored: &Stored,
    layers: &[LayerRecord],
) -> Result<(), (&'static str, String)> {
    let path = level.dir.file(FILE);
    if !path.exists() {
        return Ok(());
    }
    let wrong = |reason: String| Err((FILE, reason));
    let unread = |error: crate::store::StoreError| (FILE, super::files::reason(&error));
    let lines: Vec<SignRecord> = read_lines(&path).map_err(unread)?;
    let epochs: Vec<Epoch> = read_lines(&level.dir.file("metrics.jsonl")).map_err(unread)?;
    if lines.len() != epochs.len() {
        let (lines, epochs) = (lines.len(), epochs.len());
        return wrong(format!(
            "{lines} epochs, in metrics.jsonl there are {epochs}"
        ));
    }
    let survivors: Vec<u64> = layers.iter().map(|layer| layer.survivors).collect();
    for (number, (line, epoch)) in (1..).zip(lines.iter().zip(&epochs)) {
        let (got, expected) = ((line.level, line.epoch), (level.level, epoch.epoch));
        if got != expected {
            return wrong(format!(
                "line {number}: level and epoch are {got:?}, expected {expected:?}"
            ));
        }
        let lists = [&line.survivors, &line.crossed_epoch, &line.crossed_start];
        if let Some(list) = lists.iter().find(|it| it.len() != layers.len()) {
            let (got, expected) = (list.len(), layers.len());
            return wrong(format!(
                "line {number}: {got} numbers, of {expected} layers"
            ));
        }
        for (at, layer) in layers.iter().enumerate() {
            let [kept, by_epoch, by_start] = lists.map(|it| it[at]);
            if kept > layer.size || by_epoch.max(by_start) > kept {
                let name = &layer.layer;
                return wrong(format!(
                    "line {number}: of the {} weights of `{name}` {kept} survive, of which {by_epoch} and {by_start} \
                     crossed zero",
                    layer.size
                ));
            }
        }
        // The level's start is the first epoch's.
        if number == 1 && line.crossed_epoch != line.crossed_start {
            return wrong("line 1: what crossed zero since the level's start differs".to_owned());
        }
        let is_last = number == lines.len();
        if (is_last || stored.masks_at_start.is_none()) && line.survivors != survivors {
            return wrong(format!(
                "line {number}: the survivors are {:?}, in layers.jsonl {survivors:?}",
                line.survivors
            ));
        }
    }
    let Some(last) = lines.last() else {
        return Ok(());
    };
    let crossed = layers.iter().map(|layer| crossed(stored, &layer.layer));
    let Some(crossed) = crossed.collect::<Option<Vec<u64>>>() else {
        return wrong("it is of other layers than the stored weights".to_owned());
    };
    match crossed == last.crossed_start {
        true => Ok(()),
        false => wrong(format!(
            "it says that {:?} weights crossed zero within the level, the stored weights give {crossed:?}",
            last.crossed_start
        )),
    }
}

/// Survivors of a layer whose sign at the level's end is the opposite of that at its start.
fn crossed(stored: &Stored, layer: &str) -> Option<u64> {
    let of = |from: &[(String, Tensor)]| -> Option<Tensor> {
        let found = from.iter().find(|(name, _)| name == layer);
        found.map(|(_, tensor)| tensor.shallow_clone())
    };
    let (start, end, mask) = (of(&stored.start)?, of(&stored.end)?, of(&stored.masks)?);
    if start.size() != end.size() || mask.size() != end.size() {
        return None;
    }
    let up = start.lt(0.0).logical_and(&end.gt(0.0));
    let down = start.gt(0.0).logical_and(&end.lt(0.0));
    let crossed = up.logical_or(&down).logical_and(&mask.ne(0.0));
    Some(crossed.sum(Kind::Int64).int64_value(&[]) as u64)
}
