//! What processes that train one run together have in common.

use std::collections::BTreeMap;

use kernels::shim;
use tch::Device;

use super::{Identities, OpenError, Read, Threads};
use crate::ranks::Facts;
use crate::store;

/// Digits of a digest that tell two files apart.
const DIGITS: usize = 16;

/// What processes must have in common to train a run together: what decides a result, and what makes them do the
/// same.
///
/// # Errors
/// If the program's own file cannot be read.
pub(super) fn facts(
    read: &Read,
    identities: &Identities,
    threads: Threads,
    device: Device,
) -> Result<Facts, OpenError> {
    let short = |digest: &str| digest.get(..DIGITS).unwrap_or(digest).to_owned();
    let mut facts: Facts = BTreeMap::new();
    let mut add = |name: &str, value: String| facts.insert(name.to_owned(), value);
    let program = std::env::current_exe().map_err(|error| OpenError::Device(error.to_string()))?;
    add("program (BLAKE3)", short(&store::digest(&program)?));
    let canonical = &identities.own.canonical;
    let data = canonical["data_checksum"].as_str().unwrap_or_default();
    add("data (checksum)", short(data));
    add("experiment (identity)", short(&identities.own.hash));
    let seeds = &read.loaded.experiment.seeds;
    add("seeds", format!("{seeds:?}"));
    for (name, plugin) in &read.plugins {
        let version = &plugin.manifest.version;
        let what = format!("{version}, {}", short(&plugin.digest));
        add(&format!("plugin `{name}` (version, BLAKE3)"), what);
    }
    let described = shim::describe();
    let after = |key: &str| {
        let (_, rest) = described.split_once(key)?;
        rest.split([',', '\n'])
            .next()
            .map(|it| it.trim().to_owned())
    };
    let unknown = || "unknown".to_owned();
    add("libtorch", after("TORCH_VERSION=").unwrap_or_else(unknown));
    let build = blake3::hash(described.as_bytes()).to_hex().to_string();
    add("libtorch's build and processor (BLAKE3)", short(&build));
    let vectors = after("CPU capability usage:").unwrap_or_else(unknown);
    add("processor (vectors)", vectors);
    add("threads of a shard", threads.each.to_string());
    let kind = if device.is_cuda() { "cuda" } else { "cpu" };
    add("device", kind.to_owned());
    Ok(facts)
}

/// Why so many processes cannot train batches of so many shards together; none if they can.
pub fn indivisible(shards: u64, ranks: usize) -> Option<String> {
    let ranks = ranks as u64;
    if shards.is_multiple_of(ranks) {
        return None;
    }
    let possible: Vec<String> = (1..=shards)
        .filter(|count| shards.is_multiple_of(*count))
        .map(|count| count.to_string())
        .collect();
    let advice = match shards {
        1 => "expected 1; `train.shards = 4` in the experiment lets 1, 2 or 4 processes train it"
            .to_owned(),
        _ => format!("expected one of {}", possible.join(", ")),
    };
    Some(format!(
        "{ranks} ranks cannot share out batches of train.shards = {shards}: {advice}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_divisors_of_the_shards_are_numbers_of_ranks() {
        assert_eq!(indivisible(6, 3), None);
        assert_eq!(indivisible(1, 1), None);
        let said = indivisible(6, 4).unwrap();
        assert!(
            said.contains("4 ranks") && said.contains("one of 1, 2, 3, 6"),
            "{said}"
        );
        assert!(indivisible(1, 2).unwrap().contains("`train.shards = 4`"));
    }
}
