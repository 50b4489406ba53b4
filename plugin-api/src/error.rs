//! Errors of a strategy.

use std::fmt;

use crate::abi::{AbiError, ErrorCode};

/// Why a strategy could not do its work. Any error type turns into one with `?`.
pub struct Error {
    pub(crate) code: ErrorCode,
    message: String,
}

/// Result of a strategy's work.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error with this message, which the host shows behind the names of plugin and component.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            code: ErrorCode::FAILED,
            message: message.into(),
        }
    }

    /// That what was asked for is not there, such as a component that a script does not have.
    pub fn missing(message: impl Into<String>) -> Self {
        Self {
            code: ErrorCode::MISSING,
            message: message.into(),
        }
    }

    /// Whether the host does not know what it was asked for, because it is older than the plugin.
    pub fn is_unsupported(&self) -> bool {
        self.code == ErrorCode::UNSUPPORTED
    }

    /// Whether a point or a mask was asked for that is not stored, or not for this network.
    pub fn is_missing(&self) -> bool {
        self.code == ErrorCode::MISSING
    }

    pub(crate) fn into_abi(self) -> AbiError {
        AbiError {
            code: self.code,
            message: self.message.into(),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<AbiError> for Error {
    fn from(error: AbiError) -> Self {
        Self {
            code: error.code,
            message: error.message.into(),
        }
    }
}

// `Error` itself does not implement `std::error::Error`, which is what allows this conversion.
impl<E: std::error::Error> From<E> for Error {
    fn from(error: E) -> Self {
        Self::new(error.to_string())
    }
}
