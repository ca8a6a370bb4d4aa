//! Compiles the sampler (`sampler/`) into a shared library of a few kilobytes, which the engine
//! carries. Where there is no sampler, the file is empty.

use std::env::{self, var_os};
use std::fs;
use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=sampler");
    let folder = var_os("OUT_DIR").expect("cargo names a folder");
    let library = Path::new(&folder).join("sampler.so");
    let told = |name: &str| env::var(name).unwrap_or_default();
    let arch = told("CARGO_CFG_TARGET_ARCH");
    if told("CARGO_CFG_TARGET_OS") != "linux" || !matches!(&*arch, "x86_64" | "aarch64") {
        fs::write(&library, "").expect("cargo's own folder can be written");
        return;
    }
    let mut rustc = Command::new(var_os("RUSTC").expect("cargo names the compiler"));
    rustc
        .args(["--edition", "2024", "--crate-name", "perfkit_sampler"])
        .args(["--crate-type", "cdylib", "--target", &told("TARGET")])
        .args([
            "-C",
            "opt-level=3",
            "-C",
            "panic=abort",
            "-C",
            "strip=symbols",
        ])
        // musl's programs are static by default, and a shared library is not.
        .args(["-C", "target-feature=-crt-static"])
        .arg("-o")
        .arg(&library)
        .arg("sampler/lib.rs");
    if let Some(linker) = var_os("RUSTC_LINKER") {
        rustc.arg("-C").arg({
            let mut option = std::ffi::OsString::from("linker=");
            option.push(linker);
            option
        });
    }
    let status = rustc.status().expect("the compiler runs");
    assert!(status.success(), "the sampler did not compile");
}
