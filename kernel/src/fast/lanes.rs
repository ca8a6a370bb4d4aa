//! The operations that the formula needs of a vector of float64, and of two vectors at a time. Each
//! instruction set implements them in a separate module.

/// A vector of float64 lanes. Operations named `…_bits` take the lanes as 64-bit integers.
///
/// # Safety
/// Every method may use the instruction set that its module names. Call it only in a function
/// compiled for that set, on a processor that has it. All methods are `inline(always)`, so that they
/// are compiled as part of that function.
pub(super) trait Lanes: Copy {
    /// Number of lanes.
    const LANES: usize;
    /// Parts per power of two in which the exponential's argument is counted: 8 if `exp2_part` uses a
    /// table, 1 if there is none.
    const EXP2_PARTS: u32;
    /// The result of `flags`: the lanes that the formula does not hold for.
    type Flags: Copy;

    unsafe fn splat(value: f64) -> Self;
    unsafe fn load(from: *const f64) -> Self;
    unsafe fn store(self, to: *mut f64);
    unsafe fn add(self, other: Self) -> Self;
    unsafe fn sub(self, other: Self) -> Self;
    unsafe fn mul(self, other: Self) -> Self;
    unsafe fn div(self, other: Self) -> Self;
    unsafe fn sqrt(self) -> Self;
    /// `self * factor + term`.
    unsafe fn mul_add(self, factor: Self, term: Self) -> Self;
    /// `term - self * factor`.
    unsafe fn neg_mul_add(self, factor: Self, term: Self) -> Self;
    unsafe fn min(self, other: Self) -> Self;
    unsafe fn max(self, other: Self) -> Self;
    unsafe fn and_bits(self, other: Self) -> Self;
    unsafe fn or_bits(self, other: Self) -> Self;
    unsafe fn xor_bits(self, other: Self) -> Self;
    unsafe fn add_bits(self, other: Self) -> Self;
    unsafe fn sub_bits(self, other: Self) -> Self;
    /// The upper twelve bits as a signed number, always between -1024 and 1023.
    unsafe fn upper_twelve(self) -> Self;
    /// `2^(n / EXP2_PARTS)` for the integer n in the lower bits of `self`.
    unsafe fn exp2_part(self) -> Self;
    /// `self` where the sign bit of `sign` is clear, else zero.
    unsafe fn where_positive(self, sign: Self) -> Self;
    /// `self` where the sign bit of `sign` is set, else zero.
    unsafe fn where_negative(self, sign: Self) -> Self;
    /// The lanes with one of the upper three bits of `windows` set, or with `magnitude` not below
    /// `limit` (which NaN is not).
    unsafe fn flags(windows: Self, magnitude: Self, limit: f64) -> Self::Flags;
    unsafe fn merge(one: Self::Flags, other: Self::Flags) -> Self::Flags;
    unsafe fn any(flags: Self::Flags) -> bool;
}

/// Two vectors, with every operation done on one and then on the other. This gives the processor twice
/// as many independent operations to choose from, so the loop waits less for its own results.
/// (Unrolling the loop does not help, because the compiler keeps the two copies one after the other.)
#[derive(Clone, Copy)]
pub(super) struct Pair<T>(T, T);

macro_rules! forward {
    ($($name:ident($($argument:ident),*);)*) => {$(
        #[inline(always)]
        unsafe fn $name(self $(, $argument: Self)*) -> Self {
            // SAFETY: the caller upholds the contract of the trait.
            unsafe { Self(self.0.$name($($argument.0),*), self.1.$name($($argument.1),*)) }
        }
    )*};
}

impl<T: Lanes> Lanes for Pair<T> {
    const LANES: usize = 2 * T::LANES;
    const EXP2_PARTS: u32 = T::EXP2_PARTS;
    type Flags = T::Flags;

    #[inline(always)]
    unsafe fn splat(value: f64) -> Self {
        // SAFETY: the caller upholds the contract of the trait; so below.
        unsafe { Self(T::splat(value), T::splat(value)) }
    }

    #[inline(always)]
    unsafe fn load(from: *const f64) -> Self {
        unsafe { Self(T::load(from), T::load(from.add(T::LANES))) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f64) {
        unsafe {
            self.0.store(to);
            self.1.store(to.add(T::LANES));
        }
    }

    forward! {
        add(other); sub(other); mul(other); div(other); sqrt();
        mul_add(factor, term); neg_mul_add(factor, term); min(other); max(other);
        and_bits(other); or_bits(other); xor_bits(other); add_bits(other); sub_bits(other);
        upper_twelve(); exp2_part(); where_positive(sign); where_negative(sign);
    }

    #[inline(always)]
    unsafe fn flags(windows: Self, magnitude: Self, limit: f64) -> T::Flags {
        unsafe {
            T::merge(
                T::flags(windows.0, magnitude.0, limit),
                T::flags(windows.1, magnitude.1, limit),
            )
        }
    }

    #[inline(always)]
    unsafe fn merge(one: T::Flags, other: T::Flags) -> T::Flags {
        unsafe { T::merge(one, other) }
    }

    #[inline(always)]
    unsafe fn any(flags: T::Flags) -> bool {
        unsafe { T::any(flags) }
    }
}
