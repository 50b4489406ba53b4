//! How a job of a sweep stands.

/// How a job stands.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// It was not asked for.
    Left,
    /// It has not started.
    Waiting,
    /// It runs.
    Running,
    /// Another process does it, or took it over.
    Elsewhere {
        /// Which.
        reason: String,
    },
    /// It was stopped and can go on.
    Stopped,
    /// It waits at a level for cells that nobody is about to bring there.
    AtRung {
        /// Which.
        reason: String,
    },
    /// It is finished.
    Done,
    /// It is finished at a level at which it was behind.
    Behind {
        /// By how much.
        reason: String,
    },
    /// It failed.
    Failed {
        /// Why.
        reason: String,
    },
    /// A run that it takes from is not finished.
    Skipped {
        /// Which.
        reason: String,
    },
}

impl State {
    /// The word for it in tables.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Left => "not asked for",
            Self::Waiting | Self::Stopped | Self::AtRung { .. } => "stopped",
            Self::Running => "running",
            Self::Elsewhere { .. } => "elsewhere",
            Self::Done => "done",
            Self::Behind { .. } => "behind",
            Self::Failed { .. } => "failed",
            Self::Skipped { .. } => "skipped",
        }
    }

    /// Whether it was asked for and is not going to be done.
    pub fn is_lost(&self) -> bool {
        matches!(self, Self::Failed { .. } | Self::Skipped { .. })
    }

    /// Whether nothing is left to do of it.
    pub fn is_over(&self) -> bool {
        matches!(self, Self::Done | Self::Behind { .. })
    }

    /// Why it is not done, if that is known.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Failed { reason }
            | Self::Skipped { reason }
            | Self::Elsewhere { reason }
            | Self::AtRung { reason }
            | Self::Behind { reason } => Some(reason),
            _ => None,
        }
    }
}
