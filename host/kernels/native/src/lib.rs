//! The C++ of the kernels, which the crate `kernels` declares and wraps.
//!
//! Every binary whose code comes to it, a test too, says `use kernels_native as _;`. Nothing else depends on
//! this crate, so that a change of the C++ compiles the C++ and links again.
