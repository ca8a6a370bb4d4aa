//! Criterion benches of the kernel's core, without Python.
//!
//! `call_price/{n}` (the fast kernel) and `call_price_plain/{n}` allocate their output inside the
//! timed part, like the Python calls without `out=`. `call_price_into/{n}` and
//! `call_price_plain_into/{n}` write to an existing output. Each turn uses the next of several data
//! sets, because the branch predictor would learn `erfc` by heart on one small data set.
#![allow(missing_docs)] // criterion_group! makes undocumented public items.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use perfkit_benches::{Columns, RATE, columns};
use perfkit_kernel::fast::{self, Kind};
use perfkit_kernel::inputs::Inputs;
use perfkit_kernel::plain;

/// Sizes of every group; `PERFKIT_BENCH_10M=1` adds ten million.
fn sizes() -> Vec<usize> {
    let mut sizes = vec![1_000, 10_000, 100_000, 1_000_000];
    if std::env::var_os("PERFKIT_BENCH_10M").is_some_and(|value| value == "1") {
        sizes.push(10_000_000);
    }
    sizes
}

/// Several data sets, together larger than what a branch predictor remembers.
fn data_sets(n: usize) -> Vec<Columns> {
    let sets = (400_000 / n).clamp(2, 64);
    (0..sets as u64).map(|seed| columns(n, seed)).collect()
}

fn inputs(data: &Columns) -> Inputs<'_> {
    Inputs {
        spot: &data.spot,
        strike: &data.strike,
        time: &data.time,
        rate: RATE,
        volatility: &data.volatility,
    }
}

type Price = fn(&Columns, &mut [f64]);

fn price_fast(data: &Columns, out: &mut [f64]) {
    fast::price(Kind::Call, black_box(&inputs(data)), out).expect("the columns have one length");
}

fn price_plain(data: &Columns, out: &mut [f64]) {
    plain::call_price(black_box(&inputs(data)), out).expect("the columns have one length");
}

fn call_price(criterion: &mut Criterion) {
    let allocating: [(_, Price); 2] = [
        ("call_price", price_fast),
        ("call_price_plain", price_plain),
    ];
    for (name, price) in allocating {
        let mut group = criterion.benchmark_group(name);
        for n in sizes() {
            let sets = data_sets(n);
            let mut turn = sets.iter().cycle();
            group.throughput(Throughput::Elements(n as u64));
            group.bench_function(BenchmarkId::from_parameter(n), |bencher| {
                bencher.iter(|| {
                    let data = turn.next().expect("there is a data set");
                    let mut out = vec![0.0; n];
                    price(data, &mut out);
                    out
                });
            });
        }
        group.finish();
    }
}

fn call_price_into(criterion: &mut Criterion) {
    let writing: [(_, Price); 2] = [
        ("call_price_into", price_fast),
        ("call_price_plain_into", price_plain),
    ];
    for (name, price) in writing {
        let mut group = criterion.benchmark_group(name);
        for n in sizes() {
            let sets = data_sets(n);
            let mut turn = sets.iter().cycle();
            let mut out = vec![0.0; n];
            group.throughput(Throughput::Elements(n as u64));
            group.bench_function(BenchmarkId::from_parameter(n), |bencher| {
                bencher.iter(|| {
                    let data = turn.next().expect("there is a data set");
                    price(data, &mut out);
                    black_box(&mut out);
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, call_price, call_price_into);
criterion_main!(benches);
