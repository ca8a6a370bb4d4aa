//! What can be wrong with a pricing call.

use std::fmt;

/// A call that cannot be priced. Unless a variant says otherwise, nothing has been written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KernelError {
    /// The slices differ in length. The lengths are in the order spot, strike, time, volatility, out.
    Lengths([usize; 5]),
    /// The shapes do not broadcast; each argument's name and shape.
    Broadcast(Vec<(&'static str, Vec<usize>)>),
    /// The broadcast shape has more elements than an array can hold.
    TooLarge(Vec<usize>),
    /// An argument has a type that cannot be priced: the argument, and the type found.
    Type(&'static str, String),
    /// `out` has the first shape, and the prices have the second.
    OutShape(Vec<usize>, Vec<usize>),
    /// `out` cannot be written to.
    OutReadOnly(Vec<usize>),
    /// `out` shares memory with the named argument; that argument's shape, and `out`'s.
    OutOverlaps(&'static str, Vec<usize>, Vec<usize>),
    /// The caller asked to stop. The output has been filled with NaN.
    Interrupted,
}

/// A shape as Python prints a tuple.
struct Shape<'a>(&'a [usize]);

impl fmt::Display for Shape<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let axes: Vec<String> = self.0.iter().map(usize::to_string).collect();
        let comma = if axes.len() == 1 { "," } else { "" };
        write!(formatter, "({}{comma})", axes.join(", "))
    }
}

impl fmt::Display for KernelError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lengths([spot, strike, time, volatility, out]) => write!(
                formatter,
                "all arrays must have one length, but spot has {spot}, strike {strike}, \
                 time {time}, volatility {volatility}, out {out}"
            ),
            Self::Broadcast(shapes) => {
                let shapes: Vec<String> = shapes
                    .iter()
                    .map(|(name, shape)| format!("{name} {}", Shape(shape)))
                    .collect();
                write!(
                    formatter,
                    "the shapes do not broadcast together: {}",
                    shapes.join(", ")
                )
            }
            Self::TooLarge(shape) => {
                write!(
                    formatter,
                    "the shape {} has more elements than fit memory",
                    Shape(shape)
                )
            }
            Self::Type(name, found) => write!(
                formatter,
                "{name} must be a float64 array, or numbers that float64 can take the place of; \
                 got {found}"
            ),
            Self::OutShape(out, prices) => write!(
                formatter,
                "out has shape {}, but the prices have shape {}",
                Shape(out),
                Shape(prices)
            ),
            Self::OutReadOnly(shape) => {
                write!(formatter, "out, of shape {}, is read-only", Shape(shape))
            }
            Self::OutOverlaps(name, argument, out) => write!(
                formatter,
                "out, of shape {}, shares memory with {name}, of shape {}; give it memory of its \
                 own",
                Shape(out),
                Shape(argument)
            ),
            Self::Interrupted => formatter.write_str("the call was interrupted"),
        }
    }
}

impl std::error::Error for KernelError {}
