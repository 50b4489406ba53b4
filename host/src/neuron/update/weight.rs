//! One weight, and how it moves.

use super::ham::Scaled;
use super::sign_in::Product;

/// A weight in training.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Weight {
    /// A product of two factors: Sign-In.
    Product(Product),
    /// A number that is multiplied after each step: HAM, or gradient descent at strength 0.
    Scaled(Scaled),
}

impl Weight {
    pub(super) fn plain(value: f64) -> Self {
        Self::ham(value, 0.0, 0.0)
    }

    pub(super) fn sign_in(value: f64, scale: f64) -> Self {
        Self::Product(Product::split(value, scale))
    }

    pub(super) fn ham(value: f64, alpha: f64, beta: f64) -> Self {
        Self::Scaled(Scaled { value, alpha, beta })
    }

    /// Its value.
    pub fn value(&self) -> f64 {
        match self {
            Self::Product(it) => it.value(),
            Self::Scaled(it) => it.value,
        }
    }

    /// The weight after a step, where the loss has this slope.
    #[must_use]
    pub fn descend(self, slope: f64, step: f64) -> Self {
        match self {
            Self::Product(it) => Self::Product(it.descend(slope, step)),
            Self::Scaled(it) => Self::Scaled(it.descend(slope, step)),
        }
    }

    /// The weight of the same value with its inner scale set anew.
    #[must_use]
    pub fn renew(self) -> Self {
        match self {
            Self::Product(it) => Self::Product(it.renew()),
            Self::Scaled(_) => self,
        }
    }

    /// How fast the flow moves it, in multiples of the slope.
    pub fn speed(&self) -> f64 {
        match self {
            Self::Product(it) => it.speed(),
            Self::Scaled(it) => it.speed(),
        }
    }

    /// The integral of x over the speed at x, from 0 to its value.
    pub fn potential(&self) -> f64 {
        match self {
            Self::Product(it) => it.potential(),
            Self::Scaled(it) => it.potential(),
        }
    }
}
