//! Compares the vector paths with the scalar formula: every path, every lane, every tail.

use std::sync::Mutex;

use super::*;
use crate::inputs::Inputs;

/// The chosen path is global, and tests run in parallel.
static PATH: Mutex<()> = Mutex::new(());

fn on_every_path(mut test: impl FnMut(Path)) {
    let _guard = PATH.lock().unwrap();
    for path in Path::available() {
        assert!(set_path(Some(path)));
        test(path);
    }
    set_path(None);
}

fn unit(state: &mut u64) -> f64 {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    (*state >> 11) as f64 / (1_u64 << 53) as f64
}

type Option5 = [f64; 5]; // spot, strike, time, rate, volatility

fn ordinary(n: usize) -> Vec<Option5> {
    let mut state = 7;
    (0..n)
        .map(|_| {
            let mut draw = |low: f64, high: f64| low + (high - low) * unit(&mut state);
            [
                draw(50.0, 150.0),
                draw(50.0, 150.0),
                draw(0.05, 3.0),
                0.03,
                draw(0.1, 0.6),
            ]
        })
        .collect()
}

/// Options of every kind that the formula does not hold for, and some at the edge of its domain.
fn special() -> Vec<Option5> {
    let values = |index: usize| {
        let mut values = vec![
            f64::NAN,
            -f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            0.0,
            -0.0,
            -1.0,
            1e-320,
        ];
        values.extend([f64::MIN_POSITIVE, 1e-200, 1e200, f64::MAX, 2f64.powi(-256)]);
        if index == 3 {
            values.extend([20.0, -20.0, 800.0, -800.0]);
        }
        values
    };
    let base = [100.0, 90.0, 0.5, 0.03, 0.2];
    let mut options = Vec::new();
    for first in 0..5 {
        for one in values(first) {
            let mut option = base;
            option[first] = one;
            options.push(option);
            for second in first + 1..5 {
                for other in values(second) {
                    let mut option = option;
                    option[second] = other;
                    options.push(option);
                }
            }
        }
    }
    options
}

/// Prices options that may differ in the rate, through the job that Python uses.
fn price_all(kind: Kind, options: &[Option5]) -> Vec<f64> {
    let columns: Vec<Vec<f64>> = (0..5)
        .map(|index| options.iter().map(|option| option[index]).collect())
        .collect();
    let mut out = vec![-1.0; options.len()];
    let operands = std::array::from_fn(|index| Operand::Contiguous(columns[index].as_ptr()));
    let shape = [options.len()];
    let job = Job::new(kind, &shape, operands, Output::Contiguous(out.as_mut_ptr())).unwrap();
    // SAFETY: the columns and the output have the length of the shape.
    unsafe { run(&job, &mut || true) }.unwrap();
    out
}

fn alone(kind: Kind, [spot, strike, time, rate, volatility]: Option5) -> f64 {
    scalar::price(kind == Kind::Put, spot, strike, time, rate, volatility)
}

fn assert_close(value: f64, expected: f64, [spot, strike, ..]: Option5, what: &str) {
    if expected.is_nan() || expected.is_infinite() {
        assert!(
            value == expected || value.is_nan() && expected.is_nan(),
            "{what}: {value}"
        );
    } else {
        let scale = spot.abs().max(strike.abs()).max(expected.abs());
        assert!(
            (value - expected).abs() <= 1e-14 * scale,
            "{what}: {value} is not {expected}"
        );
    }
}

#[test]
fn every_path_agrees_with_the_scalar_formula() {
    let options = ordinary(20_001);
    on_every_path(|path| {
        for kind in [Kind::Call, Kind::Put] {
            for (option, price) in options.iter().zip(price_all(kind, &options)) {
                assert_close(
                    price,
                    alone(kind, *option),
                    *option,
                    &format!("{path:?} {option:?}"),
                );
            }
        }
    });
}

#[test]
fn one_special_option_is_right_in_every_lane_and_disturbs_no_other() {
    let special = special();
    on_every_path(|path| {
        for kind in [Kind::Call, Kind::Put] {
            let plain = ordinary(37); // two pairs of eight lanes, and an incomplete tail
            let undisturbed = price_all(kind, &plain);
            for (turn, &option) in special.iter().enumerate() {
                // Every lane for the first few of each kind, then one lane after the other.
                for lane in if turn % 7 == 0 {
                    0..37
                } else {
                    turn % 37..turn % 37 + 1
                } {
                    let mut options = plain.clone();
                    options[lane] = option;
                    for (index, price) in price_all(kind, &options).into_iter().enumerate() {
                        if index == lane {
                            let what = format!("{path:?} {kind:?} {option:?} in lane {lane}");
                            assert_close(price, alone(kind, option), option, &what);
                        } else {
                            assert_eq!(price.to_bits(), undisturbed[index].to_bits());
                        }
                    }
                }
            }
        }
    });
}

#[test]
fn a_price_depends_neither_on_its_place_nor_on_the_number_of_options() {
    let options = ordinary(70);
    on_every_path(|path| {
        let whole = price_all(Kind::Call, &options);
        for n in 0..options.len() {
            for start in [0, 1, n / 2] {
                let part = price_all(Kind::Call, &options[start.min(n)..n]);
                assert_eq!(part, whole[start.min(n)..n], "{path:?} {start}..{n}");
            }
        }
    });
}

#[test]
fn one_rate_and_many_equal_rates_give_equal_prices() {
    let options = ordinary(40_000);
    let column = |index: usize| {
        options
            .iter()
            .map(|option| option[index])
            .collect::<Vec<_>>()
    };
    let (spot, strike, time, volatility) = (column(0), column(1), column(2), column(4));
    let inputs = Inputs {
        spot: &spot,
        strike: &strike,
        time: &time,
        rate: 0.03,
        volatility: &volatility,
    };
    on_every_path(|path| {
        for kind in [Kind::Call, Kind::Put] {
            let mut out = vec![0.0; options.len()];
            let done = price(kind, &inputs, &mut out).unwrap();
            assert_eq!(done, plan(options.len(), pool::threads));
            assert_eq!(out, price_all(kind, &options), "{path:?}");
        }
    });
}

#[test]
fn the_threshold_chooses_the_branch_and_the_chunk_their_number() {
    let threshold = FAST_PARALLEL_THRESHOLD;
    let below = plan(threshold - 1, || unreachable!("the pool is not looked at"));
    assert_eq!(
        (below.branch, below.chunks, below.helpers),
        (Branch::Sequential, 1, 0)
    );
    let at = plan(threshold, || 4);
    assert_eq!(at.branch, Branch::Shared);
    assert_eq!(at.chunks, threshold.div_ceil(at.chunk_len));
    assert!(at.chunk_len <= FAST_CHUNK_SIZE);
    assert_eq!(at.helpers, 3.min(at.chunks - 1));
    let large = plan(threshold.max(1_000 * FAST_CHUNK_SIZE), || 4);
    assert_eq!(large.chunk_len, FAST_CHUNK_SIZE);
    assert_eq!(plan(0, || 4).chunks, 0);
    assert_eq!(plan(threshold, || 1).helpers, 0);
}

#[test]
fn a_small_call_is_cut_into_pieces_that_are_little_of_it() {
    for n in [FAST_PARALLEL_THRESHOLD, 2 * FAST_PARALLEL_THRESHOLD] {
        let plan = plan(n, || 4);
        assert!(plan.chunks >= 32 || plan.chunk_len <= 256, "{plan:?}");
    }
}

#[test]
fn an_interrupted_call_leaves_nothing_that_looks_whole() {
    let options = ordinary(FAST_PARALLEL_THRESHOLD + 20 * FAST_CHUNK_SIZE);
    let columns: Vec<Vec<f64>> = (0..5)
        .map(|index| options.iter().map(|option| option[index]).collect())
        .collect();
    let mut out = vec![-1.0; options.len()];
    let operands = std::array::from_fn(|index| Operand::Contiguous(columns[index].as_ptr()));
    let shape = [options.len()];
    let job = Job::new(
        Kind::Call,
        &shape,
        operands,
        Output::Contiguous(out.as_mut_ptr()),
    )
    .unwrap();
    // SAFETY: the columns and the output have the length of the shape.
    let done = unsafe { run(&job, &mut || false) };
    assert_eq!(done, Err(KernelError::Interrupted));
    assert!(out.iter().all(|price| price.is_nan()));
}

#[test]
fn strided_broadcast_and_scalar_operands_price_as_contiguous_ones() {
    // Spot varies along the rows and strike along the columns of a 30 by 50 table; the output is
    // every second element of a larger array, from the back.
    let spot: Vec<f64> = (0..30).map(|i| 80.0 + f64::from(i)).collect();
    let strike: Vec<f64> = (0..50).map(|i| 75.0 + f64::from(i)).collect();
    let shape = [30, 50];
    let backwards = [-800, -16];
    let mut out = vec![-1.0; 3000];
    let job = Job::new(
        Kind::Put,
        &shape,
        [
            Operand::Strided(spot.as_ptr(), &[8, 0]),
            Operand::Strided(strike.as_ptr(), &[0, 8]),
            Operand::Scalar(0.5),
            Operand::Scalar(0.03),
            Operand::Scalar(0.2),
        ],
        Output::Strided(&raw mut out[2999], &backwards),
    )
    .unwrap();
    // SAFETY: the strides stay inside the vectors.
    unsafe { run(&job, &mut || true) }.unwrap();
    let options: Vec<Option5> = spot
        .iter()
        .flat_map(|&s| strike.iter().map(move |&k| [s, k, 0.5, 0.03, 0.2]))
        .collect();
    for (index, price) in price_all(Kind::Put, &options).into_iter().enumerate() {
        assert_eq!(out[2999 - 2 * index].to_bits(), price.to_bits(), "{index}");
        assert_eq!(out[2998 - 2 * index], -1.0);
    }
}

#[test]
fn a_shape_whose_product_overflows_is_refused() {
    let shape = [1 << 40, 1 << 40];
    let operands = [Operand::Scalar(1.0); 5];
    let out = Output::Contiguous(std::ptr::null_mut());
    let refused = Job::new(Kind::Call, &shape, operands, out).map(|job| job.len());
    assert_eq!(refused, Err(KernelError::TooLarge(shape.to_vec())));
    assert_eq!(job::element_count(&[0, 1 << 40, 1 << 40]), Some(0));
}
