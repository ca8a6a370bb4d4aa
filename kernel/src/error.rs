//! What can be wrong with the arguments of a pricing call.

use std::fmt;

/// Arguments that cannot be priced. Nothing has been written when one is returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KernelError {
    /// The slices differ in length; the lengths in the order spot, strike, time, volatility, out.
    Lengths([usize; 5]),
}

impl fmt::Display for KernelError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lengths([spot, strike, time, volatility, out]) => write!(
                formatter,
                "all arrays must have one length, but spot has {spot}, strike {strike}, \
                 time {time}, volatility {volatility}, out {out}"
            ),
        }
    }
}

impl std::error::Error for KernelError {}
