//! Cargo's `cfg(...)` expressions, read by cargo's own crate: whether one holds for a target.

use cargo_platform::{Cfg, CfgExpr};

use crate::{Error, Result};

/// Brackets nested deeper than this are refused: the parser recurses for each of them.
const DEEPEST: usize = 100;

/// Whether `cfg(...)` holds where the lines of `rustc --print cfg` are `facts`.
///
/// # Errors
/// It is not such an expression, or a fact is not one.
pub fn cfg_holds(expression: &str, facts: &[String]) -> Result<bool> {
    let refused = |error: String| Error::input(format!("`{expression}`: {error}"));
    let inner = expression.trim().strip_prefix("cfg");
    let inner = inner.and_then(|rest| rest.trim_start().strip_prefix('('));
    let inner = inner.and_then(|rest| rest.strip_suffix(')'));
    let inner = inner.ok_or_else(|| refused("not a cfg expression".to_owned()))?;
    if inner.matches('(').count() > DEEPEST {
        return Err(refused("nested too deep".to_owned()));
    }
    let parsed: CfgExpr = inner
        .parse()
        .map_err(|error: cargo_platform::ParseError| refused(error.to_string()))?;
    let known: Result<Vec<Cfg>, _> = facts.iter().map(|fact| fact.parse()).collect();
    let known = known.map_err(|error: cargo_platform::ParseError| refused(error.to_string()))?;
    Ok(parsed.matches(&known))
}
