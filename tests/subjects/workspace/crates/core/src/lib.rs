//! Byte histograms of text, without Python.

use std::sync::OnceLock;

use rayon::prelude::*;

pub mod tuning;

/// How often each byte value occurs.
pub type Histogram = [u64; 256];

/// Counts the byte values of a text.
#[must_use]
pub fn byte_histogram(text: &[u8]) -> Histogram {
    if text.len() < tuning::PARALLEL_THRESHOLD {
        return count(text);
    }
    text.par_chunks(tuning::CHUNK_BYTES)
        .map(count)
        .reduce(|| [0; 256], merge)
}

/// How many parts a text is counted in: what the two constants decide.
#[must_use]
pub fn parts(len: usize) -> usize {
    if len < tuning::PARALLEL_THRESHOLD {
        1
    } else {
        len.div_ceil(tuning::CHUNK_BYTES)
    }
}

/// Tables that the inner loop counts into, in turn: `TEXTSTATS_TABLES`, read once; 1 without it.
#[must_use]
pub fn tables() -> usize {
    static TABLES: OnceLock<usize> = OnceLock::new();
    *TABLES.get_or_init(|| {
        let text = std::env::var("TEXTSTATS_TABLES").unwrap_or_default();
        text.parse().map_or(1, |tables: usize| tables.clamp(1, 4))
    })
}

/// Whether the flags of `.cargo/config.toml` reached the compiler.
#[must_use]
pub fn is_tuned() -> (bool, bool) {
    (cfg!(textstats_tuned), cfg!(target_feature = "sse4.2"))
}

fn count(text: &[u8]) -> Histogram {
    match tables() {
        1 => count_into::<1>(text),
        2 => count_into::<2>(text),
        _ => count_into::<4>(text),
    }
}

/// Equal bytes in a row wait for each other's addition; with several tables they do not.
fn count_into<const TABLES: usize>(text: &[u8]) -> Histogram {
    let mut tables = [[0_u64; 256]; TABLES];
    let mut groups = text.chunks_exact(TABLES);
    for group in &mut groups {
        for (table, &byte) in tables.iter_mut().zip(group) {
            table[usize::from(byte)] += 1;
        }
    }
    for &byte in groups.remainder() {
        tables[0][usize::from(byte)] += 1;
    }
    tables.into_iter().fold([0; 256], merge)
}

fn merge(mut left: Histogram, right: Histogram) -> Histogram {
    for (sum, value) in left.iter_mut().zip(right) {
        *sum += value;
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_every_byte_on_both_branches() {
        for len in [0, 1, 7, tuning::PARALLEL_THRESHOLD, tuning::PARALLEL_THRESHOLD + 12_345] {
            let text: Vec<u8> = (0..len).map(|index| (index % 251) as u8).collect();
            let histogram = byte_histogram(&text);
            assert_eq!(histogram.iter().sum::<u64>(), len as u64);
            assert_eq!(histogram[0], len.div_ceil(251) as u64);
        }
    }
}
