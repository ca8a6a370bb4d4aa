//! The data that the benches price, drawn as in `workloads.py`, but without NumPy.

/// The four arrays of a call.
#[derive(Clone, Debug)]
pub struct Columns {
    /// Uniform in 50 to 150.
    pub spot: Vec<f64>,
    /// Uniform in 50 to 150.
    pub strike: Vec<f64>,
    /// Uniform in 0.05 to 3 years.
    pub time: Vec<f64>,
    /// Uniform in 0.1 to 0.6.
    pub volatility: Vec<f64>,
}

/// The rate of every call.
pub const RATE: f64 = 0.03;

/// `n` options; the same seed gives the same options.
#[must_use]
pub fn columns(n: usize, seed: u64) -> Columns {
    let mut state = seed;
    let mut column = |low: f64, high: f64| -> Vec<f64> {
        (0..n)
            .map(|_| low + (high - low) * next_unit(&mut state))
            .collect()
    };
    Columns {
        spot: column(50.0, 150.0),
        strike: column(50.0, 150.0),
        time: column(0.05, 3.0),
        volatility: column(0.1, 0.6),
    }
}

/// splitmix64 (Steele, Lea and Flood 2014), its upper 53 bits as a number in [0, 1).
fn next_unit(state: &mut u64) -> f64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    (mixed >> 11) as f64 / (1u64 << 53) as f64
}
