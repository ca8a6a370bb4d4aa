//! The arguments of a pricing call on the Rust side: slices, and one rate.

use std::ops::Range;

use crate::error::KernelError;

/// The arguments of one call: four arrays of one length, and one rate for all of them.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// Price of the underlying.
    pub spot: &'a [f64],
    /// Strike price.
    pub strike: &'a [f64],
    /// Years to expiry.
    pub time: &'a [f64],
    /// Continuously compounded rate per year.
    pub rate: f64,
    /// Standard deviation of the log return per square root of a year.
    pub volatility: &'a [f64],
}

impl<'a> Inputs<'a> {
    /// The same call for the options in `range` alone.
    pub(crate) fn range(&self, range: Range<usize>) -> Inputs<'a> {
        Inputs {
            spot: &self.spot[range.clone()],
            strike: &self.strike[range.clone()],
            time: &self.time[range.clone()],
            rate: self.rate,
            volatility: &self.volatility[range],
        }
    }

    /// Refuses slices whose lengths differ from each other or from the output's.
    pub(crate) fn check_lengths(&self, out: usize) -> Result<(), KernelError> {
        let lengths = [self.spot, self.strike, self.time, self.volatility].map(<[f64]>::len);
        if lengths.iter().all(|&length| length == out) {
            return Ok(());
        }
        let [spot, strike, time, volatility] = lengths;
        Err(KernelError::Lengths([spot, strike, time, volatility, out]))
    }
}
