//! The sampler as a shared library without Python, Rust's standard library or an allocator in it:
//! `build.rs` compiles it, and the engine carries its bytes for the worker to load.
#![no_std]

mod sampler;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // Nothing above the system knows how to go on, and the handler of a signal must not return.
    unsafe { sampler::abort() }
}

/// What the standard library's parts name for unwinding, of which there is none here.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}
