//! The work of `textstats.byte_histogram` without Python.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};

fn histogram(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("byte_histogram");
    for size in [1_000_usize, 100_000, 1_000_000] {
        let text: Vec<u8> = (0..size).map(|index| (index * 31 % 97) as u8).collect();
        let total: u64 = textstats_core::byte_histogram(&text).iter().sum();
        assert_eq!(total, size as u64);
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter(|| textstats_core::byte_histogram(black_box(&text)));
        });
    }
    group.finish();
}

criterion_group!(benches, histogram);
criterion_main!(benches);
