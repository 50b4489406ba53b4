//! What a level starts from, made once more by the strategy's own plugins.

use tch::{Kind, Tensor};

use super::levels::Level;
use super::masks::Stored;
use super::{Means, Verdict};
use crate::store::read_tensors;

pub(super) fn check(
    level: &Level<'_>,
    stored: &Stored,
    means: &mut Means<'_>,
    checked: &mut Vec<&'static str>,
    verdict: &mut Verdict,
) {
    let Ok((course, seeds)) = &mut means.strategy else {
        return;
    };
    if level.level == 0 {
        return;
    }
    let Some(seed) = seeds.iter_mut().find(|it| it.seed == level.seed) else {
        return;
    };
    let before = level.level - 1;
    if verdict.is_wrong(&format!("seed-{}/level-{before:02}", level.seed)) {
        verdict.unchecked(
            format!("what {} starts from", level.named("")),
            "the level before it is not whole",
        );
        return;
    }
    let replayed = match course.replay(level.level, seed) {
        Ok(replayed) => replayed,
        Err(error) => {
            verdict.unchecked(format!("what {} starts from", level.named("")), error);
            return;
        }
    };
    let names = course.trainer.layers().iter().map(|it| it.name.clone());
    let names: Vec<String> = names.collect();
    let own = |tensors: &[Tensor]| -> Vec<(String, Tensor)> {
        let tensors = tensors.iter().map(Tensor::shallow_clone);
        names.iter().cloned().zip(tensors).collect()
    };
    let (file, masks) = match &stored.masks_at_start {
        Some(masks) => ("mask-start.safetensors", masks),
        None => ("mask.safetensors", &stored.masks),
    };
    let mut same = true;
    let mut compare =
        |file: &str, what: &str, made: &[(String, Tensor)], stored: &[(String, Tensor)]| {
            if let Some(reason) = differ(made, stored) {
                same = false;
                verdict.problem(level.named(file), format!("{reason}; {what} gives another"));
            }
        };
    compare(file, "the strategy", &own(&replayed.masks), masks);
    compare(
        "start.safetensors",
        "the rewind policy",
        &replayed.point,
        &stored.start,
    );
    for (file, weights) in &replayed.redefined {
        let there = read_tensors(&level.dir.file(file)).unwrap_or_default();
        compare(file, "the rewind policy", &own(weights), &there);
    }
    if same {
        checked.push("start");
    }
}

/// Where stored tensors are not those that were made.
fn differ(made: &[(String, Tensor)], stored: &[(String, Tensor)]) -> Option<String> {
    for (name, made) in made {
        let Some((_, stored)) = stored.iter().find(|(other, _)| other == name) else {
            return Some(format!("`{name}` is missing"));
        };
        if stored.size() != made.size() {
            return Some(format!("`{name}` has shape {:?}", stored.size()));
        }
        let bits = |tensor: &Tensor| {
            let cpu = tensor.to_device(tch::Device::Cpu).to_kind(Kind::Float);
            cpu.contiguous().view_dtype(Kind::Int).reshape([-1])
        };
        let other = bits(stored).ne_tensor(&bits(made)).nonzero();
        if other.size()[0] > 0 {
            let index = other.int64_value(&[0, 0]);
            let value = |tensor: &Tensor| tensor.reshape([-1]).double_value(&[index]);
            return Some(format!(
                "{} elements of `{name}` differ, the first at index {index}: it is {}, expected {}",
                other.size()[0],
                value(stored),
                value(made)
            ));
        }
    }
    None
}
