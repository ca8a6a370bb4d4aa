//! Prices calls again and again on one path and one thread, for counting instructions from outside:
//!
//! ```text
//! valgrind --tool=callgrind target/release/examples/instructions avx2 4096 10
//! ```
//!
//! The difference between two numbers of repetitions, over the options between them, is what one
//! option costs; what starting the program costs cancels out.

use std::process::ExitCode;

use perfkit_kernel::fast::{self, Kind, Path};
use perfkit_kernel::inputs::Inputs;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path, options, repetitions] = arguments.as_slice() else {
        return ExitCode::from(2);
    };
    let (Some(path), Ok(options), Ok(repetitions)) = (
        Path::available().find(|available| available.name() == path),
        options.parse::<usize>(),
        repetitions.parse::<usize>(),
    ) else {
        return ExitCode::from(2);
    };
    fast::set_path(Some(path));
    // Ordinary options in an order that repeats late; the number of instructions hardly depends on
    // the values.
    let column = |low: f64, high: f64, step: usize| -> Vec<f64> {
        (0..options)
            .map(|i| low + (high - low) * ((i * step % 9973) as f64 / 9973.0))
            .collect()
    };
    let (spot, strike) = (column(50.0, 150.0, 1), column(50.0, 150.0, 7));
    let (time, volatility) = (column(0.05, 3.0, 13), column(0.1, 0.6, 31));
    let inputs = Inputs {
        spot: &spot,
        strike: &strike,
        time: &time,
        rate: 0.03,
        volatility: &volatility,
    };
    let mut out = vec![0.0; options];
    for _ in 0..repetitions {
        if fast::price(Kind::Call, std::hint::black_box(&inputs), &mut out).is_err() {
            return ExitCode::FAILURE;
        }
        std::hint::black_box(&mut out);
    }
    ExitCode::SUCCESS
}
