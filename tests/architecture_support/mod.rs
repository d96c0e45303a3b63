//! Reads the sources of the crate: what each file imports, defines, calls and spells out.

pub mod graph;
pub mod source;
