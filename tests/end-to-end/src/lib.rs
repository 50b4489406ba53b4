//! What the tests share: plugins and a program that are built when they are needed.

pub mod built;
pub mod live;
pub mod program;
