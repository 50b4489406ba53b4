//! A trial of a library that was not shipped: loaded, and every component called, in a process of its
//! own, so that what it does to a process it does there.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use plugin_api::abi::wire::{ComponentKind, ComponentManifest};
use serde_json::Map;

use super::component::{PlacedMask, PlacedRewind, PlacedScore, PlacedUpdate};
use super::still::Still;
use super::{MaskRule, Plugin, StrategyError};
use crate::experiment::Part;

/// What one call may cost in a trial.
pub const LIMITS: super::guard::Limits = super::guard::Limits {
    time: Some(Duration::from_secs(30)),
    memory: Some(4 << 30),
};

/// What the whole trial may take, where it is not a call that takes long.
const WHOLE: Duration = Duration::from_secs(120);

/// Has another process of `program` load the library and call its components; `name` is how it calls the
/// plugin.
///
/// # Errors
/// Why it cannot be used, completing "FILE ...".
pub fn in_child(program: &Path, path: &Path, name: &str) -> Result<(), String> {
    let mut child = Command::new(program)
        .args(["plugin", "probe", "--name", name, "--"])
        .arg(path)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("could not be tried in a child process: {error}"))?;
    let stderr = child.stderr.take();
    let reader = std::thread::spawn(move || {
        let mut said = Vec::new();
        // What cannot be read is not there to be told.
        let _ = stderr.map(|mut stderr| stderr.read_to_end(&mut said));
        String::from_utf8_lossy(&said).into_owned()
    });
    let Some(status) = wait(&mut child) else {
        let _ = child.kill();
        let _ = child.wait();
        let limit = WHOLE.as_secs();
        return Err(format!(
            "is damaged: a trial process that loads it did not end within {limit} s"
        ));
    };
    if status.success() {
        return Ok(());
    }
    if status.code().is_none() {
        return Err(format!(
            "is damaged: loading it ended a trial process ({status})"
        ));
    }
    let said = reader.join().unwrap_or_default();
    let line = said.lines().rfind(|line| line.starts_with("error: "));
    let line = line.unwrap_or("it failed to load in a trial process");
    Err(line.trim_start_matches("error: ").trim().to_owned())
}

fn wait(child: &mut Child) -> Option<ExitStatus> {
    let start = Instant::now();
    while start.elapsed() < WHOLE {
        match child.try_wait() {
            Ok(None) => std::thread::sleep(Duration::from_millis(2)),
            Ok(status) => return status,
            Err(_) => return None,
        }
    }
    None
}

/// Calls every component as a short run would. What a component refuses, or does wrong, the run that
/// uses it will say: here only a process that ends counts.
pub fn all(plugin: &Rc<Plugin>) {
    for component in &plugin.manifest.components {
        if let Err(error) = one(plugin, component) {
            log::debug!("in a trial: {error}");
        }
    }
}

fn one(plugin: &Rc<Plugin>, component: &ComponentManifest) -> Result<(), StrategyError> {
    let part = Part {
        component: format!("{}/{}", plugin.name, component.name),
        options: Map::new(),
    };
    let mut scene = Still::new(&[&[6, 8], &[4, 6, 3], &[4, 4, 3, 3], &[5, 16]], 0);
    let layers = scene.facts.layers.clone();
    let experiment = plugin_api::Experiment::new(layers, 40, 20, [0.5, 0.25]);
    match component.kind {
        ComponentKind::Score => {
            let mut score = PlacedScore::new("score", &part, plugin)?;
            score.points()?;
            score.review(&experiment)?;
            for level in 0..2 {
                scene.facts.level = level;
                score.score(&scene)?;
                let state = score.save_state()?;
                score = PlacedScore::new("score", &part, plugin)?;
                score.load_state(&state)?;
            }
        }
        ComponentKind::Mask => {
            let mut mask = PlacedMask::new("mask", &part, plugin)?;
            mask.points()?;
            mask.review(&experiment)?;
            mask.cadence()?;
            let whole = mask.unit_rule()?;
            for level in 0..2 {
                scene.facts.level = level;
                scene.facts.target = scene.len() / (2 << level);
                scene.facts.density = 0.5 / (1 << level) as f64;
                let scores: Vec<_> = scene.weights.iter().map(tch::Tensor::abs).collect();
                let rule = MaskRule::nested(scene.facts.target);
                scene.masks = mask.update(&scene, &scores, rule, whole.as_ref())?;
                let state = mask.save_state()?;
                mask = PlacedMask::new("mask", &part, plugin)?;
                mask.load_state(&state)?;
            }
        }
        ComponentKind::Rewind => {
            let mut policy = PlacedRewind::new("rewind[0]", &part, plugin)?;
            policy.points()?;
            policy.review(&experiment)?;
            for level in 0..2 {
                scene.facts.level = level;
                policy.plan(&scene)?;
                let state = policy.save_state()?;
                policy = PlacedRewind::new("rewind[0]", &part, plugin)?;
                policy.load_state(&state)?;
            }
        }
        ComponentKind::Update => {
            let mut update = PlacedUpdate::new("update[0]", &part, plugin)?;
            update.points()?;
            update.review(&experiment)?;
            let form = update.form()?;
            for step in 1..3 {
                let given = scene.step(&form, step);
                if !form.around.is_none() {
                    update.replace(&scene, &form, &given)?;
                    update.give_back(&scene, &form, &given)?;
                }
                update.act(&scene, &form, &given)?;
            }
        }
    }
    Ok(())
}
