//! Errors that cross the boundary.

use abi_stable::StableAbi;
use abi_stable::std_types::{RResult, RString};

/// Why a call failed; open, so that later versions can add reasons.
#[repr(transparent)]
#[derive(StableAbi, Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorCode(pub u32);

impl ErrorCode {
    /// The callee says so in its message.
    pub const FAILED: Self = Self(0);
    /// The plugin panicked; the message carries the panic's text and place.
    pub const PANICKED: Self = Self(1);
    /// The callee does not know the operation, service or plan it was asked for.
    pub const UNSUPPORTED: Self = Self(2);
    /// The options do not fit the component.
    pub const BAD_OPTIONS: Self = Self(3);
    /// What was asked for is not there: a point or a mask that is not stored, or not for this network; a component
    /// that a script does not have.
    pub const MISSING: Self = Self(4);
}

/// An error that crosses the boundary.
#[repr(C)]
#[derive(StableAbi, Clone, Debug)]
pub struct AbiError {
    /// Why.
    pub code: ErrorCode,
    /// What a person should read.
    pub message: RString,
}

/// Result of every call across the boundary.
pub type AbiResult<T> = RResult<T, AbiError>;
