//! What a run's files say, when a browser asks for it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::path::Path;

use serde_json::{Map, Value, json};

use super::beside;
use super::board::Place;
use crate::experiment::read_stored;
use crate::levels::epochs_so_far;
use crate::plain_file;
use crate::records::{Epoch, SignRecord, Summary, read_lines, read_summary};
use crate::standing::failed::given_up;
use crate::store::{RunDir, RunIdentity, SeedDir};

/// Bytes of a log's end that are shown.
const MOST_LOG: u64 = 64 * 1024;

/// Bytes of an experiment file that is shown.
const MOST_TEXT: u64 = 1024 * 1024;

/// What a run is, and the summaries of its finished levels.
pub fn run(place: &Place) -> Value {
    let run = RunDir::new(&place.folder);
    let seeds: Vec<Value> = (place.seeds.iter())
        .map(|&seed| {
            let dir = run.seed(seed);
            let (mut summaries, mut trouble) = (Vec::<Summary>::new(), given_up(&run, seed));
            for level in 0..dir.finished_levels() {
                match read_summary(&dir.level(level)) {
                    Ok(summary) => summaries.push(summary),
                    Err(error) => {
                        trouble = Some(error.to_string());
                        break;
                    }
                }
            }
            json!({ "seed": seed, "summaries": summaries, "trouble": trouble })
        })
        .collect();
    let (identity, trouble) = match RunIdentity::read(&run) {
        Ok(read) => (read.map(|it| it.value), None),
        Err(error) => (None, Some(error.to_string())),
    };
    let plugins = identity.iter().flat_map(|it| &it.plugins);
    let plugins: BTreeMap<&String, Value> = plugins
        .map(|(name, it)| (name, json!({ "version": it.version, "blake3": it.blake3 })))
        .collect();
    json!({
        "folder": place.folder, "seeds": seeds, "plugins": plugins, "trouble": trouble,
        "identity": identity.as_ref().map(|it| &it.identity),
        "dense": identity.as_ref().and_then(|it| it.dense.as_ref()),
    })
}

/// All epochs of a run's seeds, those of the level under way up to its last checkpoint. Each seed is a table: a list for
/// each column that has a number.
pub fn epochs(place: &Place) -> Value {
    let run = RunDir::new(&place.folder);
    let identity = RunIdentity::read(&run).ok().flatten();
    let dense = identity.and_then(|it| it.value.dense);
    let dense = dense
        .and_then(|name| beside(&place.folder, &name))
        .map(RunDir::new);
    let seeds: Vec<Value> = (place.seeds.iter())
        .map(|&seed| {
            let shared = dense.as_ref().map(|it| it.seed(seed));
            let (epochs, signs, trouble) = epochs_of(&run.seed(seed), shared.as_ref());
            json!({ "seed": seed, "epochs": table(&epochs, &signs), "trouble": trouble })
        })
        .collect();
    json!({ "seeds": seeds })
}

/// A seed's epochs, what crossed zero in them, and what is wrong.
type Epochs = (Vec<Epoch>, Vec<SignRecord>, Option<String>);

fn epochs_of(seed: &SeedDir, dense: Option<&SeedDir>) -> Epochs {
    let (mut epochs, mut signs) = (Vec::new(), Vec::new());
    let done = seed.finished_levels();
    for level in 0..done {
        let dir = seed.level(level);
        match read_lines::<Epoch>(&dir.file("metrics.jsonl")) {
            Ok(more) => epochs.extend(more),
            Err(error) => return (epochs, signs, Some(error.to_string())),
        }
        // Levels of earlier versions have none.
        let path = dir.file("signs.jsonl");
        match path.exists().then(|| read_lines::<SignRecord>(&path)) {
            None => (),
            Some(Ok(more)) => signs.extend(more),
            Some(Err(error)) => return (epochs, signs, Some(error.to_string())),
        }
    }
    // Whoever trains the dense level does so in the folder that runs share.
    let home = if done == 0 { dense } else { None };
    let under_way = epochs_so_far(home.unwrap_or(seed)).filter(|it| it.0 == done);
    if let Some((_, more, more_signs)) = under_way {
        epochs.extend(more);
        signs.extend(more_signs);
    }
    (epochs, signs, None)
}

fn table(epochs: &[Epoch], signs: &[SignRecord]) -> Value {
    let signs: BTreeMap<(u64, u64), &SignRecord> =
        signs.iter().map(|it| ((it.level, it.epoch), it)).collect();
    let row = |epoch: &Epoch| {
        let mut row = serde_json::to_value(epoch).ok()?;
        if let Some(signs) = signs.get(&(epoch.level, epoch.epoch)) {
            row["crossed_epoch"] = json!(signs.share_epoch());
            row["crossed_start"] = json!(signs.share_start());
        }
        Some(row)
    };
    let rows: Vec<Value> = epochs.iter().filter_map(row).collect();
    let objects = || rows.iter().filter_map(Value::as_object);
    let mut names: Vec<&String> = objects().flat_map(Map::keys).collect();
    names.sort();
    names.dedup();
    let column = |name: &String| rows.iter().map(|it| it[name].clone()).collect();
    let columns = names
        .into_iter()
        .map(|name| (name.clone(), Value::Array(column(name))))
        .collect();
    Value::Object(columns)
}

/// The settings of a run, by their keys in the experiment file; those that it does not say have their defaults. Of a
/// file that this version cannot read, what it says.
pub fn settings(place: &Place) -> Value {
    let file = place.folder.join("experiment.toml");
    let text = own(&file, &place.folder)
        .and_then(|()| plain_file::read(&file, MOST_TEXT))
        .map(|it| String::from_utf8_lossy(&it).into_owned());
    let (text, mut trouble) = match text {
        Ok(text) => (text, None),
        Err(error) => (
            String::new(),
            Some(format!("failed to read {}: {error}", file.display())),
        ),
    };
    let mut all = BTreeMap::new();
    if trouble.is_none() {
        let read = read_stored(&file).map(|it| serde_json::to_value(it).unwrap_or_default());
        let value = read.unwrap_or_else(|error| {
            trouble = Some(error.to_string());
            let table = text.parse::<toml::Table>().ok();
            table
                .and_then(|it| serde_json::to_value(it).ok())
                .unwrap_or_default()
        });
        flatten("", &value, &mut all);
        all.remove("name");
    }
    json!({ "settings": all, "text": text, "trouble": trouble })
}

fn flatten(before: &str, value: &Value, all: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (name, value) in fields {
                let key = match before {
                    "" => name.clone(),
                    _ => format!("{before}.{name}"),
                };
                flatten(&key, value, all);
            }
        }
        Value::Null => (),
        value => {
            all.insert(before.to_owned(), value.clone());
        }
    }
}

/// The ends of what a run's processes told people, of files below the folder of runs alone.
pub fn logs(place: &Place, runs: &Path) -> Value {
    let logs: Vec<Value> = (place.logs.iter())
        .filter(|it| it.exists())
        .map(|log| match own(log, runs).and_then(|()| tail(log)) {
            Ok((bytes, text)) => json!({ "path": log, "bytes": bytes, "text": text }),
            Err(error) => json!({ "path": log, "trouble": error.to_string() }),
        })
        .collect();
    json!({ "logs": logs })
}

/// Fails if a file lies outside of a folder, as a link may lead.
fn own(file: &Path, folder: &Path) -> io::Result<()> {
    match fs::canonicalize(file)?.starts_with(fs::canonicalize(folder)?) {
        true => Ok(()),
        false => Err(io::Error::new(
            ErrorKind::PermissionDenied,
            "it is a link that leads out of its folder, and not shown",
        )),
    }
}

/// Length of a file and its end, from the start of a line on.
fn tail(path: &Path) -> io::Result<(u64, String)> {
    let mut file = plain_file::open(path)?;
    let length = file.metadata()?.len();
    let from = length.saturating_sub(MOST_LOG);
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(MOST_LOG).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let start = match from {
        0 => 0,
        _ => text.find('\n').map_or(0, |it| it + 1),
    };
    Ok((length, text[start..].to_owned()))
}
