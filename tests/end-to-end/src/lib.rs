//! What the tests share: plugins that are built when they are needed, and a seed that stands still.

pub mod built;
pub mod program;
pub mod scene;
