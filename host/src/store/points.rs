//! Files in which the points of a run lie.

use plugin_api::Point;

/// Files of a point of level 0: the point and its optimizer state.
pub fn step_files(step: u64) -> [String; 2] {
    [
        format!("step-{step:06}.safetensors"),
        format!("step-{step:06}-optimizer.safetensors"),
    ]
}

/// The step whose point a file holds, if it holds one.
pub fn step_of(file: &str) -> Option<u64> {
    file.strip_prefix("step-")?
        .strip_suffix(".safetensors")?
        .parse()
        .ok()
}

/// Level and file of a run's own point, as it was when it was passed; none for another run's.
pub fn stored_at(
    point: &Point,
    steps_per_epoch: u64,
    steps_per_level: u64,
) -> Option<(u64, String)> {
    let start = || "start.safetensors".to_owned();
    let end = || "end.safetensors".to_owned();
    match point {
        Point::Init => Some((0, start())),
        Point::LevelStart(level) => Some((*level, start())),
        Point::LevelEnd(level) => Some((*level, end())),
        Point::Step(step) => Some(match step.steps(steps_per_epoch) {
            0 => (0, start()),
            steps if steps == steps_per_level => (0, end()),
            steps => (0, step_files(steps)[0].clone()),
        }),
        _ => None,
    }
}

/// File of a point's replaced weights, in the folder of the level that replaced them.
pub fn redefined_file(point: &Point) -> String {
    match point {
        Point::Run { .. } => {
            // The folder's name may hold what a file's name may not.
            let digest = blake3::hash(point.to_string().as_bytes()).to_hex();
            format!("point-{}.safetensors", &digest[..16])
        }
        own => format!("point-{own}.safetensors"),
    }
}
