//! What a component is lent during a call, and whether it left that as it was.
//!
//! Handles share the host's memory. A component that only uses operations cannot write to it; one
//! that asks for the elements themselves ([`Tensor::as_slice`](plugin_api::Tensor::as_slice), DLPack)
//! gets an address, and from then on everything that it is lent is compared with what it was.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tch::{Device, Kind, Tensor};

use super::tape::{Node, Tape};
use super::tensor::elements;

/// Whose handles these are: each component of each seed has its own.
#[derive(Clone, Default)]
pub struct Owner(Arc<Mutex<Loans>>);

#[derive(Default)]
struct Loans {
    lent: Vec<Lent>,
    /// Whether the component has an address.
    shown: bool,
    /// What it computes of what it was lent, where that is written down.
    tape: Option<Tape>,
}

struct Lent {
    what: String,
    place: usize,
    tensor: Tensor,
    /// Of its elements, from when the component got an address.
    print: Option<blake3::Hash>,
}

/// What was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// Such as `weights`.
    pub what: String,
    /// Place in the list, which is the layer's.
    pub place: usize,
}

impl Owner {
    fn loans(&self) -> MutexGuard<'_, Loans> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether both are the same component's.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Notes that the component is lent these, under a name for people.
    pub fn note(&self, what: &str, tensors: &[Tensor]) {
        let mut loans = self.loans();
        let shown = loans.shown;
        for (place, tensor) in tensors.iter().enumerate() {
            let address = tensor.data_ptr();
            let is_known = |lent: &Lent| lent.what == what && lent.tensor.data_ptr() == address;
            if !loans.lent.iter().any(is_known) {
                loans.lent.push(Lent {
                    what: what.to_owned(),
                    place,
                    tensor: tensor.shallow_clone(),
                    print: shown.then(|| print(tensor)),
                });
            }
        }
    }

    /// Notes that the component gets an address.
    pub fn show(&self) {
        let mut loans = self.loans();
        if !std::mem::replace(&mut loans.shown, true) {
            for lent in &mut loans.lent {
                lent.print = Some(print(&lent.tensor));
            }
        }
    }

    /// Writes down what the component computes, from here to [`recorded`](Self::recorded).
    pub(super) fn record(&self) {
        self.loans().tape = Some(Tape::default());
    }

    /// Whether what the component computes is written down.
    pub(super) fn records(&self) -> bool {
        self.loans().tape.is_some()
    }

    /// Writes down how a tensor came to be; its place, if anything is written down.
    pub(super) fn push(&self, node: Node) -> Option<usize> {
        self.loans().tape.as_mut().map(|tape| tape.push(node))
    }

    /// Notes that the component does what may be otherwise at the next step.
    pub(super) fn note_impure(&self, what: &'static str) {
        if let Some(tape) = &mut self.loans().tape {
            tape.note_impure(what);
        }
    }

    /// What was written down.
    pub(super) fn recorded(&self) -> Tape {
        self.loans().tape.take().unwrap_or_default()
    }

    /// Ends all loans; what was changed meanwhile, if anything was.
    pub fn settle(&self) -> Option<Changed> {
        let mut own = self.loans();
        let (lent, _) = (
            std::mem::take(&mut own.lent),
            std::mem::take(&mut own.shown),
        );
        drop(own);
        let changed = |lent: Lent| {
            let is_changed = lent
                .print
                .is_some_and(|before| before != print(&lent.tensor));
            is_changed.then_some(Changed {
                what: lent.what,
                place: lent.place,
            })
        };
        lent.into_iter().find_map(changed)
    }
}

/// Tells the elements from any others.
fn print(tensor: &Tensor) -> blake3::Hash {
    let copy;
    let tensor = match elements(tensor) {
        Some(_) => tensor,
        None => {
            let here = tensor.to_device(Device::Cpu).to_kind(Kind::Float);
            copy = here.contiguous();
            &copy
        }
    };
    let mut hasher = blake3::Hasher::new();
    for chunk in elements(tensor).unwrap_or_default().chunks(1 << 14) {
        let bytes: Vec<u8> = chunk.iter().flat_map(|it| it.to_ne_bytes()).collect();
        hasher.update(&bytes);
    }
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_found_from_when_an_address_was_given() {
        let owner = Owner::default();
        let weights = [
            Tensor::from_slice(&[1f32, 2.0]),
            Tensor::from_slice(&[3f32]),
        ];
        owner.note("weights", &weights);
        let _ = weights[1].shallow_clone().fill_(4.0);
        owner.show();
        assert_eq!(owner.settle(), None);

        owner.note("weights", &weights);
        owner.show();
        let late = [Tensor::from_slice(&[5f32])];
        owner.note("masks", &late);
        let _ = late[0].shallow_clone().fill_(6.0);
        let changed = Changed {
            what: "masks".to_owned(),
            place: 0,
        };
        assert_eq!(owner.settle(), Some(changed));
        assert_eq!(owner.settle(), None, "the loans are over");
    }

    #[test]
    fn handles_are_told_apart_by_their_component() {
        let (one, other) = (Owner::default(), Owner::default());
        assert!(one.is(&one.clone()));
        assert!(!one.is(&other));
    }
}
