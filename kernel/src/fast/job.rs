//! One pricing call: where its arguments are, in any layout, and how a part of it is prepared for the
//! loop.

use std::array;

use super::Kind;
use super::blocks::{Columns, Run};
use super::path::runner;
use crate::error::KernelError;

/// An argument, laid out over the shape of the call.
#[derive(Clone, Copy, Debug)]
pub enum Operand<'a> {
    /// One value for all options.
    Scalar(f64),
    /// As many values as the shape has, one after the other in row-major order.
    Contiguous(*const f64),
    /// The first value, and the bytes from one value to the next along each axis of the shape: zero
    /// along an axis that the argument is broadcast over.
    Strided(*const f64, &'a [isize]),
}

/// Where the prices go; the same layouts.
#[derive(Clone, Copy, Debug)]
pub enum Output<'a> {
    /// One price after the other in row-major order.
    Contiguous(*mut f64),
    /// The first price, and the bytes from one to the next along each axis.
    Strided(*mut f64, &'a [isize]),
}

/// A pricing call. Only the `unsafe` functions dereference the pointers.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    kind: Kind,
    shape: &'a [usize],
    len: usize,
    /// Spot, strike, time, rate, volatility.
    operands: [Operand<'a>; 5],
    out: Output<'a>,
}

// SAFETY: only `unsafe` functions dereference the pointers, and their callers vouch for them.
unsafe impl Sync for Job<'_> {}

/// Options gathered at a time when an argument is not contiguous: six columns of this length fit the
/// first-level cache.
const BLOCK: usize = 512;

impl<'a> Job<'a> {
    /// A call of `kind` over `shape`; the operands are spot, strike, time, rate, volatility.
    ///
    /// # Errors
    /// `KernelError::TooLarge` if the product of the shape overflows.
    pub fn new(
        kind: Kind,
        shape: &'a [usize],
        operands: [Operand<'a>; 5],
        out: Output<'a>,
    ) -> Result<Self, KernelError> {
        let len = element_count(shape).ok_or_else(|| KernelError::TooLarge(shape.to_vec()))?;
        Ok(Self {
            kind,
            shape,
            len,
            operands,
            out,
        })
    }

    /// Number of options.
    #[must_use]
    #[allow(clippy::len_without_is_empty)] // No code needs to know whether a call is empty.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Prices the options from `start` up to `end`.
    ///
    /// # Safety
    /// The pointers must be valid for the shape, the output must not overlap an operand, and no other
    /// code may read or write this part of it.
    pub(super) unsafe fn price_range(&self, start: usize, end: usize) {
        let rates = !matches!(self.operands[3], Operand::Scalar(_));
        let run = runner(self.kind, rates);
        // SAFETY: the caller vouches for the pointers.
        unsafe {
            if self.price_in_place(run, start, end) {
                return;
            }
            let mut staged = Staged {
                columns: [[0.0; BLOCK]; 5],
                prices: [0.0; BLOCK],
            };
            for (operand, column) in self.operands.iter().zip(&mut staged.columns) {
                if let Operand::Scalar(value) = operand {
                    column[..(end - start).min(BLOCK)].fill(*value);
                }
            }
            for block in (start..end).step_by(BLOCK) {
                self.price_staged(run, &mut staged, block, (end - block).min(BLOCK));
            }
        }
    }

    /// The path without copies: all arrays contiguous, and only the rate may be a scalar.
    unsafe fn price_in_place(&self, run: Run, start: usize, end: usize) -> bool {
        let [
            Operand::Contiguous(spot),
            Operand::Contiguous(strike),
            Operand::Contiguous(time),
            rate,
            Operand::Contiguous(volatility),
        ] = &self.operands
        else {
            return false;
        };
        let Output::Contiguous(out) = self.out else {
            return false;
        };
        // SAFETY: the caller vouches for the pointers.
        unsafe {
            let columns = Columns {
                spot: spot.add(start),
                strike: strike.add(start),
                time: time.add(start),
                volatility: volatility.add(start),
                rate: match rate {
                    Operand::Scalar(value) => value,
                    Operand::Contiguous(rates) => rates.add(start),
                    Operand::Strided(..) => return false,
                },
            };
            run(&columns, out.add(start), end - start);
        }
        true
    }

    /// Prices up to `BLOCK` options from `start`, after copying whatever is not contiguous.
    unsafe fn price_staged(&self, run: Run, staged: &mut Staged, start: usize, count: usize) {
        // SAFETY: the caller vouches for the pointers; `count` is at most BLOCK.
        unsafe {
            let [spot, strike, time, rate, volatility] = array::from_fn(|index| {
                let column = &mut staged.columns[index];
                match self.operands[index] {
                    Operand::Scalar(_) => column.as_ptr(),
                    Operand::Contiguous(values) => values.add(start),
                    Operand::Strided(first, strides) => {
                        let mut slots = column[..count].iter_mut();
                        each_offset(self.shape, strides, start, count, |offset| {
                            if let Some(slot) = slots.next() {
                                *slot = first.byte_offset(offset).read_unaligned();
                            }
                        });
                        column.as_ptr()
                    }
                }
            });
            let columns = Columns {
                spot,
                strike,
                time,
                volatility,
                rate,
            };
            match self.out {
                Output::Contiguous(out) => run(&columns, out.add(start), count),
                Output::Strided(first, strides) => {
                    run(&columns, staged.prices.as_mut_ptr(), count);
                    let mut prices = staged.prices[..count].iter();
                    each_offset(self.shape, strides, start, count, |offset| {
                        if let Some(price) = prices.next() {
                            first.byte_offset(offset).write_unaligned(*price);
                        }
                    });
                }
            }
        }
    }

    /// Writes `value` to the whole output.
    ///
    /// # Safety
    /// The output's pointer must be valid for the shape, and no other code may read or write there.
    pub(super) unsafe fn fill_out(&self, value: f64) {
        // SAFETY: the caller vouches for the pointer.
        unsafe {
            match self.out {
                Output::Contiguous(out) => {
                    std::slice::from_raw_parts_mut(out, self.len).fill(value);
                }
                Output::Strided(first, strides) => {
                    each_offset(self.shape, strides, 0, self.len, |offset| {
                        first.byte_offset(offset).write_unaligned(value);
                    });
                }
            }
        }
    }
}

/// Copies of a block of arguments, and of the prices before they are spread out.
struct Staged {
    columns: [[f64; BLOCK]; 5],
    prices: [f64; BLOCK],
}

/// The product of a shape, or `None` if the array would not fit the address space.
#[must_use]
pub fn element_count(shape: &[usize]) -> Option<usize> {
    if shape.contains(&0) {
        return Some(0);
    }
    let count = shape
        .iter()
        .try_fold(1_usize, |product, &axis| product.checked_mul(axis))?;
    let bytes = count.checked_mul(size_of::<f64>())?;
    isize::try_from(bytes).is_ok().then_some(count)
}

/// Calls `visit` with the byte offset of each of `count` elements, starting at `start`, in row-major
/// order of the shape.
fn each_offset(
    shape: &[usize],
    strides: &[isize],
    start: usize,
    count: usize,
    mut visit: impl FnMut(isize),
) {
    let mut index = vec![0; shape.len()];
    let mut rest = start;
    let mut offset = 0;
    for axis in (0..shape.len()).rev() {
        index[axis] = rest % shape[axis];
        rest /= shape[axis];
        offset += index[axis] as isize * strides[axis];
    }
    for _ in 0..count {
        visit(offset);
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            offset += strides[axis];
            if index[axis] < shape[axis] {
                break;
            }
            offset -= strides[axis] * shape[axis] as isize;
            index[axis] = 0;
        }
    }
}
