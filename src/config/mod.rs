//! What was asked: the file mirror, the checked runtime types, the provider presets.
pub mod runtime;
