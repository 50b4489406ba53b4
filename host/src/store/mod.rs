//! A run on disk: every artifact is written whole or not at all.
//!
//! ```text
//! runs/lrr-3f9a1c2e/
//!   experiment.toml  identity.json  summary.csv  manifest.json  lock/
//!   seed-0/level-03/{mask,start,end,optimizer}.safetensors  metrics.jsonl  signs.jsonl  layers.jsonl  done.json
//!   seed-0/progress/…     the rolling checkpoint within a level
//! runs/dense-81c02f4d/    level 0, shared by every experiment with the same data, model and training
//!   seed-0/level-00/…  seed-0/points/step-000400/…
//! ```

mod artifact;
mod behind;
mod identity;
mod level;
mod lock;
mod manifest;
mod point;
mod points;
mod run;
mod sealed;

pub use artifact::{
    StoreError, ask, at_hand, digest, expect_digest, left_of, read, read_tensors, refresh,
    refresh_folder, remove, tidy, write, write_tensors,
};
pub use behind::Behind;
pub use identity::{PluginFile, RunIdentity};
pub use level::{Done, LevelDir, link};
pub use lock::{Lock, LockError, Owner, Presence, Standing, Watch, be_led, claim_limit, mark};
pub use manifest::{
    ALGORITHMS, ARCHIVE, COPIES, MANIFEST, Manifest, REPORT_MANIFEST, RUN_FILES, WEIGHTS,
};
pub use point::{PointDir, PointDone};
pub use points::{redefined_file, step_files, step_of, stored_at};
pub use run::{RunDir, SeedDir};
pub use sealed::{Sealed, read_sealed, write_sealed};
