//! Constants that perfkit's tests edit.

/// Bytes below which a text is counted on the calling thread.
pub const PARALLEL_THRESHOLD: usize = 131_072;

/// Bytes of the cache that a chunk should fit into.
pub const CACHE_BYTES: usize = 64 * 1024;

/// Bytes per chunk of the parallel branch.
pub const CHUNK_BYTES: usize = CACHE_BYTES / 2;

/// Nothing reads this: a parameter that is dead, as real projects collect them.
pub const PREFETCH_DISTANCE: usize = 8;
