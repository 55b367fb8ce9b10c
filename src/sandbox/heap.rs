//! How this process takes memory: what only a call without a safe wrapper can set.

use super::sys;

/// Makes all threads take memory from one heap. To be called while there is one thread.
///
/// The GNU C library gives each thread a heap of its own, and what one of them frees the others cannot have: a build of
/// 200,000 files took half as much again. Nothing is slower for it, as threads here read files and hash them. And lists of a
/// mebibyte and more have pages of their own, which go when they do: the C library would take that back once it has seen
/// such a list freed, and what takes the place of a list in the heap is rarely as long.
pub fn one_heap() {
    sys::one_heap();
}
