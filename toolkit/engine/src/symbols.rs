//! Readable names for Rust symbols. C and C++ names pass through unchanged.

use rustc_demangle::try_demangle;

/// The readable form of a Rust symbol, without the hash; `None` for any other text.
///
/// Three spellings are known:
///
/// ```text
/// _ZN4core3ptr13drop_in_place17h0123456789abcdefE     legacy
/// _RNvC6_123foo3bar                                   v0
/// core::ptr::drop_in_place$LT$..$GT$::h0123456789abcdef   legacy, half done by a C++ demangler
/// ```
#[must_use]
pub fn demangle(symbol: &str) -> Option<String> {
    full(symbol).or_else(|| half_done(symbol))
}

fn full(symbol: &str) -> Option<String> {
    // Only what starts as a mangled name: `try_demangle` also takes `ZN…` and `R…`, which in a
    // profile may be anybody's function.
    if !symbol.starts_with("_ZN") && !symbol.starts_with("_R") && !symbol.starts_with("__R") {
        return None;
    }
    let name = try_demangle(symbol).ok()?;
    if symbol.starts_with("_ZN") && !ends_with_hash(&name.to_string()) {
        // Itanium C++ uses the same prefix; without the hash it is not Rust's.
        return None;
    }
    Some(format!("{name:#}"))
}

/// perf built without libbfd runs Rust's legacy names through a C++ demangler, which splits the
/// path but leaves `$LT$`, `..` and the hash. Put back together, the real demangler reads it.
fn half_done(symbol: &str) -> Option<String> {
    if !symbol.is_ascii() || !ends_with_hash(symbol) {
        return None;
    }
    let mut mangled = String::from("_ZN");
    for part in symbol.split("::") {
        if part.is_empty() || !part.bytes().all(is_symbol_byte) {
            return None;
        }
        mangled.push_str(&part.len().to_string());
        mangled.push_str(part);
    }
    mangled.push('E');
    let name = try_demangle(&mangled).ok()?;
    Some(format!("{name:#}"))
}

fn is_symbol_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | b'.')
}

fn ends_with_hash(name: &str) -> bool {
    name.rsplit_once("::h")
        .is_some_and(|(_, hash)| hash.len() == 16 && hash.bytes().all(|b| b.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rust_names_lose_their_mangling_and_their_hash() {
        for (symbol, name) in [
            (
                "_ZN4core9panicking9panic_fmt17h0123456789abcdefE",
                "core::panicking::panic_fmt",
            ),
            (
                "_ZN61_$LT$$u5b$f64$u3b$$u20$3$u5d$$u20$as$u20$core..fmt..Debug$GT$3fmt17h0123456789abcdefE",
                "<[f64; 3] as core::fmt::Debug>::fmt",
            ),
            ("_RNvC6_123foo3bar", "123foo::bar"),
            (
                "core::ptr::drop_in_place$LT$alloc..string..String$GT$::h0123456789abcdef",
                "core::ptr::drop_in_place<alloc::string::String>",
            ),
            (
                "_$LT$dyn$u20$core..ops..Fn$LP$$RP$$u20$as$u20$X$GT$::call::hfedcba9876543210",
                "<dyn core::ops::Fn() as X>::call",
            ),
        ] {
            assert_eq!(demangle(symbol).as_deref(), Some(name));
        }
    }

    #[test]
    fn other_names_stay_as_they_are() {
        for symbol in [
            "",
            "_PyEval_EvalFrameDefault",
            "_ZNSt6vectorIiE9push_backERKi",
            "_ZN3foo3barEv",
            "std::vector<int>::push_back(int const&)",
            "R_alloc",
            "ZNot_mangled",
            "already::demangled::<T>::name",
            "half::h123",
            "::h0123456789abcdef",
            "_R",
            "_ZN",
            "naïve::h0123456789abcdef",
        ] {
            assert_eq!(demangle(symbol), None);
        }
    }
}
