//! The three kinds of component of 1.0; the fourth, the update, has a module of its own.

use abi_stable::std_types::{RBox, RSlice, RString, RVec};
use abi_stable::{StableAbi, sabi_trait};

use super::{AbiResult, HostRef, TensorBox};

/// Says which weights matter.
#[sabi_trait]
pub trait ScorerObject: Send {
    /// One score tensor for each prunable layer; higher is kept.
    fn score(&mut self, host: HostRef<'_>) -> AbiResult<RVec<TensorBox>>;

    /// The stored points it will ask for, as JSON.
    fn points(&self) -> AbiResult<RString>;

    /// What it needs to go on after a restart.
    fn save_state(&self) -> AbiResult<RVec<u8>>;

    /// Goes on from what `save_state` gave.
    fn load_state(&mut self, state: RSlice<'_, u8>) -> AbiResult<()>;

    /// Reserved for later versions.
    #[sabi(last_prefix_field)]
    fn call(&mut self, code: u32, payload: RSlice<'_, u8>) -> AbiResult<RVec<u8>>;
}

/// Says which weights survive.
#[sabi_trait]
pub trait MaskUpdateObject: Send {
    /// When it is called, as JSON.
    fn cadence(&self) -> AbiResult<RString>;

    /// One mask of zeros and ones for each prunable layer.
    fn update(&mut self, host: HostRef<'_>) -> AbiResult<RVec<TensorBox>>;

    /// The stored points it will ask for, as JSON.
    fn points(&self) -> AbiResult<RString>;

    /// What it needs to go on after a restart.
    fn save_state(&self) -> AbiResult<RVec<u8>>;

    /// Goes on from what `save_state` gave.
    fn load_state(&mut self, state: RSlice<'_, u8>) -> AbiResult<()>;

    /// Reserved for later versions.
    #[sabi(last_prefix_field)]
    fn call(&mut self, code: u32, payload: RSlice<'_, u8>) -> AbiResult<RVec<u8>>;
}

/// A plan as JSON, with the tensors it refers to in their order.
#[repr(C)]
#[derive(StableAbi)]
pub struct RewindReply {
    /// A [`Plan`](super::wire::Plan) as JSON.
    pub plan: RString,
    /// The tensors that the plan refers to by position.
    pub tensors: RVec<TensorBox>,
}

/// Says what is reset before training goes on.
#[sabi_trait]
pub trait RewindObject: Send {
    /// What is reset.
    fn rewind(&mut self, host: HostRef<'_>) -> AbiResult<RewindReply>;

    /// The stored points it will ask for, as JSON.
    fn points(&self) -> AbiResult<RString>;

    /// What it needs to go on after a restart.
    fn save_state(&self) -> AbiResult<RVec<u8>>;

    /// Goes on from what `save_state` gave.
    fn load_state(&mut self, state: RSlice<'_, u8>) -> AbiResult<()>;

    /// Reserved for later versions.
    #[sabi(last_prefix_field)]
    fn call(&mut self, code: u32, payload: RSlice<'_, u8>) -> AbiResult<RVec<u8>>;
}

/// An owned scorer.
pub type ScorerBox = ScorerObject_TO<'static, RBox<()>>;
/// An owned mask update.
pub type MaskUpdateBox = MaskUpdateObject_TO<'static, RBox<()>>;
/// An owned rewind policy.
pub type RewindBox = RewindObject_TO<'static, RBox<()>>;
