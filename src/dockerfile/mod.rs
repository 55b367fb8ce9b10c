//! Text to abstract syntax tree: the Dockerfile language. Imports nothing else of kiln.

pub mod ast;
