//! What the machine itself allows: the throughput of the instructions that the fast kernel's loop is
//! made of, with nothing waiting for anything, and the stream of four columns in and one out.
//!
//! Prints one JSON object; all times in seconds. `--quick` skips the memory stream.

use std::hint::black_box;
use std::io::Write;
use std::thread;
use std::time::Instant;

/// Seconds of the fastest of several runs of `work`.
fn fastest(runs: usize, mut work: impl FnMut()) -> f64 {
    (0..runs).fold(f64::INFINITY, |best, _| {
        let start = Instant::now();
        work();
        best.min(start.elapsed().as_secs_f64())
    })
}

#[cfg(target_arch = "x86_64")]
mod ports {
    //! One call does `turns` turns of one mix of independent AVX-512 instructions.

    use std::arch::x86_64::{
        __m512d, _mm512_div_pd, _mm512_fmadd_pd, _mm512_set1_pd, _mm512_sqrt_pd,
    };
    use std::hint::black_box;

    /// Products, fused or plain, that one vector of eight calls with one rate takes: counted in the
    /// disassembly of the kernel's two loops (28 + 120 for a pair of vectors), as
    /// `tests/integration/test_kernel_instructions.py` does again. They can run on the ports for
    /// fused products and on no other.
    pub const PRODUCTS: usize = 74;
    const CHAINS: usize = 12;

    /// `turns` times as many products as one vector of options takes; with `divisions`, also its
    /// three divisions and its square root.
    #[target_feature(enable = "avx512f")]
    pub fn run(turns: usize, divisions: bool) {
        let factor = black_box(_mm512_set1_pd(0.999_999));
        let term = black_box(_mm512_set1_pd(1e-6));
        let mut chains: [__m512d; CHAINS] = [black_box(_mm512_set1_pd(1.0)); CHAINS];
        let mut quotients: [__m512d; 3] = [black_box(_mm512_set1_pd(1.5)); 3];
        let mut root = black_box(_mm512_set1_pd(2.0));
        for _ in 0..turns {
            for _ in 0..PRODUCTS / CHAINS {
                for chain in &mut chains {
                    *chain = _mm512_fmadd_pd(*chain, factor, term);
                }
            }
            for chain in &mut chains[..PRODUCTS % CHAINS] {
                *chain = _mm512_fmadd_pd(*chain, factor, term);
            }
            if divisions {
                for quotient in &mut quotients {
                    *quotient = _mm512_div_pd(factor, *quotient);
                }
                root = _mm512_sqrt_pd(root);
            }
        }
        black_box((chains, quotients, root));
    }
}

/// Seconds per vector of eight options: the products alone, and the products with the divisions.
#[cfg(target_arch = "x86_64")]
fn port_bounds() -> Option<(f64, f64)> {
    if !is_x86_feature_detected!("avx512f") {
        return None;
    }
    const TURNS: usize = 20_000;
    let seconds = |divisions| {
        // SAFETY: the processor has the instruction set.
        fastest(60, || unsafe { ports::run(TURNS, divisions) }) / TURNS as f64
    };
    Some((seconds(false), seconds(true)))
}

#[cfg(not(target_arch = "x86_64"))]
fn port_bounds() -> Option<(f64, f64)> {
    None
}

/// Seconds per option to read four columns of ten million and write one, on `threads` threads.
fn stream(threads: usize) -> f64 {
    const OPTIONS: usize = 10_000_000;
    let columns: Vec<Vec<f64>> = (1..=4)
        .map(|value| vec![f64::from(value); OPTIONS])
        .collect();
    let mut out = vec![0.0; OPTIONS];
    let part = OPTIONS.div_ceil(threads);
    let seconds = fastest(8, || {
        thread::scope(|scope| {
            for (index, out) in out.chunks_mut(part).enumerate() {
                let columns = &columns;
                scope.spawn(move || {
                    let range = index * part..index * part + out.len();
                    let [a, b, c, d] =
                        [0, 1, 2, 3].map(|column: usize| &columns[column][range.clone()]);
                    for (((out, a), b), (c, d)) in out.iter_mut().zip(a).zip(b).zip(c.iter().zip(d))
                    {
                        *out = (a + b) + (c + d);
                    }
                });
            }
        });
        black_box(&mut out);
    });
    seconds / OPTIONS as f64
}

fn main() -> std::io::Result<()> {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let mut fields = Vec::new();
    if let Some((products, mix)) = port_bounds() {
        fields.push(format!("\"fma_ports_per_option_s\": {:e}", products / 8.0));
        fields.push(format!("\"fma_and_divider_per_option_s\": {:e}", mix / 8.0));
    }
    if !quick {
        let threads = thread::available_parallelism()?.get();
        fields.push(format!("\"threads\": {threads}"));
        fields.push(format!(
            "\"stream_one_thread_per_option_s\": {:e}",
            stream(1)
        ));
        fields.push(format!(
            "\"stream_all_threads_per_option_s\": {:e}",
            stream(threads)
        ));
    }
    writeln!(std::io::stdout(), "{{{}}}", fields.join(", "))
}
