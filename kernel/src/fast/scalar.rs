//! One option at a time, for any arguments, including those that the vector formula does not hold for.
//! The result is the limit of the price if there is one, and NaN if there is none or an argument makes
//! no sense.

use super::coefficients::{MILLS_LIMIT, MILLS_P, MILLS_Q};

/// Prices a European call or put.
///
/// | arguments | call | put |
/// |---|---|---|
/// | any NaN; a negative spot, strike, time or volatility | NaN | NaN |
/// | `rT` or `sigma sqrt(T)` is infinity times zero | NaN | NaN |
/// | spot and discounted strike both infinite | NaN | NaN |
/// | spot zero | 0 | K' |
/// | discounted strike zero | S | 0 |
/// | spot infinite | infinity | 0 |
/// | discounted strike infinite, deviation finite | 0 | infinity |
/// | deviation infinite (so is time, or volatility) | S | K' |
/// | deviation zero | max(S - K', 0) | max(K' - S, 0) |
///
/// with `K' = K exp(-rT)` and the deviation `sigma sqrt(T)`; the first row that applies decides.
#[must_use]
pub fn price(put: bool, spot: f64, strike: f64, time: f64, rate: f64, volatility: f64) -> f64 {
    if [spot, strike, time, volatility]
        .iter()
        .any(|&value| value.is_nan() || value < 0.0)
    {
        return f64::NAN;
    }
    let rate_time = rate * time;
    let deviation = volatility * time.sqrt();
    if rate_time.is_nan() || deviation.is_nan() {
        return f64::NAN;
    }
    let discounted = discount(strike, rate, time);
    let certain = |call: f64, put_price: f64| if put { put_price } else { call };
    if discounted == 0.0 || spot == 0.0 {
        return if spot == 0.0 {
            certain(0.0, discounted)
        } else {
            certain(spot, 0.0)
        };
    }
    let endless = strike.is_infinite() || rate_time == f64::NEG_INFINITY;
    if spot.is_infinite() {
        return if endless {
            f64::NAN
        } else {
            certain(f64::INFINITY, 0.0)
        };
    }
    if deviation.is_infinite() {
        return certain(spot, discounted);
    }
    if endless {
        return certain(0.0, f64::INFINITY);
    }
    if deviation == 0.0 {
        return certain(spot - discounted, discounted - spot).max(0.0);
    }
    let moneyness = log_ratio(spot, strike) + rate_time;
    let d1 = moneyness / deviation + 0.5 * deviation;
    let d2 = moneyness / deviation - 0.5 * deviation;
    let density = spot * (-0.5 * d1 * d1).exp();
    let share = |d: f64| {
        if density == 0.0 {
            0.0
        } else {
            mills(d.abs()).copysign(d)
        }
    };
    let ratios = density * (share(d2) - share(d1));
    let sure = if put {
        (if d2 < 0.0 { discounted } else { 0.0 }) - (if d1 < 0.0 { spot } else { 0.0 })
    } else {
        (if d1 < 0.0 { 0.0 } else { spot }) - (if d2 < 0.0 { 0.0 } else { discounted })
    };
    (sure + ratios).max(0.0)
}

/// `strike * exp(-rate * time)`, corrected for the rounding of the product, which would be most of the
/// error for large products.
fn discount(strike: f64, rate: f64, time: f64) -> f64 {
    if strike == 0.0 {
        return 0.0;
    }
    let product = rate * time;
    let missing = rate.mul_add(time, -product);
    let correction = if missing.is_finite() {
        1.0 - missing
    } else {
        1.0
    };
    let power = (-product).exp();
    if power.is_infinite() || power == 0.0 {
        // The power alone may leave the range even if its product with the strike does not.
        return (strike.ln() - product).exp() * correction;
    }
    strike * power * correction
}

/// `ln(spot / strike)`, even if the quotient overflows or underflows.
fn log_ratio(spot: f64, strike: f64) -> f64 {
    let ratio = spot / strike;
    if ratio.is_normal() {
        // Near one, the difference of the two numbers is exact, but their quotient is not.
        if (0.5..2.0).contains(&ratio) {
            return ((spot - strike) / strike).ln_1p();
        }
        return ratio.ln();
    }
    spot.ln() - strike.ln()
}

/// `cdf(-x) exp(x^2/2)` for any x from zero up.
fn mills(x: f64) -> f64 {
    if x <= MILLS_LIMIT {
        let value = |coefficients: &[f64]| {
            coefficients
                .iter()
                .rev()
                .fold(0.0, |sum, &coefficient| sum * x + coefficient)
        };
        return value(&MILLS_P) / value(&MILLS_Q);
    }
    // The start of Laplace's continued fraction; here the next term is below 1e-17 of it.
    const DENSITY_AT_ZERO: f64 = 0.398_942_280_401_432_7; // 1 / sqrt(2 pi)
    let square = x * x;
    if square.is_infinite() {
        return DENSITY_AT_ZERO / x;
    }
    DENSITY_AT_ZERO / (x + 1.0 / (x + 2.0 / (x + 3.0 / (x + 4.0 / (x + 5.0 / x)))))
}
